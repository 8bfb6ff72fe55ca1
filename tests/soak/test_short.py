"""The short forms of the long runs. `make soak` is the long form."""

from __future__ import annotations

from pathlib import Path

import pytest

from ..colours import ASYNC_NAMES, NAMES, Colour
from .cancellation import MIX, CancellationRun
from .integrity import IntegrityRun
from .interruption import ELSEWHERE, PHASES
from .processes import start_server
from .streams import StreamRun

CANCELLATIONS = 10_000

SHARED = 2000
"""Cancellations on one connection."""

REQUESTS = 1000

LARGEST = 2 * 1024 * 1024
"""Bytes of the largest body; more than a window."""

PROTOCOLS = ("http11", "http2")

SELDOM = {ELSEWHERE, "waiting for a stream", "looking at a kept connection"}
"""Phases that ten thousand cancellations need not hit."""


@pytest.mark.parametrize("name", ASYNC_NAMES)
def test_random_cancellation(name: str, tmp_path: Path) -> None:
    colour = Colour(name)
    with start_server("brisk_server", tmp_path) as server:
        run = CancellationRun(colour, server, seed=1)
        colour.run(run.run, CANCELLATIONS)
    assert run.figures.cancelled >= CANCELLATIONS
    assert {protocol for protocol, _ in run.figures.hits} == set(MIX)
    assert {phase for _, phase in run.figures.hits} >= {*PHASES.values()} - SELDOM
    assert run.figures.again > 0


@pytest.mark.parametrize("name", NAMES)
def test_random_cancellation_on_one_connection(name: str) -> None:
    colour = Colour(name)
    run = StreamRun(colour, seed=1)
    colour.run(run.run, SHARED)
    assert run.figures.cancelled >= SHARED
    assert run.figures.finished > 0


# anyio's backends are asyncio's and trio's; only cancelling differs.
@pytest.mark.parametrize("name", ["sync", "asyncio", "uvloop", "trio"])
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_integrity(name: str, protocol: str, tmp_path: Path) -> None:
    colour = Colour(name)
    with start_server("server", tmp_path, "0.01") as server:
        run = IntegrityRun(colour, server, protocol=protocol, seed=1, largest=LARGEST)
        colour.run(lambda: run.run(REQUESTS, at_once=100 if name == "sync" else REQUESTS))
        report = server.finish()
    assert sum(report["met"].values()) > 0
    run.judge(report, REQUESTS)
