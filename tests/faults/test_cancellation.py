"""Cancellation at every suspension of every reference exchange, and what it may not do to others."""

from __future__ import annotations

import asyncio

import anyio
import pytest
import trio

import httpcore

from ..colours import ASYNC_NAMES, Colour
from ..peers.scripted import Peer, Server, first_then_serve, serve
from .cancelling import cancel_at
from .exchanges import Exchange, Scene, endless, scene_of
from .exchanges_http2 import EXCHANGES
from .rows import row

pytestmark = pytest.mark.usefixtures("nothing_left")


@pytest.fixture(params=ASYNC_NAMES)
def colour(request: pytest.FixtureRequest) -> Colour:
    return Colour(request.param)


@row("CAN-01", "CAN-02", "CAN-03", "CAN-04", "CAN-05", "CAN-06", "CAN-07", "CAN-08", "CAN-12")
@pytest.mark.parametrize("exchange", EXCHANGES)
def test_at_every_suspension(colour: Colour, exchange: str) -> None:
    with scene_of(exchange) as scene:
        colour.run(_cancel_at_each, colour, scene, EXCHANGES[exchange], False)


@row("CAN-02", "CAN-12")
@pytest.mark.parametrize("name", ["asyncio", "uvloop"])
@pytest.mark.parametrize("exchange", EXCHANGES)
def test_in_the_turn_in_which_it_would_go_on(name: str, exchange: str) -> None:
    """trio delivers a cancellation at the next suspension, and that is the test above."""
    with scene_of(exchange) as scene:
        Colour(name).run(_cancel_at_each, Colour(name), scene, EXCHANGES[exchange], True)


async def _cancel_at_each(colour: Colour, scene: Scene, exchange: Exchange, is_late: bool) -> None:
    for k in range(1, 1000):
        async with scene.create_client(colour):
            was_cancelled = await cancel_at(colour, lambda: exchange(scene), k, is_late=is_late)
            scene.check_figures()
            await scene.next_request()
            scene.check_sockets()
        if not was_cancelled:
            assert k > 1
            return
    raise AssertionError("the exchange never completed")


@row("CAN-08")
def test_while_the_callers_stream_hears_of_a_failure(colour: Colour) -> None:
    """The cancellation is newer than the failure, and nobody but its owner may catch it."""

    def script(peer: Peer) -> None:
        peer.recv_head()
        peer.send(b"junk\r\n\r\n")
        while peer.sock.recv(65536):
            pass

    async def main() -> None:
        fields = [(b"Host", b"h"), (b"Transfer-Encoding", b"chunked")]
        with Server(script) as server:
            async with colour.client(max_connections=1) as client:

                async def fail() -> None:
                    stream = httpcore.AsyncIteratorByteStream(endless(b"x" * 100_000), colour.pause)
                    with pytest.raises(httpcore.RemoteProtocolError):
                        await client.send(server.url(), b"POST", fields, stream)

                k = 1
                while await cancel_at(colour, fail, k):
                    assert client.pool.statistics()["connections"] == 0
                    k += 1
                assert k > 2

    colour.run(main)


@row("CAN-01", "CAN-02", "POOL-09")
def test_a_cancelled_waiter_leaves_no_trace(colour: Colour) -> None:
    def script(peer: Peer) -> None:
        peer.recv_head()
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n")
        peer.server.hold()
        peer.send(b"12345")
        peer.serve()

    async def main() -> None:
        with Server(script) as server:
            async with colour.client(max_connections=1) as client:
                response = await client.send(server.url())
                assert await cancel_at(colour, lambda: client.get(server.url(b"/w")), 1)
                assert client.pool.statistics()["waiting"] == 0
                server.release.set()
                assert await response.read() == b"12345"
                assert await client.get(server.url(b"/next"), pool=1.0) == b"/next"

    colour.run(main)


@row("CAN-02")
def test_cancelled_as_the_slot_is_granted(colour: Colour) -> None:
    """The place that a cancelled waiter was just given goes to the next one."""

    async def main() -> None:
        with Server(serve) as server:
            async with colour.client(max_connections=1) as client:
                response = await client.send(server.url(b"/first"))
                served: list[bytes] = []

                async def last() -> None:
                    while client.pool.statistics()["waiting"] < 1:
                        await colour.pause()
                    served.append(await client.get(server.url(b"/last"), pool=5.0))

                if colour.is_trio:
                    async with trio.open_nursery() as nursery:
                        scope = trio.CancelScope()

                        async def first() -> None:
                            with scope:
                                await client.get(server.url(b"/w"))

                        nursery.start_soon(first)
                        nursery.start_soon(last)
                        while client.pool.statistics()["waiting"] < 2:
                            await colour.pause()
                        await response.read()
                        scope.cancel()
                else:
                    doomed = asyncio.ensure_future(client.get(server.url(b"/w")))
                    other = asyncio.ensure_future(last())
                    while client.pool.statistics()["waiting"] < 2:
                        await colour.pause()
                    await response.read()
                    doomed.cancel()
                    await asyncio.wait([doomed])
                    await other
                assert served == [b"/last"]

    colour.run(main)


@row("CAN-13")
def test_an_outer_limit_stays_the_outer_one(colour: Colour) -> None:
    def script(peer: Peer) -> None:
        peer.recv_head()
        peer.server.hold()

    async def main() -> None:
        with Server(first_then_serve(script)) as server:
            async with colour.client() as client:
                if colour.is_trio:
                    with trio.move_on_after(0.05) as scope:
                        await client.get(server.url())
                    assert scope.cancelled_caught
                elif colour.name.startswith("anyio"):
                    with pytest.raises(TimeoutError):
                        with anyio.fail_after(0.05):
                            await client.get(server.url())
                else:
                    with pytest.raises(asyncio.TimeoutError):
                        await asyncio.wait_for(client.get(server.url()), 0.05)
                server.release.set()
                assert await client.get(server.url(b"/next")) == b"/next"

    colour.run(main)
