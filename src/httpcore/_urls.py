"""From the interface's URL tuple to a route, and the checks that come before anything is opened."""

from __future__ import annotations

from ._connections.routes import Hop, Route
from ._exceptions import LocalProtocolError, UnsupportedProtocol
from ._types import URL, Headers

DEFAULT_PORTS = {b"http": 80, b"https": 443}


def check_url(url: URL) -> URL:
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
    if scheme not in DEFAULT_PORTS:
        raise UnsupportedProtocol(f"Unsupported URL protocol {scheme.decode('latin-1')[:40]!r}")
    if not host:
        raise LocalProtocolError("Missing hostname in URL.")
    return scheme, host, port, target


def direct_route(scheme: bytes, host: bytes, port: int | None) -> Route:
    """The route to an origin without a proxy."""
    port = DEFAULT_PORTS[scheme] if port is None else port
    return Route(
        key=(scheme, host, port),
        scheme=scheme,
        host=decode_host(host),
        port=port,
        authority=authority(scheme, host, port),
        is_tls=scheme == b"https",
    )


def proxied_route(scheme: bytes, host: bytes, port: int | None, *, hop: Hop, is_forwarded: bool) -> Route:
    """The route through a proxy. All that a proxy forwards shares one key."""
    direct = direct_route(scheme, host, port)
    if is_forwarded:
        return direct._replace(key=(b"forward", hop.host, hop.port), hop=hop, is_forwarded=True)
    return direct._replace(key=(b"tunnel", *_parts(direct.key)), hop=hop)


def absolute_target(scheme: bytes, host: bytes, port: int | None, target: bytes) -> bytes:
    """The absolute form, for a proxy that forwards (RFC 9112 §3.2.2)."""
    shown = bracketed(host) if port is None else b"%b:%d" % (bracketed(host), port)
    return b"%b://%b%b" % (scheme, shown, target)


def authority(scheme: bytes, host: bytes, port: int) -> bytes:
    """`host[:port]`, without the scheme's default port."""
    name = bracketed(host)
    return name if port == DEFAULT_PORTS[scheme] else b"%b:%d" % (name, port)


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


def merge_headers(ours: Headers, theirs: Headers) -> Headers:
    """`ours` whose names the other list does not use, then the other list."""
    used = {name.lower() for name, _ in theirs}
    return [(name, value) for name, value in ours if name.lower() not in used] + list(theirs)


def _parts(key: object) -> tuple[object, ...]:
    assert isinstance(key, tuple)
    return key
