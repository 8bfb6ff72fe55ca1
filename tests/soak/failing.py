"""Very many exchanges that fail, each in the same way: nothing is left of them.

    python -m tests.soak.failing [--count N] [--backends …] [--kinds …] [--seconds N] [--state FILE]

Several fail at once. Descriptors, threads and tasks have to be what they were after the first tenth, and the memory
has to stay. What is done is kept in the state file, and not done again.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import os
import tempfile
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import trio

import httpcore

from ..colours import NAMES, Client, Colour
from ..peers.certificates import client_context
from .interruption import Metronome, Moment, interrupt
from .processes import ServerProcess, start_server

AT_ONCE = 16
"""Exchanges at a time, other than in sync."""

ROOM = 3 * 2**20
"""Bytes by which the memory may have grown: the allocator's own coming and going."""

SLOW = 0.001
"""Seconds after which an answer that never comes is given up."""

Failing = Callable[[Client, ServerProcess], Awaitable[object]]


@dataclass(frozen=True)
class Kind:
    """One way to fail: the error, and what meets it."""

    error: type[BaseException] | None
    fail: Failing
    options: dict[str, Any]
    only_async: bool = False
    is_full: bool = False
    """Whether the pool's one connection is held meanwhile."""


def _url(server: ServerProcess, target: bytes = b"/", port: str = "plain", scheme: bytes = b"http") -> Any:
    return (scheme, b"127.0.0.1", server.ports[port], target)


def _get(target: bytes = b"/", port: str = "plain", scheme: bytes = b"http", **limits: Any) -> Failing:
    async def fail(client: Client, server: ServerProcess) -> None:
        await (await client.send(_url(server, target, port, scheme), **limits)).read()

    return fail


async def _refused(client: Client, server: ServerProcess) -> None:
    await client.send((b"http", b"127.0.0.1", 1, b"/"))


async def _nowhere(client: Client, server: ServerProcess) -> None:
    await client.send((b"http", b"nowhere.example", 80, b"/"))


class _BadBody:
    """A piece, and then an error, which is not kept: it would keep the frames that it came through."""

    def __init__(self) -> None:
        self._has_begun = False

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        if self._has_begun:
            raise KeyError("the body's own")
        self._has_begun = True
        return b"abc"

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        return next(self)


async def _bad_body(client: Client, server: ServerProcess) -> None:
    fields = [(b"Host", b"h"), (b"Transfer-Encoding", b"chunked")]
    await client.send(_url(server, b"/hold"), b"POST", fields, _BadBody())


async def _bad_field(client: Client, server: ServerProcess) -> None:
    await client.send(_url(server), headers=[(b"Host", b"h"), (b"A", b"b\r\n")])


async def _cancelled(client: Client, server: ServerProcess) -> None:
    async def exchange() -> None:
        await client.send(_url(server, b"/hold"))

    # The first wait for a place or a connection, the second for that or for the head.
    assert (await interrupt(client.colour, exchange(), Moment(2), Metronome())).phase


async def _closed_early(client: Client, server: ServerProcess) -> None:
    await (await client.send(_url(server, b"/hold-body"))).close()


PRIOR_KNOWLEDGE = {"http1": False, "http2": True}

KINDS = {
    "refused": Kind(httpcore.ConnectError, _refused, {}),
    "nowhere": Kind(httpcore.ConnectError, _nowhere, {"resolver": lambda host, port: []}),
    "distrusted": Kind(httpcore.ConnectError, _get(b"/", "tls", b"https"), {"ssl_context": client_context()}),
    "no-tls": Kind(httpcore.ConnectError, _get(b"/", "plain", b"https"), {"ssl_context": client_context()}),
    "junk": Kind(httpcore.RemoteProtocolError, _get(b"/junk"), {}),
    "cut": Kind(httpcore.RemoteProtocolError, _get(b"/cut"), {}),
    "reset": Kind(httpcore.ReadError, _get(b"/reset"), {}),
    "late": Kind(httpcore.ReadTimeout, _get(b"/hold", read=SLOW), {}),
    "no-place": Kind(httpcore.PoolTimeout, _get(pool=SLOW), {"max_connections": 1}, is_full=True),
    "bad-body": Kind(KeyError, _bad_body, {}),
    "bad-field": Kind(httpcore.LocalProtocolError, _bad_field, {}),
    "no-tunnel": Kind(httpcore.ProxyError, _get(b"/"), {"proxy_mode": "TUNNEL_ONLY"}),
    "closed-early": Kind(None, _closed_early, {}),
    "http2-reset": Kind(httpcore.RemoteProtocolError, _get(b"/", "http2-reset"), PRIOR_KNOWLEDGE),
    "http2-goaway": Kind(httpcore.RemoteProtocolError, _get(b"/", "http2-goaway"), PRIOR_KNOWLEDGE),
    "http2-junk": Kind(httpcore.RemoteProtocolError, _get(b"/", "http2-junk"), PRIOR_KNOWLEDGE),
    "cancelled": Kind(None, _cancelled, {}, only_async=True),
}


