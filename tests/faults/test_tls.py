"""TLS: what a handshake may do, and where a stream may end."""

from __future__ import annotations

import queue
import ssl
import threading
from time import monotonic

import pytest

import httpcore

from ..colours import Colour
from ..peers.certificates import CA, client_context, server_context
from ..peers.proxies import socks_to, tunnel_to
from ..peers.records import Records
from ..peers.scripted import Peer, Server, first_then_serve, serve
from ..stopwatch import Stopwatch
from .rows import row

pytestmark = pytest.mark.usefixtures("nothing_left")


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
                        await client.send(server.url(scheme=b"https"), connect=0.3)
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
def test_nothing_in_common(colour: Colour) -> None:
    """No version, no cipher, and an alert that says that the server speaks none of our protocols."""
    new = server_context()
    new.minimum_version = ssl.TLSVersion.TLSv1_3
    old = client_context()
    old.maximum_version = ssl.TLSVersion.TLSv1_2
    weak = client_context()
    weak.maximum_version = ssl.TLSVersion.TLSv1_2
    weak.set_ciphers("ECDHE-RSA-AES128-GCM-SHA256")

    def refuse(peer: Peer) -> None:
        peer.recv()
        peer.send(b"\x15\x03\x03\x00\x02\x02\x78")

    async def main(server: Server, context: ssl.SSLContext, hint: str) -> None:
        with server, Server(serve) as plain:
            async with colour.client(ssl_context=context, max_connections=1) as client:
                with pytest.raises(httpcore.ConnectError, match=hint):
                    await client.send(server.url(scheme=b"https"))
                assert await client.get(plain.url(b"/next")) == b"/next"

    colour.run(main, Server(serve, context=new), old, "version")
    colour.run(main, Server(serve, context=server_context()), weak, "none of what was offered")
    colour.run(main, Server(refuse), client_context(), "none of the protocols")


@row("TLS-14", "TMO-10")
def test_a_handshake_that_drips(colour: Colour) -> None:
    """Bytes that arrive one by one do not prolong the one deadline."""

    def script(peer: Peer) -> None:
        peer.recv()
        peer.send(b"\x16\x03\x03\x40\x00\x02\x00\x3f\xfc\x03\x03")
        while not peer.server.release.wait(0.01):
            peer.send(b"\0")

    async def main() -> None:
        with Server(script) as server, Server(serve) as plain:
            async with colour.client(ssl_context=client_context(), max_connections=1) as client:
                watch = Stopwatch()
                with pytest.raises(httpcore.ConnectTimeout):
                    await client.send(server.url(scheme=b"https"), connect=0.1)
                assert watch.elapsed + 0.001 >= 0.1
                assert watch.taken < 0.5
                assert await client.get(plain.url(b"/next")) == b"/next"

    colour.run(main)


@row("TLS-18", "TLS-19")
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
    chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"
    assert colour.run(main, chunked, False) == b"ok"
    assert isinstance(colour.run(main, chunked[:-5], True), httpcore.RemoteProtocolError)
    unframed = b"HTTP/1.1 200 OK\r\n\r\nok"
    assert colour.run(main, unframed, True) == b"ok"
    assert isinstance(colour.run(main, unframed, False), httpcore.RemoteProtocolError)
    assert isinstance(colour.run(main, b"HTTP/1.1 200 OK\r\nConte", False), httpcore.RemoteProtocolError)


@row("TLS-20")
def test_late_tickets_do_not_make_a_connection_look_dead(colour: Colour) -> None:
    """They arrive on a connection that was opened ahead, and is idle."""
    told = threading.Event()

    def script(peer: Peer) -> None:
        records = Records(peer, context)
        tickets = records.handshake()
        assert tickets
        peer.server.hold()
        peer.send(tickets)
        told.set()
        records.serve()

    context = server_context()
    context.num_tickets = 4

    async def main() -> None:
        told.clear()
        with Server(script) as server:
            async with colour.client(ssl_context=client_context()) as client:
                await client.preconnect(server.url(scheme=b"https"))
                server.release.set()
                assert told.wait(5)
                for _ in range(3):
                    assert await client.get(server.url(b"/a", scheme=b"https")) == b"/a"
                assert server.accepted == 1

    colour.run(main)


