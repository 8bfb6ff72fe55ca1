"""A request as the engine sees it, and the body that the caller streams into it."""

from __future__ import annotations

import enum
from collections.abc import Coroutine
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

    def __init__(
        self,
        method: bytes,
        target: bytes,
        headers: HeaderFields,
        route: Route,
        body: RequestBody | None,
        timeouts: Timeouts,
        trace: Trace | None,
    ) -> None:
        self.method = method
        self.target = target
        self.headers = headers
        self.route = route
        self.body = body
        self.timeouts = timeouts
        self.trace = trace

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


class Fate(enum.Enum):
    """What is known about a request that failed, for whoever decides whether it may be sent again."""

    UNKNOWN = "unknown"
    UNSENT = "the connection died before one byte of the request went out"
    UNANSWERED = "the connection died before one byte of the response came in"
    REFUSED = "the peer says that it did not process it"
    UNBEGUN = "the connection takes no more requests: others had been quicker, or it is about to end"


# Up to Python 3.11 a member costs as much as a call when it is looked up in its class.
UNKNOWN = Fate.UNKNOWN


class Claim(Protocol):
    """An exchange's hold on its connection. Each verb ends it; only the first one counts."""

    fate: Fate

    def release(self) -> None:
        """The exchange is over in good order: the connection may serve the next one."""

    def discard(self, *, foreign: bool = False) -> None:
        """The connection is of no more use (and was closed). `foreign`: called by a finaliser."""

    def forget(self, *, foreign: bool = False) -> None:
        """This exchange failed; the connection goes on with others."""


class Keeper(Protocol):
    """Who keeps a connection, and is told what becomes of it: from any thread, and outside any exchange."""

    def resized(self, capacity: int) -> None:
        """From now on `capacity` exchanges fit at once."""

    def retired(self) -> None:
        """It takes no new exchange; those that run go on."""

    def gone(self) -> None:
        """It is closed."""


class _Nobody:
    def resized(self, capacity: int) -> None:
        pass

    def retired(self) -> None:
        pass

    def gone(self) -> None:
        pass


NOBODY: Keeper = _Nobody()
"""Keeps connections that are just being opened."""


class Response(Protocol):
    """What came back: the head, and the body still to be read."""

    status: int
    headers: list[tuple[bytes, bytes]]
    """A list of the caller's own."""
    version: str
    reason: str | None
    """`None` where there is no such thing."""

    def has_ended(self) -> bool:
        """Whether nothing is left to read or to close."""

    @property
    def trailers(self) -> list[tuple[bytes, bytes]]: ...

    def try_receive(self) -> bytes | None:
        """A piece that is already here, `b""` at the end, `None` if `receive` would have to wait."""

    async def receive(self) -> bytes:
        """The next piece that is not empty; `b""` at the end."""

    async def close(self) -> None:
        """End the exchange where it is; idempotent."""


class Answer(Protocol):
    """Where the pool puts what came back. What it returned would reach the sync interface as an exception."""

    body: Response


class Connection(Protocol):
    """An open connection, whatever its protocol."""

    keeper: Keeper

    @property
    def capacity(self) -> int:
        """How many exchanges fit at once."""

    def is_ready(self) -> bool:
        """Whether the next exchange may begin: nothing arrived that would say otherwise."""

    def has_news(self) -> bool:
        """Whether `is_ready` should not be trusted before the loop has had a look round."""

    def exchange(self, request: Request, claim: Claim) -> Coroutine[object, object, Response]:
        """Send `request`, and return its response as soon as the head is here."""

    def close(self) -> None:
        """Close in good order what can be closed without waiting, and abort the rest; idempotent."""

    def describe(self) -> str:
        """A summary such as `HTTP/1.1, IDLE`."""
