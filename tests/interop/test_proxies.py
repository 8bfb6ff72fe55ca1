"""Forwarding, tunnels, https proxies and SOCKS5 through real proxies to nginx, in every colour."""

from __future__ import annotations

import hashlib
import ssl
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
import trustme

import httpcore

from ..colours import Client, Colour
from . import proxies
from .http2_servers import Nghttpd
from .proxies import PASSWORD, USER, ProxyServer
from .servers import NginxServer

AUTHORITY = trustme.CA()

OPEN = ["squid", "tinyproxy", "proxy.py", "haproxy", "stunnel", "dante", "microsocks"]
LOCKED = ["squid-locked", "proxy.py-locked", "haproxy-locked", "microsocks-locked"]


few_colours = pytest.mark.parametrize("colour", ["sync", "asyncio", "trio"], indirect=True)
"""Those that differ in how they move bytes, for what takes long or hardly depends on them."""


class Rig:
    """nginx and every proxy, all running at once."""

    def __init__(self, factory: pytest.TempPathFactory, stack: ExitStack) -> None:
        nginx = NginxServer(factory.mktemp("nginx"), AUTHORITY, addresses=["[::1]"])
        self.origin = stack.enter_context(nginx)
        self.nghttpd = stack.enter_context(Nghttpd(factory.mktemp("nghttpd"), AUTHORITY))
        self.proxies: dict[str, ProxyServer] = {}

        def start(name: str, begin: Callable[..., ProxyServer], *arguments: Any, **options: Any) -> None:
            proxy = begin(factory.mktemp(name), *arguments, **options)
            self.proxies[name] = stack.enter_context(proxy)

        start("squid", proxies.squid)
        start("squid-locked", proxies.squid, password=True)
        start("tinyproxy", proxies.tinyproxy)
        start("proxy.py", proxies.proxy_py)
        start("proxy.py-locked", proxies.proxy_py, password=True)
        start("haproxy", proxies.haproxy, AUTHORITY, self.proxies["squid"])
        start("haproxy-locked", proxies.haproxy, AUTHORITY, self.proxies["squid-locked"])
        start("stunnel", proxies.stunnel, AUTHORITY, self.proxies["squid"])
        start("dante", proxies.dante)
        start("microsocks", proxies.microsocks)
        start("microsocks-locked", proxies.microsocks, password=True)


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    with ExitStack() as stack:
        yield Rig(tmp_path_factory, stack)


@pytest.fixture(params=[False, True], ids=["http", "https"])
def tls(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


def client_of(colour: Colour, proxy: ProxyServer, **options: Any) -> Client:
    context = ssl.create_default_context()
    AUTHORITY.configure_trust(context)
    return colour.proxy(
        proxy.url, ssl_context=context, proxy_ssl_context=context, max_connections=10, **options
    )


@pytest.mark.parametrize("mode", ["DEFAULT", "TUNNEL_ONLY"])
@pytest.mark.parametrize("name", OPEN)
def test_requests_are_answered(colour: Colour, rig: Rig, name: str, mode: str, tls: bool) -> None:
    async def main() -> None:
        async with client_of(colour, rig.proxies[name], proxy_mode=mode) as client:
            for _ in range(5):
                assert await client.get(rig.origin.url(b"/hello", tls=tls)) == b"Hello, world!"
            if tls or mode == "TUNNEL_ONLY":
                assert client.pool.statistics()["opened"] == 1

    colour.run(main)


@few_colours
@pytest.mark.parametrize("name", OPEN)
def test_a_large_download(colour: Colour, rig: Rig, name: str) -> None:
    expected = hashlib.sha256((rig.origin.uploads.parent / "big").read_bytes()).digest()

    async def main() -> None:
        async with client_of(colour, rig.proxies[name]) as client:
            response = await client.send(rig.origin.url(b"/big", tls=True))
            assert hashlib.sha256(await response.read()).digest() == expected

    colour.run(main)


@pytest.mark.parametrize("name", LOCKED)
def test_the_password_opens(colour: Colour, rig: Rig, name: str, tls: bool) -> None:
    async def main() -> None:
        async with client_of(colour, rig.proxies[name], proxy_auth=(USER, PASSWORD)) as client:
            assert await client.get(rig.origin.url(b"/hello", tls=tls)) == b"Hello, world!"

    colour.run(main)


@pytest.mark.parametrize("auth", [None, (USER, "wrong")], ids=["none", "wrong"])
@pytest.mark.parametrize("name", LOCKED)
def test_no_password_is_a_refusal(colour: Colour, rig: Rig, name: str, auth: Any) -> None:
    async def main() -> None:
        async with client_of(colour, rig.proxies[name], proxy_auth=auth) as client:
            with pytest.raises(httpcore.ProxyError) as caught:
                await client.get(rig.origin.url(b"/hello", tls=True))
            if name != "microsocks-locked":
                assert caught.value.status == 407
                assert any(field.lower() == b"proxy-authenticate" for field, _ in caught.value.headers)
            assert "wrong" not in str(caught.value)
            assert await client.states() == []

    colour.run(main)


@pytest.mark.parametrize("auth", [None, (USER, "wrong")], ids=["none", "wrong"])
@pytest.mark.parametrize("name", ["squid-locked", "proxy.py-locked", "haproxy-locked"])
def test_a_refusal_to_forward_is_the_response(colour: Colour, rig: Rig, name: str, auth: Any) -> None:
    async def main() -> None:
        async with client_of(colour, rig.proxies[name], proxy_auth=auth) as client:
            response = await client.send(rig.origin.url(b"/hello"))
            assert response.status == 407
            assert any(field.lower() == b"proxy-authenticate" for field, _ in response.headers)
            await response.read()

    colour.run(main)


@few_colours
@pytest.mark.parametrize("name", [name for name in OPEN if name not in ("dante", "proxy.py")])
def test_an_ipv6_origin(colour: Colour, rig: Rig, name: str) -> None:
    """Forwarded, where the proxy does that, and in a tunnel.

    dante is bound to IPv4, and proxy.py looks up what it is to forward with the brackets on.
    """

    async def main() -> None:
        for mode in ("DEFAULT", "TUNNEL_ONLY"):
            async with client_of(colour, rig.proxies[name], proxy_mode=mode) as client:
                headers = [(b"Host", b"[::1]:%d" % rig.origin.port)]
                response = await client.send((b"http", b"::1", rig.origin.port, b"/hello"), headers=headers)
                assert await response.read() == b"Hello, world!"

    colour.run(main)


@pytest.mark.parametrize("name", OPEN)
def test_http2_without_tls_in_a_tunnel(colour: Colour, rig: Rig, name: str) -> None:
    """nghttpd speaks first: its SETTINGS may come together with the proxy's answer."""

    async def main() -> None:
        options = {"proxy_mode": "TUNNEL_ONLY", "http1": False, "http2": True}
        for _ in range(3):
            async with client_of(colour, rig.proxies[name], **options) as client:
                response = await client.send(rig.nghttpd.url(b"/hello", tls=False))
                assert response.ext == {"http_version": "HTTP/2"}
                assert await response.read() == b"Hello, world!"

    colour.run(main)


@pytest.mark.parametrize("name", OPEN)
def test_an_origin_that_refuses(colour: Colour, rig: Rig, name: str) -> None:
    async def main() -> None:
        async with client_of(colour, rig.proxies[name]) as client:
            with pytest.raises(httpcore.ProxyError):
                await client.get((b"https", b"127.0.0.1", 1, b"/"))
            assert await client.get(rig.origin.url(b"/hello", tls=True)) == b"Hello, world!"

    colour.run(main)
