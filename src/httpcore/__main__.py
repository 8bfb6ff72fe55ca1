"""`python -m httpcore URL`: one request, like a small curl."""

from __future__ import annotations

import argparse
import os
import sys
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote, urlsplit

import httpcore

from ._urls import authority, bracketed
from ._waterfall import Waterfall

if TYPE_CHECKING:
    import ssl

    from ._types import URL, Headers

SECRET = {b"authorization", b"proxy-authorization", b"cookie", b"set-cookie"}

ERRORS = (
    httpcore.NetworkError,
    httpcore.ProtocolError,
    httpcore.ProxyError,
    httpcore.TimeoutException,
    httpcore.UnsupportedProtocol,
    OSError,
    ValueError,
)


def main(arguments: list[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    try:
        return _run(options)
    except ERRORS as exc:
        print(f"httpcore: {exc}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        # As a shell counts the signal.
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m httpcore", description="Send one HTTP request.")
    parser.add_argument("url")
    parser.add_argument("-v", "--verbose", action="store_true", help="heads and a waterfall, to stderr")
    parser.add_argument("-X", dest="method", help="the method; GET, or POST with -d")
    parser.add_argument("-H", dest="headers", action="append", default=[], metavar="NAME: VALUE")
    parser.add_argument("-d", dest="data", help="the body")
    parser.add_argument("--cacert", help="a file of certificates to trust")
    parser.add_argument("--http2", action="store_true", help="offer HTTP/2 where there is TLS")
    parser.add_argument("--http2-only", action="store_true", help="speak HTTP/2 unasked, on http too")
    parser.add_argument("--proxy", help="the URL of a proxy")
    parser.add_argument("--timeout", type=float, default=30.0, help="seconds for each phase")
    return parser


def _run(options: argparse.Namespace) -> int:
    url = split_url(options.url)
    body = None if options.data is None else os.fsencode(options.data)
    method = (options.method or ("GET" if body is None else "POST")).encode()
    headers = request_headers(url, options.headers, body)
    waterfall = Waterfall()
    limits = dict.fromkeys(("connect", "read", "write", "pool"), options.timeout)
    with _pool(options) as pool:
        if options.verbose:
            _show(f"> {method.decode()} {url[3].decode()}", headers, ">")
        stream = None if body is None else httpcore.PlainByteStream(body)
        status, fields, content, ext = pool.request(
            method, url, headers, stream, {"timeout": limits, "trace": waterfall}
        )
        if options.verbose:
            _show(f"< {ext['http_version']} {status} {ext.get('reason', '')}".rstrip(), fields, "<")
        try:
            for chunk in content:
                sys.stdout.buffer.write(chunk)
            sys.stdout.buffer.flush()
        finally:
            content.close()
    if options.verbose:
        print(waterfall, file=sys.stderr)
    return 0


def _pool(options: argparse.Namespace) -> httpcore.SyncConnectionPool:
    context: ssl.SSLContext | None = None
    http1, http2 = not options.http2_only, options.http2 or options.http2_only
    if options.cacert:
        import ssl

        try:
            context = ssl.create_default_context(cafile=options.cacert)
        except OSError as exc:
            raise ValueError(f"No certificates can be read from {options.cacert!r}: {exc}") from exc
    if options.proxy:
        proxy = urlsplit(options.proxy)
        auth = None if proxy.username is None else (unquote(proxy.username), unquote(proxy.password or ""))
        return httpcore.SyncHTTPProxy(
            split_url(options.proxy),
            ssl_context=context,
            proxy_ssl_context=context,
            proxy_auth=auth,
            http1=http1,
            http2=http2,
        )
    return httpcore.SyncConnectionPool(ssl_context=context, http1=http1, http2=http2)


def split_url(text: str) -> URL:
    """A URL as the interface takes it; what may not stand in a target is percent-encoded."""
    parts = urlsplit(text)
    if not parts.scheme or not parts.hostname:
        # What is before the '@' may be a password.
        raise ValueError(f"{text.rpartition('@')[2]!r} is not an absolute URL.")
    target = quote(parts.path or "/", safe="/%:=&?~+!$,;'@()*[]")
    if parts.query:
        target += "?" + quote(parts.query, safe="/%:=&?~+!$,;'@()*[]")
    host = parts.hostname.encode("ascii" if parts.hostname.isascii() else "idna")
    return (parts.scheme.encode(), host, parts.port, target.encode())


def request_headers(url: URL, given: list[str], body: bytes | None) -> Headers:
    """The given fields, and those that a request cannot do without."""
    headers: Headers = []
    for line in given:
        name, colon, value = line.partition(":")
        if not colon:
            raise ValueError(f"{line!r} is not a header: it has no colon.")
        headers.append((name.encode(), value.strip().encode("latin-1")))
    names = {name.lower() for name, _ in headers}
    scheme, host, port, _ = url
    defaults = [
        (b"Host", bracketed(host) if port is None else authority(scheme, host, port)),
        (b"Accept", b"*/*"),
        (b"User-Agent", b"httpcore/" + httpcore.__version__.encode()),
    ]
    if body is not None and b"transfer-encoding" not in names:
        defaults.append((b"Content-Length", b"%d" % len(body)))
    return [field for field in defaults if field[0].lower() not in names] + headers


def _show(line: str, headers: Headers, mark: str) -> None:
    print(line, file=sys.stderr)
    for name, value in headers:
        shown = "…" if name.lower() in SECRET else value.decode("latin-1")
        print(f"{mark} {name.decode('latin-1')}: {shown}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
