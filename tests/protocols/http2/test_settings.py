"""What the peer announces, and how we follow (RFC 9113 §6.5)."""

from __future__ import annotations

import struct

import hpack
import pytest

from httpcore._exceptions import LocalProtocolError
from httpcore._protocols.hpack import Encoder
from httpcore._protocols.http2 import Engine, ErrorCode, Limits, prepare_fields
from httpcore._protocols.http2.frames import (
    ACK,
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    HEADERS,
    SETTINGS,
)

from .driver import data, expect_failure, headers, send, sent, settings, start, window_update

TABLE, PUSH, STREAMS, WINDOW, FRAME, LIST = range(1, 7)


def test_each_is_acknowledged_once() -> None:
    engine = Engine()
    engine.take_output()
    assert not engine.has_settings
    engine.feed(settings())
    assert engine.has_settings
    assert sent(engine) == [(SETTINGS, ACK, 0, b"")]
    engine.feed(settings([(WINDOW, 5)]) + settings())
    assert sent(engine) == [(SETTINGS, ACK, 0, b"")] * 2
    engine.feed(settings(flags=ACK))
    assert not engine.output.size


@pytest.mark.parametrize(
    ("entry", "code"),
    [
        ((PUSH, 1), ErrorCode.PROTOCOL_ERROR),
        ((PUSH, 2), ErrorCode.PROTOCOL_ERROR),
        ((PUSH, 2**32 - 1), ErrorCode.PROTOCOL_ERROR),
        ((WINDOW, 2**31), ErrorCode.FLOW_CONTROL_ERROR),
        ((WINDOW, 2**32 - 1), ErrorCode.FLOW_CONTROL_ERROR),
        ((FRAME, 0), ErrorCode.PROTOCOL_ERROR),
        ((FRAME, 2**14 - 1), ErrorCode.PROTOCOL_ERROR),
        ((FRAME, 2**24), ErrorCode.PROTOCOL_ERROR),
    ],
)
def test_out_of_range(entry: tuple[int, int], code: ErrorCode) -> None:
    engine = start()
    stream = send(engine)
    assert engine.feed(settings([entry])) == [stream]
    expect_failure(engine, code)


@pytest.mark.parametrize(
    "entries",
    [
        [(PUSH, 0)],
        [(WINDOW, 0)],
        [(WINDOW, 2**31 - 1)],
        [(FRAME, 2**14)],
        [(FRAME, 2**24 - 1)],
        [(TABLE, 0), (TABLE, 2**32 - 1)],
        [(STREAMS, 2**32 - 1)],
        [(LIST, 2**32 - 1)],
        [(0, 1), (7, 2), (8, 1), (9, 1), (0xFFFF, 2**32 - 1), (0x1A1A, 5)],
    ],
)
def test_in_range_or_unknown(entries: list[tuple[int, int]]) -> None:
    engine = start()
    stream = send(engine)
    assert engine.feed(settings(entries)) == []
    assert engine.failure is None
    engine.feed(headers(1, ends=True))
    assert stream.is_ended
    stream = send(engine)
    engine.feed(headers(3, ends=True))
    assert stream.is_ended


def test_of_duplicates_the_last_counts() -> None:
    engine = start([(STREAMS, 5), (STREAMS, 7), (WINDOW, 10), (WINDOW, 20)])
    assert engine.capacity == 7
    stream = send(engine, b"POST", ends=False)
    assert stream.send_window == 20


def test_capacity() -> None:
    engine = Engine()
    assert engine.capacity == 100
    start(engine=engine)
    assert engine.capacity == 2**30
    engine.feed(settings([(STREAMS, 3)]))
    assert engine.capacity == 3
    engine.feed(settings([(WINDOW, 3)]))
    assert engine.capacity == 3
    engine.feed(settings([(STREAMS, 0)]))
    assert engine.capacity == 0
    assert engine.is_usable
    engine.feed(settings([(STREAMS, 1)]))
    assert engine.capacity == 1
    assert start([(STREAMS, 1000)], limits=Limits(stream_count=10)).capacity == 10
    assert Engine(Limits(stream_count=10)).capacity == 10


def test_a_capacity_lowered_below_what_is_in_flight() -> None:
    engine = start([(STREAMS, 4)])
    streams = [send(engine) for _ in range(4)]
    assert engine.feed(settings([(STREAMS, 2)])) == []
    with pytest.raises(RuntimeError):
        send(engine)
    for number, stream in enumerate(streams):
        assert stream.error is None
        assert engine.feed(headers(stream.id, ends=True)) == [stream]
        assert stream.is_ended
        assert len(engine.streams) == 3 - number
    send(engine)
    send(engine)
    with pytest.raises(RuntimeError):
        send(engine)


def test_windows_follow_the_initial_one() -> None:
    """RFC 9113 §6.9.2: of all open streams, and below zero if need be."""
    engine = start([(WINDOW, 100)])
    first, second, third = (send(engine, b"POST", ends=False) for _ in range(3))
    assert engine.send_data(first, bytes(80)) == 80
    assert engine.send_data(second, bytes(200)) == 100
    engine.feed(settings([(WINDOW, 50)]))
    assert first.send_window == -30
    assert second.send_window == -50
    assert third.send_window == 50
    assert engine.send_data(first, bytes(10)) == 0
    # Still not positive: no news.
    assert engine.feed(settings([(WINDOW, 80)])) == []
    assert engine.feed(settings([(WINDOW, 110)])) == [second, first]
    assert first.send_window == 30
    assert second.send_window == 10
    assert third.send_window == 110
    assert send(engine, b"POST", ends=False).send_window == 110


