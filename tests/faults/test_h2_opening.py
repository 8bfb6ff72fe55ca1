"""Opening HTTP/2 connections: one for many requests, by ALPN, in tunnels, and what becomes of it when that fails."""

from __future__ import annotations

import ssl
import threading
import warnings
from functools import partial
from typing import Any

import pytest

import httpcore

from ..colours import Colour
from ..peers.certificates import client_context, server_context
from ..peers.http2 import HTTP2Peer, h2_context, http2
from ..peers.http2 import serve as serve_http2
from ..peers.proxies import tunnel_to
from ..peers.scripted import Peer, Script, Server, serve
from .cancelling import cancel_when
from .h2_meetings import OK, fails, prior, sized_post
from .rows import row

pytestmark = pytest.mark.usefixtures("nothing_left")


def _tls(script: Script, *protocols: str) -> Server:
    return Server(script, context=h2_context(*protocols))


def _https(colour: Colour, **options: Any) -> Any:
    return colour.client(http2=True, ssl_context=client_context(), **options)


@row("POOL-13")
@pytest.mark.parametrize("limit", [None, 1, 3])
@pytest.mark.parametrize("speaks", ["h2", "http/1.1"])
def test_many_first_requests(colour: Colour, speaks: str, limit: int | None) -> None:
    count = 12

    async def main() -> None:
        with _tls(http2(serve_http2) if speaks == "h2" else serve, speaks) as server:
            async with _https(colour, max_connections=limit) as client:

                async def one(i: int) -> None:
                    assert await client.get(server.url(b"/%d" % i)) == b"/%d" % i

                await colour.gather(*(partial(one, i) for i in range(count)))
                assert await client.get(server.url(b"/next")) == b"/next"
                assert server.accepted == 1 if speaks == "h2" else server.accepted <= (limit or count)
                figures = client.pool.statistics()
                assert figures["connections"] == figures["idle"]

    colour.run(main)


@row("POOL-14")
@pytest.mark.parametrize("way", ["reset", "silence", "not h2"])
@pytest.mark.parametrize("limit", [None, 1])
def test_a_shared_attempt_fails(colour: Colour, way: str, limit: int | None) -> None:
    """Every one of them fails, or is served over another connection; none hangs."""
    count = 6

    def script(peer: Peer) -> None:
        if peer.number > 0:
            peer.sock = context.wrap_socket(peer.sock, server_side=True)
            http2(serve_http2)(peer)
        elif way == "reset":
            peer.recv()
            peer.reset()
        elif way == "not h2":
            peer.sock = h2_context().wrap_socket(peer.sock, server_side=True)
            peer.recv()
            peer.send(b"HTTP/1.1 200 OK\r\n\r\n")
            peer.half_close()
            peer.recv_to_end()
        else:
            peer.server.hold()

    context = h2_context()

    async def main() -> None:
        with Server(script) as server:
            async with _https(colour, max_connections=limit) as client:
                outcomes: list[object] = []

                async def one(i: int) -> None:
                    url = server.url(b"/%d" % i, scheme=b"https")
                    try:
                        body = await client.get(url, connect=0.5)
                        assert body == b"/%d" % i
                        outcomes.append(body)
                    except (
                        httpcore.ConnectError,
                        httpcore.ConnectTimeout,
                        httpcore.RemoteProtocolError,
                    ) as exc:
                        outcomes.append(exc)

                await colour.gather(*(partial(one, i) for i in range(count)))
                assert len(outcomes) == count
                # One that finds out before it has sent a byte may go elsewhere at once.
                assert way == "not h2" or any(isinstance(outcome, Exception) for outcome in outcomes)
                server.release.set()
                assert await client.get(server.url(b"/next", scheme=b"https")) == b"/next"
                figures = client.pool.statistics()
                assert figures["connections"] == figures["idle"]
                assert figures["waiting"] == 0

    colour.run(main)


@row("CAN-11")
def test_whoever_dials_for_the_others_is_cancelled(colour: Colour) -> None:
    is_met = threading.Event()
    context = h2_context()

    def script(peer: Peer) -> None:
        if peer.number == 0:
            # No answer to the handshake, until the client gives up.
            peer.recv()
            is_met.set()
            peer.recv_to_end()
        else:
            peer.sock = context.wrap_socket(peer.sock, server_side=True)
            http2(serve_http2)(peer)

    async def main() -> None:
        with Server(script) as server:
            async with _https(colour, max_connections=1) as client:

                async def dial() -> None:
                    await client.get(server.url(b"/dial", scheme=b"https"))

                async def wait(i: int) -> None:
                    while not is_met.is_set():
                        await colour.pause()
                    url = server.url(b"/%d" % i, scheme=b"https")
                    assert await client.get(url, pool=5.0) == b"/%d" % i

                def all_wait() -> bool:
                    return bool(is_met.is_set() and client.pool.statistics()["waiting"] == 3)

                await cancel_when(colour, dial, all_wait, *(partial(wait, i) for i in range(3)))
                assert await client.get(server.url(b"/next", scheme=b"https")) == b"/next"
                assert server.accepted == 2
                figures = client.pool.statistics()
                assert (figures["connections"], figures["waiting"]) == (1, 0)

    colour.run(main)


