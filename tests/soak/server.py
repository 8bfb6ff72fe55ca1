"""The server of the long runs, in a process of its own: HTTP/1.1 and HTTP/2, plain and TLS.

    python -m tests.soak.server CAFILE SHARE

prints its ports on one line, serves until its input ends, and then prints what it saw. Every request carries
a `Token` of its own. The answer repeats it, says what the request's body hashed to, and has a body that
follows from the token, as large as `Answer-Size` says. A SHARE of the requests meets a fault.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import random
import socket
import ssl
import struct
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h2.config
import h2.connection
import h2.errors
import h2.events
import h2.exceptions
import uvloop

from ..peers.certificates import CA, server_context
from .processes import announce, wait_for_end

BLOCK = 99_991
"""Bytes after which a body repeats: no size that buffers have, and more than is received at once."""

PIECE = 32 * 1024


def body_of(token: bytes, size: int) -> bytes:
    """The body that answers `token`."""
    block = hashlib.shake_128(token).digest(min(size, BLOCK))
    return (block * (size // BLOCK + 1))[:size]


def digest(pieces: Iterable[bytes]) -> bytes:
    hashed = hashlib.blake2b(digest_size=16)
    for piece in pieces:
        hashed.update(piece)
    return hashed.hexdigest().encode()


@dataclass
class Report:
    """What the server saw. Tokens in hex, as they came."""

    seen: Counter[str] = field(default_factory=Counter)
    """How often a request with this token was understood."""
    met: dict[str, int] = field(default_factory=dict)
    """Faults of each kind."""
    hurt: dict[str, str] = field(default_factory=dict)
    """Token → how the server broke its exchange."""
    refused: set[str] = field(default_factory=set)
    """Tokens of refused streams."""
    broken: set[int] = field(default_factory=set)
    """The clients' ports of the connections that were broken, with whatever was on its way there."""
    retired: set[int] = field(default_factory=set)
    """Those of the connections that take no more requests."""
    left: dict[int, str] = field(default_factory=dict)
    """Those of the connections that the client ended, or the network, and how that was noticed."""
    puzzling: dict[int, str] = field(default_factory=dict)
    """Those of the connections that said what cannot be understood, and what it led to."""

    def as_json(self) -> str:
        repeated = {token: count for token, count in self.seen.items() if count > 1}
        return json.dumps(
            {
                "repeated": repeated,
                "met": self.met,
                "hurt": self.hurt,
                "refused": sorted(self.refused),
                "broken": sorted(self.broken),
                "retired": sorted(self.retired),
                "left": self.left,
                "puzzling": self.puzzling,
            }
        )


class Faults:
    """Which exchange breaks, and how."""

    KINDS = ("reset before", "close before", "reset inside", "close inside", "close after", "reset after")

    def __init__(self, share: float, report: Report) -> None:
        self._share = share
        self._report = report
        self._random = random.Random(1)

    def draw(self, kinds: tuple[str, ...] = KINDS) -> str:
        if self._random.random() >= self._share:
            return ""
        kind = self._random.choice(kinds)
        self._report.met[kind] = self._report.met.get(kind, 0) + 1
        return kind


