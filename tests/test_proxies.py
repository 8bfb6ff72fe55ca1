"""Proxies that do what they are for: forwarding, tunnels, SOCKS5, TLS in TLS, and HTTP/2 behind all of them."""

from __future__ import annotations

import ssl
from typing import Any

import pytest

from .colours import Client, Colour
from .peers.certificates import client_context
from .peers.http2 import h2_context, http2
from .peers.http2 import serve as serve_http2
from .peers.proxies import socks_to, tunnel_to
from .peers.scripted import Peer, Server

pytestmark = pytest.mark.usefixtures("nothing_left")

SCHEMES = [b"http", b"https", b"socks5"]

EITHER = ("h2", "http/1.1")


def url_of(proxy: Server, scheme: bytes = b"http") -> tuple[bytes, bytes, int, bytes]:
    return (scheme, b"127.0.0.1", proxy.port, b"/")


def tunnels(scheme: bytes, origin: Server, noted: list[Any] | None = None) -> Server:
    """A proxy of that scheme, all of whose tunnels lead to `origin`; `noted` is told what ALPN chose for it."""
    carry = socks_to(origin.port) if scheme == b"socks5" else tunnel_to(origin.port)

    def script(peer: Peer) -> None:
        if noted is not None and isinstance(peer.sock, ssl.SSLSocket):
            noted.append(peer.sock.selected_alpn_protocol())
        carry(peer)

    return Server(script, context=h2_context(*EITHER) if scheme == b"https" else None)


def client_of(colour: Colour, proxy: Server, scheme: bytes = b"http", **options: Any) -> Client:
    """A client whose one context is for the proxy and for the origin."""
    context = client_context()
    settings = {"ssl_context": context, "proxy_ssl_context": context, **options}
    return colour.proxy(url_of(proxy, scheme), **settings)


# HTTP/2.


@pytest.mark.parametrize("scheme", SCHEMES)
def test_http2_through_every_kind_of_proxy(colour: Colour, scheme: bytes) -> None:
    """What ALPN offers to the origin is never offered to the proxy, though the context is the same."""
    chosen: list[Any] = []

    async def main() -> None:
        with (
            Server(http2(serve_http2), context=h2_context()) as origin,
            tunnels(scheme, origin, chosen) as proxy,
        ):
            async with client_of(
                colour, proxy, scheme, http2=True, max_keepalive_connections=0, max_connections=1
            ) as client:
                for target in (b"/1", b"/2", b"/3"):
                    response = await client.send((b"https", b"localhost", origin.port, target))
                    assert response.ext == {"http_version": "HTTP/2"}
                    assert await response.read() == target

    colour.run(main)
    assert chosen == (["http/1.1"] * 3 if scheme == b"https" else [])
