"""HTTP/2 fields: what a response may not say, what it may, and what we send."""

from __future__ import annotations

import itertools

import pytest

import httpcore

from ..colours import Colour
from ..peers.http2 import (
    Code,
    Field,
    Flag,
    HTTP2Peer,
    Setting,
    Stream,
    Type,
    first_then_serve,
    http2,
    literal,
)
from ..peers.scripted import Server
from .h2_meetings import OK, Act, expect_answer, expect_stream_error, fails, meet, prior, sized_post
from .rows import row

pytestmark = pytest.mark.usefixtures("nothing_left")

STATUS = (b":status", b"200")


def head(*fields: Field) -> Act:
    """A whole response with this head, and `ok`."""

    def act(peer: HTTP2Peer, request: Stream) -> None:
        peer.headers(request, block=b"".join(literal(*field) for field in fields))
        peer.frame(Type.DATA, Flag.END_STREAM, request.id, b"ok")
        peer.referee.note_data(request, 2)

    return act


def with_field(name: bytes, value: bytes = b"v") -> Act:
    return head(STATUS, (name, value))


def body(length: bytes, *pieces: bytes, status: bytes = b"200") -> Act:
    """A response whose content-length says one thing and whose DATA another."""

    def act(peer: HTTP2Peer, request: Stream) -> None:
        peer.headers(request, [(b":status", status), (b"content-length", length)], ends=not pieces)
        for i, piece in enumerate(pieces, 1):
            peer.referee.note_data(request, len(piece))
            peer.frame(Type.DATA, Flag.END_STREAM * (i == len(pieces)), request.id, piece)

    return act


def trailers(*fields: Field, ends: bool = True, again: bool = False) -> Act:
    def act(peer: HTTP2Peer, request: Stream) -> None:
        peer.headers(request, OK)
        peer.data(request, b"ok")
        flags = Flag.END_HEADERS | Flag.END_STREAM * ends
        peer.frame(Type.HEADERS, flags, request.id, b"".join(literal(*field) for field in fields))
        if again:
            peer.frame(Type.HEADERS, Flag.END_HEADERS | Flag.END_STREAM, request.id, literal(b"t", b"v"))

    return act


def interim(count: int, *, status: bytes = b"103", ends: bool = False, data: bool = False) -> Act:
    def act(peer: HTTP2Peer, request: Stream) -> None:
        flags = Flag.END_HEADERS | Flag.END_STREAM * ends
        for _ in range(count):
            peer.frame(Type.HEADERS, flags, request.id, literal(b":status", status))
        if data:
            peer.referee.note_data(request, 1)
            peer.frame(Type.DATA, 0, request.id, b"x")
        if not ends:
            peer.headers(request, OK)

    return act


def data_first(peer: HTTP2Peer, request: Stream) -> None:
    peer.data(request, b"ok")
    peer.headers(request, OK, ends=False)


