"""The end of loops, pools and interpreters, and what is left after very many failures."""

from __future__ import annotations

import asyncio
import gc
import os
import resource
import subprocess
import sys
import threading
import warnings
from pathlib import Path

import anyio
import pytest

import httpcore

from ..colours import ASYNC_NAMES, TIMEOUT, Client, Colour, Response
from ..garbage import kept_garbage, types_of_ours
from ..peers.certificates import client_context, server_context
from ..peers.http2 import h2_context, http2
from ..peers.http2 import serve as serve_http2
from ..peers.scripted import Peer, Script, Server, first_then_serve, serve
from ..stopwatch import Stopwatch
from .rows import row

pytestmark = pytest.mark.usefixtures("nothing_left")


def noting_its_end(script: Script, ends: threading.Semaphore) -> Script:
    """A script that says when the client has left it."""

    def run(peer: Peer) -> None:
        try:
            script(peer)
        finally:
            ends.release()

    return run


async def acquire(colour: Colour, semaphore: threading.Semaphore) -> None:
    """Wait for a thread, and let the loop run meanwhile."""
    if colour.is_async:
        with anyio.fail_after(TIMEOUT):
            while not semaphore.acquire(blocking=False):  # noqa: ASYNC110
                await anyio.sleep(0.001)
    else:
        assert semaphore.acquire(timeout=TIMEOUT)


@row("RTM-01")
@pytest.mark.parametrize("name", ASYNC_NAMES)
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


@row("RTM-01")
@pytest.mark.parametrize("name", ASYNC_NAMES)
@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")
def test_draining_waits_for_nothing_of_a_loop_that_is_gone(name: str) -> None:
    colour = Colour(name)

    def answer_half(peer: Peer) -> None:
        peer.recv_head()
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nha")
        peer.server.hold()

    with Server(answer_half) as server:
        client = colour.client()
        kept: list[Response] = []

        async def begin() -> None:
            kept.append(await client.send(server.url()))

        async def drain() -> None:
            stopwatch = Stopwatch()
            await client.close(drain=TIMEOUT)
            assert stopwatch.taken < TIMEOUT / 2
            with pytest.raises(httpcore.ReadError):
                await kept[0].read()

        colour.run(begin)
        colour.run(drain)


@row("RTM-01")
@pytest.mark.parametrize("peer", ["http11", "http2", "gone"])
@pytest.mark.parametrize("name", ASYNC_NAMES)
@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")
def test_a_goodbye_that_no_loop_can_send(name: str, peer: str) -> None:
    """TLS and HTTP/2 have something to say when a connection is closed; its loop is gone, the peer perhaps too."""
    colour = Colour(name)
    is_over, ends = threading.Event(), threading.Semaphore(0)

    def answer_and_go(peer: Peer) -> None:
        peer.recv_head()
        peer.answer(b"/a")
        assert is_over.wait(TIMEOUT)
        peer.reset()

    scripts = {"http11": serve, "http2": http2(serve_http2), "gone": first_then_serve(answer_and_go)}
    context = h2_context() if peer == "http2" else server_context()
    with Server(noting_its_end(scripts[peer], ends), context=context) as server:
        client = colour.client(http2=peer == "http2", ssl_context=client_context())

        async def get() -> None:
            assert await client.get(server.url(b"/a")) == b"/a"

        colour.run(get)
        if peer == "gone":
            is_over.set()
            assert ends.acquire(timeout=TIMEOUT)
        colour.run(get)
        assert server.accepted == 2
        colour.run(client.close)
        assert client.pool.statistics()["connections"] == 0


@row("RTM-01")
@pytest.mark.parametrize("name", ASYNC_NAMES)
@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")
def test_a_pool_that_is_closed_when_its_loop_is_gone(name: str) -> None:
    colour = Colour(name)
    ends = threading.Semaphore(0)
    with Server(noting_its_end(serve, ends)) as server:
        client = colour.client(keepalive_expiry=3600.0)

        async def first() -> None:
            # One is left in its middle, one is idle.
            kept.append(await client.send(server.url(b"/a")))
            assert await client.get(server.url(b"/b")) == b"/b"

        kept: list[object] = []
        colour.run(first)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            colour.run(client.close)
            assert client.pool.statistics()["connections"] == 0
            kept.clear()
            gc.collect()
        # The abandoned response is named; else there is nothing to say that is not the loop's own.
        ours = [str(warning.message) for warning in caught if "unclosed" not in str(warning.message)]
        assert ours == [f"A response from 127.0.0.1:{server.port} was never read to its end nor closed."]
        assert ends.acquire(timeout=TIMEOUT)
        assert ends.acquire(timeout=TIMEOUT)