def test_a_lowered_initial_window_hides_no_room() -> None:
    """Whatever opens and lowers windows in the same read, who has room in the end hears of it."""
    engine = start([(WINDOW, 100)])
    stream = send(engine, b"POST", ends=False)
    assert engine.send_data(stream, bytes(150)) == 100
    opening, lowering = window_update(stream.id, 50), settings([(WINDOW, 80)])
    assert engine.feed(opening + lowering) == [stream]
    assert engine.send_data(stream, bytes(50)) == 30
    assert engine.feed(lowering + opening) == [stream]
    assert engine.feed(settings([(WINDOW, 100)]) + lowering) == [stream]
    # Nothing but lowered: nobody has more room than before.
    assert engine.feed(settings([(WINDOW, 70)])) == []


def test_an_initial_window_that_overflows_an_open_one() -> None:
    engine = start()
    stream = send(engine, b"POST", ends=False)
    engine.send_data(stream, b"x")
    engine.feed(settings([(WINDOW, 2**31 - 1)]))
    assert engine.failure is None
    engine.feed(settings([(WINDOW, 0)]))
    engine.feed(window_update(1, 2))
    engine.feed(settings([(WINDOW, 2**31 - 1)]))
    expect_failure(engine, ErrorCode.FLOW_CONTROL_ERROR)


def test_frame_size() -> None:
    engine = start([(FRAME, 20_000), (WINDOW, 2**20)])
    stream = send(engine, b"POST", ends=False)
    assert engine.send_data(stream, bytes(50_000), ends=True) == 50_000
    frames = sent(engine)
    assert [(len(f.payload), f.flags) for f in frames] == [(20_000, 0), (20_000, 0), (10_000, END_STREAM)]
    assert {f.kind for f in frames} == {DATA}


@pytest.mark.parametrize("limit", [16_384, 20_000])
@pytest.mark.parametrize("ends", [True, False])
def test_a_head_larger_than_a_frame(limit: int, ends: bool) -> None:
    engine = start([(FRAME, limit)])
    fields = [(b"x-%d" % number, b"\xff" * 5000) for number in range(13)]
    request = prepare_fields(b"GET", b"https", b"h", fields)
    engine.open_stream(request, b"/", ends=ends)
    frames = sent(engine)
    assert [f.kind for f in frames] == [HEADERS] + [CONTINUATION] * (len(frames) - 1)
    assert [f.flags for f in frames] == [END_STREAM * ends, *[0] * (len(frames) - 2), END_HEADERS]
    assert {len(f.payload) for f in frames[:-1]} == {limit}
    assert 0 < len(frames[-1].payload) <= limit
    decoded = hpack.Decoder(2**20).decode(b"".join(f.payload for f in frames), raw=True)
    assert [(bytes(name), bytes(value)) for name, value in decoded][4:] == fields


def test_a_head_larger_than_the_peer_takes() -> None:
    engine = start([(LIST, 500)])
    request = prepare_fields(b"GET", b"https", b"h", [(b"x", b"y" * 100)])
    size = request.list_size + len(b":path/") + 32
    assert size < 500
    fits = b"/" * (500 - size + 1)
    with pytest.raises(LocalProtocolError, match=r"501 bytes large; the peer takes 500 .*LIST_SIZE"):
        engine.open_stream(request, fits + b"/", ends=True)
    assert not engine.output.size
    assert engine.streams == {}
    stream = engine.open_stream(request, fits, ends=True)
    assert stream.id == 1


@pytest.mark.parametrize("sizes", [[0], [0, 4096], [100], [65_536], [0, 65_536], [4096, 0, 50, 4096]])
def test_table_size(sizes: list[int]) -> None:
    """A decoder that is as small as the peer says, each time, understands every request."""
    engine = start()
    decoder = hpack.Decoder()

    def check(number: int) -> None:
        fields = [(b"x-%d" % number, b"v" * 30), (b"same", b"same")]
        engine.open_stream(prepare_fields(b"GET", b"https", b"h", fields), b"/", ends=True)
        (head,) = sent(engine)
        decoded = [(bytes(name), bytes(value)) for name, value in decoder.decode(head.payload, raw=True)]
        assert decoded[4:] == fields

    for number in range(3):
        check(number)
    engine.feed(settings([(TABLE, size) for size in sizes]))
    assert sent(engine) == [(SETTINGS, ACK, 0, b"")]
    decoder.max_allowed_table_size = sizes[-1]
    if min(sizes) == 0:
        # Whatever was in the table is gone, even if it could grow again.
        decoder.header_table.maxsize = 0
        decoder.header_table.maxsize = 4096
    for number in range(3):
        check(number)


def test_the_table_is_resized_when_the_peer_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []
    monkeypatch.setattr(Encoder, "resize", lambda encoder, size: sizes.append(size))
    engine = start([(TABLE, 100), (TABLE, 0), (TABLE, 50)])
    engine.feed(settings([(WINDOW, 5)]) + settings())
    assert sizes == [100, 0, 50]


def test_never_acknowledged() -> None:
    """Ours hold for whoever answers our requests, since they came first."""
    engine = start()
    for number in range(200):
        stream = send(engine)
        engine.feed(headers(stream.id) + data(stream.id, bytes(100), ends=True))
        assert stream.is_ended, number
    assert engine.failure is None


def test_settings_count() -> None:
    engine = start()
    engine.feed(settings([(0x99, 1)] * 32))
    assert engine.failure is None
    engine.feed(settings([(0x99, 1)] * 33))
    assert "more than 32 entries" in expect_failure(engine, ErrorCode.ENHANCE_YOUR_CALM)


def test_the_order_of_entries_in_bytes() -> None:
    assert settings([(1, 2), (3, 4)])[9:] == struct.pack(">HIHI", 1, 2, 3, 4)
