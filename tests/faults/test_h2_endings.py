"""How HTTP/2 streams and connections end before their time, and what is sent again."""

from __future__ import annotations

import threading
from functools import partial
from typing import Any

import pytest

import httpcore

from ..colours import Colour
from ..peers.http2 import (
    Code,
    Flag,
    HTTP2Peer,
    HTTP2Script,
    Setting,
    Stream,
    Type,
    first_then_serve,
    frame,
    http2,
    serve,
)
from ..peers.scripted import Server
from .h2_meetings import OK, engine_of, expect_answer, fails, meet, post, prior, sized_post
from .rows import row

pytestmark = pytest.mark.usefixtures("nothing_left")

LARGE = b"x" * 300_000


@row("H2F-19")
def test_goaway_that_covers_our_streams(colour: Colour) -> None:
    """They end well; a new request goes over another connection even while they run."""
    is_heard = threading.Event()

    def script(peer: HTTP2Peer) -> None:
        requests = peer.recv_requests(3)
        peer.goaway(requests[-1])
        peer.barrier()
        is_heard.set()
        peer.server.hold()
        for request in requests:
            peer.answer(request, request.path)
        peer.expect_end()

    async def main() -> None:
        with Server(first_then_serve(script)) as server:
            async with prior(colour) as client:

                async def one(i: int) -> None:
                    assert await client.get(server.url(b"/%d" % i)) == b"/%d" % i

                async def late() -> None:
                    while not is_heard.is_set():
                        await colour.pause()
                    assert await client.get(server.url(b"/late")) == b"/late"
                    assert server.accepted == 2
                    server.release.set()

                await colour.gather(*(partial(one, i) for i in range(3)), late)
                assert await client.get(server.url(b"/next")) == b"/next"
                assert server.accepted == 2
                assert await client.states() == ["HTTP/2, IDLE, 0 streams"]

    colour.run(main)


@row("H2F-20")
@pytest.mark.parametrize("code", [Code.NO_ERROR, Code.INTERNAL_ERROR])
def test_goaway_that_leaves_out_a_stream(colour: Colour, code: Code) -> None:
    """What the peer says it has not processed is sent again, a POST too."""

    def script(peer: HTTP2Peer) -> None:
        first, second = peer.recv_requests(2)
        peer.goaway(first, code)
        peer.answer(first, first.path + b"-" + bytes(first.body))
        assert second.id > first.id
        peer.expect_end()

    def respond(peer: HTTP2Peer, request: Stream) -> None:
        peer.answer(request, request.path + b"-" + bytes(request.body))

    others: HTTP2Script = lambda peer: peer.serve(respond)  # noqa: E731

    async def main() -> None:
        first, second = http2(script), http2(others)
        with Server(lambda peer: (first if peer.number == 0 else second)(peer)) as server:
            async with prior(colour) as client:

                async def one(letter: bytes) -> None:
                    response = await client.send(server.url(b"/" + letter), **sized_post(letter))
                    assert await response.read() == b"/" + letter + b"-" + letter

                await colour.gather(lambda: one(b"a"), lambda: one(b"b"))
                assert await client.get(server.url(b"/next")) == b"/next-"
                assert server.accepted == 2

    colour.run(main)


@row("H2F-20")
def test_goaway_and_a_body_that_is_gone(colour: Colour) -> None:
    """What was taken of a stream and is no longer held cannot be sent again: the error says so."""

    def script(peer: HTTP2Peer) -> None:
        request = peer.recv_request(whole=False)
        peer.wait_for_body(request, 200_000)
        peer.goaway(0)
        peer.expect_end()

    async def main() -> None:
        with Server(first_then_serve(script)) as server:
            async with prior(colour) as client:
                fields = [(b"Host", b"h"), (b"Content-Length", b"400000")]
                closed: list[bool] = []
                stream = colour.stream([b"x" * 10_000] * 40, closed)
                exc = await fails(client.send(server.url(), b"POST", fields, stream))
                assert isinstance(exc, httpcore.RemoteProtocolError), exc
                assert exc.request_sent
                assert closed == [True]
                assert await client.get(server.url(b"/next")) == b"/next"
                assert server.accepted == 2

    colour.run(main)


