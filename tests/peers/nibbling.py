"""A backend whose streams hand out what has arrived in pieces of the sizes that a test asks for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from httpcore._backends.auto import load

from ..colours import Colour


class NibblingBackend:
    """`first` bytes are received at once, then `rest` at a time; `first` counts from when it is set."""

    def __init__(self, colour: Colour, *, first: int = 0, rest: int = 65536) -> None:
        self._inner: Any = load("trio" if colour.is_trio else "asyncio" if colour.is_async else "sync")
        self.first = first
        self.rest = rest
        self.pieces = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    async def adopt(self, sock: Any) -> Any:
        return _Stream(self, await self._inner.adopt(sock))


class _Stream:
    def __init__(self, backend: NibblingBackend, inner: Any) -> None:
        self._backend = backend
        self._inner = inner
        self._held = b""
        self._position = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def try_receive(self, limit: int) -> Any:
        return self._nibble(limit, self._inner.try_receive)

    def _nibble(self, limit: int, take: Callable[[int], Any]) -> Any:
        if self._position == len(self._held):
            data = take(65536)
            if not data:
                return data
            self._held, self._position = data, 0
        backend = self._backend
        begin = self._position
        self._position = min(begin + min(limit, backend.first or backend.rest), len(self._held))
        backend.first = max(0, backend.first - (self._position - begin))
        backend.pieces += 1
        return self._held[begin : self._position]

    def receive(self, limit: int, deadline: float | None) -> Any:
        return self._nibble(limit, lambda size: self._inner.receive(size, deadline))

    def is_quiet(self) -> Any:
        return self._position == len(self._held) and self._inner.is_quiet()

    async def wait(self, readable: bool, writable: bool, deadline: float | None) -> Any:
        if readable and self._position < len(self._held):
            return True
        return await self._inner.wait(readable, writable, deadline)
