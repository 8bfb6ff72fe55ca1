"""What a pool offers beside requests: opening ahead, draining, telling what it does."""

from __future__ import annotations

import threading

import pytest

import httpcore
from httpcore._pool import pool
from httpcore._pool.pool import Claim, Pool
from httpcore._urls import direct_route

from .colours import TIMEOUT, Colour
from .faults.cancelling import cancel_when
from .peers.scripted import Peer, Server, serve


def _answer_slowly(peer: Peer) -> None:
    """Half a body, and the rest when the test says so."""
    while peer.recv_request()[0]:
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nha")
        peer.server.hold()
        peer.send(b"lf")


def test_opening_ahead(colour: Colour) -> None:
    async def main() -> None:
        with Server(serve) as server:
            async with colour.client() as client:
                await client.preconnect(server.url(), 0)
                assert await client.states() == []
                await client.preconnect(server.url(), 3)
                assert await client.states() == ["HTTP/1.1, IDLE"] * 3
                # What is open counts.
                await client.preconnect(server.url(), 2)
                assert await client.get(server.url(b"/a")) == b"/a"
                assert await client.states() == ["HTTP/1.1, IDLE"] * 3

    colour.run(main)


@pytest.mark.parametrize("limit", ["max_connections", "max_connections_per_origin"])
def test_opening_more_ahead_than_the_limit_allows(colour: Colour, limit: str) -> None:
    """It has no connection of its own to wait for."""

    async def main() -> None:
        with Server(serve) as server:
            async with colour.client(**{limit: 2}) as client:
                await client.preconnect(server.url(), 5)
                assert await client.states() == ["HTTP/1.1, IDLE"] * 2
                response = await client.send(server.url(b"/a"))
                await client.preconnect(server.url(), 5)
                assert await response.read() == b"/a"
                assert client.pool.statistics()["waiting"] == 0

    colour.run(main)


def test_what_finds_no_room_costs_nothing(colour: Colour, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Claim] = []

    class Counted(Claim):
        __slots__ = ()

        def __init__(self, pool: Pool) -> None:
            made.append(self)
            super().__init__(pool)

    async def main() -> None:
        with Server(serve) as server:
            async with colour.client(max_connections=2) as client:
                monkeypatch.setattr(pool, "Claim", Counted)
                await client.preconnect(server.url(), 1000)
                assert await client.states() == ["HTTP/1.1, IDLE"] * 2

    colour.run(main)
    assert len(made) == 3


def test_what_is_not_connected_yet(colour: Colour) -> None:
    """It is shown, and counted, where it will lead; the default port is left out."""

    async def main() -> None:
        is_seen = threading.Event()

        def resolve(host: str, port: int) -> list[str]:
            is_seen.wait(TIMEOUT)
            return []

        async with colour.client(resolver=resolve) as client:

            async def send() -> None:
                with pytest.raises(httpcore.ConnectError, match="has no address"):
                    await client.send((b"https", b"origin.example", 443, b"/"))

            async def look() -> None:
                while not (info := await client.info()):
                    await colour.pause()
                assert info == {"https://origin.example": ["Not connected"]}
                assert client.pool.statistics()["connecting"] == 1
                is_seen.set()

            await colour.gather(send, look)
            assert await client.info() == {}

    colour.run(main)


def test_draining_lets_exchanges_end(colour: Colour) -> None:
    """Each of those who drain hears of the end, and nobody waits for his limit."""

    async def main() -> None:
        with Server(_answer_slowly) as server:
            client = colour.client()
            response = await client.send(server.url())
            ended: list[str] = []

            async def drain() -> None:
                await client.close(drain=60.0)
                ended.append("drained")

            async def finish() -> None:
                assert ended == []
                server.release.set()
                assert await response.read() == b"half"
                ended.append("read")

            await colour.gather(drain, drain, finish)
            assert sorted(ended) == ["drained", "drained", "read"]
            assert await client.states() == []

    colour.run(main)


def test_draining_that_is_cancelled_closes(colour: Colour) -> None:
    async def main() -> None:
        with Server(_answer_slowly) as server:
            client = colour.client()
            response = await client.send(server.url())
            await cancel_when(
                colour, lambda: client.close(drain=60.0), lambda: bool(client.pool._pool._drainers)
            )
            assert client.pool.statistics()["connections"] == 0
            with pytest.raises(httpcore.ReadError):
                await response.read()

    colour.run(main)