@row("H2F-21")
@pytest.mark.parametrize("method", [b"GET", b"POST"])
def test_goaway_with_an_error(colour: Colour, method: bytes) -> None:
    def script(peer: HTTP2Peer) -> None:
        peer.warm_up()
        request = peer.recv_request()
        peer.goaway(request, Code.ENHANCE_YOUR_CALM, b"too many of them" + b"!" * 10_000)
        peer.close()
        peer.expect_end()

    options = post(b"x") if method == b"POST" else {}
    outcome = colour.run(lambda: meet(colour, script, is_warm=True, **options))
    assert isinstance(outcome.error, httpcore.RemoteProtocolError), outcome
    assert outcome.error.request_sent
    assert "ENHANCE_YOUR_CALM" in str(outcome.error)
    assert "too many of them" in str(outcome.error)
    assert len(str(outcome.error)) < 1000
    assert outcome.accepted == 2


@row("H2F-22")
def test_goaways_that_fall(colour: Colour) -> None:
    """A graceful end: a warning first (RFC 9113 §6.8), then what was really processed."""

    def script(peer: HTTP2Peer) -> None:
        first, second = peer.recv_requests(2)
        peer.goaway(2**31 - 1)
        peer.goaway(second)
        peer.goaway(first)
        peer.answer(first, first.path)
        peer.expect_end()

    async def main() -> None:
        with Server(first_then_serve(script)) as server:
            async with prior(colour) as client:

                async def one(target: bytes) -> None:
                    assert await client.get(server.url(target)) == target

                await colour.gather(lambda: one(b"/a"), lambda: one(b"/b"))
                assert await client.get(server.url(b"/next")) == b"/next"
                assert server.accepted == 2

    colour.run(main)


@row("H2F-23")
@pytest.mark.parametrize("ends", [False, True])
def test_goaway_before_the_first_request(colour: Colour, ends: bool) -> None:
    def script(peer: HTTP2Peer) -> None:
        peer.goaway(0)
        if ends:
            peer.close()
        peer.expect_end()

    async def main() -> None:
        with Server(first_then_serve(script)) as server:
            async with prior(colour, max_connections=1) as client:
                response = await client.send(server.url(b"/a"), **sized_post(b"x"))
                assert await response.read() == b"/a"
                assert await client.get(server.url(b"/next")) == b"/next"
                assert server.accepted == 2

    colour.run(main)


@row("H2F-24")
def test_the_end_without_goaway(colour: Colour) -> None:
    """On a connection that has served, what is idempotent and has no answer yet is sent again; the rest fails."""

    def script(peer: HTTP2Peer) -> None:
        peer.warm_up()
        for request in peer.recv_requests(3):
            if request.path == b"/begun":
                peer.headers(request, OK)
                peer.data(request, b"part")
        peer.close()
        peer.expect_end()

    async def main() -> None:
        with Server(first_then_serve(script)) as server:
            async with prior(colour) as client:
                assert await client.get(server.url()) == b"ok"

                async def get() -> None:
                    assert await client.get(server.url(b"/get")) == b"/get"

                async def upload() -> None:
                    exc = await fails(client.send(server.url(b"/post"), **sized_post(b"x")))
                    assert isinstance(exc, (httpcore.RemoteProtocolError, httpcore.NetworkError))
                    assert exc.request_sent

                async def begun() -> None:
                    response = await client.send(server.url(b"/begun"))
                    assert isinstance(
                        await fails(response.read()), (httpcore.RemoteProtocolError, httpcore.NetworkError)
                    )

                await colour.gather(get, upload, begun)
                assert await client.get(server.url(b"/next")) == b"/next"
                assert server.accepted == 2

    colour.run(main)


@row("H2F-24")
def test_the_end_on_a_fresh_connection(colour: Colour) -> None:
    """Nothing is sent again."""

    def script(peer: HTTP2Peer) -> None:
        peer.recv_request()
        peer.close()
        peer.expect_end()

    outcome = colour.run(lambda: meet(colour, script))
    assert isinstance(outcome.error, httpcore.RemoteProtocolError), outcome
    assert outcome.error.request_sent
    assert outcome.accepted == 2


