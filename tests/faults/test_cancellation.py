"""Cancellation at every suspension of every reference exchange, and what it may not do to others."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import pytest
import trio

import httpcore

from ..colours import ASYNC_NAMES, Client, Colour
from ..peers.scripted import Peer, Server, first_then_serve, serve
from .rows import row

pytestmark = pytest.mark.usefixtures("nothing_left")

Exchange = Callable[[Client, Server], Awaitable[object]]


@pytest.fixture(params=ASYNC_NAMES)
def colour(request: pytest.FixtureRequest) -> Colour:
    return Colour(request.param)


class CancelAt:
    """Awaits an awaitable, and cancels it at its k-th suspension.

    The wrapped awaitable's own suspensions are passed through to the loop, so it runs as it would.
    """

    def __init__(self, awaitable: Awaitable[object], k: int, cancel: Callable[[], None]) -> None:
        self._awaitable = awaitable
        self._k = k
        self._cancel = cancel
        self.suspensions = 0

    def __await__(self) -> Any:
        iterator = self._awaitable.__await__()
        value: Any = None
        error: BaseException | None = None
        while True:
            try:
                trap = iterator.throw(error) if error is not None else iterator.send(value)
            except StopIteration as stop:
                return stop.value
            self.suspensions += 1
            if self.suspensions == self._k:
                self._cancel()
            try:
                value, error = (yield trap), None
            except BaseException as exc:
                value, error = None, exc


async def cancel_at(colour: Colour, awaitable: Callable[[], Awaitable[object]], k: int) -> bool:
    """Run and cancel at suspension k; whether there was one."""
    if colour.is_trio:
        with trio.CancelScope() as trio_scope:
            wrapped = CancelAt(awaitable(), k, trio_scope.cancel)
            await wrapped
        return wrapped.suspensions >= k
    if colour.name.startswith("anyio"):
        with anyio.CancelScope() as scope:
            wrapped = CancelAt(awaitable(), k, scope.cancel)
            await wrapped
        return wrapped.suspensions >= k
    task: asyncio.Task[object]

    async def run() -> object:
        nonlocal wrapped
        wrapped = CancelAt(awaitable(), k, lambda: _ignore(task.cancel()))
        return await wrapped

    task = asyncio.ensure_future(run())
    try:
        await task
    except asyncio.CancelledError:
        assert task.cancelled()
    return wrapped.suspensions >= k


def _ignore(value: object) -> None:
    pass


async def get(client: Client, server: Server) -> object:
    return await client.get(server.url(b"/a"))


async def get_twice(client: Client, server: Server) -> object:
    await client.get(server.url(b"/a"))
    return await client.get(server.url(b"/b"))


async def head(client: Client, server: Server) -> object:
    return await client.send(server.url(b"/"), b"HEAD")


async def chunked_download(client: Client, server: Server) -> object:
    return await client.get(server.url(b"/chunked"))


async def large_download(client: Client, server: Server) -> object:
    return await client.get(server.url(b"/large"))


async def closed_early(client: Client, server: Server) -> object:
    response = await client.send(server.url(b"/large"))
    await response.close()
    return None


async def until_close(client: Client, server: Server) -> object:
    return await client.get(server.url(b"/until-close"))


async def interim(client: Client, server: Server) -> object:
    return await client.get(server.url(b"/interim"))


async def plain_upload(client: Client, server: Server) -> object:
    fields = [(b"Host", b"h"), (b"Content-Length", b"3000000")]
    stream = httpcore.PlainByteStream(b"x" * 3_000_000)
    return await (await client.send(server.url(b"/"), b"POST", fields, stream)).read()


async def streamed_upload(client: Client, server: Server) -> object:
    fields = [(b"Host", b"h"), (b"Transfer-Encoding", b"chunked")]
    stream = client.colour.stream([b"x" * 100_000] * 20)
    return await (await client.send(server.url(b"/"), b"POST", fields, stream)).read()


async def expect(client: Client, server: Server) -> object:
    fields = [(b"Host", b"h"), (b"Content-Length", b"5"), (b"Expect", b"100-continue")]
    stream = httpcore.PlainByteStream(b"hello")
    return await (await client.send(server.url(b"/interim"), b"POST", fields, stream)).read()


async def by_name(client: Client, server: Server) -> object:
    return await client.get((b"http", b"localhost", server.port, b"/a"))


EXCHANGES: dict[str, Exchange] = {
    function.__name__: function
    for function in (
        get, get_twice, head, chunked_download, large_download, closed_early, until_close, interim, plain_upload,
        streamed_upload, expect, by_name,
    )
}  # fmt: skip


def reference(peer: Peer) -> None:
    """The server of the reference exchanges."""
    while head := peer.recv_until(b"\r\n\r\n"):
        target = head.split(b" ")[1]
        lowered = head.lower()
        if target == b"/interim":
            peer.send(b"HTTP/1.1 103 Early\r\n\r\n")
            peer.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        if b"transfer-encoding: chunked" in lowered:
            while size := int(peer.recv_until(b"\r\n") or b"0", 16):
                peer.recv_exactly(size + 2)
            peer.recv_until(b"\r\n")
        elif b"content-length: " in lowered:
            peer.recv_exactly(int(lowered.split(b"content-length: ")[1].split(b"\r\n")[0]))
        if head.startswith(b"HEAD"):
            peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n")
        elif target == b"/chunked":
            peer.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
            for _ in range(5):
                peer.send(b"3\r\nabc\r\n")
            peer.send(b"0\r\n\r\n")
        elif target == b"/until-close":
            peer.send(b"HTTP/1.1 200 OK\r\n\r\nabc")
            peer.send(b"def")
            return
        elif target == b"/large":
            peer.answer(b"x" * 2_000_000)
        else:
            peer.answer(target)


@row("CAN-03", "CAN-05", "CAN-06", "CAN-07", "CAN-08", "CAN-12")
@pytest.mark.parametrize("name", EXCHANGES)
def test_at_every_suspension(colour: Colour, name: str) -> None:
    async def main() -> None:
        with Server(reference) as server:
            async with colour.client(max_connections=1) as client:
                for k in range(1, 200):
                    was_cancelled = await cancel_at(colour, lambda: EXCHANGES[name](client, server), k)
                    figures = client.pool.statistics()
                    assert figures["active"] == figures["connecting"] == figures["waiting"] == 0, (k, figures)
                    assert await client.get(server.url(b"/next"), pool=1.0) == b"/next", k
                    if not was_cancelled:
                        assert k > 1
                        return
                raise AssertionError("the exchange never completed")

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
                        await _turn(colour)
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
                            await _turn(colour)
                        await response.read()
                        scope.cancel()
                else:
                    doomed = asyncio.ensure_future(client.get(server.url(b"/w")))
                    other = asyncio.ensure_future(last())
                    while client.pool.statistics()["waiting"] < 2:
                        await _turn(colour)
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


async def _turn(colour: Colour) -> None:
    from .test_body import _pause

    await _pause(colour)
