"""HTTP/2 frames: each that a server may not send, and each that it may."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import pytest

import httpcore

from ..colours import Colour
from ..peers.http2 import (
    Code,
    Flag,
    Frame,
    HTTP2Peer,
    Setting,
    Stream,
    Type,
    first_then_serve,
    frame,
    http2,
    literal,
    serve,
    settings_payload,
)
from ..peers.scripted import Peer, Server
from .h2_meetings import (
    OK,
    Act,
    expect_answer,
    expect_connection_error,
    fails,
    meet,
    post,
    prior,
    sized_post,
)
from .rows import row

pytestmark = pytest.mark.usefixtures("nothing_left")

HEAD = literal(b":status", b"200")

PING = frame(Type.PING, 0, 0, bytes(8))


def raw(*frames: bytes) -> Act:
    """Send frames as they are."""
    return lambda peer, request: peer.send(b"".join(frames))


def after_head(*frames: bytes) -> Act:
    """Send frames after a head that leaves the response open."""
    return raw(frame(Type.HEADERS, Flag.END_HEADERS, 1, HEAD), *frames)


def settings(*pairs: tuple[int, int]) -> Act:
    return raw(frame(Type.SETTINGS, 0, 0, settings_payload(pairs)))


def _too_long(kind: int, stream_id: int, start: bytes = b"") -> Act:
    def act(peer: HTTP2Peer, request: Stream) -> None:
        limit = peer.referee.client_settings.get(Setting.MAX_FRAME_SIZE, 16_384)
        peer.headers(request, OK)
        peer.send(frame(kind, Flag.END_HEADERS, stream_id, start.ljust(limit + 1, b"\0")))

    return act


INTERRUPTIONS = {
    "data": frame(Type.DATA, 0, 1, b"x"),
    "headers": frame(Type.HEADERS, Flag.END_HEADERS, 1, HEAD),
    "priority": frame(Type.PRIORITY, 0, 1, bytes(5)),
    "reset": frame(Type.RST_STREAM, 0, 1, bytes(4)),
    "settings": frame(Type.SETTINGS),
    "ping": PING,
    "goaway": frame(Type.GOAWAY, 0, 0, bytes(8)),
    "window": frame(Type.WINDOW_UPDATE, 0, 1, b"\0\0\0\1"),
    "other": frame(Type.CONTINUATION, Flag.END_HEADERS, 3, b""),
    "unknown": frame(0x42, 0, 1, b""),
}

CONNECTION_ERRORS: dict[str, list[tuple[Code, Act]]] = {
    "H2F-03": [
        (Code.FRAME_SIZE_ERROR, _too_long(kind, stream_id, start))
        for kind, stream_id, start in (
            (Type.DATA, 1, b""), (Type.HEADERS, 1, HEAD), (Type.SETTINGS, 0, b""), (0x42, 0, b""),
        )
    ],
    "H2F-04": [
        (Code.FRAME_SIZE_ERROR, after_head(frame(kind, flags, stream_id, bytes(size))))
        for kind, flags, stream_id, sizes in (
            (Type.PING, 0, 0, (0, 7, 9)),
            (Type.RST_STREAM, 0, 1, (0, 3, 5)),
            (Type.WINDOW_UPDATE, 0, 0, (0, 3, 5)),
            (Type.WINDOW_UPDATE, 0, 1, (3, 5)),
            (Type.SETTINGS, 0, 0, (1, 5, 7)),
            (Type.SETTINGS, Flag.ACK, 0, (6,)),
            (Type.GOAWAY, 0, 0, (0, 7)),
        )
        for size in sizes
    ],
    "H2F-05": [
        (Code.PROTOCOL_ERROR, raw(data))
        for data in (
            frame(Type.DATA, 0, 0, b"x"),
            frame(Type.HEADERS, Flag.END_HEADERS, 0, HEAD),
            frame(Type.PRIORITY, 0, 0, bytes(5)),
            frame(Type.RST_STREAM, 0, 0, bytes(4)),
            frame(Type.CONTINUATION, 0, 0, b""),
            frame(Type.SETTINGS, 0, 1, b""),
            frame(Type.PING, 0, 1, bytes(8)),
            frame(Type.GOAWAY, 0, 1, bytes(8)),
        )
    ],
    "H2F-07": [
        (Code.PROTOCOL_ERROR, raw(frame(Type.HEADERS, 0, 1, HEAD), data)) for data in INTERRUPTIONS.values()
    ],
    "H2F-08": [
        (Code.PROTOCOL_ERROR, act)
        for act in (
            raw(frame(Type.CONTINUATION, Flag.END_HEADERS, 1, HEAD)),
            after_head(frame(Type.CONTINUATION, Flag.END_HEADERS, 1, b"")),
            after_head(frame(Type.DATA, 0, 1, b"x"), frame(Type.CONTINUATION, Flag.END_HEADERS, 1, b"")),
            raw(frame(Type.HEADERS, 0, 1, HEAD), frame(Type.CONTINUATION, Flag.END_HEADERS, 3, b"")),
        )
    ],
    "H2F-09": [
        (Code.PROTOCOL_ERROR, act)
        for act in (
            after_head(frame(Type.DATA, Flag.PADDED, 1, b"\x01")),
            after_head(frame(Type.DATA, Flag.PADDED, 1, b"\x05abcd")),
            after_head(frame(Type.DATA, Flag.PADDED, 1, b"\xff" + bytes(254))),
            raw(frame(Type.HEADERS, Flag.PADDED | Flag.END_HEADERS, 1, bytes((len(HEAD) + 1,)) + HEAD)),
        )
    ],
    "H2F-10": [
        (Code.PROTOCOL_ERROR, settings((Setting.ENABLE_PUSH, 1))),
        (Code.PROTOCOL_ERROR, settings((Setting.ENABLE_PUSH, 2))),
        (Code.FLOW_CONTROL_ERROR, settings((Setting.INITIAL_WINDOW_SIZE, 2**31))),
        (Code.PROTOCOL_ERROR, settings((Setting.MAX_FRAME_SIZE, 0))),
        (Code.PROTOCOL_ERROR, settings((Setting.MAX_FRAME_SIZE, 16_383))),
        (Code.PROTOCOL_ERROR, settings((Setting.MAX_FRAME_SIZE, 2**24))),
    ],
    "H2F-22": [
        (
            Code.PROTOCOL_ERROR,
            raw(frame(Type.GOAWAY, 0, 0, bytes(3) + b"\1" + bytes(4)), frame(Type.GOAWAY, 0, 0, bytes(3) + b"\3" + bytes(4))),
        )
    ],
    "H2F-26": [
        (Code.PROTOCOL_ERROR, raw(frame(Type.PUSH_PROMISE, Flag.END_HEADERS, 1, b"\0\0\0\2" + HEAD))),
        (Code.PROTOCOL_ERROR, raw(frame(Type.PUSH_PROMISE, Flag.END_HEADERS, 0, b"\0\0\0\2" + HEAD))),
    ],
    "H2F-27": [
        (Code.PROTOCOL_ERROR, raw(frame(Type.HEADERS, Flag.END_HEADERS, stream_id, HEAD)))
        for stream_id in (2, 3, 2**31 - 1)
    ],
    "H2F-28": [
        (Code.PROTOCOL_ERROR, raw(data))
        for data in (
            frame(Type.DATA, 0, 3, b"x"),
            frame(Type.RST_STREAM, 0, 3, bytes(4)),
            frame(Type.WINDOW_UPDATE, 0, 3, b"\0\0\0\1"),
            frame(Type.DATA, 0, 2, b"x"),
            frame(Type.RST_STREAM, 0, 2, bytes(4)),
            frame(Type.WINDOW_UPDATE, 0, 2, b"\0\0\0\1"),
        )
    ],
}  # fmt: skip


@row(*CONNECTION_ERRORS)
@pytest.mark.parametrize("row_id", CONNECTION_ERRORS)
def test_what_ends_the_connection(row_id: str, colour: Colour) -> None:
    for code, act in CONNECTION_ERRORS[row_id]:
        expect_connection_error(colour, act, code)


def _answer_among(*frames: bytes) -> Act:
    """Send frames before, in the middle of and after a good response."""

    def act(peer: HTTP2Peer, request: Stream) -> None:
        junk = b"".join(frames)
        peer.send(junk)
        peer.headers(request, OK)
        peer.send(junk)
        peer.data(request, b"ok", ends=True)
        peer.send(junk)

    return act


IGNORED: dict[str, list[bytes]] = {
    "H2F-06": [
        *(frame(kind, flags, stream_id, b"junk") for kind in (0x0B, 0x0D, 0x0F, 0x1F, 0x42, 0xFF) for flags in (0, 0xFF) for stream_id in (0, 1, 3, 98)),
        # Flags without a meaning, and the reserved bit.
        frame(Type.PING, 0xFE, 0, bytes(8)),
        frame(Type.SETTINGS, 0xFE, 0, b""),
        frame(Type.WINDOW_UPDATE, 0xFF, 0, b"\0\0\0\1"),
        frame(Type.WINDOW_UPDATE, 0, 0x80000000, b"\x80\0\0\1"),
        frame(Type.PING, 0, 0x80000000, bytes(8)),
    ],
    "H2F-11": [
        frame(Type.SETTINGS, 0, 0, settings_payload((key, 0xFFFFFFFF) for key in (0, 7, 8, 9, 0x10, 0xFFFF))),
    ],
    "H2F-17": [frame(Type.PING, Flag.ACK, 0, b"whatever")],
    "H2F-36": [
        frame(Type.PRIORITY, 0, 1, bytes(5)),
        frame(Type.PRIORITY, 0, 1, b"\0\0\0\1\xff"),
        frame(Type.PRIORITY, 0, 9, b"\x80\0\0\x07\0"),
        frame(Type.ALTSVC, 0, 0, b"\0\x01hh2=\":1\""),
        frame(Type.ALTSVC, 0, 1, b"\0\0h2=\":1\""),
        frame(Type.ALTSVC, 0, 0, b"\xff"),
        frame(Type.ORIGIN, 0, 0, b"\0\x08http://h"),
        frame(Type.ORIGIN, 0xFF, 5, b"\xff\xff"),
        frame(Type.PRIORITY_UPDATE, 0, 0, b"\0\0\0\1u=0"),
        frame(Type.PRIORITY_UPDATE, 0, 0, b""),
    ],
}  # fmt: skip


@row(*IGNORED)
@pytest.mark.parametrize("row_id", IGNORED)
def test_what_is_ignored(row_id: str, colour: Colour) -> None:
    def act(peer: HTTP2Peer, request: Stream) -> None:
        peer.referee.knows_what_was_sent = False
        _answer_among(*IGNORED[row_id])(peer, request)

    expect_answer(colour, act)


@row("H2F-03")
def test_the_longest_frame_that_we_allow(colour: Colour) -> None:
    def act(peer: HTTP2Peer, request: Stream) -> None:
        size = peer.referee.client_settings.get(Setting.MAX_FRAME_SIZE, 16_384)
        peer.headers(request, OK)
        peer.data(request, b"x" * size, ends=True)

    def script(peer: HTTP2Peer) -> None:
        act(peer, peer.recv_request())
        peer.serve()

    outcome = colour.run(lambda: meet(colour, script))
    assert outcome.error is None
    assert set(outcome.body) == set(b"x")
    assert len(outcome.body) >= 16_384


@row("H2F-04")
def test_a_priority_frame_of_another_length(colour: Colour) -> None:
    """RFC 9113 makes that an error of the stream; ending the connection would do as well (§5.4.2)."""

    def script(peer: HTTP2Peer) -> None:
        request = peer.recv_request()
        peer.headers(request, OK)
        peer.frame(Type.PRIORITY, 0, request.id, bytes(4))
        peer.wait_for(
            lambda: request.reset_code is not None or peer.referee.goaway is not None, "an end of the stream"
        )
        codes = (request.reset_code, peer.referee.goaway and peer.referee.goaway.code)
        assert Code.FRAME_SIZE_ERROR in codes
        peer.serve()

    outcome = colour.run(lambda: meet(colour, script))
    assert isinstance(outcome.error, httpcore.RemoteProtocolError)


@row("H2F-01")
@pytest.mark.parametrize(
    "first",
    [
        PING,
        frame(Type.SETTINGS, Flag.ACK),
        frame(Type.WINDOW_UPDATE, 0, 0, b"\0\0\0\1"),
        frame(Type.HEADERS, Flag.END_HEADERS, 1, HEAD),
        frame(0x42),
    ],
    ids=["ping", "acknowledgement", "window", "headers", "unknown"],
)
def test_settings_come_first(colour: Colour, first: bytes) -> None:
    def script(peer: HTTP2Peer) -> None:
        peer.step()
        peer.send(first)
        peer.expect_goaway(Code.PROTOCOL_ERROR)
        peer.expect_end()

    outcome = colour.run(lambda: meet(colour, script, greets=False))
    assert isinstance(outcome.error, httpcore.RemoteProtocolError), outcome
    assert "SETTINGS" in str(outcome.error)
    assert outcome.accepted == 2


@row("H2F-02")
@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.0 505 HTTP Version Not Supported\r\n\r\n<html>",
    ],
)
def test_the_server_speaks_http_1(colour: Colour, answer: bytes) -> None:
    def script(peer: Peer) -> None:
        if peer.number == 0:
            peer.recv_until(b"SM\r\n\r\n")
            peer.send(answer)
            peer.half_close()
            peer.recv_to_end()
        else:
            http2(serve)(peer)

    async def main() -> None:
        with Server(script) as server:
            async with prior(colour) as client:
                exc = await fails(client.get(server.url()))
                assert isinstance(exc, httpcore.RemoteProtocolError), exc
                assert "HTTP/1" in str(exc)
                assert await client.get(server.url(b"/next")) == b"/next"

    colour.run(main)


@row("H2F-09")
def test_the_longest_padding(colour: Colour) -> None:
    def act(peer: HTTP2Peer, request: Stream) -> None:
        peer.headers(request, OK, padding=255)
        peer.data(request, b"abc", padding=255)
        peer.data(request, b"", padding=255)
        peer.data(request, b"def", padding=0)
        peer.headers(request, [(b"t", b"v")], ends=True, padding=255)

    expect_answer(colour, act, b"abcdef")


@row("H2F-10")
@pytest.mark.parametrize(
    ("pairs", "code"),
    [
        ([(Setting.ENABLE_PUSH, 1)], Code.PROTOCOL_ERROR),
        ([(Setting.INITIAL_WINDOW_SIZE, 2**32 - 1)], Code.FLOW_CONTROL_ERROR),
        ([(Setting.MAX_FRAME_SIZE, 0)], Code.PROTOCOL_ERROR),
    ],
)
def test_forbidden_values_at_once(colour: Colour, pairs: Sequence[tuple[int, int]], code: Code) -> None:
    def script(peer: HTTP2Peer) -> None:
        peer.frame(Type.SETTINGS, payload=settings_payload(pairs))
        peer.expect_goaway(code)
        peer.expect_end()

    outcome = colour.run(lambda: meet(colour, script, greets=False, **post(b"x" * 100_000)))
    assert isinstance(outcome.error, httpcore.RemoteProtocolError), outcome
    assert code.name in str(outcome.error)
    assert outcome.accepted == 2


@row("H2F-11")
def test_the_last_of_repeated_settings_counts(colour: Colour) -> None:
    def script(peer: HTTP2Peer) -> None:
        warm = peer.recv_request()
        pairs = [(Setting.INITIAL_WINDOW_SIZE, 60_000), (Setting.INITIAL_WINDOW_SIZE, 5)]
        peer.referee.note_settings({Setting.INITIAL_WINDOW_SIZE: 5})
        peer.frame(Type.SETTINGS, payload=settings_payload(pairs))
        peer.barrier()
        peer.answer(warm)
        peer.gives_credit = False
        request = peer.recv_request(whole=False)
        peer.wait_for_body(request, 5)
        peer.barrier()
        assert len(request.body) == 5
        peer.gives_credit = True
        peer.credit(request, 40_000)
        peer.wait_for(lambda: request.is_ended, "the end of the upload")
        peer.answer(request, b"%d" % len(request.body))
        peer.serve()

    outcome = colour.run(lambda: meet(colour, script, is_warm=True, **post(b"x" * 40_000)))
    assert outcome.error is None
    assert outcome.body == b"40000"
    assert outcome.accepted == 1


@row("H2F-12")
def test_windows_move_with_the_setting(colour: Colour) -> None:
    """Two uploads; the initial window shrinks below what they have used, then grows."""

    def script(peer: HTTP2Peer) -> None:
        peer.warm_up({Setting.INITIAL_WINDOW_SIZE: 100})
        peer.gives_credit = False
        first, second = (peer.recv_request(whole=False) for _ in range(2))
        for request in (first, second):
            peer.wait_for_body(request, 100)
        peer.settings({Setting.INITIAL_WINDOW_SIZE: 50})
        peer.barrier()
        peer.credit(first, 60)
        peer.wait_for_body(first, 110)
        peer.barrier()
        assert (len(first.body), len(second.body)) == (110, 100)
        peer.settings({Setting.INITIAL_WINDOW_SIZE: 10_000})
        for request in (first, second):
            peer.wait_for(lambda: request.is_ended, "the end of the upload")
            peer.answer(request, bytes(request.body))
        peer.gives_credit = True
        peer.serve()

    async def main() -> None:
        with Server(first_then_serve(script)) as server:
            async with prior(colour, max_connections=1) as client:
                assert await client.get(server.url()) == b"ok"

                async def upload(letter: bytes) -> None:
                    response = await client.send(server.url(), **sized_post(letter * 1000))
                    assert await response.read() == letter * 1000

                await colour.gather(lambda: upload(b"a"), lambda: upload(b"b"))
                assert await client.get(server.url(b"/next")) == b"/next"
                assert server.accepted == 1

    colour.run(main)


@row("H2F-13", "HPK-08")
def test_the_table_that_the_peer_allows(colour: Colour) -> None:
    """The `hpack` package refuses a block that does not begin with the change it is owed."""
    sizes = [0, 4096, 100, 65_536, 0, 50]
    field = (b"x-field", b"a value of some length")

    def script(peer: HTTP2Peer) -> None:
        for size in sizes:
            request = peer.recv_request()
            peer.settings({Setting.HEADER_TABLE_SIZE: size})
            peer.barrier()
            peer.answer(request, request.path)
            for _ in range(2):
                request = peer.recv_request()
                assert field in request.fields
                assert peer.referee.decoder.header_table.maxsize <= size
                peer.answer(request, request.path)
        peer.serve()

    async def main() -> None:
        with Server(first_then_serve(script)) as server:
            async with prior(colour) as client:
                for target in (*(b"/%d" % i for i in range(3 * len(sizes))), b"/next"):
                    response = await client.send(server.url(target), headers=[(b"Host", b"h"), field])
                    assert await response.read() == target
                assert server.accepted == 1

    colour.run(main)


@row("H2F-14")
def test_how_many_streams_the_peer_takes(colour: Colour) -> None:
    """None while one runs, then three, then one though three run: requests wait, and none fails."""
    count = 8

    def script(peer: HTTP2Peer) -> None:
        request = peer.recv_request()
        peer.settings({Setting.MAX_CONCURRENT_STREAMS: 0})
        peer.headers(request, OK)
        peer.barrier()
        opened = list(peer.referee.opened)
        peer.server.hold()
        peer.barrier()
        assert list(peer.referee.opened) == opened
        peer.settings({Setting.MAX_CONCURRENT_STREAMS: 3})
        peer.data(request, request.path, ends=True)
        running = peer.recv_requests(3)
        peer.settings({Setting.MAX_CONCURRENT_STREAMS: 1})
        peer.barrier()
        for request in running:
            peer.answer(request, request.path)
        for _ in range(2):
            request = peer.recv_request()
            peer.barrier()
            assert not peer.referee.opened
            peer.answer(request, request.path)
        peer.settings({Setting.MAX_CONCURRENT_STREAMS: 100})
        peer.serve()

    async def main() -> None:
        with Server(first_then_serve(script)) as server:
            async with prior(colour, max_connections=1) as client:
                response = await client.send(server.url(b"/first"))

                async def first() -> None:
                    assert await response.read() == b"/first"

                async def one(i: int) -> None:
                    assert await client.get(server.url(b"/%d" % i)) == b"/%d" % i

                async def release() -> None:
                    while client.pool.statistics()["waiting"] < count:
                        await colour.pause()
                    server.release.set()

                await colour.gather(first, *(partial(one, i) for i in range(count)), release)
                assert await client.get(server.url(b"/next")) == b"/next"
                assert server.accepted == 1
                assert client.pool.statistics()["waiting"] == 0

    colour.run(main)


@row("H2F-14")
def test_a_peer_that_takes_none_at_all(colour: Colour) -> None:
    """While nothing runs, nobody reads on and hears of a change: the connection is looked at, or replaced."""

    def script(peer: HTTP2Peer) -> None:
        peer.warm_up({Setting.MAX_CONCURRENT_STREAMS: 0})
        peer.expect_end()

    async def main() -> None:
        with Server(first_then_serve(script)) as server:
            async with prior(colour, max_connections=1) as client:
                assert await client.get(server.url()) == b"ok"

                async def one(i: int) -> None:
                    assert await client.get(server.url(b"/%d" % i)) == b"/%d" % i

                await colour.gather(*(partial(one, i) for i in range(4)))
                assert await client.get(server.url(b"/next")) == b"/next"
                assert server.accepted == 2

    colour.run(main)


@row("H2F-15")
def test_settings_that_are_never_acknowledged(colour: Colour) -> None:
    def script(peer: HTTP2Peer) -> None:
        peer.acknowledges_settings = False
        peer.serve(lambda peer, request: peer.answer_soon(request, request.path * 300_000))

    async def main() -> None:
        with Server(http2(script)) as server:
            async with prior(colour) as client:
                for _ in range(3):
                    assert await client.get(server.url(b"/abc")) == b"/abc" * 300_000
                assert server.accepted == 1

    colour.run(main)


@row("H2F-16")
def test_a_ping_is_answered_though_no_window_is_open(colour: Colour) -> None:
    def script(peer: HTTP2Peer) -> None:
        peer.warm_up({Setting.INITIAL_WINDOW_SIZE: 0})
        peer.gives_credit = False
        request = peer.recv_request(whole=False)
        for payload in (b"12345678", b"\0\xff\0\xff\0\xff\0\xff"):
            peer.referee.note_ping(payload)
            peer.frame(Type.PING, 0, 0, payload)
            answer = Frame(Type.PING, Flag.ACK, 0, payload)
            peer.wait_for(lambda: peer.frames[-1] == answer, "the answer to a PING")
        assert not request.body
        peer.gives_credit = True
        peer.credit(request, 100)
        peer.wait_for(lambda: request.is_ended, "the end of the upload")
        peer.answer(request, bytes(request.body))
        peer.serve()

    outcome = colour.run(lambda: meet(colour, script, is_warm=True, **post(b"hello")))
    assert outcome.body == b"hello"
    assert outcome.accepted == 1


@row("H2F-18")
def test_a_peer_that_falls_silent(colour: Colour) -> None:
    def script(peer: HTTP2Peer) -> None:
        peer.answers_pings = False
        first, _ = peer.recv_requests(2)
        peer.headers(first, OK)
        peer.expect_end()
        assert any(sent.type == Type.PING for sent in peer.frames)

    async def main() -> None:
        with Server(first_then_serve(script)) as server:
            async with prior(colour, ping_interval=0.1, ping_timeout=0.4, max_connections=1) as client:

                async def one() -> None:
                    exc = await fails(client.get(server.url()))
                    assert "PING" in str(exc)

                await colour.gather(one, one)
                assert await client.get(server.url(b"/next")) == b"/next"
                assert server.accepted == 2

    colour.run(main)


@row("H2F-18")
def test_a_peer_that_answers_pings_is_waited_for(colour: Colour) -> None:
    def script(peer: HTTP2Peer) -> None:
        request = peer.recv_request()
        for _ in range(3):
            peer.wait_for(lambda: peer.frames[-1].type == Type.PING, "a PING")
            peer.frames.clear()
            peer.step()
        peer.answer(request)
        peer.serve()

    async def main() -> None:
        with Server(first_then_serve(script)) as server:
            async with prior(colour, ping_interval=0.02, ping_timeout=5.0) as client:
                assert await client.get(server.url()) == b"ok"
                assert await client.get(server.url(b"/next")) == b"/next"
                assert server.accepted == 1

    colour.run(main)
