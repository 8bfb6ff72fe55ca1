"""From a host name to its addresses, written once over the backends' primitives.

A literal address needs no thread; for any other name one daemon thread asks the system, so that a lookup that
hangs outlives neither the caller's deadline nor the interpreter, and starves nobody's executor.
"""

from __future__ import annotations

import socket
import threading
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable
from time import monotonic
from typing import Any, cast

from .._exceptions import ConnectError, ConnectTimeout, LocalProtocolError
from .._forks import mind_forks
from .base import Backend, Parker

SockAddr = tuple[Any, ...]
"""What `socket.connect` takes for a family."""

Address = tuple[int, SockAddr]
"""An address family and the address in it."""

Resolver = Callable[[str, int], object]
"""`(host, port)` to an iterable of address strings, or of rows as `socket.getaddrinfo` returns them."""

Describe = Callable[[], str]
"""Names the limit that ran out, for an error's sentence."""

CACHE_SIZE = 1000
"""Names kept by an address cache."""


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

    def __init__(self, ask: Callable[[], object], *, cross_off: Callable[[], object] = lambda: None) -> None:
        self._ask = ask
        self._cross_off = cross_off
        self._lock = threading.Lock()
        self._parkers: dict[Parker, None] = {}
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
            parkers, self._parkers = self._parkers, {}
        self._cross_off()
        for parker in parkers:
            parker.unpark()

    async def wait(self, backend: Backend, deadline: float | None) -> bool:
        """`False` when `deadline` passed first."""
        parker = backend.create_parker()
        with self._lock:
            if self.is_done:
                return True
            self._parkers[parker] = None
        try:
            return await parker.park(deadline)
        finally:
            # A lookup that hangs may see many come and go.
            self._parkers.pop(parker, None)


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
    key = (host, port, family)
    known = cache.get(key, monotonic())
    if known is None:
        if resolver is not None:
            known = await _ask_resolver(backend, resolver, host, port, deadline, limit)
        else:
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
        # Crossed off by its thread: those who asked may all have given up by then.
        lookup = Lookup(
            lambda: socket.getaddrinfo(host, port, family, socket.SOCK_STREAM),
            cross_off=lambda: cache.under_way.pop(key, None),
        )
        _start(lookup, host)
        cache.under_way[key] = lookup
        if lookup.is_done:
            cache.under_way.pop(key, None)
    if not await lookup.wait(backend, deadline):
        raise too_late(f"Looking up {host}", limit)
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
            raise too_late(f"Looking up {host}", limit)
        if lookup.error is not None:
            raise lookup.error
        answer = lookup.answer
    if isinstance(answer, Awaitable):
        try:
            answer = await backend.within(answer, deadline)
        except TimeoutError as exc:
            if deadline is None or monotonic() < deadline:
                raise
            raise too_late(f"Looking up {host}", limit) from exc
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


def too_late(what: str, limit: Describe) -> ConnectTimeout:
    """The error of a lookup, or of an attempt to connect, whose time has run out."""
    return ConnectTimeout(f"{what} took longer than {limit()}.")
