"""The blocking stream: what it asks of the kernel, and how its timeouts are kept."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from time import monotonic

import pytest

from httpcore._backends.sync import SyncStream
from httpcore._blocking import run


class CountingSocket(socket.socket):
    options = 0

    def setsockopt(self, *arguments: object) -> None:
        self.options += 1
        super().setsockopt(*arguments)  # type: ignore[call-overload]


@pytest.fixture
def peers() -> Iterator[tuple[CountingSocket, socket.socket]]:
    ours, theirs = socket.socketpair()
    with theirs, CountingSocket(fileno=ours.detach()) as counting:
        yield counting, theirs


def test_one_limit_costs_one_option(peers: tuple[CountingSocket, socket.socket]) -> None:
    ours, theirs = peers
    stream = SyncStream(ours)
    for _ in range(100):
        theirs.send(b"x")
        assert run(stream.wait(True, False, monotonic() + 30.0))
        assert stream.try_receive(10) == b"x"
    assert ours.options == 1
    stream.abort()


@pytest.mark.parametrize("seconds", [0.001, 0.02, 0.1, 0.13])
def test_a_timeout_is_never_early(peers: tuple[CountingSocket, socket.socket], seconds: float) -> None:
    stream = SyncStream(peers[0])
    for earlier in (30.0, 0.05, None):
        peers[1].send(b"x")
        assert run(stream.wait(True, False, None if earlier is None else monotonic() + earlier))
        stream.try_receive(10)
        deadline = monotonic() + seconds
        assert not run(stream.wait(True, False, deadline))
        assert 0.0 <= monotonic() - deadline < 0.25
    stream.abort()


@pytest.mark.parametrize("ending", ["bytes", "end", "abort"])
def test_a_look(peers: tuple[CountingSocket, socket.socket], ending: str) -> None:
    ours, theirs = peers
    stream = SyncStream(ours)
    assert stream.is_quiet()
    if ending == "bytes":
        theirs.send(b"x")
    elif ending == "end":
        theirs.shutdown(socket.SHUT_WR)
    else:
        stream.abort()
    assert not stream.is_quiet()
    stream.abort()


def test_what_a_wait_received_is_no_quiet(peers: tuple[CountingSocket, socket.socket]) -> None:
    ours, theirs = peers
    stream = SyncStream(ours)
    theirs.send(b"xy")
    assert run(stream.wait(True, False, None))
    assert not stream.is_quiet()
    assert stream.try_receive(1) == b"x"
    assert not stream.is_quiet()
    assert stream.try_receive(1) == b"y"
    assert stream.is_quiet()
    stream.abort()
