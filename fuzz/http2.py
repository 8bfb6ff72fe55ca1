"""Fuzz the HTTP/2 engine: damaged connections in, and nothing raised.

    python -m fuzz http2 --count 200000 --seconds 60 --seed 1

Each input is what a server might send to a few requests, damaged: frames are dropped, repeated, swapped, cut,
their flags, streams and lengths changed, and bytes after that. For each input: nothing is raised, it takes less
than a second, what the engine sends is whole frames, and nothing depends on how the bytes were split. In every
other input the caller acts meanwhile, at random: sends, takes, gives up. There are no sockets, and the same seed
gives the same inputs. Exits with 1 at the first failure and prints how to see it again.
"""

from __future__ import annotations

import random
import struct
import time
from typing import NamedTuple

from httpcore._exceptions import LocalProtocolError
from httpcore._protocols.http2 import Engine, Limits, Stream, prepare_fields

from .trials import Failure

SLOW = 1.0
"""Seconds of CPU that no input may take; by the clock a busy machine would be blamed on it."""

LIMITS = Limits(
    header_list_size=2000,
    field_count=20,
    interim_count=3,
    continuation_count=4,
    settings_count=4,
    acknowledgement_count=20,
    useless_count=30,
    provoked_reset_count=3,
    remembered_reset_count=2,
)
"""Small enough to be reached; every other input is read with the default ones."""

DATA, HEADERS, PRIORITY, RESET, SETTINGS, PUSH, PING, GOAWAY, WINDOW, CONTINUATION = range(10)
END_STREAM, END_HEADERS, PADDED, HAS_PRIORITY = 1, 4, 8, 0x20


class Frame(NamedTuple):
    kind: int
    flags: int
    stream_id: int
    payload: bytes
    claimed: int = 0
    """How much longer than it is the frame says it is."""

    @property
    def wire(self) -> bytes:
        size = max(0, len(self.payload) + self.claimed) & 0xFFFFFF
        return struct.pack(">IBI", size << 8 | self.kind, self.flags, self.stream_id) + self.payload


def literal(name: bytes, value: bytes, *, first: int = 0) -> bytes:
    """A field that is not indexed, or with `first` of 0x40 one that is."""
    return bytes([first, len(name)]) + name + bytes([len(value)]) + value


STATUS_200, STATUS_204 = b"\x88", b"\x89"
STATUS_103 = literal(b":status", b"103")
FIELDS = literal(b"a", b"b") + literal(b"x-long", b"y" * 100)
INDEXED = literal(b"x-indexed", b"value", first=0x40)
LENGTH_5 = literal(b"content-length", b"5")

