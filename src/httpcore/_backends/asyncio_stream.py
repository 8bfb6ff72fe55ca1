"""A stream of asyncio, on a transport and its protocol; uvloop runs it unchanged.

Theory of operation. The loop pushes what arrives into the stream, which keeps it until it is asked for and
pauses the loop's reading when too much lies unread. Writing goes through the transport in slices, never past
its `pause_writing`. A wait is one future; its deadline is one timer per connection that is left standing
when a wait ends and looks, when it fires, whether the deadline has moved meanwhile.

What is received has to become `bytes` of a size that the allocator has at hand. asyncio's own loops receive
into such `bytes`, once they are told the size, and nothing is copied. The others have sizes of their own:
they fill a buffer of ours, out of which it is copied in pieces.

Where much arrives at once, the reader does not wait for the loop to bring each piece: once the loop has
brought much, some more is taken from the kernel directly, after what the loop has delivered.
"""

from __future__ import annotations

import asyncio
import socket
import sys
from collections import deque
from collections.abc import Callable, Coroutine
from time import monotonic
from typing import cast
from weakref import WeakKeyDictionary

from .._exceptions import ReadError, WriteError, shed_frames
from .._forks import lead_nowhere, mind_forks
from .._types import Buffer
from .base import CLOSED_TO_READER, CLOSED_TO_WRITER, LARGE_SIZE, RECEIVE_SIZE
from .sockets import create_look, socket_info

# What `get_running_loop` is built on: outside a loop it returns `None`, which is cheaper than an exception.
running_loop = asyncio._get_running_loop

BUFFER_SIZE = 2 * RECEIVE_SIZE
"""Bytes that a loop receives at once into a buffer: each time costs a turn of the loop."""

AHEAD = 16
"""Pieces taken directly before the loop has its turn again."""

UNREAD_LIMIT = 256 * 1024
"""Bytes that may lie unread before reading is paused; it goes on when half of them are gone."""

SLICE = 64 * 1024
"""Bytes handed to the transport at once, and about as many may lie in it unsent."""

LAST_WORDS = 256 * 1024
"""Bytes taken from a connection that broke while it was being written to."""

IS_PROACTOR = sys.platform == "win32"
"""Whether a loop receives while others run; then nothing may be taken from the kernel behind its back."""

# Selector loops and uvloop call `get_buffer`, receive and `buffer_updated` in one go, so that the streams of
# one loop can share a buffer. Those of two loops cannot: the loops may run in two threads.
_views: WeakKeyDictionary[asyncio.AbstractEventLoop, memoryview] = WeakKeyDictionary()


