"""From a host name to a connected socket, written once over the backends' primitives.

Looking up: a literal address needs no thread; for any other name one daemon thread asks the system, so that
a lookup that hangs outlives neither the caller's deadline nor the interpreter, and starves nobody's executor.
Connecting: RFC 8305, the families interleaved, a new attempt every 250 ms or as soon as one fails, and the
first connection wins.
"""

from __future__ import annotations

import errno
import os
import socket
import threading
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable, Sequence
from time import monotonic
from typing import Any, cast

from .._exceptions import ConnectError, ConnectTimeout, LocalProtocolError
from .._forks import lead_nowhere, mind_forks
from .._types import SocketOption
from .base import Backend, Parker

SockAddr = tuple[Any, ...]
"""What `socket.connect` takes for a family."""

Address = tuple[int, SockAddr]
"""An address family and the address in it."""

Resolver = Callable[[str, int], object]
"""`(host, port)` to an iterable of address strings, or of rows as `socket.getaddrinfo` returns them."""

Describe = Callable[[], str]
"""Names the limit that ran out, for an error's sentence."""

ATTEMPT_DELAY = 0.25
"""Seconds before the next address is tried beside the one that has not answered (RFC 8305 §5)."""

CACHE_SIZE = 1000
"""Names kept by an address cache."""

KEEPALIVE_IDLE, KEEPALIVE_INTERVAL, KEEPALIVE_COUNT = 60, 15, 4
"""Seconds of silence before the kernel probes, seconds between probes, probes before it gives up: a NAT
forgets connections after some minutes at the least, and a dead peer is found after two."""


class AddressCache:
    """Answers kept for `ttl` seconds; without one, only lookups under way are shared."""

    def __init__(self, ttl: float | None = None) -> None:
        self._ttl = ttl
        self._known: OrderedDict[object, tuple[float, list[Address]]] = OrderedDict()
        self._lock = threading.Lock()
        self.under_way: dict[object, Lookup] = {}
        mind_forks(self)

    def forget_parent(self) -> None:
        # Lookups run in threads, and those are the parent's.
        self._lock = threading.Lock()
        self.under_way.clear()

    def get(self, key: object, now: float) -> list[Address] | None:
        if self._ttl is None:
            return None
        with self._lock:
            found = self._known.get(key)
            return list(found[1]) if found is not None and now < found[0] else None

    def put(self, key: object, addresses: list[Address], now: float) -> None:
        if self._ttl is None:
            return
        with self._lock:
            self._known[key] = (now + self._ttl, list(addresses))
            self._known.move_to_end(key)
            if len(self._known) > CACHE_SIZE:
                self._known.popitem(last=False)


class Lookup:
    """One question to the system, in a thread of its own, for everyone who asks it meanwhile."""

    def __init__(self, ask: Callable[[], object]) -> None:
        self._ask = ask
        self._lock = threading.Lock()
        self._parkers: list[Parker] = []
        self.is_done = False
        self.answer: object = None
        self.error: BaseException | None = None

    def start(self) -> None:
        threading.Thread(target=self._run, name="httpcore-lookup", daemon=True).start()

    def _run(self) -> None:
        try:
            self.answer = self._ask()
        except BaseException as exc:
            self.error = exc
        with self._lock:
            self.is_done = True
            parkers, self._parkers = self._parkers, []
        for parker in parkers:
            parker.unpark()

    async def wait(self, backend: Backend, deadline: float | None) -> bool:
        """`False` when `deadline` passed first."""
        parker = backend.create_parker()
        with self._lock:
            if self.is_done:
                return True
            self._parkers.append(parker)
        return await parker.park(deadline)


async def look_up(
    backend: Backend,
    host: str,
    port: int,
    *,
    local_address: str | None,
    deadline: float | None,
    limit: Describe,
    resolver: Resolver | None,
    cache: AddressCache,
) -> list[Address]:
    """The addresses of `host`, in the order in which they are to be tried, without duplicates."""
    if not 0 < port < 65536:
        raise ConnectError(f"Cannot connect to {host}: {port} is not a port.")
    family = family_of(local_address)
    literal = _parse_literal(host, port)
    if literal is not None:
        return [literal]
    _check_name(host)
    if resolver is not None:
        return await _ask_resolver(backend, resolver, host, port, deadline, limit)
    key = (host, port, family)
    known = cache.get(key, monotonic())
    if known is None:
        known = await _ask_system(backend, host, port, family, deadline, limit, cache)
        cache.put(key, known, monotonic())
    return known


def family_of(local_address: str | None) -> int:
    """The family that binding to `local_address` asks for."""
    if local_address is None:
        return socket.AF_UNSPEC
    return socket.AF_INET6 if ":" in local_address else socket.AF_INET


