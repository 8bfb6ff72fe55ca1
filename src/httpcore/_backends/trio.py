"""trio, on raw non-blocking sockets. What it needs of nurseries and scopes stays in here."""

from __future__ import annotations

import math
import socket
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from time import monotonic
from typing import TypeVar

import trio

from .._exceptions import ReadError, WriteError
from .._forks import mind_forks
from .._types import Buffer
from .sync import create_look, fault_of, socket_info

T = TypeVar("T")


class TrioStream:
    """A connected socket; one task may wait for each direction at the same time."""

    __slots__ = ("__weakref__", "_fault", "_is_aborted", "_look", "_nudges", "_sock", "_token")

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._token = trio.lowlevel.current_trio_token()
        self._is_aborted = False
        # What broke the connection: the kernel says it once, and shows an end from then on.
        self._fault: OSError | None = None
        # How often somebody nudged: who is only about to wait hears of it in no other way.
        self._nudges = 0
        self._look = create_look(sock)
        mind_forks(self)

    def try_send(self, data: Buffer) -> int:
        if self._is_aborted:
            raise WriteError("The connection was closed while it was being written to.")
        try:
            sent = self._sock.send(data)
        except (BlockingIOError, InterruptedError):
            return 0
        except OSError as exc:
            self._fault = self._fault or fault_of(exc)
            raise WriteError(f"Sending failed: {exc}.") from exc
        if sent == 0 and len(data):
            # Nor will it say anything more that could be waited for.
            self.abort()
            raise WriteError("Sending failed: the connection takes no more bytes.")
        return sent

    def try_receive(self, limit: int) -> bytes | None:
        if self._is_aborted:
            raise ReadError("The connection was closed while it was being read.")
        try:
            data = self._sock.recv(limit)
        except (BlockingIOError, InterruptedError):
            return None
        except OSError as exc:
            self._fault = exc
            raise ReadError(f"Receiving failed: {exc}.") from exc
        if not data and self._fault is not None and limit:
            raise ReadError(f"Receiving failed: {self._fault}.") from self._fault
        return data

    async def wait(self, readable: bool, writable: bool, deadline: float | None) -> bool:
        if self._is_aborted:
            return True
        nudges = self._nudges
        try:
            if readable and writable:
                return await _wait_any(
                    (self._sock,), (self._sock,), deadline, is_called_off=lambda: self._nudges != nudges
                )
            if readable:
                # The others' turn first: if they have work, what is waited for is here after it. That spares
                # the registration with epoll and the scope, a third of a request.
                await trio.lowlevel.checkpoint()
                if self._is_aborted or self._look(0) or self._nudges != nudges:
                    return True
            wait = trio.lowlevel.wait_readable if readable else trio.lowlevel.wait_writable
            if deadline is None:
                await wait(self._sock)
                return True
            with trio.CancelScope(deadline=_on_trio_clock(deadline)) as scope:
                await wait(self._sock)
            return not scope.cancelled_caught
        except trio.ClosedResourceError:
            return True

    def listen(self, deadline: float | None) -> Coroutine[object, object, bool]:
        return self.wait(True, False, deadline)

    def abort(self) -> None:
        if self._is_aborted:
            return
        if _current_token() is self._token:
            self._close()
        else:
            try:
                self._token.run_sync_soon(self._close)
            except trio.RunFinishedError:
                self._sock.close()
        # Last, so that an interrupted attempt can be repeated.
        self._is_aborted = True

    def _close(self) -> None:
        # A thread that asked for it may not have come to say so.
        self._is_aborted = True
        trio.lowlevel.notify_closing(self._sock)
        self._sock.close()

    def forget_parent(self) -> None:
        self._is_aborted = True
        self._sock.close()

    def watch(self, callback: Callable[[], None] | None) -> bool:
        # trio calls nobody back: a dead connection is found when it is looked at.
        return False

    def call_soon(self, callback: Callable[[], None], *, foreign: bool = False) -> bool:
        try:
            self._token.run_sync_soon(callback)
        except trio.RunFinishedError:
            return False
        return True

    def nudge(self) -> bool:
        # Who waits is told that the socket is being closed, and looks again.
        self._nudges += 1
        if not self._is_aborted:
            trio.lowlevel.notify_closing(self._sock)
        return True

    def is_quiet(self) -> bool:
        return not self._is_aborted and not self._look(0)

    def has_news(self) -> bool:
        return False

    def get_extra_info(self, name: str) -> object:
        return socket_info(self._sock, name)

    def __del__(self) -> None:
        # Absent when making it was interrupted; the socket closes itself then.
        if not getattr(self, "_is_aborted", True):
            self._sock.close()


