"""TLS contexts: the default that verifies, ALPN on a context that others share, and sessions to resume."""

from __future__ import annotations

import os
import ssl
import sys
import threading
from collections import OrderedDict
from weakref import WeakSet

from .._exceptions import ConnectError
from .._forks import mind_forks
from .._protocols.tls import TLSEngine

KNOWN_STORES = (
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/ssl/cert.pem",
)
"""Where distributions keep their certificates, for a Python that was built to look elsewhere."""

SESSIONS_KEPT = 1000
"""Sessions kept for resumption, one an origin."""

_default: ssl.SSLContext | None = None
_altered: WeakSet[ssl.SSLContext] = WeakSet()
"""Contexts whose ALPN list is ours: what their owner had set is gone, and the last connection's is there."""


class _Guard:
    """The lock over these."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        mind_forks(self)

    def forget_parent(self) -> None:
        self.lock = threading.Lock()


_guard = _Guard()


def default_context() -> ssl.SSLContext:
    """The context that verifies, built once for the process. Raises `ConnectError` without a store."""
    global _default
    with _guard.lock:
        if _default is None:
            try:
                _default = build_context()
            except OSError as exc:
                # SSLKEYLOGFILE or a store names what cannot be opened, or read.
                raise ConnectError(f"The default TLS context cannot be made: {exc}.") from exc
        return _default


def build_context() -> ssl.SSLContext:
    """A verifying client context with the platform's store, or the first one that is found."""
    if sys.platform in ("darwin", "win32"):
        import truststore

        return truststore.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context = ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    # Only alternative names count (RFC 9525 §2); OpenSSL falls back to the subject where there are none.
    context.hostname_checks_common_name = False
    if context.cert_store_stats()["x509_ca"] or _has_directory():
        return context
    for path in (*KNOWN_STORES, _certifi_store()):
        if path and os.path.isfile(path):
            context.load_verify_locations(path)
            return context
    raise ConnectError(
        "No certificates to verify servers with were found. Set SSL_CERT_FILE or SSL_CERT_DIR, "
        "install certifi, or pass an ssl_context."
    )


def _has_directory() -> bool:
    """A directory of certificates is read at each handshake, and does not show in the statistics."""
    path = ssl.get_default_verify_paths().capath
    return path is not None and os.path.isdir(path) and bool(os.listdir(path))


def _certifi_store() -> str | None:
    try:
        import certifi
    except ImportError:
        return None
    return str(certifi.where())


def create_engine(
    context: ssl.SSLContext, host: str, *, alpn: tuple[str, ...] | None, session: ssl.SSLSession | None
) -> TLSEngine:
    """An engine for a connection to `host`; `alpn` of `None` leaves the context as its owner made it.

    A context cannot be copied, and pools that offer different protocols may share one. OpenSSL copies the
    list into each new connection, so setting it and creating the connection is one step.
    """
    with _guard.lock:
        if alpn is None and context in _altered:
            alpn = ("http/1.1",)
        if alpn is not None:
            _altered.add(context)
            context.set_alpn_protocols(list(alpn))
        return TLSEngine(context, server_hostname=host, session=session)


SessionKey = tuple[ssl.SSLContext, ssl.VerifyMode, ssl.VerifyFlags, bool, str]


def session_key(context: ssl.SSLContext, label: str) -> SessionKey:
    """What a session was verified by: to resume it verifies nothing, and the context may ask for more now."""
    return (context, context.verify_mode, context.verify_flags, context.check_hostname, label)


class SessionCache:
    """The last session of each origin, for abbreviated handshakes (RFC 8446 §2.2).

    A session belongs to the context that verified it: OpenSSL refuses it on another, and the key holds the
    context itself, so that no other one can take its place.
    """

    def __init__(self) -> None:
        self._sessions: OrderedDict[SessionKey, ssl.SSLSession] = OrderedDict()
        self._lock = threading.Lock()
        mind_forks(self)

    def forget_parent(self) -> None:
        self._lock = threading.Lock()

    def get(self, key: SessionKey) -> ssl.SSLSession | None:
        with self._lock:
            return self._sessions.get(key)

    def put(self, key: SessionKey, session: ssl.SSLSession | None) -> None:
        if session is None:
            return
        with self._lock:
            self._sessions[key] = session
            self._sessions.move_to_end(key)
            if len(self._sessions) > SESSIONS_KEPT:
                self._sessions.popitem(last=False)
