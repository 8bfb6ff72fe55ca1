"""Fuzz the HTTP/1.1 engine: damaged responses in, and nothing but the documented errors out.

    python -m fuzz http11 --count 200000 --seconds 60 --seed 1

For each input: no other exception escapes, it takes less than a second, and neither the heads, nor the body,
nor whether it fails depends on how the bytes were split. Every sixteenth input is a damaged request instead:
it is refused, or goes out as exactly the lines that it was meant to be. There are no sockets, and the same seed
gives the same inputs. Exits with 1 at the first failure and prints how to see it again.
"""

from __future__ import annotations

import random
import time
from typing import NamedTuple

from httpcore._exceptions import LocalProtocolError, RemoteProtocolError
from httpcore._protocols.http11 import Engine, Limits

from .mutations import Mutation, cut_off, delete_span, flip_bit, replace_byte
from .trials import Failure

SLOW = 1.0
"""Seconds of CPU that no input may take; by the clock a busy machine would be blamed on it."""

LIMITS = Limits(head_size=4096, field_size=1024, field_count=40, chunk_line_size=256, chunk_excess=512)
"""Small enough to be reached; every other input is read with the default ones."""

OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"

SEEDS: list[tuple[bytes, bytes]] = [
    (b"GET", OK + b"Content-Length: 5\r\n\r\nhello"),
    (b"GET", OK + b"Content-Length: 5, 5\r\nContent-Length: 5\r\n\r\nhello"),
    (b"GET", OK + b"Server: nginx/1.22.1\r\nDate: Sat, 23 Nov 2024 18:44:00 GMT\r\nContent-Type: text/plain"
             b"\r\nContent-Length: 13\r\nConnection: keep-alive\r\nVary: a\r\n\r\nHello, world!"),
    (b"GET", b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 0\r\n\r\n"),
    (b"GET", b"HTTP/1.0 302 Found\r\nLocation: /\r\nSet-Cookie: a=b\r\nset-cookie: c=d\r\n\r\nuntil the end"),
    (b"GET", CHUNKED + b"5\r\nhello\r\n6;a=b\r\n world\r\n0\r\n\r\n"),
    (b"GET", CHUNKED + b"1\r\nx\r\n" * 20 + b"0;a=\"b\"\r\nX-Sum: 1\r\nY: 2\r\n\r\n"),
    (b"GET", CHUNKED + b"000a \r\n0123456789\r\n1F\r\n" + b"x" * 31 + b"\r\n000\r\nZ:\r\n\r\n"),
    (b"GET", CHUNKED.replace(b"\r", b"") + b"5\nhello\n0\n\n"),
    (b"GET", OK + b"Content-Length: 9\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n"),
    (b"GET", b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
             + OK + b"Content-Length: 1\r\n\r\nx"),
    (b"GET", b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\nraw bytes\r\n"),
    (b"GET", b"HTTP/1.1 204 No Content\r\nX: folded\r\n  value\r\n\tmore\r\n\r\n"),
    (b"GET", b"HTTP/1.1 304 Not Modified\r\nContent-Length: 100\r\nConnection: x, close\r\n\r\n"),
    (b"HEAD", OK + b"Content-Length: 100\r\n\r\n"),
    (b"CONNECT", b"HTTP/1.1 200 Connection established\r\n\r\n\x16\x03\x01"),
    (b"CONNECT", b"HTTP/1.1 407 x\r\nProxy-Authenticate: Basic\r\nContent-Length: 2\r\n\r\nno"),
    (b"GET", b"<html>no status line</html>"),
    (b"GET", b"\x00\x00\x12\x04\x00\x00\x00\x00\x00"),
]  # fmt: skip

WORDS = [
    b"\r", b"\n", b"\r\n", b"\r\n\r\n", b"\n\n", b"\0", b" ", b"\t", b":", b": ", b";", b",",
    b"\x80", b"\xff", b"\x7f", b"0", b"5", b"f", b"-", b"+", b"_", b"0x", b"9223372036854775808",
    b"ffffffffffffffff", b"0" * 300, b"a" * 1200, b"HTTP/1.1 ", b"HTTP/1.0", b"HTTP/2.0", b"100", b"204",
    b"Content-Length: 5\r\n", b"Content-Length: 6\r\n", b"Transfer-Encoding: chunked\r\n",
    b"Transfer-Encoding: gzip\r\n", b"Connection: close\r\n", b"\r\n folded", b"0\r\n\r\n", b"1\r\nx\r\n",
    b"X: 1\r\n" * 45, b"chunked", b"HTTP/1.1 100 x\r\n\r\n" * 17,
]  # fmt: skip


def insert_word(data: bytearray, generator: random.Random) -> None:
    place = generator.randint(0, len(data))
    data[place:place] = generator.choice(WORDS)


def repeat_span(data: bytearray, generator: random.Random) -> None:
    place = generator.randint(0, len(data))
    span = data[place : place + generator.randint(1, 40)]
    data[place:place] = span * generator.randint(1, 5)


def swap_lines(data: bytearray, generator: random.Random) -> None:
    lines = data.split(b"\r\n")
    first, second = generator.randrange(len(lines)), generator.randrange(len(lines))
    lines[first], lines[second] = lines[second], lines[first]
    data[:] = b"\r\n".join(lines)


def append_seed(data: bytearray, generator: random.Random) -> None:
    data += generator.choice(SEEDS)[1]


MUTATIONS: list[Mutation] = [
    insert_word,
    insert_word,
    replace_byte,
    flip_bit,
    delete_span,
    repeat_span,
    cut_off,
    swap_lines,
    append_seed,
]


class Outcome(NamedTuple):
    heads: list[tuple[int, bytes, bytes, list[tuple[bytes, bytes]]]]
    body: bytes
    trailers: list[tuple[bytes, bytes]]
    failed: bool
    is_complete: bool
    can_reuse: bool


def read(method: bytes, pieces: list[bytes], limits: Limits) -> Outcome:
    """Feed the pieces and read all that can be read after each of them."""
    engine = Engine(limits)
    engine.start_request(method, b"/", [(b"Host", b"h")])
    engine.finish_body()
    heads = []
    body = []
    started = time.process_time()
    failed = has_final_head = False
    try:
        for piece in pieces:
            engine.feed(piece)
            while not has_final_head and (head := engine.next_head()) is not None:
                heads.append((head.status, head.version, head.reason, head.headers))
                has_final_head = head.status >= 200 or head.status == 101
            while has_final_head and (data := engine.next_data()):
                body.append(data)
    except RemoteProtocolError as exc:
        failed = True
        if not str(exc).endswith(".") or len(str(exc)) > 400:
            raise Failure(f"the error is no sentence: {exc}") from exc
    if time.process_time() - started > SLOW:
        raise Failure(f"too slow: {method!r}, {pieces!r}")
    outcome = Outcome(heads, b"".join(body), engine.trailers, failed, engine.is_complete, engine.can_reuse)
    if (failed and outcome.is_complete) or (outcome.can_reuse and not outcome.is_complete):
        raise Failure(f"the outcome contradicts itself: {outcome}")
    return outcome


def damage(data: bytes, generator: random.Random) -> bytes:
    damaged = bytearray(data)
    for _ in range(generator.choice((1, 1, 1, 2, 3, 6))):
        generator.choice(MUTATIONS)(damaged, generator)
    return bytes(damaged)


def split(data: bytes, generator: random.Random) -> list[bytes]:
    """A few pieces mostly, single bytes sometimes."""
    if len(data) < 2:
        return [data] if data else []
    if generator.random() < 0.1 and len(data) < 400:
        return [data[i : i + 1] for i in range(len(data))]
    places = sorted(generator.sample(range(1, len(data)), min(generator.randint(1, 5), len(data) - 1)))
    return [data[start:end] for start, end in zip([0, *places], [*places, len(data)], strict=True)]


def try_response(generator: random.Random) -> str:
    """One damaged response; returns what became of it."""
    method, seed = generator.choice(SEEDS)
    wire = damage(seed, generator)
    limits = LIMITS if generator.random() < 0.5 else Limits()
    end = [b""] if generator.random() < 0.5 else []
    pieces = split(wire, generator)
    whole = read(method, ([wire] if wire else []) + end, limits)
    parts = read(method, pieces + end, limits)
    if whole != parts:
        raise Failure(f"the split matters: {method!r}, {pieces + end!r}\n  whole: {whole}\n  split: {parts}")
    return "refused" if whole.failed else "complete" if whole.is_complete else "unfinished"


def try_request(generator: random.Random) -> str:
    """One damaged request; returns what became of it."""
    parts = [b"POST", b"/path?query", b"Host", b"example.org", b"Content-Length", b"5", b"X", b"value"]
    if generator.random() < 0.5:
        parts[4:6] = [b"Transfer-Encoding", b"chunked"]
    for _ in range(generator.choice((1, 1, 2))):
        place = generator.randrange(len(parts))
        parts[place] = damage(parts[place], generator)
    method, target, *fields = parts
    headers = list(zip(fields[::2], fields[1::2], strict=True))
    try:
        wire = Engine().start_request(method, target, headers)
    except LocalProtocolError:
        return "refused"
    lines = [
        method + b" " + target + b" HTTP/1.1",
        *[name + b": " + value for name, value in headers],
        b"",
        b"",
    ]
    if (
        wire.split(b"\r\n") != lines
        or wire.count(b"\n") != len(lines) - 1
        or wire.count(b"\r") != len(lines) - 1
    ):
        raise Failure(f"the request became another one: {parts!r} -> {wire!r}")
    return "complete"


def attempt(index: int, generator: random.Random) -> str:
    """One input; returns what became of it."""
    return (try_request if index % 16 == 15 else try_response)(generator)
