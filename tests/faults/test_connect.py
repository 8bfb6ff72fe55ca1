"""Names, addresses and sockets: what can go wrong before a byte of HTTP."""

from __future__ import annotations

import os
import socket
import threading
from pathlib import Path
from time import monotonic

import pytest

import httpcore

from ..colours import Colour
from ..peers.scripted import Peer, Server, serve
from .rows import row

pytestmark = pytest.mark.usefixtures("nothing_left")


@row("DNS-01")
def test_a_name_that_does_not_resolve(colour: Colour) -> None:
    async def main() -> None:
        with Server(serve) as server:
            async with colour.client(max_connections=1) as client:
                with pytest.raises(httpcore.ConnectError, match=r"nowhere\.invalid"):
                    await client.send((b"http", b"nowhere.invalid", 80, b"/"))
                assert await client.get(server.url(b"/next")) == b"/next"

    colour.run(main)


@row("DNS-02")
def test_a_lookup_that_hangs(colour: Colour) -> None:
    release = threading.Event()

    def resolver(host: str, port: int) -> list[str]:
        release.wait(10)
        return ["127.0.0.1"]

    async def main() -> None:
        async with colour.client(resolver=resolver, max_connections=1) as client:
            begin = monotonic()
            with pytest.raises(httpcore.ConnectTimeout, match="slow"):
                await client.send((b"http", b"slow.example", 80, b"/"), connect=0.1)
            assert 0.1 <= monotonic() - begin + 0.001 < 0.5
            assert client.pool.statistics()["connections"] == 0

    try:
        colour.run(main)
    finally:
        release.set()


@row("DNS-03", "DNS-04", "DNS-05", "TCP-01")
def test_the_next_address_is_tried(colour: Colour) -> None:
    async def main() -> None:
        with Server(serve) as server, socket.create_server(("127.0.0.2", 0), backlog=0) as full:
            # A listener whose queue is full answers nobody, as a black hole does.
            port = server.port
            with _black_hole(port) as hole:
                for answers in (["127.0.0.3", "127.0.0.1"], ["::1", "127.0.0.1"], [hole, "127.0.0.1"]):
                    async with colour.client(resolver=lambda host, port: answers) as client:
                        begin = monotonic()
                        assert await client.get((b"http", b"many.example", port, b"/a"), connect=5.0) == b"/a"
                        assert monotonic() - begin < 1.0
            full.close()

    colour.run(main)


class _black_hole:  # noqa: N801
    """An address that takes no connection on a port, and refuses none."""

    def __init__(self, port: int, address: str = "127.0.0.4") -> None:
        self._listener = socket.create_server((address, port), backlog=0)
        self._address = address
        self._fillers: list[socket.socket] = []
        for _ in range(4):
            sock = socket.socket()
            sock.setblocking(False)
            self._fillers.append(sock)
            try:
                sock.connect((address, self._listener.getsockname()[1]))
            except BlockingIOError:
                pass

    def __enter__(self) -> str:
        return self._address

    def __exit__(self, *_: object) -> None:
        for sock in (*self._fillers, self._listener):
            sock.close()


@row("TCP-02")
def test_a_black_hole(colour: Colour) -> None:
    async def main() -> None:
        with Server(serve) as server, _black_hole(server.port) as hole:
            async with colour.client(max_connections=1) as client:
                begin = monotonic()
                with pytest.raises(httpcore.ConnectTimeout):
                    await client.send((b"http", hole.encode(), server.port, b"/"), connect=0.2)
                assert 0.2 <= monotonic() - begin + 0.001 < 0.6
                assert await client.get(server.url(b"/next")) == b"/next"

    colour.run(main)


@row("DNS-06")
def test_every_address_fails(colour: Colour) -> None:
    async def main() -> None:
        async with colour.client(resolver=lambda host, port: ["127.0.0.2", "127.0.0.3"]) as client:
            with pytest.raises(httpcore.ConnectError) as caught:
                await client.send((b"http", b"many.example", 1, b"/"))
            assert "127.0.0.2:1" in str(caught.value)
            assert "127.0.0.3:1" in str(caught.value)

    colour.run(main)


@row("DNS-07")
def test_empty_and_duplicate_answers(colour: Colour) -> None:
    async def main() -> None:
        async with colour.client(resolver=lambda host, port: []) as client:
            with pytest.raises(httpcore.ConnectError, match="no address"):
                await client.send((b"http", b"empty.example", 80, b"/"))
        async with colour.client(resolver=lambda host, port: ["127.0.0.1"] * 5) as client:
            with pytest.raises(httpcore.ConnectError) as caught:
                await client.send((b"http", b"same.example", 1, b"/"))
            assert str(caught.value).count("refused") == 1

    colour.run(main)


@row("DNS-08")
def test_no_thread_for_the_lookup(colour: Colour, monkeypatch: pytest.MonkeyPatch) -> None:
    from httpcore._backends.addresses import Lookup

    def fail(self: Lookup) -> None:
        raise RuntimeError("can't start new thread")

    async def main() -> None:
        async with colour.client() as client:
            with pytest.raises(httpcore.ConnectError, match="thread"):
                await client.send((b"http", b"localhost", 80, b"/"))

    monkeypatch.setattr(Lookup, "start", fail)
    colour.run(main)


@row("DNS-09")
def test_hosts_that_are_no_names(colour: Colour) -> None:
    async def main() -> None:
        async with colour.client() as client:
            for host in (
                b"a" * 64,
                b"a." * 130,
                b"a..b",
                b".",
                b"a\0b",
                "caf\u00e9".encode(),
                b"a b",
                b"a\r\nb",
            ):
                with pytest.raises(httpcore.LocalProtocolError):
                    await client.send((b"http", host, 80, b"/"))

    colour.run(main)


@row("DNS-01")
def test_a_resolver_of_the_callers(colour: Colour) -> None:
    error = KeyError("mine")

    def fail(host: str, port: int) -> list[str]:
        raise error

    async def main() -> None:
        async with colour.client(resolver=fail) as client:
            with pytest.raises(KeyError) as caught:
                await client.send((b"http", b"x.example", 80, b"/"))
            assert caught.value is error
            assert client.pool.statistics()["connections"] == 0

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
    asked: list[float] = []

    def resolver(host: str, port: int) -> list[str]:
        asked.append(monotonic())
        return ["127.0.0.2"] if len(asked) < 3 else ["127.0.0.1"]

    async def main() -> None:
        asked.clear()
        with Server(serve) as server:
            async with colour.client(resolver=resolver, retries=1) as client:
                with pytest.raises(httpcore.ConnectError):
                    await client.get((b"http", b"x.example", server.port, b"/a"))
            asked.clear()
            async with colour.client(resolver=resolver, retries=2) as client:
                assert await client.get((b"http", b"x.example", server.port, b"/a")) == b"/a"
            assert asked[1] - asked[0] < 0.3
            assert 0.5 <= asked[2] - asked[1] < 0.9

    colour.run(main)
