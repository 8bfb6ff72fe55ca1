"""The long runs, which can be interrupted and go on where they were.

    python -m tests.soak [--runs NAME …] [--backends NAME …] [--seconds N] [--state FILE]

`integrity` and `one-connection` run once on each backend; `cancellation` goes round in pieces, until each backend
has its number or the seconds are over. What they found is kept in the state file, and printed at the end.
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
from .cancellation import MIX, CancellationRun
from .integrity import IntegrityRun
from .processes import start_server
from .streams import StreamRun

RUNS = ("integrity", "one-connection", "cancellation")

PIECE = 20_000
"""Cancellations in one go."""

State = dict[str, dict[str, float]]


def cancel(name: str, count: int, state: State) -> None:
    figures = state.setdefault(f"cancellation {name}", {})
    begin = time.monotonic()
    with tempfile.TemporaryDirectory() as directory, start_server("brisk_server", Path(directory)) as server:
        seed = random.getrandbits(32)
        run = CancellationRun(Colour(name), server, seed=seed)
        try:
            Colour(name).run(run.run, count)
        except BaseException:
            print(f"cancellation {name}: seed {seed}, after {run.figures}", file=sys.stderr)
            raise
    found = {
        "cancelled": run.figures.cancelled,
        "cancelled again": run.figures.again,
        "finished": run.figures.finished,
        "seconds": time.monotonic() - begin,
        **{f"{protocol}: {phase}": number for (protocol, phase), number in run.figures.hits.items()},
    }
    for what, number in found.items():
        figures[what] = figures.get(what, 0) + number


def tabulate(state: State) -> None:
    """Where the cancellations landed, as a table of docs/soak.md."""
    runs = {
        name.removeprefix("cancellation "): figures
        for name, figures in state.items()
        if name.startswith("cancellation ")
    }
    if not runs:
        return
    hits = {what for figures in runs.values() for what in figures if what.split(": ")[0] in MIX}
    rows = ["cancelled", *sorted(hits), "cancelled again", "finished", "seconds"]
    print("| | " + " | ".join(runs) + " |")
    print("|---" * (len(runs) + 1) + "|")
    for row in rows:
        print(f"| {row} | " + " | ".join(f"{figures.get(row, 0):,.0f}" for figures in runs.values()) + " |")


def share(name: str, count: int, state: State) -> None:
    figures = state.setdefault(f"one-connection {name}", {"cancelled": 0, "seconds": 0})
    begin = time.monotonic()
    seed = random.getrandbits(32)
    run = StreamRun(Colour(name), seed=seed)
    try:
        Colour(name).run(run.run, count)
    except BaseException:
        print(f"one-connection {name}: seed {seed}, after {run.figures}", file=sys.stderr)
        raise
    figures["cancelled"] += run.figures.cancelled
    figures["seconds"] += time.monotonic() - begin


def check_integrity(name: str, protocol: str, count: int, state: State) -> None:
    figures = state.setdefault(
        f"integrity {protocol} {name}",
        {"served": 0, "failed": 0, "faults": 0, "replayed": 0, "mebibytes": 0, "seconds": 0},
    )
    begin = time.monotonic()
    with (
        tempfile.TemporaryDirectory() as directory,
        start_server("server", Path(directory), "0.01") as server,
    ):
        run = IntegrityRun(Colour(name), server, protocol=protocol, seed=random.getrandbits(32))
        # One thread each in sync; ten thousand of them at once are asked of nobody.
        at_once = min(count, 200 if name == "sync" else 10_000)
        Colour(name).run(lambda: run.run(count, at_once=at_once))
        report: dict[str, Any] = server.finish()
        run.judge(report, count)
    figures["served"] += len(run.outcome.served)
    figures["failed"] += len(run.outcome.failed)
    figures["faults"] += sum(report["met"].values())
    figures["replayed"] += len(report["repeated"])
    figures["mebibytes"] += sum(run.outcome.served.values()) / 2**20
    figures["seconds"] += time.monotonic() - begin


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.soak")
    parser.add_argument("--runs", nargs="*", default=list(RUNS), choices=RUNS)
    parser.add_argument("--backends", nargs="*", default=list(NAMES), choices=NAMES)
    parser.add_argument("--seconds", type=float, default=3600.0)
    parser.add_argument("--cancellations", type=int, default=1_000_000, help="for each async backend")
    parser.add_argument("--shared", type=int, default=100_000, help="cancellations on one connection, each")
    parser.add_argument("--requests", type=int, default=10_000, help="for each backend and protocol")
    parser.add_argument("--state", type=Path, default=Path(".soak.json"))
    options = parser.parse_args()
    state: State = json.loads(options.state.read_text()) if options.state.exists() else {}
    end = time.monotonic() + options.seconds

    def keep() -> None:
        options.state.write_text(json.dumps(state, indent=1))

    def left(run: str, name: str, goal: int) -> int:
        """What a run has yet to do, if there is time."""
        done = state.get(f"{run} {name}", {}).get("cancelled", 0)
        return max(0, int(goal - done)) if time.monotonic() < end else 0

    if "integrity" in options.runs:
        for name in options.backends:
            for protocol in ("http11", "http2"):
                if f"integrity {protocol} {name}" not in state and time.monotonic() < end:
                    check_integrity(name, protocol, options.requests, state)
                    keep()
    if "one-connection" in options.runs:
        for name in options.backends:
            if count := left("one-connection", name, options.shared):
                share(name, count, state)
                keep()
    if "cancellation" in options.runs:
        for name in options.backends:
            while name in ASYNC_NAMES and (count := left("cancellation", name, options.cancellations)):
                cancel(name, min(count, PIECE), state)
                keep()
    print(f"Python {platform.python_version()}, {platform.machine()}")
    tabulate(state)
    for name, figures in state.items():
        if name.startswith("cancellation "):
            continue
        print(f"- {name}: " + ", ".join(f"{value:,.0f} {what}" for what, value in figures.items()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
