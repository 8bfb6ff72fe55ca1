"""What is asyncio's alone: the loop that pushes."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable, Coroutine

import pytest
import uvloop

from httpcore._backends.asyncio import AsyncioBackend

RUNNERS: dict[str, Callable[[Coroutine[object, object, object]], object]] = {
    "asyncio": asyncio.run,
    "uvloop": uvloop.run,
}


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
