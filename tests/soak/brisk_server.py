"""A server whose answers cost as little as may be, in a process of its own: HTTP/1.1 and HTTP/2, plain and TLS.

    python -m tests.soak.brisk_server CAFILE

prints its ports on one line, and serves until its input ends. A request's path says what is to come:
`/NUMBER/SIZE/PACE`. The body of the request, and that of the answer, follow from the number; 0 is for who says that
nothing else is going on. What a client must not
send is kept, and told to who asks for `/violations`; on HTTP/2 every frame goes past the referee.
"""

from __future__ import annotations

import asyncio
import hashlib
import socket
import ssl
import sys
from pathlib import Path
from typing import cast

import uvloop

from ..peers.certificates import CA, server_context
from ..peers.http2 import frame, integer, literal, settings_payload
from ..peers.referee import PREFACE, Flag, Frame, Referee, Setting, Stream, Type, Violation
from .processes import announce, wait_for_end

LARGEST = 120_000
"""Bytes of the largest body."""

SPREAD = 65_537
"""How many different bodies there are of one size."""

AT_ONCE, LATE, IN_PIECES = b"0", b"1", b"2"
"""How an answer comes: all at once, that but late, or its second half late."""

LATENESS = 0.005
"""Seconds."""

STREAMS = 20
"""How many streams a client may have open at once."""

WINDOW = 8192
"""Bytes that may be on their way on one connection or stream: a larger upload has to wait."""

MOST_PIECES = 16_384
"""Bytes of DATA in a frame."""

_BLOCK = hashlib.shake_128(b"brisk").digest(SPREAD + LARGEST)


def body_of(number: int, size: int) -> bytes:
    """The body that goes with a number, either way."""
    start = number * 7919 % SPREAD
    return _BLOCK[start : start + size]


class Journal:
    """What clients did that they must not do."""

    def __init__(self) -> None:
        self.violations: list[str] = []

    def note(self, what: object) -> None:
        self.violations.append(str(what))
        # An exchange may fail of it before anybody asks.
        print(what, file=sys.stderr, flush=True)

    def see_upload(self, number: int, body: bytes) -> None:
        if body != body_of(number, len(body)):
            self.note(f"request {number} has a body that is not its own: {body[:40]!r}")


