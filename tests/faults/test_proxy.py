"""Proxies that refuse, lie, stall or close."""

from __future__ import annotations

import ssl
from typing import Any

import pytest
import trustme

import httpcore

from ..colours import Colour
from ..peers.certificates import client_context, server_context
from ..peers.proxies import relay
from ..peers.scripted import Peer, Script, Server, serve
from .rows import row

pytestmark = pytest.mark.usefixtures("nothing_left")

TARGET = (b"http", b"origin.example", None, b"/a")

SECRET = "hunter2"


def url_of(server: Server, scheme: bytes = b"http") -> tuple[bytes, bytes, int, bytes]:
    return (scheme, server.host, server.port, b"/")


def tunnel(answer: bytes = b"HTTP/1.1 200 OK\r\n\r\n") -> object:
    """Answer CONNECT, and be the origin inside the tunnel."""

    def script(peer: Peer) -> None:
        peer.recv_head()
        peer.send(answer)
        peer.serve()

    return script


def after_head(answer: bytes, then: Script = Peer.close) -> Script:
    def run(peer: Peer) -> None:
        peer.recv_head()
        peer.send(answer)
        then(peer)

    return run


async def _refused(colour: Colour, script: object, **limits: Any) -> httpcore.ProxyError:
    """A ProxyError whose slot is free, and whose socket is closed."""
    with Server(script) as proxy:  # type: ignore[arg-type]
        async with colour.proxy(url_of(proxy), proxy_mode="TUNNEL_ONLY", max_connections=1) as client:
            with pytest.raises(httpcore.ProxyError) as caught:
                await client.send(TARGET, **limits)
            assert client.pool.statistics()["connections"] == 0
            assert not caught.value.request_sent
            return caught.value


@row("PRX-01", "PRX-17", "PRX-08")
def test_every_refusal(colour: Colour) -> None:
    async def main() -> None:
        for status in (199 + 101, 301, 302, 400, 403, 407, 500, 502, 599):
            answer = b"HTTP/1.1 %d No Way\r\nX: y\r\nContent-Length: 4\r\n\r\nbody" % status
            error = await _refused(colour, tunnel(answer))
            assert str(error) == f"{status} No Way"
            assert error.status == status
            assert (b"X", b"y") in error.headers
        answer = b"HTTP/1.1 403 " + b"x" * 10_000 + b"\r\n\r\n"
        assert str(await _refused(colour, tunnel(answer))) == "403 " + "x" * 200
        answer = b"HTTP/1.1 403\r\n\r\n"
        assert str(await _refused(colour, tunnel(answer))) == "403"
        answer = b"HTTP/1.1 407 Auth\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
        assert (await _refused(colour, tunnel(answer))).status == 407

    colour.run(main)


@row("PRX-02", "PRX-03", "PRX-04")
def test_what_opens_a_tunnel(colour: Colour) -> None:
    async def main() -> None:
        for answer in (
            b"HTTP/1.1 200 OK\r\n\r\n",
            b"HTTP/1.1 103 Early\r\n\r\nHTTP/1.1 200 OK\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\nTransfer-Encoding: chunked\r\n\r\n",
            b"HTTP/1.0 201 Made\r\n\r\n",
            b"HTTP/1.1 299 Fine\r\n\r\n",
        ):
            with Server(tunnel(answer)) as proxy:  # type: ignore[arg-type]
                async with colour.proxy(url_of(proxy), proxy_mode="TUNNEL_ONLY") as client:
                    for _ in range(2):
                        assert await client.get(TARGET) == b"/a"
                    assert proxy.accepted == 1

    colour.run(main)