def test_draining_ends_with_its_limit(colour: Colour) -> None:
    async def main() -> None:
        with Server(_answer_slowly) as server:
            client = colour.client()
            response = await client.send(server.url())
            await client.close(drain=0.05)
            with pytest.raises(httpcore.ReadError):
                await response.read()
            await client.close(drain=float("inf"))

    colour.run(main)


def test_a_response_that_failed_goes_on_failing(colour: Colour) -> None:
    async def main() -> None:
        with Server(_answer_slowly) as server:
            async with colour.client() as client:
                response = await client.send(server.url(), read=0.3)
                reader = response.reader()
                assert await reader.next() == b"ha"
                with pytest.raises(httpcore.ReadTimeout, match=r"127\.0\.0\.1:\d+ within 0\.3 s"):
                    await reader.next()
                with pytest.raises(httpcore.ReadError, match="failed before") as caught:
                    await reader.next()
                # The peer has the request, whatever became of the answer.
                assert caught.value.request_sent
                with pytest.raises(RuntimeError, match="only once"):
                    response.reader()
                await response.close()
                await response.close()

    colour.run(main)


def test_a_list_that_another_thread_has_emptied() -> None:
    """What there is to close may be gone between the look and the deed."""

    class Emptied(list[object]):
        looks = iter((True, True))

        def __bool__(self) -> bool:
            return next(self.looks, len(self) > 0)

    with Server(serve) as server, httpcore.SyncConnectionPool() as pool:
        pool._pool.ledger.doomed = Emptied()  # type: ignore[assignment]
        _, _, stream, _ = pool.request(b"GET", server.url(b"/a"), [(b"Host", b"h")])
        assert b"".join(stream) == b"/a"


def test_a_second_grant_while_another_thread_is_at_the_first() -> None:
    """Who was slow to cross off the first must not cross off the second with it, and leave it asleep."""

    class Sleeper:
        is_woken = False

        def unpark(self, *, foreign: bool = False) -> None:
            if not self.is_woken:
                self.is_woken = True
                self.meanwhile()

        def meanwhile(self) -> None:
            pass

    with httpcore.SyncConnectionPool(max_connections=1) as interface:
        pool = interface._pool
        ledger = pool.ledger
        route = direct_route(b"http", b"h", 80)
        holder, sleeper = Claim(pool), Claim(pool)
        first, second = Sleeper(), Sleeper()

        def ask_again() -> None:
            # A faster thread is done with the grant; who is woken finds the connection dead, and asks again.
            pool._settle()
            ledger.abandon(sleeper, 0.0)
            ledger.request(holder, route.key, route, 0.0)
            sleeper.parker = second  # type: ignore[assignment]
            assert not ledger.request(sleeper, route.key, route, 0.0)
            ledger.abandon(holder, 0.0)

        first.meanwhile = ask_again  # type: ignore[method-assign]
        ledger.request(holder, route.key, route, 0.0)
        sleeper.parker = first  # type: ignore[assignment]
        assert not ledger.request(sleeper, route.key, route, 0.0)
        pool.post(ledger.abandon, holder)
        assert first.is_woken
        assert second.is_woken
        sleeper.forget()


def test_a_waiter_that_is_woken_for_nothing_waits_on(colour: Colour) -> None:
    """A thread may be slow to wake it for an earlier grant, whose connection was of no use."""

    async def main() -> None:
        with Server(_answer_slowly) as server:
            async with colour.client(max_connections=1) as client:
                response = await client.send(server.url())

                async def wait() -> None:
                    assert await client.get(server.url()) == b"half"

                async def wake() -> None:
                    ledger = client.pool._pool.ledger
                    seen: set[object] = set()
                    while len(seen) < 3:
                        parkers = [claim.parker for claim in list(ledger.waiting)]
                        if parkers and parkers[0] is not None and parkers[0] not in seen:
                            seen.add(parkers[0])
                            parkers[0].unpark()
                        await colour.pause()
                    server.release.set()
                    assert await response.read() == b"half"

                await colour.gather(wait, wake)
                assert client.pool.statistics()["waits"] == 1

    colour.run(main)
