"""Frames that break the rules, and frames that only look as if they did (RFC 9113 §3.4, §4, §6)."""

from __future__ import annotations

import struct

import pytest

from httpcore._protocols.http2 import Engine, ErrorCode, Limits
from httpcore._protocols.http2.frames import (
    ACK,
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    GOAWAY,
    HEADERS,
    PADDED,
    PING,
    PRIORITY,
    PUSH_PROMISE,
    RST_STREAM,
    SETTINGS,
    WINDOW_UPDATE,
)

from .driver import (
    block,
    continuation,
    data,
    expect_failure,
    expect_reset,
    frame,
    goaway,
    headers,
    ping,
    reset,
    send,
    sent,
    settings,
    splits,
    start,
    take,
    window_update,
)

PROTOCOL_ERROR = ErrorCode.PROTOCOL_ERROR
FRAME_SIZE_ERROR = ErrorCode.FRAME_SIZE_ERROR
STREAM_CLOSED = ErrorCode.STREAM_CLOSED

HAS_PRIORITY = 0x20


def refuse(wire: bytes, code: ErrorCode) -> str:
    """Feed `wire` while stream 1 waits for its head and 3 for its body, and 5 has ended; it must break the
    connection in the same way however it arrives. Returns the sentence."""
    messages = set()
    for pieces in splits(wire):
        engine = start()
        waiting, reading, ended = send(engine), send(engine), send(engine)
        engine.feed(headers(3) + data(3, b"x" * 100) + headers(5, ends=True))
        news = {stream.id for piece in pieces for stream in engine.feed(piece)}
        assert {1, 3} <= news
        messages.add(expect_failure(engine, code))
        assert str(waiting.error) == str(reading.error) == str(engine.failure)
        assert waiting.error is not reading.error
        assert not waiting.is_refused
        assert take(engine, reading) == b"x" * 100
        assert ended.error is None
        assert engine.feed(headers(1)) == []
        assert not engine.output.size
    (message,) = messages
    return message


@pytest.mark.parametrize(
    "first",
    [
        ping(),
        settings(flags=ACK),
        headers(1),
        data(1, b"x"),
        goaway(0),
        window_update(0, 1),
        frame(0x0B),
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        b"HTTP/1.0 200",
        b"<html>\r\n<body>",
        b"\x15\x03\x01\x00\x02\x02\x0a" + bytes(20),
    ],
)
def test_a_peer_that_does_not_begin_with_settings(first: bytes) -> None:
    for pieces in splits(first):
        engine = Engine()
        stream = send(engine)
        news = [stream for piece in pieces for stream in engine.feed(piece)]
        assert news == [stream]
        message = expect_failure(engine, PROTOCOL_ERROR)
        assert "does not begin with SETTINGS" in message
        assert ("looks like HTTP/1" in message) == first.startswith(b"HTTP/1")
        assert not engine.has_settings


@pytest.mark.parametrize("kind", range(12))
def test_a_frame_longer_than_we_allow(kind: int) -> None:
    """It is refused as soon as its header is here."""
    header = frame(kind, bytes(16_385), stream_id=3)[:9]
    message = refuse(header, FRAME_SIZE_ERROR)
    assert "of 16385 bytes, where 16384 are allowed" in message


def test_a_frame_as_long_as_we_allow() -> None:
    engine = start()
    stream = send(engine)
    assert engine.feed(headers(1) + data(1, bytes(16_384)) + frame(0x0B, bytes(16_384))) == [stream]
    assert take(engine, stream) == bytes(16_384)


@pytest.mark.parametrize(
    "wire",
    [
        frame(PING, b"1234567"),
        frame(PING, b"123456789"),
        frame(PING, b""),
        frame(RST_STREAM, b"123", stream_id=1),
        frame(RST_STREAM, b"12345", stream_id=1),
        frame(WINDOW_UPDATE, b"123"),
        frame(WINDOW_UPDATE, b"12345", stream_id=1),
        frame(SETTINGS, b"1"),
        frame(SETTINGS, b"1234567"),
        frame(SETTINGS, b"123456", flags=ACK),
        frame(GOAWAY, b"1234567"),
        frame(PRIORITY, b"1234", stream_id=99),
        frame(PRIORITY, b"1234", stream_id=5),
        frame(DATA, b"", flags=PADDED, stream_id=3),
        frame(HEADERS, b"", flags=PADDED | END_HEADERS, stream_id=1),
        frame(HEADERS, b"1234", flags=HAS_PRIORITY | END_HEADERS, stream_id=1),
    ],
)
def test_a_wrong_size(wire: bytes) -> None:
    refuse(wire, FRAME_SIZE_ERROR)


def test_a_priority_of_a_wrong_size_is_its_streams_fault() -> None:
    engine = start()
    stream = send(engine)
    assert engine.feed(frame(PRIORITY, b"1234", stream_id=1)) == [stream]
    expect_reset(engine, 1, FRAME_SIZE_ERROR)
    assert "(FRAME_SIZE_ERROR)" in str(stream.error)


