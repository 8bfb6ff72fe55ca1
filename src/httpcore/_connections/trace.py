"""`ext["trace"]`: a callable that is told when each phase starts, completes or fails.

Names follow httpcore 1.x. `info` holds what the phase was given on `.started`, `return_value` on
`.complete`, and `exception` on `.failed`. A hook may be async on the async interface. What it raises is the
caller's own, and passes unchanged.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")

Info = dict[str, object]


class Trace:
    __slots__ = ("has_failed", "hook")

    def __init__(self, hook: object) -> None:
        if not callable(hook):
            raise TypeError(f"ext['trace'] must be callable, not {type(hook).__name__}.")
        self.hook: Callable[[str, Info], object] = hook
        # What the hook raised is the caller's, whatever it looks like.
        self.has_failed = False

    async def emit(self, name: str, info: Info) -> None:
        try:
            result = self.hook(name, info)
            if isinstance(result, Awaitable):
                await result
        except BaseException:
            self.has_failed = True
            raise

    async def run(self, name: str, info: Info, phase: Callable[..., Awaitable[T]], *arguments: object) -> T:
        """Await `phase(*arguments)`, and tell the hook about it."""
        await self.emit(f"{name}.started", info)
        try:
            value = await phase(*arguments)
        except BaseException as exc:
            await self.emit(f"{name}.failed", {"exception": exc})
            raise
        await self.emit(f"{name}.complete", {"return_value": value})
        return value


async def traced(
    trace: Trace | None, name: str, info: Info, phase: Callable[..., Awaitable[T]], *arguments: object
) -> T:
    """Run a phase that is not on the hot path, traced where somebody listens."""
    if trace is None:
        return await phase(*arguments)
    return await trace.run(name, info, phase, *arguments)