MALFORMED: dict[str, list[Act]] = {
    "H2H-01": [
        head((b"a", b"b")),
        head(STATUS, STATUS),
        head((b"a", b"b"), STATUS),
        head(STATUS, (b"a", b"b"), (b":status", b"200")),
        with_field(b":unknown"),
        with_field(b":"),
        with_field(b":method", b"GET"),
        with_field(b":path", b"/"),
        with_field(b":scheme", b"http"),
        with_field(b":authority", b"h"),
        with_field(b":protocol", b"x"),
    ],
    "H2H-02": [
        head((b":status", value))
        for value in (b"", b"20", b"2000", b"20x", b" 200", b"+20", b"2\x000", b"-20", "٢٠٠".encode(), b"101", b"099", b"000", b"0200", b"200 OK")
    ],
    "H2H-03": [
        with_field(name, value)
        for name, value in (
            (b"A", b"b"), (b"content-Length", b"2"), (b"connection", b"close"), (b"connection", b"x"), (b"keep-alive", b"x"),
            (b"proxy-connection", b"x"), (b"transfer-encoding", b"chunked"), (b"upgrade", b"h2c"),
        )
    ],
    "H2H-04": [
        *(with_field(b"a", value) for value in (b"b\0c", b"b\rc", b"b\nc", b"b\r\nc: d", b" b", b"b ", b"\tb", b"b\t", b"\n")),
        *(with_field(name) for name in (b"", b"a b", b"a\0", b"a\r\nb", b"a:b", b"a\x7f", b"\xff", b"a\t", b" a", b"a(b")),
    ],
    "H2H-05": [
        body(b"3", b"ok"), body(b"1", b"ok"), body(b"0", b"ok"), body(b"2", b"o", b"k", b"!"), body(b"5"), body(b"2", b""),
    ],
    "H2H-06": [
        *(body(value, b"ok") for value in (b"+2", b"-2", b"2a", b"0x2", b"", b"2,3", b"9223372036854775808", "٢".encode(), b"2 2")),
        head(STATUS, (b"content-length", b"2"), (b"content-length", b"3")),
    ],
    "H2H-08": [data_first],
    "H2H-09": [interim(1, ends=True), interim(1, data=True), interim(1, status=b"100", ends=True)],
    "H2H-10": [
        trailers((b"t", b"v"), ends=False),
        trailers(STATUS),
        trailers((b"t", b"v"), (b":path", b"/")),
        trailers((b"t", b"v"), ends=False, again=True),
        trailers((b"T", b"v")),
        trailers((b"t", b"v\n")),
        trailers((b"connection", b"close")),
    ],
}  # fmt: skip


@row(*MALFORMED)
@pytest.mark.parametrize("row_id", MALFORMED)
def test_malformed_responses(row_id: str, colour: Colour) -> None:
    for act in MALFORMED[row_id]:
        expect_stream_error(colour, act)


@row("H2H-09")
@pytest.mark.parametrize("count", [17, 500])
def test_a_flood_of_interim_heads(colour: Colour, count: int) -> None:
    expect_stream_error(colour, interim(count), Code.ENHANCE_YOUR_CALM, Code.PROTOCOL_ERROR)


ACCEPTED: dict[str, list[tuple[Act, int, bytes]]] = {
    "H2H-02": [(head((b":status", b"%d" % status)), status, b"ok") for status in (299, 404, 599, 600, 999)],
    "H2H-04": [
        (with_field(b"a", b"\x80\xff"), 200, b"ok"),
        (with_field(b"a", b""), 200, b"ok"),
        (with_field(b"a", b"b \t c"), 200, b"ok"),
        (with_field(b"!#$%&'*+-.^_`|~09az"), 200, b"ok"),
    ],
    "H2H-05": [(body(b"2", b"ok"), 200, b"ok"), (body(b"2", b"o", b"", b"k"), 200, b"ok"), (body(b"2", b"ok", b""), 200, b"ok")],
    "H2H-06": [
        (head(STATUS, (b"content-length", b"2"), (b"content-length", b"2")), 200, b"ok"),
        (body(b"2, 2", b"ok"), 200, b"ok"),
        (body(b"002", b"ok"), 200, b"ok"),
    ],
    "H2H-07": [
        (body(b"5", status=b"204"), 204, b""),
        (body(b"5", status=b"304"), 304, b""),
        (body(b"5", b"", status=b"304"), 304, b""),
        (body(b"0", b""), 200, b""),
        (body(b"0"), 200, b""),
    ],
}  # fmt: skip


@row(*ACCEPTED)
@pytest.mark.parametrize("row_id", ACCEPTED)
def test_good_responses(row_id: str, colour: Colour) -> None:
    for act, status, content in ACCEPTED[row_id]:
        expect_answer(colour, act, content, status=status)


@row("H2H-07")
@pytest.mark.parametrize("has_data", [False, True])
def test_a_length_without_a_body(colour: Colour, has_data: bool) -> None:
    act = body(b"5", *[b""] * has_data)
    outcome = expect_answer(colour, act, b"", method=b"HEAD")
    assert (b"content-length", b"5") in outcome.headers


