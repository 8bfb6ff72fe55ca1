"""What an idle HTTP/1.1 connection costs in memory: ours against a bare program that holds the same sockets.

    python idle.py [COUNT]

opens COUNT connections (10,000 unless told), uses each twice, and prints KiB of resident memory for each.
"""

from __future__ import annotations

import asyncio
import gc
import resource
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpcore

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 13\r\n\r\nHello, world!"

ASK = b"GET / HTTP/1.1\r\nHost: h\r\n\r\n"

ADDRESSES = 8
"""Addresses of loopback that the connections are spread over: one has 28,000 ports to connect from."""

PROGRAMS = ("bare sync", "httpcore sync", "bare asyncio", "httpcore asyncio")


def resident() -> int:
    """KiB."""
    gc.collect()
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1])
    raise RuntimeError("The kernel does not tell VmRSS.")


def address(number: int) -> str:
    return f"127.0.0.{2 + number % ADDRESSES}"


# The server, in a process of its own.


class Answering(asyncio.Protocol):
    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.transport.write(ANSWER)


async def serve() -> None:
    server = await asyncio.get_running_loop().create_server(Answering, "0.0.0.0", 0, backlog=4096)
    print(server.sockets[0].getsockname()[1], flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)


# The clients. Each returns the KiB that its connections take, when all have been used twice.


def bare_sync(count: int, port: int) -> int:
    before = resident()
    kept = []
    for number in range(count):
        kept.append(socket.create_connection((address(number), port)))
    for _ in range(2):
        for sock in kept:
            sock.sendall(ASK)
            assert sock.recv(4096) == ANSWER
    return resident() - before


def httpcore_sync(count: int, port: int) -> int:
    with httpcore.SyncConnectionPool() as pool:
        use_sync(pool, address(0), port)
        before = resident()
        # Opened side by side: a response that is not read yet holds its connection.
        held = [start_sync(pool, address(number), port) for number in range(count)]
        for stream in held:
            assert b"".join(stream) == b"Hello, world!"
        del held, stream
        for number in range(count):
            use_sync(pool, address(number), port)
        assert pool.statistics()["idle"] >= count
        return resident() - before


def start_sync(pool: Any, host: str, port: int) -> Any:
    return pool.request(b"GET", (b"http", host.encode(), port, b"/"), [(b"Host", b"h")], None, ONE)[2]


def use_sync(pool: Any, host: str, port: int) -> None:
    assert b"".join(start_sync(pool, host, port)) == b"Hello, world!"


ONE: dict[str, object] = {"timeout": {"read": 60.0, "connect": 60.0}}


class Asking(asyncio.Protocol):
    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self.waiter: Any = None

    def data_received(self, data: bytes) -> None:
        self.waiter.set_result(data)


async def bare_asyncio(count: int, port: int) -> int:
    loop = asyncio.get_running_loop()
    before = resident()
    kept = []
    for number in range(count):
        kept.append((await loop.create_connection(Asking, address(number), port))[1])
    for _ in range(2):
        for protocol in kept:
            protocol.waiter = loop.create_future()
            protocol.transport.write(ASK)
            assert await protocol.waiter == ANSWER
            protocol.waiter = None
    grown = resident() - before
    for protocol in kept:
        protocol.transport.abort()
    return grown


async def httpcore_asyncio(count: int, port: int) -> int:
    async with httpcore.AsyncConnectionPool() as pool:

        async def start(number: int) -> Any:
            url = (b"http", address(number).encode(), port, b"/")
            return (await pool.arequest(b"GET", url, [(b"Host", b"h")], None, ONE))[2]

        async def read(stream: Any) -> None:
            assert b"".join([chunk async for chunk in stream]) == b"Hello, world!"

        await read(await start(0))
        before = resident()
        held = [await start(number) for number in range(count)]
        for stream in held:
            await read(stream)
        del held, stream
        for number in range(count):
            await read(await start(number))
        assert pool.statistics()["idle"] >= count
        return resident() - before


def measure(name: str, count: int, port: int) -> int:
    library, colour = name.split()
    if colour == "sync":
        return (bare_sync if library == "bare" else httpcore_sync)(count, port)
    return asyncio.run((bare_asyncio if library == "bare" else httpcore_asyncio)(count, port))


def main() -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    if sys.argv[1:] == ["serve"]:
        asyncio.run(serve())
        return
    if len(sys.argv) == 4:
        print(measure(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))
        return
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
    own = [sys.executable, __file__]
    with subprocess.Popen(
        [*own, "serve"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as server:
        assert server.stdout is not None
        port = server.stdout.readline().strip()
        for name in PROGRAMS:
            done = subprocess.run([*own, name, str(count), port], capture_output=True, text=True, check=True)
            print(f"{name}: {int(done.stdout) / count:.2f} KiB a connection, {count} of them")
        server.kill()


if __name__ == "__main__":
    main()
