"""HTTP/2 with nginx, haproxy, nghttpd, hypercorn and Apache, over TLS and with prior knowledge, in every colour."""

from __future__ import annotations

import hashlib
import ssl
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import trustme

import httpcore

from ..colours import Client, Colour, Response
from . import proxies
from .http2_servers import Apache, Haproxy, HTTP2Server, Hypercorn, Nghttpd, Nginx
from .proxies import ProxyServer
from .servers import BIG, NginxServer

AUTHORITY = trustme.CA()

HELLO = b"Hello, world!"

SERVERS = ["nginx", "haproxy", "nghttpd", "hypercorn", "apache"]

MIB = 1024 * 1024

PLENTY = 10_000
"""Requests within which a server must have reloaded."""


class Rig:
    """Every server, all running at once."""

    def __init__(self, factory: pytest.TempPathFactory, stack: ExitStack) -> None:
        self.nginx = stack.enter_context(NginxServer(factory.mktemp("nginx"), AUTHORITY, master=True))
        big = (self.nginx.uploads.parent / "big").read_bytes()
        self.digest = hashlib.sha256(big).digest()
        self.big = big
        servers: list[HTTP2Server] = [
            Nginx(self.nginx),
            stack.enter_context(Haproxy(factory.mktemp("haproxy"), AUTHORITY, self.nginx)),
            stack.enter_context(Nghttpd(factory.mktemp("nghttpd"), AUTHORITY)),
            stack.enter_context(Hypercorn(factory.mktemp("hypercorn"), AUTHORITY)),
            stack.enter_context(Apache(AUTHORITY)),
        ]
        self.servers = {server.name: server for server in servers}


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    with ExitStack() as stack:
        yield Rig(tmp_path_factory, stack)


@pytest.fixture(params=SERVERS)
def server(request: pytest.FixtureRequest, rig: Rig) -> HTTP2Server:
    return rig.servers[request.param]