@row("PRX-02", "PRX-05", "PRX-06", "PRX-07")
def test_answers_that_are_none(colour: Colour) -> None:
    async def main() -> None:
        for answer in (
            b"HTTP/1.1 100 Continue\r\n\r\n" * 30,
            b"HTTP/1.1 200 OK\r\n\r\nsurprise",
            b"<html>hello</html>",
            b"HTTP/1.1 200 OK\r\nA: " + b"b" * 20_000 + b"\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nA: \0\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nA: b\rc\r\n\r\n",
        ):
            error = await _refused(colour, tunnel(answer))
            assert isinstance(error.__cause__, httpcore.RemoteProtocolError)
        error = await _refused(colour, lambda peer: peer.recv_head() and None)
        assert isinstance(error.__cause__, (httpcore.RemoteProtocolError, httpcore.ReadError))

    colour.run(main)


@row("PRX-09", "PRX-10", "PRX-13", "PRX-16")
def test_what_goes_where(colour: Colour) -> None:
    async def main() -> None:
        with Server(serve) as proxy:
            headers = [(b"Proxy-X", b"1"), (b"Accept", b"mine")]
            async with colour.proxy(url_of(proxy), proxy_headers=headers, proxy_auth=("me", "pw")) as client:
                for _ in range(2):
                    response = await client.send(TARGET, headers=[(b"Host", b"h"), (b"accept", b"x")])
                    assert await response.read() == b"http://origin.example/a"
                response = await client.send((b"http", b"::1", 81, b"/b"))
                assert await response.read() == b"http://[::1]:81/b"
                assert proxy.accepted == 1
            expected = b"GET http://origin.example/a HTTP/1.1\r\nProxy-X: 1\r\nProxy-Authorization: Basic bWU6cHc=\r\n"
            assert proxy.peers[0].received.startswith(expected + b"Host: h\r\naccept: x\r\n\r\n")
        with Server(tunnel()) as proxy:  # type: ignore[arg-type]
            async with colour.proxy(
                url_of(proxy), proxy_headers=headers, proxy_mode="TUNNEL_ONLY", proxy_auth=("me", "pw")
            ) as client:
                assert await client.get((b"http", b"::1", 81, b"/b")) == b"/b"
                assert "pw" not in repr(client.pool)
            connect, inside = proxy.peers[0].received.split(b"\r\n\r\n", 1)
            assert connect == (
                b"CONNECT [::1]:81 HTTP/1.1\r\nHost: [::1]:81\r\nProxy-X: 1\r\nAccept: mine\r\n"
                b"Proxy-Authorization: Basic bWU6cHc="
            )
            assert b"Proxy" not in inside

    colour.run(main)


@row("PRX-12", "PRX-20")
def test_a_proxy_that_stalls(colour: Colour) -> None:
    error = colour.run(lambda: _refused(colour, lambda peer: peer.server.hold(), connect=0.1))
    assert isinstance(error.__cause__, httpcore.ConnectTimeout)


@row("PRX-19")
def test_a_proxy_that_is_not_there(colour: Colour) -> None:
    async def main() -> None:
        nowhere = (b"http", b"127.0.0.1", 1, b"/")
        async with colour.proxy(nowhere) as client:
            with pytest.raises(httpcore.ConnectError, match=r"127\.0\.0\.1:1"):
                await client.send(TARGET)
            with pytest.raises(httpcore.ProxyError, match=r"127\.0\.0\.1:1") as caught:
                await client.send((b"https", b"origin.example", None, b"/"))
            assert isinstance(caught.value.__cause__, httpcore.ConnectError)

    colour.run(main)


@row("PRX-15")
def test_the_origins_certificate_counts_inside_a_tunnel(colour: Colour) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("origin.example").configure_cert(context)

    def script(peer: Peer) -> None:
        peer.recv_head()
        peer.send(b"HTTP/1.1 200 OK\r\n\r\n")
        peer.sock = context.wrap_socket(peer.sock, server_side=True)
        peer.serve()

    async def main() -> None:
        with Server(script) as proxy:
            async with colour.proxy(url_of(proxy), ssl_context=ssl.create_default_context()) as client:
                with pytest.raises(httpcore.ConnectError, match=r"origin\.example"):
                    await client.send((b"https", b"origin.example", None, b"/"))
                assert client.pool.statistics()["connections"] == 0

    colour.run(main)


