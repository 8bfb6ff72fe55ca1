"""The pool under faults: limits, waiting, reuse, replay, and the end in every state."""

from __future__ import annotations

import threading

import pytest

import httpcore

from ..colours import Colour
from ..peers.scripted import PATIENCE, Peer, Server, first_then_serve, respond, serve
from .rows import row

pytestmark = pytest.mark.usefixtures("nothing_left")


def _hold_the_body(peer: Peer) -> None:
    """A response whose body comes when the test says so."""
    peer.recv_head()
    peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n")
    peer.server.hold()
    peer.send(b"12345")
    peer.serve()


@row("POOL-01", "POOL-08", "THR-01")
def test_the_limit_is_never_exceeded(colour: Colour) -> None:
    async def main() -> None:
        with Server(serve) as server:
            async with colour.client(max_connections=3) as client:

                def one(i: int) -> object:
                    async def get() -> None:
                        for j in range(5):
                            target = b"/%d-%d" % (i, j)
                            assert await client.get(server.url(target)) == target
                            assert len(await client.states()) <= 3

                    return get

                await colour.gather(*(one(i) for i in range(20)))  # type: ignore[arg-type]
                assert server.accepted <= 3
                figures = client.pool.statistics()
                assert figures["waiting"] == 0
                assert figures["connections"] == figures["idle"]

    colour.run(main)


@row("POOL-02")
def test_idle_connections_are_limited(colour: Colour) -> None:
    async def main(limit: int) -> None:
        with Server(serve) as server:
            async with colour.client(max_keepalive_connections=limit) as client:
                responses = [await client.send(server.url(b"/%d" % i)) for i in range(4)]
                for response in responses:
                    await response.read()
                assert await client.states() == ["HTTP/1.1, IDLE"] * limit

    for limit in (0, 2):
        colour.run(main, limit)


@row("POOL-03")
def test_expired_connections_are_not_used(colour: Colour) -> None:
    async def main(**options: float) -> None:
        with Server(serve) as server:
            async with colour.client(**options) as client:
                for _ in range(3):
                    assert await client.get(server.url(b"/a")) == b"/a"
                assert server.accepted == 3

    colour.run(lambda: main(keepalive_expiry=0.0))
    colour.run(lambda: main(max_connection_age=0.0))


@row("POOL-04")
def test_a_connection_that_the_server_closed_is_not_used(colour: Colour) -> None:
    closed = threading.Event()

    def script(peer: Peer) -> None:
        peer.recv_head()
        peer.answer()
        peer.close()
        closed.set()

    async def main() -> None:
        with Server(first_then_serve(script)) as server:
            async with colour.client() as client:
                assert await client.get(server.url()) == b"ok"
                assert closed.wait(5)
                fields = [(b"Host", b"h"), (b"Content-Length", b"1")]
                for _ in range(200):
                    # A POST cannot be replayed: the dead connection has to be seen before it is used.
                    if await client.states() == [] or not colour.is_async:
                        break
                response = await client.send(
                    server.url(b"/next"), b"POST", fields, httpcore.PlainByteStream(b"x")
                )
                assert await response.read() == b"/next"

    colour.run(main)


def _die_on_second(peer: Peer) -> None:
    peer.recv_head()
    peer.answer(b"first")
    peer.recv_request()
    peer.reset()


@row("POOL-05", "POOL-06", "TCP-03")
@pytest.mark.parametrize(
    ("method", "is_replayed"), [(b"GET", True), (b"PUT", True), (b"DELETE", True), (b"POST", False)]
)
def test_replay_after_a_reused_connection_died(colour: Colour, method: bytes, is_replayed: bool) -> None:
    async def main(stream: object, size: int, expected: bool, replay: bool = True) -> None:
        with Server(first_then_serve(_die_on_second)) as server:
            async with colour.client(replay=replay) as client:
                assert await client.get(server.url()) == b"first"
                fields = [(b"Host", b"h"), (b"Content-Length", b"%d" % size)]
                if expected:
                    response = await client.send(server.url(b"/again"), method, fields, stream)
                    assert await response.read() == b"/again"
                else:
                    with pytest.raises((httpcore.NetworkError, httpcore.RemoteProtocolError)) as caught:
                        await client.send(server.url(b"/again"), method, fields, stream)
                    assert caught.value.request_sent  # type: ignore[attr-defined]
                assert await client.get(server.url(b"/next")) == b"/next"

    colour.run(main, httpcore.PlainByteStream(b"x"), 1, is_replayed)
    colour.run(main, colour.stream([b"x" * 1000] * 10), 10_000, is_replayed)
    colour.run(main, colour.stream([b"x" * 1000] * 100), 100_000, False)
    colour.run(main, httpcore.PlainByteStream(b"x"), 1, False, False)


