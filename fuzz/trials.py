"""What every fuzzer does: try input after input, keep the tally, and say how to see a failure again."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable

Attempt = Callable[[int, random.Random], str]
"""Makes the input of that number with that generator, tries it, and returns what became of it."""


class Failure(Exception):
    """What was tried did what it must not do."""


def run(
    attempt: Attempt, name: str, *, count: int, seconds: float = float("inf"), seed: int = 1, first: int = 0
) -> int:
    """Try `count` inputs, or as many as fit into `seconds`; returns the exit status."""
    tally: Counter[str] = Counter()
    slowest = 0.0
    started = last = time.perf_counter()
    for index in range(first, first + count):
        try:
            tally[attempt(index, random.Random(seed << 40 | index))] += 1
        except Exception as exc:
            print(f"FAILED: {type(exc).__name__}: {exc}")
            print(f"again: python -m fuzz {name} --seed {seed} --first {index} --count 1")
            if not isinstance(exc, Failure):
                raise
            return 1
        now = time.perf_counter()
        slowest = max(slowest, now - last)
        last = now
        if now - started > seconds:
            break
    done = tally.total()
    took = last - started
    shares = ", ".join(f"{number} {outcome}" for outcome, number in sorted(tally.items()))
    rate = f"{done / took:.0f}/s"
    print(f"{name}: {done} inputs in {took:.1f} s ({rate}), {shares}, slowest {slowest:.3f} s, seed {seed}")
    return 0