@row("H2F-29", "HPK-09")
def test_frames_on_a_stream_that_we_reset(colour: Colour) -> None:
    """They are ignored; yet DATA counts for the window, and blocks move the table."""

    def script(peer: HTTP2Peer) -> None:
        given_up = peer.recv_request()
        peer.headers(given_up, OK)
        peer.data(given_up, b"x" * 1000)
        peer.wait_for(lambda: given_up.reset_code is not None, "RST_STREAM")
        assert given_up.reset_code == Code.CANCEL
        request = peer.recv_request()
        for _ in range(20):
            peer.data(given_up, bytes(16_000))
        peer.headers(given_up, [(b"x-new", b"an entry of the table")], ends=True)
        peer.reset(given_up, Code.NO_ERROR)
        peer.send(frame(Type.WINDOW_UPDATE, 0, given_up.id, b"\0\0\0\1"))
        peer.check_window()
        # The next block refers to the entry.
        peer.headers(request, [*OK, (b"x-new", b"an entry of the table")])
        peer.data(request, request.path, ends=True)
        peer.serve()

    async def main() -> None:
        with Server(first_then_serve(script)) as server:
            async with prior(colour) as client:
                response = await client.send(server.url())
                await response.first()
                await response.close()
                response = await client.send(server.url(b"/other"))
                assert (b"x-new", b"an entry of the table") in response.headers
                assert await response.read() == b"/other"
                assert await client.get(server.url(b"/next")) == b"/next"
                assert server.accepted == 1

    colour.run(main)


@row("H2F-31")
@pytest.mark.parametrize("code", [Code.NO_ERROR, Code.CANCEL, Code.REFUSED_STREAM])
@pytest.mark.parametrize("status", [200, 413])
@pytest.mark.parametrize("is_plain", [True, False])
def test_an_early_answer_and_a_reset(colour: Colour, status: int, is_plain: bool, code: Code) -> None:
    """RFC 9113 §8.1: the response counts, and the rest of the upload need not be sent."""

    def script(peer: HTTP2Peer) -> None:
        peer.gives_credit = False
        request = peer.recv_request(whole=False)
        peer.wait_for_body(request, 10_000)
        peer.answer(request, b"enough", status=status)
        peer.reset(request, code)
        peer.barrier()
        assert not request.is_ended
        peer.credit(0, len(request.body))
        peer.gives_credit = True
        peer.serve()

    async def main() -> None:
        with Server(first_then_serve(script)) as server:
            async with prior(colour) as client:
                fields = [(b"Host", b"h"), (b"Content-Length", b"%d" % len(LARGE))]
                closed: list[bool] = []
                stream: Any = httpcore.PlainByteStream(LARGE)
                if not is_plain:
                    stream = colour.stream([LARGE[:10_000]] * 30, closed)
                response = await client.send(server.url(), b"POST", fields, stream)
                assert (response.status, await response.read()) == (status, b"enough")
                assert closed == [True] * (not is_plain)
                assert await client.get(server.url(b"/next")) == b"/next"
                assert server.accepted == 1

    colour.run(main)


@row("H2F-32")
@pytest.mark.parametrize("refusals", [1, 2, 3])
@pytest.mark.parametrize("method", [b"GET", b"POST"])
def test_a_refused_stream_is_sent_again(colour: Colour, method: bytes, refusals: int) -> None:
    """Twice at most."""
    seen: list[bytes] = []

    def respond(peer: HTTP2Peer, request: Stream) -> None:
        seen.append(bytes(request.body))
        if len(seen) <= refusals:
            peer.reset(request, Code.REFUSED_STREAM)
        else:
            peer.answer(request, request.path)

    async def main() -> None:
        with Server(http2(lambda peer: peer.serve(respond))) as server:
            async with prior(colour) as client:
                arguments = sized_post(b"hello") if method == b"POST" else {}
                if refusals < 3:
                    response = await client.send(server.url(b"/a"), **arguments)
                    assert await response.read() == b"/a"
                else:
                    exc = await fails(client.send(server.url(b"/a"), **arguments))
                    assert isinstance(exc, httpcore.RemoteProtocolError)
                    assert "REFUSED_STREAM" in str(exc)
                body = b"hello" if method == b"POST" else b""
                assert seen == [body] * min(3, refusals + 1)
                assert await client.get(server.url(b"/next")) == b"/next"

    colour.run(main)


