"""What a decoder makes of blocks, right and wrong ones."""

from __future__ import annotations

import tracemalloc

import pytest

from httpcore._protocols.hpack import Decoder, FieldBlock, HPACKError, huffman
from httpcore._protocols.hpack.limits import MAX_MEMO_COUNT, MAX_MEMO_SIZE, MAX_STRING_COUNT, MAX_STRING_SIZE
from httpcore._protocols.hpack.tables import STATIC_TABLE

from .examples import EXAMPLES, Example, Field


def integer(value: int, prefix: int, pattern: int) -> bytes:
    """Independent of ours."""
    if value < prefix:
        return bytes([pattern | value])
    value -= prefix
    octets = [pattern | prefix]
    while value > 127:
        octets.append(value % 128 + 128)
        value //= 128
    return bytes([*octets, value])


def string(value: bytes) -> bytes:
    return integer(len(value), 127, 0) + value


def indexed(index: int) -> bytes:
    return integer(index, 127, 0x80)


def entering(name: bytes, value: bytes) -> bytes:
    return b"\x40" + string(name) + string(value)


def passing(name: bytes, value: bytes) -> bytes:
    return b"\x00" + string(name) + string(value)


def resizing(size: int) -> bytes:
    return integer(size, 31, 0x20)


def table_of(decoder: Decoder) -> list[Field]:
    """The dynamic table, the newest entry first, as blocks can see it."""
    table: list[Field] = []
    while True:
        try:
            table += decoder.decode(indexed(62 + len(table))).fields
        except HPACKError:
            return table


def size_of(fields: list[Field]) -> int:
    return sum(len(name) + len(value) + 32 for name, value in fields)


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.clause)
def test_the_examples_of_the_rfc(example: Example) -> None:
    decoder = Decoder(table_size=example.capacity)
    for step in example.steps:
        decoded = decoder.decode(step.block)
        assert list(decoded.fields) == step.fields
        assert decoded.size == size_of(step.fields)
        assert not decoded.is_too_large
        assert table_of(decoder) == step.table
        assert size_of(step.table) == step.table_size


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.clause)
def test_every_truncation(example: Example) -> None:
    """The block ends early: between two fields that is a shorter list, anywhere else an error."""
    for number, step in enumerate(example.steps):
        for end in range(len(step.block)):
            decoder = Decoder(table_size=example.capacity)
            for earlier in example.steps[:number]:
                decoder.decode(earlier.block)
            try:
                decoded = list(decoder.decode(step.block[:end]).fields)
            except HPACKError:
                continue
            assert len(decoded) < len(step.fields)
            assert decoded == step.fields[: len(decoded)]


def test_an_empty_block() -> None:
    decoded = Decoder().decode(b"")
    assert decoded.fields == ()
    assert decoded.size == 0


def test_the_static_table() -> None:
    for index, field in enumerate(STATIC_TABLE, 1):
        assert Decoder().decode(indexed(index)).fields == (field,)


@pytest.mark.parametrize("pattern", [b"\x40", b"\x00", b"\x10"], ids=["entering", "passing", "never"])
def test_a_literal_with_each_kind_of_name(pattern: bytes) -> None:
    prefix = 63 if pattern == b"\x40" else 15
    decoder = Decoder()
    decoder.decode(entering(b"a", b"1"))
    for index, name in [(1, b":authority"), (15, b"accept-charset"), (61, b"www-authenticate"), (62, b"a")]:
        block = integer(index, prefix, pattern[0]) + string(b"v")
        assert decoder.decode(block).fields == ((name, b"v"),)
        decoder.decode(entering(b"a", b"1"))
    assert decoder.decode(pattern + string(b"") + string(b"")).fields == ((b"", b""),)


@pytest.mark.parametrize("length", [0, 1, 126, 127, 128, 254, 255, 16_384, 100_000])
def test_a_string_of_any_length(length: int) -> None:
    value = b"x" * length
    assert Decoder().decode(passing(b"n", value)).fields == ((b"n", value),)


@pytest.mark.parametrize(
    "block",
    [
        b"\x80",
        indexed(62),
        indexed(63),
        indexed(2**28),
        b"\x7e" + string(b"v"),
        integer(62, 15, 0x00) + string(b"v"),
        integer(100_000, 15, 0x10) + string(b"v"),
    ],
    ids=bytes.hex,
)
def test_an_index_of_nothing(block: bytes) -> None:
    with pytest.raises(HPACKError, match="Neither table has an entry"):
        Decoder().decode(block)


