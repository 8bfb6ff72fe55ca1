"""Random cancellation: no slot is lost, no task is left, no cancellation is swallowed.

Workers share one pool that is too small for them, so that every way through it is taken: waiting for a place,
connecting, shaking hands, uploading, waiting for the head, reading. Each exchange is cancelled at a moment that is
drawn beforehand; only those that were ended by it count, each where it was hit. After each round the pool has to be
quiet, hold as many sockets as it says, and serve; and the server has seen nothing that a client must not send.
"""

from __future__ import annotations

import asyncio
import os
import random
import socket
import ssl
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import anyio
import trio

import httpcore

from ..colours import Client, Colour
from .brisk_server import AT_ONCE, IN_PIECES, LARGEST, LATE, body_of
from .interruption import Metronome, Moment, interrupt
from .processes import ServerProcess

WORKERS = 24

CONNECTIONS = 16

SEND_BUFFER = 4096
"""Bytes that the kernel is asked to buffer, so that also a small upload has to wait."""

ROUND = 2000
"""Cancellations between two looks at the pool."""

MIX = {"http11": 6, "http2": 3, "tls": 1}
"""How often each protocol is spoken; on `tls` each exchange has a connection of its own."""

SIZES = (0, 13, 3000, 20_000)
"""Bytes of answers."""

UPLOADS = (0, 0, 0, 0, 0, 500, 500, LARGEST)
"""Bytes of requests. The largest is more than a transport of asyncio takes without a word."""

PACES = (AT_ONCE, LATE, IN_PIECES, IN_PIECES)


@dataclass
class Task:
    """What one exchange is to do."""

    protocol: str
    number: int
    size: int
    upload: int = 0
    pace: bytes = AT_ONCE
    is_traced: bool = False
    is_closed_early: bool = False

    @property
    def target(self) -> bytes:
        return b"/%d/%d/%b" % (self.number, self.size, self.pace)


@dataclass
class Figures:
    finished: int = 0
    hits: Counter[tuple[str, str]] = field(default_factory=Counter)
    """Protocol and phase → cancellations."""
    again: int = 0
    """How many of them were cancelled once more, while the caller's stream was told."""

    @property
    def cancelled(self) -> int:
        return self.hits.total()


