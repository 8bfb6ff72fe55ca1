"""Integrity: very many requests at once over few connections, some of which the server breaks.

Every body follows from its request's token, so that an answer that is wrong, swapped, cut or doubled shows.
An exchange may fail only where the server broke one, and a POST is never carried out twice.
"""

from __future__ import annotations

import math
import random
import ssl
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import httpcore

from ..colours import Client, Colour, drive
from .server import ServerProcess, body_of, digest

CONNECTIONS = 100

LARGEST = 10 * 1024 * 1024

METHODS = (b"POST", b"PUT", b"GET")


@dataclass
class Outcome:
    served: int = 0
    received: int = 0
    """Bytes of bodies."""
    failed: dict[str, str] = field(default_factory=dict)
    """Token → error."""
    methods: dict[str, bytes] = field(default_factory=dict)
    """Token → method."""


class IntegrityRun:
    def __init__(
        self, colour: Colour, server: ServerProcess, *, protocol: str, seed: int, largest: int = LARGEST
    ) -> None:
        self._colour = colour
        self._server = server
        self._protocol = protocol
        self._random = random.Random(seed)
        self._largest = largest
        self._left = 0
        self.outcome = Outcome()

    async def run(self, count: int, *, at_once: int) -> None:
        self._left = count
        context = ssl.create_default_context(cafile=str(self._server.cafile))
        async with self._colour.client(
            max_connections=CONNECTIONS, ssl_context=context, http2=self._protocol == "http2"
        ) as client:

            async def work() -> None:
                while self._left > 0:
                    self._left -= 1
                    await self._exchange(client, self._left)

            if self._colour.is_async:
                await self._colour.gather(*[work] * at_once)
            else:
                with ThreadPoolExecutor(at_once) as executor:
                    for future in [executor.submit(lambda: drive(work())) for _ in range(at_once)]:
                        future.result()
            figures = client.pool.statistics()
            assert figures["active"] == figures["connecting"] == figures["waiting"] == 0, figures

    async def _exchange(self, client: Client, number: int) -> None:
        token = b"%x" % number
        # In sync, threads share the generator; it is only asked in one step.
        method = self._random.choice(METHODS)
        size = self._draw_size()
        upload = 0 if method == b"GET" else self._draw_size()
        self.outcome.methods[token.decode()] = method
        body = body_of(token + b" up", upload)
        headers = [
            (b"Host", b"127.0.0.1"),
            (b"Token", token),
            (b"Answer-Size", b"%d" % size),
            (b"Content-Length", b"%d" % upload),
        ]
        stream = httpcore.PlainByteStream(body) if upload else None
        limits = dict.fromkeys(("read", "write", "pool", "connect"), 600.0)
        try:
            response = await client.send(self._server.url(self._protocol), method, headers, stream, **limits)
            received = await response.read()
        except (httpcore.NetworkError, httpcore.RemoteProtocolError) as exc:
            self.outcome.failed[token.decode()] = repr(exc)
            return
        fields = {name.lower(): value for name, value in response.headers}
        assert response.status == 200
        assert fields[b"token"] == token
        assert fields[b"digest"] == digest(body)
        assert received == body_of(token, size)
        self.outcome.served += 1
        self.outcome.received += size + upload

    def _draw_size(self) -> int:
        """Log-uniform from nothing to the largest."""
        return int(math.exp(self._random.uniform(0.0, math.log(self._largest + 1)))) - 1

    def judge(self, report: dict[str, Any], count: int) -> None:
        """Hold what happened against what the server says."""
        outcome = self.outcome
        assert outcome.served + len(outcome.failed) == count
        # A connection that is closed after an answer may take the next request with it.
        may_spread = sum(number for kind, number in report["met"].items() if kind.endswith("after"))
        unexplained = {token: error for token, error in outcome.failed.items() if token not in report["hurt"]}
        assert len(unexplained) <= may_spread, unexplained
        for token, times in report["repeated"].items():
            assert outcome.methods[token] != b"POST", token
            assert times == 2
