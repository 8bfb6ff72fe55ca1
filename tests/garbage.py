"""What is left to the garbage collector, and should have gone by itself."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def kept_garbage() -> Iterator[list[object]]:
    """Have `gc.collect` keep what it finds, in this list, until the end."""
    gc.collect()
    gc.disable()
    gc.set_debug(gc.DEBUG_SAVEALL)
    try:
        yield gc.garbage
    finally:
        gc.set_debug(0)
        gc.enable()
        gc.garbage.clear()


def types_of_ours(garbage: list[object]) -> set[str]:
    """The names of the library's types of which there are instances in it."""
    return {type(found).__name__ for found in garbage if type(found).__module__.startswith("httpcore")}
