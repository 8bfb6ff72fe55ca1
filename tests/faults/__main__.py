"""Run the fault catalogue and print which row passes on which backend.

    python -m tests.faults [--layer h1 …] [--backend asyncio …] [--write docs/faults.md]
    python -m tests.faults --missing

Exits with 1 if a row failed or no test shows it. `--missing` runs nothing, and names what no test shows.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from ..colours import NAMES
from .report import Report, Verdict, format_table, rows_of
from .rows import LAYERS, cells_of

HEAD = """# The fault catalogue

What becomes of each scenario on each backend. A row passes only if what is expected happens, and the next
request on the same pool gets its own answer. Made by `make faults`.

"""

QUIET = ["-W", "ignore:Module already imported:pytest.PytestAssertRewriteWarning"]
"""What pytest says because the colours were imported before it; it would be an error."""


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.faults")
    parser.add_argument("--layer", action="append", choices=LAYERS)
    parser.add_argument("--backend", action="append", choices=NAMES)
    parser.add_argument("--write", type=Path, metavar="FILE", help="write the table there, too")
    parser.add_argument("--missing", action="store_true", help="only name what no test shows")
    options = parser.parse_args()
    layers: Sequence[str] = options.layer or LAYERS
    backends: Sequence[str] = options.backend or NAMES
    report = Report()
    plugins = [report, _Selection(layers, backends)]
    arguments = ["-q", "--no-header", "-p", "no:cacheprovider", *QUIET, str(Path(__file__).parent)]
    if options.missing:
        pytest.main([*arguments, "-qqq", "--collect-only"], plugins=plugins)
        return _print_missing(report, layers, backends)
    pytest.main(arguments, plugins=plugins)
    table = format_table(report, layers, backends)
    print(table)
    if options.write is not None:
        options.write.write_text(HEAD + table, encoding="utf-8")
    good = (Verdict.PASSED, Verdict.NOT_APPLICABLE)
    verdicts = (report.verdict(row, backend) for row in rows_of(layers) for backend in backends)
    return 0 if all(verdict in good for verdict in verdicts) else 1


def _print_missing(report: Report, layers: Sequence[str], backends: Sequence[str]) -> int:
    missing = list(report.missing(layers, backends))
    for row_id, backend in missing:
        print(f"No test shows {row_id} on {backend}.")
    return 1 if missing else 0


class _Selection:
    """A plugin that leaves only the tests of the chosen layers and backends."""

    def __init__(self, layers: Sequence[str], backends: Sequence[str]) -> None:
        self._rows = {row.id for row in rows_of(layers)}
        self._backends = set(backends)

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        items[:] = [item for item in items if any(self._is_chosen(cell) for cell in cells_of(item))]

    def _is_chosen(self, cell: tuple[str, str]) -> bool:
        return cell[0] in self._rows and cell[1] in self._backends


if __name__ == "__main__":
    sys.exit(main())
