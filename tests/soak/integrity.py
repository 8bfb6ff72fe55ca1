"""Integrity: very many requests at once over few connections, some of which the server breaks.

Every body follows from its request's token, so that an answer that is wrong, swapped, cut or doubled shows.
The server says which exchanges and which connections it broke, and the client notes what went over which: an
exchange may fail only for one of these, has to where it is beyond repair, and a POST is never carried out twice.
"""

from __future__ import annotations

import math
import random
import ssl
from collections import Counter, deque
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import httpcore
from httpcore._connections.http2 import HTTP2Connection
from httpcore._connections.http11 import HTTP11Connection
from httpcore._pool.replays import MAX_REPLAYS

from ..colours import Client, Colour, Response, drive
from .processes import ServerProcess
from .server import BLOCK, PIECE, body_of, digest

CONNECTIONS = 100

STREAMS = 100
"""Exchanges at once on an HTTP/2 connection."""

LARGEST = 10 * 1024 * 1024

LIMIT = 3600.0
"""Seconds without progress. On a machine that is busy enough with other work, ten minutes may pass with none."""

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
    served: dict[str, int] = field(default_factory=dict)
    """Token → bytes of both bodies."""
    failed: dict[str, str] = field(default_factory=dict)
    """Token → error."""
    methods: dict[str, bytes] = field(default_factory=dict)
    """Token → method."""
    sizes: dict[str, int] = field(default_factory=dict)
    """Token → bytes of the answer."""
    uploads: dict[str, int] = field(default_factory=dict)
    """Token → bytes of the request's body."""
    ports: dict[str, list[int]] = field(default_factory=dict)
    """Token → our ports of the connections that it was tried on."""


class IntegrityRun:
    def __init__(
        self, colour: Colour, server: ServerProcess, *, protocol: str, seed: int, largest: int = LARGEST
    ) -> None:
        self._colour = colour
        self._server = server
        self._protocol = protocol
        self._random = random.Random(seed)
        self._largest = largest
        self._numbers: deque[int] = deque()
        self.outcome = Outcome()

    async def run(self, count: int, *, at_once: int) -> None:
        # In sync, threads share it: each has to get numbers of its own.
        self._numbers.extend(range(count))
        with (
            note_ports(HTTP11Connection, self.outcome.ports),
            note_ports(HTTP2Connection, self.outcome.ports),
        ):
            await self._run(at_once)

    async def _run(self, at_once: int) -> None:
        context = ssl.create_default_context(cafile=str(self._server.cafile))
        async with self._colour.client(
            max_connections=CONNECTIONS, ssl_context=context, http2=self._protocol == "http2"
        ) as client:

            async def work() -> None:
                while True:
                    try:
                        number = self._numbers.pop()
                    except IndexError:
                        return
                    await self._exchange(client, number)

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
        self.outcome.sizes[token.decode()] = size
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
        limits = dict.fromkeys(("read", "write", "pool", "connect"), LIMIT)
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
        self.outcome.served[token.decode()] = size + upload

    def _draw_size(self) -> int:
        """Log-uniform from nothing to the largest."""
        return int(math.exp(self._random.uniform(0.0, math.log(self._largest + 1)))) - 1

    def judge(self, report: dict[str, Any], count: int) -> None:
        """Hold what happened against what the server says: what failed is what had to, or could not but fail."""
        outcome = self.outcome
        assert not report["puzzling"], report["puzzling"]
        assert len(outcome.served) + len(outcome.failed) == count
        for token, times in report["repeated"].items():
            assert outcome.methods[token] != b"POST", token
            assert times == 2
        groundless = [token for token in outcome.failed if not self._may_fail(token, report)]
        assert not groundless, [self._describe(token, report) for token in groundless]
        # A response that has begun, and a stream that was reset in so many words, are beyond repair. The words
        # are lost where the connection is reset in the same turn: then the exchange may go to another one.
        broken = set(report["broken"])
        for token, how in report["hurt"].items():
            if how == "reset stream":
                assert token in outcome.failed or not broken.isdisjoint(outcome.ports[token][:-1]), token
            elif how.endswith("inside"):
                assert token in outcome.failed, (token, how)
        # What may be hit by the end of one connection is what was on its way there.
        hit = Counter(outcome.ports[token][-1] for token in outcome.failed if token not in report["hurt"])
        at_once = STREAMS if self._protocol == "http2" else 1
        assert all(number <= at_once for number in hit.values()), hit

    def _describe(self, token: str, report: dict[str, Any]) -> str:
        outcome = self.outcome
        ways = [f"{port} ({report['left'].get(str(port))})" for port in outcome.ports[token]]
        sizes = f"{outcome.uploads[token]} bytes up, {outcome.sizes[token]} down"
        return f"{token}: {outcome.methods[token].decode()}, {sizes}, over {ways}: {outcome.failed[token]}"

    def _may_fail(self, token: str, report: dict[str, Any]) -> bool:
        """Whether the server broke the exchange, or the connection that it was last tried on."""
        outcome = self.outcome
        port = outcome.ports[token][-1]
        if token in report["hurt"] or port in report["broken"]:
            return True
        # What was not processed comes again, twice, if its body is still at hand.
        is_stuck = outcome.uploads[token] >= PLAIN or len(outcome.ports[token]) > MAX_REPLAYS
        return is_stuck and (token in report["refused"] or port in report["retired"])


@contextmanager
def note_ports(kind: type[Any], ports: dict[str, list[int]]) -> Iterator[None]:
    """Note over which connections of a kind each request goes, by our ports."""
    original = kind.exchange

    def exchange(connection: Any, request: Any, claim: Any) -> Any:
        token = dict(request.headers)[b"Token"].decode()
        stream = connection.stream if kind is HTTP11Connection else connection._stream
        address = stream.get_extra_info("client_addr")
        # There is none where the connection has ended just now.
        ports.setdefault(token, []).append(address[1] if address else 0)
        return original(connection, request, claim)

    kind.exchange = exchange
    try:
        yield
    finally:
        kind.exchange = original
