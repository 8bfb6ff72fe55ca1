"""The client's side of a SOCKS5 handshake (RFC 1928, RFC 1929): bytes in, bytes out. No I/O.

    METHOD ──▶ AUTH ──▶ REPLY ──▶ DONE
       └───────────────▶ ┘

Replies may be split at any byte. Bytes after the last one are an error: nobody has spoken yet.
"""

from __future__ import annotations

import enum

from .._exceptions import LocalProtocolError, ProxyError, RemoteProtocolError

NO_AUTH, PASSWORD, NONE_ACCEPTABLE = 0x00, 0x02, 0xFF

IPV4, NAME, IPV6 = 0x01, 0x03, 0x04
"""The kinds of addresses (RFC 1928 §5)."""

LONGEST_STRING = 255
"""Bytes of a name, a username or a password: a single byte counts them."""

REPLIES = {
    1: "general SOCKS server failure",
    2: "connection not allowed by ruleset",
    3: "network unreachable",
    4: "host unreachable",
    5: "connection refused",
    6: "TTL expired",
    7: "command not supported",
    8: "address type not supported",
}
"""RFC 1928 §6."""


class Stage(enum.Enum):
    METHOD = "the choice of a method"
    AUTH = "the answer to the password"
    REPLY = "the reply to the request"
    DONE = "nothing"


class SOCKS5Handshake:
    """Asks a SOCKS5 proxy for a connection to `host:port`; names are resolved by the proxy."""

    def __init__(self, host: bytes, port: int, *, auth: tuple[bytes, bytes] | None = None) -> None:
        if auth is not None and not all(1 <= len(part) <= LONGEST_STRING for part in auth):
            raise LocalProtocolError(f"A SOCKS5 username and password have 1 to {LONGEST_STRING} bytes each.")
        if not 0 <= port <= 0xFFFF:
            raise LocalProtocolError(f"The port {port} is out of range.")
        self._request = b"\x05\x01\x00" + _encode_address(host) + port.to_bytes(2, "big")
        self._auth = auth
        self._stage = Stage.METHOD
        self._data = b""
        methods = bytes((NO_AUTH,) if auth is None else (NO_AUTH, PASSWORD))
        self._output = bytes((5, len(methods))) + methods

    @property
    def is_done(self) -> bool:
        return self._stage is Stage.DONE

    def take_output(self) -> bytes:
        """What is to be sent now."""
        output, self._output = self._output, b""
        return output

    def feed(self, data: bytes) -> None:
        """Bytes from the proxy; `b""` is the end. Raises `RemoteProtocolError` and `ProxyError`."""
        if not data:
            raise RemoteProtocolError(f"The proxy closed the connection before {self._stage.value}.")
        self._data += data
        while self._data and self._advance():
            pass

    def _advance(self) -> bool:
        """Take one message off the input, if it is complete."""
        if self._stage is Stage.DONE:
            raise RemoteProtocolError("The SOCKS5 proxy sent bytes after its reply.")
        if self._output:
            raise RemoteProtocolError("The SOCKS5 proxy answered before it was asked.")
        size = self._size()
        if len(self._data) < size:
            return False
        message, self._data = self._data[:size], self._data[size:]
        if self._stage is Stage.METHOD:
            self._choose(message[1])
        elif self._stage is Stage.AUTH:
            if message[1] != 0:
                raise ProxyError("The SOCKS5 proxy refused the username or the password.")
            self._ask()
        else:
            self._stage = Stage.DONE
        return True

    def _size(self) -> int:
        """The size of the message that the input begins with, as far as it is known yet."""
        data = self._data
        version = 1 if self._stage is Stage.AUTH else 5
        if data[0] != version:
            raise RemoteProtocolError(f"The proxy does not speak SOCKS5: it answered with {data[:16]!r}.")
        if self._stage is not Stage.REPLY:
            return 2
        if len(data) >= 2 and data[1] != 0:
            reason = REPLIES.get(data[1], f"unknown reply {data[1]}")
            raise ProxyError(f"The SOCKS5 proxy refused: {reason}.")
        if len(data) < 5:
            return 5
        # Version, reply, a reserved byte and the kind come before the address, two bytes of port after it.
        sizes = {IPV4: 6 + 4, NAME: 6 + 1 + data[4], IPV6: 6 + 16}
        if data[3] not in sizes:
            raise RemoteProtocolError(f"The SOCKS5 proxy sent an unknown address type {data[3]}.")
        return sizes[data[3]]

    def _choose(self, method: int) -> None:
        if method == NO_AUTH:
            self._ask()
        elif method == PASSWORD and self._auth is not None:
            user, password = self._auth
            self._stage = Stage.AUTH
            self._output += b"\x01" + bytes((len(user),)) + user + bytes((len(password),)) + password
        elif method == NONE_ACCEPTABLE:
            raise ProxyError("The SOCKS5 proxy accepts none of the authentication methods offered.")
        else:
            raise RemoteProtocolError(f"The SOCKS5 proxy chose method {method}, which was not offered.")

    def _ask(self) -> None:
        self._stage = Stage.REPLY
        self._output += self._request


def _encode_address(host: bytes) -> bytes:
    """RFC 1928 §5."""
    # Here, since it costs every user of the package more to load than all of this room.
    import ipaddress

    try:
        address = ipaddress.ip_address(host.decode("ascii"))
    except ValueError:
        if not 1 <= len(host) <= LONGEST_STRING:
            raise LocalProtocolError(
                f"A name for a SOCKS5 proxy has 1 to {LONGEST_STRING} bytes, not {len(host)}."
            ) from None
        return bytes((NAME, len(host))) + host
    return bytes((IPV4 if address.version == 4 else IPV6,)) + address.packed
