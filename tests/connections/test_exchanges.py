"""What two tasks or threads may do to one response, and what not, whatever the version."""

from __future__ import annotations

import select
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import httpcore
from httpcore._backends.base import RECEIVE_SIZE
from httpcore._blocking import run, run_to_end
from httpcore._connections.exchanges import Exchange
from httpcore._connections.http11 import HTTP11Exchange
from httpcore._protocols.http11 import Engine

from ..colours import Colour, Response
from ..peers.http2 import HTTP2Peer, Stream, http2
from ..peers.scripted import Peer, Script, Server, first_then_serve

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


def _half_then_serve(peer: Peer) -> None:
    peer.recv_request()
    peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nhalf")
    peer.server.hold()
    peer.send(b"full")
    peer.serve()


def test_closing_what_another_one_reads_as_the_rest_arrives(colour: Colour) -> None:
    """The connection serves nobody else while somebody still waits on it."""
    if not colour.is_async:
        # A thread that waits has what comes before another one could look.
        return

    async def main() -> None:
        with Server(first_then_serve(_half_then_serve)) as server:
            async with colour.client() as client:
                response = await client.send(server.url())
                reader = response.reader()
                assert await reader.next() == b"half"
                sock = response.stream.body._stream.get_extra_info("socket")

                async def read() -> None:
                    with pytest.raises(httpcore.ReadError, match="closed while it was being read"):
                        await reader.next()

                async def close() -> None:
                    await _until_awaited(response)
                    server.release.set()
                    # Without a turn for the reader, and so for the loop.
                    select.select([sock], [], [])
                    await response.close()
                    assert await client.get(server.url(b"/next")) == b"/next"

                await colour.gather(read, close)
                assert server.accepted == 2

    colour.run(main)


def meanwhile(act: Callable[[], object], function: Callable[..., Any]) -> Callable[..., Any]:
    """`function`, in the midst of which another thread, as it were, comes to act, once."""
    acts = [act]

    def call(*arguments: Any) -> Any:
        result = function(*arguments)
        if acts:
            acts.pop()()
        return result

    return call


def looked_at_meanwhile(
    monkeypatch: pytest.MonkeyPatch, owner: type, name: str, act: Callable[[], object]
) -> None:
    """Have another thread act when somebody has looked at a field, and not yet drawn a conclusion."""
    field = vars(owner)[name]
    monkeypatch.setattr(owner, name, property(meanwhile(act, field.__get__), field.__set__))


Halves = tuple[Server, httpcore.SyncConnectionPool, httpcore.SyncByteStream, Iterator[bytes]]


@pytest.fixture
def two_halves() -> Iterator[Halves]:
    """A response of which the first half has been read, and the second is here."""
    with Server(first_then_serve(_half_then_serve)) as server:
        pool = httpcore.SyncConnectionPool()
        _, _, stream, _ = pool.request(b"GET", server.url(), [(b"Host", b"h")])
        chunks = iter(stream)
        assert next(chunks) == b"half"
        server.release.set()
        select.select([stream.body._stream.get_extra_info("socket")], [], [])  # type: ignore[attr-defined]
        yield server, pool, stream, chunks
        assert b"".join(pool.request(b"GET", server.url(b"/next"), [(b"Host", b"h")])[2]) == b"/next"
        pool.close()


@pytest.mark.parametrize("may_wait", [False, True])
def test_closing_what_another_thread_is_about_to_read(
    two_halves: Halves, monkeypatch: pytest.MonkeyPatch, may_wait: bool
) -> None:
    """What closed it has thrown the rest away: that is no end of the body."""
    _, pool, stream, chunks = two_halves
    looked_at_meanwhile(monkeypatch, Exchange, "_is_awaited", stream.close)
    with pytest.raises(RuntimeError, match="closed before its body was read"):
        run(stream.body.receive()) if may_wait else next(chunks)  # type: ignore[attr-defined]
    assert pool.statistics()["idle"] == 1


def test_closing_what_another_thread_takes(two_halves: Halves, monkeypatch: pytest.MonkeyPatch) -> None:
    """It takes the last byte, and then learns that the connection is to be closed."""
    server, pool, stream, chunks = two_halves
    monkeypatch.setattr(Engine, "feed", meanwhile(stream.close, Engine.feed))
    assert next(chunks) == b"full"
    with pytest.raises(RuntimeError, match="closed before its body was read"):
        next(chunks)
    assert pool.statistics()["connections"] == 0
    assert server.accepted == 1


def test_closing_what_another_thread_has_read(two_halves: Halves, monkeypatch: pytest.MonkeyPatch) -> None:
    """The connection may serve the next exchange already."""
    server, pool, stream, chunks = two_halves
    monkeypatch.setattr(HTTP11Exchange, "_release", meanwhile(stream.close, HTTP11Exchange._release))
    assert list(chunks) == [b"full"]
    assert b"".join(pool.request(b"GET", server.url(b"/more"), [(b"Host", b"h")])[2]) == b"/more"
    assert server.accepted == 1


def test_closing_what_another_thread_closes(two_halves: Halves, monkeypatch: pytest.MonkeyPatch) -> None:
    """It does so once, and by the second time the connection serves the next exchange."""
    server, pool, stream, _ = two_halves
    streams = []

    def close_and_go_on() -> None:
        stream.close()
        streams.append(pool.request(b"GET", server.url(b"/more"), [(b"Host", b"h")])[2])

    looked_at_meanwhile(monkeypatch, Exchange, "stage", close_and_go_on)
    run_to_end(stream.body.close())  # type: ignore[attr-defined]
    assert pool.statistics()["active"] == 1
    assert b"".join(streams[0]) == b"/more"
    assert server.accepted == 1


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