@row("TCP-16")
@pytest.mark.parametrize("way", ["close", "reset"])
@pytest.mark.parametrize("moment", ["accept", "preface", "settings"])
def test_the_preface_cut_short(colour: Colour, way: str, moment: str) -> None:
    def script(peer: Peer) -> None:
        if peer.number > 0:
            http2(serve_http2)(peer)
            return
        if moment != "accept":
            peer.recv_until(b"SM\r\n\r\n")
        if moment == "settings":
            # Half of the server's own.
            peer.send(b"\0\0\x06\x04\0")
        peer.reset() if way == "reset" else peer.close()

    async def main() -> None:
        with Server(script) as server:
            async with prior(colour, max_connections=1) as client:
                exc = await fails(client.get(server.url()))
                assert isinstance(exc, httpcore.ConnectError), exc
                assert client.pool.statistics()["connections"] == 0
                assert await client.get(server.url(b"/next")) == b"/next"

    colour.run(main)


@row("TCP-16")
@pytest.mark.parametrize("way", ["close", "reset"])
@pytest.mark.parametrize("moment", ["connection.connect_tcp.complete", "http2.send_connection_init.complete"])
def test_the_connection_has_ended_before_its_next_step(colour: Colour, way: str, moment: str) -> None:
    is_due, is_over = threading.Event(), threading.Event()

    def script(peer: Peer) -> None:
        if peer.number > 0:
            http2(serve_http2)(peer)
            return
        assert is_due.wait(10)
        peer.reset() if way == "reset" else peer.close()
        is_over.set()

    def hook(name: str, _: object) -> None:
        if name == moment:
            is_due.set()
            assert is_over.wait(10)

    async def main() -> None:
        with Server(script) as server:
            async with prior(colour, max_connections=1) as client:
                exc = await fails(client.send(server.url(), trace=hook))
                assert isinstance(exc, httpcore.ConnectError), exc
                assert client.pool.statistics()["connections"] == 0
                assert await client.get(server.url(b"/next")) == b"/next"

    colour.run(main)


# TLS.


@row("TLS-17")
@pytest.mark.parametrize("speaks", ["h2", "http/1.1", ""])
def test_what_alpn_chooses_is_spoken(colour: Colour, speaks: str) -> None:
    context = h2_context(speaks) if speaks else server_context()
    script = http2(serve_http2) if speaks == "h2" else serve

    async def main() -> None:
        with Server(script, context=context) as server:
            async with _https(colour) as client:
                response = await client.send(server.url(b"/a"))
                assert response.ext["http_version"] == ("HTTP/2" if speaks == "h2" else "HTTP/1.1")
                assert await response.read() == b"/a"
                assert await client.get(server.url(b"/next")) == b"/next"
                assert server.accepted == 1

    colour.run(main)


@row("TLS-17")
def test_h2_is_offered_only_where_it_is_asked_for(colour: Colour) -> None:
    async def main() -> None:
        with _tls(serve, "h2", "http/1.1") as server:
            async with colour.client(ssl_context=client_context()) as client:
                assert await client.get(server.url(b"/a")) == b"/a"
                sock = server.peers[0].sock
                assert isinstance(sock, ssl.SSLSocket)
                assert sock.selected_alpn_protocol() != "h2"
                assert await client.get(server.url(b"/next")) == b"/next"

    colour.run(main)


@row("TLS-16")
@pytest.mark.parametrize("speaks", ["http/1.1", ""])
def test_nothing_but_h2_will_do(colour: Colour, speaks: str) -> None:
    """`http1=False`: a server that does not agree to h2 is not spoken to in another way."""
    context = h2_context(speaks) if speaks else server_context()

    async def main() -> None:
        with Server(serve, context=context) as server, _tls(http2(serve_http2)) as good:
            async with _https(colour, http1=False, max_connections=1) as client:
                exc = await fails(client.get(server.url()))
                assert isinstance(exc, httpcore.ConnectError), exc
                assert "h2" in str(exc) or "HTTP/2" in str(exc)
                assert await client.get(good.url(b"/next")) == b"/next"

    colour.run(main)