@row("TLS-20", "H1P-30")
def test_data_on_an_idle_tls_connection_makes_it_useless(colour: Colour) -> None:
    stray = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nstray"

    def script(peer: Peer) -> None:
        records = Records(peer, context)
        tickets = records.handshake()
        if peer.number:
            peer.send(tickets)
            records.serve()
        else:
            peer.server.hold()
            # In one segment, so that the tickets in front of it do not hide it.
            peer.send(tickets + records.encrypt(stray))
            told.set()
            peer.recv_to_end()

    context = server_context()
    told = threading.Event()

    async def main() -> None:
        told.clear()
        with Server(script) as server:
            async with colour.client(ssl_context=client_context()) as client:
                await client.preconnect(server.url(scheme=b"https"))
                server.release.set()
                assert told.wait(5)
                # Past the time for which the loop is believed without asking the kernel.
                until = monotonic() + 0.005
                while monotonic() < until:
                    pass
                assert await client.get(server.url(b"/next", scheme=b"https")) == b"/next"
                assert server.accepted == 2

    colour.run(main)


@row("TLS-22")
def test_records_of_every_size_and_cut(colour: Colour) -> None:
    """Records of one byte, records cut in two at each byte, full records in pieces of all sizes."""
    body = bytes(range(256)) * 400
    head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n"

    def script(peer: Peer) -> None:
        records = Records(peer, context)
        peer.send(records.handshake())
        small = head % 3 + b"abc"
        while records.recv_head():
            for i in range(len(small)):
                peer.send(records.encrypt(small[i : i + 1]))
            records.recv_head()
            record = records.encrypt(small)
            for i in range(len(record)):
                peer.send(record[i : i + 1])
            records.recv_head()
            large = records.encrypt(head % len(body) + body)
            start = 0
            for size in range(1, len(large)):
                peer.send(large[start : start + size * size])
                start += size * size
                if start >= len(large):
                    break
            records.serve()

    context = server_context()

    async def main() -> None:
        with Server(script) as server:
            async with colour.client(ssl_context=client_context()) as client:
                url = server.url(b"/next", scheme=b"https")
                for expected in (b"abc", b"abc", body, b"/next"):
                    assert await client.get(url) == expected
                assert server.accepted == 1

    colour.run(main)