@row("TCP-03", "TCP-04")
def test_a_fresh_connection_that_dies_is_not_replayed(colour: Colour) -> None:
    async def main(end: str) -> None:
        def script(peer: Peer) -> None:
            peer.recv_head()
            peer.reset() if end == "reset" else peer.close()

        with Server(first_then_serve(script)) as server:
            async with colour.client() as client:
                with pytest.raises((httpcore.ReadError, httpcore.RemoteProtocolError)) as caught:
                    await client.send(server.url())
                if end == "close":
                    assert isinstance(caught.value, httpcore.RemoteProtocolError)
                    assert "without sending a response" in str(caught.value)
                assert server.accepted == 1
                assert await client.get(server.url(b"/next")) == b"/next"

    colour.run(main, "reset")
    colour.run(main, "close")


@row("POOL-05")
@pytest.mark.parametrize("limit", [None, 2])
def test_a_replay_trusts_no_other_kept_connection(colour: Colour, limit: int | None) -> None:
    """Whatever made the server drop the one may have made it drop its neighbours."""

    async def main() -> None:
        with Server(_die_on_second) as server:
            async with colour.client(max_connections=limit) as client:
                responses = [await client.send(server.url()) for _ in range(2)]
                for response in responses:
                    await response.read()
                assert await client.get(server.url()) == b"first"
                assert server.accepted == 3

    colour.run(main)


@row("POOL-05")
def test_a_replay_waits_before_those_who_came_later(colour: Colour) -> None:
    """Else a peer that ends connections early would have some of many requests never served."""
    served: list[bytes] = []
    is_begun, may_die, is_reopened, may_answer = (threading.Event() for _ in range(4))

    def script(peer: Peer) -> None:
        if peer.number == 0:
            peer.recv_head()
            peer.answer()
            peer.recv_head()
            is_begun.set()
            assert may_die.wait(PATIENCE)
            peer.reset()
            return
        while head := peer.recv_head():
            served.append(head.split()[1])
            is_reopened.set()
            assert may_answer.wait(PATIENCE)
            peer.answer()

    async def main() -> None:
        with Server(script) as server:
            async with colour.client(max_connections=1) as client:

                async def reach(event: threading.Event, *, waiting: int) -> None:
                    while not event.is_set() or client.pool.statistics()["waiting"] < waiting:
                        await colour.pause()

                async def replayed() -> None:
                    await client.get(server.url(b"/replayed"))

                async def first() -> None:
                    await reach(is_begun, waiting=0)
                    await client.get(server.url(b"/first"))

                async def second() -> None:
                    await reach(is_begun, waiting=1)
                    await client.get(server.url(b"/second"))

                async def judge() -> None:
                    await reach(is_begun, waiting=2)
                    may_die.set()
                    await reach(is_reopened, waiting=2)
                    may_answer.set()

                await client.get(server.url())
                await colour.gather(replayed, first, second, judge)

    colour.run(main)
    assert served == [b"/first", b"/replayed", b"/second"]


@row("POOL-05")
def test_a_replay_that_has_waited_trusts_no_kept_connection(colour: Colour) -> None:
    is_begun, may_die = threading.Event(), threading.Event()

    def script(peer: Peer) -> None:
        if peer.number == 0:
            peer.recv_head()
            peer.answer()
            peer.recv_head()
            is_begun.set()
            assert may_die.wait(PATIENCE)
        elif peer.number == 1:
            peer.answer(peer.recv_head().split()[1])
            peer.recv_head()
        else:
            peer.serve()

    async def main() -> None:
        is_begun.clear()
        may_die.clear()
        with Server(script) as server:
            async with colour.client(max_connections=1) as client:

                async def replayed() -> None:
                    assert await client.get(server.url(b"/replayed")) == b"/replayed"

                async def waiting() -> None:
                    while not is_begun.is_set():
                        await colour.pause()
                    assert await client.get(server.url(b"/waiting")) == b"/waiting"

                async def judge() -> None:
                    while not client.pool.statistics()["waiting"]:
                        await colour.pause()
                    may_die.set()

                await client.get(server.url())
                await colour.gather(replayed, waiting, judge)
                assert server.accepted == 3
                assert client.pool.statistics()["connections"] == 1

    colour.run(main)


