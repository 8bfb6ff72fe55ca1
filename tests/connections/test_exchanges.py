"""What two tasks or threads may do to one response, and what not, whatever the version."""

from __future__ import annotations

import select

import pytest

import httpcore
from httpcore._backends.base import RECEIVE_SIZE

from ..colours import Colour, Response
from ..peers.http2 import HTTP2Peer, Stream, http2
from ..peers.scripted import Peer, Script, Server

pytestmark = pytest.mark.usefixtures("nothing_left")


def _half_http11(peer: Peer) -> None:
    peer.recv_request()
    peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nhalf")
    peer.server.hold()
    peer.send(b"full")
    peer.recv_to_end()


def _half_http2(peer: HTTP2Peer, stream: Stream) -> None:
    peer.headers(stream, [(b":status", b"200")])
    peer.data(stream, b"half")
    peer.server.hold()
    peer.data(stream, b"full", ends=True)


VERSIONS = {
    "http11": (_half_http11, {}),
    "http2": (http2(lambda peer: peer.serve(_half_http2)), {"http1": False, "http2": True}),
}


async def _until_awaited(response: Response) -> None:
    while not response.stream.body._is_awaited:
        await response.colour.pause()


@pytest.mark.parametrize("version", VERSIONS)
def test_two_cannot_read_at_once(colour: Colour, version: str) -> None:
    """Who comes second is told so, at once; the first one does not notice."""
    script, options = VERSIONS[version]

    async def main() -> None:
        with Server(script) as server:
            async with colour.client(**options) as client:
                response = await client.send(server.url())
                reader = response.reader()
                assert await reader.next() == b"half"

                async def read() -> None:
                    assert await reader.next() == b"full"

                async def intrude() -> None:
                    await _until_awaited(response)
                    with pytest.raises(RuntimeError, match="being read already"):
                        await reader.next()
                    server.release.set()

                await colour.gather(read, intrude)
                assert await reader.next() == b""

    colour.run(main)


def test_who_intrudes_after_a_full_piece_takes_nothing_away(colour: Colour) -> None:
    """After a full piece more is looked for without a wait, but not by somebody who comes second."""
    if not colour.is_async:
        # A thread that waits has what comes before another one could look.
        return

    async def main() -> None:
        with Server(_half_http11) as server:
            async with colour.client() as client:
                response = await client.send(server.url())
                reader = response.reader()
                assert await reader.next() == b"half"
                body = response.stream.body
                body._last_size = RECEIVE_SIZE

                async def read() -> None:
                    assert await reader.next() == b"full"

                async def intrude() -> None:
                    await _until_awaited(response)
                    server.release.set()
                    # Without a turn for the reader, and so for the loop.
                    select.select([body._stream.get_extra_info("socket")], [], [])
                    with pytest.raises(RuntimeError, match="being read already"):
                        await reader.next()

                await colour.gather(read, intrude)

    colour.run(main)


@pytest.mark.parametrize("version", VERSIONS)
def test_closing_what_another_one_reads(colour: Colour, version: str) -> None:
    """Who reads hears of it, and does not wait for a peer that has nothing more to say."""
    script, options = VERSIONS[version]

    async def main() -> None:
        with Server(script) as server:
            async with colour.client(max_connections=1, **options) as client:
                response = await client.send(server.url())
                reader = response.reader()
                assert await reader.next() == b"half"

                async def read() -> None:
                    with pytest.raises(httpcore.ReadError, match="closed while it was being read") as caught:
                        await reader.next()
                    assert caught.value.request_sent

                async def close() -> None:
                    await _until_awaited(response)
                    await response.close()

                await colour.gather(read, close)
                figures = client.pool.statistics()
                assert figures["connections"] == figures["idle"]
                server.release.set()

    colour.run(main)


def _reset(peer: Peer) -> None:
    peer.recv_request()
    peer.reset()


@pytest.mark.parametrize(
    ("script", "what"),
    [
        (lambda peer: peer.recv_request(), "without sending a response"),
        (_reset, "reset by peer"),
        (lambda peer: (peer.recv_request(), peer.send(b"junk\r\n\r\n")), "does not speak HTTP"),
        (lambda peer: (peer.recv_request(), peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf")), "5 bytes"),
    ],
)  # fmt: skip
def test_errors_name_the_peer_once(colour: Colour, script: Script, what: str) -> None:
    async def main() -> None:
        with Server(script) as server:
            async with colour.client() as client:
                with pytest.raises((httpcore.ReadError, httpcore.RemoteProtocolError), match=what) as caught:
                    response = await client.send(server.url())
                    await response.read()
                assert str(caught.value).count(f"127.0.0.1:{server.port}") == 1
                assert str(caught.value).endswith(".")

    colour.run(main)
