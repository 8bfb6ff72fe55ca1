"""Histories of blocks and sizes on one connection: ours with ours, ours with a foreign codec, both ways."""

from __future__ import annotations

import hpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from httpcore._protocols.hpack import Decoder, Encoder, HPACKError

from .examples import Field
from .test_decoder import entering, resizing

NAMES = [
    *(b":path", b":method", b":status", b"accept", b"accept-encoding", b"authorization", b"content-length"),
    *(b"cookie", b"set-cookie", b"x-request-id", b"x-a", b"user-agent"),
]
VALUES = [
    b"",
    b"/",
    b"GET",
    b"200",
    b"gzip, deflate",
    b"1",
    b"2",
    b"short",
    b"v" * 30,
    b"long" * 90,
    b"\xff" * 500,
]

names = st.sampled_from(NAMES) | st.binary(min_size=1, max_size=40)
values = st.sampled_from(VALUES) | st.binary(max_size=80)
lists = st.lists(st.tuples(names, values), max_size=8)
sizes = st.sampled_from([0, 31, 33, 64, 100, 300, 4095, 4096, 4097, 65_536]) | st.integers(0, 5000)

Operation = tuple[list[Field], list[Field]] | int
"""A block (what comes first, and what is repeated), or a new size of the table."""


def histories(*, length: int = 25) -> st.SearchStrategy[list[Operation]]:
    """Few different lists, so that they come again."""

    def take_turns(pool: list[list[Field]]) -> st.SearchStrategy[list[Operation]]:
        some = st.sampled_from(pool)
        return st.lists(st.tuples(some | lists, some) | st.tuples(some, some) | sizes, max_size=length)

    return st.lists(lists, min_size=1, max_size=4).flatmap(take_turns)


def foreign_fields(decoder: hpack.Decoder, block: bytes) -> list[Field]:
    return [(bytes(name), bytes(value)) for name, value in decoder.decode(block, raw=True)]


@given(histories())
def test_our_encoder_and_a_foreign_decoder(history: list[Operation]) -> None:
    encoder = Encoder()
    decoder = hpack.Decoder(max_header_list_size=2**30)
    for operation in history:
        if isinstance(operation, int):
            encoder.resize(operation)
            decoder.max_allowed_table_size = operation
        else:
            fields, repeated = operation
            block = encoder.encode(fields, tuple(repeated))
            assert foreign_fields(decoder, block) == fields + repeated


@given(histories(), st.booleans())
def test_a_foreign_encoder_and_our_decoder(history: list[Operation], is_coded: bool) -> None:
    encoder = hpack.Encoder()
    decoder = Decoder(table_size=65_536)
    for operation in history:
        if isinstance(operation, int):
            if operation == encoder.header_table_size:
                continue  # It would forget to announce the size, if that is new too.
            encoder.header_table_size = operation
            decoder.resize(operation)
        else:
            fields, sensitive = operation
            tuples = [hpack.HeaderTuple(*field) for field in fields]
            tuples += [hpack.NeverIndexedHeaderTuple(*field) for field in sensitive]
            block = bytes(encoder.encode(tuples, huffman=is_coded))
            assert list(decoder.decode(block).fields) == fields + sensitive


@given(histories())
def test_our_encoder_and_our_decoder(history: list[Operation]) -> None:
    encoder, decoder = Encoder(), Decoder()
    for operation in history:
        if isinstance(operation, int):
            encoder.resize(operation)
            decoder.resize(operation)
        else:
            fields, repeated = operation
            decoded = decoder.decode(encoder.encode(fields, tuple(repeated)))
            assert list(decoded.fields) == fields + repeated
            assert decoded.size == sum(len(name) + len(value) + 32 for name, value in fields + repeated)


@given(histories(length=40))
def test_memory_changes_nothing(history: list[Operation]) -> None:
    """A codec that remembers, beside one that forgets before each block."""
    encoder, forgetful_encoder = Encoder(), Encoder()
    decoder, forgetful_decoder = Decoder(table_size=65_536), Decoder(table_size=65_536)
    for operation in history:
        if isinstance(operation, int):
            for codec in (encoder, forgetful_encoder, decoder, forgetful_decoder):
                codec.resize(operation)
        else:
            fields, repeated = operation
            forgetful_encoder._blocks.clear()
            forgetful_decoder._blocks.clear()
            forgetful_decoder._constants.clear()
            forgetful_decoder._strings.clear()
            block = encoder.encode(fields, tuple(repeated))
            assert block == forgetful_encoder.encode(fields, tuple(repeated))
            assert decoder.decode(block).fields == forgetful_decoder.decode(block).fields


