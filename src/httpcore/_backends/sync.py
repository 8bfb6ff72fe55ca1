"""Blocking sockets. Its coroutines never suspend: they block the thread.

Theory of operation. The descriptor is non-blocking, and two socket objects share it. One sends, looks, and
takes what is here. The other has a timeout of Python's, and waits: its `recv` is `poll` and `recv` in one;
signals do not prolong it (PEP 475), as they would the kernel's own SO_RCVTIMEO. What a wait has received is
kept for the next `try_receive`. Where room to send is waited for, the wait is a `poll`.

A descriptor is never closed under a thread that is inside a system call on it: the number could be reused.
Closing shuts the socket down, which wakes that thread, and the last one out closes.
"""

from __future__ import annotations

import select
import socket
import threading
import time
from collections.abc import Awaitable, Callable, Sequence
from math import ceil
from time import monotonic
from typing import TypeVar

from .._exceptions import ReadError, WriteError, shed_frames
from .._forks import mind_forks
from .._types import Buffer
from .base import CLOSED_TO_READER, CLOSED_TO_WRITER, RECEIVE_SIZE
from .sockets import create_look, fault_of, socket_info

T = TypeVar("T")

_NEVER = 1e6
"""Seconds that stand for "no timeout". `poll` can count them, and who wakes without cause tries again."""

_GRID = 64
"""Timeouts are rounded up to this part of a second. No two deadlines are equally far away to the microsecond,
and setting a timeout is a system call: without the grid there would be one more for nearly every `recv`."""

_KEPT_SHARE, _KEPT_SECONDS = 1.1, 0.02
"""A timeout that is longer than needed by this share and by this much is left as it is."""

_SHORTEST = 1e-9
"""Seconds that are more than none."""

_LONGEST = 2**31 - 1
"""Milliseconds that `poll` can count."""