@row("PRX-21")
def test_socks5(colour: Colour) -> None:
    wire: list[bytes] = []

    def script(peer: Peer) -> None:
        greeting = peer.recv_exactly(3 if not needs_password else 4)
        wire.append(greeting)
        if needs_password:
            peer.send_bytewise(b"\x05\x02")
            wire.append(peer.recv_exactly(7))
            peer.send_bytewise(b"\x01\x00")
        else:
            peer.send_bytewise(b"\x05\x00")
        wire.append(peer.recv_exactly(4 + 1 + 14 + 2))
        peer.send_bytewise(b"\x05\x00\x00\x01\x7f\x00\x00\x01\x00\x50")
        peer.serve()

    needs_password = False

    async def main(auth: tuple[str, str] | None) -> None:
        wire.clear()
        with Server(script) as proxy:
            async with colour.proxy(url_of(proxy, b"socks5"), proxy_auth=auth) as client:
                for _ in range(2):
                    assert await client.get(TARGET) == b"/a"
                assert proxy.accepted == 1
        assert wire[-1] == b"\x05\x01\x00\x03\x0eorigin.example\x00\x50"

    colour.run(main, None)
    needs_password = True
    colour.run(main, ("me", "pw"))
    assert wire[1] == b"\x01\x02me\x02pw"


@row("PRX-21")
def test_socks5_refusals(colour: Colour) -> None:
    async def main() -> None:
        for answers in (
            [b"\x04\x00"],
            [b"\x05\xff"],
            [b"\x05\x02"],
            [b"\x05\x00", b"\x05\x05\x00\x01\0\0\0\0\0\0"],
            [b"\x05\x00", b"\x05\x00\x00\x09\0\0\0\0\0\0"],
            [b"\x05\x00", b"\x05\x00\x00"],
            [b"\x05\x00", b"\x05\x00\x00\x01\0\0\0\0\0\0extra"],
            [b""],
        ):

            def script(peer: Peer, answers: list[bytes] = answers) -> None:
                for answer in answers:
                    peer.recv()
                    peer.send(answer)

            with Server(script) as proxy:
                async with colour.proxy(url_of(proxy, b"socks5h")) as client:
                    with pytest.raises(httpcore.ProxyError):
                        await client.send(TARGET)
                    assert client.pool.statistics()["connections"] == 0

    colour.run(main)


@row("PRX-21")
def test_socks5_refuses_a_password(colour: Colour) -> None:
    """A proxy that goes on as if it had not is not gone on with."""

    def script(peer: Peer) -> None:
        peer.recv_exactly(4)
        peer.send(b"\x05\x02")
        peer.recv_exactly(7)
        peer.send(b"\x01\x01")
        if peer.recv():
            peer.send(b"\x05\x00\x00\x01\x7f\x00\x00\x01\x00\x50")
            peer.serve()

    async def main() -> None:
        with Server(script) as proxy:
            async with colour.proxy(url_of(proxy, b"socks5"), proxy_auth=("me", "pw")) as client:
                with pytest.raises(httpcore.ProxyError, match="password") as caught:
                    await client.send(TARGET)
                assert "pw" not in str(caught.value)
                assert client.pool.statistics()["connections"] == 0

    colour.run(main)


