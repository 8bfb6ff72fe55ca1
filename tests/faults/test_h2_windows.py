"""HTTP/2 flow control, both ways."""

from __future__ import annotations

from functools import partial

import pytest

import httpcore

from ..colours import Colour
from ..peers.http2 import Code, HTTP2Peer, Setting, Stream, Type, first_then_serve, frame, http2
from ..peers.scripted import Server
from .h2_meetings import (
    OK,
    engine_of,
    expect_answer,
    expect_connection_error,
    expect_stream_error,
    fails,
    meet,
    post,
    prior,
    sized_post,
)
from .rows import row

pytestmark = pytest.mark.usefixtures("nothing_left")

LARGE = bytes(range(256)) * 4000

LARGEST = (2**31 - 1).to_bytes(4, "big")


@row("H2W-01")
@pytest.mark.parametrize("is_plain", [True, False])
def test_an_upload_larger_than_the_windows(colour: Colour, is_plain: bool) -> None:
    """Credit comes in odd amounts, for the stream and the connection in turn."""

    def script(peer: HTTP2Peer) -> None:
        peer.gives_credit = False
        request = peer.recv_request(whole=False)
        size = 1
        while not request.is_ended:
            peer.step()
            while request.allowance < 100 and not request.is_ended:
                peer.credit(request, size)
                size = size * 3 % 50_021
            if peer.referee.allowance < 100:
                peer.credit(0, 7_001)
        peer.answer(request, bytes(request.body))
        peer.gives_credit = True
        peer.credit(0, 65_535)
        peer.serve()

    async def main() -> None:
        with Server(first_then_serve(script)) as server:
            async with prior(colour) as client:
                arguments = sized_post(LARGE)
                if not is_plain:
                    arguments["stream"] = colour.stream(
                        [LARGE[i : i + 30_001] for i in range(0, len(LARGE), 30_001)]
                    )
                response = await client.send(server.url(), **arguments)
                assert await response.read() == LARGE
                assert await client.get(server.url(b"/next")) == b"/next"
                assert server.accepted == 1

    colour.run(main)


@row("H2W-02")
def test_credit_of_nothing(colour: Colour) -> None:
    nothing = bytes(4)
    expect_connection_error(
        colour, lambda peer, request: peer.frame(Type.WINDOW_UPDATE, 0, 0, nothing), Code.PROTOCOL_ERROR
    )
    expect_stream_error(colour, lambda peer, request: peer.frame(Type.WINDOW_UPDATE, 0, request.id, nothing))


@row("H2W-03")
def test_a_window_beyond_the_largest(colour: Colour) -> None:
    expect_connection_error(
        colour, lambda peer, request: peer.frame(Type.WINDOW_UPDATE, 0, 0, LARGEST), Code.FLOW_CONTROL_ERROR
    )
    expect_stream_error(
        colour,
        lambda peer, request: peer.frame(Type.WINDOW_UPDATE, 0, request.id, LARGEST),
        Code.FLOW_CONTROL_ERROR,
    )


@row("H2W-03")
def test_a_setting_that_takes_a_window_beyond_the_largest(colour: Colour) -> None:
    """RFC 9113 §6.9.2: that is an error of the connection."""

    def act(peer: HTTP2Peer, request: Stream) -> None:
        peer.frame(Type.WINDOW_UPDATE, 0, request.id, (2**31 - 1 - 65_535).to_bytes(4, "big"))
        peer.settings({Setting.INITIAL_WINDOW_SIZE: 65_536})

    expect_connection_error(colour, act, Code.FLOW_CONTROL_ERROR)


@row("H2W-03")
def test_the_largest_window(colour: Colour) -> None:
    def act(peer: HTTP2Peer, request: Stream) -> None:
        most = (2**31 - 1 - 65_535).to_bytes(4, "big")
        peer.frame(Type.WINDOW_UPDATE, 0, 0, most)
        peer.frame(Type.WINDOW_UPDATE, 0, request.id, most)
        peer.answer(request)

    expect_answer(colour, act)


@row("H2W-03")
def test_an_upload_that_waits_as_its_window_overflows(colour: Colour) -> None:
    """It ends at once: nothing waits for a window that will not come."""

    def act(peer: HTTP2Peer, request: Stream) -> None:
        peer.gives_credit = False
        peer.wait_for_body(request, 65_535)
        peer.send(frame(Type.WINDOW_UPDATE, 0, request.id, LARGEST) * 2)

    expect_stream_error(colour, act, Code.FLOW_CONTROL_ERROR, **post(LARGE))


