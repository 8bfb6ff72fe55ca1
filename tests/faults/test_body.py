"""Bodies, theirs and ours: what arrives cut, too long or never, and what is left for the next request."""

from __future__ import annotations

import gc
import select
import threading
from time import monotonic

import pytest

import httpcore

from ..colours import TIMEOUT, Client, Colour
from ..peers.bottomless import PIECE, BottomlessBackend
from ..peers.http2 import http2
from ..peers.http2 import serve as serve_http2
from ..peers.scripted import Peer, Server, first_then_serve, respond, serve
from .rows import row

pytestmark = pytest.mark.usefixtures("nothing_left")

CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


async def _read(
    colour: Colour, data: bytes, *, then: str = "close", method: bytes = b"GET"
) -> bytes | Exception:
    """Read the response `data`; then the next request on the same pool gets its own answer."""
    with Server(respond(data, then=then)) as server:
        async with colour.client() as client:
            result: bytes | Exception
            try:
                response = await client.send(server.url(), method)
                result = await response.read()
            except (httpcore.ProtocolError, httpcore.NetworkError) as exc:
                result = exc
            assert await client.get(server.url(b"/next")) == b"/next"
            return result


@row("H1B-01", "TCP-06")
def test_a_body_cut_short_is_an_error(colour: Colour) -> None:
    data = b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n12345"
    assert isinstance(colour.run(_read, colour, data), httpcore.RemoteProtocolError)


@row("TCP-06", "H1B-10")
def test_a_reset_that_the_upload_meets_first(colour: Colour) -> None:
    """The kernel tells the sender of it, and shows the receiver an end: no body that ends with the connection."""
    is_reset = threading.Event()

    def script(peer: Peer) -> None:
        peer.recv_head()
        peer.send(b"HTTP/1.1 200 OK\r\n\r\n12345")
        peer.server.hold()
        peer.reset()
        is_reset.set()

    async def main() -> None:
        size = 16 * 1024 * 1024
        headers = [(b"Host", b"h"), (b"Content-Length", b"%d" % size)]
        body = httpcore.PlainByteStream(bytes(size))
        with Server(script) as server:
            async with colour.client() as client:
                response = await client.send(server.url(), b"PUT", headers, body)
                server.release.set()
                assert is_reset.wait(TIMEOUT)
                with pytest.raises(httpcore.NetworkError):
                    await response.read()
                assert await client.states() == []

    colour.run(main)


@row("TCP-06", "H1B-10")
def test_a_reset_in_the_body(colour: Colour) -> None:
    is_framed = True

    def script(peer: Peer) -> None:
        peer.recv_head()
        peer.send(b"HTTP/1.1 200 OK\r\n" + (b"Content-Length: 10\r\n" if is_framed else b"") + b"\r\n12345")
        peer.server.hold()
        peer.reset()

    async def main(framed: bool) -> None:
        nonlocal is_framed
        is_framed = framed
        with Server(first_then_serve(script)) as server:
            async with colour.client() as client:
                response = await client.send(server.url())
                stream = response.stream.__aiter__() if colour.is_async else iter(response.stream)
                first = await stream.__anext__() if colour.is_async else next(stream)
                assert first == b"12345"
                server.release.set()
                with pytest.raises(httpcore.ReadError):
                    await stream.__anext__() if colour.is_async else next(stream)
                assert await client.get(server.url(b"/next")) == b"/next"

    for framed in (True, False):
        colour.run(main, framed)


@row("H1B-06")
def test_length_and_chunked_together(colour: Colour) -> None:
    async def main() -> None:
        data = (
            b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"
        )
        with Server(respond(data)) as server:
            async with colour.client() as client:
                assert await client.get(server.url()) == b"ok"
                assert await client.get(server.url(b"/next")) == b"/next"
                assert server.accepted == 2

    colour.run(main)


@row("H1B-07", "H1B-08", "POOL-16")
def test_responses_without_a_body(colour: Colour) -> None:
    async def check(method: bytes, data: bytes, connections: int) -> None:
        with Server(respond(data)) as server:
            async with colour.client() as client:
                response = await client.send(server.url(), method)
                assert await response.read() == b""
                assert await client.get(server.url(b"/next")) == b"/next"
                assert server.accepted == connections

    fields = b"Content-Length: 2\r\n\r\n"
    for method, line in ((b"HEAD", b"200 OK"), (b"GET", b"204 No"), (b"GET", b"304 Not")):
        head = b"HTTP/1.1 " + line + b"\r\n" + fields
        colour.run(check, method, head, 1)
        colour.run(check, method, head + b"ok", 2)
        colour.run(check, method, head.replace(b"Content-Length: 2", b"Transfer-Encoding: chunked"), 1)


