"""Names and addresses: lookups that fail, hang or answer oddly, and addresses that do not connect."""

from __future__ import annotations

import socket
import threading

import pytest

import httpcore
from httpcore._backends.addresses import CACHE_SIZE, AddressCache

from ..colours import Colour
from ..peers.scripted import Server, black_hole, serve
from ..stopwatch import Stopwatch
from .cancelling import cancel_at
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
            watch = Stopwatch()
            with pytest.raises(httpcore.ConnectTimeout, match="slow"):
                await client.send((b"http", b"slow.example", 80, b"/"), connect=0.1)
            assert watch.elapsed + 0.001 >= 0.1
            assert watch.taken < 0.5
            assert client.pool.statistics()["connections"] == 0

    try:
        colour.run(main)
    finally:
        release.set()


@row("DNS-03", "DNS-04", "DNS-05", "TCP-01")
def test_the_next_address_is_tried(colour: Colour) -> None:
    async def main() -> None:
        with Server(serve) as server:
            port = server.port
            with black_hole(port) as hole:
                for answers in (["127.0.0.3", "127.0.0.1"], ["::1", "127.0.0.1"], [hole, "127.0.0.1"]):
                    async with colour.client(resolver=lambda host, port: answers) as client:
                        watch = Stopwatch()
                        assert await client.get((b"http", b"many.example", port, b"/a"), connect=5.0) == b"/a"
                        assert watch.taken < 1.0

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


@pytest.mark.parametrize("is_ours", [True, False])
def test_answers_are_kept_whoever_gave_them(
    colour: Colour, is_ours: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def resolver(host: str, port: int) -> list[str]:
        asked.append(host)
        return ["127.0.0.1"]

    def getaddrinfo(host: str, port: int, *_: object) -> list[object]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (each, port)) for each in resolver(host, port)]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)

    async def main(ttl: float | None) -> None:
        asked.clear()
        options = {"resolver": resolver if is_ours else None, "dns_ttl": ttl}
        with Server(serve) as server:
            async with colour.client(**options, max_keepalive_connections=0) as client:
                for _ in range(2):
                    assert await client.get((b"http", b"name.example", server.port, b"/a")) == b"/a"

    colour.run(main, None)
    assert asked == ["name.example"] * 2
    colour.run(main, 60.0)
    assert asked == ["name.example"]


def test_answers_are_kept_for_a_time_and_so_many() -> None:
    cache = AddressCache(10.0)
    address = (int(socket.AF_INET), ("127.0.0.1", 80))
    for number in range(CACHE_SIZE + 1):
        cache.put(number, [address], 100.0)
    assert cache.get(0, 100.0) is None
    assert cache.get(1, 109.9) == [address]
    assert cache.get(1, 110.0) is None


@row("DNS-10")
def test_a_lookup_that_two_wait_for_and_one_gives_up(colour: Colour, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether it is cancelled, or runs out of time: the question is asked once, and the other is answered."""
    asked: list[str] = []
    release = threading.Event()

    def getaddrinfo(host: str, port: int, *_: object) -> list[object]:
        asked.append(host)
        assert release.wait(10)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))]

    async def main() -> None:
        with Server(serve) as server:
            url = (b"http", b"shared.example", server.port, b"/a")
            async with colour.client() as client:

                async def first() -> None:
                    if colour.is_async:
                        assert await cancel_at(colour, lambda: client.get(url), 1)
                    with pytest.raises(httpcore.ConnectTimeout):
                        await client.get(url, connect=0.1)
                    release.set()

                async def second() -> None:
                    while not client.pool._pool.connector._addresses.under_way:
                        await colour.pause()
                    assert await client.get(url) == b"/a"

                await colour.gather(first, second)
                assert asked == ["shared.example"]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    try:
        colour.run(main)
    finally:
        release.set()


@row("DNS-02")
def test_lookups_that_all_gave_up_on_are_forgotten(colour: Colour, monkeypatch: pytest.MonkeyPatch) -> None:
    """While one hangs, nobody is remembered who left; when it ends at last, neither is it."""
    release = threading.Event()

    def getaddrinfo(*_: object) -> list[object]:
        assert release.wait(10)
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    async def main() -> None:
        async with colour.client() as client:
            under_way = client.pool._pool.connector._addresses.under_way
            for _ in range(2):
                with pytest.raises(httpcore.ConnectTimeout):
                    await client.send((b"http", b"slow.example", 80, b"/"), connect=0.01)
            (lookup,) = under_way.values()
            assert not lookup._parkers
            release.set()
            while under_way:
                await colour.pause()

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    try:
        colour.run(main)
    finally:
        release.set()


def test_an_interface_that_is_not_there(colour: Colour) -> None:
    async def main() -> None:
        async with colour.client() as client:
            with pytest.raises(httpcore.ConnectError, match="no interface 'nowhere0'"):
                await client.send((b"http", b"fe80::1%nowhere0", 80, b"/"))
            assert client.pool.statistics()["connections"] == 0

    colour.run(main)
