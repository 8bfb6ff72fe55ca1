"""The HTTP/1.1 engine beside h11 and httptools, in memory: microseconds of one core for each exchange.

    python benchmarks/micro_http11.py [--rounds 15] [--json]

Rounds are interleaved, so that a busy machine slows all alike, and the best one counts. h11 does what we do:
it makes the request head, checks it, reads the response and starts over. httptools parses responses only, in C;
its column has no request in it, no limits and no decision about reuse.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import h11
import httptools
from micro import Results, compare

from httpcore._protocols.http11 import Engine

REQUEST = [
    (b"Host", b"127.0.0.1:8080"),
    (b"User-Agent", b"bench/1.0"),
    (b"Accept", b"*/*"),
    (b"Accept-Encoding", b"gzip, deflate"),
    (b"Connection", b"keep-alive"),
]
HEAD = (
    b"HTTP/1.1 200 OK\r\nServer: nginx/1.22.1\r\nDate: Sat, 23 Nov 2024 18:44:00 GMT\r\n"
    b"Content-Type: text/plain\r\n%b\r\nLast-Modified: Sat, 23 Nov 2024 18:00:00 GMT\r\n"
    b'Connection: keep-alive\r\nETag: "%012x"\r\nAccept-Ranges: bytes\r\nVary: Accept-Encoding\r\n\r\n'
)
SMALL = HEAD % (b"Content-Length: 13", 1) + b"Hello, world!"
RECEIVED = 64 * 1024

Pieces = list[bytes]
Exchange = Callable[[Pieces], int]


def pieces_of(response: bytes) -> Pieces:
    return [response[at : at + RECEIVED] for at in range(0, len(response), RECEIVED)]


def small_responses(count: int) -> list[Pieces]:
    """The same head each time, as within one second of one resource."""
    return [[bytes(bytearray(SMALL))] for _ in range(count)]


def varied_responses(count: int) -> list[Pieces]:
    """One field is new each time."""
    return [[HEAD % (b"Content-Length: 13", number) + b"Hello, world!"] for number in range(count)]


def two_segments(count: int) -> list[Pieces]:
    """The head is cut in two."""
    return [[SMALL[:100], SMALL[100:]] for _ in range(count)]


def chunked_responses(count: int) -> list[Pieces]:
    response = HEAD % (b"Transfer-Encoding: chunked", 1) + b"d\r\nHello, world!\r\n0\r\n\r\n"
    return [[bytes(bytearray(response))] for _ in range(count)]


def large_responses(count: int) -> list[Pieces]:
    """1 MiB with a Content-Length."""
    return [pieces_of(HEAD % (b"Content-Length: 1048576", 1) + bytes(2**20))] * count


def large_chunks(count: int) -> list[Pieces]:
    """1 MiB in chunks of 8 KiB."""
    body = (b"2000\r\n" + bytes(8192) + b"\r\n") * 128 + b"0\r\n\r\n"
    return [pieces_of(HEAD % (b"Transfer-Encoding: chunked", 1) + body)] * count


def tiny_chunks(count: int) -> list[Pieces]:
    """10,000 chunks of one byte."""
    body = b"1\r\nx\r\n" * 10_000 + b"0\r\n\r\n"
    return [pieces_of(HEAD % (b"Transfer-Encoding: chunked", 1) + body)] * count


def with_ours() -> Exchange:
    engine = Engine()

    def exchange(pieces: Pieces) -> int:
        engine.start_request(b"GET", b"/", REQUEST)
        engine.finish_body()
        size = 0
        has_head = False
        for piece in pieces:
            engine.feed(piece)
            if not has_head:
                has_head = engine.next_head() is not None
                if not has_head:
                    continue
            size += len(engine.next_data() or b"")
        assert engine.is_complete
        assert engine.can_reuse
        return size

    return exchange


def with_h11() -> Exchange:
    connection = h11.Connection(h11.CLIENT, max_incomplete_event_size=2**20)

    def exchange(pieces: Pieces) -> int:
        connection.send(h11.Request(method=b"GET", target=b"/", headers=REQUEST))
        connection.send(h11.EndOfMessage())
        size = 0
        for piece in pieces:
            connection.receive_data(piece)
            while (event := connection.next_event()) is not h11.NEED_DATA:
                if isinstance(event, h11.Response):
                    event.headers.raw_items()
                elif isinstance(event, h11.Data):
                    size += len(event.data)
                elif isinstance(event, h11.EndOfMessage):
                    break
        connection.start_next_cycle()
        return size

    return exchange


class _Collector:
    def __init__(self) -> None:
        self.fields: list[tuple[bytes, bytes]] = []
        self.size = 0

    def on_header(self, name: bytes, value: bytes) -> None:
        self.fields.append((name, value))

    def on_body(self, body: bytes) -> None:
        self.size += len(body)


def with_httptools() -> Exchange:
    def exchange(pieces: Pieces) -> int:
        collector = _Collector()
        parser = httptools.HttpResponseParser(collector)
        for piece in pieces:
            parser.feed_data(piece)
        parser.get_status_code()
        return collector.size

    return exchange


PARSERS = {"ours": with_ours, "h11": with_h11, "httptools": with_httptools}

CASES: dict[str, tuple[Callable[[int], list[Pieces]], int]] = {
    "13 bytes, the same head": (small_responses, 2000),
    "13 bytes, a new field each": (varied_responses, 2000),
    "13 bytes, head in two pieces": (two_segments, 2000),
    "13 bytes, chunked": (chunked_responses, 2000),
    "1 MiB, Content-Length": (large_responses, 50),
    "1 MiB, chunks of 8 KiB": (large_chunks, 10),
    "10,000 chunks of one byte": (tiny_chunks, 2),
}


def measure(rounds: int) -> Results:
    """Case -> parser -> best microseconds for one exchange."""
    results: Results = {}
    for case, (make, count) in CASES.items():
        best = dict.fromkeys(PARSERS, float("inf"))
        for _ in range(rounds):
            for parser, make_exchange in PARSERS.items():
                exchange = make_exchange()
                responses = make(count)
                started = time.process_time()
                for pieces in responses:
                    exchange(pieces)
                best[parser] = min(best[parser], (time.process_time() - started) / count * 1e6)
        results[case] = best
    return results


if __name__ == "__main__":
    compare(
        "Time the HTTP/1.1 engine beside h11 and httptools.",
        measure,
        unit="microseconds per exchange",
        rival="h11",
    )
