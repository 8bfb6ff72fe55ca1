"""Proxies that do what they are for: forwarding, tunnels, SOCKS5, TLS in TLS, and HTTP/2 behind all of them."""

from __future__ import annotations

import cProfile
import pstats
import socket
import ssl
import threading
from functools import partial
from pathlib import Path
from typing import Any

import pytest

import httpcore

from .colours import TIMEOUT, Client, Colour, Response, drive
from .peers.certificates import client_context, server_context
from .peers.http2 import h2_context, http2
from .peers.http2 import serve as serve_http2
from .peers.proxies import relay, socks_to, tunnel_to
from .peers.scripted import Peer, Script, Server, serve

pytestmark = pytest.mark.usefixtures("nothing_left")

URL = tuple[bytes, bytes, int, bytes]

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


def any_proxy(peer: Peer, limit: int = 1_000_000) -> None:
    """A proxy of every kind that is its own origin, and leaves after `limit` answers."""
    first = peer.recv_exactly(1)
    peer.unread(first)
    if first == b"\x05":
        peer.recv_exactly(peer.recv_exactly(2)[1])
        peer.send(b"\x05\x00")
        peer.recv_exactly(peer.recv_exactly(5)[4] + 2)
        peer.send(b"\x05\x00\x00\x01\x7f\x00\x00\x01\x00\x50")
    elif first == b"C":
        peer.recv_head()
        peer.send(b"HTTP/1.1 200 OK\r\n\r\n")
    for _ in range(limit):
        head, _ = peer.recv_request()
        if not head:
            return
        peer.answer(head.split(b" ")[1].removeprefix(b"http://origin.example"))


def client_of(colour: Colour, proxy: Server, scheme: bytes = b"http", **options: Any) -> Client:
    """A client whose one context is for the proxy and for the origin."""
    context = client_context()
    settings = {"ssl_context": context, "proxy_ssl_context": context, **options}
    host = settings.pop("host", b"127.0.0.1")
    return colour.proxy((scheme, host, proxy.port, b"/"), **settings)


def client_by(way: str, colour: Colour, proxy: Server, **options: Any) -> Client:
    scheme, mode = WAYS[way]
    return client_of(colour, proxy, scheme, proxy_mode=mode, **options)


Event = tuple[str, dict[str, object]]


async def get_traced(client: Client, url: Any, events: list[Event], **limits: float) -> bytes:
    """The body of a GET whose trace is written down."""
    ext = {
        "timeout": {"connect": TIMEOUT, "read": TIMEOUT, **limits},
        "trace": lambda name, info: events.append((name, info)),
    }
    if client.colour.is_async:
        answer = await client.pool.arequest(b"GET", url, [(b"Host", url[1])], None, ext)
    else:
        answer = client.pool.request(b"GET", url, [(b"Host", url[1])], None, ext)
    return await Response(client.colour, *answer).read()


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


# What a pool offers, behind a proxy as without one.


@pytest.mark.parametrize("way", WAYS)
def test_retries(colour: Colour, way: str) -> None:
    addresses: list[str] = []

    async def main(retries: int) -> list[Event]:
        addresses[:] = ["127.0.0.1", "127.0.0.2"]
        events: list[Event] = []
        with proxy_server(WAYS[way][0], any_proxy) as proxy:
            options = {"retries": retries, "resolver": lambda host, port: [addresses.pop()]}
            async with client_by(way, colour, proxy, host=b"proxy.example", **options) as client:
                assert await get_traced(client, ORIGIN, events) == b"/a"
        return events

    # Nobody listens on the first address.
    expected = httpcore.ConnectError if way.startswith("forward") else httpcore.ProxyError
    with pytest.raises(expected, match="refused"):
        colour.run(main, 0)
    events = colour.run(main, 1)
    assert [info["attempt"] for name, info in events if name == "connection.retry.started"] == [1]


@pytest.mark.parametrize("way", ["forward-over-tls", "tunnel-over-tls"])
def test_retries_when_the_proxys_tls_fails(colour: Colour, way: str) -> None:
    def script(peer: Peer) -> None:
        if peer.number > 0:
            peer.sock = server_context(*NAMES).wrap_socket(peer.sock, server_side=True)
            any_proxy(peer)

    async def main() -> None:
        with Server(script) as proxy:
            async with client_by(way, colour, proxy, retries=1) as client:
                assert await client.get(ORIGIN) == b"/a"
                assert proxy.accepted == 2

    colour.run(main)


