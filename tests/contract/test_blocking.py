"""The verb of a stream that holds up its thread while it waits, and who uses it."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from time import monotonic
from typing import Any

import pytest

import httpcore
from httpcore import ReadError, ReadTimeout
from httpcore._backends.base import BlockingStream, Stream, find_receive
from httpcore._blocking import run
from httpcore._protocols.tls import RECORD_SIZE

from ..colours import TIMEOUT, Colour, drive
from ..peers.scripted import Peer as ScriptedPeer
from ..peers.scripted import Server
from ..stopwatch import Stopwatch
from .conftest import Wire
from .wires import LAYERS, Peer, backend_of, connected, secure

BLOCKING = Colour("sync")


@contextmanager
def blocking_stream(layer: str) -> Iterator[tuple[BlockingStream, Peer]]:
    with connected() as (ours, peer):
        stream: Stream = drive(backend_of(BLOCKING).adopt(ours))
        try:
            if layer == "tls":
                stream = drive(secure(stream, peer))
            assert find_receive(stream) is not None
            yield stream, peer  # type: ignore[misc]
        finally:
            stream.abort()


blocking = pytest.mark.parametrize("layer", LAYERS)


def test_only_threads_are_held_up(wire: Wire) -> None:
    async def body(stream: Stream, peer: Peer, backend: object) -> None:
        assert (find_receive(stream) is None) == wire.colour.is_async

    wire.run(body)


@blocking
def test_what_is_here_is_received_before_what_comes(layer: str) -> None:
    with blocking_stream(layer) as (stream, peer):
        peer.send(b"abcdef")
        assert run(stream.wait(True, False, monotonic() + TIMEOUT))
        assert stream.receive(2, monotonic() + TIMEOUT) == b"ab"
        assert stream.receive(3, None) == b"cde"
        # Nothing more than that has arrived, and a passed deadline is no reason to leave it.
        assert stream.receive(3, monotonic() - 1) == b"f"
        assert stream.receive(3, monotonic() - 1) is None


@blocking
def test_it_waits_for_what_comes(layer: str) -> None:
    with blocking_stream(layer) as (stream, peer):
        received: list[bytes | None] = []
        # Over TLS the first arrives in pieces that are nothing yet.
        whole = bytes(range(256)) * (RECORD_SIZE // 256)

        def read() -> None:
            while sum(len(piece or b"") for piece in received) < len(whole):
                received.append(stream.receive(100_000, monotonic() + TIMEOUT))

        reader = threading.Thread(target=read)
        reader.start()
        while not stream_is_awaited(stream):
            pass
        peer.send(whole)
        reader.join()
        assert None not in received
        assert b"".join(piece or b"" for piece in received) == whole


def stream_is_awaited(stream: BlockingStream) -> bool:
    innermost: Any = getattr(stream, "_inner", stream)
    return bool(innermost._is_receiving)


@blocking
@pytest.mark.parametrize("seconds", [0.0, 0.05])
def test_its_deadline_passes(layer: str, seconds: float) -> None:
    with blocking_stream(layer) as (stream, _):
        deadline = monotonic() + seconds
        watch = Stopwatch()
        assert stream.receive(10, deadline) is None
        assert monotonic() >= deadline
        assert watch.taken < seconds + 0.25


@blocking
def test_the_end_and_afterwards(layer: str) -> None:
    with blocking_stream(layer) as (stream, peer):
        peer.send(b"last")
        peer.finish()
        assert stream.receive(10, monotonic() + TIMEOUT) == b"last"
        assert stream.receive(10, monotonic() + TIMEOUT) == b""
        assert stream.receive(10, None) == b""


@blocking
def test_a_connection_that_breaks(layer: str) -> None:
    with blocking_stream(layer) as (stream, peer):
        peer.reset()
        for _ in range(2):
            with pytest.raises(ReadError):
                stream.receive(10, monotonic() + TIMEOUT)


@blocking
def test_closed_by_another_thread(layer: str) -> None:
    with blocking_stream(layer) as (stream, _):

        def close() -> None:
            while not stream_is_awaited(stream):
                pass
            stream.abort()

        closer = threading.Thread(target=close)
        closer.start()
        with pytest.raises(ReadError, match="closed while it was being read"):
            stream.receive(10, None)
        closer.join()
        with pytest.raises(ReadError, match="closed while it was being read"):
            stream.receive(10, None)


def test_what_cannot_be_sent_is_waited_for_as_well() -> None:
    """An answer to the peer's own messages that stays behind for want of room is not forgotten over reading."""
    with blocking_stream("tls") as (stream, _):
        data = memoryview(bytes(1 << 20))
        while sent := stream.try_send(data):
            data = data[sent:]
        assert stream.get_extra_info("has_output")
        watch = Stopwatch()
        assert stream.receive(10, monotonic() + TIMEOUT) is None
        assert watch.taken < 1.0


def test_to_ask_for_an_iterator_is_not_to_wait() -> None:
    """`iter` gives what is here; only `next` waits."""

    def script(peer: ScriptedPeer) -> None:
        peer.recv_request()
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n")
        peer.server.hold()
        peer.send(b"late")
        peer.recv_to_end()

    with Server(script) as server, httpcore.SyncConnectionPool() as pool:
        _, _, stream, _ = pool.request(b"GET", server.url(), [(b"Host", b"example")])
        chunks = iter(stream)
        server.release.set()
        assert list(chunks) == [b"late"]


def test_each_piece_has_its_own_time() -> None:
    """The limit is for one wait, not for all of a body."""

    def script(peer: ScriptedPeer) -> None:
        peer.recv_request()
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\na")
        peer.server.hold()
        peer.send(b"b")
        peer.recv_to_end()

    with Server(script) as server, httpcore.SyncConnectionPool() as pool:
        ext = {"timeout": {"read": 0.1}}
        _, _, stream, _ = pool.request(b"GET", server.url(), [(b"Host", b"example")], None, ext)
        chunks = iter(stream)
        assert next(chunks) == b"a"
        server.release.set()
        assert next(chunks) == b"b"
        watch = Stopwatch()
        with pytest.raises(ReadTimeout, match=r"within 0\.1 s") as caught:
            next(chunks)
        assert 0.1 <= watch.taken < 0.35
        assert caught.value.request_sent
        assert pool.statistics()["connections"] == 0


def test_sockets_are_left_as_they_were() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        stream = drive(backend_of(BLOCKING).adopt(ours))
        assert stream.receive(10, monotonic() - 1) is None  # type: ignore[attr-defined]
        assert ours.gettimeout() == 0.0
        stream.abort()
