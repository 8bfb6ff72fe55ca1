"""What every backend does with a socket: prepare it, look at it, and say what is known of it."""

from __future__ import annotations

import select
import socket
from collections.abc import Callable, Sequence
from functools import partial

from .._types import SocketOption

KEEPALIVE_IDLE, KEEPALIVE_INTERVAL, KEEPALIVE_COUNT = 60, 15, 4
"""Seconds of silence before the kernel probes, seconds between probes, probes before it gives up: a NAT
forgets connections after some minutes at the least, and a dead peer is found after two."""


def prepare_socket(sock: socket.socket, options: Sequence[SocketOption], *, tcp_keepalive: bool) -> None:
    """Small writes leave at once, silence is probed, and then whatever the caller wants."""
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if tcp_keepalive:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for name, number in (
            ("TCP_KEEPIDLE", KEEPALIVE_IDLE),
            ("TCP_KEEPINTVL", KEEPALIVE_INTERVAL),
            ("TCP_KEEPCNT", KEEPALIVE_COUNT),
        ):
            if hasattr(socket, name):
                sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), number)
    for level, option, value in options:
        sock.setsockopt(level, option, value)


def create_look(sock: socket.socket) -> Callable[[int], object]:
    """Make what asks the kernel whether `sock` has anything to receive, the end included.

    It takes the milliseconds to wait for that at the most; -1 waits for ever.

    A `recv` that finds nothing has to raise an exception; a `poll` set up beforehand takes half as long.
    """
    if not hasattr(select, "poll"):
        return partial(_select, sock)
    poller = select.poll()
    poller.register(sock, select.POLLIN)
    return poller.poll


def _select(sock: socket.socket, milliseconds: int) -> object:
    return select.select([sock], [], [], None if milliseconds < 0 else milliseconds / 1000)[0]


def fault_of(exc: OSError) -> OSError | None:
    """What a failed send says of the other direction: a pipe breaks after the peer's end, and only then."""
    return None if isinstance(exc, BrokenPipeError) else exc


def socket_info(sock: socket.socket, name: str) -> object:
    """What `Stream.get_extra_info` knows of a socket."""
    try:
        if name == "socket":
            return sock
        if name == "client_addr":
            return sock.getsockname()
        if name == "server_addr":
            return sock.getpeername()
    except OSError:
        pass
    return None