@given(
    st.lists(st.lists(st.tuples(names, values), max_size=5), min_size=1, max_size=3),
    st.lists(st.tuples(st.integers(0, 2), st.booleans()) | sizes, max_size=40),
)
def test_memory_of_blocks_that_do_not_look_at_the_table(
    lists: list[list[Field]], history: list[tuple[int, bool] | int]
) -> None:
    """As nginx writes them; and now and then a block that looks."""
    decoder, forgetful = Decoder(table_size=65_536), Decoder(table_size=65_536)
    updates = b""
    for operation in history:
        if isinstance(operation, int):
            updates = b"\x20" + resizing(operation)
            continue
        number, looks = operation
        block = b"".join(entering(*field) for field in lists[number % len(lists)])
        block = updates + (b"\x82\x84" if looks else block)
        assert decoder.decode(block).fields == forgetful.decode(block).fields
        forgetful._blocks.clear()
        forgetful._constants.clear()
        assert decoder._entries == forgetful._entries
        assert decoder._size == forgetful._size
        if decoder._entries and looks:
            block = bytes(0x80 | 62 + place for place in range(min(3, len(decoder._entries))))
            assert decoder.decode(block).fields == tuple(decoder._entries)[:3]
        updates = b""


@given(histories())
def test_the_books_of_the_encoder(history: list[Operation]) -> None:
    encoder = Encoder()
    for operation in history:
        if isinstance(operation, int):
            encoder.resize(operation)
        else:
            encoder.encode(operation[0], tuple(operation[1]))
        entries = list(encoder._entries)
        assert (
            encoder._size == sum(len(name) + len(value) + 32 for name, value in entries) <= encoder._capacity
        )
        assert {entries[encoder._index_of(n) - 62]: n for n in encoder._fields.values()} == encoder._fields
        assert len(encoder._fields) == len(entries)
        assert set(encoder._names) == {name for name, _ in entries}
        for name, number in encoder._names.items():
            place = encoder._index_of(number) - 62
            assert [entry[0] for entry in entries].index(name) == place


@given(histories(length=10))
def test_every_truncation_of_every_block(history: list[Operation]) -> None:
    """A block that ends early is an error, or the list is as much shorter."""
    encoder = Encoder()
    blocks: list[bytes] = []
    for operation in history:
        if isinstance(operation, int):
            continue
        fields, repeated = operation
        block = encoder.encode(fields, tuple(repeated))
        for end in range(0, len(block), max(1, len(block) // 40)):
            decoder = Decoder()
            for earlier in blocks:
                decoder.decode(earlier)
            try:
                decoded = list(decoder.decode(block[:end]).fields)
            except HPACKError:
                continue
            assert len(decoded) < len(fields) + len(repeated)
            assert decoded == (fields + repeated)[: len(decoded)]
        blocks.append(block)


@given(st.binary(max_size=60))
def test_any_octets(block: bytes) -> None:
    """Never another exception, and where the foreign decoder agrees to read, the same fields.

    It is more lenient about long integers, so that it may also read what we do not.
    """
    foreign = hpack.Decoder()
    try:
        decoded = Decoder().decode(block)
    except HPACKError:
        return
    assert foreign_fields(foreign, block) == list(decoded.fields)


@pytest.mark.parametrize("seed", range(3))
def test_a_long_history(seed: int) -> None:
    """More blocks than any memory or table holds."""
    encoder, decoder = Encoder(), Decoder()
    for number in range(2000):
        turn = (number * 7919 + seed) % 90
        fields = [(b":path", b"/%d" % number), (b"x-%d" % (turn % 13), b"v" * (turn * 9 % 200))]
        repeated = tuple((b"y-%d" % (turn % 11 + each), b"w%d" % (turn % 3)) for each in range(5))
        assert list(decoder.decode(encoder.encode(fields, repeated)).fields) == [*fields, *repeated]
