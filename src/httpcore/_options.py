"""What the constructors of both colours take, checked and turned into the engine's parts."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from ._connections.timeouts import check_seconds
from ._types import SocketOption

if TYPE_CHECKING:
    import ssl

    from ._backends.addresses import Resolver
    from ._backends.base import Backend
    from ._pool.pool import Pool


def keepalive_limit(current: int | None, deprecated: int | None) -> int | None:
    """`max_keepalive_connections`, also under its old name."""
    if deprecated is None:
        return current
    # Two levels up is who constructs the pool.
    warnings.warn(
        "'max_keepalive' is deprecated: use 'max_keepalive_connections'.", DeprecationWarning, stacklevel=3
    )
    return deprecated


def build_pool(
    *,
    is_async: bool,
    backend: str | Backend,
    ssl_context: ssl.SSLContext | None,
    max_connections: int | None,
    max_keepalive_connections: int | None,
    keepalive_expiry: float | None,
    http2: bool,
    uds: str | None,
    local_address: str | None,
    retries: int,
    http1: bool,
    socket_options: Iterable[SocketOption] | None,
    tcp_keepalive: bool,
    max_connections_per_origin: int | None,
    max_connection_age: float | None,
    resolver: Resolver | None,
    dns_ttl: float | None,
    ping_interval: float | None,
    ping_timeout: float | None,
    replay: bool,
    proxy_ssl_context: ssl.SSLContext | None = None,
) -> Pool:
    """Build the pool that both interfaces are thin faces of. Opens nothing."""
    # The engine is half of what importing us would take, and many who import us never make a pool.
    from ._backends.auto import resolve_backend
    from ._connections.connector import Connector
    from ._pool.ledger import Limits
    from ._pool.pool import Pool

    if not http1 and not http2:
        raise ValueError("With http1=False and http2=False there is no protocol left to speak.")
    find_backend: Callable[[], Backend] = resolve_backend(backend, is_async=is_async)
    connector = Connector(
        ssl_context=_check_context("ssl_context", ssl_context),
        proxy_ssl_context=_check_context("proxy_ssl_context", proxy_ssl_context),
        http1=http1,
        http2=http2,
        uds=_check_path(uds),
        local_address=_check_address(local_address),
        retries=check_count("retries", retries),
        socket_options=socket_options,
        tcp_keepalive=tcp_keepalive,
        resolver=_check_resolver(resolver),
        dns_ttl=_check_seconds("dns_ttl", dns_ttl),
        ping_interval=_check_interval("ping_interval", ping_interval),
        ping_timeout=_check_interval("ping_timeout", ping_timeout),
    )
    limits = Limits(
        max_connections=_check_limit("max_connections", max_connections),
        max_connections_per_origin=_check_limit("max_connections_per_origin", max_connections_per_origin),
        max_keepalive_connections=_check_limit("max_keepalive_connections", max_keepalive_connections),
        keepalive_expiry=_check_seconds("keepalive_expiry", keepalive_expiry),
        max_connection_age=_check_seconds("max_connection_age", max_connection_age),
    )
    return Pool(connector, limits, find_backend=find_backend, replay=replay)


def check_count(name: str, value: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{name} must be a whole number, not {type(value).__name__}.")
    if value < 0:
        raise ValueError(f"{name} cannot be negative, which {value} is.")
    return value


def _check_limit(name: str, value: int | None) -> int | None:
    return None if value is None else check_count(name, value)


def check_drain(seconds: float) -> float:
    """The `drain` of `close`."""
    return check_seconds("drain", seconds)


def _check_seconds(name: str, value: float | None) -> float | None:
    return None if value is None else check_seconds(name, value)


def _check_interval(name: str, value: float | None) -> float | None:
    seconds = _check_seconds(name, value)
    if seconds is not None and seconds <= 0:
        raise ValueError(f"{name} must be more than 0 s, which {value} is not.")
    return seconds


def _check_context(name: str, context: ssl.SSLContext | None) -> ssl.SSLContext | None:
    # By what it does: `ssl` is only imported where TLS is spoken.
    if context is not None and not hasattr(context, "wrap_bio"):
        raise TypeError(f"{name} must be an ssl.SSLContext, not {type(context).__name__}.")
    return context


def _check_path(path: str | None) -> str | None:
    if path is not None and not isinstance(path, (str, bytes)):
        raise TypeError(f"uds must be the path of a socket, not {type(path).__name__}.")
    return path


def _check_address(address: str | None) -> str | None:
    if address is not None and not isinstance(address, str):
        raise TypeError(f"local_address must be a str, not {type(address).__name__}.")
    return address


def _check_resolver(resolver: Resolver | None) -> Resolver | None:
    if resolver is not None and not callable(resolver):
        raise TypeError(f"resolver must be callable, not {type(resolver).__name__}.")
    return resolver
