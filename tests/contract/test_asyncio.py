"""What is asyncio's alone: the loop that pushes."""

from __future__ import annotations

import asyncio
import socket
import struct
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager

import pytest
import uvloop

from httpcore import ReadError
from httpcore._backends.asyncio import AsyncioBackend
from httpcore._backends.asyncio_stream import AHEAD, BUFFER_SIZE, AsyncioStream, SelectorStream
from httpcore._backends.base import LARGE_SIZE, RECEIVE_SIZE

PIECE = RECEIVE_SIZE

RUNNERS: dict[str, Callable[[Coroutine[object, object, object]], object]] = {
    "asyncio": asyncio.run,
    "uvloop": uvloop.run,
}

BROUGHT = {"asyncio": PIECE, "uvloop": BUFFER_SIZE}
"""Bytes that the loop brings at once, at the most."""


@pytest.mark.parametrize("name", RUNNERS)
def test_loops_in_threads_share_no_buffer(name: str) -> None:
    size = 16 * 1024 * 1024
    received: dict[bytes, int] = {}

    def send(sock: socket.socket, letter: bytes) -> None:
        with sock:
            for _ in range(size // 65536):
                sock.sendall(letter * 65536)

    async def count(sock: socket.socket, letter: bytes) -> None:
        sock.setblocking(False)
        stream = await AsyncioBackend().adopt(sock)
        received[letter] = 0
        while (data := stream.try_receive(65536)) != b"":
            if data is None:
                await stream.wait(True, False, None)
            else:
                received[letter] += data.count(letter)
        stream.abort()

    threads = []
    for letter in (b"a", b"b"):
        ours, theirs = socket.socketpair()
        threads.append(threading.Thread(target=send, args=(theirs, letter)))
        threads.append(
            threading.Thread(target=lambda *args: RUNNERS[name](count(*args)), args=(ours, letter))
        )
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert received == {b"a": size, b"b": size}


@contextmanager
def roomy() -> Iterator[tuple[socket.socket, socket.socket]]:
    """Two ends of a TCP connection, of which ours takes much before anybody reads."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        ours = socket.socket()
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 * 1024 * 1024)
        ours.connect(listener.getsockname())
        theirs, _ = listener.accept()
    ours.setblocking(False)
    with ours, theirs:
        theirs.settimeout(10)
        yield ours, theirs


def receive_all(stream: AsyncioStream) -> bytes:
    """What is there without another turn of the loop."""
    pieces = []
    while data := stream.try_receive(PIECE):
        pieces.append(data)
    return b"".join(pieces)


@pytest.mark.parametrize("name", RUNNERS)
def test_no_piece_is_larger_than_the_allocator_has_at_hand(name: str) -> None:
    async def main() -> None:
        with roomy() as (ours, theirs):
            theirs.sendall(bytes(8 * PIECE))
            stream = await AsyncioBackend().adopt(ours)
            assert await stream.wait(True, False, None)
            assert stream.try_receive(8 * PIECE) == bytes(PIECE)
            stream.abort()

    RUNNERS[name](main())


@pytest.mark.parametrize("is_awaited", [False, True])
def test_what_asyncio_has_received_is_not_copied(is_awaited: bool) -> None:
    async def main() -> None:
        with roomy() as (ours, _):
            stream = await AsyncioBackend().adopt(ours)
            assert isinstance(stream, SelectorStream)
            waiting = stream.wait(True, False, None)
            if is_awaited:
                waiting.send(None)
            pieces = [bytes(PIECE), bytes(100), bytes(PIECE)]
            # All before the one who waits has its turn.
            for piece in pieces:
                stream.data_received(piece)
            for piece in pieces:
                assert stream.try_receive(PIECE) is piece
            waiting.close()
            stream.abort()

    asyncio.run(main())


class Headstrong(asyncio.Transport):
    """One that is told no size, and brings as much as it likes."""

    __slots__ = ("is_paused",)

    def __init__(self) -> None:
        self.is_paused = False

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        pass

    def pause_reading(self) -> None:
        self.is_paused = True

    def is_closing(self) -> bool:
        return True

    def abort(self) -> None:
        pass


@pytest.mark.parametrize("is_awaited", [False, True])
def test_a_piece_of_any_size_is_received(is_awaited: bool) -> None:
    content = b"".join(struct.pack("I", number) for number in range(PIECE))

    async def main() -> None:
        with roomy() as (ours, _):
            stream = SelectorStream(asyncio.get_running_loop(), ours)
            transport = Headstrong()
            stream.connection_made(transport)
            waiting = stream.wait(True, False, None)
            if is_awaited:
                waiting.send(None)
            stream.data_received(content)
            assert transport.is_paused
            pieces = [stream.try_receive(PIECE) for _ in range(4)]
            assert b"".join(filter(None, pieces)) == content
            waiting.close()
            stream.abort()

    asyncio.run(main())


@pytest.mark.parametrize("name", RUNNERS)
def test_much_that_is_here_is_received_without_the_loop_and_in_order(name: str) -> None:
    ahead = AHEAD * PIECE
    first = BROUGHT[name] + ahead
    content = b"".join(struct.pack("I", number) for number in range(2 * first // 4))

    async def main() -> None:
        with roomy() as (ours, theirs):
            # More than is received at once, and less than the kernel holds.
            theirs.sendall(content[:first])
            stream = await AsyncioBackend().adopt(ours)
            assert await stream.wait(True, False, None)
            received = receive_all(stream)
            # uvloop fills its buffer as often as it can before others have their turn.
            assert received == content[:first] or name == "uvloop"
            # From here on the loop is asked again, for what was there before, too.
            theirs.sendall(content[first:])
            while len(received) < len(content):
                assert await stream.wait(True, False, None)
                received += receive_all(stream)
            assert received == content
            stream.abort()

    RUNNERS[name](main())


@pytest.mark.parametrize("name", RUNNERS)
@pytest.mark.parametrize("size", [LARGE_SIZE - 1, LARGE_SIZE])
def test_more_is_looked_for_after_a_large_piece_only(name: str, size: int) -> None:
    async def main() -> None:
        with roomy() as (ours, theirs):
            stream = await AsyncioBackend().adopt(ours)
            theirs.sendall(bytes(size))
            assert await stream.wait(True, False, None)
            theirs.sendall(b"more")
            assert stream.try_receive(PIECE) == bytes(size)
            assert stream.try_receive(PIECE) == (b"more" if size == LARGE_SIZE else None)
            stream.abort()

    RUNNERS[name](main())


def test_the_loop_has_its_turn_again_however_much_is_here() -> None:
    async def main() -> None:
        with roomy() as (ours, theirs):
            stream = await AsyncioBackend().adopt(ours)
            theirs.sendall(bytes((1 + AHEAD + 1) * PIECE))
            assert await stream.wait(True, False, None)
            assert len(receive_all(stream)) == (1 + AHEAD) * PIECE
            assert await stream.wait(True, False, None)
            assert len(receive_all(stream)) == PIECE
            stream.abort()

    asyncio.run(main())


def test_an_end_that_is_received_without_the_loop() -> None:
    async def main() -> None:
        with roomy() as (ours, theirs):
            stream = await AsyncioBackend().adopt(ours)
            theirs.sendall(bytes(PIECE))
            theirs.shutdown(socket.SHUT_WR)
            assert await stream.wait(True, False, None)
            assert len(receive_all(stream)) == PIECE
            for _ in range(3):
                assert stream.try_receive(PIECE) == b""
                assert await stream.wait(True, False, None)
                await asyncio.sleep(0)
            stream.abort()

    asyncio.run(main())


def test_an_error_that_is_received_without_the_loop_is_never_taken_for_an_end() -> None:
    async def main() -> None:
        with roomy() as (ours, theirs):
            stream = await AsyncioBackend().adopt(ours)
            theirs.sendall(bytes(PIECE))
            assert await stream.wait(True, False, None)
            theirs.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            theirs.close()
            assert stream.try_receive(PIECE) == bytes(PIECE)
            for _ in range(5):
                with pytest.raises(ReadError):
                    stream.try_receive(PIECE)
                assert await stream.wait(True, False, None)
                # The kernel shows an end to the loop now.
                await asyncio.sleep(0)
            stream.abort()

    asyncio.run(main())