class TrioParker:
    __slots__ = ("_event", "_token")

    def __init__(self) -> None:
        self._event = trio.Event()
        self._token = trio.lowlevel.current_trio_token()

    async def park(self, deadline: float | None) -> bool:
        if deadline is None:
            await self._event.wait()
            return True
        with trio.CancelScope(deadline=_on_trio_clock(deadline)):
            await self._event.wait()
        return self._event.is_set()

    def unpark(self, *, foreign: bool = False) -> None:
        if not foreign and _current_token() is self._token:
            self._event.set()
            return
        try:
            self._token.run_sync_soon(self._event.set)
        except trio.RunFinishedError:
            # Nobody sleeps there any more.
            pass


class TrioBackend:
    name = "trio"

    def current_loop(self) -> object:
        return trio.lowlevel.current_trio_token()

    def is_alive(self, loop: object) -> bool:
        if not isinstance(loop, trio.lowlevel.TrioToken):
            return False
        try:
            loop.run_sync_soon(_do_nothing)
        except trio.RunFinishedError:
            return False
        return True

    def create_parker(self) -> TrioParker:
        return TrioParker()

    async def sleep(self, seconds: float) -> None:
        await trio.sleep(seconds)

    async def checkpoint(self) -> None:
        await trio.lowlevel.checkpoint()

    async def wait_writable(
        self, sockets: Sequence[socket.socket], deadline: float | None
    ) -> Sequence[socket.socket]:
        ready: list[socket.socket] = []
        await _wait_any((), sockets, deadline, ready)
        return ready

    async def adopt(self, sock: socket.socket) -> TrioStream:
        return TrioStream(sock)

    async def within(self, awaitable: Awaitable[T], deadline: float | None) -> T:
        with trio.CancelScope(deadline=math.inf if deadline is None else _on_trio_clock(deadline)):
            return await awaitable
        raise TimeoutError("Foreign code took too long.")

    def call_at(self, when: float, callback: Callable[[], None]) -> Callable[[], None] | None:
        return None


async def _wait_any(
    readable: Sequence[socket.socket],
    writable: Sequence[socket.socket],
    deadline: float | None,
    ready: list[socket.socket] | None = None,
    *,
    is_called_off: Callable[[], bool] = lambda: False,
) -> bool:
    """Wait until one of the sockets is ready in its direction; `False` when `deadline` passed first.

    The children begin in the next turn, and then ask whether that is still wanted.

    The children only wait for one socket each and end one another; none of them raises, not even that it was
    cancelled. The parent does so itself, since a nursery would wrap it in a group.
    """
    found: list[socket.socket] = [] if ready is None else ready
    closed: list[trio.ClosedResourceError] = []

    async def watch(wait: Callable[[socket.socket], Awaitable[None]], sock: socket.socket) -> None:
        try:
            if not is_called_off():
                await wait(sock)
            found.append(sock)
        except trio.ClosedResourceError as exc:
            closed.append(exc)
        except trio.Cancelled:
            pass
        scope.cancel()

    try:
        with trio.CancelScope(deadline=math.inf if deadline is None else _on_trio_clock(deadline)) as scope:
            async with trio.open_nursery() as nursery:
                for sock in readable:
                    nursery.start_soon(watch, trio.lowlevel.wait_readable, sock)
                for sock in writable:
                    nursery.start_soon(watch, trio.lowlevel.wait_writable, sock)
    except BaseException as exc:
        # KeyboardInterrupt, in a group; what else that may hold are the cancellations that it led to.
        group: tuple[BaseException, ...] = getattr(exc, "exceptions", ())
        if not group:
            raise
        raise next((each for each in group if not isinstance(each, trio.Cancelled)), group[0]) from None
    await trio.lowlevel.checkpoint_if_cancelled()
    return bool(found or closed)


def _on_trio_clock(deadline: float) -> float:
    return trio.current_time() + (deadline - monotonic())


def _current_token() -> object:
    try:
        return trio.lowlevel.current_trio_token()
    except RuntimeError:
        return None


def _do_nothing() -> None:
    pass