@row("TLS-24")
def test_both_directions_at_once_over_tls(colour: Colour) -> None:
    """Echoes that begin before the upload is over, several on one TLS stream."""
    chunk = bytes(range(256)) * 256
    count = 30

    def script(peer: HTTP2Peer) -> None:
        sent: dict[int, int] = {}
        while True:
            frame = peer.step(patience=None)
            stream = peer.referee.streams.get(frame.stream_id)
            if stream is None or stream.is_over:
                continue
            if stream.id not in sent:
                peer.headers(stream, OK)
                sent[stream.id] = 0
            while sent[stream.id] < len(stream.body) and not stream.is_over:
                room = min(stream.window, peer.referee.window, 16_384)
                if room <= 0:
                    peer.step()
                    continue
                piece = bytes(stream.body[sent[stream.id] : sent[stream.id] + room])
                sent[stream.id] += len(piece)
                peer.data(stream, piece)
            if stream.is_ended and not stream.is_answered:
                peer.data(stream, b"", ends=True)

    async def main() -> None:
        with _tls(http2(script)) as server:
            async with _https(colour, max_connections=1) as client:

                async def echo(i: int) -> None:
                    fields = [(b"Host", b"h")]
                    stream = colour.stream([bytes((i,)) + chunk] * count)
                    response = await client.send(server.url(), b"POST", fields, stream)
                    assert await response.read() == (bytes((i,)) + chunk) * count

                await colour.gather(*(partial(echo, i) for i in range(4)))
                response = await client.send(server.url(), **sized_post(b"/next"))
                assert await response.read() == b"/next"
                assert server.accepted == 1

    colour.run(main)


@row("TLS-28")
def test_h2_below_tls_12(colour: Colour) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        server_side, client_side = h2_context(), client_context()
        for context in (server_side, client_side):
            context.minimum_version = ssl.TLSVersion.TLSv1
            context.set_ciphers("ALL:@SECLEVEL=0")
        server_side.maximum_version = ssl.TLSVersion.TLSv1_1

    async def main() -> None:
        with Server(http2(serve_http2), context=server_side) as server, _tls(http2(serve_http2)) as good:
            async with colour.client(http2=True, ssl_context=client_side, max_connections=1) as client:
                exc = await fails(client.get(server.url()))
                assert isinstance(exc, httpcore.ConnectError), exc
                assert "TLSv1.1" in str(exc)
                assert await client.get(good.url(b"/next")) == b"/next"

    colour.run(main)


@row("PRX-18")
@pytest.mark.parametrize("speaks", ["h2", "http/1.1", ""])
def test_h2_inside_a_tunnel(colour: Colour, speaks: str) -> None:
    context = h2_context(speaks) if speaks else server_context()
    script = http2(serve_http2) if speaks == "h2" else serve

    async def main() -> None:
        with Server(script, context=context) as server, Server(tunnel_to(server.port)) as proxy:
            url = (b"http", b"127.0.0.1", proxy.port, b"/")
            async with colour.proxy(url, http2=True, ssl_context=client_context()) as client:

                async def one(i: int) -> None:
                    assert await client.get(server.url(b"/%d" % i)) == b"/%d" % i

                response = await client.send(server.url(b"/a"))
                assert response.ext["http_version"] == ("HTTP/2" if speaks == "h2" else "HTTP/1.1")
                assert await response.read() == b"/a"
                await colour.gather(*(partial(one, i) for i in range(5)))
                assert await client.get(server.url(b"/next")) == b"/next"
                if speaks == "h2":
                    assert (proxy.accepted, server.accepted) == (1, 1)

    colour.run(main)


@row("PRX-18")
@pytest.mark.parametrize("way", ["http/1.1", "alert"])
def test_alpn_fails_inside_a_tunnel(colour: Colour, way: str) -> None:
    """A clear error, no slot lost: the next request gets its own tunnel."""

    def refuse(peer: Peer) -> None:
        peer.recv()
        # A fatal no_application_protocol.
        peer.send(b"\x15\x03\x03\x00\x02\x02\x78")

    async def main() -> None:
        bad = _tls(serve, "http/1.1") if way == "http/1.1" else Server(refuse)
        with bad, _tls(http2(serve_http2)) as good:

            def script(peer: Peer) -> None:
                tunnel_to(bad.port if peer.number == 0 else good.port)(peer)

            with Server(script) as proxy:
                url = (b"http", b"127.0.0.1", proxy.port, b"/")
                options: dict[str, Any] = (
                    {"http2": True, "http1": False} if way == "http/1.1" else {"http2": True}
                )
                async with colour.proxy(
                    url, ssl_context=client_context(), max_connections=1, **options
                ) as client:
                    exc = await fails(client.get(good.url()), httpcore.ConnectError, httpcore.ProxyError)
                    assert "h2" in str(exc) or "HTTP/2" in str(exc) or "protocol" in str(exc)
                    assert await client.get(good.url(b"/next")) == b"/next"
                    assert client.pool.statistics()["connections"] == 1

    colour.run(main)
