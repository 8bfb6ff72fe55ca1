"""Streams to a peer that does as it is told: plain TCP, and TLS over it."""

from __future__ import annotations

import socket
import ssl
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from time import monotonic
from typing import Any

from httpcore import ReadError
from httpcore._backends.auto import load, running_backend
from httpcore._backends.base import Backend, Stream

from ..colours import TIMEOUT, Colour
from ..peers.certificates import client_context, server_context

LAYERS = ("plain", "tls")

_SERVER_CONTEXT = server_context("peer")


class Peer:
    """The other end, which blocks; over TLS its ciphertext goes by way of the `socket` as well."""

    def __init__(self, sock: socket.socket) -> None:
        self.socket = sock
        self._plain = sock
        self._wire: Any = sock
        sock.settimeout(TIMEOUT)

    def shake_hands(self) -> None:
        self._wire = _SERVER_CONTEXT.wrap_socket(
            self.socket, server_side=True, do_handshake_on_connect=False, suppress_ragged_eofs=False
        )
        self.socket = self._wire
        self._wire.do_handshake()

    def send(self, data: bytes) -> None:
        self._wire.sendall(data)

    def receive(self, size: int) -> bytes:
        """`size` bytes, or what there is until the end."""
        data = bytearray()
        while len(data) < size and (piece := self._wire.recv(min(65536, size - len(data)))):
            data += piece
        return bytes(data)

    def finish(self) -> None:
        """Say no more, but go on listening."""
        if self._wire is not self._plain:
            # A `close_notify` that waits for none in return, which `unwrap` would.
            self._wire.settimeout(0.0)
            try:
                self._wire._sslobj.shutdown()
            except ssl.SSLError:
                pass
            self._wire.settimeout(TIMEOUT)
        # Not that of `SSLSocket`, which ends the reading, too.
        socket.socket.shutdown(self.socket, socket.SHUT_WR)

    def reset(self) -> None:
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()

    def is_left(self) -> bool:
        """Whether the other side has closed, waiting for it to do so."""
        try:
            while self.socket.recv(65536):
                pass
        except ssl.SSLEOFError:
            return True
        except ConnectionError:
            return True
        return True

    def close(self) -> None:
        self.socket.close()


@contextmanager
def connected() -> Iterator[tuple[socket.socket, Peer]]:
    """Two ends of a TCP connection over loopback, ours non-blocking."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        # Small, so that they are soon full.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 32768)
        ours = socket.create_connection(listener.getsockname())
        theirs, _ = listener.accept()
    ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 32768)
    ours.setblocking(False)
    peer = Peer(theirs)
    try:
        yield ours, peer
    finally:
        peer.close()
        ours.close()


def backend_of(colour: Colour) -> Backend:
    """Inside a running test body."""
    return running_backend() if colour.is_async else load("sync")


async def secure(stream: Stream, peer: Peer) -> Stream:
    """Our side of TLS over `stream`, to a peer that shakes hands in a thread."""
    from httpcore._connections.contexts import create_engine
    from httpcore._connections.tls import TLSStream

    engine = create_engine(client_context(), "peer", alpn=None, session=None)
    tls = TLSStream(stream, engine, peer="peer", keep_session=lambda session: None)
    thread = threading.Thread(target=peer.shake_hands)
    thread.start()
    try:
        assert await tls.handshake(monotonic() + TIMEOUT)
    finally:
        thread.join()
    # The tickets, so that nothing is here but what a test has sent.
    peer.send(b"!")
    assert await receive(tls, 1) == b"!"
    return tls


async def receive(stream: Stream, size: int) -> bytes:
    """`size` bytes, or what there is until the end."""
    data = bytearray()
    while len(data) < size:
        piece = stream.try_receive(size - len(data))
        if piece is None:
            assert await stream.wait(True, False, monotonic() + TIMEOUT)
        elif not piece:
            break
        else:
            data += piece
    return bytes(data)


async def receive_until_error(stream: Stream) -> bytes:
    """What there is until a `ReadError`."""
    data = bytearray()
    try:
        while piece := await receive(stream, 1):
            data += piece
    except ReadError:
        return bytes(data)
    raise AssertionError(f"a clean end after {bytes(data)!r}")


async def fill(stream: Stream) -> int:
    """Send until nothing more fits; how many bytes went."""
    total = 0
    block = bytes(range(256)) * 1024
    while True:
        # A socket that is full for a moment is no longer so when the kernel has moved its bytes to the peer;
        # and where waiting is in vain, a byte may still fit.
        is_full = not await stream.wait(False, True, monotonic() + 0.1)
        for size in (len(block) // 2, 1):
            while sent := stream.try_send(block[total % 256 :][:size]):
                total += sent
                is_full = False
        if is_full:
            return total


async def join(thread: threading.Thread, colour: Colour) -> None:
    """Wait for a thread, and let a loop run meanwhile."""
    while thread.is_alive():
        await colour.pause()