@row("H2H-09")
def test_interim_heads(colour: Colour) -> None:
    def act(peer: HTTP2Peer, request: Stream) -> None:
        for status in (b"100", b"102", b"103", b"199"):
            peer.headers(request, [(b":status", status), (b"link", b"x")])
        peer.answer(request)

    outcome = expect_answer(colour, act)
    assert not any(name == b"link" for name, _ in outcome.headers)


@row("H2H-11")
def test_every_way_to_cut_a_response(colour: Colour) -> None:
    """Head whole or in CONTINUATIONs, with or without interim heads, DATA, padding, trailers, an empty end."""
    fields = [(b"x-%d" % i, b"v" * i) for i in range(8)]
    flags = (False, True)
    ways = list(
        itertools.product(
            flags, (16_384, 1, 7), ((), (b"ok",), (b"o", b"k"), (b"o", b"", b"k")), flags, flags
        )
    )

    def respond(peer: HTTP2Peer, request: Stream) -> None:
        if request.path == b"/next":
            peer.answer(request, request.path)
            return
        has_interim, cut, pieces, has_trailers, has_padding = ways[int(request.path[1:])]
        padding = 9 if has_padding else None
        if has_interim:
            peer.headers(request, [(b":status", b"103"), *fields], cut=cut)
        has_end = not pieces and not has_trailers
        peer.headers(request, [*OK, *fields], cut=cut, padding=padding, ends=has_end)
        for i, piece in enumerate(pieces, 1):
            # The end in a frame of its own, or with the last piece.
            is_last = i == len(pieces) and not has_trailers
            peer.data(request, piece, padding=padding, ends=is_last and has_padding)
            if is_last and not has_padding:
                peer.data(request, b"", ends=True)
        if has_trailers:
            peer.headers(request, [(b"t", b"v"), *fields], cut=cut, ends=True)

    async def main() -> None:
        with Server(http2(lambda peer: peer.serve(respond))) as server:
            async with prior(colour) as client:
                for i, (_, _, pieces, has_trailers, _) in enumerate(ways):
                    response = await client.send(server.url(b"/%d" % i))
                    assert response.status == 200
                    assert response.headers == fields
                    assert response.ext == {"http_version": "HTTP/2"}
                    assert await response.read() == b"".join(pieces)
                    assert response.stream.trailers == ([(b"t", b"v"), *fields] if has_trailers else [])
                assert await client.get(server.url(b"/next")) == b"/next"
                assert server.accepted == 1

    colour.run(main)


@row("H2H-12", "H2H-13")
def test_what_is_sent(colour: Colour) -> None:
    """The referee refuses upper case, a Host field and fields of a connection, so this is about what is left."""
    sent: list[Field] = [
        (b"Accept", b"*/*"),
        (b"Connection", b"keep-alive, X-Hop"),
        (b"X-Hop", b"gone"),
        (b"HOST", b"example.org:81"),
        (b"Keep-Alive", b"timeout=5"),
        (b"Proxy-Connection", b"keep-alive"),
        (b"Transfer-Encoding", b"chunked"),
        (b"Upgrade", b"h2c"),
        (b"X-Twice", b"1"),
        (b"x-twice", b"2"),
    ]
    expected = [(b"accept", b"*/*"), (b"x-twice", b"1"), (b"x-twice", b"2")]
    seen: list[Stream] = []

    def respond(peer: HTTP2Peer, request: Stream) -> None:
        seen.append(request)
        peer.answer(request, request.path)

    async def main() -> None:
        with Server(http2(lambda peer: peer.serve(respond))) as server:
            async with prior(colour) as client:
                for te in ([(b"TE", b"trailers")], [(b"TE", b"trailers, gzip")], [(b"te", b"gzip")], []):
                    response = await client.send(
                        server.url(b"/a?b#c"), b"POST", [*sent, *te], colour.stream([b"x"])
                    )
                    await response.read()
                response = await client.send(server.url(), headers=[])
                await response.read()
                assert await client.get(server.url(b"/next")) == b"/next"
                assert server.accepted == 1

                for request in seen[:4]:
                    assert dict(request.fields)[b":authority"] == b"example.org:81"
                    assert (request.method, request.path) == (b"POST", b"/a?b#c")
                    assert dict(request.fields)[b":scheme"] == b"http"
                    rest = [field for field in request.fields if field[0][:1] != b":" and field[0] != b"te"]
                    assert rest == expected
                    assert bytes(request.body) == b"x"
                tes = [[value for name, value in request.fields if name == b"te"] for request in seen[:4]]
                assert tes[0] == [b"trailers"]
                assert all(te in ([], [b"trailers"]) for te in tes[1:3])
                assert tes[3] == []
                assert dict(seen[4].fields)[b":authority"] == b"127.0.0.1:%d" % server.port

    colour.run(main)


