"""The errors a transport raises, named by who must act: the caller, the peer, the network, time, the pool.

Every error carries `request_sent`. It is `False` only when no byte of the request can have reached the
peer, so a caller who asks "may I send my POST again?" has an answer.
"""

from __future__ import annotations


class UnsupportedProtocol(Exception):
    """The URL's scheme is neither `http` nor `https`."""

    request_sent: bool = False


class ProxyError(Exception):
    """A proxy refused, or anything failed while a tunnel was set up; `__cause__` is the real error.

    Where the proxy answered with a response, `status` is its code and `headers` are its fields.
    """

    request_sent: bool = False
    status: int | None = None

    def __init__(
        self, *args: object, status: int | None = None, headers: list[tuple[bytes, bytes]] | None = None
    ) -> None:
        super().__init__(*args)
        self.status = status
        self.headers: list[tuple[bytes, bytes]] = [] if headers is None else headers


class ProtocolError(Exception):
    """A message breaks the rules of its protocol."""

    request_sent: bool = False


class RemoteProtocolError(ProtocolError):
    """The peer sent what HTTP does not allow, or stopped in the middle of it."""


class LocalProtocolError(ProtocolError):
    """The caller asked for what HTTP does not allow."""


class TimeoutException(Exception):
    """A limit of `ext["timeout"]`, in seconds, ran out."""

    request_sent: bool = False


class PoolTimeout(TimeoutException):
    """No connection, or no HTTP/2 stream, became free within `timeout["pool"]`."""


class ConnectTimeout(TimeoutException):
    """Looking up, connecting and shaking hands took longer than `timeout["connect"]`."""


class ReadTimeout(TimeoutException):
    """Nothing arrived within `timeout["read"]`."""


class WriteTimeout(TimeoutException):
    """Nothing could be sent within `timeout["write"]`."""


class NetworkError(Exception):
    """The network failed."""

    request_sent: bool = False


class ConnectError(NetworkError):
    """No connection could be made: name lookup, TCP, Unix socket or TLS."""


class ReadError(NetworkError):
    """Receiving failed, or the connection was closed under its reader."""


class WriteError(NetworkError):
    """Sending failed."""


class CloseError(NetworkError):
    """Closing failed."""


def shed_frames(exc: BaseException) -> None:
    """Rid an error that will be kept of the frames it went through: they may hold whoever keeps it."""
    for error in (exc, exc.__cause__):
        if error is not None:
            error.__traceback__ = error.__context__ = None
