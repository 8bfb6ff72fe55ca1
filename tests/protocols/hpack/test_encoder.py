"""What an encoder writes, how little of it, and what it does not remember."""

from __future__ import annotations

import tracemalloc

import hpack
import pytest

from httpcore._protocols.hpack import Decoder, Encoder
from httpcore._protocols.hpack.limits import EVICTION_INTERVAL, MAX_MEMO_COUNT, MAX_MEMO_SIZE, MAX_SEEN_COUNT

from .examples import Field

REPEATED: tuple[Field, ...] = (
    (b":method", b"GET"),
    (b":scheme", b"https"),
    (b":authority", b"example.org"),
    (b"user-agent", b"test/1.0"),
    (b"accept", b"*/*"),
    (b"x-custom", b"value"),
)
PATH = (b":path", b"/some/path")


class Pair:
    """An encoder, and a decoder that reads along."""

    def __init__(self) -> None:
        self.encoder = Encoder()
        self.decoder = Decoder()

    def send(self, *fields: Field, repeated: tuple[Field, ...] = ()) -> bytes:
        block = self.encoder.encode(fields, repeated)
        assert self.decoder.decode(block).fields == (*fields, *repeated)
        return block


def test_an_empty_block() -> None:
    assert Pair().send() == b""


def test_fields_of_the_static_table() -> None:
    assert (
        Pair().send((b":path", b"/"), repeated=((b":method", b"GET"), (b":scheme", b"http")))
        == b"\x84\x82\x86"
    )
    assert Pair().send((b"accept-encoding", b"gzip, deflate")) == b"\x90"
    assert Pair().send((b":path", b"/index.html")) == b"\x85"


def test_a_repeated_request_is_short_from_the_second_time_on() -> None:
    pair = Pair()
    first = pair.send(PATH, repeated=REPEATED)
    second = pair.send(PATH, repeated=REPEATED)
    assert second == b"\x04\x0a/some/path\x82\x87" + b"\xc1\xc0\xbf\xbe"
    assert len(first) < sum(len(name) + len(value) for name, value in (PATH, *REPEATED))
    assert pair.send(PATH, repeated=REPEATED) == second


def test_repeated_fields_are_encoded_twice_only(monkeypatch: pytest.MonkeyPatch) -> None:
    pair = Pair()
    for _ in range(2):
        pair.send(PATH, repeated=REPEATED)
    calls: list[Field] = []
    real = pair.encoder._encode_field

    def note(field: Field) -> bytes:
        calls.append(field)
        return real(field)

    monkeypatch.setattr(pair.encoder, "_encode_field", note)
    for number in range(10):
        equal = (*REPEATED,)
        assert equal is not REPEATED
        pair.send((b":path", b"/%d" % number), repeated=equal)
        pair.send((b":path", b"/" * 127), repeated=REPEATED)
    assert calls == [(b":path", b"/" * 127)] * 10


CHANGING = (
    b":path age content-length content-range date etag if-match if-modified-since if-none-match if-range"
    b" if-unmodified-since last-modified location range"
).split()


@pytest.mark.parametrize("name", CHANGING)
def test_what_changes_stays_out_of_the_table(name: bytes) -> None:
    pair = Pair()
    pair.send(PATH, repeated=REPEATED)
    settled = pair.send(PATH, repeated=REPEATED)
    for value in (b"1", b"1", b"2", b"2"):
        block = pair.send((name, value), repeated=REPEATED)
        assert block.endswith(settled[-6:])
        assert block[0] & 0xF0 == 0x00
        assert block[:-6].endswith(b"\x01" + value)


