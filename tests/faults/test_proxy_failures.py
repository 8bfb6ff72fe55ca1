"""Every step on the way to a connection behind a proxy fails once, in each way that it can."""

from __future__ import annotations

import gc
import socket
import ssl
import traceback
import warnings
from base64 import b64encode
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
import trustme

import httpcore

from ..colours import ASYNC_NAMES, TIMEOUT, Client, Colour, Response
from ..peers.certificates import client_context, server_context
from ..peers.http2 import h2_context, http2
from ..peers.http2 import serve as serve_http2
from ..peers.proxies import socks_to, tunnel_to
from ..peers.scripted import Peer, Script, Server
from .cancelling import cancel_at
from .rows import row
from .test_proxy import SECRET, TARGET, after_head, url_of

pytestmark = pytest.mark.usefixtures("nothing_left")


STALLED = 0.25
"""Seconds to wait for a proxy that stalls, within which all that comes before has to be over."""


@dataclass(frozen=True)
class Failure:
    """What a proxy, or the origin behind it, does, and what the caller hears of it."""

    script: Script
    error: type[httpcore.ProxyError | httpcore.NetworkError | httpcore.TimeoutException]
    cause: tuple[type[Exception], ...] = ()
    scheme: bytes = b"http"
    context: Callable[[], ssl.SSLContext] | None = None
    options: dict[str, Any] = field(default_factory=dict)
    connect: float = TIMEOUT


def opened_then(script: Script) -> Script:
    """CONNECT is granted; then the script is the origin."""

    def run(peer: Peer) -> None:
        peer.recv_head()
        peer.send(b"HTTP/1.1 200 OK\r\n\r\n")
        script(peer)

    return run


def socks_answers(*answers: bytes, then: Script = Peer.close) -> Script:
    """One answer to each message."""

    def run(peer: Peer) -> None:
        for answer in answers:
            peer.recv()
            peer.send(answer)
        then(peer)

    return run


def after_some(then: Script) -> Script:
    """Whatever comes first, a part of it."""

    def run(peer: Peer) -> None:
        peer.recv()
        then(peer)

    return run


def hold(peer: Peer) -> None:
    peer.server.hold()


def drip(peer: Peer) -> None:
    """Always one more byte, so that no single wait is long."""
    while not peer.server.release.wait(0.02):
        peer.send(b"x")


def pour(peer: Peer) -> None:
    for _ in range(64):
        peer.send(b"x" * 1024)
    peer.recv_to_end()


def old_tls(peer: Peer) -> None:
    """HTTP/2 over a version of TLS that is too old for it (RFC 9113 §9.2)."""
    context = server_context("localhost")
    _allow_old_tls(context)
    context.set_alpn_protocols(["h2"])
    peer.sock = context.wrap_socket(peer.sock, server_side=True)
    peer.recv_to_end()


def untrusted(peer: Peer) -> None:
    context = server_context("localhost", ca=trustme.CA())
    peer.sock = context.wrap_socket(peer.sock, server_side=True)


def _allow_old_tls(context: ssl.SSLContext) -> ssl.SSLContext:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version = ssl.TLSVersion.TLSv1_1
        context.maximum_version = ssl.TLSVersion.TLSv1_1
    context.set_ciphers("ALL:@SECLEVEL=0")
    return context


PROXY, REMOTE = httpcore.ProxyError, httpcore.RemoteProtocolError
CONNECT, LATE = httpcore.ConnectError, httpcore.ConnectTimeout
BROKEN = (httpcore.ReadError, httpcore.WriteError)

LARGE: dict[str, Any] = {
    "proxy_headers": [(b"X", b"x" * 4_000_000)],
    "socket_options": [(socket.SOL_SOCKET, socket.SO_SNDBUF, 32768)],
}
"""A CONNECT that does not fit into what lies between the two."""