@pytest.mark.parametrize("way", WAYS)
def test_local_address_and_socket_options(colour: Colour, way: str) -> None:
    tos = (socket.IPPROTO_IP, socket.IP_TOS, 0x10)

    async def main() -> None:
        with proxy_server(WAYS[way][0], any_proxy) as proxy:
            options = {"local_address": "127.0.0.3", "socket_options": [tos]}
            async with client_by(way, colour, proxy, **options) as client:
                events: list[Event] = []
                assert await get_traced(client, ORIGIN, events) == b"/a"
                sock = _socket_of(events)
                assert sock.getsockname()[0] == proxy.peers[0].sock.getpeername()[0] == "127.0.0.3"
                assert sock.getsockopt(*tos[:2]) == 0x10

    colour.run(main)


def _socket_of(events: list[Event]) -> Any:
    """The socket of the last connection that a trace speaks of."""
    streams = [info["return_value"] for name, info in events if name.endswith("connect_tcp.complete")]
    stream: Any = streams[-1]
    return stream.get_extra_info("socket")


@pytest.mark.parametrize("way", WAYS)
def test_a_proxy_on_a_unix_socket(colour: Colour, way: str, tmp_path: Path) -> None:
    path = str(tmp_path / "s")

    async def main() -> None:
        with proxy_server(WAYS[way][0], any_proxy, path=path) as proxy:
            async with client_by(way, colour, proxy, uds=path) as client:
                for _ in range(2):
                    assert await client.get(ORIGIN) == b"/a"
                assert proxy.accepted == 1

    colour.run(main)


@pytest.mark.parametrize(
    "options",
    [{"max_keepalive_connections": 0}, {"keepalive_expiry": 0.0}, {"max_connection_age": 0.0}],
    ids=lambda options: next(iter(options)),
)
@pytest.mark.parametrize("way", WAYS)
def test_connections_that_are_not_kept(colour: Colour, way: str, options: dict[str, Any]) -> None:
    async def main() -> None:
        with proxy_server(WAYS[way][0], any_proxy) as proxy:
            async with client_by(way, colour, proxy, **options) as client:
                for number in (1, 2, 3):
                    assert await client.get(ORIGIN) == b"/a"
                    assert client.pool.statistics()["opened"] == number

    colour.run(main)


@pytest.mark.parametrize("limit", ["max_connections", "max_connections_per_origin"])
@pytest.mark.parametrize("way", WAYS)
def test_limits(colour: Colour, way: str, limit: str) -> None:
    async def main() -> None:
        with proxy_server(WAYS[way][0], any_proxy) as proxy:
            async with client_by(way, colour, proxy, **{limit: 1}) as client:
                held = await client.send(ORIGIN)
                with pytest.raises(httpcore.PoolTimeout):
                    await client.get(ORIGIN, pool=0.0)
                assert await held.read() == b"/a"
                assert await client.get(ORIGIN, pool=0.0) == b"/a"
                assert proxy.accepted == 1

    colour.run(main)


@pytest.mark.parametrize("limit", ["connect", "total"])
@pytest.mark.parametrize("way", WAYS)
def test_limits_of_time(colour: Colour, way: str, limit: str) -> None:
    """A proxy that says nothing: in TLS if it speaks that, and in its own protocol."""

    async def main(speaks_tls: bool) -> BaseException:
        with proxy_server(b"https" if speaks_tls else b"http", lambda peer: peer.server.hold()) as proxy:
            async with client_by(way, colour, proxy, max_connections=1) as client:
                with pytest.raises((httpcore.ProxyError, httpcore.TimeoutException)) as caught:
                    await client.get(ORIGIN, **{limit: 0.1, "read": 0.2})
                assert client.pool.statistics()["connections"] == 0
                return caught.value

    is_secure = WAYS[way][0] == b"https"
    for speaks_tls in (True, False) if is_secure else (False,):
        error = colour.run(main, speaks_tls)
        if way.startswith("forward"):
            # Once it is connected, a proxy that forwards is late as any server is.
            is_connected = speaks_tls or not is_secure
            assert type(error) is (httpcore.ReadTimeout if is_connected else httpcore.ConnectTimeout)
        else:
            assert type(error) is httpcore.ProxyError
            assert type(error.__cause__) is httpcore.ConnectTimeout
        assert ("total time" in str(error)) is (limit == "total")


@pytest.mark.parametrize("way", WAYS)
def test_opened_ahead(colour: Colour, way: str) -> None:
    async def main() -> None:
        with proxy_server(WAYS[way][0], any_proxy) as proxy:
            async with client_by(way, colour, proxy) as client:
                await client.preconnect(ORIGIN, 2)
                assert await client.states() == ["HTTP/1.1, IDLE"] * 2
                assert await client.get(ORIGIN) == b"/a"
                assert proxy.accepted == 2

    colour.run(main)


