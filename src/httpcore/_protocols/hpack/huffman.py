"""The Huffman code of RFC 7541 §5.2, strictly.

The prefixes of the code are numbered as states, shorter ones first, and an automaton walks over them. From a
state of fewer than `_FAST_BITS` bits it takes a byte at a time: between those all letters, digits and common
punctuation are spelled. From the others it takes half a byte: whole bytes would fill 1.5 MB, for
what is seldom sent. As it is, the tables fill 0.47 MB. They are made at the first use, in some 10 ms, and not
changed any more.
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
    pieces: list[bytes] = []
    add = pieces.append
    state = 0
    for octet in data:
        if state < fast_count:
            row_texts, row_steps = rows[state]
            add(row_texts[octet])
            state = row_steps[octet]
        else:
            at = state << 4 | octet >> 4
            add(texts[at])
            at = steps[at] << 4 | octet & 15
            add(texts[at])
            state = steps[at]
    if state not in tables.endings:
        raise HPACKError(_describe_ending(state == tables.failed))
    return b"".join(pieces)


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
        states, leaves = _number_prefixes()
        self.failed = len(states)
        """The state behind EOS; nothing leads out of it."""
        self.texts: list[bytes] = []
        """What half a byte completes, sixteen entries for each state."""
        self.steps = array("H")
        """The state that half a byte leads to."""
        for prefix in states:
            for nibble in range(16):
                text, step = _walk(prefix, nibble, states, leaves)
                self.texts.append(text)
                self.steps.append(self.failed if step is None else step)
        self.texts += [b""] * 16
        self.steps.extend([self.failed] * 16)
        pairs: dict[bytes, bytes] = {}
        fast_count = sum(length < _FAST_BITS for length, _ in states)
        self.rows = [self._make_row(state, pairs) for state in range(fast_count)]
        self.endings = frozenset(states[length, (1 << length) - 1] for length in range(8))
        """The states that may end a string: in seven bits of EOS at most."""

    def _make_row(self, state: int, pairs: dict[bytes, bytes]) -> _Row:
        """Two steps at once. Equal texts are one object."""
        texts = []
        steps = bytearray()
        for high in range(state << 4, (state << 4) + 16):
            first = self.texts[high]
            low = self.steps[high] << 4
            for at in range(low, low + 16):
                text = first + self.texts[at]
                texts.append(pairs.setdefault(text, text))
                steps.append(self.steps[at])
        return tuple(texts), bytes(steps)


_Prefix = tuple[int, int]
"""The number of bits, and the bits."""


def _number_prefixes() -> tuple[dict[_Prefix, int], dict[_Prefix, int]]:
    """The state of each prefix, and the symbol of each code."""
    leaves = {(CODE_LENGTHS[symbol], code): symbol for symbol, code in enumerate(_make_codes())}
    prefixes = {(bits, code >> (length - bits)) for length, code in leaves for bits in range(length)}
    return {prefix: state for state, prefix in enumerate(sorted(prefixes))}, leaves


def _walk(
    prefix: _Prefix, nibble: int, states: dict[_Prefix, int], leaves: dict[_Prefix, int]
) -> tuple[bytes, int | None]:
    """What four more bits complete, and the state that they lead to; `None` behind EOS."""
    text = b""
    length, code = prefix
    for shift in (3, 2, 1, 0):
        length, code = length + 1, code << 1 | nibble >> shift & 1
        symbol = leaves.get((length, code))
        if symbol == _EOS:
            return b"", None
        if symbol is not None:
            text = bytes((symbol,))
            length = code = 0
    return text, states[length, code]


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
