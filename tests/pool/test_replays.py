"""Which requests are sent again, by what is known of how they failed."""

from __future__ import annotations

import pytest

from httpcore._connections.base import Fate
from httpcore._connections.requests import KEPT_FOR_REPLAY, Request, RequestBody
from httpcore._pool.replays import MAX_REPLAYS, Replays

from ..colours import drive


class Chunks:
    """A body that has to be read."""

    def __init__(self, *chunks: bytes) -> None:
        self._chunks = list(chunks)

    async def next_chunk(self) -> bytes:
        return self._chunks.pop(0)

    async def close(self) -> None:
        pass


def request(method: bytes = b"GET", body: RequestBody | None = None) -> Request:
    made = Request()
    made.method = method
    made.body = body
    made.trace = None
    return made


def admits(
    fate: Fate,
    method: bytes = b"GET",
    *,
    was_reused: bool,
    body: RequestBody | None = None,
    allowed: bool = True,
) -> bool:
    return Replays(is_allowed=allowed).admit(request(method, body), fate, was_reused=was_reused)


@pytest.mark.parametrize(
    ("fate", "reused_get", "reused_post", "fresh_get"),
    [
        (Fate.UNKNOWN, False, False, False),
        (Fate.UNSENT, True, True, False),
        (Fate.UNANSWERED, True, False, False),
        (Fate.REFUSED, True, True, True),
        (Fate.UNBEGUN, True, True, True),
    ],
)
def test_each_fate(fate: Fate, reused_get: bool, reused_post: bool, fresh_get: bool) -> None:
    assert admits(fate, was_reused=True) is reused_get
    assert admits(fate, b"POST", was_reused=True) is reused_post
    assert admits(fate, was_reused=False) is fresh_get
    assert admits(fate, b"POST", was_reused=False) is (fresh_get and reused_post)


@pytest.mark.parametrize("fate", Fate)
def test_who_wants_no_replays_gets_what_was_no_attempt(fate: Fate) -> None:
    assert admits(fate, was_reused=True, allowed=False) is (fate is Fate.UNBEGUN)


@pytest.mark.parametrize("method", [b"GET", b"HEAD", b"OPTIONS", b"TRACE", b"PUT", b"DELETE"])
def test_methods_that_may_be_sent_twice(method: bytes) -> None:
    assert admits(Fate.UNANSWERED, method, was_reused=True)
    assert not admits(Fate.UNANSWERED, method.lower(), was_reused=True)


def test_a_body_that_is_at_hand() -> None:
    body = RequestBody(source=Chunks(b"a" * KEPT_FOR_REPLAY, b"b"))
    drive(body.next_chunk())
    assert admits(Fate.UNANSWERED, b"PUT", was_reused=True, body=body)
    drive(body.next_chunk())
    assert not admits(Fate.UNANSWERED, b"PUT", was_reused=True, body=body)


def test_a_failure_of_the_callers_own() -> None:
    body = RequestBody(source=Chunks())
    with pytest.raises(IndexError):
        drive(body.next_chunk())
    assert not admits(Fate.UNSENT, was_reused=True, body=body)


def test_a_second_dead_connection_is_one_too_many() -> None:
    replays = Replays(is_allowed=True)
    assert replays.admit(request(), Fate.UNSENT, was_reused=True)
    assert replays.has_met_dead
    assert not replays.admit(request(), Fate.UNSENT, was_reused=True)


def test_there_are_two_in_all() -> None:
    replays = Replays(is_allowed=True)
    for _ in range(MAX_REPLAYS):
        assert replays.admit(request(), Fate.REFUSED, was_reused=True)
    assert not replays.admit(request(), Fate.REFUSED, was_reused=True)
    assert not replays.admit(request(), Fate.UNBEGUN, was_reused=False)
    assert not replays.has_met_dead


def test_what_was_no_attempt_does_not_count() -> None:
    replays = Replays(is_allowed=True)
    for _ in range(100):
        assert replays.admit(request(), Fate.UNBEGUN, was_reused=True)
    assert replays.admit(request(), Fate.UNSENT, was_reused=True)
