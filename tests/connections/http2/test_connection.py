"""Exchanges that share an HTTP/2 connection: who reads, who is woken, what the pool is told."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Callable
from functools import partial

import pytest

import httpcore
from httpcore._backends.sync import SyncBackend
from httpcore._connections.http2 import HTTP2Connection
from httpcore._connections.http2.connection import TURN_SIZE
from httpcore._connections.http2.lanes import Lane
from httpcore._types import Buffer

from ...colours import Client, Colour
from ...peers.certificates import client_context
from ...peers.http2 import Code, HTTP2Peer, Stream, first_then_serve, h2_context, http2, serve
from ...peers.referee import Setting
from ...peers.scripted import Peer, Server

pytestmark = pytest.mark.usefixtures("nothing_left")


def prior(colour: Colour, **options: object) -> Client:
    """A client that knows that its servers speak HTTP/2."""
    return colour.client(http1=False, http2=True, **options)


def test_one_connection_serves_one_after_another(colour: Colour) -> None:
    async def main() -> None:
        with Server(http2(serve)) as server:
            async with prior(colour) as client:
                for target in (b"/1", b"/2", b"/3"):
                    response = await client.send(server.url(target))
                    assert response.ext == {"http_version": "HTTP/2"}
                    assert await response.read() == target
                assert await client.states() == ["HTTP/2, IDLE, 0 streams"]
                assert server.accepted == 1

    colour.run(main)


def test_alpn_decides(colour: Colour) -> None:
    async def main() -> None:
        with Server(http2(serve), context=h2_context()) as server:
            async with colour.client(http2=True, ssl_context=client_context()) as client:
                response = await client.send(server.url(b"/1"))
                assert response.ext == {"http_version": "HTTP/2"}
                assert await client.states() == ["HTTP/2, ACTIVE, 1 streams"]
                assert await response.read() == b"/1"

    colour.run(main)


def test_a_context_that_pools_with_and_without_http2_share(colour: Colour) -> None:
    """OpenSSL keeps the list on the context, but each pool offers its own."""
    context = client_context()

    def script(peer: Peer) -> None:
        assert isinstance(peer.sock, ssl.SSLSocket)
        speak = http2(serve) if peer.sock.selected_alpn_protocol() == "h2" else Peer.serve
        speak(peer)

    async def main() -> None:
        with Server(script, context=h2_context("h2", "http/1.1")) as server:
            for offered, version in ((True, "HTTP/2"), (False, "HTTP/1.1"), (True, "HTTP/2")):
                async with colour.client(http2=offered, ssl_context=context) as client:
                    response = await client.send(server.url(b"/1"))
                    assert response.ext["http_version"] == version
                    assert await response.read() == b"/1"

    colour.run(main)


def test_answers_in_any_order(colour: Colour) -> None:
    """Whoever reads while another's answer comes hands it over, and then the reading."""
    count = 20

    def script(peer: HTTP2Peer) -> None:
        requests = peer.recv_requests(count)
        for request in reversed(requests):
            peer.answer(request, request.path)
            peer.barrier()
        peer.serve()

    async def main() -> None:
        with Server(first_then_serve(script)) as server:
            async with prior(colour) as client:

                async def one(i: int) -> None:
                    assert await client.get(server.url(b"/%d" % i)) == b"/%d" % i

                await colour.gather(*(partial(one, i) for i in range(count)))
                assert await client.get(server.url(b"/next")) == b"/next"
                assert server.accepted == 1

    colour.run(main)


def test_a_reader_that_keeps_its_answer_leaves_the_reading_to_others(colour: Colour) -> None:
    """An answer that nobody reads out holds no one up."""

    def respond(peer: HTTP2Peer, request: Stream) -> None:
        peer.answer_soon(request, request.path * (1000 if request.path == b"/kept" else 1))

    async def main() -> None:
        with Server(http2(lambda peer: peer.serve(respond))) as server:
            async with prior(colour) as client:
                kept = await client.send(server.url(b"/kept"))
                for _ in range(3):
                    assert await client.get(server.url(b"/other")) == b"/other"
                assert await client.states() == ["HTTP/2, ACTIVE, 1 streams"]
                assert await kept.read() == b"/kept" * 1000
                assert server.accepted == 1

    colour.run(main)


