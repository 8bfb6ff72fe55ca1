"""The catalogue is whole, and what is claimed of it is shown."""

from __future__ import annotations

import pytest

from ..colours import NAMES
from .report import Report, Verdict
from .rows import CATALOGUE, LAYERS, Row, row


def test_the_catalogue_is_whole() -> None:
    assert len(CATALOGUE) == 319
    assert {entry.layer for entry in CATALOGUE.values()} >= set(LAYERS)
    for entry in CATALOGUE.values():
        assert entry.scenario
        assert entry.expected
        assert set(entry.not_applicable) <= {*NAMES, "async", "all"}
        assert all(entry.not_applicable.values())


def test_a_row_that_does_not_exist() -> None:
    with pytest.raises(ValueError, match="XYZ-01"):
        row("DNS-01", "XYZ-01")
    with pytest.raises(ValueError, match="curio"):
        row("DNS-01", on=("curio",))


def test_a_row_passes_only_if_all_that_shows_it_does() -> None:
    report = Report()
    report.shown = {("DNS-01", "sync"): {"a", "b"}, ("DNS-01", "trio"): {"c"}, ("DNS-01", "uvloop"): {"d"}}
    report.passed = {"a", "b", "c"}
    report.failed = {"b"}
    entry = Row("DNS-01", "dns", "", "", not_applicable={"anyio-trio": "because"})
    verdicts = {name: report.verdict(entry, name) for name in NAMES}
    assert verdicts == {
        "sync": Verdict.FAILED,
        "asyncio": Verdict.MISSING,
        "uvloop": Verdict.MISSING,
        "trio": Verdict.PASSED,
        "anyio-asyncio": Verdict.MISSING,
        "anyio-trio": Verdict.NOT_APPLICABLE,
    }
