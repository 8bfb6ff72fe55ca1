"""Proxies that do what they are for: forwarding, tunnels, SOCKS5, TLS in TLS, and HTTP/2 behind all of them."""

from __future__ import annotations

import cProfile
import pstats
import ssl
import threading
from functools import partial
from typing import Any

import pytest

import httpcore

from .colours import TIMEOUT, Client, Colour, drive
from .peers.certificates import client_context, server_context
from .peers.http2 import h2_context, http2
from .peers.http2 import serve as serve_http2
from .peers.proxies import any_proxy, relay, socks_to, tunnel_to
from .peers.scripted import Peer, Script, Server, serve

pytestmark = pytest.mark.usefixtures("nothing_left")

EITHER = ("h2", "http/1.1")

SCHEMES = [b"http", b"https", b"socks5"]

WAYS = {
    "forward": (b"http", "DEFAULT"),
    "forward-over-tls": (b"https", "DEFAULT"),
    "tunnel": (b"http", "TUNNEL_ONLY"),
    "tunnel-over-tls": (b"https", "TUNNEL_ONLY"),
    "socks5": (b"socks5", "DEFAULT"),
    "socks5h": (b"socks5h", "DEFAULT"),
}
"""Every way to an http origin: the proxy's scheme and mode."""

NAMES = ("127.0.0.1", "localhost", "proxy.example")

ORIGIN = (b"http", b"origin.example", None, b"/a")


def proxy_server(scheme: bytes, carry: Script, **options: Any) -> Server:
    return Server(carry, context=server_context(*NAMES) if scheme == b"https" else None, **options)


def tunnels(scheme: bytes, origin: Server) -> Server:
    """A proxy of that scheme, all of whose tunnels lead to `origin`."""
    return proxy_server(scheme, (socks_to if scheme.startswith(b"socks") else tunnel_to)(origin.port))


def client_of(colour: Colour, proxy: Server, scheme: bytes = b"http", **options: Any) -> Client:
    """A client whose one context is for the proxy and for the origin."""
    context = client_context()
    settings = {"ssl_context": context, "proxy_ssl_context": context, **options}
    host = settings.pop("host", b"127.0.0.1")
    return colour.proxy((scheme, host, proxy.port, b"/"), **settings)


def client_by(way: str, colour: Colour, proxy: Server, **options: Any) -> Client:
    scheme, mode = WAYS[way]
    return client_of(colour, proxy, scheme, proxy_mode=mode, **options)


# HTTP/2, and both versions on one path.


@pytest.mark.parametrize("scheme", SCHEMES)
def test_http2_through_every_kind_of_proxy(colour: Colour, scheme: bytes) -> None:
    """What ALPN offers to the origin is never offered to the proxy, though the context is the same."""
    chosen: list[Any] = []

    async def main() -> None:
        with Server(http2(serve_http2), context=h2_context()) as origin:
            carry = socks_to(origin.port) if scheme == b"socks5" else tunnel_to(origin.port)

            def script(peer: Peer) -> None:
                if isinstance(peer.sock, ssl.SSLSocket):
                    chosen.append(peer.sock.selected_alpn_protocol())
                carry(peer)

            context = h2_context(*EITHER) if scheme == b"https" else None
            with Server(script, context=context) as proxy:
                options = {"http2": True, "max_connections": 1, "max_keepalive_connections": 0}
                async with client_of(colour, proxy, scheme, **options) as client:
                    for target in (b"/1", b"/2", b"/3"):
                        response = await client.send((b"https", b"localhost", origin.port, target))
                        assert response.ext == {"http_version": "HTTP/2"}
                        assert await response.read() == target

    colour.run(main)
    assert chosen == (["http/1.1"] * 3 if scheme == b"https" else [])


