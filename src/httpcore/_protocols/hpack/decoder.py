"""From blocks to fields (RFC 7541 §3, §6).

What repeats is remembered:

- blocks that leave the dynamic table alone, for as long as nothing else has moved it;
- blocks that do not look at it, which always mean the same. They may add to it, and then add the same entries
  each time: that is how nginx and haproxy write, which keep no table of their own;
- short Huffman-coded strings.
"""

from __future__ import annotations

import re
from collections import deque

from ..._types import Field
from . import huffman
from .errors import HPACKError
from .integers import read_integer
from .limits import (
    DEFAULT_TABLE_SIZE,
    MAX_MEMO_COUNT,
    MAX_MEMO_SIZE,
    MAX_STRING_COUNT,
    MAX_STRING_SIZE,
)
from .tables import STATIC_TABLE

ENTRY_OVERHEAD = 32
"""Bytes that a field counts for besides its name and value (RFC 7541 §4.1, RFC 9113 §6.5.2)."""

_STATIC = ((b"", b""), *STATIC_TABLE)
_STATIC_COUNT = len(STATIC_TABLE)

_INDEXED_RUN = re.compile(rb"[\x80-\xfe]+")
"""Fields that are an index of one byte each (RFC 7541 §6.1)."""


class FieldBlock:
    """What one block says. Whoever gets it shares it with later blocks that say the same."""

    __slots__ = ("fields", "is_too_large", "reading", "size")

    def __init__(self, fields: tuple[Field, ...], *, size: int, is_too_large: bool) -> None:
        self.fields = fields
        """In order, pseudo fields included, not validated."""
        self.size = size
        """Bytes of the list as RFC 7541 §4.1 counts them, also if it is too large."""
        self.is_too_large = is_too_large
        """Whether it went past a limit. Then there are no fields, but the table is as the peer's."""
        self.reading: object | None = None
        """Free for what the reader made of the fields."""