def test_an_index_just_past_the_table() -> None:
    decoder = Decoder()
    decoder.decode(entering(b"a", b"1") + entering(b"b", b"2"))
    assert decoder.decode(indexed(62) + indexed(63)).fields == ((b"b", b"2"), (b"a", b"1"))
    with pytest.raises(HPACKError, match="entry 64"):
        decoder.decode(indexed(64))


@pytest.mark.parametrize(
    "block",
    [
        b"\xff" + b"\x80" * 5 + b"\x01",
        b"\xff" + b"\xff" * 5 + b"\x01",
        b"\xff" + b"\x80" * 100_000,
        b"\x7f" + b"\x80" * 5 + b"\x00",
        b"\x0f" + b"\xff" * 6,
        b"\x00\x7f" + b"\xff" * 9 + b"\x01",
        b"\x00\xff" + b"\x80" * 6,
        b"\x3f" + b"\x80" * 5 + b"\x00",
    ],
    ids=lambda block: block[:8].hex(),
)
def test_an_integer_that_is_too_long(block: bytes) -> None:
    with pytest.raises(HPACKError, match="longer than 5 octets"):
        Decoder().decode(block)


def test_the_longest_integers() -> None:
    """Zeros that add nothing are legal, as far as they fit."""
    decoder = Decoder()
    decoder.decode(b"".join(entering(b"n%d" % number, b"") for number in range(100)))
    assert decoder.decode(b"\xff\x80\x80\x80\x80\x00").fields == ((b"n34", b""),)
    with pytest.raises(HPACKError, match="Neither table"):
        decoder.decode(b"\xff\xff\xff\xff\xff\x7f")
    with pytest.raises(HPACKError, match="within a string"):
        decoder.decode(b"\x00\x7f\xff\xff\xff\xff\x7f")


@pytest.mark.parametrize(
    ("block", "reason"),
    [
        (b"\xff", "within an integer"),
        (b"\xff\x80", "within an integer"),
        (b"\x7f\xff\xff\xff\xff", "within an integer"),
        (b"\x3f", "within an integer"),
        (b"\x00", "where a string should begin"),
        (b"\x40\x01a", "where a string should begin"),
        (b"\x04", "where a string should begin"),
        (b"\x04\x7f", "within an integer"),
        (b"\x04\x02a", "within a string"),
        (b"\x00\x7f\xff\xff\x03" + bytes(1000), "within a string"),
        (b"\x04\x82\xff", "within a string"),
    ],
)
def test_a_block_that_ends_early(block: bytes, reason: str) -> None:
    with pytest.raises(HPACKError, match=reason):
        Decoder().decode(block)


@pytest.mark.parametrize("value", [b"\x84\xff\xff\xff\xff", b"\x81\x00", b"\x82\x1f\xff"], ids=bytes.hex)
def test_a_bad_huffman_string(value: bytes) -> None:
    for block in (b"\x04" + value, b"\x40" + value + b"\x00", b"\x00\x01a" + value):
        decoder = Decoder()
        for _ in range(2):  # The second time it must not have been remembered.
            with pytest.raises(HPACKError, match="Huffman"):
                decoder.decode(block)


# The table (RFC 7541 §4).


def test_the_oldest_entries_make_room() -> None:
    decoder = Decoder(table_size=100)
    decoder.decode(entering(b"a", b"1") + entering(b"b", b"2"))
    assert table_of(decoder) == [(b"b", b"2"), (b"a", b"1")]
    decoder.decode(entering(b"c", b"3"))
    assert table_of(decoder) == [(b"c", b"3"), (b"b", b"2")]
    decoder.decode(entering(b"d", b"4" * 40))
    assert table_of(decoder) == [(b"d", b"4" * 40)]


@pytest.mark.parametrize(("excess", "kept"), [(0, 1), (1, 0)])
def test_an_entry_as_large_as_the_table_and_a_larger_one(excess: int, kept: int) -> None:
    """The larger one empties it and is no error (RFC 7541 §4.4)."""
    decoder = Decoder(table_size=100)
    decoder.decode(entering(b"a", b"1"))
    field = (b"b", b"x" * (67 + excess))
    assert decoder.decode(entering(*field)).fields == (field,)
    assert table_of(decoder) == [field] * kept
    decoder.decode(entering(b"c", b"3"))
    assert table_of(decoder)[0] == (b"c", b"3")


def test_a_name_that_is_pushed_out_by_its_own_field() -> None:
    decoder = Decoder(table_size=100)
    decoder.decode(entering(b"name", b"1"))
    field = (b"name", b"x" * 60)
    assert decoder.decode(b"\x7e" + string(field[1])).fields == (field,)
    assert table_of(decoder) == [field]
    assert decoder.decode(b"\x7e" + string(b"x" * 90)).fields == ((b"name", b"x" * 90),)
    assert table_of(decoder) == []


