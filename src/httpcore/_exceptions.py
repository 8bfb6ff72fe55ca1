"""The errors a transport raises, named by who must act: the caller, the peer, the network, time, the pool.

Every error carries `request_sent`. It is `False` only when no byte of the request can have reached the
peer, so a caller who asks "may I send my POST again?" has an answer.
"""

from __future__ import annotations


class _TransportError(Exception):
    request_sent: bool = False


class UnsupportedProtocol(_TransportError):
    """The URL's scheme is neither `http` nor `https`."""


class ProxyError(_TransportError):
    """A proxy refused, or anything failed while a tunnel was set up; `__cause__` is the real error.

    Where the proxy answered with a response, `status` is its code and `headers` are its fields.
    """

    status: int | None = None

    def __init__(
        self, *args: object, status: int | None = None, headers: list[tuple[bytes, bytes]] | None = None
    ) -> None:
        super().__init__(*args)
        self.status = status
        self.headers: list[tuple[bytes, bytes]] = [] if headers is None else headers


class ProtocolError(_TransportError):
    """A message breaks the rules of its protocol."""


class RemoteProtocolError(ProtocolError):
    """The peer sent what HTTP does not allow, or stopped in the middle of it."""


class LocalProtocolError(ProtocolError):
    """The caller asked for what HTTP does not allow."""


class TimeoutException(_TransportError):
    """A limit of `ext["timeout"]`, in seconds, ran out."""


class PoolTimeout(TimeoutException):
    """No connection, or no HTTP/2 stream, became free within `timeout["pool"]`."""


class ConnectTimeout(TimeoutException):
    """Looking up, connecting and shaking hands took longer than `timeout["connect"]`."""


class ReadTimeout(TimeoutException):
    """Nothing arrived within `timeout["read"]`."""


class WriteTimeout(TimeoutException):
    """Nothing could be sent within `timeout["write"]`."""


class NetworkError(_TransportError):
    """The network failed."""


class ConnectError(NetworkError):
    """No connection could be made: name lookup, TCP, Unix socket or TLS."""


class ReadError(NetworkError):
    """Receiving failed, or the connection was closed under its reader."""


class WriteError(NetworkError):
    """Sending failed."""


class CloseError(NetworkError):
    """Closing failed."""
