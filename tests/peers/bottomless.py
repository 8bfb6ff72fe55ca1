"""A backend whose streams deliver, and swallow, any number of bytes as fast as they are asked to.

Only the connection is real: no kernel carries what is sent and received.
"""

from __future__ import annotations

from typing import Any

from httpcore._backends.auto import load

from ..colours import Colour

PIECE = bytes(range(256)) * 256
"""What is received, again and again."""


class BottomlessBackend:
    """Once a stream has sent `after` bytes, it receives `head`, then `size` bytes of `PIECE`s, then `tail`."""

    def __init__(
        self, colour: Colour, *, head: bytes, size: int = 0, tail: bytes = b"", after: int = 1
    ) -> None:
        self._inner: Any = load("trio" if colour.is_trio else "asyncio" if colour.is_async else "sync")
        self.head = head
        self.size = size
        self.tail = tail
        self.after = after
        self.sent = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    async def adopt(self, sock: Any) -> Any:
        return _Stream(self, await self._inner.adopt(sock))


class _Stream:
    def __init__(self, backend: BottomlessBackend, inner: Any) -> None:
        self._backend = backend
        self._inner = inner
        self._head = self._tail = b""
        self._left = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def try_send(self, data: Any) -> int:
        backend = self._backend
        backend.sent += len(data)
        if backend.sent >= backend.after > backend.sent - len(data):
            self._head, self._left, self._tail = backend.head, backend.size, backend.tail
        return len(data)

    def try_receive(self, limit: int) -> Any:
        if self._head:
            data, self._head = self._head, b""
        elif self._left:
            data = PIECE if self._left >= len(PIECE) <= limit else PIECE[: min(limit, self._left)]
            self._left -= len(data)
        else:
            data, self._tail = self._tail, b""
        return data or self._inner.try_receive(limit)

    def receive(self, limit: int, deadline: float | None) -> Any:
        return self.try_receive(limit)

    def is_quiet(self) -> bool:
        return not (self._head or self._left or self._tail)

    async def wait(self, readable: bool, writable: bool, deadline: float | None) -> bool:
        return True
