"""The one timer of an HTTP/2 connection, with a loop that only takes notes."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic

from httpcore._backends.sync import SyncBackend
from httpcore._connections.http2.alarm import Alarm
from httpcore._connections.http2.lanes import Lane


class Loop(SyncBackend):
    def __init__(self) -> None:
        self.timers: dict[Callable[[], None], float] = {}

    def call_at(self, when: float, callback: Callable[[], None]) -> Callable[[], None]:
        self.timers[callback] = when
        return lambda: self.timers.__delitem__(callback)

    def ring(self) -> None:
        ((callback, _),) = self.timers.items()
        self.timers.clear()
        callback()


class Sleeper(Lane):
    def __init__(self, deadline: float | None) -> None:
        super().__init__()
        self.deadline = deadline
        self.parker = Bed()

    @property
    def is_awake(self) -> bool:
        assert isinstance(self.parker, Bed)
        return self.parker.is_unparked


class Bed:
    is_unparked = False

    async def park(self, deadline: float | None) -> bool:
        raise NotImplementedError

    def unpark(self, *, foreign: bool = False) -> None:
        self.is_unparked = True


def test_a_deadline_that_has_passed_is_not_set() -> None:
    loop = Loop()
    assert not Alarm(loop, set()).set(monotonic())
    assert loop.timers == {}


def test_an_earlier_deadline_takes_the_place_of_a_later_one() -> None:
    loop, now = Loop(), monotonic()
    alarm = Alarm(loop, set())
    for deadline in (now + 20, now + 10):
        assert alarm.set(deadline)
        assert list(loop.timers.values()) == [alarm.due] == [deadline]


def test_it_wakes_who_is_late_and_looks_for_the_next() -> None:
    loop, now = Loop(), monotonic()
    late, next_one, last, careless = Sleeper(now - 1), Sleeper(now + 10), Sleeper(now + 20), Sleeper(None)
    alarm = Alarm(loop, {late, next_one, last, careless})
    assert alarm.set(now + 5)
    loop.ring()
    assert [sleeper.is_awake for sleeper in (late, next_one, last, careless)] == [True, False, False, False]
    assert list(loop.timers.values()) == [alarm.due] == [now + 10]


def test_when_nobody_sleeps_it_is_off() -> None:
    loop = Loop()
    sleeper = Sleeper(monotonic() - 1)
    alarm = Alarm(loop, {sleeper})
    alarm.set(monotonic() + 5)
    loop.ring()
    assert sleeper.is_awake
    # Woken, it is none of the alarm's business any more.
    assert (sleeper.deadline, loop.timers) == (None, {})
    assert alarm.set(monotonic() + 5)
    alarm.cancel()
    assert loop.timers == {}