SEEDS: list[list[Frame]] = [
    [Frame(HEADERS, 4, 1, STATUS_200 + FIELDS), Frame(DATA, 1, 1, b"hello")],
    [Frame(HEADERS, 4, 1, STATUS_200 + LENGTH_5), Frame(DATA, 0, 1, b"he"), Frame(DATA, 0, 1, b"llo"), Frame(DATA, 1, 1, b"")],
    [Frame(HEADERS, 4, 1, STATUS_200 + INDEXED), Frame(HEADERS, 5, 3, STATUS_204 + b"\xbe"), Frame(DATA, 1, 1, b"x" * 3000)],
    [Frame(HEADERS, 4, 5, STATUS_103), Frame(HEADERS, 4, 5, STATUS_103), Frame(HEADERS, 4, 5, STATUS_200), Frame(HEADERS, 5, 5, FIELDS)],
    [Frame(HEADERS, 0, 3, STATUS_200), Frame(CONTINUATION, 0, 3, b""), Frame(CONTINUATION, 4, 3, FIELDS), Frame(DATA, 9, 3, b"\x03hello\0\0\0")],
    [Frame(HEADERS, 0x2C, 3, b"\x02\0\0\0\0\x10" + STATUS_200 + b"\0\0"), Frame(DATA, 9, 3, b"\xff" + bytes(300))],
    [Frame(SETTINGS, 0, 0, struct.pack(">HIHI", 4, 100, 3, 2)), Frame(SETTINGS, 0, 0, struct.pack(">HIHIHI", 1, 0, 1, 4096, 5, 20_000))],
    [Frame(WINDOW, 0, 0, struct.pack(">I", 70_000)), Frame(WINDOW, 0, 5, struct.pack(">I", 70_000)), Frame(WINDOW, 0, 1, struct.pack(">I", 1))],
    [Frame(PING, 0, 0, b"12345678"), Frame(PING, 1, 0, b"12345678"), Frame(SETTINGS, 1, 0, b"")],
    [Frame(HEADERS, 4, 1, STATUS_200), Frame(DATA, 0, 1, b"half"), Frame(RESET, 0, 1, struct.pack(">I", 2))],
    [Frame(RESET, 0, 1, struct.pack(">I", 7)), Frame(RESET, 0, 3, struct.pack(">I", 13))],
    [Frame(HEADERS, 5, 5, STATUS_200), Frame(RESET, 0, 5, struct.pack(">I", 0))],
    [Frame(GOAWAY, 0, 0, struct.pack(">II", 2**31 - 1, 0)), Frame(GOAWAY, 0, 0, struct.pack(">II", 9, 11) + b"debug")],
    [Frame(PRIORITY, 0, 9, b"12345"), Frame(0x0C, 0, 0, b"\0\x05h://a"), Frame(0x10, 0, 0, bytes(8)), Frame(0x0A, 0, 1, b"\0\0")],
    [Frame(HEADERS, 4, 7, STATUS_200 + INDEXED), Frame(DATA, 0, 7, b"late" * 20), Frame(HEADERS, 5, 1, STATUS_200 + b"\xbe")],
    [Frame(PUSH, 4, 1, struct.pack(">I", 2) + FIELDS)],
    [Frame(DATA, 0, 1, b"") for _ in range(8)],
]  # fmt: skip

WORDS = [
    b"\0", b"\xff", b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\0\0\0\0", STATUS_200, STATUS_103, FIELDS, INDEXED,
    LENGTH_5, b"\xbe", b"\x80", b"\x3f\xe1\x1f", b"\x20", literal(b"BAD", b""), literal(b":path", b"/"),
    literal(b"connection", b"x"), literal(b"a", b"\0"), b"x" * 500, b"\x40\x01a\x7f", literal(b"content-length", b"-1"),
]  # fmt: skip


def damage_frames(frames: list[Frame], generator: random.Random) -> None:
    """One thing goes wrong with whole frames."""
    if not frames:
        return
    place = generator.randrange(len(frames))
    frame = frames[place]
    choice = generator.randrange(9)
    if choice == 0:
        del frames[place]
    elif choice == 1:
        frames[place:place] = [frame] * generator.choice((1, 2, 40))
    elif choice == 2:
        other = generator.randrange(len(frames))
        frames[place], frames[other] = frames[other], frame
    elif choice == 3:
        frames[place] = frame._replace(flags=frame.flags ^ 1 << generator.randrange(8))
    elif choice == 4:
        frames[place] = frame._replace(
            stream_id=generator.choice((0, 1, 2, 3, 5, 7, 31, 33, 2**31 - 1, 2**31 + 1))
        )
    elif choice == 5:
        frames[place] = frame._replace(kind=generator.randrange(12))
    elif choice == 6:
        frames[place] = frame._replace(claimed=generator.choice((-1, 1, 9, 16_385, 2**23)))
    elif choice == 7:
        at = generator.randint(0, len(frame.payload))
        payload = frame.payload[:at] + generator.choice(WORDS) + frame.payload[at:]
        frames[place] = frame._replace(payload=payload)
    else:
        frames[place] = frame._replace(payload=frame.payload[: generator.randint(0, len(frame.payload))])