@pytest.mark.parametrize("way", WAYS)
def test_connections_that_end_while_they_are_idle(colour: Colour, way: str) -> None:
    """They are not used, or the request is sent again: the caller never hears of it."""

    def script(peer: Peer) -> None:
        any_proxy(peer, limit=1)

    async def main() -> None:
        with proxy_server(WAYS[way][0], script) as proxy:
            async with client_by(way, colour, proxy, max_connections=1) as client:
                for number in (1, 2, 3):
                    assert await client.get(ORIGIN) == b"/a"
                    assert proxy.accepted == number

    colour.run(main)


def test_both_layers_of_tls_are_closed_in_good_order(colour: Colour) -> None:
    ends: list[str] = []

    def script(peer: Peer) -> None:
        # An end without close_notify is an error here.
        peer.sock = server_context().wrap_socket(peer.sock, server_side=True, suppress_ragged_eofs=False)
        peer.recv_head()
        peer.send(b"HTTP/1.1 200 OK\r\n\r\n")
        with socket.create_connection(("127.0.0.1", origin.port)) as upstream:
            back = threading.Thread(target=_carry_back, args=(upstream, peer))
            back.start()
            try:
                while data := peer.sock.recv(65536):
                    upstream.sendall(data)
                ends.append("clean")
            except ssl.SSLError as exc:
                ends.append(str(exc))
            upstream.shutdown(socket.SHUT_WR)
            back.join()

    async def main() -> None:
        with Server(script) as proxy:
            async with client_of(colour, proxy, b"https") as client:
                assert await client.get((b"https", b"localhost", origin.port, b"/a")) == b"/a"

    with Server(serve, context=server_context()) as origin:
        colour.run(main)
    assert ends == ["clean"]


def _carry_back(upstream: socket.socket, peer: Peer) -> None:
    while data := upstream.recv(65536):
        peer.send(data)


TLS_EVENTS = {
    b"http": ["connection.lookup", "connection.connect_tcp", "proxy.start_tls"],
    b"https": ["connection.lookup", "connection.connect_tcp", "connection.start_tls", "proxy.start_tls"],
    b"socks5": ["connection.lookup", "socks.connect_tcp", "socks.setup_socks5_connection", "socks.start_tls"],
}
"""What opening a connection to an https origin goes through, by the scheme of the proxy."""

PLAIN_EVENTS = {
    "forward": ["connection.lookup", "connection.connect_tcp"],
    "forward-over-tls": ["connection.lookup", "connection.connect_tcp", "connection.start_tls"],
    "tunnel": ["connection.lookup", "connection.connect_tcp"],
    "tunnel-over-tls": ["connection.lookup", "connection.connect_tcp", "connection.start_tls"],
    "socks5": ["connection.lookup", "socks.connect_tcp", "socks.setup_socks5_connection"],
    "socks5h": ["connection.lookup", "socks.connect_tcp", "socks.setup_socks5_connection"],
}


def _phases(events: list[Event]) -> list[str]:
    """The phases of opening, each of which has to start and to complete."""
    names = [name for name, _ in events if not name.startswith("http")]
    phases = [name.removesuffix(".started") for name in names[::2]]
    assert names == [f"{phase}.{step}" for phase in phases for step in ("started", "complete")]
    return phases


@pytest.mark.parametrize("way", WAYS)
def test_traces_to_an_http_origin(colour: Colour, way: str) -> None:
    async def main() -> None:
        with proxy_server(WAYS[way][0], any_proxy) as proxy:
            async with client_by(way, colour, proxy) as client:
                events: list[Event] = []
                await get_traced(client, ORIGIN, events)
                assert _phases(events) == PLAIN_EVENTS[way]

    colour.run(main)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_traces_to_an_https_origin(colour: Colour, scheme: bytes) -> None:
    async def main() -> None:
        with Server(serve, context=server_context()) as origin, tunnels(scheme, origin) as proxy:
            async with client_of(colour, proxy, scheme) as client:
                events: list[Event] = []
                await get_traced(client, (b"https", b"localhost", origin.port, b"/"), events)
                assert _phases(events) == TLS_EVENTS[scheme]
                hosts = [info.get("server_hostname") for name, info in events if "tls.started" in name]
                assert hosts == (["127.0.0.1", "localhost"] if scheme == b"https" else ["localhost"])

    colour.run(main)


def test_a_trace_of_a_failure(colour: Colour) -> None:
    """Whoever failed is told apart: the proxy's socket, its protocol, the TLS behind it."""

    def script(peer: Peer) -> None:
        peer.recv_exactly(3)
        peer.send(b"\x05\xff")

    async def main() -> None:
        with Server(script) as proxy:
            async with client_of(colour, proxy, b"socks5") as client:
                events: list[Event] = []
                with pytest.raises(httpcore.ProxyError) as caught:
                    await get_traced(client, ORIGIN, events)
                assert events[-1] == ("socks.setup_socks5_connection.failed", {"exception": caught.value})

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
