"""A short run of the fuzzer; the long one is `python -m fuzz http11`."""

from __future__ import annotations

import random

import pytest
from fuzz import http11, trials

from httpcore._protocols.http11 import Limits


def test_a_short_run(capsys: pytest.CaptureFixture[str]) -> None:
    assert trials.run(http11.attempt, "http11", count=5_000, seconds=60, seed=7, first=0) == 0
    assert capsys.readouterr().out.startswith("http11: 5000 inputs in ")


def test_the_same_seed_gives_the_same_inputs() -> None:
    first, second = ([http11.damage(wire, random.Random(5)) for _, wire in http11.SEEDS] for _ in range(2))
    assert first == second


def test_a_failure_is_told_and_counts(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    real = http11.read

    def read(method: bytes, pieces: list[bytes], limits: Limits) -> http11.Outcome:
        outcome = real(method, pieces, limits)
        return outcome._replace(body=b"") if len(pieces) > 2 else outcome

    monkeypatch.setattr(http11, "read", read)
    assert trials.run(http11.attempt, "http11", count=5_000, seconds=60, seed=7, first=0) == 1
    told = capsys.readouterr().out
    assert "the split matters" in told
    assert "again: python -m fuzz http11 --seed 7 --first " in told
