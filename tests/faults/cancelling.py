"""Cancelling what is awaited: at one of its suspensions, or as soon as something has come about beside it."""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import anyio
import pytest
import trio

from ..colours import Colour


class CancelAt:
    """Awaits an awaitable, and cancels it at its k-th suspension.

    The wrapped awaitable's own suspensions are passed through to the loop, so it runs as it would. Without
    `cancel`, asyncio's cancellation arrives as late as it may: when what was awaited is there already.
    """

    def __init__(self, awaitable: Awaitable[object], k: int, cancel: Callable[[], None] | None) -> None:
        self._awaitable = awaitable
        self._k = k
        self._cancel = cancel
        self._suspensions = 0
        self.is_cancelled = False

    def __await__(self) -> Any:
        iterator = self._awaitable.__await__()
        value: Any = None
        error: BaseException | None = None
        while True:
            try:
                trap = iterator.throw(error) if error is not None else iterator.send(value)
            except StopIteration as stop:
                return stop.value
            self._suspensions += 1
            if self._suspensions == self._k:
                self.is_cancelled = True
                if self._cancel is not None:
                    self._cancel()
            try:
                value, error = (yield trap), None
                if self._suspensions == self._k and self._cancel is None:
                    error = asyncio.CancelledError()
            except BaseException as exc:
                value, error = None, exc


async def cancel_at(
    colour: Colour, awaitable: Callable[[], Awaitable[object]], k: int, *, is_late: bool = False
) -> bool:
    """Run and cancel at suspension k; whether there was one. A cancellation that nobody notices is a fault."""
    if colour.is_trio:
        with trio.CancelScope() as trio_scope:
            wrapped = CancelAt(awaitable(), k, trio_scope.cancel)
            try:
                await wrapped
            except (trio.Cancelled, Exception):
                raise
            except BaseException as exc:
                raise AssertionError("A nursery of ours wrapped it.") from exc
        assert trio_scope.cancelled_caught is wrapped.is_cancelled
        return wrapped.is_cancelled
    if colour.name.startswith("anyio"):
        with anyio.CancelScope() as scope:
            wrapped = CancelAt(awaitable(), k, scope.cancel)
            await wrapped
        # On asyncio it delivers in a later turn of the loop: an exchange may be over before it comes to that.
        assert scope.cancelled_caught is wrapped.is_cancelled or not colour.is_trio
        return wrapped.is_cancelled
    task: asyncio.Task[object]

    async def run() -> object:
        nonlocal wrapped
        wrapped = CancelAt(awaitable(), k, None if is_late else lambda: _ignore(task.cancel()))
        return await wrapped

    task = asyncio.ensure_future(run())
    await asyncio.wait([task])
    if not task.cancelled():
        task.result()
    assert task.cancelled() is wrapped.is_cancelled
    return wrapped.is_cancelled


def _ignore(value: object) -> None:
    pass


Task = Callable[[], Awaitable[object]]


class Interrupt(BaseException):
    """What cancels in sync: a signal whose handler raises."""


async def cancel_when(colour: Colour, victim: Task, condition: Callable[[], bool], *others: Task) -> None:
    """Run all beside one another, and cancel `victim`, or interrupt its thread, as soon as the condition holds."""
    if not colour.is_async:
        await _interrupt_when(colour, victim, condition, others)
        return

    async def cancel(scope: Any) -> None:
        while not condition():
            await colour.pause()
        scope.cancel()

    if colour.name in ("asyncio", "uvloop"):
        task = asyncio.ensure_future(_returning(victim))
        await colour.gather(partial(cancel, task), *others)
        with pytest.raises(asyncio.CancelledError):
            await task
        return
    scope = trio.CancelScope() if colour.is_trio else anyio.CancelScope()

    async def doomed() -> None:
        with scope:
            await victim()
        assert scope.cancelled_caught

    await colour.gather(doomed, partial(cancel, scope), *others)


async def _returning(task: Task) -> object:
    return await task()


async def _interrupt_when(
    colour: Colour, victim: Task, condition: Callable[[], bool], others: tuple[Task, ...]
) -> None:
    main_thread = threading.get_ident()
    errors: list[BaseException] = []
    is_over = threading.Event()
    is_armed = True

    def run_others() -> None:
        async def interrupt() -> None:
            while not condition():
                await colour.pause()
            # One that arrives just before a system call does not interrupt it.
            while not is_over.is_set():
                signal.pthread_kill(main_thread, signal.SIGUSR1)
                await colour.pause()

        try:
            colour.run(lambda: colour.gather(interrupt, *others))
        except BaseException as exc:
            errors.append(exc)

    def handler(signum: int, frame: object) -> None:
        nonlocal is_armed
        if is_armed:
            is_armed = False
            raise Interrupt

    previous = signal.signal(signal.SIGUSR1, handler)
    thread = threading.Thread(target=run_others)
    try:
        thread.start()
        with pytest.raises(Interrupt):
            await victim()
    finally:
        is_over.set()
        thread.join(30)
        signal.signal(signal.SIGUSR1, previous)
    assert not thread.is_alive()
    if errors:
        raise errors[0]
