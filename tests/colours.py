"""One test body for every colour: sync, asyncio, uvloop, trio, and anyio on both.

A test is an `async def` that talks to a `Client`. In sync it is driven by the thread itself, since none of
its awaits suspends then. Only the libraries of a colour are imported for it: many tests are programs of their own.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from functools import partial
from typing import Any, TypeVar

import httpcore

T = TypeVar("T")

TIMEOUT = 10.0
"""Seconds after which a test that should not have waited is given up."""

NAMES = ("sync", "asyncio", "uvloop", "trio", "anyio-asyncio", "anyio-trio")

ASYNC_NAMES = NAMES[1:]


class Colour:
    def __init__(self, name: str) -> None:
        self.name = name
        self.is_async = name != "sync"

    @property
    def is_trio(self) -> bool:
        return self.name.endswith("trio")

    def run(self, function: Callable[..., Awaitable[T]], *arguments: object) -> T:
        """Run an async test body to its end."""
        if self.name == "sync":
            return drive(function(*arguments))
        if self.name == "trio":
            import trio

            return trio.run(function, *arguments)
        if self.name.startswith("anyio-"):
            import anyio

            body = function if self.is_trio else partial(_await, function)
            return anyio.run(body, *arguments, backend=self.name.removeprefix("anyio-"))
        if self.name == "uvloop":
            import uvloop

            return uvloop.run(_await(function, *arguments))
        return asyncio.run(_await(function, *arguments))

    def client(self, **options: Any) -> Client:
        """A client on a fresh pool of this colour."""
        if not self.is_async:
            return Client(self, httpcore.SyncConnectionPool(**options))
        backend = "anyio" if self.name.startswith("anyio-") else "auto"
        return Client(self, httpcore.AsyncConnectionPool(**{"backend": backend, **options}))

    def proxy(self, url: tuple[bytes, bytes, int | None, bytes], **options: Any) -> Client:
        """A client on a fresh pool that goes through a proxy."""
        if not self.is_async:
            return Client(self, httpcore.SyncHTTPProxy(url, **options))
        backend = "anyio" if self.name.startswith("anyio-") else "auto"
        return Client(self, httpcore.AsyncHTTPProxy(url, **{"backend": backend, **options}))

    def stream(self, chunks: Sequence[bytes | Exception], closed: list[bool] | None = None) -> Any:
        """A request body of this colour that yields the chunks, raising those that are exceptions."""

        def note() -> None:
            if closed is not None:
                closed.append(True)

        async def anote() -> None:
            note()

        if self.is_async:
            return httpcore.AsyncIteratorByteStream(_AsyncChunks(chunks), aclose_func=anote)
        return httpcore.IteratorByteStream(_iterate(chunks), close_func=note)

    async def pause(self) -> None:
        """Let others run."""
        if self.is_trio:
            import trio

            await trio.sleep(0.001)
        elif self.is_async:
            await asyncio.sleep(0.001)
        else:
            threading.Event().wait(0.001)

    async def gather(self, *functions: Callable[[], Awaitable[object]]) -> None:
        """Run the functions beside one another, in tasks or in threads; the first error is raised."""
        if self.name == "sync":
            _run_threads(functions)
        elif self.is_trio:
            import trio

            async with trio.open_nursery() as nursery:
                for function in functions:
                    nursery.start_soon(function)
        else:
            await asyncio.gather(*(function() for function in functions))


class Client:
    """A pool behind one face for both colours."""

    def __init__(self, colour: Colour, pool: Any) -> None:
        self.colour = colour
        self.pool = pool

    async def __aenter__(self) -> Client:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def send(
        self,
        url: tuple[bytes, bytes, int | None, bytes],
        method: bytes = b"GET",
        headers: Sequence[tuple[bytes, bytes]] | None = None,
        stream: Any = None,
        *,
        trace: Any = None,
        **timeouts: Any,
    ) -> Response:
        """Send a request, with a Host header if none are given; return the response, its body unread."""
        fields = list(headers) if headers is not None else [(b"Host", url[1])]
        limits: dict[str, Any] = {
            "connect": TIMEOUT,
            "read": TIMEOUT,
            "write": TIMEOUT,
            "pool": TIMEOUT,
            **timeouts,
        }
        ext = {"timeout": limits} if trace is None else {"timeout": limits, "trace": trace}
        if self.colour.is_async:
            answer = await self.pool.arequest(method, url, fields, stream, ext)
        else:
            answer = self.pool.request(method, url, fields, stream, ext)
        return Response(self.colour, *answer)

    async def get(self, url: tuple[bytes, bytes, int | None, bytes], **timeouts: Any) -> bytes:
        """The body of a GET that has to succeed."""
        response = await self.send(url, **timeouts)
        assert response.status == 200
        return await response.read()

    async def info(self) -> dict[str, list[str]]:
        info = self.pool.get_connection_info()
        result: dict[str, list[str]] = await info if self.colour.is_async else info
        return result

    async def states(self) -> list[str]:
        """The summaries of all connections."""
        return [state for states in (await self.info()).values() for state in states]

    async def preconnect(self, url: tuple[bytes, bytes, int | None, bytes], count: int = 1) -> None:
        if self.colour.is_async:
            await self.pool.preconnect(url, count)
        else:
            self.pool.preconnect(url, count)

    async def close(self, drain: float | None = None) -> None:
        if self.colour.is_async:
            await self.pool.aclose(drain)
        else:
            self.pool.close(drain)


class Response:
    def __init__(
        self, colour: Colour, status: int, headers: Any, stream: Any, ext: dict[str, object]
    ) -> None:
        self.colour = colour
        self.status: int = status
        self.headers: list[tuple[bytes, bytes]] = headers
        self.stream = stream
        self.ext = ext

    async def chunks(self) -> list[bytes]:
        if self.colour.is_async:
            return [chunk async for chunk in self.stream]
        return list(self.stream)

    async def read(self) -> bytes:
        return b"".join(await self.chunks())

    def reader(self) -> Reader:
        """What reads chunk by chunk."""
        return Reader(self)

    async def first(self) -> bytes:
        """The first chunk, leaving the rest."""
        return await self.reader().next()

    async def close(self) -> None:
        if self.colour.is_async:
            await self.stream.aclose()
        else:
            self.stream.close()


class Reader:
    """The one iterator over a response's body, for either colour."""

    def __init__(self, response: Response) -> None:
        self._is_async = response.colour.is_async
        self._iterator: Any = response.stream.__aiter__() if self._is_async else iter(response.stream)

    async def next(self) -> bytes:
        """The next chunk; `b""` at the end."""
        try:
            chunk: bytes = await self._iterator.__anext__() if self._is_async else next(self._iterator)
        except (StopIteration, StopAsyncIteration):
            return b""
        return chunk