class Decoder:
    """One for each connection. After an `HPACKError` it is of no more use.

    `table_size` is our SETTINGS_HEADER_TABLE_SIZE as the peer knows it from the start; the peer begins with
    the default one, or with less if that is less. `list_size` and `field_count` bound what one block may say.
    They are looked at while decoding: past them nothing is kept, and only the table goes on (RFC 7541 §7.3).
    """

    def __init__(
        self,
        *,
        table_size: int = DEFAULT_TABLE_SIZE,
        list_size: int = 256 * 1024,
        field_count: int = 1000,
    ) -> None:
        self._max_list_size = list_size
        self._max_field_count = field_count
        self._max_capacity = table_size
        self._max_passing_capacity = table_size
        """The largest capacity that we have allowed since the last block."""
        self._capacity = min(table_size, DEFAULT_TABLE_SIZE)
        self._awaited_capacity: int | None = None
        """The smallest capacity that we have asked for and the peer has yet to confirm."""
        self._entries: deque[Field] = deque()
        """The dynamic table, the newest entry first."""
        self._size = 0
        self._blocks: dict[bytes, FieldBlock] = {}
        """What blocks mean while the table does not move."""
        self._constants: dict[bytes, tuple[FieldBlock, list[Field], int]] = {}
        """What blocks always mean, with the entries that they add, and the size of these."""
        self._strings: dict[bytes, bytes] = {}

    def resize(self, size: int) -> None:
        """Our SETTINGS_HEADER_TABLE_SIZE is now `size`, and the peer has acknowledged that.

        If that is less than what it uses, its next block must begin by saying so (RFC 7541 §4.2).
        """
        self._max_capacity = size
        self._max_passing_capacity = max(size, self._max_passing_capacity)
        awaited = self._capacity if self._awaited_capacity is None else self._awaited_capacity
        if size < awaited:
            self._awaited_capacity = size
            self._blocks.clear()
            self._constants.clear()

    def decode(self, block: bytes) -> FieldBlock:
        """The fields of one whole block. Raises `HPACKError`.

        The same block gives the same object again, if it leaves the dynamic table alone and nothing else has
        moved it meanwhile, or if it does not look at the table.
        """
        known = self._blocks.get(block)
        if known is not None:
            return known
        constant = self._constants.get(block)
        if constant is None:
            return self._decode(block)
        decoded, entered, size = constant
        if entered:
            # All at once leaves what one after the other would: the newest entries, as far as they fit.
            self._blocks.clear()
            self._entries.extendleft(entered)
            self._size += size
            self._evict(self._capacity)
        return decoded

    def _decode(self, block: bytes) -> FieldBlock:  # One loop: each call in it would cost a fifth of a field.
        at = self._resize_at_start(block)
        looks_at_table = has_resized = at > 0
        entered: list[Field] = []
        end = len(block)
        fields: list[Field] = []
        size = 0
        while at < end:
            first = block[at]
            at += 1
            if first >= 0x80:  # §6.1: a whole field.
                index = first & 0x7F
                if index == 0x7F:
                    index, at = read_integer(block, at, 0x7F)
                elif size > self._max_list_size:
                    size, at = self._skip_indexed(block, at - 1, size)
                    continue
                if 0 < index <= _STATIC_COUNT:
                    field = _STATIC[index]
                else:
                    field = self._find(index)
                    looks_at_table = True
                size += len(field[0]) + len(field[1]) + ENTRY_OVERHEAD
            else:
                if first >= 0x40:  # §6.2.1: a literal that enters the table.
                    prefix = 0x3F
                elif first >= 0x20:
                    raise HPACKError("A size update stands behind a field.")
                else:  # §6.2.2, §6.2.3: one that does not, or never will.
                    prefix = 0x0F
                index = first & prefix
                if index == prefix:
                    index, at = read_integer(block, at, prefix)
                if not index:
                    name, at = self._read_string(block, at)
                elif index <= _STATIC_COUNT:
                    name = _STATIC[index][0]
                else:
                    name = self._find(index)[0]
                    looks_at_table = True
                value, at = self._read_string(block, at)
                field = (name, value)
                field_size = len(name) + len(value) + ENTRY_OVERHEAD
                size += field_size
                if first >= 0x40:
                    entered.append(field)
                    self._insert(field, field_size)
            if size <= self._max_list_size:
                fields.append(field)
        is_too_large = size > self._max_list_size or len(fields) > self._max_field_count
        decoded = FieldBlock(() if is_too_large else tuple(fields), size=size, is_too_large=is_too_large)
        if not is_too_large and len(block) + size <= MAX_MEMO_SIZE:
            if not looks_at_table:
                self._remember_constant(block, decoded, entered)
            elif not entered and not has_resized:
                if len(self._blocks) >= MAX_MEMO_COUNT:
                    self._blocks.clear()
                self._blocks[block] = decoded
        return decoded

    def _remember_constant(self, block: bytes, decoded: FieldBlock, entered: list[Field]) -> None:
        size = sum([len(name) + len(value) + ENTRY_OVERHEAD for name, value in entered])
        if len(self._constants) >= MAX_MEMO_COUNT:
            self._constants.clear()
        self._constants[block] = (decoded, entered, size)

    def _skip_indexed(self, block: bytes, at: int, size: int) -> tuple[int, int]:
        """Pass over the indexed fields at `at`, all at once, where nothing is kept: they move no table.

        What a bomb consists of: a block of a megabyte takes 15 ms so, and 2 s field by field.
        """
        run = _INDEXED_RUN.match(block, at)
        assert run is not None
        end = run.end()
        for first in set(memoryview(block)[at:end]):
            index = first & 0x7F
            field = _STATIC[index] if 0 < index <= _STATIC_COUNT else self._find(index)
            size += (len(field[0]) + len(field[1]) + ENTRY_OVERHEAD) * block.count(first, at, end)
        return size, end

    def _find(self, index: int) -> Field:
        """An entry of the dynamic table, which begins after the static one (RFC 7541 §2.3.3)."""
        if not _STATIC_COUNT < index <= _STATIC_COUNT + len(self._entries):
            raise HPACKError(f"Neither table has an entry {index}.")
        return self._entries[index - _STATIC_COUNT - 1]

    def _read_string(self, block: bytes, at: int) -> tuple[bytes, int]:
        """The string at `at`, and where it ends (RFC 7541 §5.2)."""
        if at >= len(block):
            raise HPACKError("The block ends where a string should begin.")
        first = block[at]
        at += 1
        length = first & 0x7F
        if length == 0x7F:
            length, at = read_integer(block, at, 0x7F)
        end = at + length
        if end > len(block):
            raise HPACKError("The block ends within a string.")
        data = block[at:end]
        if first < 0x80:
            return data, end
        text = self._strings.get(data)
        if text is None:
            text = huffman.decode(data)
            if length <= MAX_STRING_SIZE:
                if len(self._strings) >= MAX_STRING_COUNT:
                    self._strings.clear()
                self._strings[data] = text
        return text, end

    def _insert(self, field: Field, size: int) -> None:
        """RFC 7541 §4.4. An entry that is larger than the table empties it, and is no error."""
        self._blocks.clear()
        self._evict(self._capacity - size)
        if size <= self._capacity:
            self._entries.appendleft(field)
            self._size += size

    def _evict(self, room: int) -> None:
        """Drop the oldest entries until the others take no more than `room` bytes."""
        entries = self._entries
        while entries and self._size > room:
            name, value = entries.pop()
            self._size -= len(name) + len(value) + ENTRY_OVERHEAD

    def _resize_at_start(self, block: bytes) -> int:
        """Follow the size updates at the start of a block; returns where they end (RFC 7541 §4.2, §6.3).

        The smallest size since the last block and the last one would do, but some encoders repeat them all.
        """
        at = 0
        awaited = self._awaited_capacity
        while at < len(block) and 0x20 <= block[at] < 0x40:
            size = block[at] & 0x1F
            at += 1
            if size == 0x1F:
                size, at = read_integer(block, at, 0x1F)
            is_last = at == len(block) or not 0x20 <= block[at] < 0x40
            limit = self._max_capacity if is_last else self._max_passing_capacity
            if size > limit:
                raise HPACKError(f"The table is resized to {size}; {limit} are allowed.")
            self._capacity = size
            self._blocks.clear()
            self._evict(size)
            if awaited is not None and size <= awaited:
                awaited = None
        if awaited is not None:
            raise HPACKError(
                f"The table was to be no larger than {awaited}, and the block does not begin so."
            )
        self._awaited_capacity = None
        self._max_passing_capacity = self._max_capacity
        return at
