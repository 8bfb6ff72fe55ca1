"""Flow control, both ways (RFC 9113 §5.2, §6.9)."""

from __future__ import annotations

import struct

import pytest

from httpcore._protocols.http2 import Engine, ErrorCode, Stream
from httpcore._protocols.http2.flow import (
    CONNECTION_WINDOW,
    LARGEST_STREAM_WINDOW,
    STREAM_WINDOW,
    UNREAD_SIZE,
    decide_window,
)
from httpcore._protocols.http2.frames import DATA, END_STREAM, WINDOW_UPDATE

from .driver import (
    data,
    expect_failure,
    expect_reset,
    headers,
    reset,
    send,
    sent,
    sent_data,
    settings,
    start,
    take,
    window_update,
)

MIB = 2**20


def credits(engine: Engine) -> dict[int, int]:
    """The credit that was given, by stream."""
    given: dict[int, int] = {}
    for found in sent(engine):
        if found.kind == WINDOW_UPDATE:
            (size,) = struct.unpack(">I", found.payload)
            assert 0 < size < 2**31
            given[found.stream_id] = given.get(found.stream_id, 0) + size
    return given


def pour(engine: Engine, stream: Stream, size: int) -> None:
    """Have the peer send `size` bytes."""
    while size:
        step = min(size, 16_384)
        engine.feed(data(stream.id, bytes(step)))
        size -= step
    assert engine.failure is None, engine.failure


# What we send.


def test_an_upload_larger_than_the_windows() -> None:
    engine = start()
    stream = send(engine, b"POST", ends=False)
    content = bytes(range(256)) * 1000
    at = engine.send_data(stream, content, ends=True)
    assert at == 65_535
    assert sent_data(engine) == content[:at]
    assert engine.send_data(stream, content[at:], ends=True) == 0
    # Room in one window is none.
    assert engine.feed(window_update(1, 100_000)) == []
    assert engine.feed(window_update(0, 50_000)) == [stream]
    at += engine.send_data(stream, content[at:], ends=True)
    assert at == 115_535
    assert engine.feed(window_update(0, 300_000)) == [stream]
    at += engine.send_data(stream, content[at:], ends=True)
    assert at == 165_535
    assert not stream.is_sent
    assert engine.feed(window_update(1, 300_000)) == [stream]
    at += engine.send_data(stream, content[at:], ends=True)
    assert at == len(content)
    frames = sent(engine)
    assert b"".join(f.payload for f in frames) == content[65_535:]
    assert [f.flags for f in frames] == [0] * (len(frames) - 1) + [END_STREAM]
    assert stream.is_sent
    assert engine.feed(window_update(0, 5)) == []


def test_a_window_of_nothing_opened_later() -> None:
    engine = start([(4, 0)])
    stream = send(engine, b"POST", ends=False)
    assert engine.send_data(stream, b"abc", ends=True) == 0
    assert not engine.output.size
    assert engine.feed(window_update(1, 2)) == [stream]
    assert engine.send_data(stream, b"abc", ends=True) == 2
    assert sent(engine) == [(DATA, 0, 1, b"ab")]
    assert engine.feed(settings([(4, 1)])) == [stream]
    engine.take_output()
    assert engine.send_data(stream, b"c", ends=True) == 1
    assert sent(engine) == [(DATA, END_STREAM, 1, b"c")]


def test_the_end_needs_no_window() -> None:
    engine = start([(4, 3)])
    stream = send(engine, b"POST", ends=False)
    assert engine.send_data(stream, b"abc") == 3
    assert engine.send_data(stream, b"", ends=True) == 0
    assert stream.is_sent
    assert sent(engine) == [(DATA, 0, 1, b"abc"), (DATA, END_STREAM, 1, b"")]


def test_nothing_is_nothing() -> None:
    engine = start()
    stream = send(engine, b"POST", ends=False)
    assert engine.send_data(stream, b"") == 0
    assert not engine.output.size
    assert engine.feed(window_update(1, 1)) == []


def test_nobody_is_told_who_does_not_wait() -> None:
    engine = start()
    stream = send(engine, b"POST", ends=False)
    engine.send_data(stream, b"abc")
    assert stream.send_window > 0
    assert engine.feed(window_update(1, 10) + window_update(0, 10)) == []


