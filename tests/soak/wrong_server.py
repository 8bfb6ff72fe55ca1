"""A server that does everything wrong, in a process of its own.

    python -m tests.soak.wrong_server CAFILE

prints its ports on one line, and serves until its input ends. Over HTTP/1.1 the path says what goes wrong; over
HTTP/2, with prior knowledge, it is the port. The certificate is by an authority that nobody trusts.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import struct
from functools import partial
from typing import Any, cast

import trustme
import uvloop

from ..peers.http2 import frame
from ..peers.referee import PREFACE, Code, Flag, Type
from .processes import announce, wait_for_end

HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n"

LAST_WORDS = {
    b"/junk": b"junk\r\n\r\n",
    b"/cut": HEAD + b"12345",
    b"/reset": b"",
}
"""Path → what is sent before the end."""


class HTTP11(asyncio.Protocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        # A head, or a greeting of TLS.
        method, target, *_ = [*data.split(b" ", 2), b""]
        if method == b"CONNECT":
            self._end(b"HTTP/1.1 502 No\r\n\r\n")
        elif target in LAST_WORDS:
            self._end(LAST_WORDS[target], is_reset=target == b"/reset")
        elif target == b"/hold-body":
            self._transport.write(HEAD)
        elif not method.isalpha() and method:
            self._end(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    def _end(self, data: bytes, *, is_reset: bool = False) -> None:
        self._transport.write(data)
        if is_reset:
            sock = self._transport.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._transport.close()


class HTTP2(asyncio.Protocol):
    """Does one thing to each request: `reset` its stream, say `goaway` to it, or answer what no frame may be."""

    def __init__(self, wrong: str) -> None:
        self._wrong = wrong
        self._buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._transport.write(frame(Type.SETTINGS))

    def data_received(self, data: bytes) -> None:
        buffer = self._buffer + data
        position = len(PREFACE) if buffer.startswith(PREFACE) else 0
        while len(buffer) >= position + 9:
            end = position + 9 + int.from_bytes(buffer[position : position + 3], "big")
            if len(buffer) < end:
                break
            kind, flags = buffer[position + 3], buffer[position + 4]
            if kind == Type.HEADERS:
                self._disappoint(int.from_bytes(buffer[position + 5 : position + 9], "big"))
            elif kind == Type.SETTINGS and not flags & Flag.ACK:
                self._transport.write(frame(Type.SETTINGS, Flag.ACK))
            position = end
        self._buffer = buffer[position:]

    def _disappoint(self, stream_id: int) -> None:
        if self._wrong == "reset":
            self._transport.write(
                frame(Type.RST_STREAM, 0, stream_id, int(Code.INTERNAL_ERROR).to_bytes(4, "big"))
            )
            return
        if self._wrong == "goaway":
            self._transport.write(frame(Type.GOAWAY, 0, 0, bytes(8)))
        else:
            self._transport.write(frame(Type.DATA, 0, 0, b"nowhere"))
        self._transport.close()


async def serve() -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(context)
    listeners: dict[str, tuple[Any, ssl.SSLContext | None]] = {
        "plain": (HTTP11, None),
        "tls": (HTTP11, context),
        **{f"http2-{wrong}": (partial(HTTP2, wrong), None) for wrong in ("reset", "goaway", "junk")},
    }
    ports = {}
    for name, (build, given) in listeners.items():
        server = await asyncio.get_running_loop().create_server(
            build, "127.0.0.1", 0, ssl=given, backlog=1024
        )
        ports[name] = server.sockets[0].getsockname()[1]
    announce(ports)
    await wait_for_end()


if __name__ == "__main__":
    uvloop.run(serve())
