"""What every error carries: whether the peer may have seen the request, and who the peer was."""

from __future__ import annotations

from .._exceptions import (
    NetworkError,
    ProtocolError,
    ProxyError,
    ReadError,
    RemoteProtocolError,
    TimeoutException,
    UnsupportedProtocol,
    WriteError,
)

TRANSPORT_ERRORS = (NetworkError, ProtocolError, ProxyError, TimeoutException, UnsupportedProtocol)


def mark_sent(exc: BaseException, sent: bool) -> None:
    """Note on an error of ours whether a byte of the request went out."""
    if sent and isinstance(exc, TRANSPORT_ERRORS):
        exc.request_sent = True


def name_peer(exc: BaseException, peer: str) -> None:
    """Name the peer in an error of a backend or a protocol, which do not know it."""
    if isinstance(exc, (ReadError, WriteError, RemoteProtocolError)) and peer not in str(exc):
        exc.args = (f"{str(exc).removesuffix('.')} ({peer}).",)