@pytest.fixture(params=[True, False], ids=["alpn", "prior"])
def tls(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


few_colours = pytest.mark.parametrize("colour", ["sync", "asyncio", "trio"], indirect=True)
"""Those that differ in how they move bytes, for what takes long."""


def client_of(colour: Colour, *, tls: bool = True, **options: Any) -> Client:
    return colour.client(
        **{"ssl_context": trusting(), "max_connections": 2, "http1": tls, "http2": True, **options}
    )


def trusting() -> ssl.SSLContext:
    context = ssl.create_default_context()
    AUTHORITY.configure_trust(context)
    return context


async def digest_of(response: Response) -> bytes:
    found = hashlib.sha256()
    reader = response.reader()
    while chunk := await reader.next():
        found.update(chunk)
    return found.digest()


def test_each_method(colour: Colour, server: HTTP2Server, tls: bool) -> None:
    async def main() -> None:
        async with client_of(colour, tls=tls) as client:
            name = f"small-{colour.name}-{tls}"
            for number in range(5):
                response = await client.send(server.url(b"/hello", tls=tls))
                assert (response.status, response.ext) == (200, {"http_version": "HTTP/2"})
                assert await response.read() == HELLO
                response = await client.send(server.url(b"/hello", tls=tls), b"HEAD")
                assert (response.status, await response.read()) == (200, b"")
                body = b"x" * number * 20_000
                response = await client.send(
                    server.url(server.upload_target(name), tls=tls),
                    server.method,
                    [(b"Host", b"localhost"), (b"Content-Length", b"%d" % len(body))],
                    httpcore.PlainByteStream(body),
                )
                assert response.status in (200, 201, 204)
                received = server.received(name, await response.read())
                assert received == hashlib.sha256(body).digest()
            assert await client.states() == ["HTTP/2, IDLE, 0 streams"]
            assert client.pool.statistics()["opened"] == 1

    colour.run(main)


def test_a_thousand_at_once(colour: Colour, server: HTTP2Server) -> None:
    async def main() -> None:
        async with client_of(colour) as client:

            async def one() -> None:
                assert await client.get(server.url(b"/hello"), pool=30.0, read=30.0) == HELLO

            await colour.gather(*[one] * 1000)
            assert client.pool.statistics()["opened"] <= 2

    colour.run(main)


@few_colours
def test_a_large_download(colour: Colour, rig: Rig, server: HTTP2Server, tls: bool) -> None:
    async def main() -> None:
        async with client_of(colour, tls=tls) as client:
            response = await client.send(server.url(b"/big", tls=tls))
            assert await digest_of(response) == rig.digest
            assert await client.states() == ["HTTP/2, IDLE, 0 streams"]

    colour.run(main)


@few_colours
@pytest.mark.parametrize("has_length", [True, False], ids=["length", "no-length"])
def test_a_large_upload(colour: Colour, rig: Rig, server: HTTP2Server, has_length: bool) -> None:
    async def main() -> None:
        async with client_of(colour) as client:
            headers = [(b"Host", b"localhost")]
            stream: Any = colour.stream([rig.big[start : start + MIB] for start in range(0, BIG, MIB)])
            if has_length:
                headers.append((b"Content-Length", b"%d" % BIG))
                stream = httpcore.PlainByteStream(rig.big)
            name = f"large-{colour.name}-{has_length}"
            url = server.url(server.upload_target(name))
            response = await client.send(url, server.method, headers, stream)
            assert response.status in (200, 201, 204)
            assert server.received(name, await response.read()) == rig.digest
            assert await client.get(server.url(b"/hello")) == HELLO
            assert client.pool.statistics()["opened"] == 1

    colour.run(main)


def test_a_body_that_nobody_reads_holds_up_no_other(colour: Colour, server: HTTP2Server, tls: bool) -> None:
    async def main() -> None:
        async with client_of(colour, tls=tls, max_connections=1) as client:
            for _ in range(3):
                response = await client.send(server.url(b"/big", tls=tls))
                await response.first()
                for _ in range(5):
                    assert await client.get(server.url(b"/hello", tls=tls)) == HELLO
                assert await client.states() == ["HTTP/2, ACTIVE, 1 streams"]
                await response.close()
            assert await client.states() == ["HTTP/2, IDLE, 0 streams"]
            assert client.pool.statistics()["opened"] == 1

    colour.run(main)


@pytest.mark.parametrize(("name", "target"), [("nghttpd", b"/hello"), ("hypercorn", b"/trailing")])
def test_trailers(colour: Colour, rig: Rig, name: str, target: bytes, tls: bool) -> None:
    async def main() -> None:
        async with client_of(colour, tls=tls) as client:
            headers = [(b"Host", b"localhost"), (b"TE", b"trailers")]
            for _ in range(3):
                response = await client.send(rig.servers[name].url(target, tls=tls), headers=headers)
                assert await response.read() == HELLO
                assert response.stream.trailers == [(b"x-end", b"reached")]
            assert client.pool.statistics()["opened"] == 1

    colour.run(main)


def test_an_interim_head_is_passed_over(colour: Colour, rig: Rig, tls: bool) -> None:
    async def main() -> None:
        async with client_of(colour, tls=tls) as client:
            assert await client.get(rig.servers["hypercorn"].url(b"/hinted", tls=tls)) == HELLO

    colour.run(main)


# nghttpd takes any upload.
@pytest.mark.parametrize("server", ["nginx", "haproxy", "hypercorn", "apache"], indirect=True)
def test_an_early_answer_ends_the_upload(colour: Colour, server: HTTP2Server, tls: bool) -> None:
    async def main() -> None:
        async with client_of(colour, tls=tls) as client:
            size, closed = 1024, list[bool]()
            headers = [(b"Host", b"localhost"), (b"Content-Length", b"%d" % (size * MIB))]
            stream = colour.stream([bytes(MIB)] * size, closed)
            response = await client.send(server.url(b"/refuse", tls=tls), b"POST", headers, stream)
            assert response.status == 403
            await response.read()
            # It is closed when it was not read to its end.
            assert closed == [True]
            assert await client.get(server.url(b"/hello", tls=tls)) == HELLO

    colour.run(main)


def test_the_server_chooses(colour: Colour, rig: Rig) -> None:
    async def main() -> None:
        async with client_of(colour) as client:
            for port, version in ((rig.nginx.tls_port, "HTTP/1.1"), (rig.nginx.http2_port, "HTTP/2")):
                for _ in range(2):
                    response = await client.send((b"https", b"localhost", port, b"/hello"))
                    assert response.ext["http_version"] == version
                    assert await response.read() == HELLO
            assert await client.states() == ["HTTP/1.1, IDLE", "HTTP/2, IDLE, 0 streams"]

    colour.run(main)


def test_prior_knowledge_that_is_wrong(colour: Colour, rig: Rig) -> None:
    async def main() -> None:
        async with client_of(colour, tls=False) as client:
            with pytest.raises(httpcore.RemoteProtocolError):
                await client.get((b"http", b"localhost", rig.nginx.port, b"/hello"))
            assert await client.states() == []

    colour.run(main)


# The end of a connection, and of a server.


@pytest.mark.parametrize("server", ["nginx", "haproxy", "apache"], indirect=True)
def test_no_request_is_lost_when_the_server_reloads(colour: Colour, server: HTTP2Server) -> None:
    async def main() -> None:
        async with client_of(colour, retries=3) as client:
            url = server.url(b"/hello")
            opened = 0

            async def work() -> None:
                for _ in range(PLENTY):
                    try:
                        assert await client.get(url) == HELLO
                    except httpcore.RemoteProtocolError as exc:
                        # It may have been processed, and the error is the server's: that is the caller's to judge.
                        if server.breakdown is None or server.breakdown not in str(exc):
                            raise
                    if client.pool.statistics()["opened"] > opened:
                        return
                pytest.fail("The connection outlives the reload.")

            for _ in range(3):
                assert await client.get(url) == HELLO
                opened = int(client.pool.statistics()["opened"])
                server.reload()
                await colour.gather(*[work] * 10)

    colour.run(main)


def test_no_request_is_lost_when_a_connection_has_carried_enough(
    colour: Colour, tmp_path: Path, tls: bool
) -> None:
    with NginxServer(tmp_path, AUTHORITY, max_requests=100) as nginx:
        server = Nginx(nginx)

        async def main() -> None:
            async with client_of(colour, tls=tls) as client:

                async def work() -> None:
                    for number in range(50):
                        # Not idempotent: sent again only because the server said that it had not looked at it.
                        method = b"POST" if number % 2 else b"GET"
                        headers = [(b"Host", b"localhost"), (b"Content-Length", b"0")]
                        url = server.url(b"/status/200", tls=tls)
                        response = await client.send(url, method, headers)
                        assert (response.status, await response.read()) == (200, b"")

                await colour.gather(*[work] * 20)
                assert client.pool.statistics()["opened"] >= 10

        colour.run(main)


def test_a_server_that_ends_finishes_what_it_has_begun(colour: Colour, tmp_path: Path, tls: bool) -> None:
    with Hypercorn(tmp_path, AUTHORITY) as server:

        async def main() -> None:
            async with client_of(colour, tls=tls) as client:
                responses = [await client.send(server.url(b"/held", tls=tls)) for _ in range(5)]
                assert await client.states() == ["HTTP/2, ACTIVE, 5 streams"]
                server.begin_to_end()
                server.release()
                for response in responses:
                    assert await response.read() == HELLO
                # A TLS server waits for our farewell.
                await client.close()
                server.wait_for_end()
                with pytest.raises(httpcore.ConnectError):
                    await client.get(server.url(b"/hello", tls=tls))
                assert await client.states() == []

        colour.run(main)


# Through proxies.

PROXIES = ["squid", "tinyproxy", "stunnel", "haproxy", "dante", "microsocks"]


@pytest.fixture(scope="module")
def ways(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, ProxyServer]]:
    new = tmp_path_factory.mktemp
    with ExitStack() as stack:
        enter = stack.enter_context
        squid = enter(proxies.squid(new("squid")))
        yield {
            "squid": squid,
            "tinyproxy": enter(proxies.tinyproxy(new("tinyproxy"))),
            "stunnel": enter(proxies.stunnel(new("stunnel"), AUTHORITY, squid)),
            "haproxy": enter(proxies.haproxy(new("haproxy"), AUTHORITY, squid)),
            "dante": enter(proxies.dante(new("dante"))),
            "microsocks": enter(proxies.microsocks(new("microsocks"))),
        }


def proxied(colour: Colour, proxy: ProxyServer) -> Client:
    context = trusting()
    return colour.proxy(
        proxy.url, ssl_context=context, proxy_ssl_context=context, max_connections=1, http2=True
    )


@pytest.mark.parametrize("name", PROXIES)
def test_through_a_tunnel(colour: Colour, rig: Rig, ways: dict[str, ProxyServer], name: str) -> None:
    async def main() -> None:
        async with proxied(colour, ways[name]) as client:
            url = rig.servers["nginx"].url(b"/hello")

            async def one() -> None:
                assert await client.get(url) == HELLO

            await colour.gather(*[one] * 100)
            assert await client.states() == ["HTTP/2, IDLE, 0 streams"]
            assert client.pool.statistics()["opened"] == 1

    colour.run(main)


@few_colours
@pytest.mark.parametrize("name", ["squid", "haproxy", "microsocks"])
def test_a_large_download_through_a_tunnel(
    colour: Colour, rig: Rig, ways: dict[str, ProxyServer], name: str
) -> None:
    async def main() -> None:
        async with proxied(colour, ways[name]) as client:
            response = await client.send(rig.servers["nginx"].url(b"/big"))
            assert await digest_of(response) == rig.digest

    colour.run(main)
