"""What the proxy classes take, and refuse before anything is opened."""

from __future__ import annotations

from typing import Any

import pytest

import httpcore

SOMEWHERE = (b"http", b"127.0.0.1", 3128, b"/")


@pytest.mark.parametrize(
    ("url", "error"),
    [
        ((b"ftp", b"127.0.0.1", None, b"/"), ValueError),
        ((b"http", b"", None, b"/"), ValueError),
        ((b"http", b"a b", None, b"/"), ValueError),
        ((b"http", b"a\r\nb", None, b"/"), ValueError),
        ((b"http", "ä".encode(), None, b"/"), ValueError),
        ((b"http", b"me:hunter2@proxy", None, b"/"), ValueError),
        ((b"http", b"proxy", 65536, b"/"), ValueError),
        ((b"http", b"proxy", -1, b"/"), ValueError),
        ((b"http", b"proxy", "80", b"/"), TypeError),
        (("http", b"proxy", 80, b"/"), TypeError),
        ((b"http", b"proxy", 80), TypeError),
        ("http://proxy", TypeError),
    ],
)
def test_bad_proxy_urls(url: Any, error: type[Exception]) -> None:
    for proxy in (httpcore.SyncHTTPProxy, httpcore.AsyncHTTPProxy):
        with pytest.raises(error) as caught:
            proxy(url)
        assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("headers", "error"),
    [
        ([(b"A", b"b\r\nC: d")], httpcore.LocalProtocolError),
        ([(b"A", b"\0")], httpcore.LocalProtocolError),
        ([(b"A b", b"c")], httpcore.LocalProtocolError),
        ([(b"", b"c")], httpcore.LocalProtocolError),
        ([(b"Content-Length", b"5")], httpcore.LocalProtocolError),
        ([(b"transfer-encoding", b"chunked")], httpcore.LocalProtocolError),
        ([(b"Proxy-Authorization", b"Basic hunter2\n")], httpcore.LocalProtocolError),
        ([("A", "b")], TypeError),
    ],
)
def test_bad_proxy_headers(headers: Any, error: type[Exception]) -> None:
    for proxy in (httpcore.SyncHTTPProxy, httpcore.AsyncHTTPProxy):
        with pytest.raises(error) as caught:
            proxy(SOMEWHERE, proxy_headers=headers)
        assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("scheme", "auth", "error"),
    [
        (b"http", ("a:b", "hunter2"), ValueError),
        (b"http", ("a", "hunter2\n"), ValueError),
        (b"http", "a:hunter2", TypeError),
        (b"http", ("hunter2",), TypeError),
        (b"http", ("a", None), TypeError),
        (b"socks5", ("", "hunter2"), ValueError),
        (b"socks5", ("a", ""), ValueError),
        (b"socks5", ("a", "hunter2" * 40), ValueError),
    ],
)
def test_bad_credentials(scheme: bytes, auth: Any, error: type[Exception]) -> None:
    for proxy in (httpcore.SyncHTTPProxy, httpcore.AsyncHTTPProxy):
        with pytest.raises(error) as caught:
            proxy((scheme, *SOMEWHERE[1:]), proxy_auth=auth)
        assert "hunter2" not in str(caught.value)


def test_arguments_that_contradict_one_another() -> None:
    socks = (b"socks5", b"proxy", None, b"/")
    with pytest.raises(ValueError, match="FORWARD_ONLY"):
        httpcore.SyncHTTPProxy(socks, proxy_mode="FORWARD_ONLY")
    with pytest.raises(ValueError, match="proxy_headers"):
        httpcore.SyncHTTPProxy(socks, proxy_headers=[(b"A", b"b")])
    with pytest.raises(ValueError, match="Proxy-Authorization"):
        httpcore.SyncHTTPProxy(
            SOMEWHERE, proxy_headers=[(b"proxy-authorization", b"x")], proxy_auth=("a", "b")
        )


@pytest.mark.parametrize(
    ("scheme", "port"), [(b"http", 80), (b"https", 443), (b"socks5", 1080), (b"socks5h", 1080)]
)
def test_what_a_proxy_shows(scheme: bytes, port: int) -> None:
    for kind in (httpcore.SyncHTTPProxy, httpcore.AsyncHTTPProxy):
        proxy = kind((scheme, b"proxy", None, b"/"), proxy_mode="TUNNEL_ONLY", proxy_auth=("me", "hunter2"))
        assert proxy.proxy_origin == (scheme, b"proxy", port)
        assert proxy.proxy_headers == []
        assert proxy.proxy_mode == "TUNNEL_ONLY"
        assert "hunter2" not in repr(proxy)