class CancellationRun:
    def __init__(self, colour: Colour, server: ServerProcess, *, seed: int) -> None:
        self._colour = colour
        self._server = server
        self._random = random.Random(seed)
        self._metronome = Metronome()
        self._deck = [name for name, number in MIX.items() for _ in range(number)]
        self._number = 0
        self._cancelled = 0
        self.figures = Figures()

    async def run(self, count: int) -> None:
        """Go on until `count` exchanges have been cancelled."""
        context = ssl.create_default_context(cafile=str(self._server.cafile))
        others = _sockets()
        async with self._colour.client(
            max_connections=CONNECTIONS,
            ssl_context=context,
            http2=True,
            socket_options=[(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)],
        ) as client:
            while self._cancelled < count:
                goal = min(count, self._cancelled + ROUND)

                async def work(goal: int = goal) -> None:
                    while self._cancelled < goal:
                        await self._interrupt(client)

                await self._colour.gather(*[work] * WORKERS)
                await self._check(client, others)

    async def _interrupt(self, client: Client) -> None:
        """Begin an exchange, and cancel it somewhere."""
        task = self._draw_task()
        moment = self._draw_moment(task)
        interruption = await interrupt(self._colour, self._exchange(client, task), moment, self._metronome)
        if interruption.phase is None:
            self.figures.finished += 1
        else:
            self._cancelled += 1
            self.figures.hits[task.protocol, interruption.phase] += 1
            self.figures.again += interruption.was_struck_again

    def _draw_task(self) -> Task:
        self._number += 1
        draw, choose = self._random.random, self._random.choice
        return Task(
            choose(self._deck),
            self._number,
            size=choose(SIZES),
            upload=choose(UPLOADS),
            pace=choose(PACES),
            is_traced=draw() < 0.03,
            is_closed_early=draw() < 0.3,
        )

    def _draw_moment(self, task: Task) -> Moment:
        """Anywhere for most, and in the course of what is asked for."""
        draw = self._random.random
        suspension = 1 + int(self._random.expovariate(0.6))
        ticks = int(draw() * 12) if draw() < 0.5 else 0
        kind = draw()
        if kind < 0.1:
            return Moment(delay=self._random.expovariate(1 / 0.001))
        if kind < 0.2 and task.pace == IN_PIECES and task.size:
            task.is_closed_early = False
            return Moment(1, phase="reading")
        if kind < 0.3 and task.upload:
            return Moment(1 + int(draw() * 3), phase="sending")
        return Moment(suspension, ticks)

    async def _exchange(self, client: Client, task: Task) -> None:
        fields = [(b"Host", b"127.0.0.1")]
        if task.protocol == "tls":
            fields.append((b"Connection", b"close"))
        stream = None
        if task.upload:
            stream = Upload(self._colour, task)
            fields.append((b"Content-Length", b"%d" % task.upload))
        response = await client.send(
            self._server.url(task.protocol, task.target),
            b"POST" if task.upload else b"GET",
            fields,
            stream,
            trace=self._hook if task.is_traced else None,
            read=60.0,
            pool=60.0,
        )
        assert response.status == 200
        _check_head(response.headers, task.number)
        if task.is_closed_early:
            await response.close()
        else:
            assert await response.read() == body_of(task.number, task.size)

    async def _hook(self, name: str, info: object) -> None:
        await give_way(self._colour)

    async def _check(self, client: Client, others: int) -> None:
        figures = client.pool.statistics()
        assert figures["active"] == figures["connecting"] == figures["waiting"] == 0, figures
        for protocol in MIX:
            # Number 0: the server looks whether anything is left on its side.
            await self._exchange(client, Task(protocol, 0, size=13))
        violations = await client.get(self._server.url("http11", b"/violations"))
        assert not violations, violations.decode()
        figures = client.pool.statistics()
        assert figures["connections"] == figures["idle"] <= CONNECTIONS, figures
        if not self._colour.is_trio:
            # A transport is closed in the turn after it was aborted.
            await anyio.sleep(0.01)
            assert asyncio.all_tasks() == {asyncio.current_task()}
        assert _sockets() == others + figures["idle"], (_sockets(), others, figures)


class Upload(httpcore.AsyncByteStream):
    """The body of a request, in four pieces. Closing it takes a moment."""

    def __init__(self, colour: Colour, task: Task) -> None:
        self._colour = colour
        self._body = body_of(task.number, task.upload)
        self._piece = task.upload // 4
        self._position = 0

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        start = self._position
        if start >= len(self._body):
            raise StopAsyncIteration
        self._position += self._piece
        return self._body[start : self._position]

    async def aclose(self) -> None:
        await give_way(self._colour)


async def give_way(colour: Colour) -> None:
    """Suspend once."""
    if colour.is_trio:
        await trio.lowlevel.checkpoint()
    else:
        await asyncio.sleep(0)


def _check_head(fields: list[tuple[bytes, bytes]], number: int) -> None:
    """The answer is that to our request, and over HTTP/2 its table is in step with the server's."""
    known = {}
    tokens = []
    for name, value in fields:
        name = name.lower()
        known[name] = value
        if name == b"token":
            tokens.append(value)
    before = [known[b"before"]] if b"before" in known else []
    assert tokens == [*before, b"%d" % number], fields


def _sockets() -> int:
    """How many sockets the process has."""
    count = 0
    for name in os.listdir("/proc/self/fd"):
        try:
            count += os.readlink(f"/proc/self/fd/{name}").startswith("socket:")
        except OSError:
            # The number under which the directory was listed.
            pass
    return count
