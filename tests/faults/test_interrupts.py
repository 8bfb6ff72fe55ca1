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

import httpcore
from httpcore._pool import ledger as ledger_module
from httpcore._pool import pool as pool_module

from ..peers.scripted import Peer, Server, first_then_serve, serve
from .rows import row

pytestmark = pytest.mark.usefixtures("nothing_left")


@row("CAN-14", on=["sync"])
def test_an_interrupt_at_any_line_of_pool_and_ledger() -> None:
    files = {pool_module.__file__, ledger_module.__file__}

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


@row("CAN-15", on=["asyncio"])
@pytest.mark.parametrize("debug", [False, True])
def test_asyncio_oddities(debug: bool) -> None:
    def script(peer: Peer) -> None:
        peer.recv_head()
        peer.server.hold()

    async def main() -> None:
        if sys.version_info >= (3, 12):
            asyncio.get_running_loop().set_task_factory(asyncio.eager_task_factory)
        with Server(first_then_serve(script)) as server:
            async with httpcore.AsyncConnectionPool(max_connections=1) as pool:
                task = asyncio.ensure_future(pool.arequest(b"GET", server.url(), [(b"Host", b"h")]))
                while not (server.peers and server.peers[0].received):  # noqa: ASYNC110
                    await asyncio.sleep(0.001)
                task.cancel()
                task.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await task
                server.release.set()
                _, _, stream, _ = await pool.arequest(b"GET", server.url(b"/next"), [(b"Host", b"h")])
                assert b"".join([chunk async for chunk in stream]) == b"/next"

    asyncio.run(main(), debug=debug)
