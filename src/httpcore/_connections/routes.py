"""Where a request goes: what an interface hands to the engine instead of a URL."""

from __future__ import annotations

from typing import NamedTuple

from .._types import HeaderFields


class Hop(NamedTuple):
    """A proxy on the way."""

    scheme: bytes
    """`http`, `https`, `socks5` or `socks5h`."""
    host: str
    port: int
    headers: HeaderFields = ()
    """What goes with CONNECT, or with each forwarded request."""
    auth: tuple[bytes, bytes] | None = None
    """Username and password of a SOCKS5 proxy."""

    @property
    def label(self) -> str:
        return label(self.host, self.port)

    @property
    def is_socks(self) -> bool:
        return self.scheme.startswith(b"socks")

    def __repr__(self) -> str:
        # Neither headers nor password: they may be credentials.
        return f"<Hop {self.scheme.decode('ascii')}://{self.label}>"


class Route:
    """Everything that opening a connection, and speaking on it, needs to know about where it leads.

    Requests share it, so nobody may change it once it is known. No named tuple: reading one of
    its fields costs as much as a call, and each request reads some.
    """

    __slots__ = (
        "authority",
        "hop",
        "host",
        "is_forwarded",
        "is_tls",
        "key",
        "port",
        "scheme",
        "target_prefix",
    )

    def __init__(
        self, *, key: object, scheme: bytes, host: str, port: int, authority: bytes, is_tls: bool
    ) -> None:
        self.key = key
        """Requests with equal keys may share connections."""
        self.scheme = scheme
        self.host = host
        """What is dialled, or what the proxy is asked for; an IPv6 address without brackets."""
        self.port = port
        self.authority = authority
        """`host[:port]` as HTTP writes it, without the default port of its scheme."""
        self.is_tls = is_tls
        """TLS with the host as server name, after the tunnel if there is one."""
        self.hop: Hop | None = None
        self.is_forwarded = False
        """The hop is spoken to in absolute form instead of being asked for a tunnel."""
        self.target_prefix = b""
        """What makes a target absolute."""

    @property
    def label(self) -> str:
        return label(self.host, self.port)


def label(host: str, port: int) -> str:
    """How errors name a peer."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