@row("TLS-23")
def test_an_alert_inside_a_response(colour: Colour) -> None:
    """Also a record that was spoilt on its way: what came before is delivered, the rest never."""

    def script(peer: Peer) -> None:
        records = Records(peer, context)
        peer.send(records.handshake())
        if peer.number:
            records.serve()
            return
        records.recv_head()
        peer.send(records.encrypt(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n12345"))
        peer.server.hold()
        if is_spoilt:
            record = records.encrypt(b"67890")
            peer.send(record[:-1] + bytes((record[-1] ^ 1,)))
        else:
            peer.send(records.alert())
        peer.recv_to_end()

    context = server_context()
    is_spoilt = False

    async def main() -> None:
        with Server(script) as server:
            async with colour.client(ssl_context=client_context(), max_connections=1) as client:
                response = await client.send(server.url(scheme=b"https"))
                chunks = response.reader()
                assert await chunks.next() == b"12345"
                server.release.set()
                with pytest.raises(httpcore.ReadError):
                    await chunks.next()
                assert await client.get(server.url(b"/next", scheme=b"https")) == b"/next"

    colour.run(main)
    is_spoilt = True
    colour.run(main)


@row("TLS-24")
def test_both_directions_at_once(colour: Colour) -> None:
    """An echo that begins before the upload is over: who waits to write has to read as well."""
    chunk = bytes(range(256)) * 256
    count = 60

    def script(peer: Peer) -> None:
        peer.recv_head()
        peer.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        while size := int(peer.recv_until(b"\r\n") or b"0", 16):
            piece = peer.recv_exactly(size + 2)
            peer.send(b"%x\r\n%b" % (size, piece))
        peer.recv_until(b"\r\n")
        peer.send(b"0\r\n\r\n")
        peer.serve()

    async def main() -> None:
        with Server(first_then_serve(script), context=server_context()) as server:
            async with colour.client(ssl_context=client_context()) as client:
                fields = [(b"Host", b"h"), (b"Transfer-Encoding", b"chunked")]
                response = await client.send(server.url(), b"POST", fields, colour.stream([chunk] * count))
                assert await response.read() == chunk * count
                assert await client.get(server.url(b"/next")) == b"/next"
                assert server.accepted == 1

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


@row("TLS-25")
def test_no_session_of_another_context_or_of_a_failure(colour: Colour) -> None:
    """A pool that does not trust the server learns nothing from one that does, nor from its own failures."""
    reused: list[bool | None] = []

    def script(peer: Peer) -> None:
        assert isinstance(peer.sock, ssl.SSLSocket)
        peer.recv_head()
        reused.append(peer.sock.session_reused)
        peer.answer(extra=b"Connection: close\r\n")

    async def main() -> None:
        reused.clear()
        with Server(script, context=server_context()) as server:
            lax = client_context()
            lax.check_hostname = False
            for context in (client_context(), lax, client_context()):
                async with colour.client(ssl_context=context) as client:
                    assert await client.get(server.url()) == b"ok"
            async with colour.client(ssl_context=ssl.create_default_context()) as client:
                for _ in range(2):
                    with pytest.raises(httpcore.ConnectError, match="not accepted"):
                        await client.get(server.url())
            assert reused == [False, False, False]

    colour.run(main)


@row("TLS-25")
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_no_session_from_before_its_context_was_made_to_verify(
    colour: Colour, version: ssl.TLSVersion
) -> None:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    servers_context = server_context()
    servers_context.maximum_version = version

    def script(peer: Peer) -> None:
        peer.recv_head()
        # The session is kept with the first bytes of the answer, but it was made before.
        context.verify_mode = ssl.CERT_REQUIRED
        peer.answer(extra=b"Connection: close\r\n")

    async def main() -> None:
        with Server(script, context=servers_context) as server:
            async with colour.client(ssl_context=context) as client:
                assert await client.get(server.url()) == b"ok"
                for _ in range(2):
                    with pytest.raises(httpcore.ConnectError, match="not accepted"):
                        await client.get(server.url())

    colour.run(main)


@row("TLS-25")
def test_a_session_is_for_one_name(colour: Colour) -> None:
    """The same server under another name is verified from the beginning."""

    async def main() -> None:
        with Server(serve, context=server_context("localhost")) as server:
            async with colour.client(ssl_context=client_context(), max_keepalive_connections=0) as client:
                assert await client.get((b"https", b"localhost", server.port, b"/a")) == b"/a"
                with pytest.raises(httpcore.ConnectError, match="not accepted"):
                    await client.get((b"https", b"127.0.0.1", server.port, b"/a"))
                assert await client.get((b"https", b"localhost", server.port, b"/next")) == b"/next"

    colour.run(main)


@row("TLS-26")
def test_schemes_and_names_do_not_share(colour: Colour) -> None:
    async def main() -> None:
        with Server(serve, context=server_context()) as server:
            async with colour.client(ssl_context=client_context()) as client:
                assert await client.get(server.url(b"/a")) == b"/a"
                with pytest.raises((httpcore.RemoteProtocolError, httpcore.ReadError)):
                    await client.get(server.url(b"/a", scheme=b"http"))
                assert await client.get((b"https", b"localhost", server.port, b"/b")) == b"/b"
                assert await client.get(server.url(b"/c")) == b"/c"
                assert server.accepted == 3
                assert len(await client.info()) == 2

    colour.run(main)


@row("TLS-21")
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_client_certificate_that_is_missing(colour: Colour, version: ssl.TLSVersion) -> None:
    """TLS 1.2 says so in the handshake; TLS 1.3 when we believe that it is over."""
    context = server_context()
    context.maximum_version = version
    context.verify_mode = ssl.CERT_REQUIRED
    CA.configure_trust(context)

    async def main() -> None:
        with Server(serve, context=context) as server, Server(serve) as plain:
            async with colour.client(ssl_context=client_context(), max_connections=1) as client:
                with pytest.raises((httpcore.ConnectError, httpcore.ReadError)) as caught:
                    await client.get(server.url())
                if version is ssl.TLSVersion.TLSv1_2:
                    assert isinstance(caught.value, httpcore.ConnectError)
                assert "certificate" in str(caught.value) or "handshake" in str(caught.value)
                assert await client.get(plain.url(b"/next")) == b"/next"
            mine = client_context()
            CA.issue_cert("me@example.org").configure_cert(mine)
            async with colour.client(ssl_context=mine) as client:
                assert await client.get(server.url(b"/a")) == b"/a"

    colour.run(main)


@row("TLS-29")
def test_closing_does_not_wait_for_the_peers_goodbye(colour: Colour) -> None:
    """Ours is sent; a peer that neither reads nor answers it does not matter."""
    tails: queue.Queue[bytes] = queue.Queue()

    def script(peer: Peer) -> None:
        assert isinstance(peer.sock, ssl.SSLSocket)
        peer.recv_head()
        peer.answer()
        peer.server.hold()
        try:
            tails.put(peer.sock.recv(1))
        except ssl.SSLError as exc:
            tails.put(str(exc).encode())

    async def main() -> None:
        with Server(script, context=server_context()) as server:
            client = colour.client(ssl_context=client_context())
            assert await client.get(server.url()) == b"ok"
            watch = Stopwatch()
            await client.close()
            assert watch.taken < 0.3
            server.release.set()
            # A reset, or an end without close_notify, would be an error.
            assert tails.get(timeout=5) == b""
            assert await client.get(server.url()) == b"ok"
            await client.close()
            assert tails.get(timeout=5) == b""

    colour.run(main)


@row("TLS-27", "PRX-14", "PRX-15")
@pytest.mark.parametrize("scheme", [b"https", b"socks5"])
def test_tls_in_tls(colour: Colour, scheme: bytes) -> None:
    """Each certificate is verified against its own name, by its own context; so is the one behind SOCKS5."""

    async def main() -> None:
        with Server(serve, context=server_context("localhost")) as origin:
            is_https = scheme == b"https"
            proxy_context = server_context("127.0.0.1") if is_https else None
            script = tunnel_to(origin.port) if is_https else socks_to(origin.port)
            with Server(script, context=proxy_context) as proxy:
                url = (b"https", b"localhost", origin.port, b"/a")
                proxy_url = (scheme, b"127.0.0.1", proxy.port, b"/")
                trusting = {"ssl_context": client_context(), "proxy_ssl_context": client_context()}
                async with colour.proxy(proxy_url, **trusting) as client:
                    for _ in range(2):
                        assert await client.get(url) == b"/a"
                    assert proxy.accepted == 1
                if is_https:
                    async with colour.proxy(proxy_url, **{**trusting, "proxy_ssl_context": None}) as client:
                        with pytest.raises(httpcore.ProxyError) as caught:
                            await client.get(url)
                        assert isinstance(caught.value.__cause__, httpcore.ConnectError)
                        assert proxy.peers[-1].received == b""
                async with colour.proxy(proxy_url, **{**trusting, "ssl_context": None}) as client:
                    with pytest.raises(httpcore.ConnectError, match="localhost"):
                        await client.get(url)
                assert len([peer for peer in origin.peers if peer.received]) == 1

    colour.run(main)
