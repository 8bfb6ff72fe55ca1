"""The one driver of the sync interface.

Everything that waits is written once, as `async def`. The sync interface runs the same coroutines with a
backend whose awaits block the thread and never suspend: then one `send(None)` runs a coroutine to its end,
which Python reports as `StopIteration`. A coroutine that does suspend awaited something of an event loop
(an async trace hook, an async resolver); it is closed, so that its cleanup runs, and the mistake is named.
"""

from __future__ import annotations

from collections.abc import Coroutine
from typing import TypeVar

T = TypeVar("T")


def run(coroutine: Coroutine[object, None, T]) -> T:
    """Run `coroutine` in this thread and return what it returns."""
    try:
        coroutine.send(None)
    except StopIteration as stop:
        result: T = stop.value
        return result
    coroutine.close()
    raise RuntimeError("Something that needs an event loop was awaited on the sync interface.")
