"""The states of a stream: what each input leads to in each of them, all listed (RFC 9113 §5.1)."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import SupportsIndex

import pytest

from httpcore._protocols.http2 import Engine, ErrorCode, Limits, Stream
from httpcore._protocols.http2.frames import DATA, END_STREAM, RST_STREAM
from httpcore._protocols.http2.streams import Stage

from .driver import (
    block,
    body,
    data,
    expect_failure,
    expect_reset,
    frame,
    goaway,
    headers,
    reset,
    send,
    sent,
    settings,
    start,
    window_update,
)

# Every state, and how to get there.


def in_state(state: str) -> tuple[Engine, Stream]:
    engine = start([(4, 2**16)])
    words = state.split()
    stream = send(engine, b"POST", ends="local" in words or words[0] in ("closed", "reset"))
    if "body" in words:
        engine.feed(headers(1) + data(1, b"x" * 40))
    elif "ended" in words or words[0] == "closed":
        engine.feed(headers(1) + data(1, b"x" * 40, ends=True))
    if state == "reset by us":
        engine.reset(stream)
    elif state == "reset by peer":
        engine.feed(reset(1))
    elif state == "reset for a fault":
        engine.feed(data(1, b"too early"))
    elif state == "reset, forgotten":
        engine = start(limits=Limits(remembered_reset_count=1))
        stream = send(engine)
        engine.reset(stream)
        engine.reset(send(engine))
    engine.take_output()
    return engine, stream


OPEN = ("head", "body", "head local", "body local")
STATES = (
    *OPEN,
    "ended",
    "closed",
    "reset by us",
    "reset by peer",
    "reset for a fault",
    "reset, forgotten",
)

INPUTS: dict[str, Callable[[Engine, Stream], object]] = {
    # From the peer.
    "interim head": lambda engine, stream: engine.feed(headers(1, status=b"103")),
    "head": lambda engine, stream: engine.feed(headers(1)),
    "head, end": lambda engine, stream: engine.feed(headers(1, ends=True)),
    "trailers": lambda engine, stream: engine.feed(headers(1, (b"a", b"b"), status=None, ends=True)),
    "data": lambda engine, stream: engine.feed(data(1, b"y" * 50)),
    "data, end": lambda engine, stream: engine.feed(data(1, b"y" * 50, ends=True)),
    "empty data, end": lambda engine, stream: engine.feed(data(1, ends=True)),
    "padded data": lambda engine, stream: engine.feed(data(1, b"y" * 50, padding=3)),
    "reset": lambda engine, stream: engine.feed(reset(1, ErrorCode.INTERNAL_ERROR)),
    "reset without error": lambda engine, stream: engine.feed(reset(1, ErrorCode.NO_ERROR)),
    "window": lambda engine, stream: engine.feed(window_update(1, 5)),
    "no window": lambda engine, stream: engine.feed(window_update(1, 0)),
    "too much window": lambda engine, stream: engine.feed(window_update(1, 2**31 - 1)),
    "priority": lambda engine, stream: engine.feed(frame(2, b"12345", stream_id=1)),
    "goaway above": lambda engine, stream: engine.feed(goaway(1)),
    "goaway below": lambda engine, stream: engine.feed(goaway(0)),
    "connection error": lambda engine, stream: engine.feed(window_update(0, 0)),
    "end of input": lambda engine, stream: engine.feed(b""),
    # From the caller.
    "send": lambda engine, stream: engine.send_data(stream, b"z"),
    "send, end": lambda engine, stream: engine.send_data(stream, b"z", ends=True),
    "finish": lambda engine, stream: engine.send_data(stream, b"", ends=True),
    "give up": lambda engine, stream: engine.reset(stream),
    "fail": lambda engine, stream: engine.fail(OSError("broken")),
}


HEAD, BODY, ENDED, GONE = Stage.HEAD, Stage.BODY, Stage.ENDED, Stage.GONE

PROTOCOL = "RST_STREAM PROTOCOL_ERROR"
CLOSED = "RST_STREAM STREAM_CLOSED"
FLOW = "RST_STREAM FLOW_CONTROL_ERROR"
CANCEL = "RST_STREAM CANCEL"
BROKEN = "GOAWAY PROTOCOL_ERROR"
DEAD = "GOAWAY STREAM_CLOSED"

# Input -> state -> stage, what its exchange hears of, and what was answered. Where the result depends on `is_sent` in no way but carrying it on, "head" stands
# for "head local" too, and so on.
TABLE: dict[str, dict[str, tuple[Stage, str, str]]] = {
    "interim head": {
        "head": (HEAD, "", ""),
        "body": (GONE, "error", PROTOCOL),
        "ended": (GONE, "stop", CLOSED),
    },
    "head": {
        "head": (BODY, "", ""),
        "body": (GONE, "error", PROTOCOL),
        "ended": (GONE, "stop", CLOSED),
    },
    "head, end": {
        "head": (ENDED, "", ""),
        "body": (GONE, "error", PROTOCOL),
        "ended": (GONE, "stop", CLOSED),
    },
    "trailers": {
        "head": (GONE, "error", PROTOCOL),
        "body": (ENDED, "", ""),
        "ended": (GONE, "stop", CLOSED),
    },
    "data": {"head": (GONE, "error", PROTOCOL), "body": (BODY, "", ""), "ended": (GONE, "stop", CLOSED)},
    "data, end": {
        "head": (GONE, "error", PROTOCOL),
        "body": (ENDED, "", ""),
        "ended": (GONE, "stop", CLOSED),
    },
    "empty data, end": {
        "head": (GONE, "error", PROTOCOL),
        "body": (ENDED, "", ""),
        "ended": (GONE, "stop", CLOSED),
    },
    "padded data": {
        "head": (GONE, "error", PROTOCOL),
        "body": (BODY, "", ""),
        "ended": (GONE, "stop", CLOSED),
    },
    "reset": {"head": (GONE, "error", ""), "body": (GONE, "error", ""), "ended": (GONE, "stop", "")},
    "reset without error": {
        "head": (GONE, "error", ""),
        "body": (GONE, "error", ""),
        "ended": (GONE, "stop", ""),
    },
    "window": {"head": (HEAD, "", ""), "body": (BODY, "", ""), "ended": (ENDED, "", "")},
    "no window": {
        "head": (GONE, "error", PROTOCOL),
        "body": (GONE, "error", PROTOCOL),
        "ended": (GONE, "stop", PROTOCOL),
    },
    "too much window": {
        "head": (GONE, "error", FLOW),
        "body": (GONE, "error", FLOW),
        "ended": (GONE, "stop", FLOW),
    },
    "priority": {"head": (HEAD, "", ""), "body": (BODY, "", ""), "ended": (ENDED, "", "")},
    "goaway above": {"head": (HEAD, "", ""), "body": (BODY, "", ""), "ended": (ENDED, "", "")},
    "goaway below": {
        "head": (GONE, "error refused", ""),
        "body": (GONE, "error", ""),
        "ended": (GONE, "stop", ""),
    },
    "connection error": {
        "head": (GONE, "error", BROKEN),
        "body": (GONE, "error", BROKEN),
        "ended": (GONE, "stop", BROKEN),
    },
    "end of input": {"head": (GONE, "error", ""), "body": (GONE, "error", ""), "ended": (GONE, "stop", "")},
    "give up": {"head": (GONE, "", CANCEL), "body": (GONE, "", CANCEL), "ended": (GONE, "", CANCEL)},
    "fail": {"head": (GONE, "error", ""), "body": (GONE, "error", ""), "ended": (GONE, "stop", "")},
}

# On a stream that is closed, its stage stays what it is. What the connection makes of it:
LATE: dict[str, dict[str, str]] = {
    name: {
        "closed": DEAD,
        "reset by us": "",
        "reset by peer": CLOSED,
        "reset for a fault": "",
        "reset, forgotten": "",
    }
    for name in (
        "interim head",
        "head",
        "head, end",
        "trailers",
        "data",
        "data, end",
        "empty data, end",
        "padded data",
    )
}
LATE |= {name: dict.fromkeys(STATES, "") for name in INPUTS if name not in LATE}
LATE["connection error"] = dict.fromkeys(STATES, BROKEN)


def answer_of(engine: Engine) -> str:
    for found in sent(engine):
        code = int.from_bytes(found.payload[-4:], "big")
        if found.kind == RST_STREAM:
            assert found.stream_id == 1
            return f"RST_STREAM {ErrorCode(code).name}"
    if engine.failure is not None and "HTTP/2 (" in str(engine.failure):
        return "GOAWAY " + str(engine.failure).split("(")[1].split(")")[0]
    return ""


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("name", INPUTS)
def test_every_input_in_every_state(name: str, state: str) -> None:
    engine, stream = in_state(state)
    was_sent, stage = stream.is_sent, stream.stage
    error, stops = stream.error, stream.stops_upload
    if name.startswith(("send", "finish")):
        check_sending(engine, stream, name, state)
        return
    news = INPUTS[name](engine, stream)
    assert stream.is_sent == was_sent
    if state in OPEN or state == "ended":
        expected_stage, outcome, answer = TABLE[name][state.removesuffix(" local")]
        assert stream.stage is expected_stage
        assert answer_of(engine) == answer
        assert (stream.error is not None) == ("error" in outcome)
        assert stream.is_refused == ("refused" in outcome)
        assert stream.stops_upload == ("stop" in outcome)
        assert stream.is_ended == (state == "ended" or expected_stage is ENDED)
        is_open = expected_stage in (HEAD, BODY) or (expected_stage is ENDED and not was_sent)
        assert engine.streams == ({1: stream} if is_open else {})
        if outcome:
            assert news == [stream]
    else:
        assert stream.stage is stage
        assert stream.error is error
        assert stream.stops_upload is stops
        assert answer_of(engine) == LATE[name][state]
        assert engine.streams == {}
        assert news in (None, [])
        if state == "reset by peer" and LATE[name][state] == CLOSED:
            # It is told once.
            assert INPUTS[name](engine, stream) == []
            assert answer_of(engine) == ""
    is_broken = bool(LATE[name].get(state) == DEAD or name in ("connection error", "end of input", "fail"))
    assert (engine.failure is not None) == is_broken


def check_sending(engine: Engine, stream: Stream, name: str, state: str) -> None:
    content, ends = {"send": (b"z", False), "send, end": (b"z", True), "finish": (b"", True)}[name]
    if stream.is_sent:
        with pytest.raises(RuntimeError, match="has ended"):
            INPUTS[name](engine, stream)
        assert not engine.output.size
        return
    taken = INPUTS[name](engine, stream)
    assert state in ("head", "body", "ended")
    assert taken == len(content)
    assert sent(engine) == [(DATA, END_STREAM * ends, 1, content)]
    assert stream.is_sent == ends
    assert engine.streams == ({} if ends and state == "ended" else {1: stream})


def test_sending_on_a_stream_that_is_gone() -> None:
    """Whoever sends may not have heard yet: nothing is taken, and nothing is sent."""
    ends: list[Callable[[Engine, Stream], object]] = [
        lambda engine, stream: engine.feed(reset(1)),
        lambda engine, stream: engine.reset(stream),
        lambda engine, stream: engine.feed(b""),
        lambda engine, stream: engine.feed(data(1, b"too early")),
    ]
    for end in ends:
        engine = start()
        stream = send(engine, b"POST", ends=False)
        end(engine, stream)
        engine.take_output()
        assert engine.send_data(stream, b"x", ends=True) == 0
        assert engine.send_data(stream, b"", ends=True) == 0
        assert not engine.output.size
        assert not stream.is_sent


def test_what_follows_the_end_of_the_response() -> None:
    """RFC 9113 §5.1: WINDOW_UPDATE, PRIORITY and RST_STREAM may; nothing else may."""
    engine = start()
    stream = send(engine)
    engine.feed(headers(1, ends=True))
    engine.feed(window_update(1, 5) + frame(2, b"12345", stream_id=1) + reset(1, ErrorCode.NO_ERROR))
    assert engine.failure is None
    assert stream.error is None
    assert not stream.stops_upload
    engine.feed(data(1, b""))
    assert "stream 1, which has ended" in expect_failure(engine, ErrorCode.STREAM_CLOSED)


def test_late_frames_on_a_stream_that_we_have_reset() -> None:
    """DATA counts against both windows, as far as the stream's own was open."""
    engine = start()
    stream = send(engine)
    engine.feed(headers(1) + data(1, bytes(1000)))
    engine.reset(stream)
    assert not stream.data
    rest = 2**20 - 1000
    while rest > 16_384:
        engine.feed(data(1, bytes(16_384)))
        rest -= 16_384
    assert engine.failure is None
    assert not stream.data
    engine.feed(data(1, bytes(rest)))
    engine.feed(headers(1, (b"a", b"b"), status=None, ends=True))
    engine.feed(window_update(1, 1) + reset(1))
    assert engine.failure is None
    engine.feed(data(1, b"x"))
    expect_failure(engine, ErrorCode.FLOW_CONTROL_ERROR)