def damage_bytes(wire: bytearray, generator: random.Random) -> None:
    """One thing goes wrong with bytes."""
    if not wire:
        return
    place = generator.randrange(len(wire))
    choice = generator.randrange(4)
    if choice == 0:
        wire[place] = generator.randrange(256)
    elif choice == 1:
        wire[place] ^= 1 << generator.randrange(8)
    elif choice == 2:
        del wire[place : place + generator.randint(1, 12)]
    else:
        wire[place:place] = generator.choice(WORDS)


GROUPS = 4
"""How many times the streams of the seeds are there, so that several seeds have streams of their own."""


def shift(frames: list[Frame], group: int) -> list[Frame]:
    return [
        frame._replace(stream_id=frame.stream_id + 8 * group if frame.stream_id else 0) for frame in frames
    ]


def make_wire(generator: random.Random) -> bytes:
    """SETTINGS, mostly, and the frames of a few seeds, interleaved and damaged."""
    count = generator.choice((1, 2, 2, 3, GROUPS))
    chosen = [shift(generator.choice(SEEDS), group) for group in generator.sample(range(GROUPS), count)]
    frames: list[Frame] = []
    while chosen:
        frames.append(chosen[place := generator.randrange(len(chosen))].pop(0))
        if not chosen[place]:
            del chosen[place]
    for _ in range(generator.choice((0, 0, 1, 1, 2))):
        damage_frames(frames, generator)
    if generator.random() < 0.97:
        frames.insert(0, Frame(SETTINGS, 0, 0, b""))
    wire = bytearray().join([frame.wire for frame in frames])
    for _ in range(generator.choice((0, 0, 0, 0, 0, 1))):
        damage_bytes(wire, generator)
    return bytes(wire)


REQUEST = prepare_fields(b"GET", b"https", b"example.org", [(b"a", b"b")])
HEAD_REQUEST = prepare_fields(b"HEAD", b"https", b"example.org", [])


class Run:
    """An engine with requests under way, in groups of a GET, a HEAD, an upload, and one that was given up."""

    def __init__(self, limits: Limits) -> None:
        self.engine = Engine(limits)
        self.sent = bytearray(self.engine.take_output())
        self.streams: list[Stream] = []
        for _ in range(GROUPS):
            self.streams += [
                self.engine.open_stream(REQUEST, b"/", ends=True),
                self.engine.open_stream(HEAD_REQUEST, b"/", ends=True),
                self.engine.open_stream(REQUEST, b"/", ends=False),
                self.engine.open_stream(REQUEST, b"/", ends=True),
            ]
            self.engine.send_data(self.streams[-2], bytes(30_000))
            self.engine.reset(self.streams[-1])
        self.sent += self.engine.take_output()

    def feed(self, piece: bytes) -> None:
        news = self.engine.feed(piece)
        if len(news) != len({stream.id for stream in news}):
            raise Failure("a stream has news twice")

    def act(self, generator: random.Random) -> None:
        """What a caller may do at any time."""
        engine = self.engine
        stream = generator.choice(self.streams)
        choice = generator.randrange(7)
        if choice == 0 and engine.is_usable and len(engine.streams) < engine.capacity:
            try:
                self.streams.append(engine.open_stream(REQUEST, b"/more", ends=generator.random() < 0.5))
            except LocalProtocolError:
                # The peer may take no head of this size.
                pass
        elif choice == 1 and not stream.is_sent:
            engine.send_data(stream, bytes(generator.choice((0, 1, 20_000))), ends=generator.random() < 0.3)
        elif choice == 2:
            self.take(stream)
        elif choice == 3:
            engine.reset(stream)
        elif choice == 4:
            engine.ping(b"12345678")
        elif choice == 5 and generator.random() < 0.1:
            engine.close()
        else:
            self.sent += engine.take_output()

    def take(self, stream: Stream) -> None:
        size = 0
        while stream.data:
            size += len(stream.data.popleft())
        self.engine.consume(stream, size)

    def check(self) -> None:
        """What must be true at any time."""
        engine = self.engine
        if engine.output.size != sum([len(piece) for piece in engine.output._pieces]):
            raise Failure("the output is not as large as it says")
        if engine.failure is not None and (engine.streams or engine.is_usable or engine.capacity):
            raise Failure("something goes on after the failure")
        for stream in self.streams:
            if stream.is_ended and stream.head is None:
                raise Failure(f"a response without a head: {stream}")
            if (stream.id in engine.streams) and (stream.error is not None or stream.stops_upload):
                raise Failure(f"an open stream that has ended: {stream}")
            if not 0 <= stream.capacity_left <= stream.window or stream.unread < 0:
                raise Failure(f"wrong credit: {stream}")
            for message in (stream.error, engine.failure):
                if message is not None and (not str(message).endswith(".") or len(str(message)) > 400):
                    raise Failure(f"the error is no sentence: {message}")

    def finish(self) -> bytes:
        """All that was sent; it must be whole frames on streams that exist."""
        self.check()
        self.sent += self.engine.take_output()
        at = 24
        while at < len(self.sent):
            word, _, stream_id = struct.unpack_from(">IBI", self.sent, at)
            at += 9 + (word >> 8)
            if stream_id and not stream_id & 1:
                raise Failure(f"a frame was sent on stream {stream_id}")
        if at != len(self.sent):
            raise Failure("half a frame was sent")
        return bytes(self.sent)

    def summary(self) -> tuple[object, ...]:
        """What a caller saw."""
        return (
            [
                (
                    s.head,
                    s.interim,
                    b"".join(s.data),
                    s.trailers,
                    s.is_ended,
                    str(s.error),
                    s.stops_upload,
                )
                for s in self.streams
            ],
            str(self.engine.failure),
            self.engine.capacity,
            self.finish(),
        )


