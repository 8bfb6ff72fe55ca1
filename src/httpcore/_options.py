"""What the constructors of both colours take, checked and turned into the engine's parts."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from ._backends.auto import resolve_backend
from ._backends.base import Backend
from ._connections.open import Connector
from ._pool.ledger import Limits
from ._pool.pool import Pool
from ._types import SocketOption

if TYPE_CHECKING:
    import ssl

    from ._backends.addresses import Resolver


def keepalive_limit(current: int | None, deprecated: int | None) -> int | None:
    """`max_keepalive_connections`, also under its old name."""
    if deprecated is None:
        return current
    warnings.warn(
        "'max_keepalive' is deprecated: use 'max_keepalive_connections'.", DeprecationWarning, stacklevel=4
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
    if not http1 and not http2:
        raise ValueError("With http1=False and http2=False there is no protocol left to speak.")
    find_backend: Callable[[], Backend] = resolve_backend(backend, is_async=is_async)
    connector = Connector(
        ssl_context=ssl_context,
        proxy_ssl_context=proxy_ssl_context,
        http1=http1,
        http2=http2,
        uds=uds,
        local_address=local_address,
        retries=retries,
        socket_options=socket_options,
        tcp_keepalive=tcp_keepalive,
        resolver=resolver,
        dns_ttl=dns_ttl,
        ping_interval=ping_interval,
        ping_timeout=ping_timeout,
    )
    limits = Limits(
        max_connections=max_connections,
        max_connections_per_origin=max_connections_per_origin,
        max_keepalive_connections=max_keepalive_connections,
        keepalive_expiry=keepalive_expiry,
        max_connection_age=max_connection_age,
    )
    return Pool(connector, limits, find_backend=find_backend, replay=replay)