def test_no_bytes_of_a_frame_reach_a_stream_that_was_reset_within_it() -> None:
    engine = start()
    stream = send(engine)
    wire = headers(1) + data(1, b"a" * 100)
    engine.feed(wire[:-50])
    assert body(stream) == b"a" * 50
    engine.reset(stream)
    assert engine.feed(wire[-50:] + settings()) == []
    assert body(stream) == b""
    assert engine.failure is None


def test_memory_of_resets_is_bounded() -> None:
    engine = start(limits=Limits(remembered_reset_count=10))
    for _ in range(100):
        engine.reset(send(engine))
    assert len(engine._resets) == 10
    # The older ones are forgotten: anything might be meant for them.
    engine.feed(data(1, b"x" * 100) + headers(3) + headers(1, (b"a", b"b"), status=None))
    assert engine.failure is None
    engine.feed(data(199, b"x" * 100))
    assert engine.failure is None


def test_what_was_received_before_a_reset_stays() -> None:
    """RFC 9113 §5.4.2 ends the stream, not what its caller has already got."""
    for before, text in (
        (settings(), "before its response"),
        (headers(1), "in the middle of its response"),
        (headers(1) + data(1, b"half"), "in the middle of its response"),
    ):
        engine = start()
        stream = send(engine)
        engine.feed(before)
        assert engine.feed(reset(1, ErrorCode.INTERNAL_ERROR)) == [stream]
        assert str(stream.error) == f"The peer reset the stream {text} (INTERNAL_ERROR)."
        assert body(stream) == (b"half" if b"half" in before else b"")
        assert not stream.is_ended
        assert not stream.is_refused


