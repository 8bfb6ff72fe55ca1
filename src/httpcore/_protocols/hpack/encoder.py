"""From fields to blocks (RFC 7541 §3, §6).

What a caller sends again and again is encoded twice: the first time its fields enter the dynamic table, the
second time they are a byte each, and from then on these bytes are remembered until the table moves. So
nothing may enter that would move it with every request; see `_should_index`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from ..._types import Field
from . import huffman
from .decoder import ENTRY_OVERHEAD
from .integers import encode_integer
from .limits import DEFAULT_TABLE_SIZE, EVICTION_INTERVAL, MAX_MEMO_COUNT, MAX_MEMO_SIZE, MAX_SEEN_COUNT
from .tables import STATIC_TABLE

_STATIC_COUNT = len(STATIC_TABLE)
_STATIC_FIELDS = {field: index for index, field in enumerate(STATIC_TABLE, 1) if field[1]}
_STATIC_NAMES = {name: index for index, (name, _) in reversed([*enumerate(STATIC_TABLE, 1)])}

_INDEXED = 0x80
_ENTERING = 0x40
_RESIZE = 0x20
_NEVER = 0x10
_PASSING = 0x00
"""The patterns of RFC 7541 §6, in front of an index or a size."""


def _encode_names(names: bytes, pattern: int) -> dict[bytes, bytes]:
    return {name: encode_integer(_STATIC_NAMES[name], 0x0F, pattern) for name in names.split()}


_CHANGING = _encode_names(
    b":path age content-length content-range date etag if-match if-modified-since if-none-match if-range"
    b" if-unmodified-since last-modified location range",
    _PASSING,
)
"""Names whose value is another one in each request, encoded. The values are not Huffman-coded: that would
take more of our time than it saves the network."""

_SECRET = _encode_names(b"authorization proxy-authorization set-cookie cookie", _NEVER)
"""Names of what must not be guessed by looking at how well it compresses (RFC 7541 §7.1.3), encoded."""

_SHORT_COOKIE = 20
"""Bytes below which a cookie might be guessed."""


class Encoder:
    """One for each connection. `table_size` is what the peer allows from the start."""

    def __init__(self, table_size: int = DEFAULT_TABLE_SIZE) -> None:
        self._capacity = min(table_size, DEFAULT_TABLE_SIZE)
        self._smallest_capacity: int | None = None
        """The smallest capacity since the last block, if it has changed at all."""
        self._entries: deque[Field] = deque()
        """The dynamic table, the newest entry first."""
        self._size = 0
        self._inserted_count = 0
        """Entries so far. Each is known by the count before it, which does not change as its index does."""
        self._fields: dict[Field, int] = {}
        self._names: dict[bytes, int] = {}
        """The newest entry of that name."""
        self._seen: dict[Field, None] = {}
        """Fields that came once, under a name that has an entry with another value."""
        self._change_count = 0
        """Entries, and fields seen once: while it stays, the same fields give the same bytes."""
        self._block_count = 0
        self._next_eviction = 0
        """The block from which on an entry may push out others."""
        self._blocks: dict[tuple[Field, ...], bytes] = {}
        self._last: tuple[Field, ...] = ()
        self._last_block = b""
        """What was looked up last among `_blocks`: to see that it is the same again takes no hash of it."""

    def resize(self, size: int) -> None:
        """Follow the peer's SETTINGS_HEADER_TABLE_SIZE; the next block says so first (RFC 7541 §4.2)."""
        size = min(size, DEFAULT_TABLE_SIZE)
        if size == self._capacity:
            return
        self._capacity = size
        smallest = self._smallest_capacity
        self._smallest_capacity = size if smallest is None else min(size, smallest)
        self._evict(size)
        self._forget_blocks()

    def encode(self, fields: Sequence[Field], repeated: tuple[Field, ...] = ()) -> bytes:
        """One block: `fields`, and then `repeated`, which is what is worth remembering.

        Names are in lower case, and whatever must be checked has been.
        """
        self._block_count += 1
        pieces = [] if self._smallest_capacity is None else [self._encode_resizing()]
        for field in fields:
            head = _CHANGING.get(field[0])
            if head is None or len(field[1]) >= len(_SHORT_LENGTHS) or field in _STATIC_FIELDS:
                pieces.append(self._encode_field(field))
            else:
                # As that would, without three calls: it is the `:path` of every request.
                pieces += (head, _SHORT_LENGTHS[len(field[1])], field[1])
        # Only now: `fields` may have moved the table.
        if repeated is self._last:
            pieces.append(self._last_block)
        elif (known := self._blocks.get(repeated)) is not None:
            self._last, self._last_block = repeated, known
            pieces.append(known)
        else:
            pieces.append(self._encode_between_secrets(repeated))
        return b"".join(pieces)

    def _encode_between_secrets(self, repeated: tuple[Field, ...]) -> bytes:
        """What stands before, between and after credentials is remembered, without them."""
        pieces: list[bytes] = []
        start = 0
        for at, field in enumerate(repeated):
            if field[0] in _SECRET and is_guessable(field):
                pieces += (self._encode_repeated(repeated[start:at]), self._encode_field(field))
                start = at + 1
        pieces.append(self._encode_repeated(repeated[start:]))
        return b"".join(pieces)

    def _encode_repeated(self, repeated: tuple[Field, ...]) -> bytes:
        known = self._blocks.get(repeated)
        if known is not None:
            return known
        count = self._change_count
        block = b"".join([self._encode_field(field) for field in repeated])
        if count == self._change_count and _list_size(repeated) <= MAX_MEMO_SIZE:
            if len(self._blocks) >= MAX_MEMO_COUNT:
                self._blocks.clear()
            self._blocks[repeated] = block
        return block

    def _forget_blocks(self) -> None:
        self._blocks.clear()
        self._last, self._last_block = (), b""

    def _encode_field(self, field: Field) -> bytes:
        name, value = field
        head = _CHANGING.get(name)
        if head is not None and field not in _STATIC_FIELDS:
            return head + _encode_plain(value)
        index = _STATIC_FIELDS.get(field)
        if index is None:
            number = self._fields.get(field)
            if number is not None:
                index = self._index_of(number)
        if index is not None:
            return encode_integer(index, 0x7F, _INDEXED)
        if is_guessable(field):
            return _SECRET[name] + _encode_plain(value)
        if not self._should_index(field):
            return self._encode_name(name, 0x0F, _PASSING) + _encode_string(value)
        # The name first: its entry may have to make room for this one.
        block = self._encode_name(name, 0x3F, _ENTERING) + _encode_string(value)
        self._insert(field)
        return block

    def _should_index(self, field: Field) -> bool:
        """Whether the field will come again, and is worth what it would push out.

        The first value of a name is trusted to come again. Another one, of a name that has shown to change,
        must have come before.
        """
        size = _field_size(field)
        if size > self._capacity // 2:
            return False
        if field[0] in self._names and field not in self._seen:
            if len(self._seen) >= MAX_SEEN_COUNT:
                self._seen.clear()
            self._seen[field] = None
            self._change_count += 1
            return False
        if self._size + size > self._capacity:
            if self._block_count < self._next_eviction:
                return False
            self._next_eviction = self._block_count + EVICTION_INTERVAL
        return True

    def _encode_name(self, name: bytes, prefix: int, pattern: int) -> bytes:
        index = _STATIC_NAMES.get(name)
        if index is None and name in self._names:
            index = self._index_of(self._names[name])
        if index is None:
            return bytes((pattern,)) + _encode_string(name)
        return encode_integer(index, prefix, pattern)

    def _index_of(self, number: int) -> int:
        return _STATIC_COUNT + self._inserted_count - number

    def _insert(self, field: Field) -> None:
        size = _field_size(field)
        self._evict(self._capacity - size)
        self._entries.appendleft(field)
        self._size += size
        self._fields[field] = self._names[field[0]] = self._inserted_count
        self._inserted_count += 1
        self._change_count += 1
        self._seen.pop(field, None)
        self._forget_blocks()

    def _evict(self, room: int) -> None:
        """Drop the oldest entries until the others take no more than `room` bytes."""
        while self._size > room:
            field = self._entries.pop()
            number = self._fields.pop(field)
            if self._names[field[0]] == number:
                del self._names[field[0]]
            self._size -= _field_size(field)

    def _encode_resizing(self) -> bytes:
        smallest, self._smallest_capacity = self._smallest_capacity, None
        block = encode_integer(self._capacity, 0x1F, _RESIZE)
        if smallest is not None and smallest < self._capacity:
            block = encode_integer(smallest, 0x1F, _RESIZE) + block
        return block


def is_guessable(field: Field) -> bool:
    """Whether the field must be sent as it is, each time, and must not be remembered."""
    name, value = field
    return name in _SECRET and (name != b"cookie" or len(value) < _SHORT_COOKIE)


def _field_size(field: Field) -> int:
    return len(field[0]) + len(field[1]) + ENTRY_OVERHEAD


def _list_size(fields: tuple[Field, ...]) -> int:
    return sum([_field_size(field) for field in fields])


def _encode_plain(value: bytes) -> bytes:
    size = len(value)
    return (_SHORT_LENGTHS[size] if size < 0x7F else encode_integer(size, 0x7F, 0x00)) + value


_SHORT_LENGTHS = [bytes((size,)) for size in range(0x7F)]


def _encode_string(value: bytes) -> bytes:
    coded = huffman.encode(value)
    if len(coded) < len(value):
        return encode_integer(len(coded), 0x7F, 0x80) + coded
    return _encode_plain(value)
