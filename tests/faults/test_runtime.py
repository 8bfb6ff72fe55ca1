"""The end of loops, pools and interpreters, and what is left after very many failures."""

from __future__ import annotations

import gc
import subprocess
import sys
from pathlib import Path

import pytest

import httpcore

from ..colours import Colour
from ..peers.scripted import Peer, Server, serve
from .rows import row

pytestmark = pytest.mark.usefixtures("nothing_left")


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


@row("RTM-02", on=["sync"])
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
