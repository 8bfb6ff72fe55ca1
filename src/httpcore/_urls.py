"""From the interface's URL tuple to a route, and the checks that come before anything is opened."""

from __future__ import annotations

import re

from ._connections.routes import Hop, Route
from ._exceptions import ConnectError, LocalProtocolError, UnsupportedProtocol
from ._protocols.fields import quote
from ._types import URL

DEFAULT_PORTS = {b"http": 80, b"https": 443}

is_misleading = re.compile(rb"[/?#@\\]").search
"""Whether a host holds a character that would end it, or begin another, in a URL (RFC 3986 §3.2)."""


def check_parts(url: URL) -> URL:
    """Return the URL's four parts, each of the kind that it must be."""
    try:
        scheme, host, port, target = url
    except (TypeError, ValueError):
        raise TypeError("The URL must be a tuple (scheme, host, port, target).") from None
    for name, part in (("scheme", scheme), ("host", host), ("target", target)):
        if not isinstance(part, bytes):
            raise TypeError(f"The URL's {name} must be bytes, not {type(part).__name__}.")
    if port is not None and (isinstance(port, bool) or not isinstance(port, int)):
        raise TypeError(f"The URL's port must be an int or None, not {type(port).__name__}.")
    return scheme, host, port, target


def check_url(url: URL) -> URL:
    """Return the four parts of a URL that leads to an origin."""
    scheme, host, port, target = check_parts(url)
    if scheme not in DEFAULT_PORTS:
        raise UnsupportedProtocol(f"Unsupported URL protocol {scheme.decode('latin-1')[:40]!r}")
    if not host:
        raise LocalProtocolError("Missing hostname in URL.")
    return scheme, host, port, target


def direct_route(scheme: bytes, host: bytes, port: int | None) -> Route:
    """The route to an origin without a proxy."""
    port = DEFAULT_PORTS[scheme] if port is None else port
    name = decode_host(host)
    return Route(
        # RFC 9110 §4.2.3: a host's case means nothing.
        key=(scheme, name.lower(), port),
        scheme=scheme,
        host=name,
        port=port,
        authority=authority(scheme, host, port),
        is_tls=scheme == b"https",
    )


def proxied_route(scheme: bytes, host: bytes, port: int | None, *, hop: Hop, is_forwarded: bool) -> Route:
    """The route through a proxy. All that a proxy forwards shares one key."""
    route = direct_route(scheme, host, port)
    if is_misleading(host):
        raise LocalProtocolError(f"The host {host[:80]!r} would lead a proxy elsewhere.")
    if not 0 < route.port < 65536:
        raise ConnectError(f"Cannot connect to {route.host}: {route.port} is not a port.")
    route.hop = hop
    if is_forwarded:
        shown = bracketed(host) if port is None else b"%b:%d" % (bracketed(host), port)
        route.key = (b"forward", hop.host, hop.port)
        route.is_forwarded = True
        route.target_prefix = b"%b://%b" % (scheme, shown)
    else:
        route.key = (b"tunnel", *_parts(route.key))
    return route


def absolute_target(route: Route, target: bytes) -> bytes:
    """The absolute form, for a proxy that forwards (RFC 9112 §3.2.2)."""
    if target[:1] in (b"/", b"?"):
        return route.target_prefix + target
    if target == b"*":
        # RFC 9112 §3.2.4: OPTIONS for the whole of an origin.
        return route.target_prefix
    raise LocalProtocolError(f"The target {quote(target)} cannot be forwarded: it has no '/' in front.")


def authority(scheme: bytes, host: bytes, port: int) -> bytes:
    """`host[:port]`, without the scheme's default port."""
    name = bracketed(host)
    return name if port == DEFAULT_PORTS.get(scheme) else b"%b:%d" % (name, port)


def bracketed(host: bytes) -> bytes:
    """An IPv6 address in brackets, any other host as it is (RFC 3986 §3.2.2)."""
    return b"[%b]" % host if b":" in host and not host.startswith(b"[") else host


def decode_host(host: bytes) -> str:
    """A host as the resolver wants it; what cannot be one is refused before anything is opened."""
    try:
        name = host.decode("ascii")
    except UnicodeDecodeError:
        raise LocalProtocolError(f"The host {host[:80]!r} is not ASCII; use its IDNA form.") from None
    if any(c <= " " or c == "\x7f" for c in name):
        raise LocalProtocolError(f"The host {host[:80]!r} contains spaces or control characters.")
    if name.startswith("[") and name.endswith("]"):
        name = name[1:-1]
    return name


def _parts(key: object) -> tuple[object, ...]:
    assert isinstance(key, tuple)
    return key