@row("H2W-04")
def test_a_stream_overrun(colour: Colour) -> None:
    """Nobody reads the response; the server sends more than it was granted."""

    def script(peer: HTTP2Peer) -> None:
        request = peer.recv_request()
        peer.headers(request, OK)
        other = peer.recv_request()
        peer.body(request, bytes(request.window), ends=False)
        assert request.window == 0
        peer.data(request, b"x")
        peer.wait_for(
            lambda: request.reset_code is not None or peer.referee.goaway is not None, "an end of the stream"
        )
        goaway = peer.referee.goaway
        assert (request.reset_code if goaway is None else goaway.code) == Code.FLOW_CONTROL_ERROR
        peer.answer(other, other.path)
        peer.serve()

    async def main() -> None:
        with Server(first_then_serve(script)) as server:
            async with prior(colour) as client:
                response = await client.send(server.url())
                assert await client.get(server.url(b"/other")) == b"/other"
                exc = await fails(response.read())
                assert isinstance(exc, httpcore.RemoteProtocolError)
                assert "FLOW_CONTROL_ERROR" in str(exc)
                assert await client.get(server.url(b"/next")) == b"/next"
                assert server.accepted == 1

    colour.run(main)


@row("H2W-05")
def test_the_connection_overrun(colour: Colour) -> None:
    """Credit returns on arrival, so a server has to be much faster than we read. Here, the window shrinks for it."""

    def script(peer: HTTP2Peer) -> None:
        peer.warm_up()
        request = peer.recv_request()
        peer.headers(request, OK)
        peer.data(request, bytes(2_001))
        peer.expect_goaway(Code.FLOW_CONTROL_ERROR)
        peer.expect_end()

    async def main() -> None:
        with Server(first_then_serve(script)) as server:
            async with prior(colour) as client:
                assert await client.get(server.url()) == b"ok"
                engine_of(client)._receive_window = 2_000
                response = await client.send(server.url())
                exc = await fails(response.read())
                assert isinstance(exc, httpcore.RemoteProtocolError)
                assert "FLOW_CONTROL_ERROR" in str(exc)
                assert await client.get(server.url(b"/next")) == b"/next"
                assert server.accepted == 2

    colour.run(main)


@row("H2W-06")
def test_padding_is_counted_and_given_back(colour: Colour) -> None:
    """Ten times more padding than a stream's first window; the server waits for every byte of credit."""
    count = 40_000

    def act(peer: HTTP2Peer, request: Stream) -> None:
        peer.headers(request, [*OK, (b"content-length", b"%d" % count)])
        for i in range(count):
            while min(request.window, peer.referee.window) < 257:
                peer.step()
            peer.data(request, b"x", padding=255, ends=i == count - 1)

    expect_answer(colour, act, b"x" * count)


@row("H2W-07")
def test_no_credit_is_lost_to_streams_that_are_left(colour: Colour) -> None:
    """Closed unread, closed after the first piece, failed: if each kept its credit, the window would close.

    (The soak leaves a hundred thousand of them.)
    """
    count, size = 2_500, 8_000

    def script(peer: HTTP2Peer) -> None:
        head = peer.block(OK)
        for _ in range(count):
            request = peer.recv_request()
            # The client may reset the stream at any time from here on.
            peer.headers(request, block=head)
            if peer.referee.window < size:
                peer.wait_for(lambda: peer.referee.window >= size, "credit comes back")
            peer.data(request, bytes(size))
            if int(request.path[1:]) % 3 == 2:
                peer.reset(request, Code.INTERNAL_ERROR)
            else:
                peer.wait_for(lambda: request.reset_code is not None, "RST_STREAM")
                assert request.reset_code == Code.CANCEL
        last = peer.recv_request()
        peer.check_window()
        peer.answer(last, last.path)
        peer.serve()

    async def main() -> None:
        with Server(first_then_serve(script)) as server:
            async with prior(colour) as client:
                for i in range(count):
                    response = await client.send(server.url(b"/%d" % i))
                    if i % 3 == 0:
                        await response.close()
                    elif i % 3 == 1:
                        await response.first()
                        await response.close()
                    else:
                        await fails(response.read())
                assert await client.get(server.url(b"/next")) == b"/next"
                assert server.accepted == 1

    colour.run(main)


@row("H2W-08")
def test_a_body_that_nobody_reads(colour: Colour) -> None:
    """The others go on; the server may not send more of it than its window says; then it is read after all."""
    body = bytes(range(256)) * 16_384
    limit = 1024 * 1024

    def respond(peer: HTTP2Peer, request: Stream) -> None:
        large = next(iter(peer.referee.streams.values()))
        if request.path == b"/large":
            peer.answer_soon(request, body)
        else:
            assert large.is_answered or large.granted <= limit
            peer.answer_soon(request, b"%d" % large.window + request.path)

    async def main() -> None:
        with Server(http2(lambda peer: peer.serve(respond))) as server:
            async with prior(colour) as client:
                response = await client.send(server.url(b"/large"))
                for i in range(100):
                    assert (await client.get(server.url(b"/%d" % i))).endswith(b"/%d" % i)
                # All that the window allows is here by now, and not a byte more.
                assert await client.get(server.url(b"/stuck")) == b"0/stuck"
                assert await response.read() == body
                assert (await client.get(server.url(b"/next"))).endswith(b"/next")
                assert server.accepted == 1

    colour.run(main)


