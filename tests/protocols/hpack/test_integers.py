"""Integers with a prefix (RFC 7541 §5.1, C.1)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from httpcore._protocols.hpack import HPACKError
from httpcore._protocols.hpack.integers import encode_integer, read_integer


def read(octets: bytes, bits: int) -> tuple[int, int]:
    prefix = (1 << bits) - 1
    first = octets[0] & prefix
    return (first, 1) if first < prefix else read_integer(octets, 1, prefix)


@pytest.mark.parametrize(
    ("clause", "value", "bits", "octets"),
    [("C.1.1", 10, 5, b"\x0a"), ("C.1.2", 1337, 5, b"\x1f\x9a\x0a"), ("C.1.3", 42, 8, b"\x2a")],
)
def test_the_examples_of_the_rfc(clause: str, value: int, bits: int, octets: bytes) -> None:
    assert encode_integer(value, (1 << bits) - 1, 0) == octets
    assert read(octets, bits) == (value, len(octets))


@given(st.integers(0, 2**35 - 1), st.integers(1, 8), st.binary(max_size=3))
def test_there_and_back(value: int, bits: int, behind: bytes) -> None:
    pattern = 0xFF & ~((1 << bits) - 1)
    octets = encode_integer(value, (1 << bits) - 1, pattern)
    assert octets[0] & pattern == pattern
    assert read(octets + behind, bits) == (value, len(octets))
    for end in range(1, len(octets)):
        with pytest.raises(HPACKError, match="ends within an integer"):
            read(octets[:end], bits)


def test_the_longest() -> None:
    assert read_integer(b"\x80\x80\x80\x80\x00", 0, 31) == (31, 5)
    assert read_integer(b"\xff\xff\xff\xff\x7f", 0, 31) == (31 + 2**35 - 1, 5)
    for octets in (b"\x80" * 5, b"\x80" * 6, b"\xff" * 1000, b"\x80\x80\x80\x80\x80\x00"):
        with pytest.raises(HPACKError, match="longer than 5 octets"):
            read_integer(octets, 0, 31)
