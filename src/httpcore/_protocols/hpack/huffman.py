"""The Huffman code of RFC 7541 §5.2, strictly.

The prefixes of the code are numbered as states, shorter ones first, and an automaton walks over them. From a
state of fewer than `_FAST_BITS` bits it takes a byte at a time: between those all letters, digits and common
punctuation are spelled. From the others it takes half a byte: whole bytes would fill 1.5 MB, for what is
seldom sent. As it is, the tables fill 0.47 MB. They are made at the first use, within 10 ms, and never
changed.
"""

from __future__ import annotations

from array import array

from .errors import HPACKError
from .tables import CODE_LENGTHS

_FAST_BITS = 8

_EOS = 256

_Row = tuple[tuple[bytes, ...], bytes]
"""What each byte completes, and the state that it leads to."""


def decode(data: bytes) -> bytes:
    """The string that `data` stands for. Raises `HPACKError`."""
    tables = _tables or _make_tables()
    rows, texts, steps = tables.rows, tables.texts, tables.steps
    fast_count = len(rows)
    text = bytearray()
    state = 0
    for octet in data:
        if state < fast_count:
            row_texts, row_steps = rows[state]
            text += row_texts[octet]
            state = row_steps[octet]
        else:
            at = state << 4 | octet >> 4
            text += texts[at]
            at = steps[at] << 4 | octet & 15
            text += texts[at]
            state = steps[at]
    if state not in tables.endings:
        raise HPACKError(_describe_ending(state == tables.failed))
    return bytes(text)


def _describe_ending(has_failed: bool) -> str:
    if has_failed:
        return "A Huffman-coded string holds the code that stands for its end."
    return "A Huffman code is cut off, or padded with too many bits or other ones than ones."


def encode(data: bytes) -> bytes:
    """`data` in the Huffman code, padded with ones."""
    codes = _spelled_codes or _spell_codes()
    bits = "".join([codes[octet] for octet in data])
    size = (len(bits) + 7) // 8
    return int(bits.ljust(8 * size, "1") or "0", 2).to_bytes(size, "big")


class _Tables:
    """The automaton. The state 0 is the beginning of a code."""

    def __init__(self) -> None:
        codes = {(CODE_LENGTHS[symbol], code): symbol for symbol, code in enumerate(_make_codes())}
        prefixes = {(bits, code >> (length - bits)) for length, code in codes for bits in range(length)}
        states = {prefix: state for state, prefix in enumerate(sorted(prefixes))}
        self.failed = len(states)
        """The state after EOS; nothing leads out of it."""
        self.endings = frozenset(states[length, (1 << length) - 1] for length in range(8))
        """The states that may end a string: in seven bits of EOS at most."""
        two_bits = _take_twice(*_take_a_bit(codes, states), bits=1, count=self.failed + 1)
        four_bits = _take_twice(*two_bits, bits=2, count=self.failed + 1)
        self.texts = tuple(four_bits[0])
        """What half a byte completes, sixteen entries for each state."""
        self.steps = array("H", four_bits[1])
        """The state that half a byte leads to."""
        fast_count = sum(length < _FAST_BITS for length, _ in states)
        texts, steps = _take_twice(*four_bits, bits=4, count=fast_count)
        self.rows: list[_Row] = [
            (tuple(texts[at : at + 256]), bytes(steps[at : at + 256])) for at in range(0, len(texts), 256)
        ]


_Prefix = tuple[int, int]
"""The number of bits, and the bits."""

_Table = tuple[list[bytes], list[int]]
"""What some bits complete, and the state that they lead to, for each state and for each value of the bits."""


def _take_a_bit(codes: dict[_Prefix, int], states: dict[_Prefix, int]) -> _Table:
    failed = len(states)
    texts: list[bytes] = []
    steps: list[int] = []
    for length, prefix in states:
        for longer in ((length + 1, prefix << 1), (length + 1, prefix << 1 | 1)):
            symbol = codes.get(longer)
            if symbol is None:
                text, step = b"", states[longer]
            elif symbol == _EOS:
                text, step = b"", failed
            else:
                text, step = bytes((symbol,)), 0
            texts.append(text)
            steps.append(step)
    return texts + [b""] * 2, steps + [failed] * 2


def _take_twice(texts: list[bytes], steps: list[int], *, bits: int, count: int) -> _Table:
    """The table for twice as many bits, for the first `count` states. Equal texts are one object."""
    known: dict[bytes, bytes] = {}
    longer_texts: list[bytes] = []
    longer_steps: list[int] = []
    for at in range(count << bits):
        first = texts[at]
        rest = slice(steps[at] << bits, (steps[at] + 1) << bits)
        if first:
            longer_texts += [known.setdefault(first + text, first + text) for text in texts[rest]]
        else:
            longer_texts += texts[rest]
        longer_steps += steps[rest]
    return longer_texts, longer_steps


def _make_codes() -> list[int]:
    codes = [0] * len(CODE_LENGTHS)
    code = last = 0
    for length, symbol in sorted((length, symbol) for symbol, length in enumerate(CODE_LENGTHS)):
        code <<= length - last
        codes[symbol] = code
        code += 1
        last = length
    return codes


def _make_tables() -> _Tables:
    global _tables
    _tables = _Tables()
    return _tables


def _spell_codes() -> list[str]:
    global _spelled_codes
    _spelled_codes = [f"{code:0{length}b}" for code, length in zip(_make_codes(), CODE_LENGTHS, strict=True)]
    return _spelled_codes


_tables: _Tables | None = None
_spelled_codes: list[str] | None = None