FAILURES = {
    "dial": Failure(Peer.serve, PROXY, (CONNECT,), options={"resolver": lambda host, port: ["127.0.0.2"]}),
    "lookup": Failure(Peer.serve, PROXY, (CONNECT,), options={"resolver": lambda host, port: []}),
    "proxy TLS: certificate": Failure(
        Peer.serve, PROXY, (CONNECT,), b"https", context=lambda: server_context("other.example")
    ),
    "proxy TLS: closed": Failure(after_some(Peer.close), PROXY, (CONNECT,), b"https"),
    "proxy TLS: reset": Failure(after_some(Peer.reset), PROXY, (CONNECT,), b"https"),
    "proxy TLS: stalled": Failure(hold, PROXY, (LATE,), b"https", connect=STALLED),
    "CONNECT not read": Failure(hold, PROXY, (LATE,), options=LARGE, connect=STALLED),
    "CONNECT cut": Failure(after_some(Peer.reset), PROXY, BROKEN, options=LARGE),
    "answer: none": Failure(after_head(b""), PROXY, (REMOTE,)),
    "answer: reset": Failure(after_head(b"", then=Peer.reset), PROXY, BROKEN),
    "answer: half": Failure(after_head(b"HTTP/1.1 200 OK\r\nA:"), PROXY, (REMOTE,)),
    "answer: stalled": Failure(
        after_head(b"HTTP/1.1 200 OK\r\nA:", then=hold), PROXY, (LATE,), connect=STALLED
    ),
    "answer: dripped": Failure(
        after_head(b"HTTP/1.1 200 OK\r\nA: ", then=drip), PROXY, (LATE,), connect=STALLED
    ),
    "answer: for ever": Failure(after_head(b"HTTP/1.1 200 OK\r\nA: ", then=pour), PROXY, (REMOTE,)),
    "answer: refusal": Failure(after_head(b"HTTP/1.1 403 Forbidden\r\n\r\n"), PROXY),
    "answer: too much": Failure(after_head(b"HTTP/1.1 200 OK\r\n\r\nx", then=hold), PROXY, (REMOTE,)),
    "answer: switch": Failure(after_head(b"HTTP/1.1 101 Switching\r\n\r\n"), PROXY),
    "SOCKS: dripped": Failure(
        socks_answers(b"\x05\x00", b"\x05\x00\x00\x03\xff", then=drip),
        PROXY,
        (LATE,),
        b"socks5",
        connect=STALLED,
    ),
    "SOCKS: no method": Failure(socks_answers(b"\x05\xff"), PROXY, scheme=b"socks5"),
    "SOCKS: password refused": Failure(
        socks_answers(b"\x05\x02", b"\x01\x01"), PROXY, scheme=b"socks5", options={"proxy_auth": ("me", "pw")}
    ),
    "SOCKS: refused": Failure(socks_answers(b"\x05\x00", b"\x05\x02"), PROXY, scheme=b"socks5"),
    "SOCKS: version": Failure(socks_answers(b"\x04\x00"), PROXY, (REMOTE,), b"socks5"),
    "SOCKS: closed": Failure(socks_answers(b"\x05\x00", b"\x05"), PROXY, (REMOTE,), b"socks5"),
    "SOCKS: reset": Failure(socks_answers(b"\x05\x00", b"", then=Peer.reset), PROXY, BROKEN, b"socks5"),
    "SOCKS: method stalled": Failure(hold, PROXY, (LATE,), b"socks5", connect=STALLED),
    "SOCKS: password stalled": Failure(
        socks_answers(b"\x05\x02", then=hold),
        PROXY,
        (LATE,),
        b"socks5",
        options={"proxy_auth": ("me", "pw")},
        connect=STALLED,
    ),
    "SOCKS: reply stalled": Failure(
        socks_answers(b"\x05\x00", b"\x05\x00\x00\x03\xff", then=hold),
        PROXY,
        (LATE,),
        b"socks5",
        connect=STALLED,
    ),
    "origin TLS: certificate": Failure(opened_then(untrusted), CONNECT),
    "origin TLS: closed": Failure(opened_then(after_some(Peer.close)), CONNECT),
    "origin TLS: reset": Failure(opened_then(after_some(Peer.reset)), CONNECT),
    "origin TLS: nonsense": Failure(opened_then(after_some(Peer.answer)), CONNECT),
    "origin TLS: stalled": Failure(opened_then(hold), LATE, connect=STALLED),
    "ALPN": Failure(
        opened_then(old_tls),
        CONNECT,
        options={"http2": True, "ssl_context": lambda: _allow_old_tls(client_context())},
    ),
}
"""At which step it fails, and how."""