@row("H1B-10")
def test_until_close(colour: Colour) -> None:
    assert colour.run(_read, colour, b"HTTP/1.1 200 OK\r\n\r\nall of it") == b"all of it"


@row("H1B-15")
def test_a_huge_content_length_allocates_nothing(colour: Colour) -> None:
    data = b"HTTP/1.1 200 OK\r\nContent-Length: 9223372036854775807\r\n\r\nok"
    assert isinstance(colour.run(_read, colour, data), httpcore.RemoteProtocolError)


@row("H1B-16", "H1B-17", "H1B-18")
def test_closed_early(colour: Colour) -> None:
    async def check(rest_is_here: bool, connections: int) -> None:
        def script(peer: Peer) -> None:
            peer.recv_head()
            peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n12345" + b"67890" * rest_is_here)
            peer.serve()

        with Server(first_then_serve(script)) as server:
            async with colour.client() as client:
                response = await client.send(server.url())
                await response.close()
                await response.close()
                for _ in range(2):
                    with pytest.raises(RuntimeError):
                        await response.read()
                assert await client.get(server.url(b"/next")) == b"/next"
                assert server.accepted == connections
                assert await client.states() == ["HTTP/1.1, IDLE"]

    colour.run(check, False, 2)
    colour.run(check, True, 1)


