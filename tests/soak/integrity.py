"""Integrity: very many requests at once over few connections, some of which the server breaks.

Every body follows from its request's token, so that an answer that is wrong, swapped, cut or doubled shows.
An exchange may fail only where the server broke one, and a POST is never carried out twice.
"""

from __future__ import annotations

import math
import random
import ssl
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import httpcore

from ..colours import Client, Colour, Response, drive
from .processes import ServerProcess
from .server import BLOCK, PIECE, body_of, digest

CONNECTIONS = 100

STREAMS = 100
"""Exchanges at once on an HTTP/2 connection."""

LARGEST = 10 * 1024 * 1024

PLAIN = 64 * 1024
"""Bytes up to which a body goes out as one object; larger ones are made as they are sent."""

METHODS = (b"POST", b"PUT", b"GET")


class Body:
    """What `body_of` returns, piece by piece: ten thousand of them need not fit into memory. For either colour."""

    def __init__(self, token: bytes, size: int) -> None:
        self.token = token
        self.size = size

    def __iter__(self) -> Iterator[bytes]:
        return Pieces(self)

    def __aiter__(self) -> AsyncIterator[bytes]:
        return Pieces(self)

    async def check(self, response: Response) -> None:
        """Read a response that has to have this body."""
        reader = response.reader()
        pieces = Pieces(self)
        while piece := await reader.next():
            assert piece == pieces.take(len(piece))
        assert pieces.position == self.size


class Pieces:
    def __init__(self, body: Body) -> None:
        # Twice, so that any piece is one slice.
        self._blocks = body_of(body.token, BLOCK) * 2
        self._size = body.size
        self.position = 0

    def take(self, size: int) -> bytes:
        start = self.position % BLOCK
        size = min(size, self._size - self.position, BLOCK)
        self.position += size
        return self._blocks[start : start + size]

    def __iter__(self) -> Pieces:
        return self

    def __next__(self) -> bytes:
        piece = self.take(PIECE)
        if not piece:
            raise StopIteration
        return piece

    def __aiter__(self) -> Pieces:
        return self

    async def __anext__(self) -> bytes:
        piece = self.take(PIECE)
        if not piece:
            raise StopAsyncIteration
        return piece


@dataclass
class Outcome:
    served: int = 0
    received: int = 0
    """Bytes of bodies."""
    failed: dict[str, str] = field(default_factory=dict)
    """Token → error."""
    methods: dict[str, bytes] = field(default_factory=dict)
    """Token → method."""
    uploads: dict[str, int] = field(default_factory=dict)
    """Token → bytes."""


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
        self.outcome.uploads[token.decode()] = upload
        body = Body(token + b" up", upload)
        headers = [
            (b"Host", b"127.0.0.1"),
            (b"Token", token),
            (b"Answer-Size", b"%d" % size),
            (b"Content-Length", b"%d" % upload),
        ]
        stream: object = body
        if upload < PLAIN:
            stream = httpcore.PlainByteStream(body_of(body.token, upload)) if upload else None
        limits = dict.fromkeys(("read", "write", "pool", "connect"), 600.0)
        try:
            response = await client.send(self._server.url(self._protocol), method, headers, stream, **limits)
            await Body(token, size).check(response)
        except (httpcore.NetworkError, httpcore.RemoteProtocolError) as exc:
            self.outcome.failed[token.decode()] = repr(exc)
            return
        fields = {name.lower(): value for name, value in response.headers}
        assert response.status == 200
        assert fields[b"token"] == token
        assert fields[b"digest"] == digest(body)
        self.outcome.served += 1
        self.outcome.received += size + upload

    def _draw_size(self) -> int:
        """Log-uniform from nothing to the largest."""
        return int(math.exp(self._random.uniform(0.0, math.log(self._largest + 1)))) - 1

    def judge(self, report: dict[str, Any], count: int) -> None:
        """Hold what happened against what the server says."""
        outcome = self.outcome
        met = report["met"]
        assert outcome.served + len(outcome.failed) == count
        for token, times in report["repeated"].items():
            assert outcome.methods[token] != b"POST", token
            assert times == 2
        broken = {token: error for token, error in outcome.failed.items() if token not in report["hurt"]}
        # A connection that is closed after an answer may take the next request with it.
        may_spread = sum(number for kind, number in met.items() if kind.endswith("after"))
        if self._protocol == "http2":
            # What was not processed fails only if its body could not be sent again, or for the third time: each
            # GOAWAY hits all streams of a connection.
            refused = {
                token: error
                for token, error in broken.items()
                if "REFUSED" in error or ("GOAWAY" in error and "without GOAWAY" not in error)
            }
            small = [token for token in refused if outcome.uploads[token] < PLAIN]
            assert len(small) <= count // 50, small
            broken = {token: error for token, error in broken.items() if token not in refused}
            # A reset takes with it what is still on its way, in either direction.
            may_spread += met.get("reset inside", 0) * STREAMS
        assert len(broken) <= may_spread, broken