@row("PRX-06", "PRX-12", "PRX-14", "PRX-15", "PRX-18", "PRX-19", "PRX-20", "PRX-21")
@pytest.mark.parametrize("step", FAILURES)
def test_whatever_fails_is_over_when_the_caller_hears_of_it(colour: Colour, step: str) -> None:
    """The slot is free and the socket closed before the error arrives; the next request finds nothing of it."""
    failure = FAILURES[step]
    streams: list[Any] = []

    def hook(name: str, info: dict[str, object]) -> None:
        if name.endswith("connect_tcp.complete"):
            streams.append(info["return_value"])

    async def main() -> None:
        context = None if failure.context is None else failure.context()
        with Server(failure.script, context=context) as proxy:
            options = {
                name: option() if name == "ssl_context" else option
                for name, option in failure.options.items()
            }
            options = {"ssl_context": client_context(), "proxy_ssl_context": client_context(), **options}
            url = (failure.scheme, b"localhost", proxy.port, b"/")
            async with colour.proxy(url, max_connections=1, **options) as client:
                # Once where it takes its time; otherwise the second request shows that the first left nothing.
                for _ in range(1 if failure.connect is STALLED else 2):
                    with pytest.raises(failure.error) as caught:
                        await _send_traced(
                            client, (b"https", b"localhost", 1, b"/"), hook, connect=failure.connect, pool=0.0
                        )
                    assert [stream.get_extra_info("socket").fileno() for stream in streams] == [-1] * len(
                        streams
                    )
                    figures = client.pool.statistics()
                    assert not any(figures[name] for name in ("connections", "connecting", "waiting"))
                    error = caught.value
                    assert type(error) is failure.error
                    assert not error.request_sent
                    if failure.cause:
                        assert isinstance(error.__cause__, failure.cause)
                        assert str(error.__cause__) in str(error)
                        assert f"localhost:{proxy.port}" in str(error)
        assert len(streams) >= 1 or step in ("dial", "lookup")

    colour.run(main)


async def _send_traced(client: Client, url: Any, hook: object, **limits: float) -> Response:
    ext = {"timeout": {"connect": TIMEOUT, "read": TIMEOUT, **limits}, "trace": hook}
    if client.colour.is_async:
        return Response(client.colour, *await client.pool.arequest(b"GET", url, [(b"Host", b"h")], None, ext))
    return Response(client.colour, *client.pool.request(b"GET", url, [(b"Host", b"h")], None, ext))


@row("PRX-18", "PRX-20")
@pytest.mark.parametrize("scheme", [b"http", b"https", b"socks5"])
@pytest.mark.parametrize("colour", ASYNC_NAMES, indirect=True)
def test_cancelled_on_the_way_to_http2(colour: Colour, scheme: bytes) -> None:
    """At every suspension, early and late; what was opened is kept whole or closed."""

    async def main(origin: Server, proxy: Server, is_late: bool) -> None:
        url = (b"https", b"localhost", origin.port, b"/a")
        options = {"ssl_context": client_context(), "proxy_ssl_context": client_context(), "http2": True}
        for k in range(1, 1000):
            async with colour.proxy(url_of(proxy, scheme), max_connections=1, **options) as client:
                was_cancelled = await cancel_at(colour, lambda: client.get(url), k, is_late=is_late)
                figures = client.pool.statistics()
                assert not any(figures[name] for name in ("active", "connecting", "waiting"))
                assert await client.get(url, pool=0.0) == b"/a"
                assert await client.states() == ["HTTP/2, IDLE, 0 streams"]
            if not was_cancelled:
                assert k > 1
                return
        raise AssertionError("the request never completed")

    with Server(http2(serve_http2), context=h2_context()) as origin:
        carry = socks_to(origin.port) if scheme == b"socks5" else tunnel_to(origin.port)
        with Server(carry, context=server_context() if scheme == b"https" else None) as proxy:
            for is_late in (False, True) if colour.name in ("asyncio", "uvloop") else (False,):
                colour.run(main, origin, proxy, is_late)


