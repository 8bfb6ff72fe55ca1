"""Random cancellation on one HTTP/2 connection that all share, under the eyes of a referee.

The server sees every frame: the referee refuses a header block that does not fit the table, DATA beyond a window
and frames on a stream that is over. Each answer has a field that enters the table, so that ours is seen to be in step
as well. After each round no stream may be left, all credit has to be back, and it must still be the first connection.

Threads cannot be cancelled. In sync their exchanges time out after a random time instead; where nothing at all
arrived meanwhile, the next ones go over another connection.
"""

from __future__ import annotations

import random
import threading
from dataclasses import dataclass

import httpcore

from ..colours import Client, Colour
from ..peers.http2 import Code, HTTP2Peer, Setting, Stream, http2
from ..peers.scripted import Server
from .interruption import Metronome, Moment, interrupt

WORKERS = 30

ROUND = 1000
"""Exchanges that were ended early between two looks at the connection."""

STREAMS = 20
"""How many the server takes at once: some of the workers have to wait."""

LATE = (httpcore.ReadTimeout, httpcore.WriteTimeout, httpcore.PoolTimeout)


@dataclass
class StreamFigures:
    begun: int = 0
    cancelled: int = 0
    finished: int = 0
    reset: int = 0
    connections: int = 0


class StreamRun:
    def __init__(self, colour: Colour, *, seed: int) -> None:
        self._colour = colour
        self._random = random.Random(seed)
        self._metronome = Metronome()
        self._lock = threading.Lock()
        self.figures = StreamFigures()

    async def run(self, count: int) -> None:
        """Go on until `count` exchanges have been cancelled."""
        settings: dict[int, int] = {Setting.MAX_CONCURRENT_STREAMS: STREAMS}
        with Server(http2(lambda peer: peer.serve(respond), settings)) as server:
            async with self._colour.client(http1=False, http2=True, max_connections=1) as client:
                await self._exchange(client, server)
                while self.figures.cancelled < count:
                    goal = min(count, self.figures.cancelled + ROUND)

                    async def work(goal: int = goal) -> None:
                        while self.figures.cancelled < goal:
                            await self._interrupt(client, server)

                    await self._colour.gather(*[work] * WORKERS)
                    await self._check(client, server)
                self.figures.connections = server.accepted

    async def _interrupt(self, client: Client, server: Server) -> None:
        """Begin an exchange, and end it somewhere."""
        delay = self._random.expovariate(1 / 0.002)
        if not self._colour.is_async:
            limits = {"read": delay, "write": delay, "pool": 60.0}
            try:
                await self._exchange(client, server, **limits)
            except LATE:
                self._count("cancelled")
            else:
                self._count("finished")
            return
        moment = Moment(delay=delay)
        if self._random.random() < 0.7:
            moment = Moment(1 + int(self._random.expovariate(0.5)), ticks=self._random.randrange(12))
        exchange = self._exchange(client, server)
        interruption = await interrupt(self._colour, exchange, moment, self._metronome)
        self._count("finished" if interruption.phase is None else "cancelled")

    def _count(self, what: str) -> int:
        # In sync, threads do.
        with self._lock:
            figure: int = getattr(self.figures, what) + 1
            setattr(self.figures, what, figure)
        return figure

    async def _exchange(self, client: Client, server: Server, **limits: float) -> None:
        number = self._count("begun")
        size = self._random.choice((0, 13, 3_000, 50_000, 200_000))
        upload = self._random.choice((0, 0, 500, 100_000))
        target = b"/%d/%d" % (number, size)
        if self._random.random() < 0.05:
            target += b"/reset"
        fields = [(b"Host", b"h"), (b"X-Number", b"%d" % (number % 50))]
        is_closed_early = self._random.random() < 0.2
        stream = self._colour.stream([b"x" * (upload // 4)] * 4) if upload else None
        try:
            response = await client.send(
                server.url(target), b"POST" if upload else b"GET", fields, stream, **limits
            )
            assert dict(response.headers)[b"x-token"] == target
            if is_closed_early:
                await response.close()
            else:
                assert len(await response.read()) == size
                assert not target.endswith(b"reset")
        except httpcore.RemoteProtocolError as exc:
            if not target.endswith(b"/reset") or "INTERNAL_ERROR" not in str(exc):
                raise
            self._count("reset")

    async def _check(self, client: Client, server: Server) -> None:
        figures = client.pool.statistics()
        assert figures["active"] == figures["connecting"] == figures["waiting"] == 0, figures
        assert await client.get(server.url(b"/check")) == b"/check"
        figures = client.pool.statistics()
        assert figures["connections"] == figures["idle"] == 1, figures
        if self._colour.is_async:
            assert server.accepted == 1
        (place,) = client.pool._pool.ledger.places
        assert not place.connection.lanes
        assert not place.connection.engine.streams


def respond(peer: HTTP2Peer, request: Stream) -> None:
    """What the path says: a size, perhaps a reset half-way; `/check` looks at all streams and at the window."""
    if request.path == b"/check":
        others = [stream for stream in peer.referee.streams.values() if not stream.is_over]
        assert others == [request], others
        peer.check_window()
        peer.answer(request, request.path)
        return
    size = int(request.path.split(b"/")[2])
    head = [(b":status", b"200"), (b"x-token", request.path)]
    if request.path.endswith(b"/reset"):
        peer.headers(request, head)
        peer.reset(request, Code.INTERNAL_ERROR)
    elif not size:
        peer.headers(request, head, ends=True)
    else:
        peer.headers(request, head)
        peer.send_soon(request, bytes(size))
