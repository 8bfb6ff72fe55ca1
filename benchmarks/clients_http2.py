"""One client of HTTP/2 over TLS, measured in a process of its own.

    python clients_http2.py CLIENT LOOP WHAT CONCURRENCY CONNECTIONS URL CAFILE

reads a line `COUNT` from stdin for each round, does that many requests, and answers with the seconds of CPU, the
seconds by the clock, and the KiB by which the peak of its memory grew. The first line is a warm-up like any other;
the runner throws it away. Every client makes sure that it was HTTP/2 that it spoke.
"""

from __future__ import annotations

import asyncio
import gc
import ssl
import sys
import time
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

TIMEOUT = 60.0
LARGE = 100 * 1024 * 1024
PHASES = {"timeout": dict.fromkeys(("connect", "read", "write", "pool"), TIMEOUT)}


class Job(NamedTuple):
    what: str
    concurrency: int
    connections: int
    url: str
    cafile: str

    @property
    def size(self) -> int:
        """Bytes of the expected body."""
        return LARGE if self.what == "download" else 13

    def context(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=self.cafile)

    def check(self, size: int) -> None:
        if size != self.size:
            raise RuntimeError(f"The body has {size} bytes instead of {self.size}.")


async def repeat(job: Job, one: Callable[[], Awaitable[None]], count: int) -> None:
    """`count` requests by as many tasks as there are to be at once."""

    async def work() -> None:
        for _ in range(count // job.concurrency):
            await one()

    await asyncio.gather(*(work() for _ in range(job.concurrency)))


# Ours.


def split(url: str) -> tuple[bytes, bytes, int | None, bytes]:
    parts = urlsplit(url)
    return (parts.scheme.encode(), (parts.hostname or "").encode(), parts.port, parts.path.encode())


def fields_of(url: str) -> list[tuple[bytes, bytes]]:
    return [(b"Host", urlsplit(url).netloc.encode()), (b"Accept", b"*/*"), (b"User-Agent", b"bench")]


def ours_sync(job: Job):
    import httpcore

    pool = httpcore.SyncConnectionPool(ssl_context=job.context(), max_connections=job.connections, http2=True)
    url, fields = split(job.url), fields_of(job.url)

    def run(count: int) -> None:
        for _ in range(count):
            _, _, body, ext = pool.request(b"GET", url, fields, None, PHASES)
            size = 0
            for chunk in body:
                size += len(chunk)
            job.check(size)
        assert ext == {"http_version": "HTTP/2"}

    return run


async def ours_async(job: Job):
    import httpcore

    pool = httpcore.AsyncConnectionPool(
        ssl_context=job.context(), max_connections=job.connections, http2=True
    )
    url, fields = split(job.url), fields_of(job.url)

    async def one() -> None:
        _, _, body, ext = await pool.arequest(b"GET", url, fields, None, PHASES)
        size = 0
        async for chunk in body:
            size += len(chunk)
        job.check(size)
        assert ext["http_version"] == "HTTP/2"

    async def run(count: int) -> None:
        await repeat(job, one, count)
        opened = pool.statistics()["opened"]
        assert opened <= job.connections, opened

    return run


async def ours_gc_off_async(job: Job):
    """What is not ours: the garbage collector walks over all that is alive, again and again."""
    gc.disable()
    return await ours_async(job)


# The peers.


def httpcore2_sync(job: Job):
    import httpcore2

    pool = httpcore2.ConnectionPool(ssl_context=job.context(), max_connections=1, http2=True)

    def run(count: int) -> None:
        for _ in range(count):
            with pool.stream("GET", job.url, extensions=PHASES) as response:
                job.check(sum(len(chunk) for chunk in response.iter_stream()))
            assert response.extensions["http_version"] == b"HTTP/2"

    return run


async def httpcore2_async(job: Job):
    import httpcore2

    pool = httpcore2.AsyncConnectionPool(ssl_context=job.context(), max_connections=1, http2=True)

    async def one() -> None:
        async with pool.stream("GET", job.url, extensions=PHASES) as response:
            size = 0
            async for chunk in response.aiter_stream():
                size += len(chunk)
            job.check(size)
        assert response.extensions["http_version"] == b"HTTP/2"

    async def run(count: int) -> None:
        await repeat(job, one, count)

    return run


def build_pyreqwest(builder, job: Job):
    limit = timedelta(seconds=TIMEOUT)
    pem = Path(job.cafile).read_bytes()
    # Without this it does not offer HTTP/2.
    builder = builder.http2(True)
    return builder.timeout(limit).connect_timeout(limit).add_root_certificate_pem(pem).build()


def pyreqwest_sync(job: Job):
    from pyreqwest.client import SyncClientBuilder

    client = build_pyreqwest(SyncClientBuilder(), job)

    def run(count: int) -> None:
        for _ in range(count):
            response = client.get(job.url).build().send()
            job.check(len(response.bytes()))
        assert response.version == "HTTP/2.0", response.version

    return run


async def pyreqwest_async(job: Job):
    from pyreqwest.client import ClientBuilder

    client = build_pyreqwest(ClientBuilder(), job)

    async def one() -> None:
        response = await client.get(job.url).build().send()
        job.check(len(await response.bytes()))
        assert response.version == "HTTP/2.0", response.version

    async def run(count: int) -> None:
        await repeat(job, one, count)

    return run


def niquests_sync(job: Job):
    import niquests

    session = niquests.Session(disable_http3=True)

    def run(count: int) -> None:
        for _ in range(count):
            response = session.get(job.url, timeout=TIMEOUT, stream=True, verify=job.cafile)
            job.check(sum(len(chunk) for chunk in response.iter_content(65536)))
        assert response.http_version == 20, response.http_version

    return run


async def niquests_async(job: Job):
    import niquests

    session = niquests.AsyncSession(disable_http3=True)

    async def one() -> None:
        response = await session.get(job.url, timeout=TIMEOUT, verify=job.cafile)
        job.check(len(response.content))
        assert response.http_version == 20, response.http_version

    async def run(count: int) -> None:
        await repeat(job, one, count)

    return run


class Sink:
    """Counts what curl hands over."""

    def __init__(self, job: Job) -> None:
        import pycurl

        self.size = 0
        self.curl = pycurl.Curl()
        self.curl.setopt(pycurl.URL, job.url)
        self.curl.setopt(pycurl.CAINFO, job.cafile)
        self.curl.setopt(pycurl.CONNECTTIMEOUT, int(TIMEOUT))
        self.curl.setopt(pycurl.TIMEOUT, int(TIMEOUT))
        self.curl.setopt(pycurl.HTTP_VERSION, pycurl.CURL_HTTP_VERSION_2TLS)
        self.curl.setopt(pycurl.PIPEWAIT, 1)
        self.curl.setopt(pycurl.WRITEFUNCTION, self.write)

    def write(self, data: bytes) -> None:
        self.size += len(data)

    def check(self, job: Job) -> None:
        import pycurl

        assert self.curl.getinfo(pycurl.INFO_HTTP_VERSION) == pycurl.CURL_HTTP_VERSION_2_0
        job.check(self.size)
        self.size = 0


def pycurl_sync(job: Job):
    sink = Sink(job)

    def run(count: int) -> None:
        for _ in range(count):
            sink.curl.perform()
            sink.check(job)

    return run


async def pycurl_async(job: Job):
    """curl's own loop, many at once, in the place of asyncio's."""
    import pycurl

    multi = pycurl.CurlMulti()
    multi.setopt(pycurl.M_PIPELINING, pycurl.PIPE_MULTIPLEX)
    multi.setopt(pycurl.M_MAX_HOST_CONNECTIONS, 1)
    sinks = {sink.curl: sink for sink in (Sink(job) for _ in range(job.concurrency))}

    async def run(count: int) -> None:
        left = count - len(sinks)
        running = len(sinks)
        for curl in sinks:
            multi.add_handle(curl)
        while running:
            multi.perform()
            queued, done, failed = multi.info_read()
            assert not failed, failed
            assert not queued
            for curl in done:
                sinks[curl].check(job)
                multi.remove_handle(curl)
                running -= 1
                if left > 0:
                    left -= 1
                    running += 1
                    multi.add_handle(curl)
            if running and not done:
                multi.select(1.0)

    return run


# One round.


def resident(field: str) -> int:
    """KiB, from what the kernel says of this process."""
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1])
    raise RuntimeError(f"The kernel does not tell {field}.")


class Meter:
    def __init__(self) -> None:
        # Forget the peak so far.
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
        self._resident = resident("VmRSS")
        self._clock, self._cpu = time.perf_counter(), time.process_time()

    def report(self) -> None:
        cpu, clock = time.process_time() - self._cpu, time.perf_counter() - self._clock
        print(cpu, clock, resident("VmHWM") - self._resident, flush=True)


def main() -> None:
    name, loop, what, concurrency, connections, url, cafile = sys.argv[1:]
    job = Job(what, int(concurrency), int(connections), url, cafile)
    if loop == "sync":
        run = globals()[f"{name}_sync"](job)
        for line in sys.stdin:
            meter = Meter()
            run(int(line))
            meter.report()
        return

    async def serve() -> None:
        run = await globals()[f"{name}_async"](job)
        # Reading blocks the loop on purpose: between rounds nothing runs.
        for line in iter(sys.stdin.readline, ""):
            meter = Meter()
            await run(int(line))
            meter.report()

    if loop == "uvloop":
        import uvloop

        uvloop.run(serve())
    else:
        asyncio.run(serve())


if __name__ == "__main__":
    main()
