"""Peers that make work: each flood is cut off, and what looks like one and is none goes on (RFC 9113 §10.5)."""

from __future__ import annotations

import tracemalloc

import pytest

from httpcore._protocols.http2 import Engine, ErrorCode, Limits
from httpcore._protocols.http2.flow import STREAM_WINDOW
from httpcore._protocols.http2.frames import ACK, CONTINUATION, PING, PRIORITY, SETTINGS

from .driver import (
    block,
    body,
    continuation,
    data,
    expect_failure,
    frame,
    goaway,
    headers,
    ping,
    reset,
    send,
    sent,
    settings,
    start,
    take,
    window_update,
)

CALM = ErrorCode.ENHANCE_YOUR_CALM

FLOODS = {
    "PING": ping(),
    "PING of ours": ping(flags=ACK),
    "SETTINGS": settings(),
    "SETTINGS that change windows": settings([(4, 10)]) + settings([(4, 20)]),
    "SETTINGS acknowledged": settings(flags=ACK),
    "PRIORITY": frame(PRIORITY, b"12345", stream_id=1),
    "WINDOW_UPDATE of a stream": window_update(1, 1),
    "WINDOW_UPDATE of the connection": window_update(0, 1),
    "WINDOW_UPDATE of a closed stream": window_update(3, 1),
    "RST_STREAM of a closed stream": reset(3),
    "DATA of nothing": data(1),
    "DATA of nothing but padding": data(1, padding=255),
    "DATA on a stream that we have reset": data(3),
    "HEADERS on a stream that we have reset": headers(3),
    "HEADERS of nothing on a stream that we have reset": headers(3, status=None),
    "GOAWAY": goaway(2**31 - 1),
    "unknown": frame(0x42, b"x"),
}


def flooded() -> Engine:
    """Stream 1 is being read, stream 3 was given up."""
    engine = start()
    send(engine)
    given_up = send(engine)
    engine.reset(given_up)
    engine.feed(headers(1))
    engine.take_output()
    return engine


@pytest.mark.parametrize("name", FLOODS)
def test_a_flood(name: str) -> None:
    """The peer reads all that we say, so that nothing else stops it."""
    engine = flooded()
    count = 0
    while engine.failure is None:
        engine.feed(FLOODS[name] * 100)
        engine.take_output() if engine.failure is None else None
        count += 100
        assert count <= 10_500
    assert count >= 5000
    assert "more than 10000 frames that bring nothing" in expect_failure(engine, CALM)


@pytest.mark.parametrize("name", FLOODS)
def test_one_in_each_read_is_no_flood(name: str) -> None:
    """A connection that is kept alive by PINGs for years must not end by them."""
    if "HEADERS" in name or "windows" in name:
        return
    engine = flooded()
    for _ in range(12_000):
        engine.feed(FLOODS[name])
        engine.take_output()
    assert engine.failure is None


@pytest.mark.parametrize(
    ("wire", "kind"),
    [(ping(), PING), (settings(), SETTINGS)],
)
def test_answers_that_nobody_reads(wire: bytes, kind: int) -> None:
    engine = start()
    engine.feed(wire * 1000)
    assert engine.failure is None
    assert [found.kind for found in sent(engine)] == [kind] * 1000
    engine.feed(wire * 600)
    engine.feed(wire * 400)
    assert engine.failure is None
    engine.feed(wire)
    assert "more than 1000 answers without reading them" in expect_failure(engine, CALM)


def test_answers_that_are_read() -> None:
    engine = start()
    for _ in range(9):
        engine.feed(ping() * 1000)
        assert len(sent(engine)) == 1000
    assert engine.failure is None


def test_one_ping_of_ours_has_one_answer() -> None:
    engine = start()
    engine.ping(b"question")
    engine.feed(ping(b"question", flags=ACK) * 10_002)
    expect_failure(engine, CALM)


def test_continuations_without_end() -> None:
    engine = start()
    stream = send(engine)
    engine.feed(headers(1, continues=True) + continuation(1, continues=True) * 63 + continuation(1))
    assert stream.head == (200, [])
    send(engine)
    engine.feed(headers(3, continues=True) + continuation(3, continues=True) * 64)
    assert "more than 64 CONTINUATION frames" in expect_failure(engine, CALM)


def test_continuations_hold_no_more_than_their_frames() -> None:
    engine = start()
    send(engine)
    engine.feed(headers(1, continues=True))
    wire = frame(CONTINUATION, bytes(16_384), stream_id=1)
    tracemalloc.start()
    while engine.failure is None:
        engine.feed(wire)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1.5 * 2**20


@pytest.mark.parametrize("size", [1, 31])
def test_tiny_data(size: int) -> None:
    """A server that flushes each of its words sends a million frames, and none of them for nothing."""
    engine = flooded()
    stream = engine.streams[1]
    wire = data(1, bytes(size)) * 1000
    for _ in range(150):
        engine.feed(wire)
        take(engine, stream)
        engine.take_output()
    assert engine.failure is None