def test_the_windows_are_shared_fairly() -> None:
    """Who has had its share stands behind those who have not."""
    engine = start([(4, 2**20)])
    streams = [send(engine, b"POST", ends=False) for _ in range(4)]
    assert engine.send_data(streams[0], bytes(2**20)) == 65_535
    shares = {stream.id: 0 for stream in streams}
    for stream in streams[1:]:
        assert engine.send_data(stream, bytes(1000)) == 0
    for _ in range(8):
        for stream in engine.feed(window_update(0, 100)):
            shares[stream.id] += engine.send_data(stream, bytes(1000))
    assert set(shares.values()) == {200}


def test_who_leaves_while_waiting_is_not_told() -> None:
    engine = start([(4, 0)])
    first, second, third = (send(engine, b"POST", ends=False) for _ in range(3))
    for stream in (first, second, third):
        assert engine.send_data(stream, b"x") == 0
    engine.reset(first)
    engine.feed(reset(3))
    assert engine.feed(settings([(4, 10)])) == [third]
    assert engine._blocked.keys() == {5}
    assert engine.send_data(third, b"x") == 1
    assert engine._blocked == {}


@pytest.mark.parametrize("data_type", [bytes, bytearray, memoryview])
def test_data_is_whatever_holds_bytes(data_type: type) -> None:
    engine = start()
    stream = send(engine, b"POST", ends=False)
    for content in (b"abc", bytes(range(256)) * 100):
        assert engine.send_data(stream, data_type(content)) == len(content)
        assert sent_data(engine) == content
    with pytest.raises(TypeError, match="not of str"):
        engine.send_data(stream, "text")  # type: ignore[arg-type]
    numbers = memoryview(struct.pack("4I", *range(4))).cast("I")
    assert engine.send_data(stream, numbers) == 16


@pytest.mark.parametrize("size", [3, 40_000])
def test_what_the_caller_changes_afterwards_is_not_sent(size: int) -> None:
    engine = start()
    stream = send(engine, b"POST", ends=False)
    content = bytearray(b"a" * size)
    engine.send_data(stream, content)
    content[:] = b"b" * size
    assert sent_data(engine) == b"a" * size


@pytest.mark.parametrize("data_type", [bytes, memoryview])
def test_large_data_is_copied_once(data_type: type) -> None:
    engine = start([(4, 2**20)])
    engine.feed(window_update(0, 2**20))
    stream = send(engine, b"POST", ends=False)
    engine.take_output()
    content = bytes(500_000)
    engine.send_data(stream, data_type(content))
    pieces = [piece for piece in engine.output._pieces if len(piece) > 9]
    assert all(isinstance(piece, memoryview) and piece.obj is content for piece in pieces)
    assert engine.output.size == len(engine.take_output()) == 500_000 + 31 * 9
    assert engine.output.size == 0
    assert not engine.output.size


@pytest.mark.parametrize("stream_id", [0, 1])
def test_a_window_that_does_not_open(stream_id: int) -> None:
    engine = start()
    stream = send(engine)
    assert engine.feed(window_update(stream_id, 0)) == [stream]
    if stream_id:
        expect_reset(engine, 1, ErrorCode.PROTOCOL_ERROR)
    else:
        expect_failure(engine, ErrorCode.PROTOCOL_ERROR)


@pytest.mark.parametrize("stream_id", [0, 1])
def test_a_window_that_overflows(stream_id: int) -> None:
    engine = start()
    stream = send(engine, b"POST", ends=False)
    assert engine.feed(window_update(stream_id, 2**31 - 1 - 65_535)) == []
    assert engine.feed(window_update(stream_id, 1)) == [stream]
    if stream_id:
        expect_reset(engine, 1, ErrorCode.FLOW_CONTROL_ERROR)
    else:
        expect_failure(engine, ErrorCode.FLOW_CONTROL_ERROR)


def test_the_response_ends_while_the_upload_waits() -> None:
    engine = start([(4, 0)])
    stream = send(engine, b"POST", ends=False)
    assert engine.send_data(stream, b"x") == 0
    assert engine.feed(headers(1, ends=True)) == [stream]
    assert stream.is_ended
    assert not stream.is_sent
    engine.reset(stream, ErrorCode.NO_ERROR)
    expect_reset(engine, 1, ErrorCode.NO_ERROR)


