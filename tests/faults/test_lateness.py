"""How late timeouts are: never early, late by 250 ms or a tenth at the most, and in the median by 50 ms.

The figures bind every backend and every phase.
"""

from __future__ import annotations

import statistics
from collections.abc import Awaitable, Callable

import pytest

import httpcore

from ..colours import Client, Colour
from ..peers.scripted import Peer, Server, black_hole
from ..stopwatch import Stopwatch

pytestmark = pytest.mark.usefixtures("nothing_left")

LIMITS = (0.01, 0.15, 0.05)
"""Seconds. On one connection, so that what one wait leaves to the next is seen, too."""

Failing = Callable[[Client, float], Awaitable[object]]


def answer_the_first_only(peer: Peer) -> None:
    """A connection serves once, so that the next request waits on one that is known."""
    peer.recv_request()
    peer.answer()
    peer.recv_to_end()


def begin_the_response(peer: Peer) -> None:
    peer.recv_request()
    peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nbegun")
    peer.recv_to_end()


async def measure(failing: Failing, client: Client, error: type[Exception]) -> None:
    """Let each limit pass, twice, and judge how late that was noticed."""
    found = []
    for limit in LIMITS * 2:
        watch = Stopwatch()
        with pytest.raises(error):
            await failing(client, limit)
        early = limit - watch.elapsed
        late = watch.taken - limit
        assert early <= 0.0, f"{early * 1000:.2f} ms early at {limit} s"
        assert late <= max(0.25, limit / 10), f"{late * 1000:.0f} ms late at {limit} s"
        found.append(late)
    assert statistics.median(found) < 0.05


def test_read_timeouts_before_the_head(colour: Colour) -> None:
    async def main() -> None:
        with Server(answer_the_first_only) as server:

            async def fail(client: Client, limit: float) -> None:
                await (await client.send(server.url())).read()
                await client.send(server.url(), read=limit)

            async with colour.client() as client:
                # The first exchange of each pair takes its time as well: half a millisecond that only adds.
                await measure(fail, client, httpcore.ReadTimeout)

    colour.run(main)


def test_read_timeouts_inside_a_body(colour: Colour) -> None:
    async def main() -> None:
        with Server(begin_the_response) as server:

            async def fail(client: Client, limit: float) -> None:
                await (await client.send(server.url(), read=limit)).read()

            async with colour.client() as client:
                await measure(fail, client, httpcore.ReadTimeout)

    colour.run(main)


def test_total_timeouts(colour: Colour) -> None:
    async def main() -> None:
        with Server(begin_the_response) as server:

            async def fail(client: Client, limit: float) -> None:
                await (await client.send(server.url(), total=limit)).read()

            async with colour.client() as client:
                # Of whichever phase it cut.
                await measure(fail, client, httpcore.TimeoutException)

    colour.run(main)


def test_write_timeouts(colour: Colour) -> None:
    def script(peer: Peer) -> None:
        peer.recv_head()
        peer.server.hold()

    async def main() -> None:
        size = 32 * 1024 * 1024
        stream = httpcore.PlainByteStream(bytes(size))
        with Server(script) as server:

            async def fail(client: Client, limit: float) -> None:
                headers = [(b"Host", b"h"), (b"Content-Length", b"%d" % size)]
                await client.send(server.url(), b"PUT", headers, stream, write=limit)

            async with colour.client() as client:
                await measure(fail, client, httpcore.WriteTimeout)
            server.release.set()

    colour.run(main)


def test_pool_timeouts(colour: Colour) -> None:
    async def main() -> None:
        with Server(begin_the_response) as server:

            async def fail(client: Client, limit: float) -> None:
                await client.send(server.url(), pool=limit)

            async with colour.client(max_connections=1) as client:
                response = await client.send(server.url())
                await measure(fail, client, httpcore.PoolTimeout)
                await response.close()

    colour.run(main)


def test_connect_timeouts(colour: Colour) -> None:
    async def main() -> None:
        with Server(begin_the_response) as server, black_hole(server.port) as address:
            url = (b"http", address.encode(), server.port, b"/")

            async def fail(client: Client, limit: float) -> None:
                await client.send(url, connect=limit)

            async with colour.client() as client:
                await measure(fail, client, httpcore.ConnectTimeout)

    colour.run(main)
