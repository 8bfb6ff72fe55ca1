"""When a PING goes out, and when a peer is given up."""

from __future__ import annotations

from httpcore._connections.http2.silence import Silence, Verdict


def test_silence_is_broken_when_the_interval_is_over() -> None:
    silence = Silence(10.0, 3.0)
    silence.hear(100.0)
    assert silence.look(100.0) == (Verdict.FINE, 110.0)
    assert silence.look(109.9) == (Verdict.FINE, 110.0)
    assert silence.look(110.0) == (Verdict.ASK, 113.0)


def test_an_answer_is_waited_for_once() -> None:
    silence = Silence(10.0, 3.0)
    silence.hear(100.0)
    silence.look(110.0)
    assert silence.look(111.0) == (Verdict.FINE, 113.0)
    assert silence.look(113.0) == (Verdict.DEAD, 113.0)


def test_anything_that_comes_is_an_answer() -> None:
    silence = Silence(10.0, 3.0)
    silence.hear(100.0)
    silence.look(110.0)
    silence.hear(112.0)
    assert silence.look(113.0) == (Verdict.FINE, 122.0)


def test_without_a_timeout_nobody_is_given_up() -> None:
    silence = Silence(10.0, None)
    silence.hear(100.0)
    assert silence.look(110.0) == (Verdict.ASK, 120.0)
    assert silence.look(115.0) == (Verdict.FINE, 120.0)
    assert silence.look(120.0) == (Verdict.ASK, 130.0)
    assert silence.look(1000.0) == (Verdict.ASK, 1010.0)
