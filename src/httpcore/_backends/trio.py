"""trio, on raw non-blocking sockets. What it needs of nurseries, scopes and tasks stays in here.

Theory of operation. Whoever waits to receive, as every exchange does, has no scope for it, which would cost a
quarter of a small request. One alarm for each run knows who waits until when, and wakes whoever is overdue as
if the socket were being closed. All other waits are rare, and have scopes.
"""

from __future__ import annotations

import math
import socket
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from time import monotonic
from typing import TypeVar

import trio

from .._exceptions import ReadError, WriteError, shed_frames
from .._forks import mind_forks
from .._types import Buffer
from .base import CLOSED_TO_READER, CLOSED_TO_WRITER
from .sockets import create_look, fault_of, socket_info

T = TypeVar("T")

SCAN_SECONDS = 1e-6
"""How long the alarm is silent after a look, for each of those that were left: ten times what that took."""


class TrioStream:
    """A connected socket; one task may wait for each direction at the same time."""

    __slots__ = ("__weakref__", "_alarm", "_fault", "_is_aborted", "_look", "_nudges", "_sock", "_token")

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._alarm = _alarm_of_this_run()
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
            raise WriteError(CLOSED_TO_WRITER)
        try:
            sent = self._sock.send(data)
        except (BlockingIOError, InterruptedError):
            return 0
        except OSError as exc:
            shed_frames(exc)
            self._fault = self._fault or fault_of(exc)
            raise WriteError(f"Sending failed: {exc}.") from exc
        if sent == 0 and len(data):
            # Nor will it say anything more that could be waited for.
            self.abort()
            raise WriteError("Sending failed: the connection takes no more bytes.")
        return sent

    def try_receive(self, limit: int) -> bytes | None:
        if self._is_aborted:
            raise ReadError(CLOSED_TO_READER)
        try:
            data = self._sock.recv(limit)
        except (BlockingIOError, InterruptedError):
            return None
        except OSError as exc:
            shed_frames(exc)
            self._fault = exc
            raise ReadError(f"Receiving failed: {exc}.") from exc
        if not data and self._fault is not None and limit:
            raise ReadError(f"Receiving failed: {self._fault}.") from self._fault
        return data

    def wait(self, readable: bool, writable: bool, deadline: float | None) -> Coroutine[object, object, bool]:
        return self._wait_for_room(readable, deadline) if writable else self.listen(deadline)

    async def listen(self, deadline: float | None) -> bool:
        if self._is_aborted:
            return True
        sock = self._sock
        alarm = self._alarm
        task_id = id(trio.lowlevel.current_task())
        if alarm.last_task_id != task_id:
            alarm.last_task_id = task_id
            # The others' turn first: if they have work, what is waited for is here after it. That spares
            # the registration with epoll, a third of a request.
            nudges = self._nudges
            await trio.lowlevel.checkpoint()
            if self._is_aborted or self._look(0) or self._nudges != nudges:
                return True
        try:
            if deadline is not None and not alarm.set(sock, deadline):
                return await _wait_in_scope(trio.lowlevel.wait_readable, sock, deadline)
            await trio.lowlevel.wait_readable(sock)
            return True
        except trio.ClosedResourceError:
            # Aborted or nudged; or overdue, and then the alarm has forgotten it.
            return deadline is None or sock in alarm.waiting
        finally:
            alarm.waiting.pop(sock, None)

    async def _wait_for_room(self, readable: bool, deadline: float | None) -> bool:
        if self._is_aborted:
            return True
        if not readable:
            return await _wait_in_scope(trio.lowlevel.wait_writable, self._sock, deadline)
        nudges = self._nudges
        return await _wait_any(
            (self._sock,), (self._sock,), deadline, is_called_off=lambda: self._nudges != nudges
        )

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


