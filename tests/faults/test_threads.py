"""Threads on one sync pool, interrupts at any line, and the end of loops and interpreters."""

from __future__ import annotations

import asyncio
import gc
import signal
import subprocess
import sys
import threading
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

import httpcore
from httpcore._pool import ledger as ledger_module
from httpcore._pool import pool as pool_module

from ..colours import Colour
from ..peers.scripted import Peer, Server, first_then_serve, respond, serve
from .rows import row

pytestmark = pytest.mark.usefixtures("nothing_left")

SYNC = Colour("sync")


@row("THR-01")
def test_many_threads_share_a_pool() -> None:
    with Server(serve) as server, httpcore.SyncConnectionPool(max_connections=4) as pool:

        async def work(i: int) -> None:
            for j in range(50):
                target = b"/%d-%d" % (i, j)
                status, _, stream, _ = pool.request(b"GET", server.url(target), [(b"Host", b"h")])
                assert (status, b"".join(stream)) == (200, target)

        def worker(i: int) -> Any:
            return lambda: work(i)

        SYNC.run(SYNC.gather, *(worker(i) for i in range(16)))
        assert server.accepted <= 4


@row("THR-03")
def test_closing_wakes_a_blocked_reader() -> None:
    errors: list[BaseException] = []

    def read(stream: Any) -> None:
        try:
            list(stream)
        except BaseException as exc:
            errors.append(exc)

    script = respond(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n")
    with Server(script) as server, httpcore.SyncConnectionPool() as pool:
        _, _, stream, _ = pool.request(b"GET", server.url(), [(b"Host", b"h")])
        thread = threading.Thread(target=read, args=(stream,))
        thread.start()
        connection: Any = next(iter(pool._pool.ledger.places)).connection
        while not connection.stream._inside:
            pass
        pool.close()
        thread.join(5)
        assert not thread.is_alive()
    assert [type(error) for error in errors] == [httpcore.ReadError]


@row("CAN-14")
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


@row("CAN-14")
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


@row("CAN-15")
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


@row("RTM-01")
@pytest.mark.parametrize("name", ["asyncio", "uvloop", "trio"])
@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")
def test_a_pool_in_a_second_loop(name: str) -> None:
    colour = Colour(name)
    with Server(serve) as server:
        client = colour.client()

        async def first() -> None:
            assert await client.get(server.url(b"/a")) == b"/a"

        async def second() -> None:
            assert await client.get(server.url(b"/b")) == b"/b"
            assert await client.states() == ["HTTP/1.1, IDLE"]
            await client.close()

        colour.run(first)
        colour.run(second)
        assert server.accepted == 2


@row("RTM-02")
def test_a_pool_that_is_dropped_says_so_and_closes() -> None:
    with Server(serve) as server:
        pool = httpcore.SyncConnectionPool()
        _, _, stream, _ = pool.request(b"GET", server.url(), [(b"Host", b"h")])
        b"".join(stream)
        with pytest.warns(ResourceWarning, match="SyncConnectionPool connections=1"):
            del pool
            gc.collect()


@row("RTM-02")
@pytest.mark.parametrize("name", ["sync", "asyncio", "trio"])
def test_the_end_of_the_interpreter_is_quiet(name: str) -> None:
    program = f"""
import sys
sys.path.insert(0, {str(Path(__file__).parents[2])!r})
from tests.colours import Colour
colour = Colour({name!r})
kept = []
async def main():
    client = colour.client()
    response = await client.send((b"http", b"127.0.0.1", int(sys.argv[1]), b"/"))
    kept.append((client, response))
    print(await response.read())
colour.run(main)
"""
    with Server(serve) as server:
        run = subprocess.run(
            [sys.executable, "-c", program, str(server.port)], capture_output=True, text=True, check=True
        )
    assert (run.stdout, run.stderr) == ("b'/'\n", "")


@row("RTM-03")
def test_failing_requests_leave_nothing(colour: Colour) -> None:
    def script(peer: Peer) -> None:
        peer.recv_head()
        peer.send(b"junk")

    async def main() -> None:
        with Server(script) as server:
            async with colour.client(max_connections=2) as client:
                for _ in range(200):
                    with pytest.raises(httpcore.RemoteProtocolError):
                        await client.send(server.url())
                    with pytest.raises(httpcore.ConnectError):
                        await client.send((b"http", b"127.0.0.1", 1, b"/"))
                figures = client.pool.statistics()
                assert figures["connections"] == figures["waiting"] == 0

    colour.run(main)


@row("FRK-01", "FRK-03")
def test_a_forked_child_leaves_its_parents_connections_alone() -> None:
    program = """
import os, sys, httpcore
pool = httpcore.SyncConnectionPool()
url = (b"http", b"127.0.0.1", int(sys.argv[1]), b"/a")
def get():
    _, _, stream, _ = pool.request(b"GET", url, [(b"Host", b"h")])
    return b"".join(stream)
assert get() == b"/a"
child = os.fork()
if child == 0:
    pool.close()
    assert get() == b"/a"
    pool.close()
    os._exit(0)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
assert get() == b"/a"
pool.close()
"""
    with Server(serve) as server:
        subprocess.run([sys.executable, "-c", program, str(server.port)], check=True)
        assert server.accepted == 2