class SyncStream:
    """A connected socket, for one reader and one writer at a time, in any threads."""

    blocks = True

    __slots__ = (
        "__weakref__",
        "_fault",
        "_guests",
        "_is_aborted",
        "_is_ended",
        "_is_receiving",
        "_is_sending",
        "_is_shut",
        "_least",
        "_look",
        "_receiver",
        "_sock",
        "_stash",
        "_timeout",
    )

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._stash: bytes | None = None
        self._is_aborted = False
        self._is_ended = False
        # What broke the connection: the kernel says it once, and shows an end from then on.
        self._fault: OSError | None = None
        # Seconds of the timeout that the receiver has now, and the least that it will do for; none yet.
        self._timeout = 0.0
        self._least = _SHORTEST
        # Whether a thread is in a system call on the descriptor, or about to be. Set before `_is_aborted` is
        # looked at, as `abort` looks at these after it is set: so one of the two sees the other.
        self._is_receiving = False
        self._is_sending = False
        # The same for what several may be at: they wait for room, or shut down, which is done once.
        self._guests: set[object] = set()
        self._is_shut = False
        sock.setblocking(False)
        self._look = create_look(sock)
        self._receiver = create_receiver(sock)
        mind_forks(self)

    def try_send(self, data: Buffer) -> int:
        try:
            self._is_sending = True
            if self._is_aborted:
                raise WriteError(CLOSED_TO_WRITER)
            sent = self._sock.send(data)
        except (BlockingIOError, InterruptedError):
            return 0
        except OSError as exc:
            shed_frames(exc)
            self._fault = self._fault or fault_of(exc)
            raise WriteError(f"Sending failed: {exc}.") from exc
        finally:
            self._is_sending = False
            if self._is_aborted:
                self._close_if_unused()
        if not sent and len(data):
            # Nor will it say anything more that could be waited for.
            self.abort()
            raise WriteError("Sending failed: the connection takes no more bytes.")
        return sent

    def try_receive(self, limit: int) -> bytes | None:
        stash = self._stash
        if stash is None:
            # What arrives while another thread waits for it is that thread's.
            return None if self._is_receiving else self._receive(self._sock, limit)
        if len(stash) <= limit:
            self._stash = None
            return stash
        self._stash = stash[limit:]
        return stash[:limit]

    def receive(self, limit: int, deadline: float | None) -> bytes | None:
        if self._stash is not None or self._is_ended:
            return self.try_receive(limit)
        seconds = _NEVER if deadline is None else deadline - monotonic()
        # The usual limits come again and again, each a few microseconds off.
        is_set = self._least <= seconds <= self._timeout
        return self._receive(self._receiver if is_set else self._receiver_for(seconds), limit)

    def is_quiet(self) -> bool:
        look = self._look
        return self._stash is None and not self._is_aborted and not look(0)

    async def wait(self, readable: bool, writable: bool, deadline: float | None) -> bool:
        if (self._stash is not None or self._is_ended) and (readable or self._is_aborted):
            return True
        if writable:
            return self._poll(readable, writable, deadline)
        try:
            self._stash = self.receive(RECEIVE_SIZE, deadline)
        except ReadError:
            # Whoever receives will meet it again.
            return True
        return self._stash is not None or deadline is None or monotonic() < deadline

    async def listen(self, deadline: float | None) -> bool:
        if self._stash is not None or self._is_ended:
            return True
        milliseconds = -1
        if deadline is not None:
            milliseconds = min(max(0, ceil((deadline - monotonic()) * 1000)), _LONGEST)
        try:
            self._is_receiving = True
            return self._is_aborted or bool(self._look(milliseconds))
        finally:
            self._is_receiving = False
            if self._is_aborted:
                self._close_if_unused()

    def _receive(self, sock: socket.socket, limit: int) -> bytes | None:
        try:
            self._is_receiving = True
            if self._is_aborted:
                raise ReadError(CLOSED_TO_READER)
            data = sock.recv(limit)
        except (BlockingIOError, InterruptedError):
            data = None
        except OSError as exc:
            if self._is_aborted:
                raise ReadError(CLOSED_TO_READER) from exc
            # The receiver's own timeout has no number; what the kernel has given up is ETIMEDOUT.
            if not isinstance(exc, TimeoutError) or exc.errno is not None:
                shed_frames(exc)
                self._fault = exc
                self._is_ended = True
                raise ReadError(f"Receiving failed: {exc}.") from exc
            data = None
        finally:
            self._is_receiving = False
            if self._is_aborted:
                self._close_if_unused()
        if not data:
            if self._is_aborted:
                raise ReadError(CLOSED_TO_READER)
            self._is_ended = data is not None
            if self._is_ended and self._fault is not None and limit:
                raise ReadError(f"Receiving failed: {self._fault}.") from self._fault
        return data

    def _poll(self, readable: bool, writable: bool, deadline: float | None) -> bool:
        guest = object()
        try:
            self._guests.add(guest)
            return self._is_aborted or bool(_poll([self._sock], readable, writable, deadline))
        finally:
            self._leave(guest)

    def _leave(self, guest: object) -> None:
        self._guests.discard(guest)
        if self._is_aborted:
            self._close_if_unused()

    def _receiver_for(self, seconds: float) -> socket.socket:
        if seconds <= 0.0:
            return self._sock
        # Rounded up: a timeout must not fire early.
        self._timeout = min(ceil(seconds * _GRID) / _GRID, _NEVER)
        self._least = max((self._timeout - _KEPT_SECONDS) / _KEPT_SHARE, _SHORTEST)
        try:
            self._receiver.settimeout(self._timeout)
        except OSError:
            # Another thread has closed the descriptor, which is for whoever receives to say.
            return self._sock
        return self._receiver

    def _close_if_unused(self) -> None:
        if not self._is_receiving and not self._is_sending and not self._guests:
            self._close()

    def _close(self) -> None:
        # One of the two closes the descriptor, and the other has to know.
        self._receiver.detach()
        self._sock.close()

    def abort(self) -> None:
        # Once more does no harm, and completes what an interrupt cut short. Who closes has seen no guest,
        # or is the last one: so the descriptor is ours here, unless another abort has come this far.
        guest = object()
        try:
            self._guests.add(guest)
            self._is_aborted = self._is_ended = True
            if not self._is_shut and (self._is_receiving or self._is_sending or len(self._guests) > 1):
                self._sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        finally:
            self._is_shut = True
            self._leave(guest)

    def forget_parent(self) -> None:
        # The threads that were inside are the parent's.
        self._is_receiving = self._is_sending = False
        self._guests.clear()
        self.abort()

    def watch(self, callback: Callable[[], None] | None) -> bool:
        # No loop, nobody to call back: a dead connection is found when it is looked at.
        return False

    def call_soon(self, callback: Callable[[], None], *, foreign: bool = False) -> bool:
        return False

    def nudge(self) -> bool:
        # A thread inside the kernel hears nothing but the kernel.
        return False

    def has_news(self) -> bool:
        return False

    def get_extra_info(self, name: str) -> object:
        return socket_info(self._sock, name)

    def __del__(self) -> None:
        # Absent when making it was interrupted; the socket closes itself then.
        if getattr(self, "_receiver", None) is not None:
            self._close()


