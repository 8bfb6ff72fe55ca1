"""A short run of the fuzzer; the long one is `python -m fuzz hpack`."""

from __future__ import annotations

import random

import pytest
from fuzz import hpack, trials

from httpcore._protocols.hpack import Decoder, FieldBlock


def test_a_short_run(capsys: pytest.CaptureFixture[str]) -> None:
    assert trials.run(hpack.attempt, "hpack", count=1_500, seconds=60, seed=7, first=0) == 0
    assert capsys.readouterr().out.startswith("hpack: 1500 inputs in ")


def test_the_same_seed_gives_the_same_inputs() -> None:
    first, second = ([hpack.damage(word, random.Random(5)) for word in hpack.WORDS] for _ in range(2))
    assert first == second


def test_a_failure_is_told_and_counts(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A decoder that keeps what it remembers when its table moves."""

    class Stubborn(dict[bytes, FieldBlock]):
        def clear(self) -> None:
            pass

    class StubbornDecoder(Decoder):
        def __init__(self) -> None:
            super().__init__()
            self._blocks = Stubborn()

    class Reader(hpack.Reader):
        def __init__(self, *, is_small: bool) -> None:
            self.decoder, self.forgetful = StubbornDecoder(), Decoder()

    monkeypatch.setattr(hpack, "Reader", Reader)
    assert trials.run(hpack.attempt, "hpack", count=1_500, seconds=60, seed=7, first=0) == 1
    told = capsys.readouterr().out
    assert "what is remembered matters" in told
    assert "again: python -m fuzz hpack --seed 7 --first " in told