@pytest.mark.parametrize(
    "field",
    [
        (b"authorization", b"Bearer abcdefghijklmnopqrstuvwxyz"),
        (b"authorization", b""),
        (b"proxy-authorization", b"Basic YTpi"),
        (b"set-cookie", b"a=b; path=/; secure; httponly"),
        (b"cookie", b"x" * 19),
        (b"cookie", b""),
    ],
)
def test_what_could_be_guessed(field: Field) -> None:
    """A literal that is never indexed, each time, wherever it stands, and in no memory (RFC 7541 §7.1.3)."""
    pair = Pair()
    foreign = hpack.Decoder()
    for _ in range(4):
        for block in (pair.send(field), pair.send(PATH, repeated=(*REPEATED, field))):
            decoded = list(foreign.decode(block, raw=True))
            assert type(decoded[-1]) is hpack.NeverIndexedHeaderTuple
            assert not any(type(other) is hpack.NeverIndexedHeaderTuple for other in decoded[:-1])
    encoder = pair.encoder
    assert not any(field in repeated for repeated in encoder._blocks)
    assert field not in encoder._fields
    assert field not in encoder._seen
    assert field[0] not in encoder._names


def test_fields_around_credentials_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    pair = Pair()
    secret, other = (b"authorization", b"Bearer abc"), (b"cookie", b"a=b")
    repeated = (*REPEATED[:4], secret, *REPEATED[4:], other)
    for _ in range(2):
        pair.send(PATH, repeated=repeated)
    calls: list[Field] = []
    real = pair.encoder._encode_field

    def note(field: Field) -> bytes:
        calls.append(field)
        return real(field)

    monkeypatch.setattr(pair.encoder, "_encode_field", note)
    pair.send(PATH, repeated=repeated)
    assert calls == [secret, other]


def test_a_long_cookie_enters_the_table() -> None:
    pair = Pair()
    cookie = (b"cookie", b"x" * 20)
    pair.send(cookie)
    assert pair.send(cookie) == b"\xbe"


def test_values_that_keep_changing_do_not_move_the_table() -> None:
    pair = Pair()
    for number in range(300):
        pair.send(PATH, repeated=(*REPEATED, (b"x-request-id", b"%d" % number)))
    assert pair.encoder._inserted_count == 5
    assert len(pair.encoder._blocks) == 0
    assert len(pair.encoder._seen) <= MAX_SEEN_COUNT


def test_a_second_value_enters_when_it_comes_again() -> None:
    pair = Pair()
    for number, size in [(1, None), (2, None), (2, None), (2, 1), (1, 1)]:
        block = pair.send((b"x-tenant", b"tenant-%d" % number))
        assert size is None or len(block) == size


def test_a_second_value_enters_among_repeated_fields_too() -> None:
    """The block in which it is not indexed yet must not be remembered."""
    pair = Pair()
    other = (*REPEATED[:-1], (b"x-custom", b"another"))
    for repeated in (REPEATED, REPEATED, other, other, other):
        block = pair.send(PATH, repeated=repeated)
    assert len(block) == len(PATH[1]) + 2 + len(REPEATED)


def test_a_large_value_stays_out_of_the_table() -> None:
    pair = Pair()
    pair.send(repeated=REPEATED)
    for size in (2048, 4096, 100_000):
        pair.send((b"x-large", b"v" * size))
    assert pair.send(repeated=REPEATED) == b"\x82\x87\xc1\xc0\xbf\xbe"


def test_more_fields_than_the_table_holds_can_take_turns() -> None:
    """The table moves seldom, so that what is sent is remembered."""
    pair = Pair()
    sets = [tuple((b"x-%d-%d" % (turn, number), b"v" * 300) for number in range(10)) for turn in range(4)]
    for _ in range(200):
        for repeated in sets:
            pair.send(PATH, repeated=repeated)
    assert pair.encoder._inserted_count <= 11 + 800 // EVICTION_INTERVAL
    assert pair.encoder._size <= 4096
    for repeated in sets:
        pair.send(PATH, repeated=repeated)
    assert len(pair.encoder._blocks) >= 3


def test_old_fields_make_room_for_new_ones() -> None:
    pair = Pair()
    for number in range(30):
        pair.send((b"x-old-%d" % number, b"v" * 200))
    for _ in range(EVICTION_INTERVAL + 2):
        block = pair.send((b"x-new", b"v" * 200))
    assert len(block) == 1