@pytest.mark.parametrize(
    "wire",
    [
        frame(DATA, b"x"),
        frame(HEADERS, block((b":status", b"200")), flags=END_HEADERS),
        frame(PRIORITY, b"12345"),
        frame(RST_STREAM, b"1234"),
        frame(CONTINUATION, b"", flags=END_HEADERS),
        frame(SETTINGS, b"", stream_id=1),
        frame(PING, b"12345678", stream_id=1),
        frame(GOAWAY, bytes(8), stream_id=1),
    ],
)
def test_a_stream_where_there_must_be_none_or_one(wire: bytes) -> None:
    refuse(wire, PROTOCOL_ERROR)


@pytest.mark.parametrize("stream_id", [2, 7, 8, 99, 100, 2**31 - 1])
@pytest.mark.parametrize(
    ("kind", "payload"),
    [
        (DATA, b"x"),
        (HEADERS, block((b":status", b"200"))),
        (RST_STREAM, b"1234"),
        (WINDOW_UPDATE, struct.pack(">I", 1)),
        (CONTINUATION, b""),
    ],
)
def test_a_stream_that_was_never_opened(kind: int, payload: bytes, stream_id: int) -> None:
    refuse(frame(kind, payload, flags=END_HEADERS, stream_id=stream_id), PROTOCOL_ERROR)


def test_a_push() -> None:
    promise = struct.pack(">I", 2) + block((b":method", b"GET"))
    message = refuse(frame(PUSH_PROMISE, promise, flags=END_HEADERS, stream_id=1), PROTOCOL_ERROR)
    assert "push is disabled" in message


@pytest.mark.parametrize(
    "wire",
    [
        data(1, b"x"),
        data(3, b"x", padding=2),
        headers(3),
        ping(),
        settings(),
        window_update(0, 1),
        reset(1),
        goaway(0),
        frame(PRIORITY, b"12345", stream_id=1),
        frame(0x0B, b"unknown"),
        continuation(3),
    ],
)
def test_anything_else_within_a_block_of_fields(wire: bytes) -> None:
    refuse(headers(1, continues=True) + wire, PROTOCOL_ERROR)
    refuse(headers(1, continues=True) + continuation(1, continues=True) + wire, PROTOCOL_ERROR)


@pytest.mark.parametrize(
    "before",
    [b"", headers(1), headers(1) + data(1, b"x" * 50), headers(1, continues=True) + continuation(1)],
)
def test_a_continuation_of_nothing(before: bytes) -> None:
    refuse(before + continuation(1), PROTOCOL_ERROR)


def test_blocks_in_pieces() -> None:
    """All ways to cut a block into frames read the same (with an empty one among them)."""
    fields = [(b":status", b"200"), (b"content-length", b"3"), (b"x", b"y" * 20)]
    whole = block(*fields)
    for first in range(0, len(whole), 3):
        for second in range(first, len(whole), 5):
            wire = (
                frame(HEADERS, whole[:first], stream_id=1)
                + frame(CONTINUATION, whole[first:second], stream_id=1)
                + frame(CONTINUATION, whole[second:], flags=END_HEADERS, stream_id=1)
                + data(1, b"abc", ends=True)
            )
            engine = start()
            stream = send(engine)
            assert engine.feed(wire) == [stream]
            assert stream.head == (200, fields[1:])
            assert take(engine, stream) == b"abc"
            assert stream.is_ended


def test_end_stream_is_said_by_the_first_frame_of_a_block() -> None:
    engine = start()
    stream = send(engine)
    wire = frame(HEADERS, block((b":status", b"204")), flags=END_STREAM, stream_id=1)
    engine.feed(wire)
    assert stream.head is None
    engine.feed(frame(CONTINUATION, b"", flags=END_HEADERS, stream_id=1))
    assert stream.is_ended


@pytest.mark.parametrize("padding", [0, 1, 100, 255])
def test_padding(padding: int) -> None:
    for pieces in splits(
        frame(
            HEADERS,
            bytes([padding]) + block((b":status", b"200")) + bytes(padding),
            flags=PADDED | END_HEADERS,
            stream_id=1,
        )
        + data(1, b"abc", padding=padding)
        + data(1, b"", padding=padding)
        + data(1, b"d" * 40, padding=padding, ends=True)
    ):
        engine = start()
        stream = send(engine)
        for piece in pieces:
            engine.feed(piece)
        assert engine.failure is None
        assert stream.head == (200, [])
        assert take(engine, stream) == b"abc" + b"d" * 40
        assert stream.is_ended


@pytest.mark.parametrize(("padding", "size"), [(1, 1), (2, 1), (255, 1), (255, 255), (11, 11), (200, 100)])
def test_padding_that_is_not_there(padding: int, size: int) -> None:
    payload = bytes([padding]) + bytes(size - 1)
    for kind in (DATA, HEADERS):
        refuse(frame(kind, payload, flags=PADDED | END_HEADERS, stream_id=3), PROTOCOL_ERROR)


