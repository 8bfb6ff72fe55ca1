"""Heads, bodies and trailers, well-formed and not (RFC 9113 §8)."""

from __future__ import annotations

import itertools

import pytest

from httpcore._protocols.http2 import Engine, ErrorCode, Limits, Stream
from httpcore._protocols.http2.frames import CONTINUATION, END_HEADERS, END_STREAM, HEADERS

from .driver import (
    Field,
    block,
    body,
    data,
    expect_reset,
    frame,
    headers,
    send,
    splits,
    start,
    take,
)

PROTOCOL_ERROR = ErrorCode.PROTOCOL_ERROR


def answer(wire: bytes, method: bytes = b"GET", *, limits: Limits | None = None) -> tuple[Engine, Stream]:
    """What becomes of stream 1, in whatever pieces its response arrives."""
    outcomes = []
    for pieces in splits(wire):
        engine = start(limits=limits or Limits())
        stream = send(engine, method)
        other = send(engine)
        for piece in pieces:
            engine.feed(piece)
        assert engine.failure is None, engine.failure
        outcome = (stream.head, stream.interim, body(stream), stream.trailers, stream.is_ended)
        outcomes.append((*outcome, str(stream.error)))
        assert outcomes[0] == outcomes[-1], pieces
        # The connection is as good as before.
        output = engine.take_output()
        assert engine.feed(headers(3, ends=True)) == [other]
        assert other.is_ended
        engine.output.put(output)
    return engine, stream


def refuse(
    wire: bytes,
    method: bytes = b"GET",
    *,
    code: ErrorCode = PROTOCOL_ERROR,
    limits: Limits | None = None,
) -> str:
    """It must end stream 1 and nothing else; returns the reason."""
    engine, stream = answer(wire, method, limits=limits)
    expect_reset(engine, 1, code)
    assert not stream.is_ended
    message = str(stream.error)
    prefix = f"The peer broke the rules of HTTP/2 ({code.name}): "
    assert message.startswith(prefix)
    assert message.endswith(".")
    assert len(message) < 300
    return message[len(prefix) : -1]


def accept(wire: bytes, method: bytes = b"GET") -> Stream:
    _, stream = answer(wire, method)
    assert stream.error is None, stream.error
    assert stream.is_ended
    return stream


def head_of(*fields: Field, ends: bool = True) -> bytes:
    """A HEADERS frame with exactly these fields."""
    return headers(1, *fields, status=None, ends=ends)


STATUS = (b":status", b"200")


@pytest.mark.parametrize(
    "fields",
    [
        [],
        [(b"a", b"b")],
        [(b":status", b"200"), (b":status", b"200")],
        [(b":status", b"200"), (b"a", b"b"), (b":status", b"200")],
        [(b"a", b"b"), (b":status", b"200")],
        [(b":status", b"200"), (b":path", b"/")],
        [(b":method", b"GET"), (b":status", b"200")],
        [(b":status", b"200"), (b":unknown", b"")],
        [(b":status", b"200"), (b":", b"")],
        [(b":Status", b"200")],
    ],
)
def test_pseudo_header_fields(fields: list[Field]) -> None:
    refuse(head_of(*fields))


@pytest.mark.parametrize(
    "status",
    [
        b"",
        b"0",
        b"20",
        b"2000",
        b"099",
        b"000",
        b"abc",
        b" 200",
        b"200 ",
        b"+20",
        b"2 0",
        b"1e2",
        b"\xb2\xb3\xb9",
    ],
)
def test_a_status_that_is_no_number_of_three_digits(status: bytes) -> None:
    assert "status" in refuse(head_of((b":status", status)))


def test_101_does_not_exist() -> None:
    assert "101" in refuse(head_of((b":status", b"101"), ends=False))


@pytest.mark.parametrize("status", [200, 204, 299, 304, 404, 421, 503, 600, 999])
def test_any_other_status(status: int) -> None:
    stream = accept(head_of((b":status", b"%d" % status), (b"a", b"")))
    assert stream.head == (status, [(b"a", b"")])


