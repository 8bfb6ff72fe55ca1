"""The short forms of the long runs. `make soak` is the long form."""

from __future__ import annotations

from pathlib import Path

import pytest

from ..colours import ASYNC_NAMES, NAMES, Colour
from .cancellation import CancellationRun, is_built
from .integrity import IntegrityRun
from .server import start_server
from .streams import StreamRun

CANCELLATIONS = 2000

REQUESTS = 1000

PROTOCOLS = [name for name in ("http11", "http2") if is_built(name)]


@pytest.mark.parametrize("name", ASYNC_NAMES)
def test_random_cancellation(name: str, tmp_path: Path) -> None:
    colour = Colour(name)
    with start_server(tmp_path) as server:
        run = CancellationRun(colour, server, http2=is_built("http2"), seed=1)
        colour.run(run.run, CANCELLATIONS)
    assert run.figures.cancelled >= CANCELLATIONS
    assert set(run.figures.by_protocol) == {*PROTOCOLS, "tls"}


@pytest.mark.parametrize("name", NAMES)
def test_random_cancellation_on_one_connection(name: str) -> None:
    colour = Colour(name)
    run = StreamRun(colour, seed=1)
    colour.run(run.run, CANCELLATIONS)
    assert run.figures.cancelled >= CANCELLATIONS
    assert run.figures.finished > 0


# anyio's backends are asyncio's and trio's; only cancelling differs.
@pytest.mark.parametrize("name", ["sync", "asyncio", "uvloop", "trio"])
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_integrity(name: str, protocol: str, tmp_path: Path) -> None:
    colour = Colour(name)
    with start_server(tmp_path, share=0.01) as server:
        run = IntegrityRun(colour, server, protocol=protocol, seed=1)
        colour.run(lambda: run.run(REQUESTS, at_once=100 if name == "sync" else REQUESTS))
        report = server.finish()
    assert sum(report["met"].values()) > 0
    run.judge(report, REQUESTS)