class AsyncioStream(asyncio.BaseProtocol):
    """A stream and the protocol under it; one reader and one writer may wait at the same time.

    How the loop brings what it has received is left to the two below.
    """

    __slots__ = (
        "__weakref__",
        "_ahead",
        "_buffer",
        "_deadline",
        "_error",
        "_is_aborted",
        "_is_ended",
        "_is_lost",
        "_is_paused",
        "_is_reading",
        "_look",
        "_loop",
        "_pieces",
        "_reader",
        "_sock",
        "_timer",
        "_timer_due",
        "_transport",
        "_unread",
        "_watcher",
        "_writer",
    )

    def __init__(self, loop: asyncio.AbstractEventLoop, sock: socket.socket) -> None:
        self._loop = loop
        self._sock = sock
        self._look = create_look(sock)
        self._transport: asyncio.Transport | None = None
        self._pieces: deque[bytes] | None = None
        self._buffer: bytes | None = None
        self._unread = 0
        # How many more pieces may be taken directly.
        self._ahead = 0
        self._reader: asyncio.Future[bool] | None = None
        self._writer: asyncio.Future[bool] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._timer_due = 0.0
        self._deadline: float | None = None
        self._watcher: Callable[[], None] | None = None
        self._error: Exception | None = None
        self._is_reading = True
        self._is_paused = False
        self._is_ended = False
        self._is_lost = False
        self._is_aborted = False
        mind_forks(self)

    # What the loop says.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._transport.set_write_buffer_limits(high=SLICE, low=SLICE // 4)

    def eof_received(self) -> bool:
        # After an error that was met in receiving directly the kernel shows an end.
        self._is_ended = not self._is_lost
        self._wake_reader()
        # The other direction stays open: a peer may be done talking and still be listening.
        return True

    def pause_writing(self) -> None:
        self._is_paused = True

    def resume_writing(self) -> None:
        self._is_paused = False
        if self._writer is not None:
            if not self._writer.done():
                self._writer.set_result(True)
        elif self._watcher is not None:
            self._watcher()

    def connection_lost(self, exc: Exception | None) -> None:
        if exc is not None and not self._is_aborted:
            self._hear_last_words(exc)
        if exc is not None:
            shed_frames(exc)
        self._is_lost = True
        self._error = exc
        self._cancel_timer()
        self._wake_reader()
        if self._writer is not None and not self._writer.done():
            self._writer.set_result(True)

    def _hear_last_words(self, exc: Exception) -> None:
        """A write failed: what the peer said before is still in the kernel (RFC 9112 §9.5)."""
        size = 0
        try:
            while size < LAST_WORDS and (data := self._sock.recv(BUFFER_SIZE)):
                size += len(data)
                self._keep(data)
            # A pipe breaks after the peer's end only; after a reset the kernel shows an end, too.
            if size < LAST_WORDS and isinstance(exc, BrokenPipeError):
                self._is_ended = True
        except (OSError, ValueError):
            pass

    def _keep(self, data: bytes) -> None:
        self._unread += len(data)
        if self._buffer is None and not self._pieces:
            self._buffer = data
        elif self._pieces is None:
            self._pieces = deque((data,))
        else:
            self._pieces.append(data)
        if self._unread >= UNREAD_LIMIT and self._is_reading and self._transport is not None:
            self._is_reading = False
            self._transport.pause_reading()

    def _wake_reader(self) -> None:
        reader = self._reader
        if reader is not None:
            if not reader.done():
                reader.set_result(True)
        elif self._watcher is not None:
            self._watcher()

    # The verbs.

    def try_send(self, data: Buffer) -> int:
        transport = self._transport
        if self._is_lost or self._is_aborted or transport is None or transport.is_closing():
            raise WriteError(self._reason("Sending failed")) from self._error
        if self._is_paused:
            return 0
        try:
            if len(data) <= SLICE:
                transport.write(data if isinstance(data, bytes) else bytes(data))
                return len(data)
            return self._write_slices(transport, memoryview(data))
        except RuntimeError as exc:
            # Its loop is closed: a transport still says goodbye, or wants to tell of an end, and cannot.
            raise WriteError(f"Sending failed: {exc}.") from exc

    def _write_slices(self, transport: asyncio.Transport, view: memoryview) -> int:
        sent = 0
        while sent < len(view) and not self._is_paused and not transport.is_closing():
            # A copy of a slice: what the transport cannot send at once it may keep for long.
            piece = bytes(view[sent : sent + SLICE])
            transport.write(piece)
            sent += len(piece)
        return sent

    def try_receive(self, limit: int) -> bytes | None:
        data = self._buffer
        if data is None:
            return self._receive_directly(limit) if self._ahead else self._receive_nothing()
        if len(data) > limit:
            self._buffer = data[limit:]
            data = data[:limit]
        else:
            self._buffer = self._pieces.popleft() if self._pieces else None
        self._unread -= len(data)
        if not self._is_reading and self._unread < UNREAD_LIMIT // 2 and not self._is_lost:
            self._is_reading = True
            if self._transport is not None and not self._transport.is_closing():
                self._transport.resume_reading()
        return data

    def _receive_directly(self, limit: int) -> bytes | None:
        """Take what the kernel has; the loop has delivered all that came before it."""
        if self._is_ended or self._is_lost or self._is_aborted:
            return self._receive_nothing()
        self._ahead -= 1
        try:
            data = self._sock.recv(limit)
        except (BlockingIOError, InterruptedError):
            self._ahead = 0
            return None
        except OSError as exc:
            shed_frames(exc)
            self._error = exc
            self._is_lost = True
            return self._receive_nothing()
        if len(data) < limit:
            self._ahead = 0
            self._is_ended = not data and limit > 0
        return data

    def _receive_nothing(self) -> bytes | None:
        if self._is_aborted:
            raise ReadError(CLOSED_TO_READER)
        if self._is_ended:
            return b""
        if self._is_lost:
            raise ReadError(self._reason("Receiving failed")) from self._error
        return None

    async def wait(self, readable: bool, writable: bool, deadline: float | None) -> bool:
        if self._is_lost or self._is_aborted:
            return True
        if readable and (self._buffer is not None or self._is_ended):
            return True
        # On a transport that is about to be lost the wait ends with that: an answer at once would be the same
        # again and again, and the loop would never come to it.
        if writable and not self._is_paused and not self._is_closing():
            return True
        if deadline is not None:
            now = monotonic()
            if deadline <= now:
                return False
            self._arm(deadline, now)
        future: asyncio.Future[bool] = self._loop.create_future()
        if readable:
            self._reader = future
        if writable:
            self._writer = future
        try:
            # It may have been the other waiter's deadline.
            return await future or deadline is None or monotonic() < deadline
        finally:
            if readable:
                self._reader = None
            if writable:
                self._writer = None
            if self._reader is None and self._writer is None:
                self._deadline = None

    def listen(self, deadline: float | None) -> Coroutine[object, object, bool]:
        return self.wait(True, False, deadline)

    def abort(self) -> None:
        if self._is_aborted:
            return
        if running_loop() is self._loop:
            self._abort_here()
        elif self._loop.is_closed():
            self._sock.close()
        else:
            try:
                self._loop.call_soon_threadsafe(self._abort_here)
            except RuntimeError:
                self._sock.close()
        # Last, so that an interrupted attempt can be repeated.
        self._is_aborted = True

    def _is_closing(self) -> bool:
        return self._transport is None or self._transport.is_closing()

    def _abort_here(self) -> None:
        try:
            # A thread that asked for it may not have come to say so, and who is woken must not see an end.
            self._is_aborted = True
            self._cancel_timer()
            self._watcher = None
            self._buffer = self._pieces = None
            for waiter in (self._reader, self._writer):
                if waiter is not None and not waiter.done():
                    waiter.set_result(True)
            if self._transport is not None:
                self._transport.abort()
                # uvloop never parts from a protocol whose connecting was cancelled.
                self._transport = None
        except BaseException:
            # Interrupted: it can be repeated.
            self._is_aborted = False
            raise

    def forget_parent(self) -> None:
        self._is_aborted = True
        lead_nowhere(self._sock)

    def watch(self, callback: Callable[[], None] | None) -> bool:
        self._watcher = callback
        return True

    def call_soon(self, callback: Callable[[], None], *, foreign: bool = False) -> bool:
        try:
            if foreign:
                self._loop.call_soon_threadsafe(callback)
            else:
                self._loop.call_soon(callback)
        except RuntimeError:
            # The loop is closed.
            return False
        return True

    def nudge(self) -> bool:
        for waiter in (self._reader, self._writer):
            if waiter is not None and not waiter.done():
                waiter.set_result(True)
        return True

    def is_quiet(self) -> bool:
        return not (self._buffer is not None or self._is_ended or self._is_lost or self._is_aborted)

    def has_news(self) -> bool:
        if self._is_lost or self._is_ended or self._is_aborted:
            return False
        look = self._look
        return bool(look(0))

    def get_extra_info(self, name: str) -> object:
        return socket_info(self._sock, name)

    def _reason(self, what: str) -> str:
        if self._is_aborted:
            return CLOSED_TO_WRITER
        return f"{what}: {self._error or 'the connection is closed'}."

    # The timer.

    def _arm(self, deadline: float, now: float) -> None:
        if self._deadline is not None and self._deadline < deadline:
            deadline = self._deadline
        self._deadline = deadline
        if self._timer is not None:
            if self._timer_due <= deadline:
                return
            self._timer.cancel()
        self._timer_due = deadline
        # The loop's clock may be another one; it goes as fast.
        self._timer = self._loop.call_later(deadline - now, self._fire)

    def _fire(self) -> None:
        self._timer = None
        deadline = self._deadline
        if deadline is None:
            return
        left = deadline - monotonic()
        if left > 0:
            self._timer_due = deadline
            self._timer = self._loop.call_later(left, self._fire)
            return
        self._deadline = None
        for waiter in (self._reader, self._writer):
            if waiter is not None and not waiter.done():
                waiter.set_result(False)

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