@row("H1B-18")
def test_closed_beside_a_read(colour: Colour) -> None:
    """Whoever reads is woken, or finds the response closed."""

    async def main() -> None:
        with Server(respond(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n12345")) as server:
            async with colour.client(max_connections=1) as client:
                response = await client.send(server.url())
                reader = response.reader()
                assert await reader.next() == b"12345"

                async def read() -> None:
                    with pytest.raises((httpcore.ReadError, RuntimeError)):
                        await reader.next()

                async def close() -> None:
                    for _ in range(5):
                        await colour.pause()
                    await response.close()

                begin = monotonic()
                await colour.gather(read, close)
                assert monotonic() - begin < TIMEOUT / 2
                assert await client.get(server.url(b"/next"), pool=1.0) == b"/next"

    colour.run(main)


@row("H1B-19", "POOL-16")
def test_the_last_bytes_give_the_connection_back(colour: Colour) -> None:
    async def main() -> None:
        for data in (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", CHUNKED + b"2\r\nok\r\n0\r\n\r\n"):
            with Server(respond(data)) as server:
                async with colour.client() as client:
                    response = await client.send(server.url())
                    assert await client.states() == ["HTTP/1.1, ACTIVE"]
                    assert await response.first() == b"ok"
                    assert await client.states() == ["HTTP/1.1, IDLE"]

    colour.run(main)


@row("H1C-02", "H1C-03", "H1C-04", "H1C-05", "H1C-06", "H1C-08", "H1C-12")
def test_bad_chunks(colour: Colour) -> None:
    bad = [
        *(size + b"\r\nok\r\n0\r\n\r\n" for size in (
            b"8000000000000000", b"1" + b"0" * 16, b"f" * 20, b"0x2", b"+2", b"-2", b" 2", b"2\x0c", b"2\x0b", b"2H",
            b"", "٢".encode(), b"0" * 5000 + b"2", b"2;a\rb", b"2;" + b"x" * 5000,
        )),
        b"2\r\nokxx0\r\n\r\n", b"2\r\nok0\r\n\r\n", b"\r\n2\r\nok\r\n0\r\n\r\n", b"2\r\nok\r\n\r\n0\r\n\r\n",
        *(b"2\r\nok\r\n0\r\n" + trailer + b"\r\n\r\n" for trailer in (
            b"A: b\0c", b"nothing", b"A : b", b"A: " + b"b" * 70_000, b"\r\n".join([b"A: b"] * 1100),
        )),
    ]  # fmt: skip

    async def main() -> None:
        for data in bad:
            result = await _read(colour, CHUNKED + data)
            assert isinstance(result, httpcore.RemoteProtocolError), (data[:60], result)

    colour.run(main)


@row("H1C-09")
def test_a_flood_of_extensions(colour: Colour) -> None:
    flood = (b"1;" + b"x" * 1000 + b"\r\na\r\n") * 1000 + b"0\r\n\r\n"
    assert isinstance(colour.run(_read, colour, CHUNKED + flood), httpcore.RemoteProtocolError)


@row("H1C-10")
def test_chunked_cut_at_every_offset(colour: Colour) -> None:
    whole = b"2;x\r\nok\r\n0\r\nT: v\r\n\r\n"

    async def main() -> None:
        for end in range(len(whole)):
            assert isinstance(await _read(colour, CHUNKED + whole[:end]), httpcore.RemoteProtocolError), end

    colour.run(main)


@row("H1C-11", "H1C-13", "POOL-16")
def test_trailers_stay_apart(colour: Colour) -> None:
    async def main() -> None:
        data = CHUNKED + b"2\r\nok\r\n0\r\nA: 1\r\nA: 2\r\nContent-Length: 99\r\n\r\n"
        with Server(respond(data)) as server:
            async with colour.client() as client:
                response = await client.send(server.url())
                assert await response.read() == b"ok"
                assert response.stream.trailers == [(b"A", b"1"), (b"A", b"2"), (b"Content-Length", b"99")]
                assert response.headers == [(b"Transfer-Encoding", b"chunked")]
                assert await client.get(server.url(b"/next")) == b"/next"
                assert server.accepted == 1

    colour.run(main)


@row("H1C-15")
def test_a_million_tiny_chunks(colour: Colour) -> None:
    data = CHUNKED + b"1\r\na\r\n" * 1_000_000 + b"0\r\n\r\n"
    assert (
        colour.run(
            _read,
            colour,
            data,
        )
        == b"a" * 1_000_000
    )


@row("H1W-06")
def test_a_body_that_does_not_match_its_length(colour: Colour) -> None:
    async def main() -> None:
        fields = [(b"Host", b"h"), (b"Content-Length", b"5")]
        with Server(Peer.serve) as server:
            async with colour.client() as client:
                for content in (b"1234", b"123456", b""):
                    for stream in (httpcore.PlainByteStream(content), colour.stream([content])):
                        with pytest.raises(httpcore.LocalProtocolError):
                            await client.send(server.url(), b"POST", fields, stream)
                with pytest.raises(httpcore.LocalProtocolError, match="Content-Length"):
                    await client.send(server.url(), b"POST", fields[:1], httpcore.PlainByteStream(b"x"))
                assert await client.get(server.url(b"/next")) == b"/next"

    colour.run(main)


@row("H1W-07")
def test_a_body_that_raises(colour: Colour) -> None:
    async def main() -> None:
        error = KeyError("mine")
        closed: list[bool] = []
        fields = [(b"Host", b"h"), (b"Transfer-Encoding", b"chunked")]
        with Server(Peer.serve) as server:
            async with colour.client(max_connections=1) as client:
                bodies: list[list[bytes | Exception]] = [[error], [b"abc", error]]
                for chunks in bodies:
                    with pytest.raises(KeyError) as caught:
                        await client.send(server.url(), b"POST", fields, colour.stream(chunks, closed))
                    assert caught.value is error
                assert closed == [True, True]
                assert await client.get(server.url(b"/next")) == b"/next"

    colour.run(main)


@pytest.mark.parametrize("is_http2", [False, True])
def test_a_body_that_raises_an_error_of_ours(colour: Colour, is_http2: bool) -> None:
    """As one does that comes from another response. No second attempt takes what is left of it for the whole."""

    async def main() -> None:
        script, options = (http2(serve_http2), {"http1": False, "http2": True}) if is_http2 else (serve, {})
        with Server(script) as server:
            async with colour.client(**options) as client:
                assert await client.get(server.url(b"/first")) == b"/first"
                fields = [(b"Host", b"h"), (b"Transfer-Encoding", b"chunked")]
                for error in (httpcore.ReadError("upstream"), httpcore.RemoteProtocolError("upstream")):
                    closed: list[bool] = []
                    body = colour.stream([b"half", error], closed)
                    with pytest.raises(type(error), match=r"^upstream$") as caught:
                        await client.send(server.url(b"/upload"), b"PUT", fields, body)
                    assert caught.value is error
                    assert closed == [True]
                    assert await client.get(server.url(b"/next")) == b"/next"

    colour.run(main)


@row("H1W-08")
def test_empty_chunks_do_not_end_the_body(colour: Colour) -> None:
    def script(peer: Peer) -> None:
        assert peer.recv_request()[1] == b"abc"
        peer.answer()
        peer.serve()

    async def main() -> None:
        closed: list[bool] = []
        fields = [(b"Host", b"h"), (b"Transfer-Encoding", b"chunked")]
        with Server(script) as server:
            async with colour.client() as client:
                stream = colour.stream([b"", b"ab", b"", b"c", b""], closed)
                response = await client.send(server.url(), b"POST", fields, stream)
                assert await response.read() == b"ok"
                assert await client.get(server.url(b"/next")) == b"/next"
                assert closed == []

    colour.run(main)


@row("H1W-09", "TCP-07", "TCP-08")
def test_an_early_answer_ends_the_upload(colour: Colour) -> None:
    answer = b"HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\nno"

    def stop_reading(peer: Peer) -> None:
        peer.recv_head()
        peer.send(answer)
        peer.server.hold()

    def half_close(peer: Peer) -> None:
        peer.recv_head()
        peer.send(answer)
        peer.half_close()
        peer.server.hold()

    async def main(script: object) -> None:
        fields = [(b"Host", b"h"), (b"Content-Length", b"50000000")]
        with Server(first_then_serve(script)) as server:  # type: ignore[arg-type]
            async with colour.client() as client:
                closed: list[bool] = []
                stream = colour.stream([b"x" * 100_000] * 500, closed)
                response = await client.send(server.url(), b"POST", fields, stream)
                assert (response.status, await response.read()) == (413, b"no")
                assert closed == [True]
                server.release.set()
                assert await client.get(server.url(b"/next")) == b"/next"

    for script in (stop_reading, half_close):
        colour.run(main, script)


@row("TCP-08", "TCP-09")
def test_the_answer_counts_more_than_the_failed_write(colour: Colour) -> None:
    async def main(data: bytes) -> int | Exception:
        def script(peer: Peer) -> None:
            peer.recv_head()
            peer.send(data)
            peer.reset() if not data else peer.close()

        fields = [(b"Host", b"h"), (b"Content-Length", b"50000000")]
        with Server(first_then_serve(script)) as server:
            async with colour.client() as client:
                result: int | Exception
                try:
                    stream = httpcore.PlainByteStream(b"x" * 50_000_000)
                    response = await client.send(server.url(), b"POST", fields, stream)
                    result = response.status
                    await response.read()
                except (httpcore.NetworkError, httpcore.ProtocolError) as exc:
                    result = exc
                assert await client.get(server.url(b"/next")) == b"/next"
                return result

    assert colour.run(main, b"HTTP/1.1 401 No\r\nContent-Length: 2\r\n\r\nno") == 401
    assert isinstance(colour.run(main, b""), (httpcore.WriteError, httpcore.ReadError))
    assert isinstance(colour.run(main, b"HTTP/1.1 40"), (httpcore.WriteError, httpcore.ReadError))


@row("H1B-02", "H1B-19")
@pytest.mark.parametrize("extra", [b"", b"HTTP/1.1 200 OK\r\n\r\n"])
def test_what_a_loop_has_told_of_before_the_body_was_read(colour: Colour, extra: bytes) -> None:
    """Nothing more will come on that connection, so that nobody would look at it."""
    if colour.is_trio or not colour.is_async:
        # Nobody tells: it is looked at before it is used.
        return

    def script(peer: Peer) -> None:
        peer.recv_head()
        peer.answer(bytes(100_000))
        peer.send(extra)
        peer.half_close()
        peer.recv_to_end()

    async def main() -> None:
        with Server(first_then_serve(script)) as server:
            async with colour.client() as client:
                response = await client.send(server.url())
                while not response.stream.body._stream._is_ended:
                    await colour.pause()
                assert len(await response.read()) == 100_000
                assert await client.states() == []
                assert await client.get(server.url(b"/next")) == b"/next"

    colour.run(main)


@row("H1W-09")
def test_an_early_success_lets_the_reader_drive_the_upload(colour: Colour) -> None:
    size = 5_000_000

    def script(peer: Peer) -> None:
        peer.recv_head()
        peer.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n")
        got = len(peer.recv_exactly(size))
        body = b"%d" % got
        peer.send(b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body))
        peer.serve()

    async def main() -> None:
        fields = [(b"Host", b"h"), (b"Content-Length", b"%d" % size)]
        with Server(first_then_serve(script)) as server:
            async with colour.client() as client:
                stream = httpcore.PlainByteStream(b"x" * size)
                response = await client.send(server.url(), b"POST", fields, stream)
                assert await response.read() == b"ok%d" % size
                assert await client.get(server.url(b"/next")) == b"/next"
                assert server.accepted == 1

    colour.run(main)


@row("H1W-09", "H1B-10")
def test_an_early_success_that_ends_with_the_connection(colour: Colour) -> None:
    """It does not say that the peer takes no more, and here the peer waits for it."""
    size = 16 * 1024 * 1024

    def script(peer: Peer) -> None:
        peer.recv_head()
        peer.send(b"HTTP/1.1 200 OK\r\n\r\nok")
        left = size - len(peer.recv())
        while left > 0 and (data := peer.sock.recv(1024 * 1024)):
            left -= len(data)
        peer.send(b"%d" % left)

    async def main() -> None:
        fields = [(b"Host", b"h"), (b"Content-Length", b"%d" % size)]
        with Server(first_then_serve(script)) as server:
            async with colour.client() as client:
                stream = httpcore.PlainByteStream(bytes(size))
                response = await client.send(server.url(), b"POST", fields, stream)
                assert await response.read() == b"ok0"
                assert await client.get(server.url(b"/next")) == b"/next"

    colour.run(main)


async def _upload_in_vain(client: Client, server: Server) -> None:
    """Upload what a peer that has answered does not take."""
    fields = [(b"Host", b"h"), (b"Content-Length", b"50000000")]
    stream = httpcore.PlainByteStream(b"x" * 50_000_000)
    # A slow machine may need so long for the answer alone.
    with pytest.raises(httpcore.WriteTimeout):
        response = await client.send(server.url(), b"POST", fields, stream, write=0.2)
        await response.read()


@row("H1W-09", "TMO-05")
def test_an_end_behind_an_early_success_is_no_progress(colour: Colour) -> None:
    """It stays there to be received, so that who waited for it would wait no more: nor would a loop go on."""

    def script(peer: Peer) -> None:
        peer.recv_head()
        peer.answer()
        peer.half_close()
        peer.server.hold()

    async def main() -> None:
        with Server(first_then_serve(script)) as server:
            async with colour.client() as client:
                await _upload_in_vain(client, server)
                server.release.set()
                assert await client.get(server.url(b"/next")) == b"/next"

    colour.run(main)


@row("H1B-02", "H1W-09")
def test_what_follows_an_early_success_is_left_where_it_is(colour: Colour) -> None:
    flood = 64 * 1024 * 1024
    taken = 0

    def script(peer: Peer) -> None:
        nonlocal taken
        peer.recv_head()
        peer.answer()
        peer.sock.setblocking(False)
        while taken < flood and not peer.server.release.is_set():
            try:
                taken += peer.sock.send(bytes(65536))
            except BlockingIOError:
                select.select([], [peer.sock], [], 0.01)

    async def main() -> None:
        with Server(first_then_serve(script)) as server:
            async with colour.client() as client:
                await _upload_in_vain(client, server)
                assert taken < flood / 2
                server.release.set()
                assert await client.get(server.url(b"/next")) == b"/next"

    colour.run(main)


@row("H1B-02", "H1W-09")
@pytest.mark.parametrize("extra", [b"", b"HTTP/1.1 200 OK\r\n\r\n"])
def test_what_follows_an_early_success_ends_the_connection(colour: Colour, extra: bytes) -> None:
    size = 16 * 1024 * 1024

    def script(peer: Peer) -> None:
        peer.recv_head()
        peer.answer(b"ok")
        peer.server.hold()
        peer.send(extra)
        if not extra:
            peer.half_close()
        while peer.sock.recv(1024 * 1024):
            pass

    async def main() -> None:
        fields = [(b"Host", b"h"), (b"Content-Length", b"%d" % size)]
        with Server(first_then_serve(script)) as server:
            async with colour.client() as client:
                stream = httpcore.PlainByteStream(bytes(size))
                response = await client.send(server.url(), b"POST", fields, stream)
                reader = response.reader()
                assert await reader.next() == b"ok"
                server.release.set()
                # This drives the rest of the upload.
                assert await reader.next() == b""
                assert await client.states() == []
                assert await client.get(server.url(b"/next")) == b"/next"

    colour.run(main)


@row("H1W-10", "TMO-05")
def test_a_peer_that_neither_reads_nor_answers(colour: Colour) -> None:
    def script(peer: Peer) -> None:
        peer.recv_head()
        peer.server.hold()

    async def main() -> None:
        fields = [(b"Host", b"h"), (b"Content-Length", b"50000000")]
        with Server(first_then_serve(script)) as server:
            async with colour.client() as client:
                stream = httpcore.PlainByteStream(b"x" * 50_000_000)
                with pytest.raises(httpcore.WriteTimeout) as caught:
                    await client.send(server.url(), b"POST", fields, stream, write=0.1)
                assert caught.value.request_sent
                server.release.set()
                assert await client.get(server.url(b"/next")) == b"/next"

    colour.run(main)


@row("POOL-15")
def test_an_abandoned_response_is_freed_by_the_collector(colour: Colour) -> None:
    async def main() -> None:
        with Server(respond(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n12345")) as server:
            async with colour.client(max_connections=1) as client:
                response = await client.send(server.url())
                with pytest.warns(ResourceWarning, match="never read"):
                    del response
                    gc.collect()
                assert await client.get(server.url(b"/next")) == b"/next"

    colour.run(main)


@row("POOL-15")
def test_a_waiter_is_woken_by_the_collector(colour: Colour) -> None:
    async def main() -> None:
        with Server(respond(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n12345")) as server:
            async with colour.client(max_connections=1) as client:
                kept = [await client.send(server.url())]

                async def wait() -> None:
                    assert await client.get(server.url(b"/next"), pool=None) == b"/next"

                async def collect() -> None:
                    while not client.pool.statistics()["waiting"]:
                        await colour.pause()
                    with pytest.warns(ResourceWarning, match="never read"):
                        kept.clear()
                        gc.collect()

                await colour.gather(wait, collect)

    colour.run(main)


@row("H1W-08")
def test_a_chunked_request_without_a_body_ends(colour: Colour) -> None:
    """No stream is an empty one: the head has promised a last chunk."""

    def script(peer: Peer) -> None:
        peer.recv_head()
        assert peer.recv_until(b"0\r\n\r\n") == b"0\r\n\r\n"
        peer.answer()

    async def main() -> None:
        with Server(script) as server:
            async with colour.client() as client:
                headers = [(b"Host", b"h"), (b"Transfer-Encoding", b"chunked")]
                response = await client.send(server.url(), b"POST", headers)
                assert await response.read() == b"ok"

    colour.run(main)


HUGE = 2**32 + 5


@row("H1B-20")
@pytest.mark.parametrize(
    ("head", "tail"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % HUGE, b""),
        (CHUNKED + b"%x\r\n" % HUGE, b"\r\n0\r\n\r\n"),
    ],
    ids=["length", "chunk"],
)
def test_a_download_beyond_four_gigabytes(colour: Colour, head: bytes, tail: bytes) -> None:
    backend = BottomlessBackend(colour, head=head, size=HUGE, tail=tail)

    async def main() -> None:
        with Server(Peer.serve) as server:
            async with colour.client(backend=backend) as client:
                reader = (await client.send(server.url())).reader()
                whole = size = 0
                while chunk := await reader.next():
                    whole += chunk == PIECE
                    size += len(chunk)
                assert size == HUGE
                assert whole == HUGE // len(PIECE)
                assert await client.states() == ["HTTP/1.1, IDLE"]

    colour.run(main)


@row("H1B-20")
def test_an_upload_beyond_four_gigabytes(colour: Colour) -> None:
    """Answered with the last byte and not before."""
    head = b"PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n" % HUGE
    backend = BottomlessBackend(colour, head=b"HTTP/1.1 204 OK\r\n\r\n", after=len(head) + HUGE)
    chunk = b"x" * 2**24

    async def main() -> None:
        with Server(Peer.serve) as server:
            async with colour.client(backend=backend) as client:
                fields = [(b"Host", b"h"), (b"Content-Length", b"%d" % HUGE)]
                stream = colour.stream([chunk] * (HUGE // len(chunk)) + [b"x" * (HUGE % len(chunk))])
                response = await client.send(server.url(b"/"), b"PUT", fields, stream)
                assert response.status == 204
                assert backend.sent == len(head) + HUGE
                assert await client.states() == ["HTTP/1.1, IDLE"]

    colour.run(main)


@row("H1B-20", on=["sync"])
def test_four_gigabytes_over_a_real_connection() -> None:
    data = memoryview(bytes(2**26))

    def script(peer: Peer) -> None:
        peer.recv_head()
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % HUGE)
        for _ in range(HUGE // len(data)):
            peer.sock.sendall(data)
        peer.send(b"12345")
        peer.serve()

    with Server(script) as server, httpcore.SyncConnectionPool() as pool:
        _, _, stream, _ = pool.request(b"GET", server.url(), [(b"Host", b"h")])
        size = 0
        for chunk in stream:
            size += len(chunk)
        assert size == HUGE
        assert chunk.endswith(b"12345")
        assert pool.statistics()["idle"] == 1