@row("H2W-09")
def test_a_window_of_nothing_that_is_opened_later(colour: Colour) -> None:
    def script(peer: HTTP2Peer) -> None:
        peer.warm_up({Setting.INITIAL_WINDOW_SIZE: 0})
        request = peer.recv_request(whole=False)
        peer.barrier()
        assert not request.body
        peer.credit(request, 1)
        peer.wait_for_body(request, 1)
        peer.settings({Setting.INITIAL_WINDOW_SIZE: 65_535})
        peer.wait_for(lambda: request.is_ended, "the end of the upload")
        peer.answer(request, bytes(request.body))
        peer.serve()

    outcome = colour.run(lambda: meet(colour, script, is_warm=True, **post(LARGE)))
    assert outcome.body == LARGE
    assert outcome.accepted == 1


@row("H2W-10")
@pytest.mark.parametrize("status", [200, 413])
@pytest.mark.parametrize("is_plain", [True, False])
def test_the_response_ends_while_the_upload_waits(colour: Colour, status: int, is_plain: bool) -> None:
    """No reset follows, and no credit: the response is delivered all the same, and the rest given up."""

    def script(peer: HTTP2Peer) -> None:
        peer.gives_credit = False
        request = peer.recv_request(whole=False)
        peer.wait_for_body(request, 65_535)
        peer.answer(request, b"enough", status=status)
        peer.wait_for(lambda: request.reset_code is not None, "the client gives up")
        peer.gives_credit = True
        peer.credit(0, 65_535)
        peer.serve()

    async def main() -> None:
        with Server(first_then_serve(script)) as server:
            async with prior(colour) as client:
                arguments = sized_post(LARGE)
                if not is_plain:
                    arguments["stream"] = colour.stream([LARGE[:10_000]] * 100)
                    arguments["headers"] = [(b"Host", b"h")]
                response = await client.send(server.url(), **arguments)
                assert response.status == status
                assert await response.read() == b"enough"
                assert await client.get(server.url(b"/next")) == b"/next"
                assert server.accepted == 1

    colour.run(main)


@row("H2W-11")
@pytest.mark.parametrize("is_silent", [True, False])
def test_a_window_that_never_opens(colour: Colour, is_silent: bool) -> None:
    """WriteTimeout; the connection goes on, unless nothing at all arrived on it meanwhile."""

    def script(peer: HTTP2Peer) -> None:
        peer.warm_up()
        peer.gives_credit = False
        request = peer.recv_request(whole=False)
        peer.wait_for_body(request, 65_535)
        if not is_silent:
            peer.barrier()
        peer.expect_rst(request, Code.CANCEL)
        if is_silent:
            peer.expect_end()
            return
        peer.credit(0, 65_535)
        peer.gives_credit = True
        peer.serve()

    async def main() -> None:
        with Server(first_then_serve(script)) as server:
            async with prior(colour) as client:
                assert await client.get(server.url()) == b"ok"
                exc = await fails(client.send(server.url(), **sized_post(LARGE), write=0.3, read=5.0))
                assert isinstance(exc, httpcore.WriteTimeout), exc
                assert exc.request_sent
                assert await client.get(server.url(b"/next")) == b"/next"
                assert server.accepted == 1 + is_silent

    colour.run(main)


@row("H2W-12")
def test_window_updates_come_in_batches(colour: Colour) -> None:
    """A body in small frames: few updates, and yet the server never has less than half a window for long."""
    piece, count = 1_000, 8_000
    updates: list[int] = []

    def script(peer: HTTP2Peer) -> None:
        request = peer.recv_request()
        peer.headers(request, OK)
        for i in range(count):
            peer.data(request, bytes(piece), ends=i == count - 1)
            if i % 200 == 199 and i < count - 1:
                peer.barrier()
                # The answer to a PING may come before the caller has taken what came before it.
                peer.wait_for(lambda: request.window >= 512 * 1024 - 200 * piece, "credit comes back")
                assert peer.referee.window >= peer.referee.largest_window // 2
        peer.barrier()
        updates.append(sum(sent.type == Type.WINDOW_UPDATE for sent in peer.frames))
        peer.serve()

    async def main() -> None:
        with Server(first_then_serve(script)) as server:
            async with prior(colour) as client:
                response = await client.send(server.url())
                total = 0
                reader = response.reader()
                while chunk := await reader.next():
                    total += len(chunk)
                assert total == piece * count
                assert await client.get(server.url(b"/next")) == b"/next"
                assert updates[0] < count // 20
                assert server.accepted == 1

    colour.run(main)


@row("H2W-01", "H2W-06")
def test_uploads_and_downloads_beside_one_another(colour: Colour) -> None:
    """Ten echoes at once on one connection, each larger than both windows."""

    def respond(peer: HTTP2Peer, request: Stream) -> None:
        peer.answer_soon(request, bytes(request.body))

    async def main() -> None:
        with Server(http2(lambda peer: peer.serve(respond))) as server:
            async with prior(colour, max_connections=1) as client:

                async def one(i: int) -> None:
                    content = bytes((i,)) * 200_000
                    response = await client.send(server.url(), **sized_post(content))
                    assert await response.read() == content

                await colour.gather(*(partial(one, i) for i in range(10)))
                assert (
                    await (await client.send(server.url(b"/next"), **sized_post(b"/next"))).read() == b"/next"
                )
                assert server.accepted == 1

    colour.run(main)
