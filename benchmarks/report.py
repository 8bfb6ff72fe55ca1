"""What the runs that measure many clients share: their options, and the record that they leave."""

from __future__ import annotations

import argparse
import json
import platform
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"


def read_options(description: str | None) -> argparse.Namespace:
    """The command line; `rounds`, and the `share` of a round's requests that are sent."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="3 short rounds")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--only", default="", help="scenarios whose name contains this")
    parser.add_argument("--awake", action="store_true", help="never let the client's core halt")
    options = parser.parse_args()
    options.share = 1.0
    if options.quick:
        options.rounds, options.share = 3, 0.5
    return options


def write_record(name: str, rounds: int, rows: list[dict[str, Any]]) -> None:
    RESULTS.mkdir(exist_ok=True)
    record = {"python": platform.python_version(), "rounds": rounds, "rows": rows}
    (RESULTS / f"{name}.json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