def test_requests_wait_for_the_peers_limit(colour: Colour) -> None:
    """No more streams at once than the peer takes, on one connection that the pool may have."""
    most = 0

    def respond(peer: HTTP2Peer, request: Stream) -> None:
        nonlocal most
        most = max(most, len([s for s in peer.referee.streams.values() if not s.is_over]))
        peer.answer_soon(request, request.path)

    async def main() -> None:
        settings: dict[int, int] = {Setting.MAX_CONCURRENT_STREAMS: 3}
        with Server(http2(lambda peer: peer.serve(respond), settings)) as server:
            async with prior(colour, max_connections=1) as client:
                assert await client.get(server.url(b"/first")) == b"/first"

                async def one(i: int) -> None:
                    assert await client.get(server.url(b"/%d" % i)) == b"/%d" % i

                await colour.gather(*(partial(one, i) for i in range(12)))
                assert server.accepted == 1

    colour.run(main)
    assert 1 <= most <= 3


def test_closing_the_pool_fails_what_runs(colour: Colour) -> None:
    started = threading.Event()

    def script(peer: HTTP2Peer) -> None:
        request = peer.recv_request()
        peer.headers(request, [(b":status", b"200")])
        started.set()
        peer.expect_end()

    async def main() -> None:
        with Server(first_then_serve(script)) as server:
            async with prior(colour) as client:
                response = await client.send(server.url(b"/"))
                await client.close()
                with pytest.raises(httpcore.ReadError, match="closed"):
                    await response.read()
                assert client.pool.statistics()["connections"] == 0
                assert await client.get(server.url(b"/next")) == b"/next"

    colour.run(main)


def test_an_abandoned_response_gives_its_stream_back(colour: Colour) -> None:
    def script(peer: HTTP2Peer) -> None:
        request = peer.recv_request()
        peer.headers(request, [(b":status", b"200")])
        peer.data(request, b"x")
        peer.expect_rst(request, Code.CANCEL)
        peer.serve()

    async def main() -> None:
        with Server(first_then_serve(script)) as server:
            async with prior(colour, max_connections=1) as client:
                response = await client.send(server.url(b"/"))
                with pytest.warns(ResourceWarning, match="never read"):
                    response.stream = None
                assert await client.get(server.url(b"/next")) == b"/next"
                assert server.accepted == 1
                assert await client.states() == ["HTTP/2, IDLE, 0 streams"]

    colour.run(main)


def test_news_that_come_just_before_the_reading_is_taken_over() -> None:
    """Another thread read them, and left: whoever waits for them must not become the reader, and wait for more."""

    class LateLane(Lane):
        looks = 0

        @property
        def has_news(self) -> bool:
            self.looks += 1
            return self.looks > 1

        @has_news.setter
        def has_news(self, value: bool) -> None:
            pass

    colour = Colour("sync")

    async def main() -> None:
        with Server(http2(serve)) as server:
            async with prior(colour) as client:
                assert await client.get(server.url(b"/1")) == b"/1"
                (place,) = client.pool._pool.ledger.places
                connection = place.connection
                connection._stream, stream = None, connection._stream
                try:
                    assert await connection.wait(LateLane(), None)
                finally:
                    connection._stream = stream
                assert await client.get(server.url(b"/2")) == b"/2"

    colour.run(main)