@pytest.mark.parametrize("scheme", SCHEMES)
def test_cold_requests_share_one_http2_connection(colour: Colour, scheme: bytes) -> None:
    """One dial, one tunnel, for all that come before it stands."""
    count = 8

    def script(peer: Any) -> None:
        # None is answered before all are here, on this one connection.
        for request in peer.recv_requests(count):
            peer.answer_soon(request, request.path)
        peer.serve()

    async def main() -> None:
        with Server(http2(script), context=h2_context()) as origin, tunnels(scheme, origin) as proxy:
            async with client_of(colour, proxy, scheme, http2=True) as client:

                async def one(i: int) -> None:
                    url = (b"https", b"localhost", origin.port, b"/%d" % i)
                    assert await client.get(url) == b"/%d" % i

                await colour.gather(*(partial(one, i) for i in range(count)))
                assert proxy.accepted == origin.accepted == 1
                assert client.pool.statistics()["opened"] == 1

    colour.run(main)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_they_fan_out_where_the_origin_speaks_http11(colour: Colour, scheme: bytes) -> None:
    count = 5
    all_here = threading.Barrier(count)

    def script(peer: Peer) -> None:
        head = peer.recv_head()
        if head:
            # None is answered before all are here, each on a connection of its own.
            all_here.wait(TIMEOUT)
            peer.answer(head.split(b" ")[1])
        peer.serve()

    async def main() -> None:
        context = h2_context("http/1.1")
        with Server(script, context=context) as origin, tunnels(scheme, origin) as proxy:
            async with client_of(colour, proxy, scheme, http2=True, max_connections=count) as client:

                async def one(i: int) -> None:
                    response = await client.send((b"https", b"localhost", origin.port, b"/%d" % i))
                    assert response.ext["http_version"] == "HTTP/1.1"
                    assert await response.read() == b"/%d" % i

                await colour.gather(*(partial(one, i) for i in range(count)))
                assert proxy.accepted == origin.accepted == count

    colour.run(main)


def test_cold_requests_whose_one_dial_fails(colour: Colour) -> None:
    """None is left waiting for what will not come."""

    def script(peer: Peer) -> None:
        if peer.recv_head():
            peer.send(b"HTTP/1.1 403 Forbidden\r\n\r\n")

    async def main() -> None:
        with Server(script) as proxy:
            async with client_of(colour, proxy, http2=True, max_connections=2) as client:

                async def one() -> None:
                    with pytest.raises(httpcore.ProxyError, match=r"^403 Forbidden$"):
                        await client.get((b"https", b"localhost", 443, b"/"))

                await colour.gather(*[one] * 6)
                assert client.pool.statistics()["connections"] == 0

    colour.run(main)


@pytest.mark.parametrize("scheme", [b"http", b"socks5"])
def test_an_http2_origin_may_speak_first(colour: Colour, scheme: bytes) -> None:
    """With prior knowledge its SETTINGS may be here with the proxy's answer, and are not lost (RFC 9113 §3.4)."""

    async def main() -> None:
        with Server(http2(serve_http2)) as origin:

            def script(peer: Peer) -> None:
                if scheme == b"socks5":
                    peer.recv_exactly(peer.recv_exactly(2)[1])
                    peer.send(b"\x05\x00")
                    peer.recv_exactly(peer.recv_exactly(5)[4] + 2)
                    answer = b"\x05\x00\x00\x01\x7f\x00\x00\x01\x00\x50"
                else:
                    peer.recv_head()
                    answer = b"HTTP/1.1 200 OK\r\nVia: x\r\n\r\n"
                relay(peer, origin.port, greeting=answer)

            with Server(script) as proxy:
                options = {"proxy_mode": "TUNNEL_ONLY", "http1": False, "http2": True}
                async with client_of(colour, proxy, scheme, **options) as client:
                    for target in (b"/1", b"/2"):
                        assert await client.get((b"http", b"origin.example", None, target)) == target
                    assert proxy.accepted == 1

    colour.run(main)


# What forwarding makes of a request, and how connections are shown.