def test_the_same_field_twice_takes_two_entries() -> None:
    decoder = Decoder()
    decoder.decode(entering(b"a", b"1") * 2)
    assert table_of(decoder) == [(b"a", b"1")] * 2


def test_a_table_without_room() -> None:
    decoder = Decoder(table_size=0)
    assert decoder.decode(entering(b"", b"")).fields == ((b"", b""),)
    assert table_of(decoder) == []


# Size updates (RFC 7541 §4.2, §6.3).


def test_the_table_is_made_smaller_and_larger() -> None:
    decoder = Decoder()
    decoder.decode(entering(b"a", b"1") + entering(b"b", b"2"))
    assert decoder.decode(resizing(34) + indexed(62)).fields == ((b"b", b"2"),)
    assert table_of(decoder) == [(b"b", b"2")]
    decoder.decode(resizing(4096) + entering(b"c", b"3"))
    assert table_of(decoder) == [(b"c", b"3"), (b"b", b"2")]
    decoder.decode(resizing(0) + resizing(4096))
    assert table_of(decoder) == []
    decoder.decode(entering(b"d", b"4"))
    assert table_of(decoder) == [(b"d", b"4")]


@pytest.mark.parametrize("allowed", [0, 30, 31, 100, 4096, 65_536])
def test_an_update_past_what_we_allow(allowed: int) -> None:
    assert Decoder(table_size=allowed).decode(resizing(allowed)).fields == ()
    with pytest.raises(HPACKError, match=f"resized to {allowed + 1}"):
        Decoder(table_size=allowed).decode(resizing(allowed + 1))


@pytest.mark.parametrize("before", [indexed(2), entering(b"a", b"1"), passing(b"a", b"1")])
def test_an_update_behind_a_field(before: bytes) -> None:
    with pytest.raises(HPACKError, match="behind a field"):
        Decoder().decode(before + resizing(100))


def test_a_larger_table_is_used_only_once_the_peer_says_so() -> None:
    fields = [entering(b"n%03d" % number, b"x" * 60) for number in range(100)]
    decoder = Decoder(table_size=65_536)
    decoder.decode(b"".join(fields))
    assert size_of(table_of(decoder)) <= 4096
    decoder.decode(resizing(65_536) + b"".join(fields))
    assert len(table_of(decoder)) == 4096 // 96 + 100


@pytest.mark.parametrize("block", [b"", indexed(2), resizing(101) + indexed(2), entering(b"a", b"1")])
def test_our_lowering_must_be_confirmed(block: bytes) -> None:
    decoder = Decoder()
    decoder.decode(indexed(2))
    decoder.resize(100)
    with pytest.raises(HPACKError):
        decoder.decode(block)


def test_our_lowering_is_confirmed() -> None:
    decoder = Decoder()
    decoder.decode(entering(b"a", b"1" * 80) + entering(b"b", b"2"))
    decoder.resize(100)
    decoder.decode(resizing(100) + indexed(2))
    assert table_of(decoder) == [(b"b", b"2")]
    decoder.decode(indexed(2))
    decoder.decode(resizing(40))
    assert table_of(decoder) == [(b"b", b"2")]


def test_a_lowering_that_was_taken_back_must_be_confirmed_still() -> None:
    """The table has been emptied over there, and only an update says so."""
    for block, is_right in [
        (resizing(0) + resizing(4096), True),
        (resizing(0), True),
        (resizing(4096), False),
        (resizing(1), False),
        (indexed(2), False),
    ]:
        decoder = Decoder()
        decoder.resize(0)
        decoder.resize(4096)
        if is_right:
            decoder.decode(block)
        else:
            with pytest.raises(HPACKError, match="no larger than 0"):
                decoder.decode(block)


def test_each_size_that_was_allowed_between_two_blocks() -> None:
    """Some encoders announce all of them, though the smallest and the last would do."""
    decoder = Decoder()
    for size in (8192, 0, 100):
        decoder.resize(size)
    assert decoder.decode(resizing(8192) + resizing(0) + resizing(100)).fields == ()
    with pytest.raises(HPACKError, match="resized to 8192"):
        decoder.decode(resizing(8192) + resizing(100))
    decoder = Decoder()
    for size in (8192, 0, 100):
        decoder.resize(size)
    with pytest.raises(HPACKError, match="resized to 101"):
        decoder.decode(resizing(0) + resizing(101))