class HTTP11(asyncio.Protocol):
    """One connection that speaks HTTP/1.1."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._buffer = bytearray()
        self._transport: asyncio.Transport
        self._timer: asyncio.TimerHandle | None = None
        self._has_paused = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # Those of uvloop do not derive from it.
        self._transport = cast(asyncio.Transport, transport)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        if self._timer is not None:
            self._journal.note(f"sent before the answer is over: {bytes(self._buffer[:80])!r}")
            self._transport.abort()
            return
        try:
            self._serve()
        except ValueError as exc:
            self._journal.note(f"{exc!r}: {bytes(self._buffer[:80])!r}")
            self._transport.abort()

    def _serve(self) -> None:
        """Answer the request that is here, if it is whole. More than one never is."""
        buffer = self._buffer
        end = buffer.find(b"\r\n\r\n")
        if end < 0:
            return
        head = bytes(buffer[:end])
        method, target, _ = head[: head.index(b"\r\n")].split(b" ")
        start = head.find(b"Content-Length: ")
        length = int(head[start + 16 :].split(b"\r\n", 1)[0]) if start >= 0 else 0
        if len(buffer) < end + 4 + length:
            if length > WINDOW and not self._has_paused:
                self._pause()
            return
        if len(buffer) > end + 4 + length or method != (b"POST" if length else b"GET"):
            raise ValueError("this is not one request")
        body = bytes(buffer[end + 4 :])
        buffer.clear()
        self._has_paused = False
        if target == b"/violations":
            self._answer(b"", "\n".join(self._journal.violations).encode(), AT_ONCE, is_last=False)
            return
        _, number, size, pace = target.split(b"/")
        self._journal.see_upload(int(number), body)
        answer = body_of(int(number), int(size))
        self._answer(number, answer, pace, is_last=b"Connection: close" in head)

    def _pause(self) -> None:
        """Let a client wait in the middle of a large upload."""
        self._has_paused = True
        self._transport.pause_reading()
        self._timer = asyncio.get_running_loop().call_later(LATENESS, self._resume)

    def _resume(self) -> None:
        self._timer = None
        self._transport.resume_reading()

    def _answer(self, number: bytes, body: bytes, pace: bytes, *, is_last: bool) -> None:
        closing = b"Connection: close\r\n" if is_last else b""
        answer = b"HTTP/1.1 200 OK\r\nToken: %b\r\nContent-Length: %d\r\n%b\r\n%b" % (
            number,
            len(body),
            closing,
            body,
        )
        half = 0 if pace == LATE else len(answer) - len(body) // 2
        if pace == AT_ONCE or half == len(answer):
            self._send(answer, is_last)
            return
        if half:
            self._transport.write(answer[:half])
        later = asyncio.get_running_loop().call_later
        self._timer = later(LATENESS, self._send, answer[half:], is_last)

    def _send(self, data: bytes, is_last: bool) -> None:
        self._timer = None
        self._transport.write(data)
        if is_last:
            self._transport.close()


class HTTP2(asyncio.Protocol):
    """One connection that speaks HTTP/2, frame by frame.

    Each answer puts its number into the dynamic table, and repeats the one before from there, once by
    its index and once as it is: a client whose table is out of step says two different things.
    """

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._referee = Referee()
        self._buffer = bytearray()
        self._has_preface = False
        self._transport: asyncio.Transport
        self._last = b""
        """The number that entered the table last."""
        self._bodies: dict[int, tuple[Stream, memoryview]] = {}
        """What the windows have yet to let through."""
        self._timers: dict[int, asyncio.TimerHandle] = {}

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # Those of uvloop do not derive from it.
        self._transport = cast(asyncio.Transport, transport)
        settings: dict[int, int] = {
            Setting.MAX_CONCURRENT_STREAMS: STREAMS,
            Setting.INITIAL_WINDOW_SIZE: WINDOW,
        }
        self._referee.note_settings(settings)
        self._transport.write(frame(Type.SETTINGS, 0, 0, settings_payload(settings.items())))

    def connection_lost(self, exc: Exception | None) -> None:
        for timer in self._timers.values():
            timer.cancel()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        try:
            self._take_frames()
        except (Violation, ValueError) as exc:
            self._journal.note(exc)
            self._transport.abort()

    def _take_frames(self) -> None:
        buffer = self._buffer
        position = 0
        if not self._has_preface:
            if len(buffer) < len(PREFACE):
                return
            if not buffer.startswith(PREFACE):
                raise Violation(f"this is no preface: {bytes(buffer[:40])!r}")
            self._has_preface = True
            position = len(PREFACE)
        replies: list[bytes] = []
        while len(buffer) >= position + 9:
            end = position + 9 + int.from_bytes(buffer[position : position + 3], "big")
            if len(buffer) < end:
                break
            stream_id = int.from_bytes(buffer[position + 5 : position + 9], "big") & 0x7FFFFFFF
            payload = bytes(buffer[position + 9 : end])
            self._take(Frame(buffer[position + 3], buffer[position + 4], stream_id, payload), replies)
            position = end
        del buffer[:position]
        self._pump(replies)
        if replies:
            self._transport.write(b"".join(replies))

    def _take(self, taken: Frame, replies: list[bytes]) -> None:
        referee = self._referee
        referee.see(taken)
        kind = taken.type
        if kind == Type.SETTINGS and not taken.flags & Flag.ACK:
            replies.append(frame(Type.SETTINGS, Flag.ACK))
        elif kind == Type.PING and not taken.flags & Flag.ACK:
            replies.append(frame(Type.PING, Flag.ACK, 0, taken.payload))
        elif kind == Type.RST_STREAM:
            self._bodies.pop(taken.stream_id, None)
            timer = self._timers.pop(taken.stream_id, None)
            if timer is not None:
                timer.cancel()
        elif kind == Type.DATA and taken.payload:
            self._give_back(taken, replies)
        referee.opened.clear()
        if kind in (Type.DATA, Type.HEADERS) and taken.flags & Flag.END_STREAM:
            stream = referee.streams.get(taken.stream_id)
            if stream is not None:
                self._answer(stream, replies)

    def _give_back(self, taken: Frame, replies: list[bytes]) -> None:
        """The credit of what was uploaded."""
        size = len(taken.payload)
        referee = self._referee
        referee.note_credit(None, size)
        replies.append(frame(Type.WINDOW_UPDATE, 0, 0, size.to_bytes(4, "big")))
        stream = referee.streams.get(taken.stream_id)
        if stream is not None and not stream.is_ended and not stream.is_over:
            referee.note_credit(stream, size)
            replies.append(frame(Type.WINDOW_UPDATE, 0, stream.id, size.to_bytes(4, "big")))

    def _answer(self, stream: Stream, replies: list[bytes]) -> None:
        if stream.path.startswith(b"/0/"):
            self._see_quiet(stream)
        _, number, size, pace = stream.path.split(b"/")
        self._journal.see_upload(int(number), bytes(stream.body))
        body = body_of(int(number), int(size))
        if pace == LATE:
            later = asyncio.get_running_loop().call_later
            self._timers[stream.id] = later(LATENESS, self._answer_late, stream, number, body)
            return
        self._begin(stream, number, body, replies)
        if pace == IN_PIECES and body:
            later = asyncio.get_running_loop().call_later
            self._timers[stream.id] = later(LATENESS, self._send_late, stream, body)
        elif body:
            self._bodies[stream.id] = (stream, memoryview(body))

    def _see_quiet(self, asking: Stream) -> None:
        """Number 0 says that all others are over: then no stream is left, and nearly all credit is back."""
        referee = self._referee
        others = [known.id for known in referee.streams.values() if not known.is_over and known is not asking]
        if others:
            self._journal.note(f"streams are left open: {others}")
        if referee.window < referee.largest_window // 2:
            self._journal.note(f"credit is lost: {referee.window} of {referee.largest_window} bytes are left")

    def _begin(self, stream: Stream, number: bytes, body: bytes, replies: list[bytes]) -> None:
        """The head, which is all there is of an answer without a body."""
        # `:status: 200` has the index 8, the newest entry of the dynamic table 62 (RFC 7541 §2.3).
        block = b"\x88" + literal(b"content-length", b"%d" % len(body))
        if self._last:
            block += b"\xbe" + literal(b"before", self._last)
        block += b"\x40" + integer(5, 7) + b"token" + integer(len(number), 7) + number
        self._last = number
        if not body:
            self._referee.note_end(stream)
        replies.append(frame(Type.HEADERS, Flag.END_HEADERS | Flag.END_STREAM * (not body), stream.id, block))

    def _answer_late(self, stream: Stream, number: bytes, body: bytes) -> None:
        replies: list[bytes] = []
        self._begin(stream, number, body, replies)
        self._send_late(stream, body, replies)

    def _send_late(self, stream: Stream, body: bytes, replies: list[bytes] | None = None) -> None:
        replies = [] if replies is None else replies
        del self._timers[stream.id]
        if body:
            self._bodies[stream.id] = (stream, memoryview(body))
            self._pump(replies)
        self._transport.write(b"".join(replies))

    def _pump(self, replies: list[bytes]) -> None:
        """Send what the windows let through, a frame of each stream in turn."""
        referee = self._referee
        has_moved = True
        while has_moved and self._bodies:
            has_moved = False
            for stream, rest in list(self._bodies.values()):
                room = min(stream.window, referee.window, MOST_PIECES, len(rest))
                if room <= 0:
                    continue
                has_moved = True
                is_last = room == len(rest)
                referee.note_data(stream, room)
                replies.append(frame(Type.DATA, Flag.END_STREAM * is_last, stream.id, bytes(rest[:room])))
                if is_last:
                    del self._bodies[stream.id]
                    referee.note_end(stream)
                else:
                    self._bodies[stream.id] = (stream, rest[room:])


async def serve(cafile: Path) -> None:
    CA.cert_pem.write_to_path(str(cafile))
    journal = Journal()
    tls, tls_h2 = server_context(), server_context()
    tls_h2.set_alpn_protocols(["h2"])
    loop = asyncio.get_running_loop()
    servers, ports = {}, {}
    protocols: dict[str, tuple[type[HTTP11] | type[HTTP2], ssl.SSLContext | None]] = {
        "http11": (HTTP11, None),
        "tls": (HTTP11, tls),
        "http2": (HTTP2, tls_h2),
    }
    for name, (protocol, context) in protocols.items():

        def build(protocol: type[HTTP11] | type[HTTP2] = protocol) -> asyncio.Protocol:
            return protocol(journal)

        sock = socket.socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, WINDOW)
        sock.bind(("127.0.0.1", 0))
        servers[name] = await loop.create_server(build, sock=sock, ssl=context, backlog=1024)
        ports[name] = sock.getsockname()[1]
    announce(ports)
    await wait_for_end()


if __name__ == "__main__":
    uvloop.run(serve(Path(sys.argv[1])))
