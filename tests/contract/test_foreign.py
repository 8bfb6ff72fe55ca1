"""A backend object of a caller's own: no socket, no loop, one exchange over memory."""

from __future__ import annotations

import socket
from collections.abc import Callable, Coroutine, Sequence
from time import monotonic
from typing import Any

import pytest

import httpcore
from httpcore._backends.base import Connecting, Parker, Stream
from httpcore._types import Buffer, SocketOption

from ..colours import drive

URL = (b"http", b"memory.example", 8080, b"/")
HEADERS = [(b"Host", b"memory.example")]


class MemoryStream:
    """A stream to a peer that answers what is sent once it has all of `request`."""

    def __init__(self, request: bytes, answer: bytes) -> None:
        self._missing = request
        self._answer = answer
        self.is_closed = False

    def try_send(self, data: Buffer) -> int:
        # Never all of it at once.
        taken = bytes(data[:7])
        assert self._missing.startswith(taken)
        self._missing = self._missing[len(taken) :]
        return len(taken)

    def try_receive(self, limit: int) -> bytes | None:
        if self._missing:
            return None
        data, self._answer = self._answer[:5], self._answer[5:]
        return data

    async def wait(self, readable: bool, writable: bool, deadline: float | None) -> bool:
        # What is in memory need not be waited for; what is not there will never come.
        return writable or not self._missing

    def listen(self, deadline: float | None) -> Coroutine[object, object, bool]:
        return self.wait(True, False, deadline)

    def abort(self) -> None:
        self.is_closed = True

    def watch(self, callback: Callable[[], None] | None) -> bool:
        return False

    def call_soon(self, callback: Callable[[], None], *, foreign: bool = False) -> bool:
        return False

    def nudge(self) -> bool:
        return False

    def is_quiet(self) -> bool:
        return not self.is_closed

    def has_news(self) -> bool:
        return False

    def get_extra_info(self, name: str) -> object:
        return None


class MemoryBackend:
    """As little of a backend as HTTP/1.1 needs."""

    def __init__(self, *streams: Stream | Exception) -> None:
        self._streams = list(streams)
        self.asked: list[tuple[str, int, object]] = []

    def current_loop(self) -> object:
        return None

    def create_parker(self) -> Parker:
        raise AssertionError("Nobody else is there to wait for.")

    async def sleep(self, seconds: float) -> None:
        pass

    async def checkpoint(self) -> None:
        pass

    def call_at(self, when: float, callback: Callable[[], None]) -> Callable[[], None] | None:
        return None

    async def connect(
        self,
        host: str,
        port: int,
        *,
        uds: str | bytes | None,
        local_address: str | None,
        socket_options: Sequence[SocketOption],
        deadline: float | None,
    ) -> Stream:
        assert deadline is None or deadline > monotonic()
        self.asked.append((host, port, uds))
        stream = self._streams.pop(0)
        if isinstance(stream, Exception):
            raise stream
        return stream


def serve(*, answer: bytes = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello") -> MemoryStream:
    return MemoryStream(b"GET / HTTP/1.1\r\nHost: memory.example\r\n\r\n", answer)


@pytest.fixture(autouse=True)
def _no_sockets(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a socket")

    monkeypatch.setattr(socket, "socket", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


def test_it_connects() -> None:
    assert isinstance(MemoryBackend(), Connecting)


def test_a_sync_exchange() -> None:
    stream = serve()
    backend: Any = MemoryBackend(stream)
    with httpcore.SyncConnectionPool(backend=backend, uds="path") as pool:
        status, _, body, _ = pool.request(b"GET", URL, HEADERS, ext={"timeout": {"connect": 5.0}})
        assert (status, b"".join(body)) == (200, b"hello")
        assert pool.get_connection_info() == {"http://memory.example:8080": ["HTTP/1.1, IDLE"]}
    assert backend.asked == [("memory.example", 8080, "path")]
    assert stream.is_closed


def test_an_async_exchange_without_a_loop() -> None:
    stream = serve(answer=b"HTTP/1.1 200 OK\r\n\r\nuntil the end")
    backend: Any = MemoryBackend(stream)

    async def main() -> None:
        async with httpcore.AsyncConnectionPool(backend=backend) as pool:
            status, _, body, _ = await pool.arequest(b"GET", URL, HEADERS)
            assert (status, b"".join([chunk async for chunk in body])) == (200, b"until the end")

    drive(main())
    assert backend.asked == [("memory.example", 8080, None)]
    assert stream.is_closed


def test_its_errors_pass_and_are_retried() -> None:
    error = httpcore.ConnectError("The memory is full.")
    backend: Any = MemoryBackend(error, serve(), KeyError("of its own"))
    with httpcore.SyncConnectionPool(backend=backend, retries=1, max_keepalive_connections=0) as pool:
        assert b"".join(pool.request(b"GET", URL, HEADERS)[2]) == b"hello"
        with pytest.raises(KeyError, match="of its own"):
            pool.request(b"GET", URL, HEADERS)
        assert pool.get_connection_info() == {}


def test_its_connections_are_traced() -> None:
    names: list[str] = []
    backend: Any = MemoryBackend(serve())
    with httpcore.SyncConnectionPool(backend=backend) as pool:
        answer = pool.request(b"GET", URL, HEADERS, ext={"trace": lambda name, info: names.append(name)})
        answer[2].close()
    assert [name for name in names if name.startswith("connection.")] == [
        "connection.connect_tcp.started",
        "connection.connect_tcp.complete",
    ]
