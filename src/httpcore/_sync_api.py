"""The sync interface. It and its twin are the only files that know their colour."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress
from time import monotonic
from typing import TYPE_CHECKING

from ._blocking import run, run_to_end
from ._bytestreams import SyncByteStream
from ._connections.base import COMPLETE, OPEN
from ._options import build_pool, check_count, check_drain, keepalive_limit
from ._pool.figures import count, summarize
from ._proxies import ProxyOptions
from ._requests import Router, check_chunk, origin_url
from ._transports import SyncHTTPTransport
from ._types import URL, Extensions, Headers, SocketOption

if TYPE_CHECKING:
    import ssl

    from ._backends.addresses import Resolver
    from ._backends.base import Backend
    from ._connections.base import Response


class SyncConnectionPool(SyncHTTPTransport):
    """Keeps connections to any number of origins, and sends requests over them.

    Times are in seconds, sizes in bytes, and `None` means no limit. Constructing a pool opens nothing.

    ssl_context: verifies servers; by default a verifying context that the process shares.
    max_connections: connections open or being opened, idle ones included.
    max_keepalive_connections: idle connections that are kept; 0 keeps none.
    keepalive_expiry: how long an idle connection lives.
    http2: offer HTTP/2 through ALPN on https.
    uds: connect to this Unix socket for every origin.
    local_address: bind to this address; `"0.0.0.0"` and `"::"` pick the family.
    retries: extra attempts when connecting fails, after 0, 0.5, 1, 2, 4 … s.
    max_keepalive: the deprecated name of `max_keepalive_connections`.
    backend: `"sync"`, or a backend object.

    http1: with `http1=False, http2=True`, HTTP/2 with prior knowledge (RFC 9113 §3.3).
    socket_options: `(level, option, value)` triples, set before connecting.
    tcp_keepalive: let the kernel probe idle connections, so that a NAT keeps them and the dead are found.
    max_connections_per_origin, max_connection_age: further limits.
    resolver: `(host, port)` to addresses, instead of the system's; dns_ttl: how long answers are kept.
    ping_interval, ping_timeout: HTTP/2 PINGs while streams are open, and how long an answer may take.
    replay: send a request again where nothing can have been processed (see `docs/errors.md`).
    """

    def __init__(
        self,
        ssl_context: ssl.SSLContext | None = None,
        max_connections: int | None = None,
        max_keepalive_connections: int | None = None,
        keepalive_expiry: float | None = None,
        http2: bool = False,
        uds: str | None = None,
        local_address: str | None = None,
        retries: int = 0,
        max_keepalive: int | None = None,
        backend: str | Backend = "sync",
        *,
        http1: bool = True,
        socket_options: Iterable[SocketOption] | None = None,
        tcp_keepalive: bool = True,
        max_connections_per_origin: int | None = None,
        max_connection_age: float | None = None,
        resolver: Resolver | None = None,
        dns_ttl: float | None = None,
        ping_interval: float | None = None,
        ping_timeout: float | None = None,
        replay: bool = True,
    ) -> None:
        self._router = Router()
        self._pool = build_pool(
            is_async=False,
            backend=backend,
            ssl_context=ssl_context,
            max_connections=max_connections,
            max_keepalive_connections=keepalive_limit(max_keepalive_connections, max_keepalive),
            keepalive_expiry=keepalive_expiry,
            http2=http2,
            uds=uds,
            local_address=local_address,
            retries=retries,
            http1=http1,
            socket_options=socket_options,
            tcp_keepalive=tcp_keepalive,
            max_connections_per_origin=max_connections_per_origin,
            max_connection_age=max_connection_age,
            resolver=resolver,
            dns_ttl=dns_ttl,
            ping_interval=ping_interval,
            ping_timeout=ping_timeout,
            replay=replay,
        )

    def request(
        self,
        method: bytes,
        url: URL,
        headers: Headers | None = None,
        stream: SyncByteStream | None = None,
        ext: Extensions | None = None,
    ) -> tuple[int, Headers, SyncByteStream, dict[str, object]]:
        """Send one request; return `(status, headers, stream, ext)` as soon as the head is here.

        Read the stream to its end, or close it: it holds the connection. `ext["timeout"]` bounds the
        phases `pool`, `connect`, `read`, `write` and `total`; `ext["trace"]` is told about them.
        """
        try:
            request = self._router.prepare(method, url, headers, stream, ext, SyncSource)
        except Exception:
            _turn_away(stream)
            raise
        answer = SyncResponseStream()
        run_to_end(self._pool.handle(request, answer))
        status, fields, ext = answer.body.head
        return status, fields, answer, ext

    def get_connection_info(self) -> dict[str, list[str]]:
        """What the connections of each origin are doing, such as `HTTP/1.1, IDLE`."""
        return summarize(self._pool.ledger, origin_url)

    def statistics(self) -> dict[str, float]:
        """Counts of connections and requests, and the seconds spent waiting for connections."""
        return count(self._pool.ledger)

    def preconnect(self, url: URL, count: int = 1) -> None:
        """Open up to `count` connections to the origin of `url` ahead of the first request.

        Where the limits of the pool leave no room for as many, there are fewer: this waits for nobody.
        """
        route = self._router.route(url)
        run_to_end(self._pool.preconnect(route, check_count("count", count)))

    def close(self, drain: float | None = None) -> None:
        """Close every connection; exchanges in flight fail, unless they end within `drain` seconds."""
        if drain is None:
            self._pool.close()
        else:
            run_to_end(self._pool.drain(monotonic() + check_drain(drain)))

    def __repr__(self) -> str:
        figures = count(self._pool.ledger)
        shown = ", ".join(f"{name}={figures[name]:.0f}" for name in ("connections", "idle", "waiting"))
        return f"<{type(self).__name__} {shown}>"

    def __del__(self) -> None:
        # Absent when constructing failed.
        pool = self.__dict__.get("_pool")
        if pool is not None:
            pool.drop(repr(self))


class SyncHTTPProxy(SyncConnectionPool):
    """A pool whose requests go through a proxy: http, https or SOCKS5.

    proxy_url: `(scheme, host, port | None, path)` with scheme `http`, `https`, `socks5` or `socks5h`.
    proxy_headers: what goes with CONNECT, and with each forwarded request that does not use the name.
    proxy_mode: `DEFAULT` (http is forwarded, https is tunnelled), `FORWARD_ONLY` or `TUNNEL_ONLY`.
    proxy_auth: `(user, password)`, for Basic or for SOCKS5.
    proxy_ssl_context: verifies an `https` proxy.

    All other arguments are those of the pool, and act on the connection to the proxy.
    """

    def __init__(
        self,
        proxy_url: URL,
        proxy_headers: Headers | None = None,
        proxy_mode: str = "DEFAULT",
        ssl_context: ssl.SSLContext | None = None,
        max_connections: int | None = None,
        max_keepalive_connections: int | None = None,
        keepalive_expiry: float | None = None,
        http2: bool = False,
        backend: str | Backend = "sync",
        max_keepalive: int | None = None,
        *,
        proxy_auth: tuple[str | bytes, str | bytes] | None = None,
        proxy_ssl_context: ssl.SSLContext | None = None,
        retries: int = 0,
        local_address: str | None = None,
        uds: str | None = None,
        http1: bool = True,
        socket_options: Iterable[SocketOption] | None = None,
        tcp_keepalive: bool = True,
        max_connections_per_origin: int | None = None,
        max_connection_age: float | None = None,
        resolver: Resolver | None = None,
        dns_ttl: float | None = None,
        ping_interval: float | None = None,
        ping_timeout: float | None = None,
        replay: bool = True,
    ) -> None:
        options = ProxyOptions(proxy_url, proxy_headers, proxy_mode, proxy_auth)
        self.proxy_origin = options.origin
        self.proxy_headers = options.given_headers
        self.proxy_mode = proxy_mode
        self._router = options.router
        self._pool = build_pool(
            is_async=False,
            backend=backend,
            ssl_context=ssl_context,
            max_connections=max_connections,
            max_keepalive_connections=keepalive_limit(max_keepalive_connections, max_keepalive),
            keepalive_expiry=keepalive_expiry,
            http2=http2,
            uds=uds,
            local_address=local_address,
            retries=retries,
            http1=http1,
            socket_options=socket_options,
            tcp_keepalive=tcp_keepalive,
            max_connections_per_origin=max_connections_per_origin,
            max_connection_age=max_connection_age,
            resolver=resolver,
            dns_ttl=dns_ttl,
            ping_interval=ping_interval,
            ping_timeout=ping_timeout,
            replay=replay,
            proxy_ssl_context=proxy_ssl_context,
        )


class SyncResponseStream(SyncByteStream):
    """The body of a response, to be read once. Closing it is idempotent."""

    __slots__ = ("__weakref__", "_first", "body")

    body: Response
    """What is read: the pool puts it here."""
    _first: bytes | None
    """What was here of it when its iterator was made, and is not all of it."""

    @property
    def trailers(self) -> Headers:
        """The fields that came after the body (RFC 9110 §6.5), once it is read."""
        return self.body.trailers

    def __iter__(self) -> Iterator[bytes]:
        body = self.body
        if body.is_taken:
            raise RuntimeError("The response's body can be read only once.")
        body.is_taken = True
        # These iterators cost neither an object of ours nor a `StopIteration` raised in Python.
        chunk = body.try_receive()
        if chunk is not None and body.stage is COMPLETE:
            return iter((chunk,) if chunk else ())
        # Not `chain`: CPython itself crashes if that is used up by one thread while another is inside it.
        self._first = chunk
        return iter(self._next_chunk, b"")

    def _next_chunk(self) -> bytes:
        chunk = self._first
        if chunk is not None:
            self._first = None
            return chunk
        chunk = self.body.try_receive(may_block=True)
        return run(self.body.receive()) if chunk is None else chunk

    def close(self) -> None:
        if self.body.stage is OPEN:
            run_to_end(self.body.close())


_END = object()
"""What no iterator yields."""


class SyncSource:
    """The caller's body stream: anything with `__iter__`, and perhaps with `close`."""

    __slots__ = ("_iterator", "_stream")

    def __init__(self, stream: object) -> None:
        if not hasattr(stream, "__iter__"):
            raise TypeError(f"A request body must have __iter__, which {type(stream).__name__} has not.")
        self._stream: SyncByteStream = stream  # type: ignore[assignment]
        self._iterator: Iterator[bytes] | None = None

    async def next_chunk(self) -> bytes:
        if self._iterator is None:
            self._iterator = iter(self._stream)
        # Never a bare `next`: its StopIteration would end the coroutine instead of the body.
        while (chunk := next(self._iterator, _END)) is not _END:
            if piece := check_chunk(chunk):
                return piece
        return b""

    async def close(self) -> None:
        close = getattr(self._stream, "close", None)
        if close is not None:
            close()


def _turn_away(stream: object) -> None:
    """Close a body that nobody will read. What is raised is why, and not what comes of this."""
    close = getattr(stream, "close", None)
    if close is not None:
        with suppress(Exception):
            close()
