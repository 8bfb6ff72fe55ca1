"""Fuzz the HPACK codec: damaged and random blocks in, and nothing but fields or an `HPACKError` out.

    python -m fuzz hpack --count 200000 --seconds 60 --seed 1

Each input is a history of blocks and table sizes on one connection. No other exception escapes, no block takes longer
than its bytes allow, the table keeps its books, nothing past a limit comes out, and a decoder that remembers
reads the same as one that forgets. Every fourth history is not damaged: it is read as it was written. The same seed
gives the same inputs. Exits with 1 at the first failure and prints how to see it again.
"""

from __future__ import annotations

import random
import time

from httpcore._protocols.hpack import Decoder, Encoder, FieldBlock, HPACKError

from .mutations import Mutation, cut_off, delete_span, flip_bit, replace_byte
from .trials import Failure

Field = tuple[bytes, bytes]

SLOW = 0.2
SLOW_PER_BYTE = 20e-6
"""Seconds that no block may take, and how much longer if it is long: ten times what the slowest bytes take."""

LIST_SIZE = 2000
FIELD_COUNT = 12
"""Small enough to be reached; every other history is read with the default ones."""

NAMES = [
    *(b":path", b":status", b":method", b"accept", b"authorization", b"content-type", b"cookie", b"date"),
    *(b"etag", b"server", b"set-cookie", b"x-a", b"x-b", b"x-long-name-of-a-field", b"", b"\xff"),
]
VALUES = [
    *(b"", b"/", b"GET", b"200", b"gzip, deflate", b"text/html; charset=utf-8", b"1", b"2", b'"5f3c-1"'),
    *(b"Sat, 23 Nov 2024 18:44:00 GMT", b"\xc3\xa4" * 9, bytes(range(256)), b"a" * 130, b"x" * 3000),
    *(b'{"a": [1, 2]}', b"+~|<>", b"nginx/1.22.1"),
]
SIZES = [0, 1, 31, 32, 33, 100, 300, 1000, 4095, 4096, 4097, 65_536]

WORDS = [
    b"\x80", b"\x82", b"\xbe", b"\xbf", b"\xff", b"\xff\x00", b"\xff\x80\x80\x80\x80\x80\x01", b"\xff" * 12,
    b"\x20", b"\x3f\xe1\x1f", b"\x3f\x45", b"\x3f\xff\xff\xff\xff\x0f", b"\x40\x01a\x01b", b"\x40\x00\x00",
    b"\x7e\x00", b"\x00", b"\x0f", b"\x0f\x80\x80", b"\x10", b"\x1f\x2f\x00", b"\x81\xff", b"\x81\x00",
    b"\x84\xff\xff\xff\xff", b"\x84\xff\xff\xff\xfc", b"\x04\x81\x1f", b"\x04\x7f\x00", b"\x04\xff\x80\x00",
    b"\xbe" * 200, b"\x40\x00\x00" * 140, b"\x40\x01a\x7f\xe1\x1e" + b"x" * 4000, b"\x20" * 50,
]  # fmt: skip


def insert_word(data: bytearray, generator: random.Random) -> None:
    place = generator.randint(0, len(data))
    data[place:place] = generator.choice(WORDS)


def repeat_span(data: bytearray, generator: random.Random) -> None:
    place = generator.randint(0, len(data))
    span = data[place : place + generator.randint(1, 40)]
    data[place:place] = span * generator.choice((1, 1, 2, 5, 100))


def put_in_front(data: bytearray, generator: random.Random) -> None:
    data[:0] = generator.choice(WORDS)


def add_noise(data: bytearray, generator: random.Random) -> None:
    data += generator.randbytes(generator.randint(1, 30))


MUTATIONS: list[Mutation] = [
    insert_word,
    insert_word,
    replace_byte,
    flip_bit,
    flip_bit,
    delete_span,
    repeat_span,
    cut_off,
    put_in_front,
    add_noise,
]


class Reader:
    """A decoder, and one that forgets before each block."""

    def __init__(self, *, is_small: bool) -> None:
        limits = {"list_size": LIST_SIZE, "field_count": FIELD_COUNT} if is_small else {}
        self.decoder = Decoder(**limits)
        self.forgetful = Decoder(**limits)

    def resize(self, size: int) -> None:
        self.decoder.resize(size)
        self.forgetful.resize(size)

    def decode(self, block: bytes) -> FieldBlock | None:
        """What both read; `None` if both refuse it."""
        started = time.process_time()
        decoded = self._try(self.decoder, block)
        if time.process_time() - started > SLOW + len(block) * SLOW_PER_BYTE:
            raise Failure(f"too slow: {block!r}")
        self.forgetful._blocks.clear()
        self.forgetful._constants.clear()
        self.forgetful._strings.clear()
        again = self._try(self.forgetful, block)
        outcomes = [known and (known.fields, known.size, known.is_too_large) for known in (decoded, again)]
        if outcomes[0] != outcomes[1]:
            raise Failure(f"what is remembered matters: {block!r}\n  {outcomes[0]}\n  {outcomes[1]}")
        if decoded is not None:
            self._check(decoded, block)
        return decoded

    def _try(self, decoder: Decoder, block: bytes) -> FieldBlock | None:
        try:
            return decoder.decode(block)
        except HPACKError as exc:
            if not str(exc).endswith(".") or len(str(exc)) > 200:
                raise Failure(f"the error is no sentence: {exc}") from exc
            return None

    def _check(self, decoded: FieldBlock, block: bytes) -> None:
        decoder = self.decoder
        size = sum(len(name) + len(value) + 32 for name, value in decoder._entries)
        if size != decoder._size or not size <= decoder._capacity <= decoder._max_capacity:
            raise Failure(f"the table is wrong: {size}, {decoder._size}, {decoder._capacity} after {block!r}")
        size = sum(len(name) + len(value) + 32 for name, value in decoded.fields)
        if not decoded.is_too_large and size != decoded.size:
            raise Failure(f"the size is wrong: {decoded.size} after {block!r}")
        if size > decoder._max_list_size or len(decoded.fields) > decoder._max_field_count:
            raise Failure(f"past the limits: {size} after {block!r}")


def make_fields(generator: random.Random) -> list[Field]:
    return [
        (
            generator.choice(NAMES),
            generator.choice(VALUES) if generator.random() < 0.9 else generator.randbytes(9),
        )
        for _ in range(generator.randint(0, 9))
    ]


def damage(data: bytes, generator: random.Random) -> bytes:
    damaged = bytearray(data)
    for _ in range(generator.choice((1, 1, 1, 2, 3, 6))):
        generator.choice(MUTATIONS)(damaged, generator)
    return bytes(damaged)


def try_damaged(generator: random.Random) -> str:
    """Some blocks of which some are damaged and some come again, until one is refused."""
    reader = Reader(is_small=generator.random() < 0.5)
    encoder = Encoder()
    lists = [make_fields(generator) for _ in range(3)]
    share = generator.choice((0.1, 0.5, 1))
    blocks: list[bytes] = []
    for _ in range(generator.randint(1, 12)):
        if generator.random() < 0.1:
            size = generator.choice(SIZES)
            reader.resize(size)
            if generator.random() < 0.9:
                encoder.resize(size)
        block = encoder.encode(generator.choice(lists), tuple(generator.choice(lists)))
        if blocks and generator.random() < 0.5:
            block = generator.choice(blocks)
        elif generator.random() < share:
            block = damage(block, generator) if generator.random() < 0.9 else generator.randbytes(40)
        if reader.decode(block) is None:
            return "refused"
        blocks.append(block)
    return "read"


def try_intact(generator: random.Random) -> str:
    """What our encoder writes is read as it was meant."""
    reader = Reader(is_small=False)
    encoder = Encoder()
    lists = [make_fields(generator) for _ in range(generator.randint(1, 4))]
    for _ in range(generator.randint(1, 20)):
        while generator.random() < 0.1:
            size = generator.choice(SIZES)
            encoder.resize(size)
            reader.resize(size)
        fields, repeated = generator.choice(lists), generator.choice(lists)
        block = encoder.encode(fields, tuple(repeated))
        decoded = reader.decode(block)
        if decoded is None or list(decoded.fields) != fields + repeated:
            raise Failure(f"not what was written: {fields + repeated} -> {block!r}")
    return "read"


def attempt(index: int, generator: random.Random) -> str:
    """One history; returns what became of it."""
    return (try_intact if index % 4 == 3 else try_damaged)(generator)