def test_a_reset_with_a_code_that_nobody_knows() -> None:
    engine = start()
    stream = send(engine)
    engine.feed(reset(1, 0xFFFFFFFF))
    assert "(unknown error code 0xffffffff)" in str(stream.error)


def test_a_refusal() -> None:
    engine = start()
    first, second, third = (send(engine) for _ in range(3))
    engine.feed(headers(3, status=b"103") + headers(5))
    engine.feed(b"".join(reset(stream.id, ErrorCode.REFUSED_STREAM) for stream in (first, second, third)))
    assert first.is_refused
    assert str(first.error) == "The peer refused the request (REFUSED_STREAM)."
    # Whoever has answered has processed it, whatever it says now.
    assert not second.is_refused
    assert not third.is_refused
    assert engine.is_usable


def test_http_1_1_required() -> None:
    engine = start()
    stream = send(engine)
    engine.feed(reset(1, ErrorCode.HTTP_1_1_REQUIRED))
    assert str(stream.error) == "The peer wants HTTP/1.1 for this request (HTTP_1_1_REQUIRED)."
    assert not stream.is_refused


def test_a_complete_response_and_a_reset_without_error_stop_the_upload() -> None:
    """RFC 9113 §8.1."""
    engine = start()
    stream = send(engine, b"POST", ends=False)
    assert engine.send_data(stream, bytes(100_000)) == 65_535
    wire = headers(1, status=b"413") + data(1, b"too large", ends=True) + reset(1, ErrorCode.NO_ERROR)
    assert engine.feed(wire) == [stream]
    assert stream.is_ended
    assert stream.stops_upload
    assert stream.error is None
    assert body(stream) == b"too large"
    assert engine.streams == {}


