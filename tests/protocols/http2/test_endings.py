"""How a connection ends: GOAWAY of either side, the end of the stream, a failure beneath (RFC 9113 §5.4.1, §6.8)."""

from __future__ import annotations

import struct

import pytest

from httpcore._protocols.http2 import Engine, ErrorCode
from httpcore._protocols.http2.frames import GOAWAY, LARGEST_ID

from .driver import (
    body,
    data,
    expect_failure,
    goaway,
    headers,
    ping,
    send,
    sent,
    settings,
    start,
    window_update,
)


def test_a_graceful_goaway() -> None:
    """What is in flight finishes, new requests go elsewhere."""
    engine = start()
    first, second = send(engine), send(engine)
    assert engine.feed(goaway(LARGEST_ID)) == []
    assert not engine.is_usable
    assert engine.capacity == 0
    assert engine.failure is None
    with pytest.raises(RuntimeError):
        send(engine)
    assert engine.feed(headers(1) + data(1, b"hello", ends=True)) == [first]
    assert body(first) == b"hello"
    assert first.is_ended
    assert engine.feed(goaway(3)) == []
    assert engine.feed(headers(3, ends=True)) == [second]
    assert second.is_ended
    assert engine.feed(settings([(3, 10)])) == []
    assert engine.capacity == 0


def test_what_is_above_the_last_id_was_not_processed() -> None:
    engine = start()
    first, second, third = send(engine), send(engine), send(engine, b"POST", ends=False)
    assert engine.feed(goaway(1)) == [second, third]
    for stream in (second, third):
        assert stream.is_refused
        assert str(stream.error) == (
            "The peer closes the connection, and has not processed the request (GOAWAY, NO_ERROR)."
        )
    assert not engine.output.size
    assert engine.streams == {1: first}
    engine.feed(headers(1, ends=True))
    assert first.is_ended


def test_a_goaway_with_an_error() -> None:
    engine = start()
    first, second = send(engine), send(engine)
    engine.feed(goaway(1, ErrorCode.ENHANCE_YOUR_CALM, b"too_many_pings" + b"x" * 5000))
    assert "(GOAWAY, ENHANCE_YOUR_CALM, b'too_many_pings" in str(second.error)
    assert len(str(second.error)) < 300
    assert first.error is None
    assert engine.feed(b"") == [first]
    assert "ENHANCE_YOUR_CALM" in str(first.error)
    # Nobody knows whether this one was processed.
    assert not first.is_refused


def test_a_goaway_with_an_unknown_code() -> None:
    engine = start()
    stream = send(engine)
    engine.feed(goaway(0, 0xABCD))
    assert "unknown error code 0xabcd" in str(stream.error)


@pytest.mark.parametrize("ids", [[5, 3, 3, 0], [0, 0], [LARGEST_ID, LARGEST_ID, 1]])
def test_several_goaways_that_decrease(ids: list[int]) -> None:
    engine = start()
    for last_id in ids:
        engine.feed(goaway(last_id))
    assert engine.failure is None


def test_a_goaway_that_takes_back_what_it_said() -> None:
    engine = start()
    engine.feed(goaway(1) + goaway(3))
    expect_failure(engine, ErrorCode.PROTOCOL_ERROR)


def test_a_goaway_before_any_request() -> None:
    for wire in (goaway(0), goaway(LARGEST_ID)):
        engine = Engine()
        assert engine.feed(settings() + wire) == []
        assert engine.failure is None
        assert not engine.is_usable


def test_our_goodbye() -> None:
    engine = start()
    stream = send(engine)
    engine.close()
    assert sent(engine) == [(GOAWAY, 0, 0, struct.pack(">II", 0, 0))]
    engine.close()
    assert not engine.output.size
    assert not engine.is_usable
    assert engine.capacity == 0
    engine.feed(settings([(3, 10)]))
    assert engine.capacity == 0
    engine.feed(headers(1, ends=True))
    assert stream.is_ended


def test_our_goodbye_after_theirs() -> None:
    engine = start()
    engine.feed(goaway(0))
    engine.close(ErrorCode.PROTOCOL_ERROR)
    assert sent(engine) == [(GOAWAY, 0, 0, struct.pack(">II", 0, 1))]


