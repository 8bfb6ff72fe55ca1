"""The async interface. It and its twin are the only files that know their colour."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from contextlib import suppress
from time import monotonic
from typing import TYPE_CHECKING

from ._bytestreams import AsyncByteStream
from ._connections.base import OPEN
from ._options import build_pool, check_count, check_drain, keepalive_limit
from ._pool.figures import count, summarize
from ._proxies import ProxyOptions
from ._requests import Router, check_chunk, origin_url
from ._transports import AsyncHTTPTransport
from ._types import URL, Extensions, Headers, SocketOption

if TYPE_CHECKING:
    import ssl

    from ._backends.addresses import Resolver
    from ._backends.base import Backend
    from ._connections.base import Response


class AsyncConnectionPool(AsyncHTTPTransport):
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
    backend: `"auto"` (what is running), `"asyncio"`, `"trio"`, `"anyio"`, or a backend object.

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
        backend: str | Backend = "auto",
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
            is_async=True,
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

    async def arequest(
        self,
        method: bytes,
        url: URL,
        headers: Headers | None = None,
        stream: AsyncByteStream | None = None,
        ext: Extensions | None = None,
    ) -> tuple[int, Headers, AsyncByteStream, dict[str, object]]:
        """Send one request; return `(status, headers, stream, ext)` as soon as the head is here.

        Read the stream to its end, or close it: it holds the connection. `ext["timeout"]` bounds the
        phases `pool`, `connect`, `read`, `write` and `total`; `ext["trace"]` is told about them.
        """
        try:
            request = self._router.prepare(method, url, headers, stream, ext, AsyncSource)
        except Exception:
            await _turn_away(stream)
            raise
        answer = AsyncResponseStream()
        await self._pool.handle(request, answer)
        status, fields, ext = answer.body.head
        return status, fields, answer, ext

    async def get_connection_info(self) -> dict[str, list[str]]:
        """What the connections of each origin are doing, such as `HTTP/1.1, IDLE`."""
        return summarize(self._pool.ledger, origin_url)

    def statistics(self) -> dict[str, float]:
        """Counts of connections and requests, and the seconds spent waiting for connections."""
        return count(self._pool.ledger)

    async def preconnect(self, url: URL, count: int = 1) -> None:
        """Open up to `count` connections to the origin of `url` ahead of the first request.

        Where the limits of the pool leave no room for as many, there are fewer: this waits for nobody.
        """
        route = self._router.route(url)
        await self._pool.preconnect(route, check_count("count", count))

    async def aclose(self, drain: float | None = None) -> None:
        """Close every connection; exchanges in flight fail, unless they end within `drain` seconds."""
        if drain is None:
            self._pool.close()
        else:
            await self._pool.drain(monotonic() + check_drain(drain))

    def __repr__(self) -> str:
        figures = count(self._pool.ledger)
        shown = ", ".join(f"{name}={figures[name]:.0f}" for name in ("connections", "idle", "waiting"))
        return f"<{type(self).__name__} {shown}>"

    def __del__(self) -> None:
        # Absent when constructing failed.
        pool = self.__dict__.get("_pool")
        if pool is not None:
            pool.drop(repr(self))


class AsyncHTTPProxy(AsyncConnectionPool):
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
        backend: str | Backend = "auto",
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
            is_async=True,
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


class AsyncResponseStream(AsyncByteStream):
    """The body of a response, to be read once. Closing it is idempotent."""

    __slots__ = ("__weakref__", "body")

    body: Response
    """What is read: the pool puts it here."""

    @property
    def trailers(self) -> Headers:
        """The fields that came after the body (RFC 9110 §6.5), once it is read."""
        return self.body.trailers

    def __aiter__(self) -> AsyncIterator[bytes]:
        body = self.body
        if body.is_taken:
            raise RuntimeError("The response's body can be read only once.")
        body.is_taken = True
        return AsyncChunks(body)

    async def aclose(self) -> None:
        if self.body.stage is OPEN:
            await self.body.close()


class AsyncChunks:
    """The one iterator over a response's body."""

    __slots__ = ("_body",)

    def __init__(self, body: Response) -> None:
        self._body = body

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        chunk = self._body.try_receive()
        if chunk is None:
            chunk = await self._body.receive()
        if not chunk:
            raise StopAsyncIteration
        return chunk


class AsyncSource:
    """The caller's body stream: anything with `__aiter__`, and perhaps with `aclose`."""

    __slots__ = ("_iterator", "_stream")

    def __init__(self, stream: object) -> None:
        if not hasattr(stream, "__aiter__"):
            raise TypeError(f"A request body must have __aiter__, which {type(stream).__name__} has not.")
        self._stream: AsyncByteStream = stream  # type: ignore[assignment]
        self._iterator: AsyncIterator[bytes] | None = None

    async def next_chunk(self) -> bytes:
        if self._iterator is None:
            self._iterator = self._stream.__aiter__()
        while True:
            try:
                chunk = check_chunk(await self._iterator.__anext__())
            except StopAsyncIteration:
                return b""
            if chunk:
                return chunk

    async def close(self) -> None:
        close = getattr(self._stream, "aclose", None)
        if close is not None:
            await close()


async def _turn_away(stream: object) -> None:
    """Close a body that nobody will read. What is raised is why, and not what comes of this."""
    close = getattr(stream, "aclose", None)
    if close is not None:
        with suppress(Exception):
            await close()
