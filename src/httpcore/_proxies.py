"""What the proxy classes of both colours take, checked before anything is opened."""

from __future__ import annotations

from ._connections.routes import Hop
from ._exceptions import LocalProtocolError
from ._protocols.fields import find_control, find_name, quote, quote_field
from ._protocols.socks5 import LONGEST_STRING
from ._requests import Router
from ._types import URL, HeaderFields, Headers
from ._urls import DEFAULT_PORTS, check_parts, decode_host

MODES = ("DEFAULT", "FORWARD_ONLY", "TUNNEL_ONLY")

PROXY_PORTS = {**DEFAULT_PORTS, b"socks5": 1080, b"socks5h": 1080}

FRAMING = (b"content-length", b"transfer-encoding")
"""What no proxy header may be: a CONNECT has no body, and what is forwarded has the request's."""

Auth = tuple[str | bytes, str | bytes]


class ProxyOptions:
    """A proxy's URL, headers, mode and credentials, as a router."""

    def __init__(self, url: URL, headers: Headers | None, mode: str, auth: Auth | None) -> None:
        self.origin = scheme, host, port = _check_url(url)
        self.given_headers: Headers = [] if headers is None else list(headers)
        if mode not in MODES:
            raise ValueError(f"Invalid proxy_mode {mode!r}: use one of {', '.join(MODES)}.")
        _check_headers(self.given_headers)
        is_socks = scheme.startswith(b"socks")
        if is_socks and mode == "FORWARD_ONLY":
            raise ValueError("A SOCKS proxy tunnels everything; proxy_mode='FORWARD_ONLY' does not apply.")
        if is_socks and self.given_headers:
            raise ValueError("A SOCKS proxy takes no headers; proxy_headers does not apply.")
        credentials = None if auth is None else _read_auth(auth)
        fields = tuple(self.given_headers)
        if credentials is not None and is_socks:
            _check_size(credentials)
        elif credentials is not None:
            fields = (*fields, _basic(credentials, fields))
        hop = Hop(
            scheme=scheme,
            host=decode_host(host),
            port=port,
            headers=fields,
            auth=credentials if is_socks else None,
        )
        forwards = {"DEFAULT": (b"http",), "FORWARD_ONLY": (b"http", b"https"), "TUNNEL_ONLY": ()}[mode]
        self.router = Router(hop=hop, forwards=() if is_socks else forwards, headers=fields)


def _check_url(url: URL) -> tuple[bytes, bytes, int]:
    """Scheme, host and port of a proxy."""
    scheme, host, port, _ = check_parts(url)
    if scheme not in PROXY_PORTS:
        raise ValueError(f"Unsupported proxy scheme {scheme[:40]!r}: use http, https, socks5 or socks5h.")
    if not host:
        raise ValueError("The proxy URL has no host.")
    if b"@" in host:
        # Not quoted: what is before it may be a password.
        raise ValueError("The proxy URL's host holds an '@'; credentials are given as proxy_auth.")
    try:
        decode_host(host)
    except LocalProtocolError as exc:
        raise ValueError(f"The proxy URL is of no use. {exc}") from None
    if port is not None and not 0 <= port <= 0xFFFF:
        raise ValueError(f"The proxy URL's port {port} is out of range.")
    return scheme, host, PROXY_PORTS[scheme] if port is None else port


def _check_headers(headers: HeaderFields) -> None:
    """Raise `LocalProtocolError` for what no proxy should be sent (RFC 9110 §5)."""
    for name, value in headers:
        if not isinstance(name, bytes) or not isinstance(value, bytes):
            raise TypeError("proxy_headers must be pairs of bytes.")
        known = find_name(name)
        if known is None:
            raise LocalProtocolError(f"The name {quote(name)} in proxy_headers is not a token.")
        if find_control(value):
            raise LocalProtocolError(f"A value in proxy_headers holds a control: {quote_field(name, value)}.")
        if known.lowered in FRAMING:
            raise LocalProtocolError(f"proxy_headers cannot hold {quote(name)}, which speaks of a body.")


def _read_auth(auth: Auth) -> tuple[bytes, bytes]:
    if not isinstance(auth, (tuple, list)) or [isinstance(part, (str, bytes)) for part in auth] != [
        True,
        True,
    ]:
        raise TypeError("proxy_auth must be (username, password), each str or bytes.")
    user, password = auth
    return _encode(user), _encode(password)


def _check_size(credentials: tuple[bytes, bytes]) -> None:
    if not all(1 <= len(part) <= LONGEST_STRING for part in credentials):
        raise ValueError(
            f"The username and the password of a SOCKS5 proxy have 1 to {LONGEST_STRING} bytes each."
        )


def _basic(credentials: tuple[bytes, bytes], others: HeaderFields) -> tuple[bytes, bytes]:
    """The field of Basic authentication (RFC 7617 §2)."""
    user, password = credentials
    if any(name.lower() == b"proxy-authorization" for name, _ in others):
        raise ValueError("There is a Proxy-Authorization in proxy_headers, and proxy_auth as well.")
    if b":" in user:
        raise ValueError("The username in proxy_auth holds a colon, which Basic authentication cannot carry.")
    if find_control(user) or find_control(password):
        raise ValueError("proxy_auth holds a control character, which Basic authentication cannot carry.")
    # Few programs need it, and all that import us would pay for it.
    from base64 import b64encode

    return b"Proxy-Authorization", b"Basic " + b64encode(b"%b:%b" % credentials)


def _encode(text: str | bytes) -> bytes:
    return text.encode("utf-8") if isinstance(text, str) else text
