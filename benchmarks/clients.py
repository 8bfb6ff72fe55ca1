"""One client, measured in a process of its own.

    python clients.py CLIENT LOOP SCENARIO CONCURRENCY URL CAFILE PROXY_PORT

reads a line `COUNT` from stdin for each round, does that many requests, and answers with the seconds of CPU that
they took (`time.process_time`), and those by the clock. The first line is a warm-up like any other; the runner
throws it away.
"""

from __future__ import annotations

import asyncio
import select
import socket
import ssl
import sys
import time
from urllib.parse import urlsplit

from origins import ADDRESSES
from origins import COUNT as ORIGINS
from sketch import SketchPool, SketchProtocol, SketchSocket, SketchTrioSocket

TIMEOUT = 30.0
CHUNK = 65536
UPLOAD = 100 * 1024 * 1024
IDLE_EACH = 4
"""Idle connections that a pool keeps to each of the many origins: 2,000 in all."""


class Target:
    loop = "sync"

    def __init__(self, url: str, cafile: str, proxy_port: int = 0) -> None:
        parts = urlsplit(url)
        self.url, self.cafile, self.proxy_port = url, cafile, proxy_port
        self.host, self.port, self.path = parts.hostname or "", parts.port or 0, parts.path
        self.is_tls = parts.scheme == "https"
        self.request = (
            f"GET {self.path} HTTP/1.1\r\nHost: {parts.netloc}\r\nAccept: */*\r\nUser-Agent: bench\r\n\r\n"
        ).encode()
        self.upload_head = self.request.replace(b"GET", b"PUT", 1).replace(
            b"\r\n\r\n", b"\r\nContent-Length: %d\r\n\r\n" % UPLOAD
        )

    def context(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=self.cafile)

    def connect(self) -> socket.socket:
        sock = socket.create_connection((self.host, self.port))
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return self.context().wrap_socket(sock, server_hostname=self.host) if self.is_tls else sock


# The floor: one ready bytes object, `send` and `recv`, nothing parsed.


def floor_sync(target: Target, scenario: str):
    sock = target.connect()
    body = memoryview(bytes(UPLOAD)) if scenario == "upload" else None

    def small(count: int) -> None:
        for _ in range(count):
            sock.send(target.request)
            sock.recv(CHUNK)

    def download(count: int) -> None:
        for _ in range(count):
            sock.send(target.request)
            left = UPLOAD
            while left > 0:
                left -= len(sock.recv(CHUNK))

    def upload(count: int) -> None:
        for _ in range(count):
            sock.sendall(target.upload_head)
            sock.sendall(body)
            sock.recv(CHUNK)

    return {"small": small, "download": download, "upload": upload}[scenario]


def floor_timed_sync(target: Target, scenario: str):
    """The same with the system calls of who trusts no idle connection, and waits for no answer without end."""
    sock = target.connect()
    waiting = sock.dup()
    waiting.settimeout(TIMEOUT)
    poller = select.poll()
    poller.register(sock, select.POLLIN)

    def run(count: int) -> None:
        for _ in range(count):
            assert not poller.poll(0)
            sock.send(target.request)
            waiting.recv(CHUNK)

    return run


class FloorProtocol(asyncio.Protocol):
    future: asyncio.Future
    drained: asyncio.Future | None = None
    left = 0

    def connection_made(self, transport) -> None:
        self.transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.future.done():
            self.future.set_exception(exc or EOFError("the server closed"))

    def pause_writing(self) -> None:
        self.drained = asyncio.get_running_loop().create_future()

    def resume_writing(self) -> None:
        if self.drained is not None:
            self.drained.set_result(None)
            self.drained = None

    def data_received(self, data: bytes) -> None:
        self.left -= len(data)
        # The head counts, too, so that the last bytes may come after the end.
        if self.left <= 0 and not self.future.done():
            self.future.set_result(None)