def test_what_is_forwarded(colour: Colour) -> None:
    targets = [
        ((b"http", b"a.example", None, b"/x?y"), b"http://a.example/x?y"),
        ((b"http", b"a.example", 80, b"/"), b"http://a.example:80/"),
        ((b"http", b"a.example", 8080, b"?y"), b"http://a.example:8080?y"),
        ((b"http", b"::1", None, b"/"), b"http://[::1]/"),
        ((b"https", b"::1", 8443, b"/"), b"https://[::1]:8443/"),
        # RFC 9112 §3.2.4.
        ((b"http", b"a.example", None, b"*"), b"http://a.example"),
    ]

    async def main() -> None:
        with Server(serve) as proxy:
            async with client_of(colour, proxy, proxy_mode="FORWARD_ONLY") as client:
                for url, target in targets:
                    assert await client.get(url) == target
                assert proxy.accepted == 1
                assert await client.info() == {f"http://127.0.0.1:{proxy.port}": ["HTTP/1.1, IDLE"]}

    colour.run(main)


def test_what_cannot_be_forwarded(colour: Colour) -> None:
    """What would make another host of it, once it is one URL."""
    urls = [
        (b"http", b"a.example", None, b"@b.example/"),
        (b"http", b"a.example", None, b".b.example/"),
        (b"http", b"a.example", None, b""),
        (b"http", b"a.example", None, b"http://b.example/"),
        (b"http", b"b.example/", None, b"/"),
        (b"http", b"me@b.example", None, b"/"),
        (b"http", b"b.example\r\nX: y", None, b"/"),
        (b"https", b"b.example#", None, b"/"),
    ]

    async def main() -> None:
        with Server(serve) as proxy:
            async with client_of(colour, proxy) as client:
                for url in urls:
                    with pytest.raises(httpcore.LocalProtocolError):
                        await client.send(url)
                assert proxy.accepted == 0

    colour.run(main)


def test_a_tunnel_of_the_callers_own(colour: Colour) -> None:
    def script(peer: Peer) -> None:
        assert peer.recv_head() == (
            b"CONNECT b.example:443 HTTP/1.1\r\nProxy-Authorization: Basic bWU6cHc=\r\nHost: b.example:443\r\n\r\n"
        )
        peer.send(b"HTTP/1.1 200 OK\r\n\r\nhello from b.example")

    async def main() -> None:
        with Server(script) as proxy:
            async with client_of(colour, proxy, proxy_auth=("me", "pw")) as client:
                url = (b"http", b"b.example", 443, b"b.example:443")
                response = await client.send(url, b"CONNECT", [(b"Host", b"b.example:443")])
                assert response.status == 200
                assert await response.read() == b"hello from b.example"

    colour.run(main)


def test_headers_are_merged_by_name(colour: Colour) -> None:
    ours = [(b"Via", b"us"), (b"X-A", b"1"), (b"X-A", b"2"), (b"User-Agent", b"ours")]
    lists = [
        ([(b"Host", b"h")], b"Via: us\r\nX-A: 1\r\nX-A: 2\r\nUser-Agent: ours\r\nHost: h\r\n\r\n"),
        ([(b"Host", b"h"), (b"x-a", b"3")], b"Via: us\r\nUser-Agent: ours\r\nHost: h\r\nx-a: 3\r\n\r\n"),
        (
            [(b"VIA", b""), (b"Host", b"h")],
            b"X-A: 1\r\nX-A: 2\r\nUser-Agent: ours\r\nVIA: \r\nHost: h\r\n\r\n",
        ),
    ]

    async def main() -> None:
        with Server(serve) as proxy:
            async with client_of(colour, proxy, proxy_headers=ours) as client:
                # Twice: what is remembered of the names changes nothing.
                for headers, expected in lists * 2:
                    given = list(headers)
                    response = await client.send(ORIGIN, headers=given)
                    assert await response.read() == b"http://origin.example/a"
                    assert given == headers
                    assert proxy.peers[0].received.endswith(b" HTTP/1.1\r\n" + expected)

    colour.run(main)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_tunnels_are_shown_by_their_origin(colour: Colour, scheme: bytes) -> None:
    async def main() -> None:
        with proxy_server(scheme, any_proxy) as proxy:
            async with client_of(colour, proxy, scheme, proxy_mode="TUNNEL_ONLY") as client:
                await client.get(ORIGIN)
                await client.get((b"http", b"other.example", 81, b"/"))
                state = ["HTTP/1.1, IDLE"]
                assert await client.info() == {
                    "http://origin.example": state,
                    "http://other.example:81": state,
                }

    colour.run(main)


