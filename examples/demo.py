"""Requests through both pools, and through a proxy, to a real server on loopback, each with its phases as a waterfall.

Where there is TLS, server and client agree on HTTP/2: then several requests share one connection.
"""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import trustme
from hypercorn.asyncio import serve
from hypercorn.config import Config

import httpcore
from httpcore._waterfall import WIDTH, Waterfall


async def application(scope, receive, send):
    """Echo what was asked; below /slow/, only after a while."""
    if scope["type"] != "http":
        return
    size = 0
    while (message := await receive()).get("more_body") or message.get("body"):
        size += len(message.get("body", b""))
        if not message.get("more_body"):
            break
    if scope["path"].startswith("/slow/"):
        await asyncio.sleep(0.2)
    body = f"{scope['method']} {scope['path']}: hello over {scope['scheme']}, {size} bytes came\n".encode()
    headers = [(b"content-length", str(len(body)).encode()), (b"content-type", b"text/plain")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


class Origin:
    """hypercorn in a thread of its own, on two free ports."""

    def __init__(self, directory: Path) -> None:
        self.authority = trustme.CA()
        certificate = self.authority.issue_cert("localhost")
        key, chain = directory / "key.pem", directory / "chain.pem"
        certificate.private_key_pem.write_to_path(key)
        chain.write_bytes(b"".join(blob.bytes() for blob in certificate.cert_chain_pems))
        self.http, self.https = _free_port(), _free_port()
        config = Config()
        config.bind = [f"127.0.0.1:{self.https}"]
        config.insecure_bind = [f"127.0.0.1:{self.http}"]
        config.keyfile, config.certfile = str(key), str(chain)
        config.errorlog = None
        self._config = config
        self._loop = asyncio.new_event_loop()
        self._stop = asyncio.Event()
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(serve(application, self._config, shutdown_trigger=self._stop.wait))
        self._loop.close()

    def __enter__(self) -> Origin:
        self._thread.start()
        for port in (self.http, self.https):
            _wait_for(port, self._thread.is_alive)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()


class Proxy:
    """proxy.py in a process of its own, on a free port."""

    def __init__(self, directory: Path) -> None:
        self.port = _free_port()
        options = ["--hostname", "127.0.0.1", "--port", str(self.port), "--data-dir", str(directory)]
        self._command = [sys.executable, "-W", "ignore", "-m", "proxy", *options]
        self._command += ["--num-workers", "1", "--num-acceptors", "1"]

    def __enter__(self) -> Proxy:
        silence = subprocess.DEVNULL
        self._process = subprocess.Popen(self._command, stdout=silence, stderr=silence)
        _wait_for(self.port, lambda: self._process.poll() is None)
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait()


def _wait_for(port: int, is_alive: Callable[[], bool]) -> None:
    """Until the port answers; connecting is the wait."""
    while is_alive():
        try:
            socket.create_connection(("127.0.0.1", port)).close()
            return
        except ConnectionRefusedError:
            os.sched_yield()
    raise RuntimeError("A server of the demo ended before it listened.")


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        return sock.getsockname()[1]


def requests(origin: Origin) -> list[tuple]:
    plain = (b"http", b"localhost", origin.http)
    secure = (b"https", b"localhost", origin.https)
    body = b"x" * 200_000
    return [
        (b"GET", (*plain, b"/first"), None),
        (b"GET", (*plain, b"/second"), None),
        (b"GET", (*secure, b"/first"), None),
        (b"GET", (*secure, b"/second"), None),
        (b"POST", (*secure, b"/upload"), body),
    ]


AT_ONCE = 5
"""Requests that share a connection."""


def slow_requests(origin: Origin) -> list[tuple]:
    return [(b"https", b"localhost", origin.https, b"/slow/%d" % number) for number in range(AT_ONCE)]


def headers_of(body: bytes | None) -> list[tuple[bytes, bytes]]:
    headers = [(b"Host", b"localhost"), (b"Accept", b"*/*")]
    return headers if body is None else [*headers, (b"Content-Length", b"%d" % len(body))]


def report(
    colour: str, method: bytes, url: tuple, status: int, ext: dict, size: int, waterfall: Waterfall
) -> None:
    origin = "new connection" if waterfall.is_new_connection else "reused connection"
    target = f"{url[0].decode()}://localhost{url[3].decode()}"
    print(
        f"{colour:<5} {method.decode():<4} {target}: {status} {ext['http_version']}, {size} bytes, {origin}"
    )
    print(waterfall, end="\n\n")


class Together:
    """Several requests at once, drawn on one axis of time."""

    def __init__(self) -> None:
        self._begin = time.monotonic()
        self._spans: dict[str, tuple[float, float]] = {}

    def note(self, url: tuple, since: float) -> None:
        self._spans[url[3].decode()] = (since - self._begin, time.monotonic() - self._begin)

    def show(self, colour: str, info: dict, pool: httpcore.SyncConnectionPool) -> None:
        states = ", ".join(f"{origin}: {' and '.join(found)}" for origin, found in info.items())
        opened = pool.statistics()["opened"]
        print(f"{colour:<5} {AT_ONCE} requests at once ({states}; {opened:.0f} connection opened)")
        end = max(end for _, end in self._spans.values())
        for path, (begin, until) in sorted(self._spans.items()):
            left = int(begin / end * WIDTH)
            bar = " " * left + "█" * max(1, round((until - begin) / end * WIDTH))
            print(f"  {path:<9} {bar[:WIDTH]:<{WIDTH}} {(until - begin) * 1000:8.2f} ms")
        print()


def run_together_sync(origin: Origin, context: ssl.SSLContext) -> None:
    """Each in a thread of its own. A response holds its stream until its body is read."""
    with httpcore.SyncConnectionPool(ssl_context=context, http2=True) as pool:
        pool.preconnect((b"https", b"localhost", origin.https, b"/"))
        together = Together()

        def send(url: tuple) -> httpcore.SyncByteStream:
            since = time.monotonic()
            content = pool.request(b"GET", url, headers_of(None), None, {"timeout": {"read": 5.0}})[2]
            together.note(url, since)
            return content

        with ThreadPoolExecutor(AT_ONCE) as executor:
            bodies = list(executor.map(send, slow_requests(origin)))
        info = pool.get_connection_info()
        for content in bodies:
            b"".join(content)
        together.show("sync", info, pool)


async def run_together_async(origin: Origin, context: ssl.SSLContext) -> None:
    async with httpcore.AsyncConnectionPool(ssl_context=context, http2=True) as pool:
        await pool.preconnect((b"https", b"localhost", origin.https, b"/"))
        together = Together()

        async def send(url: tuple) -> httpcore.AsyncByteStream:
            since = time.monotonic()
            answer = await pool.arequest(b"GET", url, headers_of(None), None, {"timeout": {"read": 5.0}})
            together.note(url, since)
            return answer[2]

        bodies = await asyncio.gather(*(send(url) for url in slow_requests(origin)))
        info = await pool.get_connection_info()
        for content in bodies:
            async for _ in content:
                pass
        together.show("async", info, pool)


def run_prior_knowledge(origin: Origin) -> None:
    """HTTP/2 without TLS, which nobody negotiates."""
    with httpcore.SyncConnectionPool(http1=False, http2=True) as pool:
        for method, url, _ in requests(origin)[:2]:
            waterfall = Waterfall()
            ext = {"timeout": {"read": 5.0}, "trace": waterfall}
            status, _, content, ext = pool.request(method, url, headers_of(None), None, ext)
            report("sync", method, url, status, ext, len(b"".join(content)), waterfall)


def run_sync(origin: Origin, context: ssl.SSLContext) -> None:
    with httpcore.SyncConnectionPool(ssl_context=context, http2=True) as pool:
        for method, url, body in requests(origin):
            waterfall = Waterfall()
            stream = None if body is None else httpcore.PlainByteStream(body)
            status, _, content, ext = pool.request(
                method, url, headers_of(body), stream, {"timeout": {"read": 5.0}, "trace": waterfall}
            )
            size = sum(len(chunk) for chunk in content)
            report("sync", method, url, status, ext, size, waterfall)


async def run_async(origin: Origin, context: ssl.SSLContext) -> None:
    async with httpcore.AsyncConnectionPool(ssl_context=context, http2=True) as pool:
        for method, url, body in requests(origin):
            waterfall = Waterfall()
            stream = None if body is None else httpcore.PlainByteStream(body)
            status, _, content, ext = await pool.arequest(
                method, url, headers_of(body), stream, {"timeout": {"read": 5.0}, "trace": waterfall}
            )
            size = 0
            async for chunk in content:
                size += len(chunk)
            report("async", method, url, status, ext, size, waterfall)


def run_proxied(origin: Origin, proxy: Proxy, context: ssl.SSLContext) -> None:
    """Forwarded over http, and through a tunnel over https."""
    url = (b"http", b"127.0.0.1", proxy.port, b"/")
    with httpcore.SyncHTTPProxy(url, ssl_context=context, http2=True) as pool:
        for method, target, _ in requests(origin)[:4]:
            waterfall = Waterfall()
            headers = [(b"Host", b"localhost:%d" % target[2])]
            status, _, content, ext = pool.request(
                method, target, headers, None, {"timeout": {"read": 5.0}, "trace": waterfall}
            )
            size = sum(len(chunk) for chunk in content)
            report("proxy", method, target, status, ext, size, waterfall)


def main() -> int:
    with (
        tempfile.TemporaryDirectory() as directory,
        Origin(Path(directory)) as origin,
        Proxy(Path(directory)) as proxy,
    ):
        context = ssl.create_default_context()
        origin.authority.configure_trust(context)
        run_sync(origin, context)
        asyncio.run(run_async(origin, context))
        run_together_sync(origin, context)
        asyncio.run(run_together_async(origin, context))
        run_prior_knowledge(origin)
        run_proxied(origin, proxy, context)
    return 0


if __name__ == "__main__":
    sys.exit(main())
