"""From addresses to a connected socket, written once over the backends' primitives.

RFC 8305: the families interleaved, a new attempt every 250 ms or as soon as one fails, and the first
connection wins.
"""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Sequence
from time import monotonic

from .._exceptions import ConnectError
from .._forks import lead_nowhere, mind_forks
from .._types import SocketOption
from .addresses import Address, Describe, too_late
from .base import Backend
from .sockets import prepare_socket

ATTEMPT_DELAY = 0.25
"""Seconds before the next address is tried beside the one that has not answered (RFC 8305 §5)."""

FIRST_PAUSE, LONGEST_PAUSE = 0.001, 0.05
"""Seconds until a Unix socket whose queue is full is tried again: at first, and after many attempts."""


async def dial(
    backend: Backend,
    addresses: Sequence[Address],
    *,
    host: str,
    local_address: str | None,
    socket_options: Sequence[SocketOption],
    tcp_keepalive: bool,
    deadline: float | None,
    limit: Describe,
) -> socket.socket:
    """Connect to the first of `addresses` that answers; the socket is connected and non-blocking."""
    race = Race(
        host,
        interleave(addresses),
        local_address=local_address,
        socket_options=socket_options,
        tcp_keepalive=tcp_keepalive,
    )
    try:
        while True:
            winner = race.advance(monotonic())
            if winner is not None:
                return winner
            if deadline is not None and monotonic() >= deadline:
                raise too_late(f"Connecting to {host}", limit)
            until = race.next_start
            if until is None or (deadline is not None and deadline < until):
                until = deadline
            race.ready = await backend.wait_writable(list(race.running), until)
    finally:
        race.close()


def interleave(addresses: Sequence[Address]) -> list[Address]:
    """One family after the other in turn, beginning with the resolver's first (RFC 8305 §4)."""
    first = [address for address in addresses if address[0] == addresses[0][0]]
    second = [address for address in addresses if address[0] != addresses[0][0]]
    mixed: list[Address] = []
    while first or second:
        if first:
            mixed.append(first.pop(0))
        if second:
            mixed.append(second.pop(0))
    return mixed


class Race:
    """Connection attempts that run beside one another. It starts and ends sockets, and never waits."""

    def __init__(
        self,
        host: str,
        addresses: list[Address],
        *,
        local_address: str | None,
        socket_options: Sequence[SocketOption],
        tcp_keepalive: bool,
    ) -> None:
        self._host = host
        self._left = addresses[::-1]
        self._local_address = local_address
        self._socket_options = socket_options
        self._tcp_keepalive = tcp_keepalive
        self._errors: list[tuple[Address, OSError]] = []
        self.running: dict[socket.socket, Address] = {}
        self.ready: Sequence[socket.socket] = ()
        self.next_start: float | None = 0.0
        mind_forks(self)

    def advance(self, now: float) -> socket.socket | None:
        """Look at who finished, start who is due; the connected socket, once there is one."""
        winner = self._judge()
        while (
            winner is None
            and self._left
            and (not self.running or (self.next_start is not None and now >= self.next_start))
        ):
            winner = self._start(self._left.pop())
            self.next_start = now + ATTEMPT_DELAY
        if not self._left:
            self.next_start = None
        if winner is None and not self.running:
            raise self._defeat()
        if winner is not None:
            self.running.pop(winner, None)
        return winner

    def _judge(self) -> socket.socket | None:
        ready, self.ready = self.ready, ()
        for sock in ready:
            code = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if code == 0 and not _met_itself(sock):
                return sock
            self._lose(sock, OSError(code or errno.ECONNREFUSED, os.strerror(code or errno.ECONNREFUSED)))
        return None

    def _start(self, address: Address) -> socket.socket | None:
        """Begin one attempt; the socket, if it is connected at once."""
        family, where = address
        try:
            sock = socket.socket(family, socket.SOCK_STREAM)
        except OSError as exc:
            self._errors.append((address, exc))
            return None
        self.running[sock] = address
        try:
            sock.setblocking(False)
            prepare_socket(sock, self._socket_options, tcp_keepalive=self._tcp_keepalive)
            if self._local_address is not None:
                sock.bind((self._local_address, 0))
            sock.connect(where)
        except BlockingIOError:
            return None
        except (OSError, OverflowError) as exc:
            self._lose(sock, exc if isinstance(exc, OSError) else OSError(str(exc)))
            return None
        return sock

    def _lose(self, sock: socket.socket, error: OSError) -> None:
        self._errors.append((self.running.pop(sock), error))
        sock.close()

    def _defeat(self) -> ConnectError:
        if len(self._errors) == 1:
            address, error = self._errors[0]
            failure = ConnectError(f"Connecting to {_name(self._host, address)} failed: {error}.")
        else:
            each = "; ".join(f"{_show(address)}: {error}" for address, error in self._errors)
            failure = ConnectError(f"Connecting to {self._host} failed at each of its addresses: {each}.")
        failure.__cause__ = self._errors[-1][1]
        return failure

    def close(self) -> None:
        for sock in self.running:
            sock.close()
        # Their tracebacks lead back to the race.
        self._errors.clear()

    def forget_parent(self) -> None:
        for sock in self.running:
            lead_nowhere(sock)


async def dial_unix(
    backend: Backend,
    path: str | bytes,
    *,
    socket_options: Sequence[SocketOption],
    deadline: float | None,
    limit: Describe,
) -> socket.socket:
    """Connect to a Unix socket. A full queue (EAGAIN) is tried again until the deadline."""
    if not hasattr(socket, "AF_UNIX"):
        raise ConnectError(f"Connecting to {path!r} failed: this platform has no Unix sockets.")
    pause = FIRST_PAUSE
    while True:
        sock: socket.socket | None = None
        try:
            sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            sock.setblocking(False)
            for level, option, value in socket_options:
                sock.setsockopt(level, option, value)
            sock.connect(path)
            connected, sock = sock, None
            return connected
        except BlockingIOError:
            pass
        except (OSError, ValueError) as exc:
            raise ConnectError(f"Connecting to the Unix socket {path[:120]!r} failed: {exc}.") from exc
        finally:
            if sock is not None:
                sock.close()
        if deadline is not None and monotonic() + pause > deadline:
            raise too_late(f"Connecting to the Unix socket {path[:120]!r}", limit)
        await backend.sleep(pause)
        pause = min(pause * 2, LONGEST_PAUSE)


def _met_itself(sock: socket.socket) -> bool:
    """A connect to a free port of the ephemeral range may meet its own socket."""
    try:
        return bool(sock.getsockname() == sock.getpeername())
    except OSError:
        return False


def _name(host: str, address: Address) -> str:
    shown = _show(address)
    return shown if host in shown else f"{host} ({shown})"


def _show(address: Address) -> str:
    host, port = address[1][0], address[1][1]
    return f"[{host}]:{port}" if ":" in str(host) else f"{host}:{port}"