@row("POOL-05")
def test_a_replay_that_dies_too_is_an_error(colour: Colour) -> None:
    def script(peer: Peer) -> None:
        if peer.number == 0:
            _die_on_second(peer)
        else:
            peer.recv_head()
            peer.reset()

    async def main() -> None:
        with Server(script) as server:
            async with colour.client() as client:
                assert await client.get(server.url()) == b"first"
                with pytest.raises((httpcore.NetworkError, httpcore.RemoteProtocolError)) as caught:
                    await client.get(server.url())
                assert caught.value.request_sent  # type: ignore[attr-defined]
                assert server.accepted == 2

    colour.run(main)


@row("POOL-07", "TCP-01")
def test_failures_free_their_slot(colour: Colour) -> None:
    async def main() -> None:
        with Server(respond(b"junk")) as server:
            async with colour.client(max_connections=1) as client:
                for _ in range(3):
                    with pytest.raises(httpcore.ConnectError, match=r"127\.0\.0\.1") as caught:
                        await client.send((b"http", b"127.0.0.1", 1, b"/"))
                    assert not caught.value.request_sent
                with pytest.raises(httpcore.RemoteProtocolError):
                    await client.send(server.url())
                assert await client.get(server.url(b"/next")) == b"/next"
                assert client.pool.statistics()["connections"] == 1

    colour.run(main)


@row("POOL-10")
def test_origins_do_not_share_connections(colour: Colour) -> None:
    async def main() -> None:
        with Server(serve) as one, Server(serve) as other:
            async with colour.client() as client:
                for server in (one, other, one):
                    assert await client.get(server.url(b"/a")) == b"/a"
                url = (b"http", b"localhost", one.port, b"/b")
                assert await client.get(url) == b"/b"
                assert (one.accepted, other.accepted) == (2, 1)
                assert set(await client.info()) == {
                    f"http://127.0.0.1:{one.port}",
                    f"http://127.0.0.1:{other.port}",
                    f"http://localhost:{one.port}",
                }

    colour.run(main)


@row("POOL-11")
def test_closing_in_every_state(colour: Colour) -> None:
    async def main() -> None:
        with Server(first_then_serve(_hold_the_body)) as server:
            client = colour.client(max_connections=1)
            await client.close()
            response = await client.send(server.url())
            await client.close()
            with pytest.raises(httpcore.ReadError):
                await response.read()
            await client.close()
            assert await client.states() == []
            server.release.set()
            assert await client.get(server.url(b"/next")) == b"/next"
            await client.close()
            assert client.pool.statistics()["connections"] == 0

    colour.run(main)


@row("POOL-12")
def test_idle_connections_make_room(colour: Colour) -> None:
    async def main() -> None:
        with Server(serve) as one, Server(serve) as two, Server(serve) as three:
            async with colour.client(max_connections=2) as client:
                for server in (one, two, three, two):
                    assert await client.get(server.url(b"/a"), pool=0.5) == b"/a"
                assert (one.accepted, two.accepted, three.accepted) == (1, 1, 1)
                assert len(await client.states()) == 2

    colour.run(main)


@row("POOL-18")
def test_random_closes_lose_nothing(colour: Colour) -> None:
    import random

    def script(peer: Peer) -> None:
        dice = random.Random(peer.number)
        while head := peer.recv_request()[0]:
            body = head.split(b" ")[1] * dice.randrange(1, 2000)
            peer.answer(body, extra=b"Connection: close\r\n" if (closes := dice.random() < 0.2) else b"")
            if closes or dice.random() < 0.1:
                return

    async def main() -> None:
        with Server(script) as server:
            async with colour.client(max_connections=5) as client:

                def worker(i: int) -> object:
                    async def work() -> None:
                        for j in range(25):
                            target = b"/%d-%d." % (i, j)
                            body = await client.get(server.url(target))
                            assert body == target * (len(body) // len(target))

                    return work

                await colour.gather(*(worker(i) for i in range(8)))  # type: ignore[arg-type]

    colour.run(main)


@row("POOL-19", "POOL-09")
def test_hand_over_in_order(colour: Colour) -> None:
    """Waiters of one origin are served in the order in which they came."""

    async def main() -> None:
        served: list[int] = []
        with Server(first_then_serve(_hold_the_body)) as server:
            async with colour.client(max_connections=1) as client:
                response = await client.send(server.url())

                def waiter(i: int) -> object:
                    async def wait() -> None:
                        while client.pool.statistics()["waiting"] != i:
                            await colour.pause()
                        await client.get(server.url(b"/%d" % i))
                        served.append(i)

                    return wait

                async def release() -> None:
                    while client.pool.statistics()["waiting"] != 4:
                        await colour.pause()
                    server.release.set()
                    await response.read()

                await colour.gather(*(waiter(i) for i in range(4)), release)  # type: ignore[arg-type]
                assert served == [0, 1, 2, 3]

    colour.run(main)
