"""Print the table of the fault catalogue: which row passes on which backend, from a run of the tests.

python -m tests.faults [--write docs/faults.md]
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from ..colours import NAMES

CATALOGUE: list[dict[str, str]] = json.loads(
    (Path(__file__).parent / "catalogue.json").read_text(encoding="utf-8")
)


class Collector:
    """Notes the outcome of each test under the rows it shows."""

    def __init__(self) -> None:
        self.outcomes: dict[str, dict[str, bool]] = {}
        self._rows: dict[str, list[tuple[str, str]]] = {}

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        for item in items:
            ids = {row_id for mark in item.iter_markers("row") for row_id in mark.args}
            parameters: dict[str, Any] = getattr(getattr(item, "callspec", None), "params", {})
            own = parameters.get("row_id")
            colour = parameters.get("colour") or parameters.get("name")
            names = [colour] if colour in NAMES else ["sync"]
            shown = [own] if own in ids else sorted(ids)
            self._rows[item.nodeid] = [(str(row_id), str(name)) for row_id in shown for name in names]

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when != "call" and report.passed:
            return
        for row_id, name in self._rows.get(report.nodeid, ()):
            cell = self.outcomes.setdefault(row_id, {})
            cell[name] = cell.get(name, True) and report.passed


def table(outcomes: dict[str, dict[str, bool]]) -> str:
    marks = {True: "passed", False: "FAILED", None: "–"}
    lines = [f"| row | layer | {' | '.join(NAMES)} |", f"|---|---|{'---|' * len(NAMES)}"]
    for row in CATALOGUE:
        found = outcomes.get(row["id"], {})
        cells = [marks[found.get(name)] if found else "no test" for name in NAMES]
        lines.append(f"| {row['id']} | {row['layer']} | {' | '.join(cells)} |")
    covered = sum(bool(outcomes.get(row["id"])) for row in CATALOGUE)
    failed = sum(not all(cells.values()) for cells in outcomes.values())
    lines.append(f"\n{covered} of {len(CATALOGUE)} rows have a test, {failed} of them fail somewhere.")
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", type=Path, help="also write the table to this file")
    arguments = parser.parse_args()
    collector = Collector()
    code = pytest.main(["-q", "-p", "no:cacheprovider", str(Path(__file__).parent)], plugins=[collector])
    text = table(collector.outcomes)
    print(text)
    if arguments.write:
        intro = (
            "# The fault catalogue\n\nMade by `make faults`, from a run of `tests/faults`. "
            "“–”: the row's tests do not concern this backend; “no test”: nothing shows the row yet.\n\n"
        )
        arguments.write.write_text(intro + text + "\n", encoding="utf-8")
    return int(code)


if __name__ == "__main__":
    sys.exit(main())
