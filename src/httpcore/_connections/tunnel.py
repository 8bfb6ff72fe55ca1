"""Asking a proxy for a tunnel: CONNECT (RFC 9110 §9.3.6) or SOCKS5 (RFC 1928)."""

from __future__ import annotations

from dataclasses import replace

from .._backends.base import Stream
from .._exceptions import ConnectTimeout, ProxyError, RemoteProtocolError
from .._protocols.http11 import DEFAULT_LIMITS, Engine, ResponseHead
from .._protocols.socks5 import SOCKS5Handshake
from .._types import Headers
from .routes import Hop, Route
from .timeouts import Timeouts

CONNECT_LIMITS = replace(DEFAULT_LIMITS, head_size=16 * 1024)
"""A proxy's answer to CONNECT is read into memory before anything about it is known."""

RECEIVE_SIZE = 16 * 1024


class Tunnel:
    """One handshake with a proxy, on a stream that leads to it."""

    def __init__(self, stream: Stream, hop: Hop, *, timeouts: Timeouts, deadline: float | None) -> None:
        self._stream = stream
        self._hop = hop
        self._timeouts = timeouts
        self._deadline = deadline

    async def ask_http(self, route: Route) -> None:
        """CONNECT; any 2xx opens the tunnel."""
        engine = Engine(CONNECT_LIMITS)
        await self._send(engine.start_request(b"CONNECT", _target(route), self._headers(route)))
        engine.finish_body()
        head = await self._receive_head(engine)
        if not 200 <= head.status < 300:
            phrase = f"{head.status} {head.reason.decode('latin-1')}".rstrip()
            raise ProxyError(phrase, status=head.status, headers=head.headers)
        # Nobody in the tunnel can have spoken before we did.
        if engine.take_rest() or self._stream.try_receive(1) is not None:
            raise RemoteProtocolError(
                "Bytes followed the proxy's answer to CONNECT before the tunnel was used."
            )

    async def ask_socks5(self, route: Route) -> None:
        """SOCKS5; the proxy resolves names."""
        handshake = SOCKS5Handshake(route.host.encode("ascii"), route.port, auth=self._hop.auth)
        while True:
            if output := handshake.take_output():
                await self._send(output)
            if handshake.is_done:
                return
            handshake.feed(await self._receive())

    def _headers(self, route: Route) -> Headers:
        """The proxy's own headers win over ours; nothing of this travels inside the tunnel."""
        ours = [(b"Host", _target(route)), (b"Accept", b"*/*")]
        used = {name.lower() for name, _ in self._hop.headers}
        return [field for field in ours if field[0].lower() not in used] + list(self._hop.headers)

    async def _receive_head(self, engine: Engine) -> ResponseHead:
        while True:
            head = engine.next_head()
            if head is None:
                engine.feed(await self._receive())
            elif head.status >= 200 or head.status == 101:
                return head

    async def _send(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            sent = self._stream.try_send(view)
            view = view[sent:]
            if view and not await self._stream.wait(False, True, self._deadline):
                raise self._late()

    async def _receive(self) -> bytes:
        while (data := self._stream.try_receive(RECEIVE_SIZE)) is None:
            if not await self._stream.wait(True, False, self._deadline):
                raise self._late()
        return data

    def _late(self) -> ConnectTimeout:
        limit = self._timeouts.describe(self._timeouts.connect)
        return ConnectTimeout(f"The proxy {self._hop.label} did not answer within {limit}.")


def _target(route: Route) -> bytes:
    """`host:port`, always with the port (RFC 9112 §3.2.3)."""
    return route.label.encode("ascii")