@dataclass(frozen=True)
class Look:
    """What a process holds at one moment."""

    descriptors: int
    threads: int
    tasks: int
    memory: int


async def run(colour: Colour, kind: Kind, server: ServerProcess, count: int) -> list[Look]:
    """Fail `count` times; what there was after each tenth of them."""
    async with open_client(colour, kind, server) as client, held_if_full(client, kind, server):
        looks = []
        for _ in range(10):
            await fail(client, kind, server, count // 10)
            figures = client.pool.statistics()
            assert figures["active"] == kind.is_full, figures
            assert figures["connecting"] == figures["waiting"] == 0, figures
            looks.append(await _look(colour))
    return looks


def open_client(colour: Colour, kind: Kind, server: ServerProcess) -> Client:
    options = {"max_connections": AT_ONCE, **kind.options}
    if "proxy_mode" in options:
        return colour.proxy(_url(server), **options)
    return colour.client(**options)


@asynccontextmanager
async def held_if_full(client: Client, kind: Kind, server: ServerProcess) -> AsyncIterator[None]:
    """A response holds the pool's one connection meanwhile, for a kind that wants that."""
    held = await client.send(_url(server, b"/hold-body")) if kind.is_full else None
    yield
    if held is not None:
        await held.close()
    assert client.pool.statistics()["active"] == 0


async def fail(client: Client, kind: Kind, server: ServerProcess, count: int) -> None:
    """Fail `count` times, several at once."""
    errors = () if kind.error is None else kind.error

    async def work() -> None:
        nonlocal count
        while count > 0:
            count -= 1
            try:
                await kind.fail(client, server)
            except errors:
                continue
            assert kind.error is None, f"no {kind.error} was raised"

    if client.colour.is_async:
        await client.colour.gather(*[work] * AT_ONCE)
    else:
        await work()


def judge(looks: list[Look]) -> int:
    """Hold the last look against the first; return by how many bytes the memory has grown."""
    first, last = looks[0], looks[-1]
    assert (last.descriptors, last.threads, last.tasks) == (first.descriptors, first.threads, first.tasks)
    # How much garbage there was at its worst differs from one look to the next; what stays does not go away.
    begin, end = (min(look.memory for look in part) for part in (looks[:3], looks[-3:]))
    assert end - begin < ROOM, looks
    return end - begin


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


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.soak.failing")
    parser.add_argument("--count", type=int, default=100_000, help="for each backend and kind")
    parser.add_argument("--backends", nargs="*", default=list(NAMES), choices=NAMES)
    parser.add_argument("--kinds", nargs="*", default=list(KINDS), choices=list(KINDS))
    parser.add_argument("--seconds", type=float, default=float("inf"), help="begin nothing after these")
    parser.add_argument("--state", type=Path, default=Path(".failing.json"))
    options = parser.parse_args()
    state: dict[str, str] = json.loads(options.state.read_text()) if options.state.exists() else {}
    end = time.monotonic() + options.seconds
    with tempfile.TemporaryDirectory() as directory, start_server("wrong_server", Path(directory)) as server:
        for name, kind in [(name, kind) for name in options.backends for kind in options.kinds]:
            colour = Colour(name)
            is_needless = KINDS[kind].only_async and not colour.is_async
            if f"{name}, {kind}" in state or is_needless or time.monotonic() > end:
                continue
            begin = time.monotonic()
            grown = judge(colour.run(run, colour, KINDS[kind], server, options.count)) / 1024
            state[f"{name}, {kind}"] = (
                f"{options.count:,} in {time.monotonic() - begin:.0f} s, {grown:+.0f} KiB"
            )
            options.state.write_text(json.dumps(state, indent=1))
    for what, found in state.items():
        print(f"{what}: {found}")


if __name__ == "__main__":
    main()
