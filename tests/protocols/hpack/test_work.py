"""The work grows with the bytes of a block, not with the square of them. Counted, not timed."""

from __future__ import annotations

import sys
import tracemalloc
from collections.abc import Callable
from types import FrameType
from typing import TYPE_CHECKING

import pytest

from httpcore._protocols.hpack import Decoder, Encoder, HPACKError, huffman

from .test_decoder import entering, indexed, integer, passing, resizing, string

if TYPE_CHECKING:
    from _typeshed import TraceFunction


def count_steps(work: Callable[[], object]) -> int:
    """Lines of Python that some work takes."""
    steps = 0

    def trace(frame: FrameType, event: str, argument: object) -> TraceFunction:
        nonlocal steps
        steps += 1
        return trace

    previous = sys.gettrace()
    sys.settrace(trace)
    try:
        work()
    finally:
        sys.settrace(previous)
    return steps


def count_decoding(block: bytes) -> int:
    """The same for a block behind one that fills the table."""
    decoder = Decoder()
    decoder.decode(b"".join(entering(b"n%d" % number, b"") for number in range(100)))
    huffman.decode(b"")  # The tables are made before anything is counted.

    def decode() -> None:
        try:
            decoder.decode(block)
        except HPACKError:
            pass

    return count_steps(decode)


def coded(text: bytes) -> bytes:
    data = huffman.encode(text)
    return integer(len(data), 127, 0x80) + data


@pytest.mark.parametrize(
    "make",
    [
        lambda count: indexed(2) * count,
        lambda count: indexed(160) * count,
        lambda count: entering(b"a", b"") * count,
        lambda count: (entering(b"", b"") * 128 + entering(b"", b"x" * 4000)) * (count // 128),
        lambda count: passing(b"a", b"b") * count,
        lambda count: b"\x7e\x00" * count,
        lambda count: resizing(0) * count,
        lambda count: b"\x3f\x80\x80\x80\x80\x00" * count,
        lambda count: b"\xff" + b"\x80" * count,
        lambda count: b"\x04" + coded(b"a" * count),
        lambda count: b"\x04" + coded(b"\xff" * count),
        lambda count: b"\x04" + coded(b"a\x01+" * count),
        lambda count: b"\x04" + string(b"a" * count),
        lambda count: b"".join(b"\x04" + coded(b"%09d" % number) for number in range(count)),
    ],
)
def test_decoding(make: Callable[[int], bytes]) -> None:
    few, many = make(1_000), make(10_000)
    assert count_decoding(many) <= 1.05 * count_decoding(few) * len(many) / len(few)


def test_a_bomb_is_passed_over() -> None:
    """Behind the largest list that we keep, an indexed field costs next to nothing."""
    entry = entering(b"a", b"x" * 4_000)
    largest = count_decoding(entry + indexed(62) * 70)
    assert count_decoding(entry + indexed(62) * 1_000_000) < largest + 100


def test_a_truncated_block_costs_no_more_than_a_whole_one() -> None:
    block = entering(b"a", b"") * 1000 + b"\x04" + coded(b"a" * 1000)
    assert count_decoding(block[:-1]) <= count_decoding(block) + 20


def test_decoding_needs_little_more_memory_than_the_block() -> None:
    for text in (b"a" * 500_000, b"\x00" * 200_000):
        block = b"\x04" + coded(text)
        Decoder().decode(block)
        tracemalloc.start()
        assert Decoder().decode(block).is_too_large == (len(text) > 256 * 1024)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak < 4 * len(text)


def test_encoding() -> None:
    """Also where every field is new, and every one pushes out another."""

    def encode(count: int) -> None:
        encoder = Encoder()
        for number in range(count):
            encoder.encode([(b"x-%d" % number, b"v"), (b"x", b"%d" % number)], ((b"y", b"%d" % number),))

    encode(1)  # The tables are made before anything is counted.
    assert count_steps(lambda: encode(10_000)) <= 10.5 * count_steps(lambda: encode(1_000))


def test_a_very_long_value() -> None:
    value = bytes(range(256)) * 4000
    block = Encoder().encode([(b"x", value)])
    assert Decoder(list_size=2**21).decode(block).fields == ((b"x", value),)
