"""Byte streams: the bodies of requests and responses."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator


class SyncByteStream:
    """The interface of a body that is read in a thread."""

    __slots__ = ()

    def __iter__(self) -> Iterator[bytes]:
        return iter((b"",))

    def close(self) -> None:
        """Say that nobody reads on. The base class has nothing to close."""


class AsyncByteStream:
    """The interface of a body that is read in a task."""

    __slots__ = ()

    def __aiter__(self) -> AsyncIterator[bytes]:
        return _Once(b"")

    async def aclose(self) -> None:
        """Say that nobody reads on. The base class has nothing to close."""


class PlainByteStream(AsyncByteStream, SyncByteStream):
    """A body of plain bytes, for either colour; it can be iterated again and again.

    `content` is sent without being copied.
    """

    def __init__(self, content: bytes) -> None:
        if not isinstance(content, (bytes, bytearray, memoryview)):
            raise TypeError(f"The content of a PlainByteStream must be bytes, not {type(content).__name__}.")
        self._content = content

    def __iter__(self) -> Iterator[bytes]:
        return iter((self._content,))

    def __aiter__(self) -> AsyncIterator[bytes]:
        return _Once(self._content)


class IteratorByteStream(SyncByteStream):
    """A body from a byte iterator; `close_func` is called when the stream is closed."""

    def __init__(self, iterator: Iterator[bytes], close_func: Callable[[], None] | None = None) -> None:
        self._iterator = iterator
        self._close_func = close_func

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._iterator)

    def close(self) -> None:
        if self._close_func is not None:
            self._close_func()


class AsyncIteratorByteStream(AsyncByteStream):
    """A body from an async byte iterator; `aclose_func` is awaited when the stream is closed."""

    def __init__(
        self, aiterator: AsyncIterator[bytes], aclose_func: Callable[[], Awaitable[None]] | None = None
    ) -> None:
        self._aiterator = aiterator
        self._aclose_func = aclose_func

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self._aiterator.__aiter__()

    async def aclose(self) -> None:
        if self._aclose_func is not None:
            await self._aclose_func()


class _Once:
    """An async iterator over one chunk."""

    def __init__(self, chunk: bytes) -> None:
        self._chunk: bytes | None = chunk

    def __aiter__(self) -> _Once:
        return self

    async def __anext__(self) -> bytes:
        chunk, self._chunk = self._chunk, None
        if chunk is None:
            raise StopAsyncIteration
        return chunk
