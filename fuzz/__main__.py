"""`python -m fuzz NAME`: run one of the fuzzers. Exits with 1 at the first failure."""

from __future__ import annotations

import argparse
import sys

from . import hpack, http2, http11, trials

ATTEMPTS = {"http11": http11.attempt, "http2": http2.attempt, "hpack": hpack.attempt}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m fuzz", description="Fuzz one of the protocol engines.")
    parser.add_argument("name", choices=sorted(ATTEMPTS))
    parser.add_argument("--count", type=int, default=200_000, help="inputs to try")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="stop after so many seconds")
    parser.add_argument("--seed", type=int, default=1, help="the same seed gives the same inputs")
    parser.add_argument("--first", type=int, default=0, help="the number of the first input")
    options = parser.parse_args()
    return trials.run(
        ATTEMPTS[options.name],
        options.name,
        count=options.count,
        seconds=options.seconds,
        seed=options.seed,
        first=options.first,
    )


if __name__ == "__main__":
    sys.exit(main())
