"""Cancelling an exchange at a moment that was drawn, in the task that awaits it.

A task of its own and a pause beside it cost more than most exchanges. So the worker awaits its exchange through an
`Interruption`, which passes every suspension on to the loop, and counts it. The cancellation is asked for at one of
them, or when all workers together have suspended a few times more, or after a time; and since it arrives through the
same place, what it interrupted is seen there, and that it ended what it interrupted.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from types import CoroutineType
from typing import Any

import anyio
import outcome
import trio

from ..colours import Colour

ELSEWHERE = "elsewhere"

PHASES = {
    "Pool._connect": "looking at a kept connection",
    "Attempt.run": ELSEWHERE,
    "Pool._wait": "waiting for a place",
    "dial": "dialling",
    "AsyncioBackend.adopt": "dialling",
    "TLSStream.handshake": "shaking hands",
    "HTTP2Exchange._wait_for_room": "waiting for a stream",
    "HTTP11Exchange._upload_all": "sending",
    "HTTP11Exchange._advance": "sending",
    "HTTP2Exchange._upload": "sending",
    "HTTP2Exchange._advance_upload": "sending",
    "HTTP11Exchange.run": "waiting for the head",
    "HTTP11Exchange._receive_head": "waiting for the head",
    "HTTP2Exchange.run": "waiting for the head",
    "HTTP2Exchange._receive_head": "waiting for the head",
    "HTTP11Exchange._receive": "reading",
    "HTTP2Exchange._receive": "reading",
    "Trace.emit": "telling a hook",
}
"""What a request does while this coroutine, of those that wait for one another, is the innermost one here."""


class Swallowed(AssertionError):
    """A cancellation that was delivered did not end the exchange."""


@dataclass(frozen=True)
class Moment:
    """When an exchange is cancelled."""

    suspension: int = 0
    """At the how many-th it suspends; 0: only by time."""
    ticks: int = 0
    """How many suspensions of anybody later."""
    delay: float | None = None
    """Seconds."""
    phase: str = ""
    """In which phase alone suspensions are counted; otherwise in all."""


class Metronome:
    """Ticks whenever a worker suspends, and strikes those whose time has come."""

    def __init__(self) -> None:
        self._now = 0
        self._due: dict[int, list[Interruption]] = {}

    def tick(self) -> None:
        self._now += 1
        if self._due:
            for interruption in self._due.pop(self._now, ()):
                interruption.strike()

    def strike_later(self, interruption: Interruption, ticks: int) -> None:
        self._due.setdefault(self._now + ticks, []).append(interruption)


class Interruption:
    """Awaits an exchange, and cancels it once its moment has come."""

    __slots__ = (
        "_coroutine",
        "_metronome",
        "_moment",
        "_suspensions",
        "cancel",
        "is_due",
        "is_over",
        "is_struck",
        "phase",
        "was_struck_again",
    )

    def __init__(self, coroutine: Coroutine[Any, Any, None], moment: Moment, metronome: Metronome) -> None:
        self._coroutine = coroutine
        self._moment = moment
        self._metronome = metronome
        self._suspensions = 0
        self.cancel: Callable[[], object] = _nothing
        self.is_due: Callable[[], bool] = _never
        """Whether a scope was asked for it by time. Scopes within an exchange have cancellations of their own."""
        self.is_over = False
        self.is_struck = False
        self.phase: str | None = None
        """What the exchange was doing when the cancellation was delivered."""
        self.was_struck_again = False
        """Whether what it did of it was interrupted as well."""

    def strike(self) -> None:
        if not self.is_over:
            self.is_struck = True
            self.cancel()

    def __await__(self) -> Any:
        coroutine = self._coroutine
        value: Any = None
        error: BaseException | None = None
        try:
            while True:
                try:
                    trap = coroutine.send(value) if error is None else coroutine.throw(error)
                except StopIteration:
                    if self.phase is not None:
                        raise Swallowed(f"It went on after a cancellation while {self.phase}.") from None
                    return
                self._suspend()
                value = error = None
                try:
                    value = yield trap
                except asyncio.CancelledError as exc:
                    error = exc
                    self._note_delivery()
                except BaseException as exc:
                    error = exc
                else:
                    # trio sends what is then raised.
                    if type(value) is outcome.Error and isinstance(value.error, trio.Cancelled):
                        self._note_delivery()
        finally:
            self.is_over = True
            # What was raised leads back to here.
            del value, error

    def _note_delivery(self) -> None:
        if self.phase is None and (self.is_struck or self.is_due()):
            self.phase = phase_of(self._coroutine)

    def _suspend(self) -> None:
        metronome = self._metronome
        metronome.tick()
        if self.phase is not None:
            # The caller's own stream is told; whoever is in a hurry does not wait for that either.
            self.was_struck_again = True
            self.strike()
            return
        moment = self._moment
        if moment.phase and phase_of(self._coroutine) != moment.phase:
            return
        self._suspensions += 1
        if self._suspensions == moment.suspension:
            if moment.ticks:
                metronome.strike_later(self, moment.ticks)
            else:
                self.strike()


def phase_of(coroutine: object) -> str:
    """What a suspended exchange waits for."""
    phase = ELSEWHERE
    while isinstance(coroutine, CoroutineType):
        phase = PHASES.get(coroutine.__qualname__, phase)
        coroutine = coroutine.cr_await
    return phase


async def interrupt(
    colour: Colour, exchange: Coroutine[Any, Any, None], moment: Moment, metronome: Metronome
) -> Interruption:
    """Await an exchange that is cancelled at a moment, unless it ends before."""
    interruption = Interruption(exchange, moment, metronome)
    if colour.name in ("asyncio", "uvloop"):
        await _in_task(interruption, moment)
    else:
        await _in_scope(colour, interruption, moment)
    return interruption


async def _in_task(interruption: Interruption, moment: Moment) -> None:
    task = asyncio.current_task()
    assert task is not None
    interruption.cancel = task.cancel
    timer = None
    if moment.delay is not None:
        timer = asyncio.get_running_loop().call_later(moment.delay, interruption.strike)
    try:
        await interruption
    except asyncio.CancelledError:
        if interruption.phase is None:
            raise
        _uncancel(task)
    finally:
        if timer is not None:
            timer.cancel()
    if interruption.is_struck and interruption.phase is None:
        raise Swallowed("A task was asked to end, and the exchange did not hear of it.")


async def _in_scope(colour: Colour, interruption: Interruption, moment: Moment) -> None:
    scope: Any
    if colour.name == "trio":
        scope = trio.CancelScope()
        if moment.delay is not None:
            scope.deadline = trio.current_time() + moment.delay
    else:
        scope = anyio.CancelScope()
        if moment.delay is not None:
            scope.deadline = anyio.current_time() + moment.delay
    interruption.cancel = scope.cancel
    interruption.is_due = lambda: scope.cancel_called
    with scope:
        await interruption
    if scope.cancelled_caught is (interruption.phase is None):
        raise Swallowed(f"Caught: {scope.cancelled_caught}, delivered while {interruption.phase}.")


def _uncancel(task: asyncio.Task[Any]) -> None:
    if sys.version_info >= (3, 11):
        while task.cancelling():
            task.uncancel()


def _nothing() -> None:
    pass


def _never() -> bool:
    return False