@pytest.mark.parametrize(
    "field",
    [
        (b"Server", b"x"),
        (b"x-Y", b"x"),
        (b"", b"x"),
        (b" ", b"x"),
        (b"a b", b"x"),
        (b"a:", b"x"),
        (b"a\x00", b"x"),
        (b"a\n", b"x"),
        (b"\x7f", b"x"),
        (b"\xe4", b"x"),
        (b"a(", b"x"),
        (b"connection", b"close"),
        (b"keep-alive", b"timeout=5"),
        (b"proxy-connection", b"close"),
        (b"transfer-encoding", b"chunked"),
        (b"upgrade", b"websocket"),
        (b"a", b"x\0y"),
        (b"a", b"x\ry"),
        (b"a", b"x\ny"),
        (b"a", b"x\r\nb: c"),
        (b"a", b"\x01"),
        (b"a", b"\x7f"),
        (b"a", b" x"),
        (b"a", b"x "),
        (b"a", b"\tx"),
        (b"a", b"x\t"),
        (b"a", b" "),
    ],
)
def test_a_field_that_may_not_be(field: Field) -> None:
    """In a final head, an interim one, and in trailers alike."""
    refuse(head_of(STATUS, field))
    refuse(head_of((b":status", b"103"), field, ends=False))
    reason = refuse(headers(1) + data(1, b"x" * 40) + head_of(field))
    assert reason.startswith("trailers with ")


@pytest.mark.parametrize(
    "field",
    [
        (b"a", b""),
        (b"a", b"x\ty z"),
        (b"a", b"\x80\xff"),
        (b"!#$%&'*+-.^_`|~09az", b"x"),
        (b"te", b"trailers"),
    ],
)
def test_a_field_that_may_be(field: Field) -> None:
    assert accept(head_of(STATUS, field)).head == (200, [field])
    assert accept(headers(1) + head_of(field)).trailers == [field]


def test_credentials_are_not_shown() -> None:
    reason = refuse(head_of(STATUS, (b"set-cookie", b"secret\0")))
    assert "secret" not in reason
    assert "set-cookie" in reason


def test_the_list_of_headers_is_the_callers_own() -> None:
    engine = start()
    first, second = send(engine), send(engine)
    for stream in (first, second):
        engine.feed(headers(stream.id, (b"a", b"b")))
        assert stream.head is not None
        assert stream.head.headers == [(b"a", b"b")]
        stream.head.headers.clear()


# Content-Length.


@pytest.mark.parametrize(
    "wire",
    [
        data(1, b"abc", ends=True),
        data(1, b"ab") + data(1, b"c", padding=9, ends=True),
        data(1, b"abc") + data(1, ends=True),
        data(1, b"abc") + headers(1, (b"a", b"b"), status=None, ends=True),
    ],
)
def test_the_right_length(wire: bytes) -> None:
    for values in ([b"3"], [b"3", b"3"], [b"3, 3"], [b"03"], [b"3,3", b"3"]):
        stream = accept(headers(1, *[(b"content-length", value) for value in values]) + wire)
        assert body(stream) == b"abc"


@pytest.mark.parametrize(
    ("wire", "received", "reason"),
    [
        (data(1, b"ab", ends=True), b"ab", "a body 1 bytes shorter than its Content-Length"),
        (data(1, ends=True), b"", "a body 3 bytes shorter than its Content-Length"),
        (data(1, b"ab") + headers(1, status=None, ends=True), b"ab", "a body 1 bytes shorter"),
        (data(1, b"abcd", ends=True), b"", "a body longer than its Content-Length"),
        (data(1, b"ab") + data(1, b"cd"), b"ab", "a body longer than its Content-Length"),
        (data(1, b"abc") + data(1, b"d", padding=0), b"abc", "a body longer than its Content-Length"),
    ],
)
def test_the_wrong_length(wire: bytes, received: bytes, reason: str) -> None:
    wire = headers(1, (b"content-length", b"3")) + wire
    assert refuse(wire).startswith(reason)
    _, stream = answer(wire)
    assert body(stream) == received