def test_a_lowering_to_what_the_peer_uses_anyway() -> None:
    decoder = Decoder(table_size=65_536)
    decoder.resize(4096)
    assert decoder.decode(indexed(2)).fields == ((b":method", b"GET"),)
    decoder.decode(resizing(100))
    decoder.resize(200)
    assert decoder.decode(indexed(2)).fields == ((b":method", b"GET"),)


# Limits (RFC 7541 §7.3).


def test_a_list_up_to_its_limit_and_past_it() -> None:
    block = passing(b"a", b"1" * 67) * 3
    assert len(Decoder(list_size=300).decode(block).fields) == 3
    decoded = Decoder(list_size=299).decode(block)
    assert decoded.is_too_large
    assert decoded.fields == ()
    assert decoded.size == 300


def test_fields_up_to_their_limit_and_past_it() -> None:
    assert len(Decoder(field_count=3).decode(indexed(2) * 3).fields) == 3
    decoded = Decoder(field_count=3).decode(indexed(2) * 4)
    assert decoded.is_too_large
    assert decoded.fields == ()


def test_the_table_goes_on_behind_a_list_that_is_too_large() -> None:
    decoder = Decoder(list_size=100)
    assert decoder.decode(passing(b"a", b"1" * 200) + entering(b"b", b"2")).is_too_large
    decoded = decoder.decode(indexed(62))
    assert decoded.fields == ((b"b", b"2"),)
    assert not decoded.is_too_large


def test_an_error_behind_a_list_that_is_too_large() -> None:
    with pytest.raises(HPACKError):
        Decoder(list_size=100).decode(passing(b"a", b"1" * 200) + b"\x80")


@pytest.mark.parametrize("tail", [b"\x80", b"\xbf", b"\xfe", b"\xbe\x80\xbe"])
def test_indexes_are_checked_behind_a_list_that_is_too_large(tail: bytes) -> None:
    """0, and what is behind the one entry of the table."""
    decoder = Decoder(list_size=100)
    decoder.decode(entering(b"b", b"2"))
    with pytest.raises(HPACKError):
        decoder.decode(passing(b"a", b"1" * 200) + indexed(2) + tail)


def test_the_size_of_a_list_that_is_too_large_is_exact() -> None:
    decoder = Decoder(list_size=100)
    decoder.decode(entering(b"b", b"2"))
    fields = [(b"a", b"1" * 200), *STATIC_TABLE, (b"b", b"2"), (b"c", b""), (b"b", b"2"), (b"b", b"2")]
    indexes = b"".join(indexed(index) for index in range(1, 63))
    block = passing(b"a", b"1" * 200) + indexes + passing(b"c", b"") + indexed(62) * 2
    assert decoder.decode(block).size == size_of(fields)


def test_a_bomb_is_not_kept() -> None:
    """One entry of 4,000 bytes, and then a byte for each time that it is meant: 400 MB."""
    decoder = Decoder()
    decoder.decode(entering(b"a", b"x" * 4000))
    block = indexed(62) * 100_000
    tracemalloc.start()
    decoded = decoder.decode(block)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert decoded.is_too_large
    assert decoded.size == 100_000 * 4033
    assert peak < 100_000


def test_a_bomb_of_copies_is_not_kept() -> None:
    """Names of 3,000 bytes by index, with short values: each field is new, its name is not."""
    decoder = Decoder()
    decoder.decode(entering(b"n" * 3000, b""))
    block = (integer(62, 15, 0) + string(b"v")) * 100_000
    tracemalloc.start()
    decoded = decoder.decode(block)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert decoded.is_too_large
    assert peak < 100_000


# What is remembered.


def test_a_block_seen_before_gives_the_same_object() -> None:
    decoder = Decoder()
    decoder.decode(entering(b"a", b"1"))
    first = decoder.decode(indexed(62))
    first.reading = "what the engine made of it"
    assert decoder.decode(bytes(bytearray(indexed(62)))) is first
    assert decoder.decode(indexed(2)) is not first
    assert decoder.decode(indexed(62)) is first


@pytest.mark.parametrize("mover", [entering(b"b", b"2"), resizing(0) + resizing(4096), resizing(34)])
def test_a_block_is_forgotten_when_the_table_moves(mover: bytes) -> None:
    decoder = Decoder()
    decoder.decode(entering(b"a", b"1"))
    first = decoder.decode(indexed(62))
    decoder.decode(mover)
    if mover == resizing(34):
        assert decoder.decode(indexed(62)) is not first
    else:
        decoder.decode(entering(b"c", b"3"))
        assert decoder.decode(indexed(62)).fields == ((b"c", b"3"),)