def test_priority_within_headers() -> None:
    engine = start()
    stream = send(engine)
    payload = bytes([3]) + b"12345" + block((b":status", b"200")) + bytes(3)
    engine.feed(frame(HEADERS, payload, flags=PADDED | HAS_PRIORITY | END_HEADERS, stream_id=1))
    assert stream.head == (200, [])


def test_unknown_frames_flags_and_the_reserved_bit() -> None:
    """RFC 9113 §4.1, §5.5. Also those that other documents define: ALTSVC, ORIGIN, PRIORITY_UPDATE."""
    engine = start()
    stream = send(engine)
    reserved = 0x8000_0000
    for kind in (*range(0x0A, 0x18), 0x80, 0xFF):
        for stream_id in (0, 1, 2, 99, reserved):
            assert engine.feed(frame(kind, b"whatever", flags=0xFF, stream_id=stream_id)) == []
    engine.feed(frame(HEADERS, block((b":status", b"200")), flags=END_HEADERS | 0xD2, stream_id=1 | reserved))
    engine.feed(frame(DATA, b"a" * 50, flags=0xF6, stream_id=1 | reserved))
    engine.feed(frame(PING, b"12345678", flags=0xFE, stream_id=reserved))
    engine.feed(frame(SETTINGS, b"", flags=0xFE, stream_id=reserved))
    engine.feed(frame(PRIORITY, b"12345", flags=0xFF, stream_id=77))
    engine.feed(frame(WINDOW_UPDATE, struct.pack(">I", 5 | reserved), flags=0xFF, stream_id=1))
    assert engine.failure is None
    assert stream.head == (200, [])
    assert take(engine, stream) == b"a" * 50
    assert [found.kind for found in sent(engine)] == [PING, SETTINGS]


def test_a_block_that_cannot_be_decoded() -> None:
    for payload in (b"\x80", b"\xff\xff\xff\xff\xff\xff\xff", b"\x00\x05ab", b"\xfe"):
        refuse(frame(HEADERS, payload, flags=END_HEADERS, stream_id=1), ErrorCode.COMPRESSION_ERROR)


def test_every_block_is_decoded_whatever_becomes_of_its_stream() -> None:
    """The next one refers to what it has put into the table."""
    engine = start()
    first, second, third = send(engine), send(engine), send(engine)
    engine.reset(first)
    indexed = b"\x40\x01a\x01b"
    status = b"\x88"
    engine.feed(frame(HEADERS, status + indexed, flags=END_HEADERS, stream_id=1))
    assert first.head is None
    engine.feed(frame(HEADERS, status + b"\xbe", flags=END_HEADERS, stream_id=3))
    assert second.head == (200, [(b"a", b"b")])
    malformed = b"\x40\x01A\x01c"
    engine.feed(frame(HEADERS, status + malformed, flags=END_HEADERS, stream_id=5))
    assert third.error is not None
    fourth = send(engine)
    engine.feed(frame(HEADERS, status + b"\xbf", flags=END_HEADERS, stream_id=7))
    assert fourth.head == (200, [(b"a", b"b")])


def test_a_ping_is_answered_although_nothing_may_be_sent() -> None:
    engine = start([(4, 0)])
    stream = send(engine, b"POST", ends=False)
    assert engine.send_data(stream, b"blocked") == 0
    assert engine.feed(ping(b"abcdefgh")) == []
    assert sent(engine) == [(PING, ACK, 0, b"abcdefgh")]


def test_pings_of_ours() -> None:
    """The answer to one brings something, once; an answer to none is a frame like any other that does not."""
    answer = ping(b"question", flags=ACK)
    for answers, is_patient in (
        ([answer], True),
        ([answer, answer], False),
        ([ping(b"another!", flags=ACK)], False),
    ):
        engine = start(limits=Limits(useless_count=0))
        engine.ping(b"question")
        assert sent(engine) == [(PING, 0, 0, b"question")]
        assert engine.feed(b"".join(answers)) == []
        assert (engine.failure is None) is is_patient
        assert bool(engine.output.size) is not is_patient


def test_what_goes_out_first() -> None:
    engine = Engine()
    assert engine.output.size
    assert engine.output.size == len(engine.take_output()) == 24 + 9 + 18 + 13
    engine = Engine()
    preface, increment = sent(engine)
    assert preface == (
        SETTINGS,
        0,
        0,
        struct.pack(">HIHIHI", 2, 0, 4, 2**20, 6, 256 * 1024),
    )
    assert increment == (WINDOW_UPDATE, 0, 0, struct.pack(">I", 32 * 2**20 - 65_535))


def test_received_count() -> None:
    engine = start()
    before = engine.received_count
    engine.feed(b"\0")
    assert engine.received_count == before + 1
    engine.feed(b"\0" * 5)
    assert engine.received_count == before + 6