def test_values_are_huffman_coded_if_that_is_shorter() -> None:
    assert b"example" not in Pair().send((b"x", b"example example"))
    assert b"\x80\x81\x82" in Pair().send((b"x", b"\x80\x81\x82"))
    assert Pair().send((b"x", b"")).endswith(b"\x00")


@pytest.mark.parametrize("length", [126, 127, 128, 160, 254, 255, 16_383, 16_384, 100_000])
@pytest.mark.parametrize("name", [b":path", b"x-long", b"authorization"])
def test_a_value_of_any_length(name: bytes, length: int) -> None:
    Pair().send((name, b"v" * length))
    Pair().send((name, b"\xff" * length))


def test_a_table_of_many_entries() -> None:
    """Their indices take two octets, and three."""
    pair = Pair()
    fields = tuple((b"%d" % number, b"") for number in range(120))
    pair.send(repeated=fields)
    block = pair.send(repeated=fields)
    assert len(block) > len(fields)


# Size updates (RFC 7541 §4.2).


@pytest.mark.parametrize(
    ("sizes", "updates"),
    [
        ([4096], b""),
        ([100_000], b""),
        ([100_000, 4096], b""),
        ([0], b"\x20"),
        ([100], b"\x3f\x45"),
        ([0, 4096], b"\x20\x3f\xe1\x1f"),
        ([100, 0, 30], b"\x20\x3e"),
        ([2000, 100, 1000, 100], b"\x3f\x45"),
        ([0, 65_536], b"\x20\x3f\xe1\x1f"),
    ],
)
def test_the_size_updates_of_the_next_block(sizes: list[int], updates: bytes) -> None:
    encoder = Encoder()
    for size in sizes:
        encoder.resize(size)
    assert encoder.encode([(b":path", b"/")]) == updates + b"\x84"
    assert encoder.encode([(b":path", b"/")]) == b"\x84"


def test_the_table_after_an_update() -> None:
    pair = Pair()
    for _ in range(3):
        pair.send(PATH, repeated=REPEATED)
    pair.encoder.resize(100)
    pair.decoder.resize(100)
    block = pair.send(PATH, repeated=REPEATED)
    assert block.startswith(b"\x3f\x45\x04\x0a")
    for _ in range(100):
        pair.send(PATH, repeated=REPEATED)
    pair.encoder.resize(0)
    pair.decoder.resize(0)
    blocks = {pair.send(PATH, repeated=REPEATED) for _ in range(3)}
    assert len(blocks) == 2
    assert pair.encoder._size == 0


def test_a_table_that_was_emptied_and_enlarged_between_two_blocks() -> None:
    pair = Pair()
    for _ in range(3):
        pair.send(PATH, repeated=REPEATED)
    pair.encoder.resize(0)
    pair.encoder.resize(4096)
    block = pair.send(PATH, repeated=REPEATED)
    assert block.startswith(b"\x20\x3f\xe1\x1f\x04")
    assert len(block) > 40


@pytest.mark.parametrize("size", [0, 256])
def test_a_smaller_table_from_the_start(size: int) -> None:
    encoder, decoder = Encoder(size), Decoder(table_size=size)
    for number in range(50):
        fields = ((b"x-%d" % (number % 7), b"v" * 40), PATH)
        assert decoder.decode(encoder.encode(fields, REPEATED)).fields == fields + REPEATED


# What is remembered.


def test_little_is_remembered() -> None:
    encoder = Encoder()
    tracemalloc.start()
    for number in range(20 * MAX_MEMO_COUNT):
        encoder.encode([], ((b":path", b"/%d" % number), (b":path", b"x" * 3900)))
    used, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert used < 3 * MAX_MEMO_COUNT * MAX_MEMO_SIZE
    assert 0 < len(encoder._blocks) <= MAX_MEMO_COUNT
    encoder = Encoder()
    encoder.encode([], ((b":path", b"x" * MAX_MEMO_SIZE),))
    assert encoder._blocks == {}
