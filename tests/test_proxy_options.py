"""What a pool offers, behind a proxy as without one: retries, limits, ages, traces, and the options of a socket."""

from __future__ import annotations

import socket
import ssl
import threading
from pathlib import Path
from typing import Any

import pytest

import httpcore

from .colours import TIMEOUT, Client, Colour, Response
from .peers.certificates import server_context
from .peers.proxies import any_proxy
from .peers.scripted import Peer, Server, serve
from .test_proxies import NAMES, ORIGIN, SCHEMES, WAYS, client_by, client_of, proxy_server, tunnels

pytestmark = pytest.mark.usefixtures("nothing_left")

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


@pytest.mark.parametrize(
    ("way", "limit", "speaks_tls", "expected"),
    [
        ("forward", "total", False, httpcore.ReadTimeout),
        ("forward-over-tls", "connect", False, httpcore.ConnectTimeout),
        ("forward-over-tls", "total", False, httpcore.ConnectTimeout),
        ("forward-over-tls", "total", True, httpcore.ReadTimeout),
        ("tunnel", "connect", False, httpcore.ProxyError),
        ("tunnel", "total", False, httpcore.ProxyError),
        ("tunnel-over-tls", "connect", False, httpcore.ProxyError),
        ("tunnel-over-tls", "total", True, httpcore.ProxyError),
        ("socks5", "connect", False, httpcore.ProxyError),
        ("socks5", "total", False, httpcore.ProxyError),
    ],
)
def test_limits_of_time(
    colour: Colour, way: str, limit: str, speaks_tls: bool, expected: type[Exception]
) -> None:
    """A proxy that says nothing: when TLS is due, or its own protocol, or, once it is connected, its answer."""

    async def main() -> BaseException:
        with proxy_server(b"https" if speaks_tls else b"http", lambda peer: peer.server.hold()) as proxy:
            async with client_by(way, colour, proxy, max_connections=1) as client:
                with pytest.raises(expected) as caught:
                    await client.get(ORIGIN, **{limit: 0.25})
                assert client.pool.statistics()["connections"] == 0
                return caught.value

    error = colour.run(main)
    if expected is httpcore.ProxyError:
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
            try:
                upstream.shutdown(socket.SHUT_WR)
            except OSError:
                pass
            back.join()

    async def main() -> None:
        with Server(script) as proxy:
            async with client_of(colour, proxy, b"https") as client:
                assert await client.get((b"https", b"localhost", origin.port, b"/a")) == b"/a"

    with Server(serve, context=server_context()) as origin:
        colour.run(main)
    assert ends == ["clean"]


def _carry_back(upstream: socket.socket, peer: Peer) -> None:
    try:
        while data := upstream.recv(65536):
            peer.send(data)
    except OSError:
        # An origin that closes with something unread resets the connection.
        pass


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
