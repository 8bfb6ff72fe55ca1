"""What every error carries: whether the peer may have seen the request."""

from __future__ import annotations

from .._exceptions import NetworkError, ProtocolError, ProxyError, TimeoutException, UnsupportedProtocol

TRANSPORT_ERRORS = (NetworkError, ProtocolError, ProxyError, TimeoutException, UnsupportedProtocol)


def mark_sent(exc: BaseException, sent: bool) -> None:
    """Note on an error of ours whether a byte of the request went out."""
    if sent and isinstance(exc, TRANSPORT_ERRORS):
        exc.request_sent = True