def split(data: bytes, generator: random.Random) -> list[bytes]:
    """A few pieces mostly, single bytes sometimes."""
    if len(data) < 2:
        return [data] if data else []
    if generator.random() < 0.1 and len(data) < 600:
        return [data[i : i + 1] for i in range(len(data))]
    places = sorted(generator.sample(range(1, len(data)), min(generator.randint(1, 8), len(data) - 1)))
    return [data[start:end] for start, end in zip([0, *places], [*places, len(data)], strict=True)]


def read(pieces: list[bytes], limits: Limits) -> Run:
    run = Run(limits)
    started = time.process_time()
    for piece in pieces:
        run.feed(piece)
    if time.process_time() - started > SLOW:
        raise Failure("too slow")
    return run


def try_quiet(generator: random.Random) -> str:
    """The same bytes, split in two ways; returns what became of them."""
    wire = make_wire(generator)
    # Each read makes up for one frame that brings nothing: there, the split does matter.
    limits = LIMITS if generator.random() < 0.5 else Limits()
    limits = limits._replace(useless_count=10_000)
    end = [b""] if generator.random() < 0.5 else []
    pieces = split(wire, generator)
    whole = read(([wire] if wire else []) + end, limits)
    parts = read(pieces + end, limits)
    if whole.summary() != parts.summary():
        raise Failure(f"the split matters: {pieces + end!r}")
    return outcome_of(whole)


def try_busy(generator: random.Random) -> str:
    """The caller acts between the pieces; returns what became of them."""
    run = Run(LIMITS if generator.random() < 0.5 else Limits())
    started = time.process_time()
    for piece in split(make_wire(generator), generator):
        run.feed(piece)
        for _ in range(generator.randrange(4)):
            run.act(generator)
        if generator.random() < 0.3:
            run.check()
    if generator.random() < 0.5:
        run.feed(b"")
    elif generator.random() < 0.3:
        run.engine.fail(OSError("The connection broke."))
    if time.process_time() - started > SLOW:
        raise Failure("too slow")
    run.finish()
    return outcome_of(run)


def outcome_of(run: Run) -> str:
    if run.engine.failure is not None:
        return "refused"
    return "complete" if any(stream.is_ended for stream in run.streams) else "unfinished"


def attempt(index: int, generator: random.Random) -> str:
    """One input; returns what became of it."""
    return (try_busy if index % 2 else try_quiet)(generator)