def test_a_connection_that_ends_just_before_it_is_used(
    colour: Colour, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing was begun, so that another connection is no second attempt: not even `replay=False` forbids it."""
    is_ready = HTTP2Connection.is_ready
    retired: list[HTTP2Connection] = []

    def retire(connection: HTTP2Connection) -> bool:
        answer = is_ready(connection)
        if not retired:
            retired.append(connection)
            connection.retire()
        return answer

    async def main() -> None:
        with Server(http2(serve)) as server:
            async with prior(colour, replay=False) as client:
                assert await client.get(server.url(b"/1")) == b"/1"
                monkeypatch.setattr(HTTP2Connection, "is_ready", retire)
                response = await client.send(server.url(b"/2"), b"POST", stream=colour.stream([b"x"]))
                assert await response.read() == b"/2"
                assert len(retired) == 1
                assert server.accepted == 2

    colour.run(main)


class PouringStream:
    """A stream with a loop that has delivered more than anybody can take in a turn."""

    def __init__(self, pieces: list[bytes]) -> None:
        self.pieces = pieces
        self.callbacks: list[Callable[[], None]] = []

    def try_send(self, data: Buffer) -> int:
        return len(data)

    def try_receive(self, limit: int) -> bytes | None:
        return self.pieces.pop(0) if self.pieces else None

    async def wait(self, readable: bool, writable: bool, deadline: float | None) -> bool:
        return True

    async def listen(self, deadline: float | None) -> bool:
        return True

    def abort(self) -> None:
        pass

    def watch(self, callback: Callable[[], None] | None) -> bool:
        return True

    def call_soon(self, callback: Callable[[], None], *, foreign: bool = False) -> bool:
        self.callbacks.append(callback)
        return True

    def nudge(self) -> bool:
        return True

    def is_quiet(self) -> bool:
        return False

    def has_news(self) -> bool:
        return False

    def get_extra_info(self, name: str) -> object:
        return None


def test_a_turn_of_the_loop_takes_so_much_and_no_more() -> None:
    """Else what a fast peer sends would pile up before those who take it have had theirs."""
    size = TURN_SIZE // 4
    # Frames of an unknown kind, large enough not to be a flood of them.
    frame = (16_000).to_bytes(3, "big") + b"\x0a" + bytes(5 + 16_000)
    wire = bytes(3) + b"\4" + bytes(5) + frame * (40 * size // len(frame))
    stream = PouringStream([wire[at : at + size] for at in range(0, len(wire), size)])
    connection = HTTP2Connection(stream, peer="pouring.example", backend=SyncBackend())
    connection.start()
    turns = 0
    while stream.callbacks:
        (callback,) = stream.callbacks
        # What arrives meanwhile has its own turn, and asks for no other one besides.
        connection._take_turn()
        assert stream.callbacks == [callback]
        stream.callbacks.clear()
        callback()
        turns += 1
        assert connection.engine.received_count <= (2 * turns + 1) * TURN_SIZE
    assert connection.engine.failure is None, connection.engine.failure
    assert connection.engine.received_count == len(wire)
    assert turns > 3


class SlowKeeper:
    """A keeper that hears of the first change after another thread has told it of the next."""

    def __init__(self, meanwhile: Callable[[], None]) -> None:
        self.meanwhile: Callable[[], None] | None = meanwhile
        self.heard: list[int] = []

    def resized(self, capacity: int) -> None:
        meanwhile, self.meanwhile = self.meanwhile, None
        if meanwhile is not None:
            meanwhile()
        self.heard.append(capacity)

    def retired(self) -> None:
        raise AssertionError

    def gone(self) -> None:
        pass


def test_what_the_keeper_hears_last_is_true() -> None:
    """Else it would have no room on a connection that has some, and all would wait for nothing."""
    stream = PouringStream([])
    connection = HTTP2Connection(stream, peer="changing.example", backend=SyncBackend())
    connection.start()

    def allow(count: int) -> None:
        entry = Setting.MAX_CONCURRENT_STREAMS.to_bytes(2, "big") + count.to_bytes(4, "big")
        stream.pieces.append(b"\0\0\6\4" + bytes(5) + entry)
        connection._take_turn()

    keeper = SlowKeeper(lambda: allow(7))
    connection.keeper = keeper
    allow(0)
    assert keeper.heard == [7, 0, 7]
    allow(8)
    assert keeper.heard == [7, 0, 7, 8]