def test_tiny_data_for_a_stream_that_we_have_reset() -> None:
    """It was on its way, as much of it as the window had room for; no more."""
    engine = flooded()
    wire = data(3, b"x") * 1000
    for _ in range(STREAM_WINDOW // 1000):
        engine.feed(wire)
    assert engine.failure is None
    engine.feed(wire)
    expect_failure(engine, ErrorCode.FLOW_CONTROL_ERROR)


def test_tiny_data_is_kept_together() -> None:
    engine = flooded()
    stream = engine.streams[1]
    content = bytes(range(256)) * 78
    wire = b"".join(data(1, content[at : at + 1]) for at in range(len(content)))
    engine.feed(wire)
    assert body(stream) == content
    assert len(stream.data) == len(content) // 32


@pytest.mark.parametrize("step", [1, 7, 40])
def test_large_frames_that_drip_are_kept_together(step: int) -> None:
    engine = flooded()
    stream = engine.streams[1]
    wire = data(1, bytes(10_000))
    for at in range(0, len(wire), step):
        engine.feed(wire[at : at + step])
    assert body(stream) == bytes(10_000)
    assert len(stream.data) <= 10_000 // 32 + 2


def test_credit_for_what_was_sent() -> None:
    """An application that reads an upload in small steps has its server return the credit in as small ones,
    to the stream and to the connection. What it gives beyond that is a flood as any other."""
    engine = start([(4, 2**20)])
    engine.feed(window_update(0, 2**30))
    upload = send(engine, b"POST", ends=False)
    for _ in range(10):
        assert engine.send_data(upload, bytes(10_000)) == 10_000
        engine.feed((window_update(0, 2) + window_update(upload.id, 2)) * 5_000)
        engine.take_output()
    assert engine.failure is None
    engine.feed(window_update(0, 1) * 10_005)
    expect_failure(engine, CALM)


def test_credit_for_a_request_that_was_given_up() -> None:
    engine = start([(4, 2**20)])
    engine.feed(window_update(0, 2**30))
    upload = send(engine, b"POST", ends=False)
    assert engine.send_data(upload, bytes(50_000)) == 50_000
    engine.reset(upload)
    engine.feed((window_update(0, 1) + window_update(upload.id, 1)) * 50_000)
    assert engine.failure is None


def test_a_body_makes_up_for_frames_that_bring_nothing() -> None:
    """A download may come with a PING for each frame."""
    engine = start()
    stream = send(engine)
    engine.feed(headers(stream.id))
    for _ in range(2000):
        engine.feed((data(stream.id, bytes(1400)) + ping() + window_update(0, 1)) * 10)
        take(engine, stream)
        engine.take_output()
    assert engine.failure is None


def test_requests_make_up_for_them_too() -> None:
    engine = start()
    for _ in range(2000):
        stream = send(engine)
        engine.feed((ping() + settings() + window_update(0, 1)) * 20 + headers(stream.id, ends=True))
        assert stream.is_ended
        engine.take_output()
    assert engine.failure is None


def test_resets_that_the_peer_provokes() -> None:
    """The other side of MadeYouReset: it breaks the rules on every stream, and each costs us a reset."""
    engine = start()
    for number in range(100):
        stream = send(engine)
        engine.feed(headers(stream.id, (b"BAD", b"")))
        assert stream.error is not None, number
        engine.take_output()
    assert engine.failure is None
    stream = send(engine)
    engine.feed(window_update(stream.id, 0))
    message = expect_failure(engine, CALM)
    assert "more than 100 streams had to be reset, the last one for a WINDOW_UPDATE of 0 bytes" in message
    assert stream.error is not None


def test_a_bad_response_now_and_then_is_no_attack() -> None:
    engine = start()
    for _ in range(300):
        engine.feed(headers(send(engine).id, ends=True))
        engine.feed(headers(send(engine).id, (b"BAD", b"")))
        engine.take_output()
    assert engine.failure is None


def test_our_own_resets_do_not_count() -> None:
    engine = start()
    for _ in range(5000):
        engine.reset(send(engine))
        engine.take_output()
    assert engine.failure is None


def test_a_bomb() -> None:
    """A block that refers to one large field again and again (RFC 7541 §7.3) is not unpacked."""
    engine = start()
    stream = send(engine)
    field = b"\x40" + block((b"a", b"b" * 3000))[1:]
    payload = b"\x88" + field + b"\xbe" * 16_000
    wire = frame(1, payload[:16_384], stream_id=1) + frame(9, payload[16_384:], flags=4, stream_id=1)
    tracemalloc.start()
    engine.feed(wire)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert "(ENHANCE_YOUR_CALM)" in str(stream.error)
    assert engine.failure is None
    assert peak < 500_000


def test_limits_can_be_set() -> None:
    engine = start(limits=Limits(useless_count=10))
    engine.feed(ping() * 11)
    assert "more than 10 frames" in expect_failure(engine, CALM)
    engine = start(limits=Limits(acknowledgement_count=3))
    engine.feed(ping() * 4)
    assert "more than 3 answers" in expect_failure(engine, CALM)
    engine = start(limits=Limits(continuation_count=2))
    send(engine)
    engine.feed(headers(1, continues=True) + continuation(1, continues=True) * 2)
    assert "more than 2 CONTINUATION" in expect_failure(engine, CALM)
    engine = start(limits=Limits(interim_count=1))
    stream = send(engine)
    engine.feed(headers(1, status=b"100") * 2)
    assert "more than 1 interim" in str(stream.error)
    engine = start(limits=Limits(settings_count=1))
    engine.feed(settings([(9, 1)] * 2))
    assert "more than 1 entries" in expect_failure(engine, CALM)
    engine = start(limits=Limits(provoked_reset_count=0))
    send(engine)
    engine.feed(data(1, b"too early"))
    assert "more than 0 streams" in expect_failure(engine, CALM)