def test_a_length_and_nothing_else() -> None:
    assert refuse(headers(1, (b"content-length", b"3"), ends=True)) == (
        "a body 3 bytes shorter than its Content-Length"
    )
    accept(headers(1, (b"content-length", b"0"), ends=True))


@pytest.mark.parametrize(
    "values",
    [[b"+3"], [b"-3"], [b"3 3"], [b""], [b"3", b"4"], [b"3, 4"], [b"3,"], [b"0x3"], [b"3_0"], [b"\xb3"], [b"3.0"],
     [b"9223372036854775808"], [b"9" * 50]],
)  # fmt: skip
def test_a_length_that_is_none(values: list[bytes]) -> None:
    reason = refuse(headers(1, *[(b"content-length", value) for value in values]))
    assert "Content-Length" in reason


@pytest.mark.parametrize(("method", "status"), [(b"HEAD", b"200"), (b"GET", b"204"), (b"GET", b"304")])
def test_where_there_can_be_no_content(method: bytes, status: bytes) -> None:
    """RFC 9113 §8.1.1: its length is what it would have been; the end may come late."""
    length = (b"content-length", b"100")
    for ending in (data(1, ends=True), data(1) + data(1, padding=5, ends=True),
                   headers(1, (b"a", b"b"), status=None, ends=True)):  # fmt: skip
        stream = accept(headers(1, length, status=status) + ending, method)
        assert body(stream) == b""
    accept(headers(1, length, status=status, ends=True), method)
    assert refuse(headers(1, length, status=status) + data(1, b"x"), method) == "a body where there is none"


def test_connect() -> None:
    """RFC 9110 §9.3.6: the length of a tunnel means nothing; that of a refusal does."""
    wire = headers(1, (b"content-length", b"3")) + data(1, b"tunnel", ends=True)
    assert body(accept(wire, b"CONNECT")) == b"tunnel"
    refusal = headers(1, (b"content-length", b"3"), status=b"403")
    refuse(refusal + data(1, b"none", ends=True), b"CONNECT")
    accept(refusal + data(1, b"no!", ends=True), b"CONNECT")


# The order of things.


def test_interim_heads() -> None:
    for count in (1, 16):
        stream = accept(headers(1, (b"a", b"b"), status=b"103") * count + headers(1, ends=True))
        assert stream.interim == [(103, [(b"a", b"b")])] * count
        assert stream.head == (200, [])
    reason = refuse(headers(1, status=b"103") * 17, code=ErrorCode.ENHANCE_YOUR_CALM)
    assert reason == "more than 16 interim responses"


def test_an_interim_head_is_news() -> None:
    engine = start()
    stream = send(engine)
    assert engine.feed(headers(1, status=b"100")) == [stream]
    assert stream.head is None
    assert stream.interim == [(100, [])]


def test_an_interim_head_with_an_end() -> None:
    assert refuse(headers(1, status=b"100", ends=True)) == "a response that ends with a 100"


@pytest.mark.parametrize("before", [b"", headers(1, status=b"100")])
def test_data_before_the_final_head(before: bytes) -> None:
    for wire in (data(1, b"x"), data(1, b"x", ends=True), data(1, ends=True), data(1, b"x", padding=3)):
        assert refuse(before + wire) == "DATA before the head of the response"


def test_trailers() -> None:
    stream = accept(headers(1) + data(1, b"abc") + headers(1, (b"x-sum", b"1"), status=None, ends=True))
    assert body(stream) == b"abc"
    assert stream.trailers == [(b"x-sum", b"1")]
    accept(headers(1) + headers(1, status=None, ends=True))


def test_trailers_that_do_not_end() -> None:
    wire = headers(1) + data(1, b"abc") + headers(1, (b"a", b"b"), status=None)
    assert refuse(wire) == "trailers that do not end the response"
    assert refuse(wire + headers(1, (b"a", b"b"), status=None, ends=True)) == (
        "trailers that do not end the response"
    )


def test_trailers_with_a_status() -> None:
    refuse(headers(1) + data(1, b"abc") + headers(1, ends=True))