@row("PRX-06", "PRX-20")
def test_a_thousand_tunnels_leave_nothing(colour: Colour) -> None:
    """Served, refused, cut and abandoned ones."""

    def script(peer: Peer) -> None:
        kind = peer.number % 4
        peer.recv_head()
        if kind == 1:
            peer.send(b"HTTP/1.1 502 No\r\n\r\n")
        elif kind == 2:
            peer.reset()
        else:
            peer.send(b"HTTP/1.1 200 OK\r\n\r\n")
            peer.serve()

    def count_ours() -> int:
        gc.collect()
        return sum(type(item).__module__.startswith("httpcore") for item in gc.get_objects())

    async def main() -> None:
        with Server(script) as proxy:
            options = {"proxy_mode": "TUNNEL_ONLY", "max_keepalive_connections": 0, "max_connections": 1}
            async with colour.proxy(url_of(proxy), **options) as client:
                counts = []
                for number in range(1000):
                    if number % 4 in (1, 2):
                        with pytest.raises(httpcore.ProxyError):
                            await client.send(TARGET, pool=0.0)
                    else:
                        response = await client.send(TARGET, pool=0.0)
                        await (response.read() if number % 4 else response.close())
                    if number in (99, 999):
                        counts.append(count_ours())
                assert counts[0] == counts[1]
                assert client.pool.statistics()["connections"] == 0
                assert client.pool.statistics()["opened"] == 500

    colour.run(main)


TOKEN = b64encode(b"me:hunter2").decode()


@row("PRX-09")
@pytest.mark.parametrize("step", [step for step in FAILURES if "cut" not in step and "not read" not in step])
def test_no_error_shows_credentials(colour: Colour, step: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor does any log, trace or repr, even where the proxy sends back what it was sent."""
    failure = FAILURES[step]
    shown: list[str] = []

    def hook(name: str, info: dict[str, object]) -> None:
        shown.append(repr(info))

    async def main() -> None:
        context = None if failure.context is None else failure.context()
        with Server(failure.script, context=context) as proxy:
            options = {
                name: option() if name == "ssl_context" else option
                for name, option in failure.options.items()
            }
            options = {"ssl_context": client_context(), **options, "proxy_auth": ("me", SECRET)}
            url = (failure.scheme, b"localhost", proxy.port, b"/")
            async with colour.proxy(url, **options) as client:
                try:
                    await _send_traced(
                        client, (b"https", b"localhost", 1, b"/"), hook, connect=failure.connect
                    )
                except Exception as exc:
                    shown.extend(traceback.format_exception(type(exc), exc, exc.__traceback__))
                    shown.append(repr((exc, exc.args, exc.__cause__)))
                router = client.pool._router
                shown.extend((repr(client.pool), repr(router.hop), repr(router._known)))
                shown.append(str((await client.info(), client.pool.statistics())))

    monkeypatch.setattr("httpcore._logging.log", lambda level, message: shown.append(message))
    colour.run(main)
    text = "\n".join(shown)
    assert "connection.lookup.started host='localhost'" in text
    assert "ConnectError" in text or "ProxyError" in text or "ConnectTimeout" in text
    assert SECRET not in text
    assert TOKEN not in text
