"""Random cancellation: no slot is lost, no task is left, no cancellation is swallowed.

Workers share one pool that is too small for them, so that every way through it is taken: waiting for a place,
connecting, shaking hands, uploading, waiting for the head, reading. Each exchange is cancelled after a random
number of loop turns or a random time; only those that were ended by it count. After each round the pool
has to be quiet, hold as many sockets as it says, and serve.
"""

from __future__ import annotations

import asyncio
import os
import random
import socket
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import anyio
import anyio.lowlevel

import httpcore

from ..colours import Client, Colour
from .server import ServerProcess, body_of

WORKERS = 12

CONNECTIONS = 6

SEND_BUFFER = 4096
"""Bytes that the kernel is asked to buffer, so that also a small upload has to wait."""

ROUND = 1000
"""Cancellations between two looks at the pool."""

MIX = {"http11": 6, "http2": 3, "tls": 1}
"""How often each protocol is spoken; on `tls` each exchange has a connection of its own."""


@dataclass
class Figures:
    cancelled: int = 0
    finished: int = 0
    by_protocol: dict[str, int] = field(default_factory=dict)


class Swallowed(AssertionError):
    """A cancellation that was delivered did not end the exchange."""


class CancellationRun:
    def __init__(self, colour: Colour, server: ServerProcess, *, http2: bool, seed: int) -> None:
        self._colour = colour
        self._server = server
        self._random = random.Random(seed)
        self._protocols = [name for name in MIX if name != "http2" or http2]
        self._weights = [MIX[name] for name in self._protocols]
        self._http2 = http2
        self._number = 0
        self.figures = Figures()

    async def run(self, count: int) -> None:
        """Go on until `count` exchanges have been cancelled."""
        context = ssl.create_default_context(cafile=str(self._server.cafile))
        others = _sockets()
        async with self._colour.client(
            max_connections=CONNECTIONS,
            ssl_context=context,
            http2=self._http2,
            socket_options=[(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)],
        ) as client:
            while self.figures.cancelled < count:
                goal = min(count, self.figures.cancelled + ROUND)

                async def work(goal: int = goal) -> None:
                    while self.figures.cancelled < goal:
                        await self._interrupt(client)

                await self._colour.gather(*[work] * WORKERS)
                await self._check(client, others)

    async def _interrupt(self, client: Client) -> None:
        """Begin an exchange, and cancel it somewhere."""
        protocol = self._random.choices(self._protocols, self._weights)[0]
        exchange = self._choose(client, protocol)
        turns = self._random.randrange(40) if self._random.random() < 0.7 else None
        delay = self._random.expovariate(1 / 0.002)

        async def pause() -> None:
            if turns is None:
                await anyio.sleep(delay)
            else:
                for _ in range(turns):
                    await anyio.lowlevel.checkpoint()

        if self._colour.name in ("asyncio", "uvloop"):
            is_cancelled = await cancel_task(exchange, pause)
        else:
            is_cancelled = await cancel_scope(exchange, pause)
        if is_cancelled:
            self.figures.cancelled += 1
            by_protocol = self.figures.by_protocol
            by_protocol[protocol] = by_protocol.get(protocol, 0) + 1
        else:
            self.figures.finished += 1

    def _choose(self, client: Client, protocol: str) -> Callable[[], Awaitable[None]]:
        self._number += 1
        token = b"%x" % self._number
        size = self._random.choice((0, 13, 3000, 20_000))
        headers = [(b"Host", b"127.0.0.1"), (b"Token", token), (b"Answer-Size", b"%d" % size)]
        if protocol == "tls":
            headers.append((b"Connection", b"close"))
        if self._random.random() < 0.3:
            headers.append((b"In-Pieces", b"yes"))
        upload = self._random.choice((0, 0, 500, 40_000))
        way = self._random.choice(("read", "read", "close"))

        async def exchange() -> None:
            stream = None
            fields = list(headers)
            if upload:
                stream = self._colour.stream([b"x" * (upload // 4)] * 4)
                fields.append((b"Content-Length", b"%d" % upload))
            response = await client.send(
                self._server.url(protocol),
                b"POST" if upload else b"GET",
                fields,
                stream,
                read=60.0,
                pool=60.0,
            )
            if way == "close":
                await response.close()
            else:
                assert await response.read() == body_of(token, size)

        return exchange

    async def _check(self, client: Client, others: int) -> None:
        figures = client.pool.statistics()
        assert figures["active"] == figures["connecting"] == figures["waiting"] == 0, figures
        for protocol in self._protocols:
            await self._choose(client, protocol)()
        figures = client.pool.statistics()
        assert figures["connections"] == figures["idle"] <= CONNECTIONS, figures
        if not self._colour.is_trio:
            # A transport is closed in the turn after it was aborted.
            await anyio.sleep(0.01)
            assert asyncio.all_tasks() == {asyncio.current_task()}
        assert _sockets() == others + figures["idle"], (_sockets(), others, figures)


async def cancel_task(exchange: Callable[[], Awaitable[None]], pause: Callable[[], Awaitable[None]]) -> bool:
    async def run() -> None:
        await exchange()

    task = asyncio.ensure_future(run())
    await pause()
    was_asked = task.cancel()
    await asyncio.wait([task])
    if was_asked and not task.cancelled():
        raise Swallowed(repr(task))
    if not was_asked:
        task.result()
    return was_asked


async def cancel_scope(exchange: Callable[[], Awaitable[None]], pause: Callable[[], Awaitable[None]]) -> bool:
    is_over = False
    scope = anyio.CancelScope()

    async def run() -> None:
        nonlocal is_over
        with scope:
            await exchange()
            # A cancellation that came too late to reach the exchange, and is no claim about it.
            is_over = True

    async with anyio.create_task_group() as group:
        group.start_soon(run)
        await pause()
        scope.cancel()
    if scope.cancelled_caught == is_over:
        raise Swallowed("neither cancelled nor finished")
    return scope.cancelled_caught


def is_built(protocol: str) -> bool:
    """Whether the pool speaks a protocol yet."""
    try:
        httpcore.AsyncConnectionPool(http2=protocol == "http2")
    except NotImplementedError:
        return False
    return True


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