def test_all_combinations() -> None:
    """However a response is cut into frames, it is the same response."""
    fields = [(b":status", b"200"), (b"content-length", b"5"), (b"a", b"b" * 30)]
    trailers = [(b"x-sum", b"1")]
    cuts: tuple[int | None, ...] = (None, 0, 7)
    bodies = (
        [b"hello"],
        [b"he", b"llo"],
        [b"", b"h", b"", b"ello", b""],
    )
    for head_cut, body_pieces, padding, trailer_cut, end in itertools.product(
        cuts, bodies, (None, 0, 9), cuts, ("data", "empty data", "trailers")
    ):
        wire = cut_block(block(*fields), head_cut, ends=False)
        for number, piece in enumerate(body_pieces):
            is_last = end == "data" and number == len(body_pieces) - 1
            wire += data(1, piece, padding=padding, ends=is_last)
        if end == "empty data":
            wire += data(1, ends=True)
        elif end == "trailers":
            wire += cut_block(block(*trailers), trailer_cut, ends=True)
        engine = start()
        stream = send(engine)
        engine.feed(wire)
        assert engine.failure is None
        assert stream.error is None, stream.error
        assert stream.head == (200, fields[1:])
        assert take(engine, stream) == b"hello"
        assert [*stream.trailers] == (trailers if end == "trailers" else [])
        assert stream.is_ended


def cut_block(payload: bytes, cut: int | None, *, ends: bool) -> bytes:
    flags = END_STREAM if ends else 0
    if cut is None:
        return frame(HEADERS, payload, flags=flags | END_HEADERS, stream_id=1)
    return frame(HEADERS, payload[:cut], flags=flags, stream_id=1) + frame(
        CONTINUATION, payload[cut:], flags=END_HEADERS, stream_id=1
    )


# Limits.


def test_a_head_larger_than_we_take() -> None:
    """RFC 9113 §10.5.1: the stream ends; what it said is decoded all the same."""
    engine = start()
    stream = send(engine)
    indexed = b"\x40\x01a\x01b"
    large = indexed + block(*[(b"x-%d" % number, b"y" * 4000) for number in range(70)])
    payload = b"\x88" + large
    wire = frame(HEADERS, payload[:16_384], stream_id=1)
    for at in range(16_384, len(payload), 16_384):
        is_last = at + 16_384 >= len(payload)
        wire += frame(
            CONTINUATION, payload[at : at + 16_384], flags=END_HEADERS if is_last else 0, stream_id=1
        )
    assert engine.feed(wire) == [stream]
    expect_reset(engine, 1, ErrorCode.ENHANCE_YOUR_CALM)
    assert "262144 bytes" in str(stream.error)
    following = send(engine)
    engine.feed(frame(HEADERS, b"\x88\xbe", flags=END_HEADERS, stream_id=3))
    assert following.head == (200, [(b"a", b"b")])


def test_more_fields_than_we_take() -> None:
    limits = Limits(field_count=10)
    assert answer(head_of(STATUS, *[(b"a", b"b")] * 9), limits=limits)[1].is_ended
    reason = refuse(head_of(STATUS, *[(b"a", b"b")] * 10), limits=limits, code=ErrorCode.ENHANCE_YOUR_CALM)
    assert reason.startswith("more than 10 fields")
    refuse(headers(1) + head_of(*[(b"a", b"b")] * 11), limits=limits, code=ErrorCode.ENHANCE_YOUR_CALM)


def test_a_list_larger_than_we_take() -> None:
    limits = Limits(header_list_size=1000)
    field = (b"a", b"b" * 100)
    assert answer(head_of(STATUS, *[field] * 7), limits=limits)[1].is_ended
    refuse(head_of(STATUS, *[field] * 8), limits=limits, code=ErrorCode.ENHANCE_YOUR_CALM)


def test_421_is_a_response() -> None:
    """RFC 9110 §15.5.20: whoever asked may ask elsewhere; nothing is done behind his back."""
    assert accept(head_of((b":status", b"421"))).head == (421, [])