@row("H2H-12", "H2H-13")
@pytest.mark.parametrize(
    "fields",
    [
        [(b"Host", b"a"), (b"Host", b"b")],
        [(b"Host", b"a b")],
        [(b"Host", b"h"), (b"a b", b"c")],
        [(b"Host", b"h"), (b"a", b"b\r\nc: d")],
        [(b"Host", b"h"), (b"a", b"b\0")],
        [(b"Host", b"h"), (b"", b"b")],
        [(b"Host", b"h"), (b":path", b"/other")],
        [(b"Host", b"h"), (b"Content-Length", b"1"), (b"Content-Length", b"2")],
        [(b"Host", b"h"), (b"Content-Length", b"+1")],
    ],
)
def test_what_cannot_be_sent(colour: Colour, fields: list[Field]) -> None:
    async def main() -> None:
        with Server(http2(lambda peer: peer.serve())) as server:
            async with prior(colour) as client:
                assert await client.get(server.url(b"/a")) == b"/a"
                exc = await fails(client.send(server.url(), headers=fields))
                assert isinstance(exc, httpcore.LocalProtocolError)
                assert exc.request_sent is False
                assert await client.get(server.url(b"/next")) == b"/next"
                assert server.accepted == 1

    colour.run(main)


@row("H2H-05")
@pytest.mark.parametrize("content", [b"short", b"much too long"])
def test_a_body_that_does_not_match_its_length(colour: Colour, content: bytes) -> None:
    """The caller's own mistake: the stream is reset, so that the server does not take it for whole."""

    def script(peer: HTTP2Peer) -> None:
        request = peer.recv_request(whole=False)
        peer.wait_for(lambda: request.reset_code is not None, "RST_STREAM")
        assert not request.is_ended
        peer.serve()

    async def main() -> None:
        with Server(first_then_serve(script)) as server:
            async with prior(colour) as client:
                fields = [(b"Host", b"h"), (b"Content-Length", b"8")]
                exc = await fails(client.send(server.url(), b"POST", fields, colour.stream([content])))
                assert isinstance(exc, httpcore.LocalProtocolError)
                assert await client.get(server.url(b"/next")) == b"/next"
                assert server.accepted == 1

    colour.run(main)


@row("H2H-14")
def test_a_head_larger_than_the_peer_takes(colour: Colour) -> None:
    """The sum of RFC 9113 §6.5.2 counts; the referee checks that what is sent stays below."""

    def script(peer: HTTP2Peer) -> None:
        peer.warm_up({Setting.MAX_HEADER_LIST_SIZE: 1_000})
        peer.serve()

    async def main() -> None:
        with Server(first_then_serve(script)) as server:
            async with prior(colour) as client:
                assert await client.get(server.url()) == b"ok"
                for size in (100, 400, 700, 800, 900, 1_000, 5_000, 500):
                    fields = [(b"Host", b"h"), (b"a", b"x" * size)]
                    total = (
                        size
                        + 33
                        + sum(
                            len(name) + len(value) + 32
                            for name, value in (
                                (b":method", b"GET"),
                                (b":scheme", b"http"),
                                (b":authority", b"h"),
                                (b":path", b"/a"),
                            )
                        )
                    )
                    sending = client.send(server.url(b"/a"), headers=fields)
                    if total > 1_000:
                        exc = await fails(sending)
                        assert isinstance(exc, httpcore.LocalProtocolError)
                        assert exc.request_sent is False
                        assert "1000" in str(exc) or "1,000" in str(exc)
                    else:
                        assert await (await sending).read() == b"/a"
                assert await client.get(server.url(b"/next")) == b"/next"
                assert server.accepted == 1

    colour.run(main)


