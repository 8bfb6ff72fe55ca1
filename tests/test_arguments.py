"""Arguments of the wrong kind: what is raised, and that nothing comes of them besides."""

from __future__ import annotations

import math
import warnings
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

import httpcore

from .colours import Client, Colour
from .peers import http2
from .peers.scripted import Server, serve

NAN, INFINITY = math.nan, math.inf

POOLS: list[Any] = [httpcore.SyncConnectionPool, httpcore.AsyncConnectionPool]

PROXY_URL = (b"http", b"127.0.0.1", 3128, b"/")

FIELDS = [(b"Host", b"h")]

SIZED = [(b"Host", b"h"), (b"Content-Length", b"2")]


@pytest.mark.parametrize(
    ("name", "value", "error"),
    [
        ("max_connections", "3", TypeError),
        ("max_connections", 1.5, TypeError),
        ("max_connections", True, TypeError),
        ("max_connections", -1, ValueError),
        ("max_connections_per_origin", -1, ValueError),
        ("max_keepalive_connections", "3", TypeError),
        ("max_keepalive_connections", -1, ValueError),
        ("keepalive_expiry", "5", TypeError),
        ("keepalive_expiry", True, TypeError),
        ("keepalive_expiry", NAN, ValueError),
        ("max_connection_age", NAN, ValueError),
        ("dns_ttl", "5", TypeError),
        ("ping_interval", 0, ValueError),
        ("ping_timeout", -1.0, ValueError),
        ("retries", None, TypeError),
        ("retries", 1.0, TypeError),
        ("retries", -1, ValueError),
        ("uds", 5, TypeError),
        ("local_address", b"127.0.0.1", TypeError),
        ("ssl_context", True, TypeError),
        ("resolver", "8.8.8.8", TypeError),
        ("socket_options", 5, TypeError),
        ("backend", None, TypeError),
        ("backend", b"sync", TypeError),
        ("backend", "", ValueError),
    ],
)
def test_options(name: str, value: object, error: type[Exception]) -> None:
    for pool in POOLS:
        with pytest.raises(error) as caught:
            pool(**{name: value})
        assert type(caught.value) is error


def test_an_option_of_proxies_alone() -> None:
    with pytest.raises(TypeError, match="proxy_ssl_context"):
        httpcore.SyncHTTPProxy(PROXY_URL, proxy_ssl_context=False)  # type: ignore[arg-type]


def test_times_without_end(colour: Colour) -> None:
    """Infinite is as good as none, where a loop's timers would be asked for it, too."""

    async def main() -> None:
        with Server(serve) as server:
            options = {"keepalive_expiry": INFINITY, "max_connection_age": 10**400, "dns_ttl": INFINITY}
            client = colour.client(**options)
            assert await client.get(server.url(b"/a")) == b"/a"
            assert await client.get(server.url(b"/b")) == b"/b"
            assert server.accepted == 1
            await client.close()

    colour.run(main)


def test_max_keepalive_points_at_whoever_used_it() -> None:
    for construct in (
        lambda: httpcore.SyncConnectionPool(max_keepalive=1),
        lambda: httpcore.AsyncConnectionPool(max_keepalive=1),
        lambda: httpcore.SyncHTTPProxy(PROXY_URL, max_keepalive=1),
        lambda: httpcore.AsyncHTTPProxy(PROXY_URL, max_keepalive=1),
    ):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            construct()
        assert [(w.category, w.filename, w.lineno) for w in caught] == [
            (DeprecationWarning, __file__, construct.__code__.co_firstlineno)
        ]


@pytest.mark.parametrize(
    ("method", "target", "port"),
    [
        ("GET", b"/", 1),
        (None, b"/", 1),
        (b"GET", "/", 1),
        (b"GET", None, 1),
        (b"GET", b"/", "1"),
        (b"GET", b"/", True),
    ],
)
def test_the_request_line(colour: Colour, method: Any, target: Any, port: Any) -> None:
    async def main() -> None:
        async with colour.client() as client:
            with pytest.raises(TypeError):
                await client.send((b"http", b"127.0.0.1", port, target), method)
            assert await client.states() == []

    colour.run(main)


@pytest.mark.parametrize(
    "url",
    [
        None,
        5,
        "http://h/",
        b"http://h/",
        (b"http", b"h", 80),
        ("http", b"h", 80, b"/"),
        (b"http", None, 80, b"/"),
    ],
)
def test_urls(colour: Colour, url: Any) -> None:
    async def main() -> None:
        async with colour.client() as client:
            with pytest.raises(TypeError):
                await client.send(url, headers=FIELDS)
            with pytest.raises(TypeError):
                await client.preconnect(url)

    colour.run(main)


async def send(client: Client, url: tuple[bytes, bytes, int | None, bytes], headers: Any) -> None:
    """As they are: `Client.send` would make a list of them."""
    if client.colour.is_async:
        await client.pool.arequest(b"GET", url, headers)
    else:
        client.pool.request(b"GET", url, headers)


