"""The HTTP/2 engine beside h2, in memory: microseconds of one core for each exchange, or each MiB.

    python benchmarks/micro_http2.py [--rounds 15] [--json]

What the server sends was made before the clock starts; each piece of a transfer was just copied, as it is when
it comes from a socket. Rounds are interleaved, so that a busy machine slows all alike, and the best one counts.
Both do what a client must: make the request's frames, read the response's, return credit. h2 hands out events;
we hand out the streams that have news.
"""

from __future__ import annotations

import struct
import time
from collections.abc import Callable

import h2.config
import h2.connection
import h2.events
import hpack
from micro import Results, compare

from httpcore._protocols.http2 import Engine, prepare_fields

REQUEST = [
    (b"User-Agent", b"bench/1.0"),
    (b"Accept", b"*/*"),
    (b"Accept-Encoding", b"gzip, deflate"),
]
RESPONSE = [
    (b":status", b"200"),
    (b"server", b"nginx/1.22.1"),
    (b"date", b"Sat, 23 Nov 2024 18:44:00 GMT"),
    (b"content-type", b"text/plain"),
    (b"content-length", b"13"),
    (b"last-modified", b"Sat, 23 Nov 2024 18:00:00 GMT"),
    (b"etag", b'"67421f20-d"'),
    (b"accept-ranges", b"bytes"),
]
BATCH = 100
RECEIVED = 64 * 1024
FRAME = 16 * 1024


def frame(kind: int, flags: int, stream_id: int, payload: bytes = b"") -> bytes:
    return struct.pack(">IBI", len(payload) << 8 | kind, flags, stream_id) + payload


SETTINGS = frame(4, 0, 0) + frame(4, 1, 0)


def small_responses(count: int, *, varied: bool = False) -> list[bytes]:
    """What a server sends to batches of GETs: all heads and bodies of a batch come together."""
    encoder = hpack.Encoder()
    batches = []
    for number in range(0, count, BATCH):
        frames = []
        for place in range(BATCH):
            stream_id = 2 * (number + place) + 1
            fields = [*RESPONSE, (b"x-request-id", b"%d" % stream_id)] if varied else RESPONSE
            frames.append(frame(1, 4, stream_id, encoder.encode(fields)))
            frames.append(frame(0, 1, stream_id, b"Hello, world!"))
        batches.append(b"".join(frames))
    return batches


def varied_responses(count: int) -> list[bytes]:
    return small_responses(count, varied=True)


def with_ours() -> Callable[[bytes], int]:
    engine = Engine()
    engine.feed(SETTINGS)
    engine.take_output()

    def exchange(batch: bytes) -> int:
        for number in range(BATCH):
            request = prepare_fields(b"GET", b"https", b"example.org", REQUEST)
            engine.open_stream(request, b"/item/%d" % number, ends=True)
        size = len(engine.take_output()) and 0
        for at in range(0, len(batch), RECEIVED):
            for stream in engine.feed(batch[at : at + RECEIVED]):
                assert stream.head is not None
                for piece in stream.data:
                    size += len(piece)
                stream.data.clear()
        assert not engine.streams
        return size

    return exchange


def with_h2() -> Callable[[bytes], int]:
    connection = h2.connection.H2Connection(h2.config.H2Configuration(header_encoding=None))
    connection.initiate_connection()
    connection.receive_data(SETTINGS)
    connection.data_to_send()

    def exchange(batch: bytes) -> int:
        for number in range(BATCH):
            stream_id = connection.get_next_available_stream_id()
            pseudo = [
                (b":method", b"GET"),
                (b":scheme", b"https"),
                (b":authority", b"example.org"),
                (b":path", b"/item/%d" % number),
            ]
            fields = [*pseudo, *[(name.lower(), value) for name, value in REQUEST]]
            connection.send_headers(stream_id, fields, end_stream=True)
        connection.data_to_send()
        size = 0
        for at in range(0, len(batch), RECEIVED):
            for event in connection.receive_data(batch[at : at + RECEIVED]):
                if isinstance(event, h2.events.DataReceived):
                    size += len(event.data)
                    connection.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        connection.data_to_send()
        return size

    return exchange


def download_ours(wire: bytes) -> float:
    engine = Engine()
    engine.feed(SETTINGS)
    stream = engine.open_stream(prepare_fields(b"GET", b"https", b"example.org", REQUEST), b"/", ends=True)
    seconds = 0.0
    for at in range(0, len(wire), RECEIVED):
        piece = wire[at : at + RECEIVED]
        started = time.perf_counter()
        engine.feed(piece)
        taken = 0
        data = stream.data
        while data:
            taken += len(data.popleft())
        engine.consume(stream, taken)
        if engine.output.size:
            engine.take_output()
        seconds += time.perf_counter() - started
    assert stream.is_ended
    return seconds


