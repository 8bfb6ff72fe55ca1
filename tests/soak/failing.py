"""Very many exchanges that fail, each in the same way: nothing is left of them.

    python -m tests.soak.failing [--count N] [--backends …] [--kinds …]

Descriptors, threads and tasks have to be what they were after the first tenth, and the memory has to stay.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gc
import os
import socket
import ssl
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest
import trio
import trustme

import httpcore

from ..colours import NAMES, Client, Colour
from ..faults.cancelling import cancel_at
from ..peers.certificates import client_context

ROOM = 3 * 2**20
"""Bytes by which the memory may differ between two looks: the allocator's own coming and going."""

SLOW = 0.002
"""Seconds after which an answer that never comes is given up."""

Url = tuple[bytes, bytes, int, bytes]

KINDS: dict[str, Kind]


@dataclass(frozen=True)
class Kind:
    """One way to fail: the error, and what meets it."""

    error: type[BaseException] | None
    fail: Callable[[Client, Ports], Awaitable[object]]
    options: dict[str, Any]
    only_async: bool = False


@dataclass(frozen=True)
class Ports:
    """Where the process listens that does everything wrong."""

    plain: int
    tls: int

    def url(self, target: bytes) -> Url:
        return (b"http", b"127.0.0.1", self.plain, target)

    @property
    def tls_url(self) -> Url:
        return (b"https", b"127.0.0.1", self.tls, b"/")


def _get(target: bytes, **limits: Any) -> Callable[[Client, Ports], Awaitable[object]]:
    async def fail(client: Client, ports: Ports) -> None:
        await (await client.send(ports.url(target), **limits)).read()

    return fail


async def _refused(client: Client, ports: Ports) -> None:
    await client.send((b"http", b"127.0.0.1", 1, b"/"))


async def _nowhere(client: Client, ports: Ports) -> None:
    await client.send((b"http", b"nowhere.example", 80, b"/"))


async def _distrusted(client: Client, ports: Ports) -> None:
    await client.send(ports.tls_url)


async def _no_tls(client: Client, ports: Ports) -> None:
    await client.send((b"https", *ports.url(b"/")[1:]))


async def _no_place(client: Client, ports: Ports) -> None:
    response = await client.send(ports.url(b"/hold-body"))
    try:
        await client.send(ports.url(b"/"), pool=SLOW)
    finally:
        await response.close()


async def _bad_body(client: Client, ports: Ports) -> None:
    fields = [(b"Host", b"h"), (b"Transfer-Encoding", b"chunked")]
    stream = client.colour.stream([b"abc", KeyError("the body's own")])
    await client.send(ports.url(b"/hold"), b"POST", fields, stream)


async def _bad_field(client: Client, ports: Ports) -> None:
    await client.send(ports.url(b"/"), headers=[(b"Host", b"h"), (b"A", b"b\r\n")])


async def _cancelled(client: Client, ports: Ports) -> None:
    assert await cancel_at(client.colour, lambda: client.send(ports.url(b"/hold")), 2)


async def _closed_early(client: Client, ports: Ports) -> None:
    await (await client.send(ports.url(b"/hold-body"))).close()


KINDS = {
    "refused": Kind(httpcore.ConnectError, _refused, {}),
    "nowhere": Kind(httpcore.ConnectError, _nowhere, {"resolver": lambda host, port: []}),
    "distrusted": Kind(httpcore.ConnectError, _distrusted, {"ssl_context": client_context()}),
    "no-tls": Kind(httpcore.ConnectError, _no_tls, {"ssl_context": client_context()}),
    "junk": Kind(httpcore.RemoteProtocolError, _get(b"/junk"), {}),
    "cut": Kind(httpcore.RemoteProtocolError, _get(b"/cut"), {}),
    "reset": Kind(httpcore.ReadError, _get(b"/reset"), {}),
    "late": Kind(httpcore.ReadTimeout, _get(b"/hold", read=SLOW), {}),
    "no-place": Kind(httpcore.PoolTimeout, _no_place, {}),
    "bad-body": Kind(KeyError, _bad_body, {}),
    "bad-field": Kind(httpcore.LocalProtocolError, _bad_field, {}),
    "no-tunnel": Kind(httpcore.ProxyError, _get(b"/"), {"proxy_mode": "TUNNEL_ONLY"}),
    "closed-early": Kind(None, _closed_early, {}),
    "cancelled": Kind(None, _cancelled, {}, only_async=True),
}


