"""The whole check: suites beside one another, with one verdict and each with its own output."""

from __future__ import annotations

import os
import re
import runpy
from pathlib import Path
from typing import Any

import pytest

SUITES = runpy.run_path(str(Path(__file__).parents[1] / ".ci" / "suites.py"))

have_passed = SUITES["have_passed"]


def suite(name: str, *scripts: str) -> Any:
    return SUITES["Suite"](name, *(("sh", "-c", script) for script in scripts))


@pytest.mark.parametrize("failing", [None, "first", "second", "last"])
def test_one_that_fails_fails_all(failing: str | None, capfd: pytest.CaptureFixture[str]) -> None:
    """And the others run nevertheless."""
    suites = [
        suite(name, f"echo of {name}; echo errors of {name} >&2; exit {int(name == failing)}")
        for name in ("last", "first", "second")
    ]
    assert have_passed(suites, last=suites[0]) is (failing is None)
    output = capfd.readouterr().out
    for name in ("first", "second", "last"):
        assert output.count(f"of {name}\nerrors of {name}\n") == 1
        # Once when it has ended, and once in the end.
        verdict = "FAILED" if name == failing else "passed"
        assert re.findall(rf"^{name}: (\w+) after \d+ s$", output, re.MULTILINE) == [verdict] * 2
    assert output.endswith(" s\nof last\nerrors of last\n")


def test_what_follows_a_failure_is_not_run(capfd: pytest.CaptureFixture[str]) -> None:
    assert not have_passed([suite("one", "echo here", "false", "echo there")])
    output = capfd.readouterr().out
    assert "here" in output
    assert "there" not in output


def test_two_run_at_once(tmp_path: Path) -> None:
    """Neither gets past the pipe without the other."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    assert have_passed([suite("one", f"echo > {pipe}"), suite("other", f"read line < {pipe}")])