def download_h2(wire: bytes) -> float:
    connection = h2.connection.H2Connection(h2.config.H2Configuration(header_encoding=None))
    connection.initiate_connection()
    connection.receive_data(SETTINGS)
    fields = [(b":method", b"GET"), (b":scheme", b"https"), (b":authority", b"example.org"), (b":path", b"/")]
    connection.send_headers(1, fields, end_stream=True)
    connection.increment_flow_control_window(2**30)
    connection.increment_flow_control_window(2**30, 1)
    seconds = 0.0
    for at in range(0, len(wire), RECEIVED):
        piece = wire[at : at + RECEIVED]
        started = time.perf_counter()
        for event in connection.receive_data(piece):
            if isinstance(event, h2.events.DataReceived):
                len(event.data)
        connection.data_to_send()
        seconds += time.perf_counter() - started
    return seconds


def upload_ours(content: bytes) -> float:
    """Into windows that are always open."""
    engine = Engine()
    engine.feed(frame(4, 0, 0, struct.pack(">HI", 4, 2**31 - 1)) + frame(8, 0, 0, struct.pack(">I", 2**30)))
    stream = engine.open_stream(prepare_fields(b"POST", b"https", b"example.org", REQUEST), b"/", ends=False)
    seconds = 0.0
    for at in range(0, len(content), RECEIVED):
        piece = content[at : at + RECEIVED]
        started = time.perf_counter()
        engine.send_data(stream, piece)
        engine.take_output()
        seconds += time.perf_counter() - started
    return seconds


def upload_h2(content: bytes) -> float:
    connection = h2.connection.H2Connection(h2.config.H2Configuration(header_encoding=None))
    connection.initiate_connection()
    connection.receive_data(
        frame(4, 0, 0, struct.pack(">HI", 4, 2**31 - 1)) + frame(8, 0, 0, struct.pack(">I", 2**30))
    )
    fields = [
        (b":method", b"POST"),
        (b":scheme", b"https"),
        (b":authority", b"example.org"),
        (b":path", b"/"),
    ]
    connection.send_headers(1, fields)
    seconds = 0.0
    for at in range(0, len(content), RECEIVED):
        piece = content[at : at + RECEIVED]
        started = time.perf_counter()
        for start in range(0, len(piece), FRAME):
            connection.send_data(1, piece[start : start + FRAME])
        connection.data_to_send()
        seconds += time.perf_counter() - started
    return seconds


def measure_batches(make: Callable[[int], list[bytes]], *, rounds: int) -> dict[str, float]:
    """Microseconds for one exchange."""
    best = {"ours": float("inf"), "h2": float("inf")}
    batches = make(20 * BATCH)
    for _ in range(rounds):
        for name, make_exchange in (("ours", with_ours), ("h2", with_h2)):
            exchange = make_exchange()
            started = time.process_time()
            for batch in batches:
                assert exchange(batch) == 13 * BATCH
            took = time.process_time() - started
            best[name] = min(best[name], took / (len(batches) * BATCH) * 1e6)
    return best


def measure_transfer(
    runs: dict[str, Callable[[bytes], int]], wire: bytes, *, rounds: int
) -> dict[str, float]:
    """Microseconds for one MiB."""
    best = dict.fromkeys(runs, float("inf"))
    for _ in range(rounds):
        for name, run in runs.items():
            best[name] = min(best[name], run(wire) / len(wire) * 2**20 * 1e6)
    return best


def measure(rounds: int) -> Results:
    head = frame(1, 4, 1, hpack.Encoder().encode([(b":status", b"200")]))
    pieces = [frame(0, 0, 1, bytes(FRAME))] * (100 * 2**20 // FRAME)
    download = head + b"".join(pieces) + frame(0, 1, 1)
    few = max(3, rounds // 3)
    return {
        "GET in batches of 100, us each": measure_batches(small_responses, rounds=rounds),
        "the same, a new field each, us": measure_batches(varied_responses, rounds=rounds),
        "100 MiB of DATA in, us per MiB": measure_transfer(
            {"ours": download_ours, "h2": download_h2}, download, rounds=few
        ),
        "100 MiB of DATA out, us per MiB": measure_transfer(
            {"ours": upload_ours, "h2": upload_h2}, bytes(100 * 2**20), rounds=few
        ),
    }


if __name__ == "__main__":
    compare("Time the HTTP/2 engine beside h2.", measure, unit="", rival="h2")
