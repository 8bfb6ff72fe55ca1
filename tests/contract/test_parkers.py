"""What `Parker` promises: one sleep and one wake-up, in any order, from anywhere."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Awaitable, Callable
from time import monotonic

import anyio
import pytest

from httpcore._backends.base import Parker

from ..colours import TIMEOUT, Colour
from .wires import backend_of

SOON = 0.02
"""Seconds after which a sleep that nobody ends is over."""


def run(colour: Colour, body: Callable[[Parker], Awaitable[None]]) -> None:
    async def main() -> None:
        await body(backend_of(colour).create_parker())

    colour.run(main)


@pytest.mark.parametrize("foreign", [False, True])
@pytest.mark.parametrize("times", [1, 2])
def test_the_wake_up_may_come_first(colour: Colour, foreign: bool, times: int) -> None:
    async def body(parker: Parker) -> None:
        for _ in range(times):
            parker.unpark(foreign=foreign)
        assert await parker.park(None)
        # Afterwards it is without effect.
        parker.unpark(foreign=foreign)

    run(colour, body)


@pytest.mark.parametrize("foreign", [False, True])
@pytest.mark.parametrize("seconds", [None, TIMEOUT])
def test_threads_wake_the_sleeper(colour: Colour, foreign: bool, seconds: float | None) -> None:
    async def body(parker: Parker) -> None:
        threads = [
            threading.Thread(target=lambda: parker.unpark(foreign=foreign), daemon=True) for _ in range(3)
        ]

        async def sleep() -> None:
            assert await parker.park(None if seconds is None else monotonic() + seconds)

        async def wake() -> None:
            await colour.pause()
            for thread in threads:
                thread.start()

        await colour.gather(sleep, wake)
        for thread in threads:
            thread.join()

    run(colour, body)


def test_a_task_wakes_the_sleeper(colour: Colour) -> None:
    async def body(parker: Parker) -> None:
        async def sleep() -> None:
            assert await parker.park(monotonic() + TIMEOUT)

        async def wake() -> None:
            await colour.pause()
            parker.unpark()
            parker.unpark()

        await colour.gather(sleep, wake)

    run(colour, body)


def test_a_signal_handler_wakes_the_sleeper(colour: Colour) -> None:
    async def body(parker: Parker) -> None:
        before = signal.signal(signal.SIGUSR1, lambda *_: parker.unpark(foreign=True))
        # The loop sleeps in its selector by then, or the handler comes first: either way it has to wake up.
        timer = threading.Timer(SOON, os.kill, (os.getpid(), signal.SIGUSR1))
        timer.start()
        try:
            assert await parker.park(monotonic() + TIMEOUT)
        finally:
            timer.join()
            signal.signal(signal.SIGUSR1, before)

    run(colour, body)


def test_a_sleep_is_over_at_its_deadline_and_not_before(colour: Colour) -> None:
    async def main() -> None:
        for seconds in (-1.0, 0.0, 0.0004, 0.0014, 0.0094, SOON):
            parker = backend_of(colour).create_parker()
            deadline = monotonic() + seconds
            assert not await parker.park(deadline)
            assert 0.0 <= monotonic() - deadline < 1.0 + abs(seconds)
            # It finds nobody.
            parker.unpark()

    colour.run(main)


def test_a_wake_up_beats_a_deadline_that_has_passed(colour: Colour) -> None:
    async def body(parker: Parker) -> None:
        parker.unpark()
        assert await parker.park(monotonic() - 1.0)

    run(colour, body)


def test_a_cancelled_sleep_leaves_nothing(colour: Colour) -> None:
    async def body(parker: Parker) -> None:
        with anyio.move_on_after(SOON) as scope:
            await parker.park(monotonic() + TIMEOUT)
        assert scope.cancelled_caught
        parker.unpark()
        await colour.pause()

    if colour.is_async:
        run(colour, body)


def test_waking_after_the_loop_is_without_effect(colour: Colour) -> None:
    async def main() -> Parker:
        parker = backend_of(colour).create_parker()
        assert not await parker.park(monotonic() + 0.001)
        return parker

    parker = colour.run(main)
    parker.unpark()
    parker.unpark(foreign=True)