class HTTP11:
    """One connection that speaks HTTP/1.1."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, faults: Faults, report: Report
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._faults = faults
        self._report = report
        self._port: int = writer.get_extra_info("peername")[1]

    async def run(self) -> None:
        try:
            while await self._serve_one():
                pass
        except (OSError, asyncio.IncompleteReadError, ssl.SSLError) as exc:
            # The client has left.
            self._report.left[self._port] = repr(exc)
        except Exception as exc:
            self._report.puzzling[self._port] = repr(exc)
        finally:
            self._writer.close()

    async def _serve_one(self) -> bool:
        head = await self._reader.readuntil(b"\r\n\r\n")
        line, *rest = head[:-4].split(b"\r\n")
        fields = {name.lower(): value.strip() for name, _, value in (each.partition(b":") for each in rest)}
        token = fields[b"token"]
        self._report.seen[token.decode()] += 1
        body = await self._read_body(fields)
        answer = b"" if line.startswith(b"HEAD") else body_of(token, int(fields.get(b"answer-size", 0)))
        kind = self._faults.draw()
        # Inside of nothing is after it: the client has its answer.
        is_hurt = kind.endswith("before") or (kind.endswith("inside") and answer)
        if is_hurt:
            self._report.hurt[token.decode()] = kind
        elif kind:
            # Who has the next request on its way over this connection learns of it later.
            self._report.broken.add(self._port)
        if kind.endswith("before"):
            return self._leave(kind)
        is_last = fields.get(b"connection") == b"close"
        self._writer.write(
            b"HTTP/1.1 200 OK\r\nToken: %b\r\nDigest: %b\r\nContent-Length: %d\r\n%b\r\n"
            % (token, digest([body]), len(answer), b"Connection: close\r\n" if is_last else b"")
        )
        if kind.endswith("inside"):
            answer = answer[: len(answer) // 2]
        await self._write(answer, in_pieces=b"in-pieces" in fields)
        return not is_last if not kind else self._leave(kind)

    async def _read_body(self, fields: dict[bytes, bytes]) -> bytes:
        if fields.get(b"transfer-encoding") != b"chunked":
            return await self._reader.readexactly(int(fields.get(b"content-length", 0)))
        body = b""
        while size := int(await self._reader.readuntil(b"\r\n"), 16):
            body += (await self._reader.readexactly(size + 2))[:-2]
        await self._reader.readuntil(b"\r\n")
        return body

    async def _write(self, data: bytes, *, in_pieces: bool) -> None:
        size = max(1, len(data) // 5) if in_pieces else PIECE
        for start in range(0, len(data), size):
            self._writer.write(data[start : start + size])
            await self._writer.drain()
            if in_pieces:
                await asyncio.sleep(0)

    def _leave(self, kind: str) -> bool:
        if kind.startswith("reset"):
            self._writer.get_extra_info("socket").setsockopt(
                socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
            )
            self._writer.transport.abort()
        return False


class HTTP2:
    """One connection that speaks HTTP/2, by the `h2` package."""

    KINDS = ("goaway", "reset inside", "refuse stream", "reset stream")

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, faults: Faults, report: Report
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._faults = faults
        self._report = report
        self._h2 = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False))
        self._requests: dict[int, tuple[dict[bytes, bytes], list[bytes]]] = {}
        self._answers: dict[int, memoryview] = {}
        # The last stream that is served, once GOAWAY is sent. It is then for the client to close.
        self._last: int | None = None
        self._port: int = writer.get_extra_info("peername")[1]

    async def run(self) -> None:
        self._h2.initiate_connection()
        self._h2.increment_flow_control_window(2**20)
        try:
            while True:
                self._writer.write(self._h2.data_to_send())
                await self._writer.drain()
                data = await self._reader.read(PIECE)
                if not data:
                    return
                events = self._h2.receive_data(data)
                if any(isinstance(event, h2.events.ConnectionTerminated) for event in events):
                    return
                for event in events:
                    if not self._handle(event):
                        return
                self._pump()
        except (OSError, ssl.SSLError) as exc:
            # The client has left.
            self._report.left[self._port] = repr(exc)
        except Exception as exc:
            self._report.puzzling[self._port] = repr(exc)
        finally:
            self._writer.close()

    def _handle(self, event: Any) -> bool:
        if isinstance(event, h2.events.RequestReceived):
            if self._last is not None and event.stream_id > self._last:
                return True
            fields = {bytes(name): bytes(value) for name, value in _as_bytes(event.headers)}
            self._requests[event.stream_id] = (fields, [])
        elif isinstance(event, h2.events.DataReceived):
            # Also what nobody wants was received (RFC 9113 §6.9).
            if event.flow_controlled_length:
                self._h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            if event.stream_id in self._requests:
                self._requests[event.stream_id][1].append(event.data)
        elif isinstance(event, h2.events.StreamEnded) and event.stream_id in self._requests:
            try:
                return self._answer(event.stream_id)
            except (h2.exceptions.StreamClosedError, h2.exceptions.StreamIDTooLowError):
                # The client gave the request up, in the same piece as its end.
                return True
        elif isinstance(event, h2.events.StreamReset):
            self._requests.pop(event.stream_id, None)
            self._answers.pop(event.stream_id, None)
        return True

    def _answer(self, stream_id: int) -> bool:
        fields, pieces = self._requests.pop(stream_id)
        token = fields[b"token"]
        kind = self._faults.draw(self.KINDS)
        if kind == "refuse stream":
            # Not processed, says the peer: it may come again, whatever its method.
            self._report.refused.add(token.decode())
            self._h2.reset_stream(stream_id, h2.errors.ErrorCodes.REFUSED_STREAM)
            return True
        self._report.seen[token.decode()] += 1
        if kind == "reset stream":
            self._report.hurt[token.decode()] = kind
            self._h2.reset_stream(stream_id, h2.errors.ErrorCodes.INTERNAL_ERROR)
            return True
        if kind == "reset inside":
            self._report.broken.add(self._port)
            self._writer.transport.abort()
            return False
        answer = body_of(token, int(fields.get(b"answer-size", 0)))
        headers = [
            (b":status", b"200"),
            (b"token", token),
            (b"digest", digest(pieces)),
            (b"content-length", b"%d" % len(answer)),
        ]
        self._h2.send_headers(stream_id, headers, end_stream=not answer)
        if answer:
            self._answers[stream_id] = memoryview(answer)
        if kind == "goaway" and self._last is None:
            # What is open goes on to its end; what comes later was not processed.
            self._last = max([stream_id, *self._requests, *self._answers])
            self._report.retired.add(self._port)
            self._writer.write(self._h2.data_to_send())
            self._writer.write(struct.pack(">HBBBLLL", 0, 8, 7, 0, 0, self._last, 0))
        return True

    def _pump(self) -> None:
        """Send what the windows let through, a frame of each stream in turn."""
        is_moving = True
        while is_moving and self._answers:
            is_moving = False
            for stream_id, rest in list(self._answers.items()):
                size = min(
                    self._h2.local_flow_control_window(stream_id), self._h2.max_outbound_frame_size, len(rest)
                )
                if size <= 0:
                    continue
                is_moving = True
                rest = rest[size:] if size < len(rest) else memoryview(b"")
                self._h2.send_data(stream_id, self._answers[stream_id][:size], end_stream=not rest)
                if rest:
                    self._answers[stream_id] = rest
                else:
                    del self._answers[stream_id]
                self._writer.write(self._h2.data_to_send())


def _as_bytes(headers: Any) -> Iterator[tuple[bytes, bytes]]:
    for name, value in headers:
        yield (
            name if isinstance(name, bytes) else name.encode(),
            value if isinstance(value, bytes) else value.encode(),
        )


async def serve(cafile: Path, share: float) -> None:
    report = Report()
    faults = Faults(share, report)
    CA.cert_pem.write_to_path(str(cafile))

    def on(connection: type[HTTP11] | type[HTTP2]) -> Any:
        async def run(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await connection(reader, writer, faults, report).run()

        return run

    tls, tls_h2 = server_context(), server_context()
    tls_h2.set_alpn_protocols(["h2"])
    options: Any = {"host": "127.0.0.1", "port": 0, "limit": 256 * 1024, "backlog": 1024}
    servers = {
        "http11": await asyncio.start_server(on(HTTP11), **options),
        "tls": await asyncio.start_server(on(HTTP11), ssl=tls, **options),
        "http2": await asyncio.start_server(on(HTTP2), ssl=tls_h2, **options),
    }
    announce({name: server.sockets[0].getsockname()[1] for name, server in servers.items()})
    await wait_for_end()
    print(report.as_json(), flush=True)


if __name__ == "__main__":
    uvloop.run(serve(Path(sys.argv[1]), float(sys.argv[2])))