class SyncParker:
    __slots__ = ("_lock",)

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._lock.acquire()

    async def park(self, deadline: float | None) -> bool:
        if deadline is None:
            return self._lock.acquire()
        seconds = deadline - monotonic()
        return (
            self._lock.acquire(timeout=min(seconds, threading.TIMEOUT_MAX))
            if seconds > 0
            else (self._lock.acquire(blocking=False))
        )

    def unpark(self, *, foreign: bool = False) -> None:
        # Released twice, it raises: then the sleeper has been woken.
        try:
            self._lock.release()
        except RuntimeError:
            pass


class SyncBackend:
    def current_loop(self) -> object:
        return None

    def create_parker(self) -> SyncParker:
        return SyncParker()

    async def sleep(self, seconds: float) -> None:
        time.sleep(seconds)  # noqa: ASYNC251

    async def checkpoint(self) -> None:
        """Threads take turns by themselves."""

    async def wait_writable(
        self, sockets: Sequence[socket.socket], deadline: float | None
    ) -> Sequence[socket.socket]:
        return _poll(sockets, False, True, deadline)

    async def adopt(self, sock: socket.socket) -> SyncStream:
        return SyncStream(sock)

    async def within(self, awaitable: Awaitable[T], deadline: float | None) -> T:
        # Nothing can interrupt foreign code in this thread.
        return await awaitable

    def call_at(self, when: float, callback: Callable[[], None]) -> Callable[[], None] | None:
        return None


def create_receiver(sock: socket.socket) -> socket.socket:
    """A second object for the descriptor of `sock`. Its owner has to detach it."""
    return _Receiver(sock.family, sock.type, sock.proto, fileno=sock.fileno())


class _Receiver(socket.socket):
    """Never closes the descriptor: of a cycle the collector may finalise it before its owner."""

    __slots__ = ()

    def __del__(self) -> None:
        self.detach()


def _poll(
    sockets: Sequence[socket.socket], readable: bool, writable: bool, deadline: float | None
) -> list[socket.socket]:
    """Those of `sockets` on which a direction asked for may make progress; none when `deadline` passed."""
    seconds = None if deadline is None else max(0.0, deadline - monotonic())
    if not hasattr(select, "poll"):
        reading = list(sockets) if readable else []
        writing = list(sockets) if writable else []
        ready = select.select(reading, writing, writing, seconds)
        return list({sock: None for group in ready for sock in group})
    poller = select.poll()
    events = (select.POLLIN if readable else 0) | (select.POLLOUT if writable else 0)
    by_number = {sock.fileno(): sock for sock in sockets}
    for number in by_number:
        if number >= 0:
            poller.register(number, events)
    # Rounded up to the next millisecond: a deadline must not fire early.
    limit = None if seconds is None else min(int(seconds * 1000) + 1, _LONGEST) if seconds else 0
    return [by_number[number] for number, _ in poller.poll(limit)]