@row("H2F-32")
@pytest.mark.parametrize("size", [50_000, 500_000])
def test_a_refused_stream_is_sent_again_only_if_its_body_is_at_hand(colour: Colour, size: int) -> None:
    bodies: list[int] = []

    def respond(peer: HTTP2Peer, request: Stream) -> None:
        bodies.append(len(request.body))
        if len(bodies) == 1:
            peer.reset(request, Code.REFUSED_STREAM)
        else:
            peer.answer(request, request.path)

    async def main() -> None:
        with Server(http2(lambda peer: peer.serve(respond))) as server:
            async with prior(colour) as client:
                fields = [(b"Host", b"h"), (b"Content-Length", b"%d" % size)]
                stream = colour.stream([b"x" * 10_000] * (size // 10_000))
                sending = client.send(server.url(b"/a"), b"POST", fields, stream)
                if size < 65_536:
                    assert await (await sending).read() == b"/a"
                    assert bodies == [size, size]
                else:
                    assert isinstance(await fails(sending), httpcore.RemoteProtocolError)
                    assert bodies == [size]
                assert await client.get(server.url(b"/next")) == b"/next"

    colour.run(main)


@row("H2F-32")
def test_nothing_is_sent_again_without_replay(colour: Colour) -> None:
    async def main() -> None:
        seen: list[bytes] = []

        def respond(peer: HTTP2Peer, request: Stream) -> None:
            seen.append(request.path)
            if request.path == b"/a":
                peer.reset(request, Code.REFUSED_STREAM)
            else:
                peer.answer(request, request.path)

        with Server(http2(lambda peer: peer.serve(respond))) as server:
            async with prior(colour, replay=False) as client:
                exc = await fails(client.get(server.url(b"/a")))
                assert isinstance(exc, httpcore.RemoteProtocolError)
                assert await client.get(server.url(b"/next")) == b"/next"
                assert seen == [b"/a", b"/next"]

    colour.run(main)


CODES = [code for code in Code if code not in (Code.REFUSED_STREAM, Code.NO_ERROR)]


@row("H2F-33", "H2F-34", "H2F-35")
@pytest.mark.parametrize("moment", ["before", "inside"])
def test_a_reset_with_another_code(colour: Colour, moment: str) -> None:
    """An error that names the code; what had arrived stays readable; nothing is sent again, even where it could be."""

    def script(peer: HTTP2Peer) -> None:
        peer.warm_up()
        for code in (*CODES, 0x1234_5678):
            request = peer.recv_request()
            assert request.path == b"/%d" % code
            if moment == "inside":
                peer.headers(request, OK)
                peer.data(request, b"part")
            peer.reset(request, code)
        peer.serve()

    async def main() -> None:
        with Server(first_then_serve(script)) as server:
            async with prior(colour) as client:
                assert await client.get(server.url()) == b"ok"
                for code in CODES:
                    await meet_reset(client, server.url(b"/%d" % code), code.name)
                await meet_reset(client, server.url(b"/%d" % 0x1234_5678), None)
                assert await client.get(server.url(b"/next")) == b"/next"
                assert server.accepted == 1

    async def meet_reset(client: Any, url: Any, name: str | None) -> None:
        if moment == "before":
            exc = await fails(client.send(url))
        else:
            reader = (await client.send(url)).reader()
            assert await reader.next() == b"part"
            exc = await fails(reader.next())
        assert isinstance(exc, httpcore.RemoteProtocolError)
        assert exc.request_sent
        if name is not None:
            assert name in str(exc)

    colour.run(main)


@row("H2F-33")
@pytest.mark.parametrize("code", [Code.INTERNAL_ERROR, Code.CANCEL, Code.REFUSED_STREAM])
def test_a_reset_after_the_whole_response(colour: Colour, code: Code) -> None:
    """During an upload as well: the response was whole (RFC 9113 §8.1)."""

    def act(peer: HTTP2Peer, request: Stream) -> None:
        peer.headers(request, [*OK, (b"content-length", b"2")])
        peer.data(request, b"ok", ends=True)
        peer.frame(Type.RST_STREAM, 0, request.id, int(code).to_bytes(4, "big"))

    expect_answer(colour, act)


@row("H2F-25")
def test_stream_numbers_are_used_up(colour: Colour) -> None:
    async def main() -> None:
        with Server(http2(serve)) as server:
            async with prior(colour) as client:
                assert await client.get(server.url(b"/a")) == b"/a"
                engine_of(client)._next_id = 2**31 - 3
                for target in (b"/b", b"/c", b"/next"):
                    assert await client.get(server.url(target)) == target
                assert server.accepted == 2

    colour.run(main)


@row("H2F-30")
@pytest.mark.parametrize("late", ["data", "headers"])
def test_frames_after_the_end(colour: Colour, late: str) -> None:
    def script(peer: HTTP2Peer) -> None:
        request = peer.recv_request()
        other = peer.recv_request()
        head, again = peer.block(OK), peer.block(OK)
        junk = frame(Type.DATA, 0, request.id, b"late")
        if late == "headers":
            junk = frame(Type.HEADERS, Flag.END_HEADERS, request.id, again)
        peer.referee.note_end(request)
        peer.send(
            frame(Type.HEADERS, Flag.END_HEADERS, request.id, head)
            + frame(Type.DATA, Flag.END_STREAM, request.id, request.path)
            + junk
        )
        peer.expect_goaway(Code.STREAM_CLOSED)
        assert not other.is_answered
        peer.expect_end()

    async def main() -> None:
        with Server(first_then_serve(script)) as server:
            async with prior(colour) as client:
                results: list[bytes] = []
                errors: list[str] = []

                async def one() -> None:
                    try:
                        results.append(await client.get(server.url(b"/one")))
                    except httpcore.RemoteProtocolError as exc:
                        errors.append(str(exc))

                await colour.gather(one, one)
                assert results == [b"/one"]
                assert len(errors) == 1
                assert "STREAM_CLOSED" in errors[0]
                assert await client.get(server.url(b"/next")) == b"/next"
                assert server.accepted == 2

    colour.run(main)


@row("H2F-30")
def test_what_may_come_after_the_end(colour: Colour) -> None:
    """These may have been on their way (RFC 9113 §5.1)."""

    def act(peer: HTTP2Peer, request: Stream) -> None:
        peer.answer(request)
        for data in (
            frame(Type.WINDOW_UPDATE, 0, request.id, b"\0\0\0\1"),
            frame(Type.RST_STREAM, 0, request.id, bytes(4)),
            frame(Type.PRIORITY, 0, request.id, bytes(5)),
        ):
            peer.send(data)

    expect_answer(colour, act)


@row("POOL-20")
def test_requests_that_wait_for_a_connection_that_ends(colour: Colour) -> None:
    """The connection is full, others wait for it; it ends, and they go over another one."""

    def script(peer: HTTP2Peer) -> None:
        peer.warm_up({Setting.MAX_CONCURRENT_STREAMS: 1})
        request = peer.recv_request()
        peer.server.hold()
        peer.goaway(request)
        peer.answer(request, request.path)
        peer.expect_end()

    async def main() -> None:
        with Server(first_then_serve(script)) as server:
            async with prior(colour, max_connections=1) as client:
                assert await client.get(server.url()) == b"ok"

                async def one(i: int) -> None:
                    assert await client.get(server.url(b"/%d" % i)) == b"/%d" % i

                async def end() -> None:
                    while client.pool.statistics()["waiting"] < 4:
                        await colour.pause()
                    server.release.set()

                await colour.gather(*(partial(one, i) for i in range(5)), end)
                assert await client.get(server.url(b"/next")) == b"/next"
                assert server.accepted == 2

    colour.run(main)