@row("H2H-15")
def test_a_head_beyond_our_limit(colour: Colour) -> None:
    """The one stream ends; the table has moved on, and the next block needs it."""

    def script(peer: HTTP2Peer) -> None:
        request = peer.recv_request()
        entry = (b"x-late", b"an entry of the table")
        peer.headers(request, [*OK, *((b"x-%d" % i, b"v" * 3_000) for i in range(100)), entry])
        peer.wait_for(lambda: request.reset_code is not None, "RST_STREAM")
        request = peer.recv_request()
        peer.headers(request, [*OK, entry])
        peer.data(request, request.path, ends=True)
        peer.serve()

    async def main() -> None:
        with Server(first_then_serve(script)) as server:
            async with prior(colour) as client:
                exc = await fails(client.send(server.url()))
                assert isinstance(exc, httpcore.RemoteProtocolError)
                assert "262144" in str(exc).replace(",", "") or "256 KiB" in str(exc)
                response = await client.send(server.url(b"/b"))
                assert (b"x-late", b"an entry of the table") in response.headers
                assert await response.read() == b"/b"
                assert await client.get(server.url(b"/next")) == b"/next"
                assert server.accepted == 1

    colour.run(main)


@row("H2H-15")
def test_more_fields_than_our_limit(colour: Colour) -> None:
    def act(peer: HTTP2Peer, request: Stream) -> None:
        peer.headers(request, [*OK, *((b"a", b"b") for _ in range(1_001))])

    def script(peer: HTTP2Peer) -> None:
        request = peer.recv_request()
        act(peer, request)
        peer.wait_for(lambda: request.reset_code is not None, "RST_STREAM")
        peer.serve()

    outcome = colour.run(lambda: meet(colour, script))
    assert isinstance(outcome.error, httpcore.RemoteProtocolError)
    assert "1000" in str(outcome.error).replace(",", "")
    assert outcome.accepted == 1


@row("H2H-16")
def test_misdirected(colour: Colour) -> None:
    """421 is passed on; two names of one server have a connection each."""

    def respond(peer: HTTP2Peer, request: Stream) -> None:
        peer.answer(request, request.path, status=421 if request.path == b"/odd" else 200)

    async def main() -> None:
        with Server(http2(lambda peer: peer.serve(respond))) as server:
            async with prior(colour, resolver=lambda host, port: ["127.0.0.1"]) as client:
                for host in (b"a.example", b"b.example"):
                    response = await client.send((b"http", host, server.port, b"/odd"))
                    assert (response.status, await response.read()) == (421, b"/odd")
                assert server.accepted == 2
                assert await client.get((b"http", b"a.example", server.port, b"/next")) == b"/next"
                assert server.accepted == 2

    colour.run(main)


@row("H2H-11")
def test_a_list_of_the_callers_own(colour: Colour) -> None:
    """What a caller does to its headers changes nobody else's, though the block is the same."""

    async def main() -> None:
        with Server(http2(lambda peer: peer.serve())) as server:
            async with prior(colour) as client:
                for _ in range(3):
                    response = await client.send(server.url(b"/next"))
                    assert response.headers == [(b"content-length", b"5")]
                    response.headers.append((b"mine", b"x"))
                    assert await response.read() == b"/next"
                arguments = sized_post(b"x")
                for _ in range(3):
                    response = await client.send(server.url(b"/next"), **arguments)
                    arguments["headers"].append((b"More", b"y"))
                    assert await response.read() == b"/next"

    colour.run(main)
