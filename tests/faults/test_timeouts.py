"""Time: every limit fires, never early, and leaves a pool that works."""

from __future__ import annotations

import math
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

import httpcore

from ..colours import Colour
from ..peers.scripted import Peer, Server, first_then_serve
from ..stopwatch import Stopwatch
from .rows import row

pytestmark = pytest.mark.usefixtures("nothing_left")

LIMIT = 0.1
"""Seconds of the limits under test."""

LATE = 0.35
"""Seconds by which a limit may be late."""


async def _expect(colour: Colour, error: type[Exception], script: object, **limits: Any) -> Exception:
    """Meet `error` after the limit and not before it; then the next request gets its own answer."""
    with Server(first_then_serve(script)) as server:  # type: ignore[arg-type]
        async with colour.client(max_connections=1) as client:
            watch = Stopwatch()
            with pytest.raises(error) as caught:
                response = await client.send(server.url(), **limits)
                watch = Stopwatch()
                await response.read()
            assert watch.elapsed + 0.001 >= LIMIT
            assert watch.taken < LIMIT + LATE
            server.release.set()
            assert await client.get(server.url(b"/next")) == b"/next"
            return caught.value


@contextmanager
def many_signals() -> Iterator[list[int]]:
    """A signal every two milliseconds, for as long as the loop runs and no longer.

    A loop closes what signals wake it by when it ends, and one that a thread is just being told of may be too late.
    """
    signals: list[int] = []
    previous = signal.signal(signal.SIGALRM, lambda number, frame: signals.append(number))
    signal.setitimer(signal.ITIMER_REAL, 0.002, 0.002)
    try:
        yield signals
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)


def _hold_after(data: bytes) -> object:
    def script(peer: Peer) -> None:
        peer.recv_head()
        peer.send(data)
        peer.server.hold()

    return script


@row("TMO-01", "TMO-02", "TMO-03")
@pytest.mark.parametrize(
    "data", [b"", b"HTTP/1.1 200 OK\r\nContent-", b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n12345"]
)
def test_a_stall(colour: Colour, data: bytes) -> None:
    error = colour.run(lambda: _expect(colour, httpcore.ReadTimeout, _hold_after(data), read=LIMIT))
    assert "127.0.0.1" in str(error)
    assert "0.1 s" in str(error)


@row("TMO-04")
def test_slow_but_alive(colour: Colour) -> None:
    def script(peer: Peer) -> None:
        peer.recv_head()
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\n")
        for _ in range(8):
            threading.Event().wait(0.1)
            peer.send(b"x")

    async def main() -> None:
        with Server(first_then_serve(script)) as server:
            async with colour.client() as client:
                assert await client.get(server.url(), read=0.7) == b"x" * 8

    colour.run(main)


@row("TMO-06", "POOL-08")
def test_the_pool_timeout(colour: Colour) -> None:
    async def main() -> None:
        with Server(first_then_serve(_hold_after(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"))) as server:  # type: ignore[arg-type]
            async with colour.client(max_connections=1) as client:
                response = await client.send(server.url())
                watch = Stopwatch()
                with pytest.raises(httpcore.PoolTimeout) as caught:
                    await client.send(server.url(), pool=LIMIT)
                assert watch.elapsed + 0.001 >= LIMIT
                assert watch.taken < LIMIT + LATE
                assert not caught.value.request_sent
                assert client.pool.statistics()["waiting"] == 0
                await response.close()
                server.release.set()
                assert await client.get(server.url(b"/next")) == b"/next"

    colour.run(main)


def _serve_but_hold(peer: Peer) -> None:
    while head := peer.recv_head():
        if b"/hold" in head:
            peer.recv_to_end()
            return
        peer.answer(head.split(b" ")[1])


@row("TMO-07")
def test_odd_values(colour: Colour) -> None:
    async def main() -> None:
        with Server(_serve_but_hold) as server:
            async with colour.client() as client:
                for value in (None, math.inf, 1e12, 3):
                    limits = {"pool": value, "connect": value, "read": value, "write": value, "total": value}
                    assert await client.get(server.url(b"/a"), **limits) == b"/a"
                for value in (0, -1, 0.0):
                    with pytest.raises(httpcore.ReadTimeout):
                        await client.get(server.url(b"/hold"), read=value)
                with pytest.raises(ValueError, match="NaN"):
                    await client.get(server.url(), read=math.nan)
                with pytest.raises(TypeError):
                    await client.get(server.url(), read="1")
                assert await client.get(server.url(b"/next")) == b"/next"

    colour.run(main)


@row("TMO-08")
def test_the_wall_clock_does_not_matter(colour: Colour, monkeypatch: pytest.MonkeyPatch) -> None:
    import time

    monkeypatch.setattr(time, "time", lambda: 0.0)
    colour.run(lambda: _expect(colour, httpcore.ReadTimeout, _hold_after(b""), read=LIMIT))


@row("TMO-01")
def test_the_total(colour: Colour) -> None:
    error = colour.run(lambda: _expect(colour, httpcore.ReadTimeout, _hold_after(b""), total=LIMIT))
    assert f"within the total time of {LIMIT} s" in str(error)


def test_the_limit_that_ran_out_is_named(colour: Colour) -> None:
    """Not the one that would have been next."""

    async def main() -> None:
        async with colour.client(resolver=lambda host, port: threading.Event().wait(0.3)) as client:
            for connect, total, name in (
                (5.0, 0.05, "the total time of 0.05 s"),
                (0.05, 5.0, "0.05 s"),
            ):
                with pytest.raises(httpcore.ConnectTimeout, match=rf"took longer than {name}\.$"):
                    await client.get((b"http", b"slow.example", 80, b"/"), connect=connect, total=total)

    colour.run(main)


@row("TMO-11")
def test_a_limit_that_fires_as_the_answer_comes(colour: Colour) -> None:
    import threading

    def script(peer: Peer) -> None:
        while peer.recv_head():
            threading.Event().wait(0.005)
            peer.answer()

    async def main() -> None:
        with Server(script) as server:
            async with colour.client(max_connections=1) as client:
                outcomes = set()
                for i in range(60):
                    try:
                        outcomes.add(await client.get(server.url(), read=0.004 + i * 0.00005))
                    except httpcore.ReadTimeout:
                        outcomes.add(b"timeout")
                    assert len(await client.states()) <= 1
                assert outcomes <= {b"ok", b"timeout"}
                assert await client.get(server.url()) == b"ok"

    colour.run(main)


@row("TCP-13")
@pytest.mark.parametrize("data", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n12345"])
def test_signals_do_not_prolong_a_wait(colour: Colour, data: bytes) -> None:
    async def main() -> None:
        with many_signals() as signals:
            await _expect(colour, httpcore.ReadTimeout, _hold_after(data), read=LIMIT)
            assert len(signals) > 3

    colour.run(main)


@row("TCP-13", "TMO-05")
def test_signals_do_not_prolong_an_upload(colour: Colour) -> None:
    async def main() -> None:
        with many_signals(), Server(lambda peer: peer.server.hold()) as server:
            async with colour.client() as client:
                fields = [(b"Host", b"h"), (b"Content-Length", b"50000000")]
                stream = httpcore.PlainByteStream(b"x" * 50_000_000)
                watch = Stopwatch()
                with pytest.raises(httpcore.WriteTimeout):
                    await client.send(server.url(), b"POST", fields, stream, write=LIMIT)
                assert watch.elapsed + 0.001 >= LIMIT
                assert watch.taken < 2 * LIMIT + LATE

    colour.run(main)
