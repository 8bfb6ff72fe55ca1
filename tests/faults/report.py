"""A pytest plugin that gathers what became of each row of the catalogue on each backend."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from enum import Enum

import pytest

from .rows import CATALOGUE, Row, cells_of


class Verdict(Enum):
    PASSED = "passed"
    FAILED = "FAILED"
    MISSING = "MISSING"
    NOT_APPLICABLE = "n.a."


class Report:
    """Register it as a plugin of a run; then ask it for verdicts."""

    def __init__(self) -> None:
        self.shown: dict[tuple[str, str], set[str]] = {}
        """What shows a row on a backend."""
        self.failed: set[str] = set()
        self.passed: set[str] = set()

    @pytest.hookimpl
    def pytest_collection_finish(self, session: pytest.Session) -> None:
        for item in session.items:
            for cell in cells_of(item):
                self.shown.setdefault(cell, set()).add(item.nodeid)

    @pytest.hookimpl
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            self.failed.add(report.nodeid)
        elif report.when == "call" and report.passed:
            self.passed.add(report.nodeid)

    def verdict(self, row: Row, backend: str) -> Verdict:
        tests = self.shown.get((row.id, backend), set())
        if tests & self.failed:
            return Verdict.FAILED
        if not tests:
            is_meant = row.reason_against(backend) is None
            return Verdict.MISSING if is_meant else Verdict.NOT_APPLICABLE
        # One that was skipped, or that the run did not get to, shows nothing.
        return Verdict.PASSED if tests <= self.passed else Verdict.MISSING

    def missing(self, layers: Sequence[str], backends: Sequence[str]) -> Iterator[tuple[str, str]]:
        """The `(row, backend)` pairs that no collected test shows, and no reason excuses."""
        for row in rows_of(layers):
            for backend in backends:
                if (row.id, backend) not in self.shown and row.reason_against(backend) is None:
                    yield row.id, backend


def rows_of(layers: Sequence[str]) -> list[Row]:
    return [row for row in CATALOGUE.values() if row.layer in layers]


def format_table(report: Report, layers: Sequence[str], backends: Sequence[str]) -> str:
    """The table id × backend, in Markdown, with the sums below and the reasons under those."""
    lines = [f"| row | scenario | {' | '.join(backends)} |", "|---" * (2 + len(backends)) + "|"]
    counts = {backend: dict.fromkeys(Verdict, 0) for backend in backends}
    reasons: dict[str, list[str]] = {}
    for row in rows_of(layers):
        verdicts = {backend: report.verdict(row, backend) for backend in backends}
        for backend, verdict in verdicts.items():
            counts[backend][verdict] += 1
            if verdict is Verdict.NOT_APPLICABLE:
                reasons.setdefault(f"{row.id}: {row.reason_against(backend)}", []).append(backend)
        shown = " | ".join(verdict.value for verdict in verdicts.values())
        lines.append(f"| {row.id} | {row.scenario} | {shown} |")
    lines.append("")
    for backend in backends:
        sums = ", ".join(f"{count} {verdict.value}" for verdict, count in counts[backend].items() if count)
        lines.append(f"- {backend}: {sums}")
    lines.append("")
    lines += [f"- n.a. on {', '.join(names)}: {reason}" for reason, names in reasons.items()]
    return "\n".join(lines) + "\n"