@row("RTM-02")
@pytest.mark.parametrize("protocol", ["http11", "tls", "http2"])
def test_a_pool_that_is_dropped_says_so_once_and_closes(colour: Colour, protocol: str) -> None:
    context = {"http11": None, "tls": server_context(), "http2": h2_context()}[protocol]
    ends = threading.Semaphore(0)
    script = noting_its_end(http2(serve_http2) if protocol == "http2" else serve, ends)

    async def main() -> None:
        with Server(script, context=context) as server:
            client: Client | None = colour.client(http2=protocol == "http2", ssl_context=client_context())
            assert client is not None
            for target in (b"/1", b"/2"):
                assert await client.get(server.url(target)) == target
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                client = None
                gc.collect()
                await acquire(colour, ends)
            kind = "AsyncConnectionPool" if colour.is_async else "SyncConnectionPool"
            assert [str(warning.message) for warning in caught] == [
                f"<{kind} connections=1, idle=1, waiting=0> was never closed."
            ]

    colour.run(main)


@pytest.mark.parametrize("protocol", ["http11", "tls", "http2"])
def test_a_closed_pool_leaves_nothing_to_the_collector(colour: Colour, protocol: str) -> None:
    context = {"http11": None, "tls": server_context(), "http2": h2_context()}[protocol]

    async def use(server: Server) -> None:
        async with colour.client(http2=protocol == "http2", ssl_context=client_context()) as client:
            for target in (b"/1", b"/2"):
                assert await client.get(server.url(target)) == target
        # A loop closes in its next turn.
        await colour.pause()

    async def main() -> None:
        with Server(http2(serve_http2) if protocol == "http2" else serve, context=context) as server:
            await use(server)
            with kept_garbage() as garbage:
                await use(server)
                gc.collect()
                assert not types_of_ours(garbage)

    colour.run(main)


@row("RTM-02")
def test_a_response_is_collected_while_another_thread_is_inside_the_pool(colour: Colour) -> None:
    """The collector runs in any thread, and it may not wait for a lock that this very thread could hold."""

    async def main() -> None:
        with Server(serve) as server:
            async with colour.client(max_connections=1) as client:
                response: object = await client.send(server.url(b"/abandoned"))
                pool = client.pool._pool
                is_held, is_over = threading.Event(), threading.Event()

                def hold() -> None:
                    with pool._lock:
                        is_held.set()
                        assert is_over.wait(10.0)

                holder = threading.Thread(target=hold)
                holder.start()
                is_held.wait()
                with pytest.warns(ResourceWarning, match="never read to its end"):
                    del response
                    gc.collect()
                is_over.set()
                holder.join()
                # What was posted meanwhile is found by whoever comes next.
                assert await client.get(server.url(b"/next")) == b"/next"
                figures = client.pool.statistics()
                assert (figures["connections"], figures["idle"]) == (1, 1)

    colour.run(main)


class LockOfMine:
    """The pool's lock, as a finaliser or a signal handler in the middle of an operation finds it."""

    def locked(self) -> bool:
        return True

    def __enter__(self) -> None:
        raise AssertionError("Whoever waits for this thread's own lock waits for ever.")

    def __exit__(self, *_: object) -> None:
        pass


@row("RTM-02")
def test_a_connection_without_a_life_is_closed_at_once(colour: Colour) -> None:
    """Not by whoever comes next: nobody may."""
    ends = threading.Semaphore(0)

    async def main() -> None:
        with Server(noting_its_end(serve, ends)) as server:
            async with colour.client(keepalive_expiry=0.0) as client:
                assert await client.get(server.url(b"/1")) == b"/1"
                await acquire(colour, ends)

    colour.run(main)


@row("RTM-02")
def test_nothing_that_looks_or_gives_back_waits_for_the_lock(colour: Colour) -> None:
    async def main() -> None:
        with Server(serve) as server:
            client = colour.client(keepalive_expiry=3600.0)
            response = await client.send(server.url(b"/1"))
            abandoned: object = await client.send(server.url(b"/2"))
            assert await client.get(server.url(b"/3")) == b"/3"
            pool = client.pool._pool
            lock, pool._lock = pool._lock, LockOfMine()
            assert client.pool.statistics()["active"] == 2
            assert "connections=3, idle=1" in repr(client.pool)
            assert len(await client.states()) == 3
            with pytest.warns(ResourceWarning, match="never read to its end"):
                del abandoned
                gc.collect()
            await client.close()
            pool._lock = lock
            # Who held it looks at the post.
            pool._settle()
            assert client.pool.statistics()["connections"] == 0
            await response.close()

    colour.run(main)


@row("RTM-02")
def test_a_pool_is_dropped_in_the_middle_of_an_operation(colour: Colour) -> None:
    async def main() -> None:
        with Server(serve) as server:
            client: Client | None = colour.client(keepalive_expiry=3600.0)
            assert client is not None
            assert await client.get(server.url(b"/1")) == b"/1"
            pool = client.pool._pool
            lock, pool._lock = pool._lock, LockOfMine()
            with pytest.warns(ResourceWarning, match="connections=1, idle=1, waiting=0> was never closed"):
                client = None
                gc.collect()
            pool._lock = lock
            pool._settle()
            assert not pool.ledger.places

    colour.run(main)


