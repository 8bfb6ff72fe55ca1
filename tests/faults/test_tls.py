"""TLS: who is believed, what a handshake may do, and where a stream may end."""

from __future__ import annotations

import ssl
import threading

import pytest
import trustme

import httpcore

from ..colours import Colour
from ..peers.scripted import Peer, Server, first_then_serve, serve
from .rows import row

pytestmark = pytest.mark.usefixtures("nothing_left")

CA = trustme.CA()


def server_context(*names: str, ca: trustme.CA = CA, **options: object) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ca.issue_cert(*(names or ("127.0.0.1", "localhost")), **options).configure_cert(context)  # type: ignore[arg-type]
    return context


def client_context() -> ssl.SSLContext:
    context = ssl.create_default_context()
    CA.configure_trust(context)
    return context


async def _refused(
    colour: Colour, context: ssl.SSLContext, host: bytes = b"127.0.0.1", **options: object
) -> str:
    """A ConnectError, no byte of the request sent; the pool goes on."""
    with Server(serve, context=context) as server, Server(serve) as plain:
        async with colour.client(
            **{"ssl_context": client_context(), "max_connections": 1, **options}
        ) as client:
            with pytest.raises(httpcore.ConnectError) as caught:
                await client.send((b"https", host, server.port, b"/"))
            assert not caught.value.request_sent
            assert all(peer.received == b"" for peer in server.peers)
            assert await client.get(plain.url(b"/next")) == b"/next"
            return str(caught.value)


@row("TLS-01", "TLS-10")
def test_an_unknown_issuer(colour: Colour) -> None:
    assert "not accepted" in colour.run(_refused, colour, server_context(ca=trustme.CA()))
    assert "not accepted" in colour.run(lambda: _refused(colour, server_context(), ssl_context=None))


@row("TLS-02")
def test_an_expired_certificate(colour: Colour) -> None:
    import datetime

    past = datetime.datetime(2001, 1, 1, tzinfo=datetime.timezone.utc)
    context = server_context("127.0.0.1", not_after=past)
    assert "expired" in colour.run(_refused, colour, context)


@row("TLS-03", "TLS-05", "TLS-07")
def test_a_wrong_name(colour: Colour) -> None:
    assert "mismatch" in colour.run(_refused, colour, server_context("example.org"))
    assert "mismatch" in colour.run(_refused, colour, server_context("127.0.0.1"), b"localhost")


@row("TLS-04", "TLS-07", "TLS-08")
def test_the_right_name_among_many(colour: Colour) -> None:
    async def main() -> None:
        names = [f"host{i}.example" for i in range(50)]
        seen: list[str | None] = []
        context = server_context("localhost", *names, "127.0.0.1")
        context.sni_callback = lambda sock, name, ctx: seen.append(name)
        with Server(serve, context=context) as server:
            async with colour.client(ssl_context=client_context()) as client:
                for host in (b"localhost", b"127.0.0.1"):
                    assert await client.get((b"https", host, server.port, b"/a")) == b"/a"
        # RFC 6066 §3: no server name for an address.
        assert seen == ["localhost", None]

    colour.run(main)


@row("TLS-08")
def test_a_name_with_two_dots_at_its_end(colour: Colour) -> None:
    async def main() -> None:
        async with colour.client(ssl_context=client_context()) as client:
            with pytest.raises((httpcore.LocalProtocolError, httpcore.ConnectError)):
                await client.send((b"https", b"localhost..", 1, b"/"))

    colour.run(main)


