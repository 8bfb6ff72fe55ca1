"""Where the time of a warm request goes, function by function, on one colour.

    python benchmarks/profiles.py [sync | asyncio | uvloop] [--count N] [--tls]

The server is a thread that answers without looking; figures include the cost of profiling, so compare, do not add.
"""

from __future__ import annotations

import argparse
import asyncio
import cProfile
import pstats
import socket
import ssl
import sys
import threading
import time
from collections.abc import Callable

import trustme

import httpcore

ANSWER = (
    b"HTTP/1.1 200 OK\r\nServer: none\r\nContent-Type: text/plain\r\nContent-Length: 13\r\n\r\nHello, world!"
)
TIMEOUTS = {"timeout": dict.fromkeys(("connect", "read", "write", "pool"), 30.0)}


def answer(listener: socket.socket, context: ssl.SSLContext | None) -> None:
    sock, _ = listener.accept()
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    with context.wrap_socket(sock, server_side=True) if context else sock as sock:
        while sock.recv(65536):
            sock.sendall(ANSWER)


def work_sync(url: tuple, context: ssl.SSLContext, count: int, measure: Callable[[], object]) -> None:
    headers = [(b"Host", b"localhost"), (b"Accept", b"*/*")]
    with httpcore.SyncConnectionPool(ssl_context=context) as pool:
        for number in range(count + 1):
            if number == 1:
                measure()
            for _ in pool.request(b"GET", url, headers, None, TIMEOUTS)[2]:
                pass
        measure()


async def work_async(url: tuple, context: ssl.SSLContext, count: int, measure: Callable[[], object]) -> None:
    headers = [(b"Host", b"localhost"), (b"Accept", b"*/*")]
    async with httpcore.AsyncConnectionPool(ssl_context=context) as pool:
        for number in range(count + 1):
            if number == 1:
                measure()
            async for _ in (await pool.arequest(b"GET", url, headers, None, TIMEOUTS))[2]:
                pass
        measure()


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("colour", nargs="?", choices=["sync", "asyncio", "uvloop"], default="sync")
    parser.add_argument("--count", type=int, default=5000)
    parser.add_argument("--tls", action="store_true")
    options = parser.parse_args()

    authority = trustme.CA()
    client_context, server_context = ssl.create_default_context(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.configure_trust(client_context)
    authority.issue_cert("localhost").configure_cert(server_context)
    profile = cProfile.Profile(time.thread_time)
    toggle = iter([profile.enable, profile.disable])
    with socket.create_server(("127.0.0.1", 0)) as listener:
        serving = server_context if options.tls else None
        thread = threading.Thread(target=answer, args=(listener, serving))
        thread.start()
        scheme = b"https" if options.tls else b"http"
        url = (scheme, b"localhost", listener.getsockname()[1], b"/")

        def measure() -> None:
            next(toggle)()

        if options.colour == "sync":
            work_sync(url, client_context, options.count, measure)
        else:
            job = work_async(url, client_context, options.count, measure)
            if options.colour == "uvloop":
                import uvloop

                uvloop.run(job)
            else:
                asyncio.run(job)
        thread.join()
    statistics = pstats.Stats(profile)
    statistics.sort_stats("tottime").print_stats(35)
    return 0


if __name__ == "__main__":
    sys.exit(main())