# What the peer sends.


def test_the_connection_is_credited_on_arrival() -> None:
    """Nobody reads, and it does not matter to others."""
    engine = start()
    streams = [send(engine) for _ in range(40)]
    total = 0
    for stream in streams:
        engine.feed(headers(stream.id))
        pour(engine, stream, MIB)
        total += credits(engine).get(0, 0)
    assert total >= 40 * MIB - CONNECTION_WINDOW // 2
    last = send(engine)
    engine.feed(headers(last.id))
    pour(engine, last, MIB)
    assert take(engine, last) == bytes(MIB)


def test_a_stream_is_credited_when_it_is_read() -> None:
    engine = start()
    stream = send(engine)
    engine.feed(headers(1))
    pour(engine, stream, STREAM_WINDOW)
    assert credits(engine) == {}
    take(engine, stream)
    # What was taken, and as much again, as the caller keeps up.
    assert credits(engine) == {1: 2 * STREAM_WINDOW}
    assert stream.window == 2 * STREAM_WINDOW
    pour(engine, stream, 2 * STREAM_WINDOW)
    assert stream.unread == 2 * STREAM_WINDOW


def test_credit_is_batched() -> None:
    """RFC 9113 §5.2.2: one update for half a window, however small the reads."""
    engine = start()
    stream = send(engine)
    engine.feed(headers(1))
    pour(engine, stream, STREAM_WINDOW)
    engine.take_output()
    for _ in range(STREAM_WINDOW // 2 // 64 - 1):
        engine.consume(stream, 64)
    assert not engine.output.size
    engine.consume(stream, 64)
    assert len(sent(engine)) == 1


def test_a_slow_reader_gets_what_it_took_and_no_more() -> None:
    engine = start()
    stream = send(engine)
    engine.feed(headers(1))
    pour(engine, stream, STREAM_WINDOW)
    engine.consume(stream, STREAM_WINDOW // 2)
    assert credits(engine) == {1: STREAM_WINDOW // 2}
    assert stream.window == STREAM_WINDOW


def test_a_window_grows_to_its_bound() -> None:
    engine = start()
    stream = send(engine)
    engine.feed(headers(1))
    windows = []
    for _ in range(7):
        pour(engine, stream, stream.window)
        take(engine, stream)
        windows.append(stream.window // MIB)
        engine.take_output()
    assert windows == [2, 4, 8, 16, 16, 16, 16]
    assert stream.capacity_left == LARGEST_STREAM_WINDOW


def test_past_64_mib_unread_only_who_keeps_up_is_credited() -> None:
    assert decide_window(MIB, unread=0, total_unread=UNREAD_SIZE) == 2 * MIB
    assert decide_window(MIB, unread=MIB // 2, total_unread=0) == MIB
    assert decide_window(16 * MIB, unread=0, total_unread=0) == 16 * MIB
    assert decide_window(8 * MIB, unread=MIB - 1, total_unread=UNREAD_SIZE + 1) == 8 * MIB
    assert decide_window(8 * MIB, unread=MIB, total_unread=UNREAD_SIZE + 1) == 0
    assert decide_window(MIB, unread=0, total_unread=UNREAD_SIZE + 1) == MIB
    engine = start()
    for _ in range(64):
        idle = send(engine)
        engine.feed(headers(idle.id))
        pour(engine, idle, MIB)
    reader = send(engine)
    engine.feed(headers(reader.id))
    pour(engine, reader, MIB)
    engine.take_output()
    take(engine, reader)
    assert credits(engine) == {reader.id: MIB * 2}
    pour(engine, reader, 2 * MIB)
    engine.take_output()
    # It does not keep up now: more than a first window is waiting.
    engine.consume(reader, MIB)
    assert credits(engine) == {}
    # And now it does: what was held back is given.
    engine.consume(reader, MIB // 2)
    assert credits(engine) == {reader.id: MIB + MIB // 2}
    assert reader.window == 2 * MIB


@pytest.mark.parametrize("size", [1, 31, 32, 16_384])
def test_the_peer_overruns_a_streams_window(size: int) -> None:
    engine = start()
    stream, other = send(engine), send(engine)
    engine.feed(headers(1))
    pour(engine, stream, STREAM_WINDOW)
    assert engine.feed(data(1, bytes(size))) == [stream]
    expect_reset(engine, 1, ErrorCode.FLOW_CONTROL_ERROR)
    assert "the stream's window has 0 left" in str(stream.error)
    assert take(engine, stream) == bytes(STREAM_WINDOW)
    engine.feed(headers(3, ends=True))
    assert other.is_ended


def test_the_peer_overruns_the_connections_window() -> None:
    """Which is credited on arrival; so it takes a peer that sends before it may."""
    engine = start()
    send(engine)
    engine.feed(headers(1))
    engine._receive_window = 100
    engine.feed(data(1, bytes(101)))
    assert "the connection's window has 100 left" in expect_failure(engine, ErrorCode.FLOW_CONTROL_ERROR)


@pytest.mark.parametrize("padding", [0, 1, 255])
def test_padding_is_counted_and_credited(padding: int) -> None:
    engine = start()
    stream = send(engine)
    engine.feed(headers(1))
    flow_size = 100 + padding + 1
    for _ in range(10):
        engine.feed(data(1, bytes(100), padding=padding))
    assert stream.capacity_left == STREAM_WINDOW - 10 * flow_size
    assert stream.unread == 1000
    assert engine._receive_window == CONNECTION_WINDOW - 10 * flow_size
    take(engine, stream)
    assert stream.taken == 10 * flow_size


def test_the_connection_is_credited_for_padded_data_too() -> None:
    engine = start()
    stream = send(engine)
    engine.feed(headers(1))
    given = 0
    for _ in range(1100):
        engine.feed(data(1, bytes(16_000), padding=200))
        take(engine, stream)
        given += credits(engine).get(0, 0)
    assert given > CONNECTION_WINDOW // 2


def test_padding_alone_is_credited() -> None:
    """There is nothing that a caller could take."""
    engine = start()
    stream = send(engine)
    engine.feed(headers(1))
    given = 0
    for _ in range(3000):
        engine.feed(data(1, b"", padding=255))
        given += credits(engine).get(1, 0)
    assert given >= 3000 * 256 - STREAM_WINDOW // 2
    assert stream.unread == 0


def test_a_padded_frame_that_overruns_only_with_its_padding() -> None:
    engine = start()
    stream = send(engine)
    engine.feed(headers(1))
    pour(engine, stream, STREAM_WINDOW - 100)
    engine.feed(data(1, bytes(50), padding=50))
    expect_reset(engine, 1, ErrorCode.FLOW_CONTROL_ERROR)


def test_no_credit_for_what_has_ended() -> None:
    engine = start()
    stream = send(engine)
    engine.feed(headers(1))
    pour(engine, stream, STREAM_WINDOW - 10)
    engine.feed(data(1, bytes(10), ends=True))
    engine.take_output()
    assert take(engine, stream) == bytes(STREAM_WINDOW)
    assert not engine.output.size


def test_ten_thousand_streams_given_up_with_unread_data() -> None:
    """The connection's window never leaks: what the peer counts is what we count."""
    engine = start()
    peer_window = CONNECTION_WINDOW
    for number in range(10_000):
        stream = send(engine)
        content = bytes(100 + number % 5000)
        engine.feed(headers(stream.id) + data(stream.id, content))
        peer_window -= len(content)
        if number % 3 == 0:
            engine.reset(stream)
            engine.feed(data(stream.id, content))
            peer_window -= len(content)
        elif number % 3 == 1:
            engine.feed(reset(stream.id))
        else:
            engine.feed(data(stream.id, ends=True))
            engine.reset(stream)
        peer_window += credits(engine).get(0, 0)
        assert peer_window == engine._receive_window
        assert peer_window >= CONNECTION_WINDOW // 2
    assert engine.streams == {}


def test_who_does_not_read_fills_no_more_than_its_window() -> None:
    engine = start()
    stream = send(engine)
    engine.feed(headers(1))
    pour(engine, stream, STREAM_WINDOW)
    for _ in range(100):
        other = send(engine)
        engine.feed(headers(other.id))
        pour(engine, other, MIB)
        take(engine, other)
        engine.feed(data(other.id, ends=True))
        assert other.is_ended
    assert stream.unread == STREAM_WINDOW
    assert stream.capacity_left == 0