def test_what_is_behind_a_proxy_at_its_own_address_is_shown_as_well(colour: Colour) -> None:
    """One name for two origins: the proxy that forwards, and what its tunnel leads to."""

    async def main() -> None:
        def forward_or_tunnel(peer: Peer) -> None:
            first = peer.recv_exactly(1)
            peer.unread(first)
            (tunnel_to(origin.port) if first == b"C" else serve)(peer)

        with (
            Server(serve, context=server_context()) as origin,
            proxy_server(b"https", forward_or_tunnel) as proxy,
        ):
            async with client_of(colour, proxy, b"https") as client:
                await client.get(ORIGIN)
                await client.get(proxy.url(b"/b"))
                assert await client.info() == {f"https://127.0.0.1:{proxy.port}": ["HTTP/1.1, IDLE"] * 2}

    colour.run(main)


# What it costs.


def _calls(client: Client, url: Any) -> dict[str, int]:
    """How often each function of ours is called for one request on a warm connection, as a rule."""
    count = 50

    def one() -> None:
        _, _, stream, _ = client.pool.request(b"GET", url, [(b"Host", b"h"), (b"Accept", b"*/*")])
        assert list(stream) == [b"/a"]

    one()
    profile = cProfile.Profile()
    profile.enable()
    for _ in range(count):
        one()
    profile.disable()
    calls: dict[str, int] = {}
    for (file, line, name), (_, number, *_) in pstats.Stats(profile).stats.items():  # type: ignore[attr-defined]
        # A look at a connection that the machine has left idle for a while is not the rule.
        if "httpcore" in file and name not in ("has_news", "checkpoint"):
            calls[f"{file}:{line}:{name}"] = round(number / count)
    return calls


def test_the_warm_path_is_the_one_without_a_proxy() -> None:
    """Nothing more in a tunnel; the absolute form and the merged headers where the proxy forwards."""
    colour = Colour("sync")
    with Server(any_proxy) as server:
        direct = colour.client()
        expected = _calls(direct, server.url(b"/a"))
        drive(direct.close())
        options: dict[str, Any] = {"proxy_auth": ("me", "pw")}
        for way, extra in {
            "tunnel": set(),
            "socks5": set(),
            "forward": {"absolute_target", "_merge"},
        }.items():
            proxied = client_by(way, colour, server, **options)
            calls = _calls(proxied, ORIGIN)
            drive(proxied.close())
            more = {
                name.rpartition(":")[2]: calls[name] for name in calls if calls[name] > expected.get(name, 0)
            }
            assert more == dict.fromkeys(extra, 1)


def test_a_requests_own_credentials_are_kept_nowhere(colour: Colour) -> None:
    async def main() -> None:
        with Server(serve) as proxy:
            async with client_of(colour, proxy, proxy_auth=("me", "pw")) as client:
                for secret in ((b"Authorization", b"hunter2"), (b"cookie", b"hunter2")):
                    response = await client.send(ORIGIN, headers=[(b"Host", b"h"), secret])
                    await response.read()
                assert "hunter2" not in str(vars(client.pool._router))
                await client.get(ORIGIN)
                assert "origin.example" in str(vars(client.pool._router))

    colour.run(main)