def _parse_literal(host: str, port: int) -> Address | None:
    address, _, zone = host.partition("%")
    if _is_literal(socket.AF_INET, host):
        return (socket.AF_INET, (host, port))
    if not _is_literal(socket.AF_INET6, address):
        return None
    return (socket.AF_INET6, (address, port, 0, _read_zone(host, zone) if zone else 0))


def _read_zone(host: str, zone: str) -> int:
    """The number of an interface, which may stand there itself (RFC 4007 §11.2)."""
    if zone.isascii() and zone.isdigit():
        return int(zone)
    try:
        return socket.if_nametoindex(zone)
    except OSError as exc:
        raise ConnectError(f"Cannot connect to {host[:80]}: there is no interface {zone[:40]!r}.") from exc


def _is_literal(family: int, host: str) -> bool:
    try:
        socket.inet_pton(family, host)
    except (OSError, ValueError):
        return False
    return True


def _check_name(host: str) -> None:
    """RFC 1035 §2.3.4, before anything is asked."""
    labels = host[:-1].split(".") if host.endswith(".") else host.split(".")
    if len(host) > 255 or any(not 0 < len(label) < 64 for label in labels):
        raise LocalProtocolError(f"The host {host[:80]!r} is not a valid name: a label is empty or too long.")


async def _ask_system(
    backend: Backend,
    host: str,
    port: int,
    family: int,
    deadline: float | None,
    limit: Describe,
    cache: AddressCache,
) -> list[Address]:
    key = (host, port, family)
    lookup = cache.under_way.get(key)
    if lookup is None or lookup.is_done:
        lookup = Lookup(lambda: socket.getaddrinfo(host, port, family, socket.SOCK_STREAM))
        _start(lookup, host)
        cache.under_way[key] = lookup
    try:
        if not await lookup.wait(backend, deadline):
            raise _too_late(f"Looking up {host}", limit)
    finally:
        if cache.under_way.get(key) is lookup and lookup.is_done:
            del cache.under_way[key]
    if isinstance(lookup.error, (OSError, UnicodeError)):
        raise ConnectError(f"Looking up {host} failed: {lookup.error}.") from lookup.error
    if lookup.error is not None:
        raise lookup.error
    return _read_answer(lookup.answer, host, port)


async def _ask_resolver(
    backend: Backend, resolver: Resolver, host: str, port: int, deadline: float | None, limit: Describe
) -> list[Address]:
    """The caller's own resolver: in the task if it is async, else in a thread, as the system's."""
    # Loading it costs more than all else that is imported for a first request.
    import inspect

    if inspect.iscoroutinefunction(resolver):
        answer: object = resolver(host, port)
    else:
        lookup = Lookup(lambda: resolver(host, port))
        _start(lookup, host)
        if not await lookup.wait(backend, deadline):
            raise _too_late(f"Looking up {host}", limit)
        if lookup.error is not None:
            raise lookup.error
        answer = lookup.answer
    if isinstance(answer, Awaitable):
        try:
            answer = await backend.within(answer, deadline)
        except TimeoutError as exc:
            if deadline is None or monotonic() < deadline:
                raise
            raise _too_late(f"Looking up {host}", limit) from exc
    return _read_answer(answer, host, port)


def _start(lookup: Lookup, host: str) -> None:
    try:
        lookup.start()
    except RuntimeError as exc:
        raise ConnectError(f"Looking up {host} failed: no thread could be started.") from exc


def _read_answer(answer: object, host: str, port: int) -> list[Address]:
    found: dict[Address, None] = {}
    for row in cast("Iterable[object]", answer or ()):
        if isinstance(row, str):
            literal = _parse_literal(row, port)
            if literal is None:
                raise ConnectError(f"Looking up {host} failed: the resolver returned {row[:80]!r}.")
            found[literal] = None
        else:
            family, _, _, _, address = cast("tuple[int, int, int, str, SockAddr]", row)
            if family in (socket.AF_INET, socket.AF_INET6):
                found[int(family), address] = None
    if not found:
        raise ConnectError(f"Looking up {host} failed: it has no address.")
    return list(found)


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
                raise _too_late(f"Connecting to {host}", limit)
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
    pause = 0.001
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
            raise _too_late(f"Connecting to the Unix socket {path[:120]!r}", limit)
        await backend.sleep(pause)
        pause = min(pause * 2, 0.05)


def _met_itself(sock: socket.socket) -> bool:
    """A connect to a free port of the ephemeral range may meet its own socket."""
    try:
        return bool(sock.getsockname() == sock.getpeername())
    except OSError:
        return False


def _too_late(what: str, limit: Describe) -> ConnectTimeout:
    return ConnectTimeout(f"{what} took longer than {limit()}.")


def _name(host: str, address: Address) -> str:
    shown = _show(address)
    return shown if host in shown else f"{host} ({shown})"


def _show(address: Address) -> str:
    host, port = address[1][0], address[1][1]
    return f"[{host}]:{port}" if ":" in str(host) else f"{host}:{port}"
