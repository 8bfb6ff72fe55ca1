"""Whole exchanges with `h2` as the server: what we say means to it what we meant, and the other way round."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

import h2.config
import h2.connection
import h2.events
import h2.settings
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from httpcore._protocols.http2 import Engine, ErrorCode, Stream, prepare_fields

from .driver import split_at_random, take

Field = tuple[bytes, bytes]


@dataclass
class Request:
    """What the server knows of one stream."""

    headers: list[Field]
    body: bytes = b""
    has_ended: bool = False
    was_reset: bool = False


@dataclass
class Pair:
    """An engine and an `h2` server, and all that lies between them."""

    engine: Engine = field(default_factory=Engine)
    requests: dict[int, Request] = field(default_factory=dict)
    goaway: h2.events.ConnectionTerminated | None = None
    pings: list[bytes] = field(default_factory=list)

    def __post_init__(self) -> None:
        config = h2.config.H2Configuration(client_side=False, header_encoding=None)
        self.server = h2.connection.H2Connection(config)
        self.server.initiate_connection()
        self.bodies: dict[int, bytes] = {}
        self.reads_requests = True
        self.generator = random.Random(1)
        self.piece_size = 2**20

    def exchange(self) -> None:
        """Carry bytes both ways until both are silent."""
        while self.to_server() | self.to_client():
            pass

    def to_server(self) -> bool:
        output = self.engine.take_output()
        for piece in split_at_random(output, self.piece_size, self.generator):
            for event in self.server.receive_data(piece):
                self.note(event)
        return bool(output)

    def note(self, event: h2.events.Event) -> None:
        if isinstance(event, h2.events.RequestReceived):
            assert event.stream_id is not None
            self.requests[event.stream_id] = Request([(bytes(n), bytes(v)) for n, v in event.headers or []])
        elif isinstance(event, h2.events.DataReceived):
            assert event.stream_id is not None
            assert event.data is not None
            self.requests[event.stream_id].body += event.data
            if self.reads_requests:
                self.server.acknowledge_received_data(event.flow_controlled_length or 0, event.stream_id)
        elif isinstance(event, h2.events.StreamEnded):
            assert event.stream_id is not None
            self.requests[event.stream_id].has_ended = True
        elif isinstance(event, h2.events.StreamReset):
            assert event.stream_id is not None
            self.requests[event.stream_id].was_reset = True
        elif isinstance(event, h2.events.PingReceived):
            self.pings.append(event.ping_data or b"")
        elif isinstance(event, h2.events.ConnectionTerminated):
            self.goaway = event

    def to_client(self) -> bool:
        self.push_bodies()
        output = self.server.data_to_send()
        for piece in split_at_random(output, self.piece_size, self.generator):
            self.engine.feed(piece)
        assert self.engine.failure is None, self.engine.failure
        return bool(output)

    def respond(self, stream_id: int, content: bytes, *fields: Field, status: bytes = b"200") -> None:
        self.server.send_headers(stream_id, [(b":status", status), *fields])
        self.bodies[stream_id] = content

    def push_bodies(self) -> None:
        """Send as much of the response bodies as our windows allow."""
        for stream_id, content in [*self.bodies.items()]:
            size = min(len(content), self.server.local_flow_control_window(stream_id))
            limit = self.server.max_outbound_frame_size
            for at in range(0, size, limit):
                self.server.send_data(stream_id, content[at : min(at + limit, size)])
            self.bodies[stream_id] = content[size:]
            if size == len(content):
                self.server.end_stream(stream_id)
                del self.bodies[stream_id]

    def get(self, target: bytes = b"/", *fields: Field) -> Stream:
        request = prepare_fields(b"GET", b"https", b"example.org", fields)
        return self.engine.open_stream(request, target, ends=True)

    def post(self, target: bytes = b"/", *fields: Field) -> Stream:
        request = prepare_fields(b"POST", b"https", b"example.org", fields)
        return self.engine.open_stream(request, target, ends=False)


def test_a_get() -> None:
    pair = Pair()
    stream = pair.get(b"/a?b", (b"Accept", b"*/*"))
    pair.exchange()
    assert pair.requests[1].headers == [
        (b":path", b"/a?b"),
        (b":method", b"GET"),
        (b":scheme", b"https"),
        (b":authority", b"example.org"),
        (b"accept", b"*/*"),
    ]
    assert pair.requests[1].has_ended
    pair.respond(1, b"hello", (b"content-length", b"5"), (b"x", b"y"))
    pair.exchange()
    assert stream.head == (200, [(b"content-length", b"5"), (b"x", b"y")])
    assert take(pair.engine, stream) == b"hello"
    assert stream.is_ended
    assert stream.error is None
    assert pair.engine.streams == {}


def test_an_upload_past_all_windows() -> None:
    pair = Pair()
    content = random.Random(1).randbytes(300_000)
    stream = pair.post()
    at = pair.engine.send_data(stream, content, ends=True)
    assert at == 65_535
    while at < len(content):
        pair.to_server()
        output = pair.server.data_to_send()
        assert pair.engine.feed(output) == [stream]
        at += pair.engine.send_data(stream, content[at:], ends=True)
    pair.exchange()
    assert pair.requests[1].body == content
    assert pair.requests[1].has_ended
    assert stream.is_sent
    assert 1 in pair.engine.streams
    pair.respond(1, b"")
    pair.exchange()
    assert stream.is_ended
    assert pair.engine.streams == {}


def test_a_download_past_all_windows() -> None:
    pair = Pair()
    content = random.Random(1).randbytes(40 * 2**20)
    stream = pair.get()
    pair.exchange()
    pair.respond(1, content)
    pair.exchange()
    assert stream.head is not None
    assert sum(map(len, stream.data)) == 2**20
    received = bytearray()
    while not stream.is_ended or stream.data:
        received += take(pair.engine, stream)
        pair.exchange()
    assert received == content
    assert stream.window == 16 * 2**20


def test_a_long_head_in_both_directions() -> None:
    pair = Pair()
    pair.server.update_settings({h2.settings.SettingCodes.MAX_HEADER_LIST_SIZE: 2**20})
    pair.exchange()
    fields = [(b"x-%d" % number, b"%d" % number * 1000) for number in range(60)]
    stream = pair.get(b"/", *fields)
    pair.exchange()
    assert pair.requests[1].headers[4:] == fields
    pair.respond(1, b"x", *fields)
    pair.exchange()
    assert stream.head == (200, fields)


def test_trailers_and_interim_heads() -> None:
    pair = Pair()
    stream = pair.get()
    pair.exchange()
    pair.server.send_headers(1, [(b":status", b"103"), (b"link", b"</a>")])
    pair.server.send_headers(1, [(b":status", b"200")])
    pair.server.send_data(1, b"x" * 100, pad_length=7)
    pair.server.send_headers(1, [(b"x-sum", b"1")], end_stream=True)
    pair.exchange()
    assert stream.interim == [(103, [(b"link", b"</a>")])]
    assert stream.head == (200, [])
    assert take(pair.engine, stream) == b"x" * 100
    assert stream.trailers == [(b"x-sum", b"1")]
    assert stream.is_ended


def test_a_reset_of_ours() -> None:
    pair = Pair()
    stream = pair.get()
    pair.exchange()
    pair.respond(1, bytes(2 * 2**20))
    pair.to_client()
    pair.engine.reset(stream)
    pair.to_server()
    assert pair.requests[1].was_reset
    assert pair.engine.streams == {}


def test_a_reset_of_theirs() -> None:
    pair = Pair()
    stream = pair.get()
    pair.exchange()
    pair.server.reset_stream(1, ErrorCode.REFUSED_STREAM)
    pair.exchange()
    assert stream.is_refused
    assert str(stream.error) == "The peer refused the request (REFUSED_STREAM)."


def test_goodbyes() -> None:
    pair = Pair()
    pair.exchange()
    pair.engine.ping(b"abcdefgh")
    pair.exchange()
    assert pair.pings == [b"abcdefgh"]
    pair.server.ping(b"12345678")
    pair.exchange()
    pair.engine.close()
    pair.exchange()
    assert pair.goaway is not None
    assert pair.goaway.error_code == 0


@pytest.mark.parametrize("size", [0, 100, 4096, 65_536])
def test_a_table_size_of_theirs(size: int) -> None:
    pair = Pair()
    pair.exchange()
    for number in range(5):
        pair.server.update_settings(
            {h2.settings.SettingCodes.HEADER_TABLE_SIZE: size if number % 2 else 4096}
        )
        for _ in range(3):
            pair.get(b"/%d" % number, (b"x-%d" % number, b"y" * 100))
            pair.exchange()
            request = [*pair.requests.values()][-1]
            assert request.headers[4:] == [(b"x-%d" % number, b"y" * 100)]


actions = st.lists(
    st.sampled_from(["get", "post", "send", "respond", "take", "reset", "carry", "abort", "window"]),
    min_size=5,
    max_size=60,
)


@settings(max_examples=60)
@given(actions, st.integers(0, 2**32), st.sampled_from([1, 7, 100, 5000, 2**20]))
def test_any_interleaving(steps: list[str], seed: int, piece_size: int) -> None:
    """Whatever is done in whatever order, and however the bytes arrive, each body is the right one."""
    run = _Run(seed, piece_size)
    for step in steps:
        getattr(run, step)()
    run.finish()


class _Run:
    """A few streams at once, whose bodies name their stream."""

    def __init__(self, seed: int, piece_size: int) -> None:
        self.generator = random.Random(seed)
        self.pair = Pair()
        self.pair.generator = self.generator
        self.pair.piece_size = piece_size
        self.pair.exchange()
        self.streams: dict[int, Stream] = {}
        self.uploads: dict[int, bytes] = {}
        self.sent: dict[int, bytes] = {}
        self.expected: dict[int, bytes] = {}
        self.received: dict[int, bytes] = {}
        self.dropped: set[int] = set()

    def pick(self, ids: list[int]) -> int | None:
        return self.generator.choice(ids) if ids else None

    def content(self, stream_id: int) -> bytes:
        size = self.generator.choice([0, 1, 13, 1000, 20_000, 100_000])
        return (b"%d," % stream_id * (size // 2 + 1))[:size]

    def get(self) -> None:
        stream = self.pair.get(
            b"/%d" % self.generator.randrange(5), (b"x", b"%d" % self.generator.randrange(5))
        )
        self.streams[stream.id] = stream

    def post(self) -> None:
        stream = self.pair.post(b"/post")
        self.streams[stream.id] = stream
        self.uploads[stream.id] = self.sent[stream.id] = self.content(stream.id)

    def send(self) -> None:
        stream_id = self.pick([*self.uploads])
        if stream_id is not None:
            self.send_on(stream_id, self.generator.choice([1, 100, 10**6]))

    def send_on(self, stream_id: int, size: int = 10**6) -> None:
        stream = self.streams[stream_id]
        rest = self.uploads[stream_id]
        taken = self.pair.engine.send_data(stream, rest[:size], ends=size >= len(rest))
        if stream.is_sent or stream_id in self.dropped:
            del self.uploads[stream_id]
        else:
            self.uploads[stream_id] = rest[taken:]

    def respond(self) -> None:
        pending = [i for i in self.pair.requests if i not in self.expected and i not in self.dropped]
        stream_id = self.pick(pending)
        if stream_id is not None and not self.pair.requests[stream_id].was_reset:
            self.expected[stream_id] = content = self.content(stream_id)
            self.pair.respond(stream_id, content, (b"x-id", b"%d" % stream_id))
            self.pair.to_client()

    def take(self) -> None:
        stream_id = self.pick([*self.streams])
        if stream_id is not None:
            self.take_from(stream_id)

    def take_from(self, stream_id: int) -> None:
        content = take(self.pair.engine, self.streams[stream_id])
        self.received[stream_id] = self.received.get(stream_id, b"") + content

    def reset(self) -> None:
        stream_id = self.pick([*self.streams])
        if stream_id is not None:
            self.pair.engine.reset(self.streams[stream_id])
            self.dropped.add(stream_id)
            self.pair.bodies.pop(stream_id, None)

    def abort(self) -> None:
        stream_id = self.pick([i for i in self.pair.bodies if i not in self.dropped])
        if stream_id is not None:
            self.pair.server.reset_stream(stream_id, ErrorCode.CANCEL)
            self.pair.to_client()
            self.dropped.add(stream_id)
            del self.pair.bodies[stream_id]

    def window(self) -> None:
        size = self.generator.choice([0, 10, 65_535, 200_000])
        self.pair.server.update_settings({h2.settings.SettingCodes.INITIAL_WINDOW_SIZE: size})
        self.pair.to_client()

    def carry(self) -> None:
        self.pair.exchange()

    def open_window(self, stream_id: int) -> None:
        """Where h2 took bytes while it was lowering the window, it forgets to open it again."""
        if stream_id in self.dropped or stream_id not in self.pair.requests:
            return
        if self.pair.server.remote_flow_control_window(stream_id) <= 0:
            self.pair.server.increment_flow_control_window(65_535, stream_id)
            self.pair.to_client()

    def finish(self) -> None:
        self.pair.server.update_settings({h2.settings.SettingCodes.INITIAL_WINDOW_SIZE: 65_535})
        for _ in range(100):
            self.pair.exchange()
            for stream_id in [*self.uploads]:
                self.open_window(stream_id)
                self.send_on(stream_id)
            while any(i not in self.expected and i not in self.dropped for i in self.pair.requests):
                self.respond()
            for stream_id in self.streams:
                self.take_from(stream_id)
            if not self.uploads and not self.pair.engine.streams:
                break
        self.pair.exchange()
        for stream_id, stream in self.streams.items():
            if stream_id in self.dropped:
                continue
            assert stream.error is None, stream.error
            assert stream.is_ended, (stream_id, stream)
            assert stream.head == (200, [(b"x-id", b"%d" % stream_id)])
            assert self.received.get(stream_id, b"") == self.expected[stream_id]
            assert self.pair.requests[stream_id].body == self.sent.get(stream_id, b"")
            assert self.pair.requests[stream_id].has_ended
        assert self.pair.engine.streams == {}