class Alarm:
    """Wakes the readers of one run when their deadlines pass, from one task for all.

    Times are those of trio's clock. The task sleeps until the earliest deadline noted, and then looks
    at who is left; so most waits come and go without its hearing of them.
    """

    __slots__ = ("_is_over", "_scope", "last_task_id", "waiting")

    def __init__(self) -> None:
        self.waiting: dict[socket.socket, float] = {}
        # Who was the last to wait. If it is the same again, there is nobody else to have a turn. A number,
        # since the task itself would be kept alive.
        self.last_task_id = 0
        self._scope = trio.CancelScope()
        self._is_over = False
        try:
            trio.lowlevel.spawn_system_task(self._run, name="httpcore deadlines")
        except RuntimeError:
            # The other system tasks are gone already, and a generator is being closed.
            self._is_over = True

    def set(self, sock: socket.socket, deadline: float) -> bool:
        """Wake the reader of `sock` at `deadline`; `False` in a run that ends, where no alarm goes off."""
        due = self.waiting[sock] = _on_trio_clock(deadline)
        if due < self._scope.deadline:
            self._scope.deadline = due
        return not self._is_over

    async def _run(self) -> None:
        try:
            while True:
                with self._scope:
                    await trio.sleep_forever()
                self._scope = trio.CancelScope(deadline=self._ring(trio.current_time()))
        finally:
            # The main task has ended. Who is shielded from that looks again, and has a scope from then on.
            self._is_over = True
            for sock in self.waiting:
                trio.lowlevel.notify_closing(sock)

    def _ring(self, now: float) -> float:
        """Wake who is overdue; when to look again."""
        waiting = self.waiting
        for sock in [sock for sock, due in waiting.items() if due <= now]:
            del waiting[sock]
            trio.lowlevel.notify_closing(sock)
        # Where many wait, each overdue at a moment of its own, a few share a look at all of them.
        return max(min(waiting.values(), default=math.inf), now + SCAN_SECONDS * len(waiting))


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
    def current_loop(self) -> object:
        return trio.lowlevel.current_trio_token()

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
        with trio.CancelScope(deadline=_or_never(deadline)):
            return await awaitable
        raise TimeoutError("Foreign code took too long.")

    def call_at(self, when: float, callback: Callable[[], None]) -> Callable[[], None] | None:
        return None


async def _wait_in_scope(
    wait: Callable[[socket.socket], Awaitable[None]], sock: socket.socket, deadline: float | None
) -> bool:
    try:
        with trio.CancelScope(deadline=_or_never(deadline)) as scope:
            await wait(sock)
        return not scope.cancelled_caught
    except trio.ClosedResourceError:
        return True


async def _wait_any(
    readable: Sequence[socket.socket],
    writable: Sequence[socket.socket],
    deadline: float | None,
    ready: list[socket.socket] | None = None,
    *,
    is_called_off: Callable[[], bool] = lambda: False,
) -> bool:
    """Wait until one of the sockets is ready in its direction; `False` when `deadline` passed first.

    Each child waits for one socket, if that is still wanted in the next turn, when it begins; they end one
    another. None of them raises, not even that it was cancelled: the parent does, without a group round it.
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
        with trio.CancelScope(deadline=_or_never(deadline)) as scope:
            async with trio.open_nursery() as nursery:
                for sock in readable:
                    nursery.start_soon(watch, trio.lowlevel.wait_readable, sock)
                for sock in writable:
                    nursery.start_soon(watch, trio.lowlevel.wait_writable, sock)
    except BaseException as exc:
        group: tuple[BaseException, ...] = getattr(exc, "exceptions", ())
        if not group:
            raise
        raise _find_cause(group) from None
    await trio.lowlevel.checkpoint_if_cancelled()
    return bool(found or closed)


def _find_cause(group: tuple[BaseException, ...]) -> BaseException:
    """KeyboardInterrupt comes in a group; what else that may hold are the cancellations that it led to."""
    return next((each for each in group if not isinstance(each, trio.Cancelled)), group[0])


def _or_never(deadline: float | None) -> float:
    return math.inf if deadline is None else _on_trio_clock(deadline)


def _on_trio_clock(deadline: float) -> float:
    return trio.current_time() + (deadline - monotonic())


_alarm: trio.lowlevel.RunVar[Alarm] = trio.lowlevel.RunVar("httpcore alarm")


def _alarm_of_this_run() -> Alarm:
    try:
        return _alarm.get()
    except LookupError:
        alarm = Alarm()
        _alarm.set(alarm)
        return alarm


def _current_token() -> object:
    try:
        return trio.lowlevel.current_trio_token()
    except RuntimeError:
        return None
