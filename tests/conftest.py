"""Fixtures for all tests: the colour, and the check that nothing is left behind."""

from __future__ import annotations

import gc
import os
import threading
import time
from collections.abc import Iterator

import hypothesis
import pytest

from .colours import NAMES, Colour

# The suite says the same each time, and on a slow machine too; new examples are the fuzzers' to find.
hypothesis.settings.register_profile(
    "suite",
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)
hypothesis.settings.load_profile("suite")


PATIENCE = 5.0
"""Seconds that threads have to end, once they have been told to: they may not be run at once."""


@pytest.fixture(params=NAMES)
def colour(request: pytest.FixtureRequest) -> Colour:
    return Colour(request.param)


@pytest.fixture(scope="session", autouse=True)
def _warm_up() -> None:
    """What a library opens once and keeps is no leak of the first test that uses it."""

    async def nothing() -> None:
        pass

    for name in NAMES:
        Colour(name).run(nothing)


@pytest.fixture
def nothing_left() -> Iterator[None]:
    """Descriptors and threads are back to what they were, as soon as the threads have ended."""
    # Frozen, what was there before need not be looked at by each collection of the test.
    gc.freeze()
    before = _count()
    try:
        yield
        deadline = time.monotonic() + PATIENCE
        while (after := _count()) > before and time.monotonic() < deadline:
            time.sleep(0.005)
    finally:
        gc.unfreeze()
    assert after <= before


def _count() -> tuple[int, int]:
    gc.collect()
    return (_descriptors(), threading.active_count())


def _descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))