END = """
import sys, warnings
sys.path.insert(0, {root!r})
# Here, too, asyncio's own warnings are its own, and a pool says in one line that it was never closed.
warnings.simplefilter("error")
warnings.filterwarnings("ignore", "unclosed", ResourceWarning)
warnings.filterwarnings("ignore", ".* was never", ResourceWarning)
import httpcore
from tests.colours import Colour
colour = Colour(sys.argv[1])
url = (b"http", b"127.0.0.1", int(sys.argv[2]), b"/")
kept = []

class Cycle:
    pass

async def main():
    client = colour.client(keepalive_expiry=60.0)
    response = await client.send(url)
    if {ending!r} == "in a cycle":
        cycle = Cycle()
        cycle.itself, cycle.all = cycle, (client, response)
    else:
        kept.append((client, response))
    if {ending!r} == "read":
        await response.read()
    else:
        kept.append(response.reader())
    if {ending!r} == "an exit in the middle":
        sys.exit(0)
colour.run(main)
"""


@row("RTM-02")
@pytest.mark.parametrize("ending", ["read", "unread", "in a cycle", "an exit in the middle"])
def test_the_end_of_the_interpreter_is_quiet(colour: Colour, ending: str) -> None:
    program = END.format(root=str(Path(__file__).parents[2]), ending=ending)
    with Server(serve) as server:
        run = subprocess.run(
            [sys.executable, "-c", program, colour.name, str(server.port)], capture_output=True, text=True
        )
    assert (run.returncode, run.stdout, run.stderr) == (0, "", "")


@row("RTM-02", on=["sync"])
def test_the_end_of_the_interpreter_waits_for_no_thread_of_ours() -> None:
    program = """
import socket, sys, threading, httpcore
asked = threading.Event()
def getaddrinfo(*_):
    asked.set()
    threading.Event().wait()
socket.getaddrinfo = getaddrinfo
def ask():
    with httpcore.SyncConnectionPool() as pool:
        pool.request(b"GET", (b"http", b"name.test", 80, b"/"), [(b"Host", b"h")])
threading.Thread(target=ask, daemon=True).start()
asked.wait()
"""
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=30)
    assert (run.returncode, run.stdout, run.stderr) == (0, "", "")


def test_numbers_of_descriptors_above_1024(colour: Colour) -> None:
    """`select` cannot name them; nothing of ours may use it where there is `poll`."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < 4096:
        pytest.skip(f"the process may open {hard} files only")

    async def main() -> None:
        with Server(serve) as server:
            fillers = [os.open(os.devnull, os.O_RDONLY) for _ in range(1100)]
            try:
                async with colour.client() as client:
                    # The upload makes the stream wait for both directions.
                    size = 8 * 1024 * 1024
                    headers = [(b"Host", b"h"), (b"Content-Length", b"%d" % size)]
                    stream = httpcore.PlainByteStream(bytes(size))
                    response = await client.send(server.url(b"/up"), b"PUT", headers, stream)
                    assert await response.read() == b"/up"
                    assert await client.get(server.url(b"/again")) == b"/again"
                    place = next(iter(client.pool._pool.ledger.places))
                    assert place.connection.stream.get_extra_info("socket").fileno() > 1024
            finally:
                for number in fillers:
                    os.close(number)

    resource.setrlimit(resource.RLIMIT_NOFILE, (4096, hard))
    try:
        colour.run(main)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.parametrize("protocol", ["http11", "tls", "http2"])
@pytest.mark.parametrize("is_eager", [False, True])
def test_debug_mode_and_eager_tasks(protocol: str, is_eager: bool) -> None:
    """asyncio's debug mode checks from which thread it is called, and what is never awaited."""
    if is_eager and sys.version_info < (3, 12):
        pytest.skip("eager tasks came with Python 3.12")
    context = {"http11": None, "tls": server_context(), "http2": h2_context()}[protocol]
    script = http2(serve_http2) if protocol == "http2" else serve
    colour = Colour("asyncio")

    async def main() -> None:
        loop = asyncio.get_running_loop()
        if is_eager:
            loop.set_task_factory(asyncio.eager_task_factory)  # type: ignore[attr-defined,unused-ignore]
        with Server(script, context=context) as server:
            async with colour.client(
                max_connections=2,
                http2=protocol == "http2",
                ssl_context=client_context(),
                keepalive_expiry=60.0,
            ) as client:

                async def get() -> None:
                    assert await client.get(server.url(b"/got")) == b"/got"

                async def abandon() -> None:
                    response = await client.send(server.url(b"/left"))
                    await response.close()

                async def be_cancelled() -> None:
                    task = asyncio.ensure_future(client.get(server.url(b"/cancelled")))
                    await asyncio.sleep(0)
                    task.cancel()
                    await asyncio.wait([task])

                await colour.gather(*[get, abandon, be_cancelled] * 5)
                figures = client.pool.statistics()
                assert figures["active"] == figures["waiting"] == 0

    asyncio.run(main(), debug=True)


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
