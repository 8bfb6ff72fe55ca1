"""The work grows with the bytes that arrive, not with the square of them. Counted, not timed."""

from __future__ import annotations

import sys
import tracemalloc
from collections.abc import Iterator
from types import FrameType
from typing import SupportsIndex

import pytest

from httpcore._protocols.http11 import Engine, Limits
from httpcore._protocols.http11 import engine as engine_module

from .driver import receive, start


class CountedBytes(bytearray):
    """A buffer that knows how many of its bytes were looked at or copied."""

    work = 0

    def find(self, sub: object, start: SupportsIndex | None = 0, end: SupportsIndex | None = None, /) -> int:
        at = super().find(sub, start, end)  # type: ignore[arg-type]
        CountedBytes.work += (at if at >= 0 else len(self)) - int(start or 0)
        return at

    def __getitem__(self, index: SupportsIndex | slice, /) -> object:  # type: ignore[override]
        item = super().__getitem__(index)
        CountedBytes.work += len(item) if isinstance(item, bytearray) else 1
        return item


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[CountedBytes]]:
    monkeypatch.setattr(engine_module, "bytearray", CountedBytes, raising=False)
    CountedBytes.work = 0
    yield CountedBytes
    assert CountedBytes.work > 0, "the buffer of the engine was not counted"


ONE_FIELD = b"HTTP/1.1 204 x\r\nX: " + b"a" * 60_000 + b"\r\n\r\n"
MANY_FIELDS = b"HTTP/1.1 204 x\r\n" + b"X: abcdefgh\r\n" * 900 + b"\r\n"
FOLDS = b"HTTP/1.1 204 x\r\nX: a\r\n" + b" b\r\n" * 10_000 + b"\r\n"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
EXTENSION = CHUNKED + (b"1000;" + b"a" * 4000 + b"\r\n" + b"x" * 4096 + b"\r\n") * 10 + b"0\r\n\r\n"
TRAILERS = CHUNKED + b"0\r\n" + b"X: abcdefgh\r\n" * 900 + b"\r\n"
SIZED = b"HTTP/1.1 200 OK\r\nX: " + b"a" * 200 + b"\r\nContent-Length: 50000\r\n\r\n" + b"x" * 50_000


@pytest.mark.parametrize("step", [1, 2, 50])
@pytest.mark.parametrize(
    "response",
    [ONE_FIELD, MANY_FIELDS, FOLDS, EXTENSION, TRAILERS, SIZED],
    ids=lambda response: f"{len(response)}",
)
def test_a_dripping_response(response: bytes, step: int, counted: type[CountedBytes]) -> None:
    outcome = receive([response[i : i + step] for i in range(0, len(response), step)], ends=False)
    assert outcome.is_complete, outcome.error
    assert counted.work <= 12 * len(response)


@pytest.mark.parametrize("response", [ONE_FIELD, MANY_FIELDS, FOLDS, EXTENSION, TRAILERS, SIZED])
def test_pieces_that_pile_up(response: bytes, counted: type[CountedBytes]) -> None:
    """Fed faster than they are read."""
    engine = start()
    for at in range(len(response)):
        engine.feed(response[at : at + 1])
    outcome = receive([], engine=engine)
    assert outcome.is_complete, outcome.error
    assert counted.work <= 12 * len(response)


def count_calls(response: bytes, step: int) -> int:
    """Function calls, Python's and C's, that it takes to read a response."""
    calls = 0

    def note(frame: FrameType, event: str, argument: object) -> None:
        nonlocal calls
        calls += event in ("call", "c_call")

    pieces = [response[i : i + step] for i in range(0, len(response), step)]
    engine = start()
    sys.setprofile(note)
    try:
        receive(pieces, engine=engine, ends=False)
    finally:
        sys.setprofile(None)
    return calls


@pytest.mark.parametrize("chunk", [b"1\r\nx\r\n", b"1\nx\n", b"1;a\r\nx\r\n", b"0000000001\r\nx\r\n"])
def test_calls_for_each_chunk(chunk: bytes) -> None:
    few, many = (count_calls(CHUNKED + chunk * count + b"0\r\n\r\n", 4096) for count in (1_000, 10_000))
    assert many <= 11 * few


def test_a_million_chunks_of_one_byte() -> None:
    """One piece comes out for each piece that goes in, and nothing is kept between them."""
    piece = b"1\r\nx\r\n" * 10_000
    engine = start()
    engine.feed(CHUNKED)
    assert engine.next_head() is not None
    assert engine.next_data() is None
    for round_ in range(100):
        if round_ == 10:
            tracemalloc.start()
        engine.feed(piece)
        assert engine.next_data() == b"x" * 10_000
        assert engine.next_data() is None
        if round_ == 20:
            held, peak = tracemalloc.get_traced_memory()
            tracemalloc.stop()
    assert held < 10_000
    assert peak < 2_000_000
    engine.feed(b"0\r\n\r\n")
    assert engine.next_data() == b""
    assert engine.is_complete


def test_an_idle_engine_is_small() -> None:
    """A connection that waits for its next request must not cost kilobytes."""
    response = b"HTTP/1.1 200 OK\r\nX: 1\r\nContent-Length: 50000\r\n\r\n" + b"x" * 50_000
    engines = []
    receive([response], engine=start(), ends=False)
    tracemalloc.start()
    for _ in range(100):
        engine = start()
        receive([response[:30_000], response[30_000:]], engine=engine, ends=False)
        assert engine.can_reuse
        engines.append(engine)
    used, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert used / len(engines) < 1024


def test_no_field_is_worth_more_than_its_bytes() -> None:
    """Blanks and commas without end are where regular expressions and lists go wrong."""
    blanks = b" " * 60_000
    for line in (
        b"X: a" + blanks + b"b",
        b"X:" + blanks,
        b"X" + blanks + b": 1",
        b"Connection: " + b"a," * 30_000,
        b"Connection: " + b", " * 30_000,
        b"Transfer-Encoding: " + b",\t" * 30_000 + b"chunked",
        b"Content-Length: " + b"0" * 60_000,
        b"Content-Length: " + b"1," * 30_000 + b"1",
        b"Content-Length: " + b"9" * 60_000,
    ):
        few = count_calls(b"HTTP/1.1 200 x\r\n" + line[:600] + b"\r\n\r\n", 2**20)
        many = count_calls(b"HTTP/1.1 200 x\r\n" + line + b"\r\n\r\n", 2**20)
        assert many <= 110 * few


@pytest.mark.parametrize("limit", [10_000, 100_000])
def test_nothing_is_set_aside_for_an_announced_length(limit: int) -> None:
    tracemalloc.start()
    engine = Engine(Limits(head_size=limit))
    engine.start_request(b"GET", b"/", [(b"Host", b"h")])
    engine.finish_body()
    engine.feed(b"HTTP/1.1 200 OK\r\nContent-Length: 9223372036854775807\r\n\r\nabc")
    assert engine.next_head() is not None
    assert engine.next_data() == b"abc"
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 100_000