@row("PRX-09", "PRX-11")
@pytest.mark.parametrize("scheme", [b"http", b"https", b"socks5"])
def test_nothing_is_shared_between_credentials(colour: Colour, scheme: bytes) -> None:
    """Neither tunnels nor TLS sessions; and no credentials get into a tunnel."""
    resumed: list[object] = []
    greeted: list[bytes] = []

    async def main() -> None:
        context = client_context()
        with Server(serve, context=server_context()) as origin:

            def script(peer: Peer) -> None:
                if isinstance(peer.sock, ssl.SSLSocket):
                    resumed.append(peer.sock.session_reused)
                if scheme != b"socks5":
                    greeted.append(peer.recv_head())
                    peer.send(b"HTTP/1.1 200 OK\r\n\r\n")
                else:
                    peer.recv_exactly(4)
                    peer.send(b"\x05\x02")
                    head = peer.recv_exactly(2)
                    greeted.append(peer.recv_exactly(head[1] + 1 + len(SECRET)))
                    peer.send(b"\x01\x00")
                    peer.recv_exactly(4 + 1 + len("localhost") + 2)
                    peer.send(b"\x05\x00\x00\x01\x7f\x00\x00\x01\x00\x50")
                relay(peer, origin.port)

            with Server(script, context=server_context() if scheme == b"https" else None) as proxy:
                url = (b"https", b"localhost", origin.port, b"/a")
                clients = [
                    colour.proxy(
                        url_of(proxy, scheme),
                        ssl_context=context,
                        proxy_ssl_context=context,
                        proxy_auth=(user, SECRET),
                    )
                    for user in ("one", "two")
                ]
                for client in clients * 2:
                    assert await client.get(url) == b"/a"
                for client in clients:
                    await client.close()
                assert proxy.accepted == origin.accepted == 2
                for peer in origin.peers:
                    assert b"roxy" not in peer.received
                    assert SECRET.encode() not in peer.received

    colour.run(main)
    assert not any(resumed)
    assert len(set(greeted)) == len(greeted) == 2


@row("PRX-01", "PRX-09")
def test_what_a_refusal_tells(colour: Colour) -> None:
    """Status, phrase and fields; a proxy that forwards answers like any server."""
    answer = (
        b"HTTP/1.1 407 Proxy Authentication Required\r\n"
        b'Proxy-Authenticate: Basic realm="x"\r\nProxy-Authenticate: Digest\r\nContent-Length: 0\r\n\r\n'
    )

    async def main() -> None:
        with Server(after_head(answer)) as proxy:
            async with colour.proxy(url_of(proxy)) as client:
                with pytest.raises(httpcore.ProxyError) as caught:
                    await client.send((b"https", *TARGET[1:]))
                assert str(caught.value) == "407 Proxy Authentication Required"
                assert caught.value.status == 407
                fields = [(b"Proxy-Authenticate", b'Basic realm="x"'), (b"Proxy-Authenticate", b"Digest")]
                assert caught.value.headers[:2] == fields
                response = await client.send(TARGET)
                assert response.status == 407
                assert response.headers[:2] == fields

    colour.run(main)


@row("PRX-21")
def test_a_name_that_socks_cannot_carry(colour: Colour) -> None:
    async def main() -> None:
        with Server(serve) as proxy:
            async with colour.proxy(url_of(proxy, b"socks5")) as client:
                with pytest.raises(httpcore.ProxyError, match="1 to 255 bytes") as caught:
                    await client.send((b"http", b"a" * 256, None, b"/"))
                assert isinstance(caught.value.__cause__, httpcore.LocalProtocolError)
                assert client.pool.statistics()["connections"] == 0
                assert proxy.accepted == 0

    colour.run(main)


@row("PRX-10")
def test_a_host_that_is_none(colour: Colour) -> None:
    async def main() -> None:
        with Server(serve) as proxy:
            for scheme, mode in ((b"http", "DEFAULT"), (b"http", "TUNNEL_ONLY"), (b"socks5", "DEFAULT")):
                async with colour.proxy(url_of(proxy, scheme), proxy_mode=mode) as client:
                    for host in (b"a\r\nb", b"a b", b"a\0", "ä".encode(), b"a/b", b"a@b", b"a?b", b"a#b"):
                        with pytest.raises(httpcore.LocalProtocolError):
                            await client.send((b"http", host, None, b"/"), headers=[(b"Host", b"h")])
            assert proxy.accepted == 0

    colour.run(main)
