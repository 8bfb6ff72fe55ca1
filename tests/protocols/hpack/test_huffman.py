"""The Huffman code, beside a decoder that takes one bit at a time and beside a foreign one."""

from __future__ import annotations

import subprocess
import sys
from itertools import product

import pytest
from hpack.huffman import HuffmanEncoder
from hpack.huffman_constants import REQUEST_CODES, REQUEST_CODES_LENGTH
from hpack.huffman_table import decode_huffman
from hypothesis import given
from hypothesis import strategies as st

from httpcore._protocols.hpack import HPACKError, huffman

FOREIGN = HuffmanEncoder(REQUEST_CODES, REQUEST_CODES_LENGTH)
SPELLED = [f"{code:0{length}b}" for code, length in zip(REQUEST_CODES, REQUEST_CODES_LENGTH, strict=True)]
SYMBOLS = {spelled: symbol for symbol, spelled in enumerate(SPELLED)}
EOS = SPELLED[256]


def pack(bits: str) -> bytes:
    assert len(bits) % 8 == 0
    return bytes(int(bits[at : at + 8], 2) for at in range(0, len(bits), 8))


def pad(bits: str) -> bytes:
    return pack(bits + "1" * (-len(bits) % 8))


def decode_by_bits(data: bytes) -> bytes | None:
    """What RFC 7541 §5.2 says, in its own order; `None` if it is an error."""
    text = bytearray()
    code = ""
    for bit in "".join(f"{octet:08b}" for octet in data):
        code += bit
        if code in SYMBOLS:
            if code == EOS:
                return None
            text.append(SYMBOLS[code])
            code = ""
    return bytes(text) if len(code) < 8 and EOS.startswith(code) else None


def decode(data: bytes) -> bytes | None:
    try:
        return huffman.decode(data)
    except HPACKError:
        return None


def test_the_codes() -> None:
    for symbol in range(256):
        text = bytes((symbol,))
        assert huffman.encode(text) == pad(SPELLED[symbol])
        assert huffman.decode(pad(SPELLED[symbol])) == text


def test_all_pairs() -> None:
    for first, second in product(range(256), repeat=2):
        text = bytes((first, second))
        assert huffman.decode(pad(SPELLED[first] + SPELLED[second])) == text


def test_all_short_strings() -> None:
    assert huffman.decode(b"") == b""
    for size in (1, 2):
        for octets in product(range(256), repeat=size):
            data = bytes(octets)
            assert decode(data) == decode_by_bits(data), data


@given(st.binary(max_size=40))
def test_any_octets(data: bytes) -> None:
    assert decode(data) == decode_by_bits(data)


@given(st.lists(st.sampled_from(SPELLED), max_size=12), st.text("01", max_size=16))
def test_any_codes_with_any_ending(codes: list[str], ending: str) -> None:
    bits = "".join(codes) + ending
    data = pack(bits[: len(bits) // 8 * 8])
    assert decode(data) == decode_by_bits(data)


@given(st.binary(max_size=200) | st.text(max_size=60).map(str.encode))
def test_there_and_back(text: bytes) -> None:
    coded = huffman.encode(text)
    assert coded == FOREIGN.encode(text)
    assert huffman.decode(coded) == text
    assert decode_huffman(coded) == text


def test_a_long_string() -> None:
    text = bytes(range(256)) * 400
    assert huffman.decode(huffman.encode(text)) == text


@pytest.mark.parametrize("before", ["", SPELLED[ord("a")], SPELLED[ord("?")], SPELLED[0x80], SPELLED[10]])
def test_the_end_of_string_code(before: str) -> None:
    for data in (pad(before + EOS), pad(before + EOS + SPELLED[ord("a")] * 3), pad(before + EOS * 2)):
        with pytest.raises(HPACKError, match="stands for its end"):
            huffman.decode(data)


@pytest.mark.parametrize("size", range(8))
def test_padding(size: int) -> None:
    """Up to seven bits, all of them ones."""
    text = next(
        codes
        for codes in product("a?Z0", repeat=4)
        if len("".join(SPELLED[ord(c)] for c in codes)) % 8 == -size % 8
    )
    bits = "".join(SPELLED[ord(character)] for character in text)
    assert huffman.decode(pack(bits + "1" * size)) == "".join(text).encode()
    with pytest.raises(HPACKError, match="padded"):
        huffman.decode(pack(bits + "1" * (size + 8)))
    for place in range(size):
        ending = "1" * place + "0" + "1" * (size - place - 1)
        assert decode(pack(bits + ending)) == decode_by_bits(pack(bits + ending))
    if 0 < size < 5:
        with pytest.raises(HPACKError, match="padded"):
            huffman.decode(pack(bits + "0" * size))


@pytest.mark.parametrize("octet", [0x80, 0xFF, 0x0A, ord("{"), ord("+")])
def test_a_code_that_is_cut_off(octet: int) -> None:
    bits = SPELLED[octet]
    for end in range(8, len(bits), 8):
        assert decode(pack(bits[:end])) == decode_by_bits(pack(bits[:end]))
        assert decode(pack(bits[:end])) is None or end > len(bits) - 5


def measure_tables() -> int:
    """Bytes of all that the decoder's tables hold, as the allocator rounds them."""
    tables = huffman._Tables()
    held: dict[int, object] = {id(tables.rows): tables.rows, id(tables.texts): tables.texts}
    held[id(tables.steps)] = tables.steps
    for row in tables.rows:
        texts, steps = row
        held |= {id(thing): thing for thing in (row, texts, steps)}
        held |= {id(text): text for text in texts if len(text) > 1}
    return sum((sys.getsizeof(thing) + 15) // 16 * 16 for thing in held.values())


def test_the_tables_are_small() -> None:
    assert 100_000 < measure_tables() < 500_000


def test_importing_makes_no_tables() -> None:
    code = "from httpcore._protocols.hpack import huffman; print(huffman._tables, huffman._spelled_codes)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.split() == ["None", "None"]