class SelectorStream(AsyncioStream, asyncio.Protocol):
    """On a loop that receives `bytes`, as many as its transport says."""

    __slots__ = ()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        # Its own size makes the allocator use fresh pages each time. It is not documented; where it is not
        # looked at any more, pieces are larger.
        if hasattr(transport, "max_size"):
            transport.max_size = RECEIVE_SIZE

    def data_received(self, data: bytes) -> None:
        size = len(data)
        self._ahead = AHEAD if size >= LARGE_SIZE else 0
        reader = self._reader
        if reader is None or self._unread or size >= UNREAD_LIMIT:
            self._keep(data)
            self._wake_reader()
            return
        # The usual case: somebody waits for it, and nothing lies before it.
        self._unread = size
        self._buffer = data
        if not reader.done():
            reader.set_result(True)


class BufferedStream(AsyncioStream, asyncio.BufferedProtocol):
    """On a loop that receives into a buffer of ours."""

    __slots__ = ("_view",)

    def __init__(self, loop: asyncio.AbstractEventLoop, sock: socket.socket) -> None:
        super().__init__(loop, sock)
        self._view = _view_of(loop)

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._view

    def buffer_updated(self, nbytes: int) -> None:
        view = self._view
        self._ahead = AHEAD if nbytes >= LARGE_SIZE and not IS_PROACTOR else 0
        if nbytes <= RECEIVE_SIZE:
            self._keep(bytes(view[:nbytes]))
        else:
            for start in range(0, nbytes, RECEIVE_SIZE):
                self._keep(bytes(view[start : min(start + RECEIVE_SIZE, nbytes)]))
        self._wake_reader()


def create_stream(loop: asyncio.AbstractEventLoop, sock: socket.socket) -> AsyncioStream:
    """Make the stream that suits `loop`; it begins when the loop has made a transport for it."""
    # Of other loops uvloop alone is known to us, which copies into `bytes` that may be four times as large.
    if isinstance(loop, asyncio.SelectorEventLoop):
        return SelectorStream(loop, sock)
    return BufferedStream(loop, sock)


def _view_of(loop: asyncio.AbstractEventLoop) -> memoryview:
    """Where a stream of `loop` receives."""
    if IS_PROACTOR:
        return memoryview(bytearray(BUFFER_SIZE))
    view = _views.get(loop)
    if view is None:
        view = _views.setdefault(loop, memoryview(bytearray(BUFFER_SIZE)))
    return view
