"""HTTP/1.1 with nginx, plain and over TLS, in every colour."""

from __future__ import annotations

import hashlib
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme

import httpcore

from ..colours import Client, Colour
from .servers import BIG, NginxServer

AUTHORITY = trustme.CA()


@pytest.fixture(scope="module")
def nginx(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NginxServer]:
    with NginxServer(tmp_path_factory.mktemp("nginx"), AUTHORITY) as server:
        yield server


@pytest.fixture(params=[False, True], ids=["http", "https"])
def tls(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


def client_of(colour: Colour) -> Client:
    context = ssl.create_default_context()
    AUTHORITY.configure_trust(context)
    return colour.client(ssl_context=context, max_connections=10)


def test_keep_alive(colour: Colour, nginx: NginxServer, tls: bool) -> None:
    async def main() -> None:
        async with client_of(colour) as client:
            for _ in range(20):
                assert await client.get(nginx.url(b"/hello", tls=tls)) == b"Hello, world!"
            assert await client.states() == ["HTTP/1.1, IDLE"]
            assert client.pool.statistics()["opened"] == 1

    colour.run(main)


def test_a_hundred_at_once(colour: Colour, nginx: NginxServer, tls: bool) -> None:
    async def main() -> None:
        async with client_of(colour) as client:

            async def one() -> None:
                assert await client.get(nginx.url(b"/hello", tls=tls)) == b"Hello, world!"

            await colour.gather(*[one] * 100)
            assert client.pool.statistics()["opened"] <= 10

    colour.run(main)


def test_chunked(colour: Colour, nginx: NginxServer, tls: bool) -> None:
    import gzip

    async def main() -> None:
        async with client_of(colour) as client:
            fields = [(b"Host", b"localhost"), (b"Accept-Encoding", b"gzip")]
            for _ in range(2):
                response = await client.send(nginx.url(b"/chunked", tls=tls), headers=fields)
                assert (b"Transfer-Encoding", b"chunked") in response.headers
                assert gzip.decompress(await response.read()) == b"Hello, world!"
            assert client.pool.statistics()["opened"] == 1

    colour.run(main)


def test_statuses(colour: Colour, nginx: NginxServer, tls: bool) -> None:
    async def main() -> None:
        async with client_of(colour) as client:
            for status in (200, 204, 301, 304, 400, 404, 418, 500, 503):
                for method in (b"GET", b"HEAD"):
                    response = await client.send(nginx.url(b"/status/%d" % status, tls=tls), method)
                    assert response.status == status
                    body = await response.read()
                    assert not (method == b"HEAD" and body)

    colour.run(main)


def test_connection_close(colour: Colour, nginx: NginxServer, tls: bool) -> None:
    async def main() -> None:
        async with client_of(colour) as client:
            for _ in range(2):
                assert await client.get(nginx.url(b"/close", tls=tls)) == b"closing"
                assert await client.states() == []

    colour.run(main)


def test_a_large_download(colour: Colour, nginx: NginxServer, tls: bool) -> None:
    expected = hashlib.sha256((nginx.uploads.parent / "big").read_bytes()).digest()

    async def main() -> None:
        async with client_of(colour) as client:
            response = await client.send(nginx.url(b"/big", tls=tls))
            chunks = await response.chunks()
            digest = hashlib.sha256()
            for chunk in chunks:
                digest.update(chunk)
            assert digest.digest() == expected
            assert await client.states() == ["HTTP/1.1, IDLE"]

    colour.run(main)


def test_a_large_upload(colour: Colour, nginx: NginxServer, tls: bool) -> None:
    body = (nginx.uploads.parent / "big").read_bytes()

    async def main() -> None:
        async with client_of(colour) as client:
            streams = [
                (httpcore.PlainByteStream(body), [(b"Content-Length", b"%d" % BIG)]),
                (
                    colour.stream([body[i : i + 1_000_000] for i in range(0, BIG, 1_000_000)]),
                    [(b"Transfer-Encoding", b"chunked")],
                ),
            ]
            for number, (stream, framing) in enumerate(streams):
                target = f"/up/{colour.name}-{tls}-{number}"
                fields = [(b"Host", b"localhost"), *framing]
                response = await client.send(nginx.url(target.encode(), tls=tls), b"PUT", fields, stream)
                assert response.status == 201
                await response.read()
                path = nginx.uploads / Path(target).name
                assert path.read_bytes() == body
                path.unlink()
            assert client.pool.statistics()["opened"] == 1

    colour.run(main)


def test_a_restart_between_two_requests(colour: Colour, nginx: NginxServer, tls: bool) -> None:
    async def main() -> None:
        async with client_of(colour) as client:
            assert await client.get(nginx.url(b"/hello", tls=tls)) == b"Hello, world!"
            nginx.stop()
            nginx.start()
            assert await client.get(nginx.url(b"/hello", tls=tls)) == b"Hello, world!"
            assert client.pool.statistics()["opened"] == 2

    colour.run(main)