def drive(awaitable: Awaitable[T]) -> T:
    """The result of what never suspends."""
    iterator = awaitable.__await__()
    try:
        next(iterator)
    except StopIteration as stop:
        result: T = stop.value
        return result
    raise AssertionError("a sync test suspended")


async def _await(function: Callable[..., Awaitable[T]], *arguments: object) -> T:
    """Await a test body that has to leave no task behind. (trio sees to that by itself.)"""
    result = await function(*arguments)
    assert asyncio.all_tasks() == {asyncio.current_task()}
    return result


def _run_threads(functions: Sequence[Callable[[], Awaitable[object]]]) -> None:
    errors: list[BaseException] = []

    def run(function: Callable[[], Awaitable[object]]) -> None:
        try:
            drive(function())
        except BaseException as exc:
            errors.append(exc)

    threads = [threading.Thread(target=run, args=(function,)) for function in functions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(3 * TIMEOUT)
        assert not thread.is_alive()
    if errors:
        raise errors[0]


def _iterate(chunks: Sequence[bytes | Exception]) -> Iterator[bytes]:
    for chunk in chunks:
        if isinstance(chunk, Exception):
            raise chunk
        yield chunk


class _AsyncChunks:
    """Not a generator: those are finalised by their loop, which is another thing to go wrong."""

    def __init__(self, chunks: Sequence[bytes | Exception]) -> None:
        self._chunks = iter(chunks)

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        chunk = next(self._chunks, None)
        if chunk is None:
            raise StopAsyncIteration
        if isinstance(chunk, Exception):
            raise chunk
        return chunk
