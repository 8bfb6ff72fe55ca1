"""Asking a proxy for a tunnel: CONNECT (RFC 9110 §9.3.6) or SOCKS5 (RFC 1928)."""

from __future__ import annotations

from .._backends.base import RECEIVE_SIZE, Stream
from .._exceptions import ConnectTimeout, ProxyError, RemoteProtocolError
from .._protocols.http11 import CONNECT_LIMITS, Engine, ResponseHead
from .._protocols.socks5 import SOCKS5Handshake
from .._types import Headers
from .routes import Hop, Route
from .timeouts import Timeouts

SHOWN_SIZE = 200
"""Bytes of a proxy's own phrase that an error shows."""


class Tunnel:
    """One handshake with a proxy. What it will ask for is checked, and encoded, before anything is opened."""

    def __init__(
        self, hop: Hop, route: Route, *, timeouts: Timeouts, deadline: float | None, is_silent: bool = True
    ) -> None:
        self._hop = hop
        self._timeouts = timeouts
        self._deadline = deadline
        # Whether the origin cannot have spoken before we did. What one that did says must stay in the stream.
        self._is_silent = is_silent
        self._handshake: SOCKS5Handshake | None = None
        if hop.is_socks:
            self._handshake = SOCKS5Handshake(route.host.encode("ascii"), route.port, auth=hop.auth)
        else:
            self._engine = Engine(CONNECT_LIMITS)
            self._head = self._engine.start_request(b"CONNECT", _target(route), _headers(hop, route))
            self._engine.finish_body()

    async def open(self, stream: Stream) -> None:
        """Open the tunnel on a stream that leads to the proxy. Raises what went wrong."""
        if self._handshake is not None:
            await self._shake_hands(stream, self._handshake)
        else:
            await self._connect(stream)
        if self._is_silent and (data := stream.try_receive(1)) is not None:
            what = "sent more than its answer" if data else "closed the tunnel"
            raise RemoteProtocolError(f"The proxy {self._hop.label} {what} before it was used.")

    async def _connect(self, stream: Stream) -> None:
        """CONNECT; any 2xx opens the tunnel."""
        await self._send(stream, self._head)
        head = await self._receive_head(stream)
        if not 200 <= head.status < 300:
            phrase = f"{head.status} {head.reason[:SHOWN_SIZE].decode('latin-1')}".rstrip()
            raise ProxyError(phrase, status=head.status, headers=head.headers)
        if self._engine.take_rest():
            raise RemoteProtocolError(
                "Bytes followed the proxy's answer to CONNECT before the tunnel was used."
            )

    async def _shake_hands(self, stream: Stream, handshake: SOCKS5Handshake) -> None:
        """SOCKS5; the proxy resolves names."""
        while True:
            if output := handshake.take_output():
                await self._send(stream, output)
            if handshake.is_done:
                return
            handshake.feed(await self._receive(stream))

    async def _receive_head(self, stream: Stream) -> ResponseHead:
        engine = self._engine
        while True:
            head = engine.next_head()
            if head is None:
                engine.feed(await self._receive(stream))
            elif head.is_final:
                return head

    async def _send(self, stream: Stream, data: bytes) -> None:
        view = memoryview(data)
        while view:
            sent = stream.try_send(view)
            view = view[sent:]
            if view and not await stream.wait(False, True, self._deadline):
                raise self._late()

    async def _receive(self, stream: Stream) -> bytes:
        size = RECEIVE_SIZE if self._is_silent else 1
        while (data := stream.try_receive(size)) is None:
            if not await stream.wait(True, False, self._deadline):
                raise self._late()
        return data

    def _late(self) -> ConnectTimeout:
        limit = self._timeouts.describe(self._timeouts.connect)
        return ConnectTimeout(f"The proxy {self._hop.label} did not answer within {limit}.")


def _headers(hop: Hop, route: Route) -> Headers:
    """The proxy's own headers win over ours; nothing of this travels inside the tunnel."""
    ours = [(b"Host", _target(route)), (b"Accept", b"*/*")]
    used = {name.lower() for name, _ in hop.headers}
    return [field for field in ours if field[0].lower() not in used] + list(hop.headers)


def _target(route: Route) -> bytes:
    """`host:port`, always with the port (RFC 9112 §3.2.3)."""
    return route.label.encode("ascii")