HEADERS: list[Any] = [
    "Host",
    5,
    {b"Host": b"h"},
    [b"Host"],
    [("Host", b"h")],
    [(b"Host", "h")],
    [(b"Host", None)],
    [(b"Host", b"h"), (b"X", 5)],
    [(b"Host", b"h", b"")],
    [(None, b"h")],
]


def test_headers_that_can_be_read_only_once(colour: Colour) -> None:
    async def main() -> None:
        with Server(serve) as server:
            async with colour.client() as client:
                for _ in range(2):
                    headers: Any = ((name, value) for name, value in FIELDS)
                    status, *_, stream, _ = (
                        await client.pool.arequest(b"GET", server.url(b"/a"), headers)
                        if colour.is_async
                        else client.pool.request(b"GET", server.url(b"/a"), headers)
                    )
                    assert status == 200
                    assert (
                        b"".join([c async for c in stream]) if colour.is_async else b"".join(stream)
                    ) == b"/a"

    colour.run(main)


@pytest.mark.parametrize("headers", HEADERS, ids=repr)
def test_headers(colour: Colour, headers: Any) -> None:
    async def main() -> None:
        with Server(serve) as one, Server(http2.http2(http2.serve)) as two:
            for server, options in ((one, {}), (two, {"http1": False, "http2": True})):
                async with colour.client(**options) as client:
                    with pytest.raises(TypeError):
                        await send(client, server.url(), headers)
                    assert await client.get(server.url(b"/next")) == b"/next"
        with Server(serve) as proxy_server:
            async with colour.proxy(proxy_server.url(), proxy_headers=[(b"X", b"y")]) as client:
                with pytest.raises(TypeError):
                    await send(client, (b"http", b"h", None, b"/"), headers)

    colour.run(main)


@pytest.mark.parametrize(
    "ext", ["timeout", 5, [], [("timeout", {})], {"timeout": 0}, {"timeout": []}, {"timeout": 5.0}, {"timeout": {"read": "5"}}, {"timeout": {"read": True}}, {"trace": 5}]
)  # fmt: skip
def test_extensions(ext: Any) -> None:
    with httpcore.SyncConnectionPool() as pool, pytest.raises(TypeError):
        pool.request(b"GET", (b"http", b"127.0.0.1", 1, b"/"), FIELDS, None, ext)


class Body:
    """A body of either colour, of anything; it is no class of ours."""

    def __init__(self, *chunks: Any) -> None:
        self._chunks = iter(chunks)
        self.closed = 0

    def __iter__(self) -> Iterator[Any]:
        return self._chunks

    def __aiter__(self) -> AsyncIterator[Any]:
        return self

    async def __anext__(self) -> Any:
        for chunk in self._chunks:
            return chunk
        raise StopAsyncIteration

    def close(self) -> None:
        self.closed += 1

    async def aclose(self) -> None:
        self.closed += 1


@pytest.mark.parametrize("chunks", [["ab"], [5], [None, b"ab"], [b"a", None, b"b"]], ids=repr)
def test_chunks(colour: Colour, chunks: list[Any]) -> None:
    """An end is an end, and nothing else is: `None` is a mistake that would cut the body short."""

    async def main() -> None:
        with Server(serve) as server:
            async with colour.client() as client:
                body = Body(*chunks)
                with pytest.raises(TypeError, match="must yield bytes"):
                    await client.send(server.url(), b"POST", SIZED, body)
                assert body.closed == 1
                assert await client.get(server.url(b"/next")) == b"/next"

    colour.run(main)


@pytest.mark.parametrize("content", [None, "ab", 5, [b"ab"]])
def test_plain_content(content: Any) -> None:
    with pytest.raises(TypeError, match="must be bytes"):
        httpcore.PlainByteStream(content)


def test_bodies_that_are_none(colour: Colour) -> None:
    async def main() -> None:
        async with colour.client() as client:
            for body in (
                5,
                object(),
                httpcore.SyncByteStream() if colour.is_async else httpcore.AsyncByteStream(),
            ):
                with pytest.raises(TypeError, match="must have __"):
                    await client.send((b"http", b"127.0.0.1", 1, b"/"), b"POST", SIZED, body)

    colour.run(main)


URL = (b"http", b"127.0.0.1", 1, b"/")

