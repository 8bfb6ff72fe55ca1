"""An exception out of nowhere: at any line of the pool, in a blocked read, twice."""

from __future__ import annotations

import asyncio
import gc
import signal
import sys
import threading
from types import FrameType
from typing import Any

import pytest
import trio

import httpcore
from httpcore._pool import ledger as ledger_module
from httpcore._pool import places as places_module
from httpcore._pool import pool as pool_module

from ..colours import Colour
from ..peers.scripted import Peer, Server, first_then_serve, serve
from .rows import row

pytestmark = pytest.mark.usefixtures("nothing_left")


@row("CAN-14", on=["sync"])
def test_an_interrupt_at_any_line_of_pool_and_ledger() -> None:
    files = {pool_module.__file__, ledger_module.__file__, places_module.__file__}

    class Interrupt(BaseException):
        pass

    def exchange(pool: httpcore.SyncConnectionPool, server: Server) -> bytes:
        _, _, stream, _ = pool.request(b"GET", server.url(b"/a"), [(b"Host", b"h")], ext=limits)
        return b"".join(stream)

    limits = {"timeout": {"pool": 2.0, "read": 5.0, "connect": 5.0}}
    where: list[str] = []
    with Server(serve) as server:
        for is_warm in (False, True):
            for k in range(1, 2000):
                with httpcore.SyncConnectionPool(max_connections=1) as pool:
                    if is_warm:
                        exchange(pool, server)
                    count = 0

                    def trace(frame: FrameType, event: str, _: object) -> Any:
                        nonlocal count
                        if frame.f_code.co_filename not in files:
                            return None
                        if event == "line":
                            count += 1
                            if count == k:
                                where.append(f"{frame.f_code.co_name}:{frame.f_lineno}")
                                raise Interrupt
                        return trace

                    previous = sys.gettrace()
                    was_interrupted = False
                    sys.settrace(trace)
                    try:
                        exchange(pool, server)
                    except Interrupt:
                        was_interrupted = True
                    finally:
                        sys.settrace(previous)
                    gc.collect()
                    assert exchange(pool, server) == b"/a", where[-1:]
                    assert exchange(pool, server) == b"/a", where[-1:]
                    figures = pool.statistics()
                    assert figures["active"] == figures["waiting"] == figures["connecting"] == 0, (
                        where[-1:],
                        figures,
                    )
                    assert figures["connections"] <= 1
                if not was_interrupted and count < k:
                    break
            else:
                raise AssertionError("the exchange never completed")


@row("CAN-14")
def test_a_close_that_was_cut_short_is_older_than_the_next_request(colour: Colour) -> None:
    """It is made up for before the request has a place that it could take away."""

    class Interrupt(BaseException):
        pass

    async def main() -> None:
        with Server(serve) as server:
            async with colour.client() as client:
                assert await client.get(server.url(b"/a")) == b"/a"
                ledger = client.pool._pool.ledger
                clear = ledger.clear
                interrupts = [Interrupt]

                def clear_and_be_interrupted(now: float) -> None:
                    clear(now)
                    if interrupts:
                        raise interrupts.pop()

                ledger.clear = clear_and_be_interrupted
                with pytest.raises(Interrupt):
                    await client.close()
                assert await client.get(server.url(b"/b")) == b"/b"

    colour.run(main)


@row("CAN-14", on=["sync"])
def test_a_signal_in_a_blocked_read() -> None:
    class Interrupt(BaseException):
        pass

    def handler(signum: int, frame: object) -> None:
        raise Interrupt

    def script(peer: Peer) -> None:
        peer.recv_head()
        signal.pthread_kill(main_thread, signal.SIGUSR1)
        peer.server.hold()

    main_thread = threading.get_ident()
    previous = signal.signal(signal.SIGUSR1, handler)
    try:
        with (
            Server(first_then_serve(script)) as server,
            httpcore.SyncConnectionPool(max_connections=1) as pool,
        ):
            with pytest.raises(Interrupt):
                pool.request(b"GET", server.url(), [(b"Host", b"h")])
            assert pool.statistics()["connections"] == 0
            _, _, stream, _ = pool.request(b"GET", server.url(b"/next"), [(b"Host", b"h")])
            assert b"".join(stream) == b"/next"
    finally:
        signal.signal(signal.SIGUSR1, previous)


def _hold(peer: Peer) -> None:
    peer.recv_head()
    peer.server.hold()


@row("CAN-15")
@pytest.mark.parametrize("debug", [False, True])
@pytest.mark.parametrize("name", ["asyncio", "uvloop", "anyio-asyncio"])
def test_asyncio_oddities(name: str, debug: bool) -> None:
    """Cancelled twice at once, and uncancelled by one who goes on; in an eager task where there are any."""
    colour = Colour(name)

    async def main() -> None:
        loop = asyncio.get_running_loop()
        loop.set_debug(debug)
        # uvloop hands a factory what Python 3.13.0's does not take.
        if sys.version_info >= (3, 12) and not (name == "uvloop" and sys.version_info[:2] == (3, 13)):
            loop.set_task_factory(asyncio.eager_task_factory)
        with Server(_hold_odd_ones) as server:
            async with colour.client(max_connections=1) as client:

                async def persist() -> bytes:
                    with pytest.raises(asyncio.CancelledError):
                        await client.get(server.url())
                    task = asyncio.current_task()
                    assert task is not None
                    if sys.version_info >= (3, 11):
                        assert task.cancelling() == 2
                        task.uncancel()
                        task.uncancel()
                    return await client.get(server.url(b"/again"), pool=1.0)

                async def fail() -> bytes:
                    return await client.get(server.url())

                for work in (fail, persist):
                    number = server.accepted
                    task = asyncio.ensure_future(work())
                    while not (server.accepted > number and server.peers[-1].received):  # noqa: ASYNC110
                        await asyncio.sleep(0.001)
                    task.cancel()
                    task.cancel()
                    if work is persist:
                        assert await task == b"/again"
                    else:
                        with pytest.raises(asyncio.CancelledError):
                            await task
                    assert await client.get(server.url(b"/next"), pool=1.0) == b"/next"
                    await client.close()

    colour.run(main)


def _hold_odd_ones(peer: Peer) -> None:
    """Connections 0 and 2 are never answered."""
    if peer.number in (0, 2):
        _hold(peer)
    else:
        peer.serve()


@row("CAN-15")
@pytest.mark.parametrize("name", ["trio", "anyio-trio"])
def test_trio_oddities(name: str) -> None:
    """Cancelled twice, and by two scopes at once; the task goes on outside of them."""
    colour = Colour(name)

    async def main() -> None:
        with Server(first_then_serve(_hold)) as server:
            async with colour.client(max_connections=1) as client, trio.open_nursery() as nursery:
                with trio.CancelScope() as outer, trio.CancelScope() as inner:

                    async def cancel() -> None:
                        while not (server.peers and server.peers[0].received):  # noqa: ASYNC110
                            await trio.sleep(0.001)
                        for scope in (inner, outer, outer, inner):
                            scope.cancel()

                    nursery.start_soon(cancel)
                    await client.get(server.url())
                assert outer.cancelled_caught
                assert await client.get(server.url(b"/next"), pool=1.0) == b"/next"

    colour.run(main)