def test_no_goodbye_to_who_is_gone() -> None:
    for end in (b"", window_update(0, 0)):
        engine = start()
        engine.feed(end)
        engine.take_output()
        engine.close()
        assert not engine.output.size


def test_the_stream_ends_without_a_word() -> None:
    engine = start()
    waiting, reading, ended, uploading = (
        send(engine),
        send(engine),
        send(engine),
        send(engine, b"POST", ends=False),
    )
    engine.feed(headers(3) + data(3, b"half") + headers(5, ends=True) + headers(7, ends=True))
    assert engine.feed(b"") == [waiting, reading, uploading]
    for stream in (waiting, reading):
        assert str(stream.error) == "The peer closed the connection without GOAWAY."
        assert not stream.is_refused
    assert waiting.error is not reading.error
    assert body(reading) == b"half"
    assert ended.error is None
    # Its response is complete; the rest of the request reaches nobody.
    assert uploading.error is None
    assert uploading.stops_upload
    assert str(engine.failure) == "The peer closed the connection without GOAWAY."
    assert not engine.is_usable
    assert engine.capacity == 0
    assert engine.feed(b"") == []
    assert not engine.output.size


@pytest.mark.parametrize("start_of_it", [b"", b"\0", settings()[:8]])
def test_the_stream_ends_before_settings(start_of_it: bytes) -> None:
    engine = Engine()
    stream = send(engine)
    if start_of_it:
        engine.feed(start_of_it)
    assert engine.feed(b"") == [stream]
    assert str(stream.error) == "The peer closed the connection before it sent its SETTINGS."


def test_every_truncation_is_an_error() -> None:
    wire = headers(1, (b"a", b"b")) + data(1, b"x" * 100) + data(1, b"y" * 20, padding=3, ends=True)
    for end in range(len(wire)):
        engine = start()
        stream = send(engine)
        if end:
            engine.feed(wire[:end])
        assert engine.feed(b"") == [stream]
        assert stream.error is not None
        assert not stream.is_ended
        assert (b"x" * 100 + b"y" * 20).startswith(body(stream))


def test_a_failure_beneath() -> None:
    engine = start()
    waiting, uploading = send(engine), send(engine, b"POST", ends=False)
    engine.feed(headers(3, ends=True))
    exc = OSError("broken pipe")
    assert engine.fail(exc) == [waiting, uploading]
    assert waiting.error is exc
    assert uploading.error is None
    assert uploading.stops_upload
    assert engine.failure is exc
    assert not engine.is_usable
    assert engine.fail(OSError("again")) == []
    assert engine.failure is exc
    assert engine.feed(headers(1)) == []
    assert engine.feed(b"") == []
    assert not engine.output.size


def test_after_a_failure_nothing_is_heard() -> None:
    engine = start()
    engine.feed(window_update(0, 0))
    expect_failure(engine, ErrorCode.PROTOCOL_ERROR)
    for wire in (ping(), settings(), headers(1), goaway(0), b""):
        assert engine.feed(wire) == []
    assert not engine.output.size


def test_what_came_before_a_failure_counts() -> None:
    engine = start()
    first, second = send(engine), send(engine)
    wire = headers(1) + data(1, b"hello", ends=True) + ping() + window_update(0, 0) + headers(3)
    assert engine.feed(wire) == [first, second]
    assert first.is_ended
    assert first.error is None
    assert body(first) == b"hello"
    assert second.head is None
    assert second.error is not None


def test_the_order_of_news_is_the_order_of_frames() -> None:
    engine = start()
    first, second, third = (send(engine) for _ in range(3))
    wire = headers(5) + headers(1) + data(5, b"x") + headers(3) + data(1, b"y", ends=True)
    assert engine.feed(wire) == [third, first, second]


def test_reprs() -> None:
    engine = start()
    stream = send(engine)
    assert repr(stream) == "<Stream 1: the final head has not arrived>"
    assert repr(engine).startswith("<Engine: 1 streams")
