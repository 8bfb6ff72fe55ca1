"""Scripts of proxies that do open a tunnel, to a server that listens on loopback."""

from __future__ import annotations

import socket
import threading

from .scripted import Peer, Script

OPEN = b"HTTP/1.1 200 OK\r\n\r\n"


def tunnel_to(port: int, *, answer: bytes = OPEN) -> Script:
    """Answer CONNECT, then carry bytes both ways."""

    def script(peer: Peer) -> None:
        if peer.recv_head():
            peer.send(answer)
            relay(peer, port)

    return script


def socks_to(port: int | None = None) -> Script:
    """Open a SOCKS5 connection to `port`, or to the one asked for; no password (RFC 1928)."""

    def script(peer: Peer) -> None:
        greeting = peer.recv_exactly(2)
        if len(greeting) < 2:
            return
        peer.recv_exactly(greeting[1])
        peer.send(b"\x05\x00")
        head = peer.recv_exactly(5)
        if len(head) < 5:
            return
        asked = peer.recv_exactly(head[4] + 2)[-2:]
        peer.send(b"\x05\x00\x00\x01\x7f\x00\x00\x01\x00\x50")
        relay(peer, int.from_bytes(asked, "big") if port is None else port)

    return script


def any_proxy(peer: Peer, limit: int = 1_000_000) -> None:
    """A proxy of every kind that is its own origin, and leaves after `limit` answers."""
    first = peer.recv_exactly(1)
    peer.unread(first)
    if first == b"\x05":
        peer.recv_exactly(peer.recv_exactly(2)[1])
        peer.send(b"\x05\x00")
        peer.recv_exactly(peer.recv_exactly(5)[4] + 2)
        peer.send(b"\x05\x00\x00\x01\x7f\x00\x00\x01\x00\x50")
    elif first == b"C":
        peer.recv_head()
        peer.send(b"HTTP/1.1 200 OK\r\n\r\n")
    for _ in range(limit):
        head, _ = peer.recv_request()
        if not head:
            return
        peer.answer(head.split(b" ")[1].removeprefix(b"http://origin.example"))


def relay(peer: Peer, port: int, *, greeting: bytes = b"") -> None:
    """Carry bytes between a client and a port of loopback until one of them leaves.

    A `greeting` is sent in one piece with the first that the origin says, which has to speak first.
    """
    with socket.create_connection(("127.0.0.1", port)) as upstream:
        if greeting:
            peer.send(greeting + upstream.recv(65536))
        thread = threading.Thread(target=_carry_back, args=(upstream, peer))
        thread.start()
        try:
            while data := peer.recv():
                upstream.sendall(data)
        except OSError:
            pass
        finally:
            _shut(upstream)
            thread.join()


def _carry_back(upstream: socket.socket, peer: Peer) -> None:
    try:
        while data := upstream.recv(65536):
            peer.send(data)
    except OSError:
        pass
    # The origin left: so does the proxy, which wakes the other direction.
    _shut(peer.sock)


def _shut(sock: socket.socket) -> None:
    try:
        sock.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass
