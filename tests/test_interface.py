"""The names, signatures and argument errors of the public interface."""

from __future__ import annotations

import inspect
import warnings

import pytest

import httpcore

NAMES = [
    "AsyncByteStream",
    "AsyncConnectionPool",
    "AsyncHTTPProxy",
    "AsyncHTTPTransport",
    "AsyncIteratorByteStream",
    "CloseError",
    "ConnectError",
    "ConnectTimeout",
    "IteratorByteStream",
    "LocalProtocolError",
    "NetworkError",
    "PlainByteStream",
    "PoolTimeout",
    "ProtocolError",
    "ProxyError",
    "ReadError",
    "ReadTimeout",
    "RemoteProtocolError",
    "SyncByteStream",
    "SyncConnectionPool",
    "SyncHTTPProxy",
    "SyncHTTPTransport",
    "TimeoutException",
    "UnsupportedProtocol",
    "WriteError",
    "WriteTimeout",
]

POOL = [
    "ssl_context",
    "max_connections",
    "max_keepalive_connections",
    "keepalive_expiry",
    "http2",
    "uds",
    "local_address",
    "retries",
    "max_keepalive",
    "backend",
]

PROXY = [
    "proxy_url",
    "proxy_headers",
    "proxy_mode",
    "ssl_context",
    "max_connections",
    "max_keepalive_connections",
    "keepalive_expiry",
    "http2",
    "backend",
    "max_keepalive",
]

ADDED = {
    "http1", "socket_options", "tcp_keepalive", "max_connections_per_origin", "max_connection_age",
    "resolver", "dns_ttl", "ping_interval", "ping_timeout", "replay",
}  # fmt: skip

ADDED_BY_PROXIES = {"proxy_auth", "proxy_ssl_context", "retries", "local_address", "uds"}


def test_the_names_are_the_whole_namespace() -> None:
    assert httpcore.__all__ == sorted([*NAMES, "__version__"])
    assert {name for name in vars(httpcore) if not name.startswith("_")} == set(NAMES)
    assert {getattr(httpcore, name).__module__ for name in NAMES} == {"httpcore"}


@pytest.mark.parametrize(
    ("name", "base"),
    [
        ("UnsupportedProtocol", Exception),
        ("ProxyError", Exception),
        ("ProtocolError", Exception),
        ("RemoteProtocolError", httpcore.ProtocolError),
        ("LocalProtocolError", httpcore.ProtocolError),
        ("TimeoutException", Exception),
        ("PoolTimeout", httpcore.TimeoutException),
        ("ConnectTimeout", httpcore.TimeoutException),
        ("ReadTimeout", httpcore.TimeoutException),
        ("WriteTimeout", httpcore.TimeoutException),
        ("NetworkError", Exception),
        ("ConnectError", httpcore.NetworkError),
        ("ReadError", httpcore.NetworkError),
        ("WriteError", httpcore.NetworkError),
        ("CloseError", httpcore.NetworkError),
    ],
)
def test_exceptions(name: str, base: type[Exception]) -> None:
    error = getattr(httpcore, name)
    assert error.__bases__ == (base,)
    assert error("why").request_sent is False


@pytest.mark.parametrize(
    ("name", "expected", "added"),
    [
        ("AsyncConnectionPool", POOL, ADDED),
        ("SyncConnectionPool", POOL, ADDED),
        ("AsyncHTTPProxy", PROXY, ADDED | ADDED_BY_PROXIES),
        ("SyncHTTPProxy", PROXY, ADDED | ADDED_BY_PROXIES),
    ],
)
def test_signatures(name: str, expected: list[str], added: set[str]) -> None:
    parameters = inspect.signature(getattr(httpcore, name)).parameters.values()
    assert [p.name for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD] == expected
    assert {p.name for p in parameters if p.kind is p.KEYWORD_ONLY} == added


@pytest.mark.parametrize("pool", [httpcore.AsyncConnectionPool, httpcore.SyncConnectionPool])
def test_backend_names(pool: type[httpcore.AsyncConnectionPool] | type[httpcore.SyncConnectionPool]) -> None:
    with pytest.raises(ValueError, match="Invalid backend name 'x'"):
        pool(backend="x")
    with pytest.raises(ValueError, match="curio"):
        pool(backend="curio")


def test_max_keepalive_is_deprecated_and_honoured() -> None:
    with pytest.warns(DeprecationWarning, match="max_keepalive_connections"):
        pool = httpcore.SyncConnectionPool(max_keepalive=3)
    assert pool._pool.ledger.limits.max_keepalive_connections == 3


def test_constructing_is_quiet_and_opens_nothing() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert httpcore.AsyncConnectionPool().statistics()["connections"] == 0


def test_there_has_to_be_a_protocol() -> None:
    with pytest.raises(ValueError, match="no protocol"):
        httpcore.SyncConnectionPool(http1=False)


def test_proxy_arguments() -> None:
    url = (b"http", b"127.0.0.1", None, b"/")
    proxy = httpcore.SyncHTTPProxy(url, proxy_headers=[(b"X", b"y")], proxy_mode="TUNNEL_ONLY")
    assert proxy.proxy_origin == (b"http", b"127.0.0.1", 80)
    assert proxy.proxy_headers == [(b"X", b"y")]
    assert proxy.proxy_mode == "TUNNEL_ONLY"
    with pytest.raises(ValueError, match="proxy_mode"):
        httpcore.SyncHTTPProxy(url, proxy_mode="SIDEWAYS")
    with pytest.raises(ValueError, match="scheme"):
        httpcore.SyncHTTPProxy((b"ftp", b"127.0.0.1", None, b"/"))


def test_base_transports_and_streams() -> None:
    with httpcore.SyncHTTPTransport() as transport, pytest.raises(NotImplementedError):
        transport.request(b"GET", (b"http", b"h", None, b"/"))
    assert list(httpcore.SyncByteStream()) == [b""]
    stream = httpcore.PlainByteStream(b"123")
    assert [list(stream), list(stream)] == [[b"123"], [b"123"]]
    closed: list[bool] = []
    iterated = httpcore.IteratorByteStream(
        iterator=iter([b"a", b"b"]), close_func=lambda: closed.append(True)
    )
    assert list(iterated) == [b"a", b"b"]
    iterated.close()
    assert closed == [True]


def test_urls_are_checked() -> None:
    pool = httpcore.SyncConnectionPool()
    with pytest.raises(httpcore.UnsupportedProtocol, match="Unsupported URL protocol 'ftp'"):
        pool.request(b"GET", (b"ftp", b"h", None, b"/"))
    with pytest.raises(httpcore.LocalProtocolError, match="Missing hostname in URL"):
        pool.request(b"GET", (b"http", b"", None, b"/"))
    with pytest.raises(ValueError, match="NaN"):
        pool.request(b"GET", (b"http", b"h", None, b"/"), ext={"timeout": {"read": float("nan")}})
