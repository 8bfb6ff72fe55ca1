"""Sockets: what can go wrong before a byte of HTTP, and beneath it."""

from __future__ import annotations

import gc
import os
import socket
from pathlib import Path
from typing import Any

import pytest

import httpcore
from httpcore._backends.auto import load

from ..colours import Colour
from ..peers.scripted import Peer, Server, black_hole, serve
from ..stopwatch import Stopwatch
from .rows import row

pytestmark = pytest.mark.usefixtures("nothing_left")


@row("TCP-02")
def test_ablack_hole(colour: Colour) -> None:
    async def main() -> None:
        with Server(serve) as server, black_hole(server.port) as hole:
            async with colour.client(max_connections=1) as client:
                watch = Stopwatch()
                with pytest.raises(httpcore.ConnectTimeout):
                    await client.send((b"http", hole.encode(), server.port, b"/"), connect=0.2)
                assert watch.elapsed + 0.001 >= 0.2
                assert watch.taken < 0.6
                assert await client.get(server.url(b"/next")) == b"/next"

    colour.run(main)


@row("TCP-11")
def test_a_slow_reader_gets_every_byte_once(colour: Colour) -> None:
    body = bytes(range(256)) * 8_000

    def script(peer: Peer) -> None:
        peer.recv_head()
        got = b""
        while len(got) < len(body):
            got += peer.recv_exactly(min(1000, len(body) - len(got)))
        peer.answer(b"same" if got == body else b"different")

    async def main() -> None:
        fields = [(b"Host", b"h"), (b"Content-Length", b"%d" % len(body))]
        with Server(script) as server:
            async with colour.client(socket_options=[(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)]) as client:
                stream = httpcore.PlainByteStream(body)
                response = await client.send(server.url(), b"POST", fields, stream)
                assert await response.read() == b"same"

    colour.run(main)


@row("TCP-14")
def test_bad_local_addresses_and_ports(colour: Colour) -> None:
    async def main() -> None:
        with Server(serve) as server:
            async with colour.client(local_address="192.0.2.1", max_connections=1) as client:
                with pytest.raises(httpcore.ConnectError):
                    await client.send(server.url())
            async with colour.client(max_connections=1) as client:
                for port in (0, -1, 65536, 10**9):
                    with pytest.raises(httpcore.ConnectError, match="port"):
                        await client.send((b"http", b"127.0.0.1", port, b"/"))
                assert await client.get(server.url(b"/next")) == b"/next"
            async with colour.client(local_address="127.0.0.5") as client:
                assert await client.get(server.url(b"/a")) == b"/a"

    colour.run(main)


@row("TCP-14")
def test_no_descriptors_left(colour: Colour) -> None:
    import resource

    async def main() -> None:
        with Server(serve) as server:
            # What is imported with the first request needs a descriptor, too; what is garbage has some.
            async with colour.client() as first:
                await first.get(server.url())
            await colour.pause()
            gc.collect()
            async with colour.client(max_connections=1) as client:
                soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
                used = max(int(name) for name in os.listdir("/proc/self/fd")) + 1
                resource.setrlimit(resource.RLIMIT_NOFILE, (used, hard))
                fillers = []
                try:
                    while True:
                        fillers.append(os.dup(0))
                except OSError:
                    pass
                try:
                    with pytest.raises(httpcore.ConnectError):
                        await client.send(server.url())
                finally:
                    for filler in fillers:
                        os.close(filler)
                    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
                assert await client.get(server.url(b"/next")) == b"/next"

    colour.run(main)


@row("TCP-15")
def test_unix_sockets(colour: Colour, tmp_path: Path) -> None:
    async def main() -> None:
        path = str(tmp_path / "s")
        async with colour.client(uds=path, max_connections=1) as client:
            with pytest.raises(httpcore.ConnectError, match="Unix socket"):
                await client.send((b"http", b"anything", 80, b"/"))
            with Server(serve, path=path):
                assert await client.get((b"http", b"anything", 80, b"/a")) == b"/a"
                assert await client.info() == {"http://anything": ["HTTP/1.1, IDLE"]}

    colour.run(main)


def test_retries(colour: Colour) -> None:
    """The first retry comes at once, the second after half a second; each names the attempt in the trace."""
    asked: list[Stopwatch] = []
    pauses: list[tuple[float, float]] = []

    def resolver(host: str, port: int) -> list[str]:
        pauses.extend((watch.elapsed, watch.taken) for watch in asked[-1:])
        asked.append(Stopwatch())
        return ["127.0.0.2"] if len(asked) < 3 else ["127.0.0.1"]

    async def main() -> None:
        asked.clear()
        with Server(serve) as server:
            async with colour.client(resolver=resolver, retries=1) as client:
                with pytest.raises(httpcore.ConnectError):
                    await client.get((b"http", b"x.example", server.port, b"/a"))
            asked.clear()
            pauses.clear()
            async with colour.client(resolver=resolver, retries=2) as client:
                assert await client.get((b"http", b"x.example", server.port, b"/a")) == b"/a"
            (_, first), (elapsed, second) = pauses
            assert first < 0.3
            assert elapsed >= 0.5
            assert second < 0.9

    colour.run(main)


class Mute(socket.socket):
    """Takes nothing, and does not say that it would block."""

    def send(self, *_: object) -> int:
        return 0


@row("TCP-12")
@pytest.mark.parametrize("name", ["sync", "trio", "anyio-trio"])
def test_a_send_that_takes_nothing(name: str) -> None:
    colour = Colour(name)
    inner: Any = load("trio" if colour.is_trio else "sync")

    class MuteBackend:
        is_mute = True

        def __getattr__(self, name: str) -> Any:
            return getattr(inner, name)

        async def adopt(self, sock: socket.socket) -> Any:
            return await inner.adopt(Mute(fileno=sock.detach()) if self.is_mute else sock)

    async def main() -> None:
        backend = MuteBackend()
        with Server(serve) as server:
            async with colour.client(backend=backend, max_connections=1) as client:
                watch = Stopwatch()
                with pytest.raises(httpcore.NetworkError):
                    await client.send(server.url())
                assert watch.taken < 1.0
                MuteBackend.is_mute = False
                assert await client.get(server.url(b"/next")) == b"/next"

    colour.run(main)
