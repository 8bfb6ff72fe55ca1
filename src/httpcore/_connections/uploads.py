"""The request half of an exchange that does not go out in one piece."""

from __future__ import annotations

from collections import deque

from .._backends.base import Stream
from .._exceptions import WriteError, shed_frames
from .._protocols.http11 import Engine, ResponseHead
from .._types import Buffer
from .requests import RequestBody

SEND_SIZE = 1024 * 1024
"""Bytes offered to the stream at once."""


class Upload:
    """What is still to be sent of one request. It never waits for room; that is its exchange's part.

    `pending` are framed bytes that may go, `withheld` framed bytes that go when those before them are sent.
    """

    __slots__ = (
        "_body",
        "_engine",
        "_has_more",
        "_pending",
        "_stream",
        "_withheld",
        "error",
        "interim",
        "is_sent",
        "is_torn",
    )

    def __init__(
        self,
        stream: Stream,
        engine: Engine,
        pending: Buffer,
        *,
        withheld: tuple[Buffer, ...] = (),
        body: RequestBody | None = None,
    ) -> None:
        self._stream = stream
        self._engine = engine
        self._pending: deque[Buffer] = deque((pending,))
        self._withheld = withheld
        self._body = body
        self._has_more = body is not None
        self.is_sent = False
        """Whether any byte may have gone out."""
        self.is_torn = False
        """Whether it was cut short, which leaves half a message on the wire."""
        self.error: WriteError | None = None
        """What cut it short, if that was the stream."""
        self.interim: list[ResponseHead] = []
        """What the peer has said to it before its answer."""

    @property
    def is_running(self) -> bool:
        return self._has_more or bool(self._pending)

    @property
    def has_more(self) -> bool:
        """Whether something follows what is pending."""
        return self._has_more

    def flush(self) -> bool:
        """Send what may go; `True` when nothing is left of it."""
        pending = self._pending
        stream = self._stream
        try:
            while pending:
                data = pending[0]
                size = len(data)
                sent = stream.try_send(data if size <= SEND_SIZE else memoryview(data)[:SEND_SIZE])
                if sent:
                    self.is_sent = True
                if sent == size:
                    pending.popleft()
                elif sent:
                    pending[0] = memoryview(data)[sent:]
                else:
                    return False
        except WriteError as exc:
            self.fail(exc)
        return True

    async def refill(self) -> None:
        """Frame the next piece of the body, or its end."""
        body = self._body
        if self._withheld or body is None:
            self._pending.extend(buffer for buffer in self._withheld if buffer)
            self._withheld = ()
            self._has_more = False
        elif chunk := await body.next_chunk():
            self._pending.extend(self._engine.frame_body(chunk))
        else:
            self._has_more = False
            if last := self._engine.finish_body():
                self._pending.append(last)

    def fail(self, error: WriteError) -> None:
        shed_frames(error)
        self.error = error
        self.stop()

    def stop(self) -> None:
        """Send nothing more."""
        self.is_torn = True
        self._pending.clear()
        self._withheld = ()
        self._has_more = False
