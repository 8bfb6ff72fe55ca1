"""What only trio's backend has to see to."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, contextmanager
from time import monotonic

import outcome
import pytest
import trio
import trio.testing

from httpcore._backends.trio import Alarm, TrioStream, _alarm_of_this_run


@pytest.mark.parametrize("writable", [False, True])
def test_a_nudge_just_before_the_wait(writable: bool) -> None:
    """Waiting takes a turn or two to set up, and whoever nudges in between would wake nobody."""

    async def main() -> None:
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        stream = TrioStream(ours)
        # So that there is no room to write either.
        while stream.try_send(bytes(65536)):
            pass
        for _ in range(20):
            has_begun = trio.Event()

            async def wait(has_begun: trio.Event = has_begun) -> None:
                has_begun.set()
                assert await stream.wait(True, writable, None)

            async def nudge(has_begun: trio.Event = has_begun) -> None:
                await has_begun.wait()
                assert stream.nudge()

            with trio.fail_after(10):
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(wait)
                    nursery.start_soon(nudge)
        stream.abort()
        theirs.close()

    trio.run(main)


# The alarm. trio's clock is made to jump to the next deadline as soon as everybody waits.


@contextmanager
def silent() -> Iterator[TrioStream]:
    """A stream on which nothing arrives."""
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    stream = TrioStream(ours)
    with theirs:
        try:
            yield stream
        finally:
            # A generator that is closed gets here as well.
            stream.abort()


def jumping() -> trio.testing.MockClock:
    return trio.testing.MockClock(autojump_threshold=0)


def test_each_reader_has_its_own_deadline() -> None:
    ends: list[tuple[float, int]] = []

    async def read(seconds: int) -> None:
        with silent() as stream:
            assert not await stream.wait(True, False, monotonic() + seconds)
            ends.append((trio.current_time(), seconds))

    async def main() -> None:
        begin = trio.current_time()
        async with trio.open_nursery() as nursery:
            # In an order in which the alarm is set later, earlier, and between.
            for seconds in (300, 500, 100, 400, 200):
                nursery.start_soon(read, seconds)
        assert [seconds for _, seconds in ends] == [100, 200, 300, 400, 500]
        for end, seconds in ends:
            assert seconds - 1 < end - begin < seconds + 1

    trio.run(main, clock=jumping())


def test_a_wait_that_is_over_has_no_deadline_any_more() -> None:
    async def main() -> None:
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        stream = TrioStream(ours)
        with theirs:
            theirs.send(b"!")
            assert await stream.wait(True, False, monotonic() + 10)
            assert stream.try_receive(10) == b"!"
            begin = trio.current_time()
            # Longer than the first, so that the alarm looks in between, and finds nobody who is late.
            assert not await stream.wait(True, False, monotonic() + 100)
            assert trio.current_time() - begin > 99
            # Shorter than what the alarm waits for, if for anything.
            begin = trio.current_time()
            assert not await stream.wait(True, False, monotonic() + 5)
            assert trio.current_time() - begin < 6
        stream.abort()
        assert not _alarm_of_this_run().waiting

    trio.run(main, clock=jumping())


def test_a_cancelled_wait_passes_it_on_and_is_forgotten() -> None:
    async def main() -> None:
        with silent() as stream:
            with trio.CancelScope() as scope:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(stream.wait, True, False, monotonic() + 1000)
                    await trio.testing.wait_all_tasks_blocked()
                    assert len(_alarm_of_this_run().waiting) == 1
                    scope.cancel()
            assert scope.cancelled_caught
            assert not _alarm_of_this_run().waiting

    trio.run(main)


def test_who_nudges_wakes_nobody_for_good() -> None:
    """A reader that is woken before its deadline is told that something may be here, and not that it is late."""

    async def main() -> None:
        with silent() as stream:
            async with trio.open_nursery() as nursery:

                async def read() -> None:
                    assert await stream.wait(True, False, monotonic() + 1000)
                    assert not await stream.wait(True, False, monotonic() + 10)

                nursery.start_soon(read)
                await trio.testing.wait_all_tasks_blocked()
                stream.nudge()

    trio.run(main, clock=jumping())


def test_a_writer_does_not_share_the_readers_deadline() -> None:
    async def main() -> None:
        with silent() as stream:
            while stream.try_send(bytes(65536)):
                pass
            begin = trio.current_time()
            async with trio.open_nursery() as nursery:

                async def write() -> None:
                    # Woken without cause, as any wait may be.
                    assert await stream.wait(False, True, monotonic() + 100)
                    assert trio.current_time() - begin < 11
                    assert not await stream.wait(False, True, monotonic() + 100)

                async def read() -> None:
                    assert not await stream.wait(True, False, monotonic() + 10)

                nursery.start_soon(write)
                nursery.start_soon(read)

    trio.run(main, clock=jumping())


def test_many_that_are_late_one_after_the_other_share_a_look(monkeypatch: pytest.MonkeyPatch) -> None:
    looks = 0
    ring = Alarm._ring

    def count(self: Alarm, now: float) -> float:
        nonlocal looks
        looks += 1
        return ring(self, now)

    monkeypatch.setattr(Alarm, "_ring", count)

    async def main() -> None:
        alarm = _alarm_of_this_run()
        with ExitStack() as stack:
            stream = stack.enter_context(silent())
            begin = trio.current_time() + 100
            for number in range(200):
                alarm.waiting[stack.enter_context(socket.socket())] = begin + number * 1e-6
            assert not await stream.wait(True, False, monotonic() + 100)
            await trio.sleep(1)
            assert not alarm.waiting
        assert looks < 5

    trio.run(main, clock=jumping())


def test_a_reader_who_outlasts_the_main_task_has_a_deadline() -> None:
    ends: list[float] = []

    async def linger() -> None:
        with silent() as stream, trio.CancelScope(shield=True):
            # The alarm goes with the main task, and says so.
            assert await stream.wait(True, False, monotonic() + 100)
            begin = trio.current_time()
            assert not await stream.wait(True, False, monotonic() + 100)
            ends.append(trio.current_time() - begin)

    async def main() -> None:
        trio.lowlevel.spawn_system_task(linger)
        await trio.testing.wait_all_tasks_blocked()

    trio.run(main, clock=jumping())
    assert len(ends) == 1
    assert 99 < ends[0] < 101


def test_a_reader_in_the_last_generator_to_be_closed_has_a_deadline() -> None:
    ends: list[float] = []

    async def generate() -> AsyncIterator[None]:
        with silent() as stream:
            try:
                yield
            finally:
                with trio.CancelScope(shield=True):
                    begin = trio.current_time()
                    assert not await stream.wait(True, False, monotonic() + 100)
                    ends.append(trio.current_time() - begin)

    async def main() -> None:
        generator = generate()
        kept.append(generator)
        await generator.__anext__()

    kept: list[object] = []
    trio.run(main, clock=jumping())
    assert len(ends) == 1
    assert 99 < ends[0] < 101


def test_a_reader_in_a_guest_run_has_a_deadline() -> None:
    async def main() -> None:
        with silent() as stream:
            assert not await stream.wait(True, False, monotonic() + 0.01)

    async def host() -> None:
        loop = asyncio.get_running_loop()
        done: asyncio.Future[outcome.Outcome[None]] = loop.create_future()
        trio.lowlevel.start_guest_run(
            main, run_sync_soon_threadsafe=loop.call_soon_threadsafe, done_callback=done.set_result
        )
        (await done).unwrap()

    asyncio.run(host())
