"""What the benchmarks in memory share: their options, and the table that they print."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable

Results = dict[str, dict[str, float]]
"""Case -> codec -> the best microseconds; the first codec is "ours"."""


def compare(description: str, measure: Callable[[int], Results], *, unit: str, rival: str) -> None:
    """Measure, and print a table or JSON; the last column compares us with `rival`."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    options = parser.parse_args()
    results = measure(options.rounds)
    if options.json:
        print(json.dumps(results, indent=2))
        return
    names = list(next(iter(results.values())))
    print(f"{unit:42}" + "".join(f"{name:>12}" for name in names) + f"{'ours / ' + rival:>14}")
    for case, best in results.items():
        columns = "".join(f"{best[name]:12.2f}" for name in names)
        print(f"{case:42}{columns}{best['ours'] / best[rival]:14.3f}")