async def floor_async(target: Target, scenario: str, concurrency: int):
    loop = asyncio.get_running_loop()
    size = UPLOAD if scenario == "download" else 0
    context = target.context() if target.is_tls else None
    protocols = [
        (await loop.create_connection(FloorProtocol, target.host, target.port, ssl=context))[1]
        for _ in range(concurrency)
    ]

    body = memoryview(bytes(UPLOAD)) if scenario == "upload" else memoryview(b"")
    head = target.upload_head if scenario == "upload" else target.request

    async def work(protocol: FloorProtocol, count: int) -> None:
        for _ in range(count):
            protocol.future = loop.create_future()
            protocol.left = size
            protocol.transport.write(head)
            for start in range(0, len(body), CHUNK):
                protocol.transport.write(body[start : start + CHUNK])
                if protocol.drained is not None:
                    await protocol.drained
            await protocol.future

    async def run(count: int) -> None:
        await asyncio.gather(*(work(protocol, count // concurrency) for protocol in protocols))

    return run


# Many origins: every request to another one, with many idle connections kept.


def many_targets(target: Target) -> list[Target]:
    """The same server by other addresses of the loopback range."""
    return [Target(f"http://{host}:{target.port}{target.path}", target.cafile) for host in ADDRESSES]


def floor_many_sync(target: Target, scenario: str):
    targets = many_targets(target)
    sockets = [[one.connect() for _ in range(IDLE_EACH)] for one in targets]

    def run(count: int) -> None:
        for number in range(count):
            sock = sockets[number % ORIGINS][-1]
            sock.send(targets[number % ORIGINS].request)
            sock.recv(CHUNK)

    return run


def ours_many_sync(target: Target, scenario: str):
    import httpcore

    pool = httpcore.SyncConnectionPool(max_connections=ORIGINS * IDLE_EACH)
    jobs = [(url_of(one), fields_of(one, scenario)) for one in many_targets(target)]
    for url, _ in jobs:
        pool.preconnect(url, IDLE_EACH)
    ext = {"timeout": dict.fromkeys(("connect", "read", "write", "pool"), TIMEOUT)}

    def run(count: int) -> None:
        for number in range(count):
            url, fields = jobs[number % ORIGINS]
            _, _, body, _ = pool.request(b"GET", url, fields, None, ext)
            for _chunk in body:
                pass
            body.close()
        statistics = pool.statistics()
        assert statistics["opened"] == ORIGINS * IDLE_EACH, statistics

    return run


async def floor_many_async(target: Target, scenario: str, concurrency: int):
    loop = asyncio.get_running_loop()
    targets = many_targets(target)
    protocols = []
    for one in targets:
        for _ in range(IDLE_EACH):
            _, protocol = await loop.create_connection(FloorProtocol, one.host, one.port)
        protocols.append(protocol)

    async def run(count: int) -> None:
        for number in range(count):
            protocol = protocols[number % ORIGINS]
            protocol.future = loop.create_future()
            protocol.transport.write(targets[number % ORIGINS].request)
            await protocol.future

    return run


async def ours_many_async(target: Target, scenario: str, concurrency: int):
    import httpcore

    pool = httpcore.AsyncConnectionPool(max_connections=ORIGINS * IDLE_EACH)
    jobs = [(url_of(one), fields_of(one, scenario)) for one in many_targets(target)]
    for url, _ in jobs:
        await pool.preconnect(url, IDLE_EACH)
    ext = {"timeout": dict.fromkeys(("connect", "read", "write", "pool"), TIMEOUT)}

    async def run(count: int) -> None:
        for number in range(count):
            url, fields = jobs[number % ORIGINS]
            _, _, body, _ = await pool.arequest(b"GET", url, fields, None, ext)
            async for _chunk in body:
                pass
            await body.aclose()
        statistics = pool.statistics()
        assert statistics["opened"] == ORIGINS * IDLE_EACH, statistics

    return run


# The floor of trio and of anyio: the library's own stream on a raw socket, nothing parsed, no timeouts.


async def together(loop: str, work, shares: list) -> None:
    """Run `work(share)` for every share, beside one another, in the way of the library."""
    if len(shares) == 1:
        await work(shares[0])
    elif loop == "trio":
        import trio

        async with trio.open_nursery() as nursery:
            for share in shares:
                nursery.start_soon(work, share)
    elif loop.startswith("anyio"):
        import anyio

        async with anyio.create_task_group() as group:
            for share in shares:
                group.start_soon(work, share)
    else:
        await asyncio.gather(*(work(share) for share in shares))


async def connect_trio(target: Target, count: int) -> list:
    import trio

    socks = []
    for _ in range(count):
        sock = trio.socket.socket()
        await sock.connect((target.host, target.port))
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        socks.append(sock)
    return socks


async def floor_trio(target: Target, scenario: str, concurrency: int, *, is_timed: bool = False):
    import trio

    socks = await connect_trio(target, concurrency)

    async def run(count: int) -> None:
        async def work(sock: trio.socket.SocketType) -> None:
            for _ in range(count // concurrency):
                await sock.send(target.request)
                await sock.recv(CHUNK)

        async def work_in_time(sock: trio.socket.SocketType) -> None:
            for _ in range(count // concurrency):
                with trio.fail_after(TIMEOUT):
                    await sock.send(target.request)
                    await sock.recv(CHUNK)

        await together("trio", work_in_time if is_timed else work, socks)

    return run


async def floor_timed_trio(target: Target, scenario: str, concurrency: int):
    """The same as who uses trio has to write it to have a timeout, as all the other clients have."""
    return await floor_trio(target, scenario, concurrency, is_timed=True)


async def floor_anyio(target: Target, scenario: str, concurrency: int):
    import anyio

    streams = [await anyio.connect_tcp(target.host, target.port) for _ in range(concurrency)]

    async def run(count: int) -> None:
        async def work(stream: anyio.abc.SocketStream) -> None:
            for _ in range(count // concurrency):
                await stream.send(target.request)
                await stream.receive(CHUNK)

        await together("anyio", work, streams)

    return run


# The sketch.


def sketch_sync(target: Target, scenario: str):
    url = url_of(target)
    fields = fields_of(target, scenario)
    ext = {"timeout": dict.fromkeys(("connect", "read", "write", "pool"), TIMEOUT)}
    pool = SketchPool(url[:3], [SketchSocket(target.connect(), TIMEOUT)])

    def run(count: int) -> None:
        for _ in range(count):
            _, _, body, _ = pool.request(b"GET", url, fields, None, ext)
            for _chunk in body:
                pass

    return run


def sketch_async(target: Target, connections: list):
    url = url_of(target)
    fields = fields_of(target, "small")
    ext = {"timeout": dict.fromkeys(("connect", "read", "write", "pool"), TIMEOUT)}
    concurrency = len(connections)
    pool = SketchPool(url[:3], connections)

    async def work(count: int) -> None:
        for _ in range(count):
            _, _, body, _ = await pool.arequest(b"GET", url, fields, None, ext)
            async for _chunk in body:
                pass

    async def run(count: int) -> None:
        await together(target.loop, work, [count // concurrency] * concurrency)

    return run


async def sketch_asyncio(target: Target, scenario: str, concurrency: int):
    loop = asyncio.get_running_loop()
    connections = []
    for _ in range(concurrency):
        _, protocol = await loop.create_connection(SketchProtocol, target.host, target.port)
        connections.append(protocol)
    return sketch_async(target, connections)


async def sketch_trio(target: Target, scenario: str, concurrency: int):
    return sketch_async(target, [SketchTrioSocket(sock) for sock in await connect_trio(target, concurrency)])


# Ours, and httpcore2 through the interface it has.


def fields_of(target: Target, scenario: str):
    fields = [(b"Host", urlsplit(target.url).netloc.encode()), (b"Accept", b"*/*"), (b"User-Agent", b"bench")]
    if scenario == "upload":
        fields.append((b"Content-Length", b"%d" % UPLOAD))
    return fields


def url_of(target: Target):
    return (b"https" if target.is_tls else b"http", target.host.encode(), target.port, target.path.encode())


def ours_sync(target: Target, scenario: str):
    import httpcore

    pool = httpcore.SyncConnectionPool(ssl_context=target.context(), max_connections=100)
    url = url_of(target)
    fields = fields_of(target, scenario)
    method = b"PUT" if scenario == "upload" else b"GET"
    stream = httpcore.PlainByteStream(bytes(UPLOAD)) if scenario == "upload" else None
    ext = {"timeout": dict.fromkeys(("connect", "read", "write", "pool"), TIMEOUT)}

    def run(count: int) -> None:
        for _ in range(count):
            status, _, body, _ = pool.request(method, url, fields, stream, ext)
            for _chunk in body:
                pass
            body.close()
            assert status < 300

    return run


async def ours_async(target: Target, scenario: str, concurrency: int):
    import httpcore

    pool = httpcore.AsyncConnectionPool(ssl_context=target.context(), max_connections=100)
    url = url_of(target)
    fields = fields_of(target, scenario)
    method = b"PUT" if scenario == "upload" else b"GET"
    stream = httpcore.PlainByteStream(bytes(UPLOAD)) if scenario == "upload" else None
    ext = {"timeout": dict.fromkeys(("connect", "read", "write", "pool"), TIMEOUT)}

    async def work(count: int) -> None:
        for _ in range(count):
            _, _, body, _ = await pool.arequest(method, url, fields, stream, ext)
            async for _chunk in body:
                pass
            await body.aclose()

    async def run(count: int) -> None:
        await together(target.loop, work, [count // concurrency] * concurrency)

    return run


def proxied_sync(target: Target, scenario: str, mode: str):
    import httpcore

    proxy = (b"http", b"127.0.0.1", target.proxy_port, b"/")
    pool = httpcore.SyncHTTPProxy(proxy, proxy_mode=mode, max_connections=100)
    url = url_of(target)
    fields = fields_of(target, scenario)
    ext = {"timeout": dict.fromkeys(("connect", "read", "write", "pool"), TIMEOUT)}

    def run(count: int) -> None:
        for _ in range(count):
            status, _, body, _ = pool.request(b"GET", url, fields, None, ext)
            for _chunk in body:
                pass
            body.close()
            assert status < 300

    return run


def ours_tunnelled_sync(target: Target, scenario: str):
    return proxied_sync(target, scenario, "TUNNEL_ONLY")


def ours_forwarded_sync(target: Target, scenario: str):
    return proxied_sync(target, scenario, "FORWARD_ONLY")


async def proxied_async(target: Target, scenario: str, mode: str):
    import httpcore

    proxy = (b"http", b"127.0.0.1", target.proxy_port, b"/")
    pool = httpcore.AsyncHTTPProxy(proxy, proxy_mode=mode, max_connections=100)
    url = url_of(target)
    fields = fields_of(target, scenario)
    ext = {"timeout": dict.fromkeys(("connect", "read", "write", "pool"), TIMEOUT)}

    async def run(count: int) -> None:
        for _ in range(count):
            _, _, body, _ = await pool.arequest(b"GET", url, fields, None, ext)
            async for _chunk in body:
                pass
            await body.aclose()

    return run


async def ours_tunnelled_async(target: Target, scenario: str, concurrency: int):
    return await proxied_async(target, scenario, "TUNNEL_ONLY")


async def ours_forwarded_async(target: Target, scenario: str, concurrency: int):
    return await proxied_async(target, scenario, "FORWARD_ONLY")


def httpcore2_sync(target: Target, scenario: str):
    import httpcore2

    pool = httpcore2.ConnectionPool(ssl_context=target.context(), max_connections=100)
    extensions = {"timeout": dict.fromkeys(("connect", "read", "write", "pool"), TIMEOUT)}
    method, content = ("PUT", bytes(UPLOAD)) if scenario == "upload" else ("GET", None)
    headers = {"Content-Length": str(UPLOAD)} if scenario == "upload" else None

    def run(count: int) -> None:
        for _ in range(count):
            with pool.stream(
                method, target.url, headers=headers, content=content, extensions=extensions
            ) as response:
                for _chunk in response.iter_stream():
                    pass

    return run


async def httpcore2_async(target: Target, scenario: str, concurrency: int):
    import httpcore2

    pool = httpcore2.AsyncConnectionPool(ssl_context=target.context(), max_connections=100)
    extensions = {"timeout": dict.fromkeys(("connect", "read", "write", "pool"), TIMEOUT)}

    async def work(count: int) -> None:
        for _ in range(count):
            async with pool.stream("GET", target.url, extensions=extensions) as response:
                async for _chunk in response.aiter_stream():
                    pass

    async def run(count: int) -> None:
        await together(target.loop, work, [count // concurrency] * concurrency)

    return run


# The peers.


def pycurl_sync(target: Target, scenario: str):
    import pycurl

    curl = pycurl.Curl()
    curl.setopt(pycurl.URL, target.url)
    curl.setopt(pycurl.CAINFO, target.cafile)
    curl.setopt(pycurl.CONNECTTIMEOUT, int(TIMEOUT))
    curl.setopt(pycurl.TIMEOUT, int(TIMEOUT))
    curl.setopt(pycurl.WRITEFUNCTION, lambda data: None)
    if scenario == "upload":
        content = bytes(UPLOAD)
        position = 0

        def read(size: int) -> bytes:
            nonlocal position
            position += size
            return content[position - size : position]

        curl.setopt(pycurl.UPLOAD, 1)
        curl.setopt(pycurl.INFILESIZE_LARGE, UPLOAD)
        curl.setopt(pycurl.UPLOAD_BUFFERSIZE, CHUNK)
        curl.setopt(pycurl.HTTPHEADER, ["Expect:"])
        curl.setopt(pycurl.READFUNCTION, read)

    def run(count: int) -> None:
        nonlocal position
        for _ in range(count):
            position = 0
            curl.perform()

    position = 0
    return run


def urllib3_sync(target: Target, scenario: str):
    import urllib3

    pool = urllib3.PoolManager(ca_certs=target.cafile, timeout=TIMEOUT)
    method, body = ("PUT", bytes(UPLOAD)) if scenario == "upload" else ("GET", None)

    def run(count: int) -> None:
        for _ in range(count):
            response = pool.request(method, target.url, body=body, preload_content=False)
            for _chunk in response.stream(CHUNK):
                pass
            response.release_conn()

    return run


async def aiohttp_async(target: Target, scenario: str, concurrency: int):
    import aiohttp

    connector = aiohttp.TCPConnector(limit=100, ssl=target.context() if target.is_tls else True)
    session = aiohttp.ClientSession(
        connector=connector, timeout=aiohttp.ClientTimeout(total=TIMEOUT, sock_read=TIMEOUT)
    )

    async def work(count: int) -> None:
        for _ in range(count):
            async with session.get(target.url) as response:
                async for _chunk in response.content.iter_any():
                    pass

    async def run(count: int) -> None:
        await asyncio.gather(*(work(count // concurrency) for _ in range(concurrency)))

    return run


def _pyreqwest_builder(module, target: Target):
    from datetime import timedelta

    builder = (
        module().timeout(timedelta(seconds=TIMEOUT)).connect_timeout(timedelta(seconds=TIMEOUT)).http1_only()
    )
    if target.is_tls:
        with open(target.cafile, "rb") as file:
            builder = builder.add_root_certificate_pem(file.read())
    return builder


def pyreqwest_sync(target: Target, scenario: str):
    from pyreqwest.client import SyncClientBuilder

    client = _pyreqwest_builder(SyncClientBuilder, target).build()

    def run(count: int) -> None:
        for _ in range(count):
            client.get(target.url).build().send().bytes()

    return run


async def pyreqwest_async(target: Target, scenario: str, concurrency: int):
    from pyreqwest.client import ClientBuilder

    client = _pyreqwest_builder(ClientBuilder, target).build()

    async def work(count: int) -> None:
        for _ in range(count):
            response = await client.get(target.url).build().send()
            await response.bytes()

    async def run(count: int) -> None:
        await asyncio.gather(*(work(count // concurrency) for _ in range(concurrency)))

    return run


def main() -> None:
    name, loop, scenario, concurrency, url, cafile, proxy_port = sys.argv[1:]
    target = Target(url, cafile, int(proxy_port))
    target.loop = loop
    if loop == "sync":
        run = globals()[f"{name}_sync"](target, scenario)
        for line in sys.stdin:
            begin, clock = time.process_time(), time.perf_counter()
            run(int(line))
            print(time.process_time() - begin, time.perf_counter() - clock, flush=True)
        return

    async def serve() -> None:
        library = "async"
        if name.startswith("floor") and loop in ("trio", "anyio"):
            library = loop
        elif name == "sketch":
            library = "trio" if loop == "trio" else "asyncio"
        run = await globals()[f"{name}_{library}"](target, scenario, int(concurrency))
        # Reading blocks the loop on purpose: between rounds nothing runs.
        for line in iter(sys.stdin.readline, ""):
            begin, clock = time.process_time(), time.perf_counter()
            await run(int(line))
            print(time.process_time() - begin, time.perf_counter() - clock, flush=True)

    if loop == "uvloop":
        import uvloop

        uvloop.run(serve())
    elif loop == "trio":
        import trio

        trio.run(serve)
    elif loop == "anyio":
        import anyio

        anyio.run(serve)
    else:
        asyncio.run(serve())


if __name__ == "__main__":
    main()
