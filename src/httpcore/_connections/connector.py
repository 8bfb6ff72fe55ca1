"""The one path to an open connection: dial → proxy → TLS → ALPN → engine.

Each attempt has one deadline. Whatever ends an attempt early, a cancellation included, aborts the stream
before the exception leaves; none of that waits.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from time import monotonic
from typing import TYPE_CHECKING, cast

from .._backends.addresses import Address, AddressCache, Resolver, look_up
from .._backends.base import Backend, Connecting, Stream
from .._backends.dialling import dial, dial_unix
from .._exceptions import (
    ConnectError,
    ConnectTimeout,
    NetworkError,
    ProtocolError,
    ProxyError,
    TimeoutException,
)
from .._types import SocketOption
from .base import Connection
from .http11 import HTTP11Connection
from .routes import Hop, Route
from .timeouts import Timeouts
from .trace import Info, Trace, traced
from .tunnel import Tunnel

if TYPE_CHECKING:
    import ssl

    from .contexts import SessionCache
    from .http2 import HTTP2Connection

BACK_OFF = 0.5
"""Seconds before the second of the further attempts; twice as many before each that follows it."""


class Connector:
    """Opens connections with one set of options."""

    def __init__(
        self,
        *,
        ssl_context: ssl.SSLContext | None = None,
        proxy_ssl_context: ssl.SSLContext | None = None,
        http1: bool = True,
        http2: bool = False,
        uds: str | bytes | None = None,
        local_address: str | None = None,
        retries: int = 0,
        socket_options: Iterable[SocketOption] | None = None,
        tcp_keepalive: bool = True,
        resolver: Resolver | None = None,
        dns_ttl: float | None = None,
        ping_interval: float | None = None,
        ping_timeout: float | None = None,
    ) -> None:
        self.http1 = http1
        self.http2 = http2
        self._ssl_context = ssl_context
        self._proxy_ssl_context = proxy_ssl_context
        self._uds = uds
        self._local_address = local_address
        self._retries = retries
        self._socket_options = list(socket_options or ())
        self._tcp_keepalive = tcp_keepalive
        self._resolver = resolver
        self._addresses = AddressCache(dns_ttl)
        self._sessions: SessionCache | None = None
        self._ping_interval = ping_interval
        self._ping_timeout = ping_timeout

    def may_multiplex(self, route: Route) -> bool:
        """Whether a connection may turn out to carry many exchanges at once."""
        return self.http2 and (route.is_tls or not self.http1) and not route.is_forwarded

    async def open(
        self, route: Route, backend: Backend, *, timeouts: Timeouts, trace: Trace | None
    ) -> Connection:
        """Open a connection, with as many further attempts as `retries` says."""
        attempt = 0
        while True:
            try:
                return await Attempt(self, route, backend, timeouts=timeouts, trace=trace).run()
            except (ConnectError, ConnectTimeout, ProxyError) as exc:
                is_worth_it = _is_about_connecting(exc)
                is_over = timeouts.total is not None and monotonic() >= timeouts.total
                is_ours = trace is None or not trace.has_failed
                if attempt >= self._retries or is_over or not is_worth_it or not is_ours:
                    raise
            attempt += 1
            await self._back_off(attempt, backend, timeouts, trace)

    async def _back_off(
        self, attempt: int, backend: Backend, timeouts: Timeouts, trace: Trace | None
    ) -> None:
        """Wait 0, 0.5, 1, 2, 4 … seconds before the next attempt."""
        delay = 0.0 if attempt == 1 else BACK_OFF * 2 ** (attempt - 2)
        if timeouts.total is not None:
            delay = max(0.0, min(delay, timeouts.total - monotonic()))
        await traced(trace, "connection.retry", {"attempt": attempt, "delay": delay}, backend.sleep, delay)


def _is_about_connecting(exc: Exception) -> bool:
    """Whether connecting is all that failed, so that another attempt may help."""
    # A function of its own: a variable in a frame that the error's traceback holds must not hold the error.
    cause = exc.__cause__ if isinstance(exc, ProxyError) else exc
    return isinstance(cause, (ConnectError, ConnectTimeout))


class Attempt:
    """One try at one route, under one deadline. `stream` is the outermost layer so far."""

    def __init__(
        self,
        connector: Connector,
        route: Route,
        backend: Backend,
        *,
        timeouts: Timeouts,
        trace: Trace | None,
    ) -> None:
        self._connector = connector
        self._route = route
        self._backend = backend
        self._timeouts = timeouts
        self._trace = trace
        self._deadline = timeouts.deadline(timeouts.connect)
        self._stream: Stream | None = None

    async def run(self) -> Connection:
        try:
            await self._reach()
            return await self._speak()
        except BaseException as exc:
            if self._stream is not None:
                self._stream.abort()
                if isinstance(exc, Exception):
                    # A loop closes in its next turn: nobody hears of the failure before that is done.
                    await self._backend.checkpoint()
            raise

    async def _reach(self) -> None:
        """Get a stream to whoever speaks HTTP with us: the origin, or a forwarding proxy."""
        route = self._route
        hop = route.hop
        if hop is None:
            await self._dial(route.host, route.port)
        elif route.is_forwarded:
            await self._reach_hop(hop)
        else:
            try:
                await self._tunnel_through(hop)
            except ProxyError:
                raise
            except (NetworkError, ProtocolError, TimeoutException) as exc:
                raise ProxyError(f"No tunnel through the proxy {hop.label}: {exc}") from exc
        if route.is_tls and not route.is_forwarded:
            await self._secure(route.host, label=route.label, is_origin=True)

    async def _reach_hop(self, hop: Hop) -> None:
        await self._dial(hop.host, hop.port)
        if hop.scheme == b"https":
            await self._secure(hop.host, label=hop.label, is_origin=False)

    async def _tunnel_through(self, hop: Hop) -> None:
        """Get a stream to the origin by asking the proxy for one."""
        connector = self._connector
        tunnel = Tunnel(
            hop,
            self._route,
            timeouts=self._timeouts,
            deadline=self._deadline,
            # The server may be first where it is known to speak HTTP/2 (RFC 9113 §3.4).
            is_silent=self._route.is_tls or connector.http1,
        )
        await self._reach_hop(hop)
        assert self._stream is not None
        if hop.is_socks:
            info: Info = {"auth": hop.auth is not None}
            await traced(self._trace, "socks.setup_socks5_connection", info, tunnel.open, self._stream)
        else:
            await tunnel.open(self._stream)

    # Each layer.

    async def _dial(self, host: str, port: int) -> None:
        connector = self._connector
        hop = self._route.hop
        name = "socks.connect_tcp" if hop is not None and hop.is_socks else "connection.connect_tcp"
        info: Info = {"host": host, "port": port, "timeout": self._timeouts.connect}
        # `isinstance` of a protocol takes 23 µs (CPython 3.11), a seventh of opening a connection in sync.
        if hasattr(self._backend, "connect"):
            connecting = cast(Connecting, self._backend)
            await traced(self._trace, name, info, self._connect, connecting, host, port)
            return
        if connector._uds is not None:
            info = {"path": connector._uds, "timeout": self._timeouts.connect}
            await traced(self._trace, "connection.connect_unix_socket", info, self._dial_unix)
            return
        addresses = await traced(
            self._trace, "connection.lookup", {"host": host, "port": port}, self._look_up, host, port
        )
        info["local_address"] = connector._local_address
        await traced(self._trace, name, info, self._dial_tcp, addresses, host, port)

    async def _connect(self, backend: Connecting, host: str, port: int) -> Stream:
        """The backend's own way, whatever it is."""
        connector = self._connector
        self._stream = await backend.connect(
            host,
            port,
            uds=connector._uds,
            local_address=connector._local_address,
            socket_options=connector._socket_options,
            deadline=self._deadline,
        )
        return self._stream

    async def _dial_unix(self) -> Stream:
        connector = self._connector
        assert connector._uds is not None
        sock = await dial_unix(
            self._backend,
            connector._uds,
            socket_options=connector._socket_options,
            deadline=self._deadline,
            limit=self._describe_limit,
        )
        self._stream = await self._backend.adopt(sock)
        return self._stream

    def _describe_limit(self) -> str:
        return self._timeouts.describe(self._timeouts.connect)

    async def _look_up(self, host: str, port: int) -> list[Address]:
        connector = self._connector
        return await look_up(
            self._backend,
            host,
            port,
            local_address=connector._local_address,
            deadline=self._deadline,
            limit=self._describe_limit,
            resolver=connector._resolver,
            cache=connector._addresses,
        )

    async def _dial_tcp(self, addresses: list[Address], host: str, port: int) -> Stream:
        connector = self._connector
        sock = await dial(
            self._backend,
            addresses,
            host=host,
            local_address=connector._local_address,
            socket_options=connector._socket_options,
            tcp_keepalive=connector._tcp_keepalive,
            deadline=self._deadline,
            limit=self._describe_limit,
        )
        self._stream = await self._backend.adopt(sock)
        return self._stream

    async def _secure(self, host: str, *, label: str, is_origin: bool) -> None:
        hop = self._route.hop
        if hop is None or not is_origin:
            name = "connection.start_tls"
        else:
            name = "socks.start_tls" if hop.is_socks else "proxy.start_tls"
        info: Info = {"server_hostname": host, "timeout": self._timeouts.connect}
        await traced(self._trace, name, info, self._start_tls, host, label, is_origin)

    async def _start_tls(self, host: str, label: str, is_origin: bool) -> Stream:
        from .contexts import SessionCache, create_engine, default_context, session_key
        from .tls import TLSStream

        connector = self._connector
        given = connector._ssl_context if is_origin else connector._proxy_ssl_context
        context = default_context() if given is None else given
        if connector._sessions is None:
            connector._sessions = SessionCache()
        key = session_key(context, label)
        assert self._stream is not None
        tls = TLSStream(
            self._stream,
            create_engine(context, host, alpn=self._offer(is_origin), session=connector._sessions.get(key)),
            peer=label,
            keep_session=partial(connector._sessions.put, key),
        )
        self._stream = tls
        if not await tls.handshake(self._deadline):
            limit = self._timeouts.describe(self._timeouts.connect)
            raise ConnectTimeout(f"The TLS handshake with {label} took longer than {limit}.")
        return tls

    def _offer(self, is_origin: bool) -> tuple[str, ...] | None:
        """What ALPN offers; `None` leaves the context as its owner made it."""
        if not is_origin:
            # A proxy is spoken to in HTTP/1.1, whatever else its context is used for.
            return ("http/1.1",)
        if not self._connector.http2:
            return None
        return ("h2", "http/1.1") if self._connector.http1 else ("h2",)

    async def _speak(self) -> Connection:
        """Put the engine on the stream that ALPN, or prior knowledge, asks for."""
        stream = self._stream
        assert stream is not None
        connector = self._connector
        route = self._route
        peer = route.hop.label if route.is_forwarded and route.hop is not None else route.label
        if route.is_forwarded or not connector.http2 or not self._agreed_on_http2(stream):
            return HTTP11Connection(stream, peer=peer, checkpoint=self._backend.checkpoint)
        from .http2 import HTTP2Connection

        connection = HTTP2Connection(
            stream,
            peer=peer,
            backend=self._backend,
            ping_interval=connector._ping_interval,
            ping_timeout=connector._ping_timeout,
        )
        info: Info = {"peer": peer}
        await traced(self._trace, "http2.send_connection_init", info, self._start_http2, connection)
        if self._trace is not None:
            # It completes when they come: nobody waits for them (RFC 9113 §3.4).
            connection.owes_settings_event = True
            await self._trace.emit("http2.receive_remote_settings.started", info)
        return connection

    def _agreed_on_http2(self, stream: Stream) -> bool:
        """Whether the two sides speak HTTP/2: by ALPN, or because the caller says so (RFC 9113 §3.3)."""
        if not self._route.is_tls:
            return not self._connector.http1
        ssl_object = stream.get_extra_info("ssl_object")
        agreed = getattr(ssl_object, "selected_alpn_protocol", lambda: None)()
        if agreed != "h2":
            if self._connector.http1:
                return False
            # Prior knowledge is for plain TCP; over TLS it takes both sides (RFC 9113 §3.2).
            chosen = "nothing" if agreed is None else repr(agreed)
            raise ConnectError(f"{self._route.label} did not agree to HTTP/2: ALPN chose {chosen}.")
        version = getattr(ssl_object, "version", lambda: None)()
        if version in ("SSLv3", "TLSv1", "TLSv1.1"):
            raise ConnectError(f"{self._route.label} speaks HTTP/2 over {version}, which is inadequate.")
        return True

    async def _start_http2(self, connection: HTTP2Connection) -> None:
        connection.start()