def test_a_block_that_adds_the_same_entries_each_time() -> None:
    decoder = Decoder()
    block = indexed(8) + entering(b"a", b"1") + entering(b"b", b"2")
    first = decoder.decode(block)
    assert decoder.decode(block) is first
    assert table_of(decoder) == [(b"b", b"2"), (b"a", b"1")] * 2
    decoder.decode(entering(b"c", b"3"))
    assert decoder.decode(block) is first
    assert table_of(decoder)[:4] == [(b"b", b"2"), (b"a", b"1"), (b"c", b"3"), (b"b", b"2")]


def test_a_remembered_block_that_adds_entries_moves_the_table() -> None:
    decoder = Decoder()
    for name in (b"a", b"b", b"a", b"b"):
        decoder.decode(entering(name, b"1"))
        for _ in range(2):
            assert decoder.decode(indexed(62)).fields == ((name, b"1"),)


def test_a_block_that_adds_entries_makes_room_for_them() -> None:
    decoder = Decoder(table_size=100)
    block = entering(b"a", b"1") + entering(b"b", b"2") + entering(b"c", b"3")
    for _ in range(3):
        decoder.decode(block)
        assert table_of(decoder) == [(b"c", b"3"), (b"b", b"2")]
    large = entering(b"d", b"4" * 68) + entering(b"e", b"5")
    for _ in range(3):
        assert decoder.decode(large).fields == ((b"d", b"4" * 68), (b"e", b"5"))
        assert table_of(decoder) == [(b"e", b"5")]


def test_a_block_that_adds_entries_to_a_smaller_table() -> None:
    decoder = Decoder()
    block = entering(b"a", b"1" * 100) + entering(b"b", b"2")
    for _ in range(2):
        decoder.decode(block)
    decoder.decode(resizing(40))
    for _ in range(2):
        decoder.decode(block)
        assert table_of(decoder) == [(b"b", b"2")]


@pytest.mark.parametrize(
    "block",
    [
        resizing(4096),
        resizing(4096) + indexed(2),
        indexed(62) + entering(b"b", b"2"),
        entering(b"b", b"2") + indexed(62),
        b"\x7e" + string(b"3"),
    ],
    ids=bytes.hex,
)
def test_a_block_that_depends_on_the_table_and_moves_it_is_not_remembered(block: bytes) -> None:
    decoder = Decoder()
    decoder.decode(entering(b"a", b"1"))
    assert decoder.decode(block) is not decoder.decode(block)


def test_a_remembered_block_does_not_replace_the_confirmation_of_our_lowering() -> None:
    for block in (indexed(2), entering(b"a", b"1"), indexed(62)):
        decoder = Decoder()
        decoder.decode(entering(b"a", b"1"))
        decoder.decode(block)
        decoder.resize(100)
        with pytest.raises(HPACKError, match="no larger than 100"):
            decoder.decode(block)


def test_a_failed_block_leaves_no_memory_of_a_moved_table() -> None:
    decoder = Decoder()
    decoder.decode(entering(b"a", b"1"))
    decoder.decode(indexed(62))
    with pytest.raises(HPACKError):
        decoder.decode(entering(b"b", b"2") + b"\x80")
    assert decoder.decode(indexed(62)).fields == ((b"b", b"2"),)


def test_little_is_remembered() -> None:
    decoder = Decoder()
    kept: list[FieldBlock] = []
    tracemalloc.start()
    for number in range(20 * MAX_MEMO_COUNT):
        kept[:] = [decoder.decode(passing(b"%d" % number, b"x" * 1500))]
    used, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert used < MAX_MEMO_COUNT * (MAX_MEMO_SIZE + 1000)
    assert 0 < len(decoder._constants) <= MAX_MEMO_COUNT
    decoder.decode(entering(b"a", b"1"))
    for number in range(20 * MAX_MEMO_COUNT):
        decoder.decode(indexed(62) + b"\x04" + string(b"%d" % number))
    assert 0 < len(decoder._blocks) <= MAX_MEMO_COUNT
    large = passing(b"a", b"x" * MAX_MEMO_SIZE)
    assert decoder.decode(large) is not decoder.decode(large)


def test_few_strings_are_remembered() -> None:
    decoder = Decoder()
    blocks = []
    for number in range(20 * MAX_STRING_COUNT):
        coded = huffman.encode(b"%075d" % number)
        assert len(coded) < MAX_STRING_SIZE
        blocks += [b"\x04" + bytes((0x80 | len(coded),)) + coded] * 2
    tracemalloc.start()
    for number, block in enumerate(blocks):
        assert decoder.decode(block).fields == ((b":path", b"%075d" % (number // 2)),)
    decoder.decode(entering(b"a", b"1"))
    used, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert 0 < used < MAX_STRING_COUNT * 4 * MAX_STRING_SIZE