REFUSED: dict[str, tuple[Any, Any, Any, Any]] = {
    "scheme": (b"POST", (b"ftp", b"h", None, b"/"), SIZED, httpcore.UnsupportedProtocol),
    "host": (b"POST", (b"http", b"", None, b"/"), SIZED, httpcore.LocalProtocolError),
    "method": ("POST", URL, SIZED, TypeError),
    "connecting": (b"POST", URL, SIZED, httpcore.ConnectError),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_body_of_which_nothing_is_read_is_closed_once(colour: Colour, case: str) -> None:
    method, url, headers, error = REFUSED[case]

    async def main() -> None:
        async with colour.client() as client:
            body = Body(b"ab")
            with pytest.raises(error):
                await client.send(url, method, headers, body)
            assert body.closed == 1

    colour.run(main)


def test_what_a_body_that_is_closed_raises_is_not_the_reason(colour: Colour) -> None:
    class Stubborn(Body):
        def close(self) -> None:
            raise OSError("stays open")

        async def aclose(self) -> None:
            raise OSError("stays open")

    async def main() -> None:
        async with colour.client() as client:
            with pytest.raises(httpcore.UnsupportedProtocol):
                await client.send((b"ftp", b"h", None, b"/"), b"POST", SIZED, Stubborn(b"ab"))

    colour.run(main)


@pytest.mark.parametrize("fields", [[], [(b"Content-Length", b"0")]])
def test_a_body_that_no_field_announces(colour: Colour, fields: list[tuple[bytes, bytes]]) -> None:
    """Whether there is one is seen before a byte is sent, also where it has to be asked."""

    async def main() -> None:
        with Server(serve) as server:
            async with colour.client() as client:
                headers = [*FIELDS, *fields]
                for body in (httpcore.PlainByteStream(b"ab"), Body(b"", b"ab")):
                    with pytest.raises(httpcore.LocalProtocolError) as caught:
                        await client.send(server.url(), b"POST", headers, body)
                    assert not caught.value.request_sent
                for body in (httpcore.PlainByteStream(b""), Body(), Body(b"", b"")):
                    response = await client.send(server.url(b"/next"), b"POST", headers, body)
                    assert await response.read() == b"/next"
                assert b"".join(peer.received for peer in server.peers).count(b"POST") == 3

    colour.run(main)


@pytest.mark.parametrize(("count", "error"), [("2", TypeError), (True, TypeError), (-1, ValueError)])
def test_counts_and_drains(colour: Colour, count: Any, error: type[Exception]) -> None:
    async def main() -> None:
        async with colour.client() as client:
            with pytest.raises(error):
                await client.preconnect(URL, count)
            with pytest.raises(TypeError):
                await client.close(drain="1")  # type: ignore[arg-type]
            with pytest.raises(ValueError, match="NaN"):
                await client.close(drain=NAN)

    colour.run(main)


BAD_REQUESTS: list[tuple[bytes, bytes, list[tuple[bytes, bytes]]]] = [
    (b"G T", b"/", FIELDS),
    (b"GET", b"/ x", FIELDS),
    (b"GET", b"", FIELDS),
    (b"GET", b"/", []),
    (b"GET", b"/", [*FIELDS, (b"X Y", b"z")]),
    (b"GET", b"/", [*FIELDS, (b"X", b"y\r\nZ: z")]),
    (b"GET", b"/", [*SIZED, (b"Transfer-Encoding", b"chunked")]),
]


@pytest.mark.parametrize(("method", "target", "headers"), BAD_REQUESTS)
def test_no_connection_is_opened_for_a_bad_request(
    colour: Colour, method: bytes, target: bytes, headers: list[tuple[bytes, bytes]]
) -> None:
    async def main() -> None:
        with Server(serve) as server:
            async with colour.client(max_connections=1) as client:
                with pytest.raises(httpcore.LocalProtocolError) as caught:
                    await client.send(server.url(target), method, headers)
                assert not caught.value.request_sent
                assert client.pool.statistics()["connections"] == 0
                assert await client.get(server.url(b"/next")) == b"/next"
            assert server.accepted == 1

    colour.run(main)


@pytest.mark.parametrize("port", [-1, 0, 65536, 10**30])
def test_ports_that_are_none(colour: Colour, port: int) -> None:
    """It is us who cannot connect, with or without somebody on the way."""

    async def main() -> None:
        with Server(serve) as server:
            url = (b"http", b"127.0.0.1", port, b"/")
            async with colour.client() as client:
                with pytest.raises(httpcore.ConnectError, match="is not a port"):
                    await client.send(url)
            for scheme in (b"http", b"socks5"):
                async with colour.proxy((scheme, *server.url()[1:])) as client:
                    with pytest.raises(httpcore.ConnectError, match="is not a port"):
                        await client.send(url)
            assert server.accepted == 0

    colour.run(main)


def test_brackets_around_an_address_make_no_difference(colour: Colour) -> None:
    async def main() -> None:
        with Server(serve, address="::1") as server:
            async with colour.client() as client:
                for host in (b"::1", b"[::1]", b"::1"):
                    assert await client.get((b"http", host, server.port, b"/a")) == b"/a"
                assert await client.info() == {f"http://[::1]:{server.port}": ["HTTP/1.1, IDLE"]}

    colour.run(main)


def test_the_case_of_a_host_makes_no_difference(colour: Colour) -> None:
    """RFC 9110 §4.2.3: who asks for `LocalHost` is served by a connection to `localhost`."""

    async def main() -> None:
        with Server(serve) as server:
            async with colour.client() as client:
                for host in (b"localhost", b"LocalHost", b"LOCALHOST"):
                    assert await client.get((b"http", host, server.port, b"/a")) == b"/a"
                assert await client.states() == ["HTTP/1.1, IDLE"]
            assert server.accepted == 1

    colour.run(main)