def test_stream_ids_run_out() -> None:
    engine = start()
    engine._next_id = 2**31 - 3
    first = send(engine)
    assert engine.is_usable
    second = send(engine)
    assert (first.id, second.id) == (2**31 - 3, 2**31 - 1)
    assert not engine.is_usable
    assert engine.capacity == 0
    engine.feed(settings([(3, 5)]))
    assert engine.capacity == 0
    with pytest.raises(RuntimeError):
        send(engine)
    engine.feed(headers(first.id, ends=True) + headers(second.id, ends=True))
    assert first.is_ended
    assert second.is_ended


def test_a_fault_of_one_stream_leaves_the_others_alone() -> None:
    engine = start()
    first, second = send(engine), send(engine)
    engine.feed(data(1, b"too early"))
    expect_reset(engine, 1, ErrorCode.PROTOCOL_ERROR)
    assert str(first.error) == (
        "The peer broke the rules of HTTP/2 (PROTOCOL_ERROR): DATA before the head of the response."
    )
    assert engine.feed(headers(3, ends=True)) == [second]
    assert second.is_ended
    assert engine.is_usable


def test_reset_is_idempotent() -> None:
    engine = start()
    stream = send(engine)
    engine.reset(stream, ErrorCode.NO_ERROR)
    expect_reset(engine, 1, ErrorCode.NO_ERROR)
    engine.reset(stream)
    complete = send(engine)
    engine.feed(headers(3) + data(3, b"x", ends=True))
    engine.reset(complete)
    assert not engine.output.size
    assert body(complete) == b""


