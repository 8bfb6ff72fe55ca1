"""Cancelling what is awaited at one of its suspensions."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import anyio
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
