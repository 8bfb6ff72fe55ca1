"""However a response is cut into pieces, the outcome is the same; and what is valid is read as it was meant."""

from __future__ import annotations

import itertools
import random
from collections.abc import Sequence

import hypothesis
from hypothesis import strategies as st

from .driver import receive, split_at_random
from .responses import Message, messages


@st.composite
def cuts(draw: st.DrawFn, data: bytes) -> list[bytes]:
    places = sorted(draw(st.sets(st.integers(0, len(data)), max_size=12)))
    return [piece for piece in _slices(data, [0, *places, len(data)]) if piece]


def _slices(data: bytes, places: Sequence[int]) -> list[bytes]:
    return [data[start:end] for start, end in itertools.pairwise(places)]


@hypothesis.given(message=messages(), data=st.data())
def test_a_valid_response_is_read_as_it_was_meant(message: Message, data: st.DataObject) -> None:
    for pieces in (
        [message.wire],
        [message.wire[i : i + 1] for i in range(len(message.wire))],
        data.draw(cuts(message.wire)),
    ):
        outcome = receive(pieces, method=message.method, ends=message.ends_with_connection)
        assert not outcome.failed, outcome.error
        assert outcome.status == message.status
        assert outcome.heads[-1][1:3] == (message.version, message.reason)
        assert outcome.headers == message.headers
        assert outcome.body == message.body
        assert outcome.trailers == message.trailers
        assert outcome.is_complete


@hypothesis.given(message=messages(), surplus=st.binary(min_size=1, max_size=20), data=st.data())
def test_what_comes_after_it_does_not_matter(message: Message, surplus: bytes, data: st.DataObject) -> None:
    hypothesis.assume(not message.ends_with_connection)
    outcome = receive(data.draw(cuts(message.wire + surplus)), method=message.method, ends=False)
    assert outcome.body == message.body
    assert outcome.is_complete
    assert not outcome.can_reuse


@hypothesis.given(message=messages(), data=st.data())
def test_a_part_of_it_is_no_response(message: Message, data: st.DataObject) -> None:
    size = data.draw(st.integers(0, len(message.wire) - 1))
    part = message.wire[:size]
    outcome = receive(data.draw(cuts(part)), method=message.method, ends=False)
    assert not outcome.is_complete
    assert not outcome.failed
    assert message.body.startswith(outcome.body)
    if not (message.ends_with_connection and outcome.heads):
        assert receive([part], method=message.method, ends=True).failed


@hypothesis.given(message=messages(), data=st.data())
def test_splits_do_not_change_how_a_damaged_one_fails(message: Message, data: st.DataObject) -> None:
    wire = bytearray(message.wire)
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.integers(0, len(wire) - 1))
        wire[place : place + data.draw(st.integers(0, 2))] = data.draw(st.sampled_from(DAMAGE))
    damaged = bytes(wire)
    for ends in (False, True):
        whole = receive([damaged], method=message.method, ends=ends)
        single = [damaged[i : i + 1] for i in range(len(damaged))]
        assert receive(single, method=message.method, ends=ends) == whole
        assert receive(data.draw(cuts(damaged)), method=message.method, ends=ends) == whole


DAMAGE = [
    b"",
    b"\r",
    b"\n",
    b"\r\n",
    b"\r\n\r\n",
    b"\0",
    b" ",
    b"\t",
    b":",
    b";",
    b",",
    b"0",
    b"9",
    b"f",
    b"\x80",
    b"HTTP/1.1",
]


@hypothesis.given(junk=st.binary(min_size=1, max_size=200), seed=st.integers(0, 2**32), ends=st.booleans())
def test_junk(junk: bytes, seed: int, ends: bool) -> None:
    for prefix in (b"", b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"):
        whole = receive([prefix + junk], ends=ends)
        assert receive(split_at_random(prefix + junk, 5, random.Random(seed)), ends=ends) == whole
