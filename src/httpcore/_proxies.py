"""What the proxy classes of both colours take, checked before anything is opened."""

from __future__ import annotations

from base64 import b64encode

from ._connections.routes import Hop
from ._requests import Router
from ._types import URL, Headers
from ._urls import decode_host

MODES = ("DEFAULT", "FORWARD_ONLY", "TUNNEL_ONLY")

DEFAULT_PORTS = {b"http": 80, b"https": 443, b"socks5": 1080, b"socks5h": 1080}


class ProxyOptions:
    """A proxy's URL, headers, mode and credentials, as a router."""

    def __init__(
        self,
        url: URL,
        headers: Headers | None,
        mode: str,
        auth: tuple[str | bytes, str | bytes] | None,
    ) -> None:
        scheme, host, port, _ = url
        if scheme not in DEFAULT_PORTS:
            raise ValueError(f"Unsupported proxy scheme {scheme!r}: use http, https, socks5 or socks5h.")
        if mode not in MODES:
            raise ValueError(f"Invalid proxy_mode {mode!r}: use one of {', '.join(MODES)}.")
        if not host:
            raise ValueError("The proxy URL has no host.")
        self.origin = (scheme, host, DEFAULT_PORTS[scheme] if port is None else port)
        self.given_headers: Headers = [] if headers is None else list(headers)
        is_socks = scheme.startswith(b"socks")
        if is_socks and mode == "FORWARD_ONLY":
            raise ValueError("A SOCKS proxy tunnels everything; proxy_mode='FORWARD_ONLY' does not apply.")
        credentials = None if auth is None else (_encode(auth[0]), _encode(auth[1]))
        fields = list(self.given_headers)
        if credentials is not None and not is_socks:
            token = b64encode(b"%b:%b" % credentials)
            fields.append((b"Proxy-Authorization", b"Basic " + token))
        hop = Hop(
            scheme=scheme,
            host=decode_host(host),
            port=self.origin[2],
            headers=tuple(fields),
            auth=credentials if is_socks else None,
        )
        forwards = {"DEFAULT": (b"http",), "FORWARD_ONLY": (b"http", b"https"), "TUNNEL_ONLY": ()}[mode]
        self.router = Router(hop=hop, forwards=() if is_socks else forwards, headers=fields)


def _encode(text: str | bytes) -> bytes:
    return text.encode("utf-8") if isinstance(text, str) else text