@dataclass(frozen=True)
class Look:
    """What a process holds at one moment."""

    descriptors: int
    threads: int
    tasks: int
    memory: int


async def run(colour: Colour, kind: Kind, ports: Ports, count: int) -> tuple[Look, Look]:
    """Fail `count` times; what there was after a tenth of them, and at the end."""
    options = {"max_connections": 1, **kind.options}
    is_proxied = "proxy_mode" in options
    proxy = (b"http", b"127.0.0.1", ports.plain, b"/")
    client = colour.proxy(proxy, **options) if is_proxied else colour.client(**options)
    async with client:
        looks = []
        for part in (count - count * 9 // 10, count * 9 // 10):
            for _ in range(part):
                with pytest.raises(kind.error) if kind.error else contextlib.nullcontext():
                    await kind.fail(client, ports)
            figures = client.pool.statistics()
            assert figures["connections"] == figures["waiting"] == 0, figures
            looks.append(await _look(colour))
    return looks[0], looks[1]


def judge(first: Look, last: Look) -> None:
    assert (last.descriptors, last.threads, last.tasks) == (first.descriptors, first.threads, first.tasks)
    assert last.memory - first.memory < ROOM, (first, last)


async def _look(colour: Colour) -> Look:
    # What the loop, or a thread that answered, has yet to close.
    deadline = time.monotonic() + 5.0
    while threading.active_count() > 1 and time.monotonic() < deadline:
        await colour.pause()
    for _ in range(3):
        await colour.pause()
    gc.collect()
    tasks = 0
    if colour.is_trio:
        tasks = trio.lowlevel.current_statistics().tasks_living
    elif colour.is_async:
        tasks = len(asyncio.all_tasks())
    return Look(len(os.listdir("/proc/self/fd")), threading.active_count(), tasks, _memory())


def _memory() -> int:
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


# The other process.


@contextmanager
def start_peer() -> Iterator[Ports]:
    command = [sys.executable, "-m", "tests.soak.failing", "--serve"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            plain, tls = process.stdout.readline().split()
            yield Ports(int(plain), int(tls))
        finally:
            # The end of its input is the end of it.
            process.communicate()


async def _serve() -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(context)
    servers = [await asyncio.start_server(_misbehave, "127.0.0.1", 0, ssl=given) for given in (None, context)]
    print(*(server.sockets[0].getsockname()[1] for server in servers), flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)


async def _misbehave(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        # A head, or a greeting of TLS.
        method, target, *_ = [*(await reader.read(65536)).split(b" "), b""]
        if method == b"CONNECT":
            writer.write(b"HTTP/1.1 502 No\r\n\r\n")
        elif target == b"/junk":
            writer.write(b"junk\r\n\r\n")
        elif not method.isalpha():
            writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        elif target == b"/cut":
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n12345")
        elif target == b"/hold-body":
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n")
            await reader.read()
        elif target == b"/hold":
            await reader.read()
        elif target == b"/reset":
            sock = writer.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    except OSError:
        pass
    finally:
        writer.close()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.soak.failing")
    parser.add_argument("--serve", action="store_true", help="be the other process")
    parser.add_argument("--count", type=int, default=100_000, help="for each backend and kind")
    parser.add_argument("--backends", nargs="*", default=list(NAMES), choices=NAMES)
    parser.add_argument("--kinds", nargs="*", default=list(KINDS), choices=list(KINDS))
    options = parser.parse_args()
    if options.serve:
        asyncio.run(_serve())
        return
    with start_peer() as ports:
        for name in options.backends:
            colour = Colour(name)
            for kind in options.kinds:
                if colour.is_async or not KINDS[kind].only_async:
                    begin = time.monotonic()
                    first, last = colour.run(run, colour, KINDS[kind], ports, options.count)
                    judge(first, last)
                    grown = (last.memory - first.memory) / 1024
                    print(f"{name}, {kind}: {time.monotonic() - begin:.0f} s, {grown:+.0f} KiB", flush=True)


if __name__ == "__main__":
    main()
