"""A short run of the fuzzer; the long one is `python -m fuzz http2`."""

from __future__ import annotations

import random

import pytest
from fuzz import http2, trials

from httpcore._protocols.http2 import Engine, Stream


def test_a_short_run(capsys: pytest.CaptureFixture[str]) -> None:
    assert trials.run(http2.attempt, "http2", count=1_500, seconds=60, seed=7, first=0) == 0
    assert capsys.readouterr().out.startswith("http2: 1500 inputs in ")


def test_the_same_seed_gives_the_same_inputs() -> None:
    first, second = ([http2.make_wire(random.Random(seed)) for seed in range(50)] for _ in range(2))
    assert first == second


def test_a_failure_is_told_and_counts(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """An engine that forgets the beginning of a frame."""
    feed = Engine.feed

    def forget(engine: Engine, data: bytes) -> list[Stream]:
        news = feed(engine, data)
        engine._rest = None
        return news

    monkeypatch.setattr(Engine, "feed", forget)
    assert trials.run(http2.attempt, "http2", count=1_500, seconds=60, seed=7, first=0) == 1
    told = capsys.readouterr().out
    assert "the split matters" in told
    assert "again: python -m fuzz http2 --seed 7 --first " in told


def test_an_exception_is_told_and_leaves(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def break_down(engine: Engine, data: bytes) -> list[Stream]:
        raise ZeroDivisionError

    monkeypatch.setattr(Engine, "feed", break_down)
    with pytest.raises(ZeroDivisionError):
        trials.run(http2.attempt, "http2", count=1, seconds=60, seed=7, first=0)
    assert "again: " in capsys.readouterr().out
