"""The sketch: the least that a pool in plain Python can do.

Idle connections by origin under a lock, a look at the one that is taken, a limit on time, the head put together and
taken apart, and the answer that our interface gives. It checks nothing, opens nothing, sends nothing twice, closes
nothing, and expects each response in one piece. What a client that does all this takes beyond it, it takes for that.
Sync and async are written out beside one another: what they could share would be a call more.
"""

from __future__ import annotations

import asyncio
import select
import socket
import threading

CHUNK = 65536


class SketchPool:
    def __init__(self, origin: tuple, connections: list) -> None:
        self.lock = threading.Lock()
        self.idle = {origin: connections}

    def request(self, method, url, headers, stream, ext):
        scheme, host, port, path = url
        origin = (scheme, host, port)
        with self.lock:
            connection = self.idle[origin].pop()
        assert not connection.look(0)
        lines = [b"%s %s HTTP/1.1\r\n" % (method, path)]
        for name, value in headers:
            lines.append(b"%s: %s\r\n" % (name, value))
        lines.append(b"\r\n")
        connection.sock.send(b"".join(lines))
        return self.answer(connection.waiting.recv(CHUNK), connection, origin)

    async def arequest(self, method, url, headers, stream, ext):
        scheme, host, port, path = url
        origin = (scheme, host, port)
        with self.lock:
            connection = self.idle[origin].pop()
        assert not connection.look(0)
        lines = [b"%s %s HTTP/1.1\r\n" % (method, path)]
        for name, value in headers:
            lines.append(b"%s: %s\r\n" % (name, value))
        lines.append(b"\r\n")
        data = await connection.exchange(b"".join(lines), ext["timeout"].get("read"))
        return self.answer(data, connection, origin)

    def answer(self, data: bytes, connection, origin: tuple):
        head, _, content = data.partition(b"\r\n\r\n")
        lines = head.split(b"\r\n")
        _version, status, reason = lines[0].split(b" ", 2)
        fields = []
        length = 0
        for line in lines[1:]:
            name, _, value = line.partition(b":")
            value = value.strip()
            fields.append((name, value))
            if name.lower() == b"content-length":
                length = int(value)
        assert len(content) == length
        body = SketchBody(self, connection, origin, content)
        return int(status), fields, body, {"http_version": "HTTP/1.1", "reason": reason}


class SketchBody:
    """The body of a response, in its only piece; with that the connection goes back."""

    __slots__ = ("connection", "content", "origin", "pool")

    def __init__(self, pool: SketchPool, connection, origin: tuple, content: bytes) -> None:
        self.pool, self.connection, self.origin, self.content = pool, connection, origin, content

    def __iter__(self):
        return self

    def __next__(self) -> bytes:
        if content := self.content:
            self.content = b""
            with self.pool.lock:
                self.pool.idle[self.origin].append(self.connection)
            return content
        raise StopIteration

    def __aiter__(self):
        return self

    async def __anext__(self) -> bytes:
        if content := self.content:
            self.content = b""
            with self.pool.lock:
                self.pool.idle[self.origin].append(self.connection)
            return content
        raise StopAsyncIteration


class SketchSocket:
    """Two objects for one socket: the one that waits has a timeout."""

    __slots__ = ("look", "sock", "waiting")

    def __init__(self, sock: socket.socket, timeout: float) -> None:
        self.sock = sock
        self.waiting = sock.dup()
        self.waiting.settimeout(timeout)
        self.look = create_look(sock)


class SketchProtocol(asyncio.Protocol):
    """A connection of asyncio, which hears by itself that the peer has closed."""

    future: asyncio.Future
    has_ended = False

    def connection_made(self, transport) -> None:
        self.transport = transport
        self.loop = asyncio.get_running_loop()

    def connection_lost(self, exc: Exception | None) -> None:
        self.has_ended = True

    def data_received(self, data: bytes) -> None:
        self.future.set_result(data)

    def look(self, milliseconds: int) -> bool:
        return self.has_ended

    async def exchange(self, data: bytes, timeout: float) -> bytes:
        self.future = self.loop.create_future()
        timer = self.loop.call_later(timeout, self.future.cancel)
        self.transport.write(data)
        answer = await self.future
        timer.cancel()
        return answer


class SketchTrioSocket:
    __slots__ = ("look", "sock")

    def __init__(self, sock) -> None:
        self.sock = sock
        self.look = create_look(sock)

    async def exchange(self, data: bytes, timeout: float) -> bytes:
        import trio

        with trio.fail_after(timeout):
            await self.sock.send(data)
            return await self.sock.recv(CHUNK)


def create_look(sock):
    poller = select.poll()
    poller.register(sock, select.POLLIN)
    return poller.poll
