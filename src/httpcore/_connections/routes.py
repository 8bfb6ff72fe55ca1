"""Where a request goes: what an interface hands to the engine instead of a URL."""

from __future__ import annotations

from dataclasses import dataclass
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


@dataclass(frozen=True, slots=True)
class Route:
    """Everything that opening a connection, and speaking on it, needs to know about where it leads."""

    key: object
    """Requests with equal keys may share connections."""
    scheme: bytes
    host: str
    """What is dialled, or what the proxy is asked for; an IPv6 address without brackets."""
    port: int
    authority: bytes
    """`host[:port]` as HTTP writes it, without the default port of its scheme."""
    is_tls: bool
    """TLS with the host as server name, after the tunnel if there is one."""
    hop: Hop | None = None
    is_forwarded: bool = False
    """The hop is spoken to in absolute form instead of being asked for a tunnel."""
    target_prefix: bytes = b""
    """What makes a target absolute."""

    @property
    def label(self) -> str:
        return label(self.host, self.port)


def label(host: str, port: int) -> str:
    """How errors name a peer."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
