"""The blocking stream: what it asks of the kernel, and how its timeouts are kept."""

from __future__ import annotations

import gc
import os
import socket
import threading
from collections.abc import Iterator
from time import monotonic

import pytest

from httpcore import ReadError
from httpcore._backends import sync
from httpcore._backends.sync import SyncStream, create_receiver
from httpcore._blocking import run

from ..stopwatch import Stopwatch


@pytest.fixture
def peers() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair()
    with theirs, ours:
        yield ours, theirs


def test_one_limit_is_set_once(
    peers: tuple[socket.socket, socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    timeouts: list[float] = []

    class Receiver(socket.socket):
        def settimeout(self, value: float | None) -> None:
            assert value is not None
            timeouts.append(value)
            super().settimeout(value)

    ours, theirs = peers
    monkeypatch.setattr(
        sync, "create_receiver", lambda sock: Receiver(sock.family, sock.type, fileno=sock.fileno())
    )
    stream = SyncStream(ours)
    for _ in range(100):
        theirs.send(b"x")
        assert run(stream.wait(True, False, monotonic() + 30.0))
        assert stream.try_receive(10) == b"x"
    assert timeouts == [30.0]
    stream.abort()


@pytest.mark.parametrize("seconds", [0.001, 0.02, 0.1, 0.13])
def test_a_timeout_is_never_early(peers: tuple[socket.socket, socket.socket], seconds: float) -> None:
    stream = SyncStream(peers[0])
    for earlier in (30.0, 0.05, None):
        peers[1].send(b"x")
        assert run(stream.wait(True, False, None if earlier is None else monotonic() + earlier))
        stream.try_receive(10)
        deadline = monotonic() + seconds
        watch = Stopwatch()
        assert not run(stream.wait(True, False, deadline))
        assert monotonic() >= deadline
        assert watch.taken < seconds + 0.25
    stream.abort()


@pytest.mark.parametrize("ending", ["bytes", "end", "abort"])
def test_a_look(peers: tuple[socket.socket, socket.socket], ending: str) -> None:
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


def test_what_a_wait_received_is_no_quiet(peers: tuple[socket.socket, socket.socket]) -> None:
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


def test_the_descriptor_is_closed_once(peers: tuple[socket.socket, socket.socket]) -> None:
    stream = SyncStream(peers[0])
    stream.abort()
    # Whoever gets the number next keeps it.
    with socket.socket() as other:
        stream.abort()
        del stream
        gc.collect()
        assert other.getsockname()


def test_the_last_one_out_closes(peers: tuple[socket.socket, socket.socket]) -> None:
    """Several may wait for room while one reads; the first who leaves must not take the descriptor away."""
    ours, _ = peers
    stream = SyncStream(ours)
    while stream.try_send(b"x" * 65536):
        pass
    errors: list[BaseException] = []

    def read() -> None:
        try:
            while run(stream.wait(True, False, monotonic() + 30.0)):
                stream.try_receive(1)
        except ReadError as exc:
            errors.append(exc)

    def write(seconds: float) -> None:
        run(stream.wait(False, True, monotonic() + seconds))

    threads = [
        threading.Thread(target=read),
        threading.Thread(target=write, args=(30.0,)),
        threading.Thread(target=write, args=(0.01,)),
    ]
    for thread in threads:
        thread.start()
    while not stream._is_receiving:
        pass
    threads[2].join()
    begin = monotonic()
    stream.abort()
    for thread in threads:
        thread.join()
    assert monotonic() - begin < 10.0
    assert len(errors) == 1
    assert ours.fileno() == -1


@pytest.mark.filterwarnings("error")
def test_a_stream_that_is_dropped_closes_once(peers: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = peers
    number = ours.fileno()
    stream = SyncStream(ours)
    closed: list[int] = []

    class Noting(socket.socket):
        def detach(self) -> int:
            closed.append(number)
            return super().detach()

    receiver = stream._receiver
    stream._receiver = Noting(receiver.family, receiver.type, fileno=receiver.detach())
    del stream
    assert closed == [number]
    assert ours.fileno() == -1
    assert theirs.recv(1) == b""


def test_a_second_object_for_a_descriptor_leaves_it_open() -> None:
    with socket.socket() as sock:
        receiver: socket.socket | None = create_receiver(sock)
        assert receiver is not None
        assert receiver.fileno() == sock.fileno()
        receiver = None
        gc.collect()
        os.fstat(sock.fileno())