def test_the_last_piece_may_be_taken_while_it_grows() -> None:
    """Its reader is another thread, and does not take the lock."""
    taken: list[bytes] = []

    class Contested(deque[bytes]):
        def __getitem__(self, index: SupportsIndex, /) -> bytes:  # type: ignore[override]
            (piece,) = self
            taken.append(self.popleft())
            return piece

    stream = Stream()
    stream.data = Contested([b"a"])
    stream.append(b"b")
    assert b"".join(taken) + body(stream) == b"ab"


def test_a_block_is_a_head_or_trailers_by_where_it_stands() -> None:
    """Also if the decoder remembers it from the other place."""
    engine = start()
    payload = block((b":status", b"200"), (b"a", b"b"))
    for _ in range(3):
        stream = send(engine)
        wire = frame(1, payload, flags=4, stream_id=stream.id)
        engine.feed(wire)
        assert stream.head == (200, [(b"a", b"b")])
        engine.feed(frame(1, payload, flags=5, stream_id=stream.id))
        assert "pseudo-header" in str(stream.error)
    regular = block((b"a", b"b"))
    for _ in range(3):
        stream = send(engine)
        engine.feed(headers(stream.id) + frame(1, regular, flags=5, stream_id=stream.id))
        assert stream.trailers == [(b"a", b"b")]
        other = send(engine)
        engine.feed(frame(1, regular, flags=4, stream_id=other.id))
        assert "without :status" in str(other.error)
