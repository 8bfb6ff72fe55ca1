"""A request as the engine sees it, and the body that the caller streams into it."""

from __future__ import annotations

from typing import Protocol

from .._protocols.http11 import encode_fields
from .._protocols.requests import check_request_line
from .._types import HeaderFields
from .routes import Route
from .timeouts import Timeouts
from .trace import Trace

KEPT_FOR_REPLAY = 64 * 1024
"""How many bytes of a streamed body are held so that a request can be sent again."""


class Source(Protocol):
    """The caller's iterable, one colour or the other, behind one face."""

    async def next_chunk(self) -> bytes:
        """The next piece that is not empty; `b""` at the end."""

    async def close(self) -> None:
        """Call the caller's own `close` or `aclose`, if there is one."""


class RequestBody:
    """A body that is taken piece by piece, and closed once if it was not read to its end.

    `content` is the whole body where the caller gave it as plain bytes; it needs no reading and can be
    sent any number of times. Otherwise the first pieces are kept for a replay.
    """

    __slots__ = (
        "_is_closed",
        "_is_exhausted",
        "_kept",
        "_kept_size",
        "_position",
        "_source",
        "content",
        "has_failed",
    )

    def __init__(self, *, content: bytes | None = None, source: Source | None = None) -> None:
        self.content = content
        self._source = source
        self._kept: list[bytes] | None = []
        self._kept_size = 0
        self._position = 0
        self._is_exhausted = source is None
        self._is_closed = source is None
        self.has_failed = False

    @property
    def can_be_replayed(self) -> bool:
        """Whether all that was taken is still at hand."""
        return self._kept is not None and not self.has_failed

    def rewind(self) -> None:
        """Begin again, for a replay."""
        self._position = 0

    async def next_chunk(self) -> bytes:
        """The next piece that is not empty; `b""` at the end."""
        kept = self._kept
        if kept is not None and self._position < len(kept):
            self._position += 1
            return kept[self._position - 1]
        if self._is_exhausted or self._source is None:
            return b""
        try:
            chunk = await self._source.next_chunk()
        except BaseException:
            # Not even if it is an error as we raise them: a source that has failed may end when asked again.
            self.has_failed = True
            raise
        if not chunk:
            self._is_exhausted = True
        elif kept is not None:
            self._keep(chunk, kept)
        return chunk

    def _keep(self, chunk: bytes, kept: list[bytes]) -> None:
        self._kept_size += len(chunk)
        if self._kept_size > KEPT_FOR_REPLAY:
            self._kept = None
            return
        kept.append(chunk)
        self._position = len(kept)

    async def close(self) -> None:
        """Let the caller's stream know that nobody reads on; once, and not after its end."""
        if self._is_closed:
            return
        self._is_closed = True
        if not self._is_exhausted and self._source is not None:
            await self._source.close()


class Request:
    """What goes to the peer. `headers` go out as they are; nothing is added."""

    __slots__ = ("body", "headers", "method", "route", "target", "timeouts", "trace")

    # Set one by one, by whoever prepares it: there is one of these for every request, and as arguments they
    # would cost twice as much.
    method: bytes
    target: bytes
    headers: HeaderFields
    route: Route
    body: RequestBody | None
    timeouts: Timeouts
    trace: Trace | None

    @property
    def has_callers_failure(self) -> bool:
        """Whether it failed in the caller's own code, with an error that may look like one of ours."""
        body, trace = self.body, self.trace
        return (body is not None and body.has_failed) or (trace is not None and trace.has_failed)

    def check(self, *, may_be_http2: bool) -> None:
        """Raise now what would be raised once there is a connection: none has to be opened for it."""
        check_request_line(self.method, self.target)
        if not may_be_http2:
            encode_fields(self.headers)