@row("TLS-12", "TLS-30")
def test_a_port_that_speaks_plain_http(colour: Colour) -> None:
    async def main() -> None:
        def script(peer: Peer) -> None:
            peer.recv()
            peer.send(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
            peer.recv_to_end()

        with Server(script) as server, Server(serve) as plain:
            async with colour.client(ssl_context=client_context(), max_connections=1) as client:
                with pytest.raises(httpcore.ConnectError, match="TLS"):
                    await client.send(server.url(scheme=b"https"))
                assert await client.get(plain.url(b"/next")) == b"/next"

    colour.run(main)


@row("TLS-13")
def test_a_tls_alert_to_a_plain_request(colour: Colour) -> None:
    async def main() -> None:
        with Server(serve, context=server_context()) as server:
            async with colour.client() as client:
                with pytest.raises((httpcore.RemoteProtocolError, httpcore.ReadError)):
                    await client.send(server.url(scheme=b"http"))

    colour.run(main)


@row("TLS-14", "CAN-04", "TMO-10")
def test_a_handshake_that_stalls(colour: Colour) -> None:
    async def main() -> None:
        with Server(lambda peer: peer.server.hold()) as server:
            async with colour.client(ssl_context=client_context(), max_connections=1) as client:
                for _ in range(2):
                    with pytest.raises(httpcore.ConnectTimeout, match="TLS handshake"):
                        await client.send(server.url(scheme=b"https"), connect=0.1)
                assert client.pool.statistics()["connections"] == 0

    colour.run(main)


@row("TLS-15", "TLS-30", "TCP-16")
def test_a_handshake_cut_short(colour: Colour) -> None:
    async def main(end: str) -> None:
        def script(peer: Peer) -> None:
            peer.recv()
            peer.reset() if end == "reset" else peer.close()

        with Server(script) as server:
            async with colour.client(ssl_context=client_context()) as client:
                with pytest.raises(httpcore.ConnectError):
                    await client.send(server.url(scheme=b"https"))

    colour.run(main, "reset")
    colour.run(main, "close")


@row("TLS-16")
def test_no_version_in_common(colour: Colour) -> None:
    context = server_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    old = client_context()
    old.maximum_version = ssl.TLSVersion.TLSv1_2
    colour.run(lambda: _refused(colour, context, ssl_context=old))


@row("TLS-18", "TLS-19", "TLS-29")
def test_an_end_without_close_notify(colour: Colour) -> None:
    async def main(data: bytes, goodbye: bool) -> bytes | Exception:
        def script(peer: Peer) -> None:
            peer.recv_head()
            peer.send(data)
            if goodbye:
                # Half of it: the peer's own is not waited for.
                peer.sock.setblocking(False)
                peer.say_goodbye()

        with Server(first_then_serve(script), context=server_context()) as server:
            async with colour.client(ssl_context=client_context()) as client:
                result: bytes | Exception
                try:
                    result = await client.get(server.url())
                except (httpcore.RemoteProtocolError, httpcore.ReadError) as exc:
                    result = exc
                assert await client.get(server.url(b"/next")) == b"/next"
                return result

    framed = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
    assert colour.run(main, framed, False) == b"ok"
    unframed = b"HTTP/1.1 200 OK\r\n\r\nok"
    assert colour.run(main, unframed, True) == b"ok"
    assert isinstance(colour.run(main, unframed, False), httpcore.RemoteProtocolError)
    assert isinstance(colour.run(main, b"HTTP/1.1 200 OK\r\nConte", False), httpcore.RemoteProtocolError)


@row("TLS-20")
def test_late_tickets_do_not_make_a_connection_look_dead(colour: Colour) -> None:
    async def main() -> None:
        context = server_context()
        context.num_tickets = 4
        with Server(serve, context=context) as server:
            async with colour.client(ssl_context=client_context()) as client:
                for _ in range(5):
                    assert await client.get(server.url(b"/a")) == b"/a"
                assert server.accepted == 1

    colour.run(main)


@row("TLS-22", "TLS-24")
def test_large_bodies_both_ways(colour: Colour) -> None:
    body = bytes(range(256)) * 20_000

    def script(peer: Peer) -> None:
        while (request := peer.recv_request())[0]:
            peer.answer(request[1])

    async def main() -> None:
        with Server(script, context=server_context()) as server:
            async with colour.client(ssl_context=client_context()) as client:
                fields = [(b"Host", b"h"), (b"Content-Length", b"%d" % len(body))]
                stream = httpcore.PlainByteStream(body)
                response = await client.send(server.url(), b"POST", fields, stream)
                assert await response.read() == body

    colour.run(main)


@row("TLS-25")
def test_sessions_are_resumed(colour: Colour) -> None:
    reused: list[bool | None] = []

    def script(peer: Peer) -> None:
        assert isinstance(peer.sock, ssl.SSLSocket)
        peer.recv_head()
        reused.append(peer.sock.session_reused)
        peer.answer(extra=b"Connection: close\r\n")

    async def main() -> None:
        with Server(script, context=server_context()) as server:
            async with colour.client(ssl_context=client_context()) as client:
                for _ in range(3):
                    assert await client.get(server.url()) == b"ok"

    colour.run(main)
    assert reused[0] is False
    assert reused[1:] == [True, True]


@row("TLS-26")
def test_https_and_http_do_not_share(colour: Colour) -> None:
    async def main() -> None:
        with Server(serve, context=server_context()) as server:
            async with colour.client(ssl_context=client_context()) as client:
                assert await client.get(server.url(b"/a")) == b"/a"
                with pytest.raises((httpcore.RemoteProtocolError, httpcore.ReadError)):
                    await client.get(server.url(b"/a", scheme=b"http"))

    colour.run(main)


@row("TLS-11")
def test_a_context_of_the_callers_is_used_as_it_is(colour: Colour) -> None:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE

    async def main() -> None:
        with Server(serve, context=server_context("example.org", ca=trustme.CA())) as server:
            async with colour.client(ssl_context=context) as client:
                assert await client.get(server.url(b"/a")) == b"/a"

    colour.run(main)


@row("TLS-21")
def test_a_client_certificate_that_is_missing(colour: Colour) -> None:
    context = server_context()
    context.verify_mode = ssl.CERT_REQUIRED
    CA.configure_trust(context)

    async def main() -> None:
        with Server(serve, context=context) as server:
            async with colour.client(ssl_context=client_context()) as client:
                with pytest.raises((httpcore.ConnectError, httpcore.ReadError, httpcore.RemoteProtocolError)):
                    await client.get(server.url())
            mine = client_context()
            CA.issue_cert("me@example.org").configure_cert(mine)
            async with colour.client(ssl_context=mine) as client:
                assert await client.get(server.url(b"/a")) == b"/a"

    colour.run(main)


@row("TLS-27", "PRX-14", "PRX-15")
def test_tls_in_tls(colour: Colour) -> None:
    import socket

    def proxy_script(peer: Peer) -> None:
        peer.recv_head()
        peer.send(b"HTTP/1.1 200 OK\r\n\r\n")
        upstream = socket.create_connection(("127.0.0.1", origin_port))

        def pump() -> None:
            while data := upstream.recv(65536):
                peer.send(data)

        thread = threading.Thread(target=pump)
        thread.start()
        while data := peer.recv():
            upstream.sendall(data)
        upstream.shutdown(socket.SHUT_RDWR)
        thread.join()
        upstream.close()

    origin_port = 0

    async def main() -> None:
        nonlocal origin_port
        with (
            Server(serve, context=server_context("localhost")) as origin,
            Server(proxy_script, context=server_context("127.0.0.1")) as proxy,
        ):
            origin_port = origin.port
            url = (b"https", b"localhost", origin.port, b"/a")
            proxy_url = (b"https", b"127.0.0.1", proxy.port, b"/")
            trusting = {"ssl_context": client_context(), "proxy_ssl_context": client_context()}
            async with colour.proxy(proxy_url, **trusting) as client:
                for _ in range(2):
                    assert await client.get(url) == b"/a"
                assert proxy.accepted == 1
            async with colour.proxy(proxy_url, **{**trusting, "proxy_ssl_context": None}) as client:
                with pytest.raises(httpcore.ProxyError) as caught:
                    await client.get(url)
                assert isinstance(caught.value.__cause__, httpcore.ConnectError)
            async with colour.proxy(proxy_url, **{**trusting, "ssl_context": None}) as client:
                with pytest.raises(httpcore.ConnectError):
                    await client.get(url)

    colour.run(main)
