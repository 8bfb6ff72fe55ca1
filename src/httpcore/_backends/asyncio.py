"""asyncio; uvloop runs it unchanged. How its streams work is said in `asyncio_stream`."""

from __future__ import annotations

import asyncio
import socket
import sys
from collections.abc import Awaitable, Callable, Sequence
from time import monotonic
from typing import TypeVar

from .asyncio_stream import AsyncioStream, create_stream, running_loop

T = TypeVar("T")


class AsyncioParker:
    __slots__ = ("_deadline", "_future", "_is_unparked", "_loop", "_timer")

    # Set where there is a deadline.
    _deadline: float
    _timer: asyncio.TimerHandle

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._future: asyncio.Future[bool] | None = None
        self._is_unparked = False

    def park(self, deadline: float | None) -> Awaitable[bool]:
        future = self._future = self._loop.create_future()
        if self._is_unparked:
            future.set_result(True)
        if deadline is None or self._is_unparked:
            # No coroutine round it: on HTTP/2 there is one for each request in flight.
            return future
        return self._park_until(deadline, future)

    async def _park_until(self, deadline: float, future: asyncio.Future[bool]) -> bool:
        seconds = deadline - monotonic()
        if seconds <= 0:
            return self._is_unparked
        self._deadline = deadline
        self._timer = self._loop.call_later(seconds, self._expire)
        try:
            return await future
        finally:
            self._timer.cancel()

    def unpark(self, *, foreign: bool = False) -> None:
        self._is_unparked = True
        future = self._future
        if future is None:
            return
        if not foreign and running_loop() is self._loop:
            if not future.done():
                future.set_result(True)
            return
        try:
            self._loop.call_soon_threadsafe(self._wake)
        except RuntimeError:
            # The loop is closed, and nobody sleeps in it any more.
            pass

    def _wake(self) -> None:
        if self._future is not None and not self._future.done():
            self._future.set_result(True)

    def _expire(self) -> None:
        left = self._deadline - monotonic()
        if left > 0:
            # A loop may count whole milliseconds, and round down.
            self._timer = self._loop.call_later(left, self._expire)
        elif self._future is not None and not self._future.done():
            self._future.set_result(self._is_unparked)


class AsyncioBackend:
    def current_loop(self) -> object:
        return asyncio.get_running_loop()

    def create_parker(self) -> AsyncioParker:
        return AsyncioParker(asyncio.get_running_loop())

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    async def checkpoint(self) -> None:
        await asyncio.sleep(0)

    async def wait_writable(
        self, sockets: Sequence[socket.socket], deadline: float | None
    ) -> Sequence[socket.socket]:
        loop = asyncio.get_running_loop()
        parker = AsyncioParker(loop)
        # By number: a selector that does not know a socket yet puts all its addresses into an error message.
        numbers = {sock.fileno(): sock for sock in sockets}
        ready: list[socket.socket] = []

        def notice(number: int) -> None:
            ready.append(numbers[number])
            loop.remove_writer(number)
            parker.unpark()

        try:
            for number in numbers:
                loop.add_writer(number, notice, number)
            await parker.park(deadline)
        finally:
            for number in numbers:
                loop.remove_writer(number)
        return ready

    async def adopt(self, sock: socket.socket) -> AsyncioStream:
        loop = asyncio.get_running_loop()
        stream = create_stream(loop, sock)
        try:
            await loop.create_connection(lambda: stream, sock=sock)
            return stream
        except BaseException:
            stream.abort()
            sock.close()
            raise

    async def within(self, awaitable: Awaitable[T], deadline: float | None) -> T:
        if deadline is None:
            return await awaitable
        seconds = max(0.0, deadline - monotonic())
        if sys.version_info >= (3, 11):
            try:
                async with asyncio.timeout(seconds) as scope:
                    return await awaitable
            except TimeoutError as exc:
                if not scope.expired():
                    # Its own.
                    raise
                raise TimeoutError("Foreign code took too long.") from exc
        try:
            return await asyncio.wait_for(awaitable, seconds)
        except asyncio.TimeoutError as exc:
            raise TimeoutError("Foreign code took too long.") from exc

    def call_at(self, when: float, callback: Callable[[], None]) -> Callable[[], None] | None:
        loop = running_loop()
        # A finaliser may run outside any loop.
        return None if loop is None else loop.call_later(max(0.0, when - monotonic()), callback).cancel
