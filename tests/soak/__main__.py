"""The long runs, which can be interrupted and go on where they were.

    python -m tests.soak [--seconds N] [--cancellations N] [--shared N] [--requests N] [--state FILE]

The runs take turns in pieces until each has its number or the seconds are over. What they found is kept in
the state file, and printed as the table of docs/soak.md.
"""

from __future__ import annotations

import argparse
import json
import platform
import random
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from ..colours import ASYNC_NAMES, NAMES, Colour
from .cancellation import CancellationRun, is_built
from .integrity import IntegrityRun
from .server import start_server
from .streams import StreamRun

PIECE = 10_000
"""Cancellations, or requests, in one go."""

State = dict[str, dict[str, float]]


def cancel(name: str, count: int, state: State) -> None:
    figures = state.setdefault(f"cancellation {name}", {"cancelled": 0, "seconds": 0})
    begin = time.monotonic()
    with tempfile.TemporaryDirectory() as directory, start_server(Path(directory)) as server:
        seed = random.getrandbits(32)
        run = CancellationRun(Colour(name), server, http2=is_built("http2"), seed=seed)
        try:
            Colour(name).run(run.run, count)
        except BaseException:
            print(f"cancellation {name}: seed {seed}, after {run.figures}", file=sys.stderr)
            raise
    figures["cancelled"] += run.figures.cancelled
    figures["seconds"] += time.monotonic() - begin
    for protocol, number in run.figures.by_protocol.items():
        figures[protocol] = figures.get(protocol, 0) + number


def share(name: str, count: int, state: State) -> None:
    figures = state.setdefault(f"one connection {name}", {"cancelled": 0, "seconds": 0})
    begin = time.monotonic()
    seed = random.getrandbits(32)
    run = StreamRun(Colour(name), seed=seed)
    try:
        Colour(name).run(run.run, count)
    except BaseException:
        print(f"one connection {name}: seed {seed}, after {run.figures}", file=sys.stderr)
        raise
    figures["cancelled"] += run.figures.cancelled
    figures["seconds"] += time.monotonic() - begin


def check_integrity(name: str, protocol: str, count: int, state: State) -> None:
    figures = state.setdefault(
        f"integrity {protocol} {name}",
        {"served": 0, "failed": 0, "faults": 0, "replayed": 0, "mebibytes": 0, "seconds": 0},
    )
    begin = time.monotonic()
    with tempfile.TemporaryDirectory() as directory, start_server(Path(directory), share=0.01) as server:
        run = IntegrityRun(Colour(name), server, protocol=protocol, seed=random.getrandbits(32))
        # One thread each in sync; ten thousand of them at once are asked of nobody.
        at_once = min(count, 200 if name == "sync" else 10_000)
        Colour(name).run(lambda: run.run(count, at_once=at_once))
        report: dict[str, Any] = server.finish()
        run.judge(report, count)
    figures["served"] += run.outcome.served
    figures["failed"] += len(run.outcome.failed)
    figures["faults"] += sum(report["met"].values())
    figures["replayed"] += len(report["repeated"])
    figures["mebibytes"] += run.outcome.received / 2**20
    figures["seconds"] += time.monotonic() - begin


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.soak")
    parser.add_argument("--seconds", type=float, default=3600.0)
    parser.add_argument("--cancellations", type=int, default=1_000_000, help="for each async backend")
    parser.add_argument("--shared", type=int, default=100_000, help="cancellations on one connection, each")
    parser.add_argument("--requests", type=int, default=10_000, help="for each backend and protocol")
    parser.add_argument("--backends", nargs="*", default=list(NAMES))
    parser.add_argument("--state", type=Path, default=Path(".soak.json"))
    options = parser.parse_args()
    state: State = json.loads(options.state.read_text()) if options.state.exists() else {}
    end = time.monotonic() + options.seconds

    def keep() -> None:
        options.state.write_text(json.dumps(state, indent=1))

    for name in options.backends:
        for protocol in ("http11", "http2"):
            done = state.get(f"integrity {protocol} {name}", {}).get("served", 0)
            if is_built(protocol) and not done and time.monotonic() < end:
                check_integrity(name, protocol, options.requests, state)
                keep()
    for name in options.backends:
        left = options.shared - state.get(f"one connection {name}", {}).get("cancelled", 0)
        if left > 0 and time.monotonic() < end:
            share(name, int(left), state)
            keep()
    is_done = False
    while not is_done and time.monotonic() < end:
        is_done = True
        for name in options.backends:
            left = options.cancellations - state.get(f"cancellation {name}", {}).get("cancelled", 0)
            if name in ASYNC_NAMES and left > 0 and time.monotonic() < end:
                cancel(name, int(min(left, PIECE)), state)
                keep()
                is_done = False
    print(f"Python {platform.python_version()}, {platform.machine()}")
    for name, figures in state.items():
        print(f"- {name}: " + ", ".join(f"{value:,.0f} {what}" for what, value in figures.items()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
