"""The work grows with the bytes that arrive, and what is held does not grow with time. Counted, not timed."""

from __future__ import annotations

import sys
import tracemalloc
from collections.abc import Iterator
from types import FrameType

import pytest

from httpcore._protocols.http2 import Engine
from httpcore._protocols.http2 import engine as engine_module

from .driver import (
    body,
    continuation,
    data,
    frame,
    headers,
    ping,
    send,
    sent,
    settings,
    start,
    take,
    window_update,
)


class CountedBytes(bytearray):
    """A buffer that knows how many of its bytes were copied."""

    work = 0

    def __init__(self, content: bytes) -> None:
        super().__init__(content)
        CountedBytes.work += len(content)

    def __iadd__(self, content: object) -> CountedBytes:
        assert isinstance(content, bytes)
        CountedBytes.work += len(content)
        super().__iadd__(content)
        return self

    def __bytes__(self) -> bytes:
        CountedBytes.work += len(self)
        return bytes(memoryview(self))


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[CountedBytes]]:
    monkeypatch.setattr(engine_module, "bytearray", CountedBytes, raising=False)
    CountedBytes.work = 0
    yield CountedBytes
    assert CountedBytes.work > 0, "the buffer of the engine was not counted"


LONG_HEAD = headers(1, *[(b"x-%d" % number, b"y" * 1500) for number in range(10)])
CONTINUED = headers(1, continues=True) + b"".join(
    continuation(1, (b"x", b"y" * 1000), continues=number < 50) for number in range(51)
)
UNKNOWN = frame(0x42, bytes(16_384)) * 5
PADDED = headers(1) + data(1, bytes(16_000), padding=200) * 5
MIXED = (headers(1) + data(1, b"x" * 500) + ping() + window_update(0, 1) + settings()) + (
    data(1, b"x" * 500) + ping()
) * 50


@pytest.mark.parametrize("step", [1, 3, 50, 997])
@pytest.mark.parametrize(
    "wire", [LONG_HEAD, CONTINUED, UNKNOWN, PADDED, MIXED], ids=lambda wire: f"{len(wire)}"
)
def test_frames_that_drip(wire: bytes, step: int, counted: type[CountedBytes]) -> None:
    engine = start()
    send(engine)
    for at in range(0, len(wire), step):
        engine.feed(wire[at : at + step])
    assert engine.failure is None
    assert counted.work <= 6 * len(wire)


def count_calls(wire: bytes, step: int, engine: Engine | None = None) -> int:
    """Function calls, Python's and C's, that it takes to read what the peer sends."""
    calls = 0

    def note(frame: FrameType, event: str, argument: object) -> None:
        nonlocal calls
        calls += event in ("call", "c_call")

    pieces = [wire[i : i + step] for i in range(0, len(wire), step)]
    engine = engine or start()
    stream = send(engine)
    sys.setprofile(note)
    try:
        for piece in pieces:
            engine.feed(piece)
            engine.take_output()
    finally:
        sys.setprofile(None)
    assert engine.failure is None
    assert stream.error is None
    return calls


@pytest.mark.parametrize(
    "unit",
    [
        data(1, bytes(100)),
        data(1, bytes(100), padding=10),
        data(1, bytes(1)),
        ping(),
        settings([(4, 100)]),
        window_update(1, 1),
        frame(0x42, b"x"),
    ],
)
def test_calls_for_each_frame(unit: bytes) -> None:
    few, many = (count_calls(headers(1) + unit * count, 4096) for count in (90, 900))
    assert many <= 10.5 * few


def test_calls_for_data_by_the_byte() -> None:
    """Whether a frame or the network cuts it: each read costs the same."""
    wire = headers(1) + data(1, bytes(16_000))
    few, many = count_calls(wire[:1500], 1), count_calls(wire[:15_000], 1)
    assert many <= 10.5 * few


def test_an_update_of_windows_costs_what_its_streams_cost() -> None:
    """Many entries change the windows once."""

    def calls(count: int) -> int:
        engine = start()
        for _ in range(count):
            send(engine, b"POST", ends=False)
        return count_calls(settings([(4, number) for number in range(32)]), 4096, engine)

    assert calls(1000) < calls(10) + 5000


def test_the_memory_of_streams_is_flat() -> None:
    """A hundred thousand streams that end well, and as many that are reset, leave nothing behind."""
    engine = start()

    def use(count: int) -> None:
        for _ in range(count):
            stream = send(engine)
            engine.feed(headers(stream.id, (b"a", b"b")) + data(stream.id, b"hello", ends=True))
            assert take(engine, stream) == b"hello"
            stream = send(engine)
            engine.feed(headers(stream.id))
            engine.reset(stream)
            engine.take_output()

    use(2000)
    tracemalloc.start()
    use(3000)
    early, _ = tracemalloc.get_traced_memory()
    use(10_000)
    late, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert late - early < 20_000
    assert engine.streams == {}


def test_an_idle_engine_is_small() -> None:
    """A connection that waits must not cost more than its tables."""
    engines = []
    tracemalloc.start()
    for _ in range(50):
        engine = start()
        stream = send(engine)
        engine.feed(headers(1) + data(1, bytes(10_000), ends=True))
        take(engine, stream)
        engines.append(engine)
    used, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert used / len(engines) < 10_000


def test_nothing_is_set_aside_for_an_announced_length() -> None:
    engine = start()
    stream = send(engine)
    wire = headers(1, (b"content-length", b"9223372036854775807")) + data(1, bytes(16_384))[:100]
    tracemalloc.start()
    engine.feed(wire)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert body(stream) == bytes(91)
    assert peak < 20_000


def test_what_the_peer_does_not_read_does_not_grow() -> None:
    """Credit for a body that nobody lets us send is one frame for many megabytes."""
    engine = start()
    stream = send(engine)
    engine.feed(headers(1))
    for _ in range(10_000):
        engine.feed(data(1, bytes(16_384)))
        take(engine, stream)
    assert engine.failure is None
    assert len(sent(engine)) < 200


def test_no_field_is_worth_more_than_its_bytes() -> None:
    """Blanks and commas without end are where regular expressions and lists go wrong."""
    for name, value in (
        (b"x", b"a" + b" " * 15_000 + b"b"),
        (b"content-length", b"0" * 15_000 + b"1"),
        (b"content-length", b"1," * 7000 + b"1"),
    ):
        few = count_calls(headers(1, (name, value[: len(value) // 10] + b"1")), 2**20)
        many = count_calls(headers(1, (name, value)), 2**20)
        assert many <= 11 * few
