"""The reference exchanges: what is cancelled, interrupted and tortured at every step.

Each is one way through the transport, from the call to the last byte. They run on a `Scene`: the servers and
the one client, with room for one connection, that the exchange needs.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import socket
import tempfile
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import trio

import httpcore

from ..colours import Client, Colour, Response, drive
from ..peers.certificates import client_context, server_context
from ..peers.http2 import h2_context, http2
from ..peers.proxies import relay, socks_to
from ..peers.scripted import Peer, Script, Server

Exchange = Callable[["Scene"], Awaitable[object]]

EXCHANGES: dict[str, Exchange] = {}

KINDS: dict[str, str] = {}
"""Exchange → what kind of client it needs."""

SMALL_BUFFER = [(socket.SOL_SOCKET, socket.SO_SNDBUF, 32768)]
"""Makes an upload of some hundred KB wait for the peer."""

DOWN = b"d" * 300_000

UP = b"u" * 300_000

HOST = (b"Host", b"h")


class Scene:
    """Servers for one exchange, and what makes the client to go with them."""

    def __init__(self, kind: str, servers: dict[str, Server], path: str) -> None:
        self._kind = kind
        self._servers = servers
        self._path = path
        self._context, self._proxy_context = client_context(), client_context()
        self.client: Client

    def create_client(self, colour: Colour, **options: Any) -> Client:
        """A client with room for one connection. `peer.example` is a name that leads to the servers."""
        settings = {
            "max_connections": 1,
            "ssl_context": self._context,
            "socket_options": SMALL_BUFFER,
            "resolver": lambda host, port: ["127.0.0.1"],
            **options,
        }
        self.colour = colour
        if self._kind.startswith("h2"):
            settings |= {"http1": False, "http2": True}
        if self._kind in ("forward", "tunnel", "socks5", "h2-tunnel"):
            scheme = b"socks5" if self._kind == "socks5" else b"http"
            url = (scheme, b"proxy.example", self._servers["proxy"].port, b"/")
            mode = "TUNNEL_ONLY" if self._kind.endswith("tunnel") else "DEFAULT"
            self.client = colour.proxy(url, proxy_mode=mode, **settings)
        elif self._kind == "https-proxy":
            url = (b"https", b"localhost", self._servers["proxy"].port, b"/")
            self.client = colour.proxy(url, proxy_ssl_context=self._proxy_context, **settings)
        elif self._kind == "uds":
            self.client = colour.client(uds=self._path, **settings)
        else:
            self.client = colour.client(**settings)
        return self.client

    def url(self, target: bytes) -> tuple[bytes, bytes, int, bytes]:
        return (b"http", b"peer.example", self._servers["plain"].port, target)

    def tls_url(self, target: bytes) -> tuple[bytes, bytes, int, bytes]:
        return (b"https", b"localhost", self._servers["tls"].port, target)

    async def next_request(self) -> None:
        """The request after the exchange gets its own answer, without delay."""
        assert await self.client.get(self.url(b"/next"), pool=1.0, read=5.0) in (b"/next", self.forwarded)

    @property
    def forwarded(self) -> bytes:
        return b"http://peer.example:%d/next" % self._servers["plain"].port

    def check_figures(self) -> None:
        """Nothing runs, nobody waits."""
        figures = self.client.pool.statistics()
        counts = {name: figures[name] for name in ("active", "connecting", "waiting")}
        assert not any(counts.values()), counts
        assert figures["connections"] == figures["idle"] <= 1

    def check_sockets(self) -> None:
        """The process has as many sockets open as the ledger has connections. (The last request had its turn.)"""
        assert self._count_sockets() == self.client.pool.statistics()["connections"]

    def _count_sockets(self) -> int:
        """The sockets of this process that lead to where the client goes."""
        proxy = self._servers.get("proxy")
        # A proxy runs in this process too, and its sockets lead to the origins.
        ports = [proxy.port] if proxy is not None else [server.port for server in self._servers.values()]
        count = 0
        for name in os.listdir("/proc/self/fd"):
            try:
                address = _peer_of(int(name))
            except OSError:
                continue
            count += address == self._path or (isinstance(address, tuple) and address[1] in ports)
        return count


def _peer_of(descriptor: int) -> object:
    """Where a socket leads. `OSError`: it is none, or leads nowhere."""
    copy = os.dup(descriptor)
    try:
        sock = socket.socket(fileno=copy)
    except OSError:
        os.close(copy)
        raise
    with sock:
        return sock.getpeername()


@contextmanager
def scene_of(name: str) -> Iterator[Scene]:
    """Start what the exchange `name` needs."""
    kind = KINDS[name]
    with ExitStack() as stack, tempfile.TemporaryDirectory() as directory:
        path = str(Path(directory, "s"))
        is_http2 = kind.startswith("h2")
        script, context = (_reference_http2(), h2_context()) if is_http2 else (reference, server_context())
        servers = {"plain": stack.enter_context(Server(script))}
        servers["tls"] = stack.enter_context(Server(script, context=context))
        if kind == "uds":
            stack.enter_context(Server(reference, path=path))
        elif kind == "socks5":
            servers["proxy"] = stack.enter_context(Server(_socks))
        elif kind == "https-proxy":
            servers["proxy"] = stack.enter_context(Server(_proxy, context=server_context()))
        elif kind in ("forward", "tunnel", "h2-tunnel"):
            servers["proxy"] = stack.enter_context(Server(_proxy))
        yield Scene(kind, servers, path)


def _reference_http2() -> Script:
    from .exchanges_http2 import reference as script

    return http2(script)


def exchange(kind: str = "direct") -> Callable[[Exchange], Exchange]:
    def register(function: Exchange) -> Exchange:
        name = function.__name__
        EXCHANGES[name] = function
        KINDS[name] = kind
        return function

    return register


# The servers.


def reference(peer: Peer) -> None:
    """What the target says is what the server does; by default it answers with the target."""
    while head := peer.recv_head():
        method, target = head.split(b" ")[:2]
        path = b"/" + target.rpartition(b"/")[2]
        if path == b"/refuse":
            peer.send(b"HTTP/1.1 413 No\r\nContent-Length: 2\r\n\r\nno")
            return
        if path in (b"/interim", b"/expect"):
            peer.send(b"HTTP/1.1 103 Early\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n")
        if path == b"/echo":
            _echo(peer)
            continue
        if path == b"/early":
            peer.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n")
            while peer.sock.recv(65536):
                pass
            return
        _skip_body(peer, head.lower())
        if not _respond(peer, method, path, target):
            return


def _respond(peer: Peer, method: bytes, path: bytes, target: bytes) -> bool:
    """Whether the connection goes on."""
    if method == b"HEAD":
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n")
    elif path == b"/none":
        peer.send(b"HTTP/1.1 204 None\r\n\r\n")
    elif path == b"/chunked":
        peer.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        for _ in range(5):
            peer.send(b"3\r\nabc\r\n")
        peer.send(b"0\r\nT: v\r\n\r\n")
    elif path == b"/until-close":
        peer.send(b"HTTP/1.1 200 OK\r\n\r\nabc")
        peer.send(b"def")
        return False
    elif path == b"/close":
        peer.answer(target, extra=b"Connection: close\r\n")
        return False
    elif path == b"/switch":
        peer.send(b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\n\r\nraw")
        return False
    elif path == b"/vanish":
        # Answered once; the next request on this connection is not.
        peer.answer(target)
        peer.recv_head()
        return False
    else:
        peer.answer(DOWN if path == b"/large" else target)
    return True


def _skip_body(peer: Peer, head: bytes) -> None:
    if b"transfer-encoding: chunked" in head:
        while size := int(peer.recv_until(b"\r\n") or b"0", 16):
            peer.recv_exactly(size + 2)
        peer.recv_until(b"\r\n")
    elif b"content-length: " in head:
        peer.recv_exactly(int(head.split(b"content-length: ")[1].split(b"\r\n")[0]))


def _echo(peer: Peer) -> None:
    """Give each chunk back as soon as it is here."""
    peer.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    while size := int(peer.recv_until(b"\r\n") or b"0", 16):
        peer.send(b"%x\r\n%b" % (size, peer.recv_exactly(size + 2)))
    peer.recv_until(b"\r\n")
    peer.send(b"0\r\n\r\n")


def _proxy(peer: Peer) -> None:
    """Open tunnels to where they lead, and answer what is to be forwarded."""
    head = peer.recv_head()
    if not head.startswith(b"CONNECT"):
        peer.unread(head)
        reference(peer)
        return
    peer.send(b"HTTP/1.1 200 OK\r\n\r\n")
    relay(peer, int(head.split(b" ")[1].rpartition(b":")[2]))


def _socks(peer: Peer) -> None:
    socks_to()(peer)


# The exchanges.


async def read_response(response: Any, expected: bytes | None = None) -> None:
    body = await response.read()
    if expected is not None:
        assert body == expected


async def post(
    scene: Scene,
    url: tuple[bytes, bytes, int, bytes],
    body: bytes | list[bytes],
    *fields: tuple[bytes, bytes],
) -> Any:
    is_plain = isinstance(body, bytes)
    framing = (b"Content-Length", b"%d" % len(body)) if is_plain else (b"Transfer-Encoding", b"chunked")
    stream = httpcore.PlainByteStream(body) if isinstance(body, bytes) else scene.colour.stream(body)
    return await scene.client.send(url, b"POST", [HOST, framing, *fields], stream, read=5.0, write=5.0)


@exchange()
async def get(scene: Scene) -> None:
    await read_response(await scene.client.send(scene.url(b"/a")), b"/a")


@exchange()
async def get_twice(scene: Scene) -> None:
    await get(scene)
    await get(scene)


@exchange()
async def head(scene: Scene) -> None:
    await read_response(await scene.client.send(scene.url(b"/a"), b"HEAD"), b"")


@exchange()
async def no_content(scene: Scene) -> None:
    await read_response(await scene.client.send(scene.url(b"/none")), b"")


@exchange()
async def chunked_with_trailers(scene: Scene) -> None:
    await read_response(await scene.client.send(scene.url(b"/chunked")), b"abc" * 5)


@exchange()
async def large_download(scene: Scene) -> None:
    await read_response(await scene.client.send(scene.url(b"/large")), DOWN)


@exchange()
async def closed_early(scene: Scene) -> None:
    response = await scene.client.send(scene.url(b"/large"))
    await response.first()
    await response.close()


@exchange()
async def closed_unread(scene: Scene) -> None:
    await (await scene.client.send(scene.url(b"/a"))).close()


@exchange()
async def until_close(scene: Scene) -> None:
    # Where nothing but the end marks the end, an early one cannot be told.
    assert b"abcdef".startswith(await (await scene.client.send(scene.url(b"/until-close"))).read())


@exchange()
async def connection_close(scene: Scene) -> None:
    await read_response(await scene.client.send(scene.url(b"/close")), b"/close")


@exchange()
async def interim(scene: Scene) -> None:
    await read_response(await scene.client.send(scene.url(b"/interim")), b"/interim")


@exchange()
async def switched(scene: Scene) -> None:
    response = await scene.client.send(scene.url(b"/switch"))
    assert response.status == 101
    assert b"raw".startswith(await response.read())


@exchange()
async def small_upload(scene: Scene) -> None:
    await read_response(await post(scene, scene.url(b"/a"), b"hello"), b"/a")


@exchange()
async def large_upload(scene: Scene) -> None:
    await read_response(await post(scene, scene.url(b"/a"), UP), b"/a")


@exchange()
async def streamed_upload(scene: Scene) -> None:
    await read_response(await post(scene, scene.url(b"/a"), [UP[:30_000]] * 5), b"/a")


@exchange()
async def expect(scene: Scene) -> None:
    await read_response(
        await post(scene, scene.url(b"/expect"), b"hello", (b"Expect", b"100-continue")), b"/expect"
    )


@exchange()
async def expect_refused(scene: Scene) -> None:
    response = await post(scene, scene.url(b"/refuse"), b"hello", (b"Expect", b"100-continue"))
    assert response.status == 413
    await read_response(response, b"no")


@exchange()
async def upload_refused(scene: Scene) -> None:
    response = await post(scene, scene.url(b"/refuse"), UP)
    assert response.status == 413
    await read_response(response, b"no")


@exchange()
async def echo(scene: Scene) -> None:
    await read_response(await post(scene, scene.url(b"/echo"), [UP[:20_000]] * 4), UP[:80_000])


@exchange()
async def closed_while_uploading(scene: Scene) -> None:
    """The caller's stream is told, and takes its time."""
    stream: object
    if scene.colour.is_async:
        stream = httpcore.AsyncIteratorByteStream(endless(UP), aclose_func=scene.colour.pause)
    else:
        stream = httpcore.IteratorByteStream(
            itertools.repeat(UP), close_func=lambda: drive(scene.colour.pause())
        )
    fields = [HOST, (b"Transfer-Encoding", b"chunked")]
    response = await scene.client.send(scene.url(b"/early"), b"POST", fields, stream, read=5.0, write=5.0)
    await response.first()
    await response.close()


class endless:  # noqa: N801
    """The same chunk again and again."""

    def __init__(self, chunk: bytes) -> None:
        self._chunk = chunk

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        return self._chunk


@exchange()
async def replayed(scene: Scene) -> None:
    """The second request meets a connection that the server drops."""
    await read_response(await scene.client.send(scene.url(b"/vanish")), b"/vanish")
    await get(scene)


@exchange()
async def evicting(scene: Scene) -> None:
    """The idle connection to one origin makes room for one to another."""
    await get(scene)
    await tls_get(scene)


@exchange()
async def waiting(scene: Scene) -> None:
    """The only connection is held by a response that is closed once the next request waits for it."""
    response = await scene.client.send(scene.url(b"/large"))
    try:
        with _closed_soon(scene, response):
            await get(scene)
    finally:
        await response.close()


@contextmanager
def _closed_soon(scene: Scene, response: Response) -> Iterator[None]:
    """Close a response as soon as this task, or thread, waits for the pool: for a place, or for its end."""
    if scene.colour.is_trio:
        trio.lowlevel.current_trio_token().run_sync_soon(drive, response.close())
    elif scene.colour.is_async:
        asyncio.get_running_loop().call_soon(drive, response.close())
    else:
        with _closing_thread(scene, response):
            yield
        return
    yield


@contextmanager
def _closing_thread(scene: Scene, response: Response) -> Iterator[None]:
    is_over = threading.Event()

    def close() -> None:
        pool = scene.client.pool._pool
        while not (scene.client.pool.statistics()["waiting"] or pool._drainers) and not is_over.wait(0.001):
            pass
        drive(response.close())

    thread = threading.Thread(target=close)
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join()


@exchange()
async def drained(scene: Scene) -> None:
    """Closing the pool waits for a response that is closed meanwhile."""
    response = await scene.client.send(scene.url(b"/large"))
    try:
        with _closed_soon(scene, response):
            await scene.client.close(drain=5.0)
    finally:
        await response.close()


@exchange()
async def preconnected(scene: Scene) -> None:
    await scene.client.preconnect(scene.url(b"/"))
    await get(scene)


@exchange()
async def tls_get(scene: Scene) -> None:
    await read_response(await scene.client.send(scene.tls_url(b"/a")), b"/a")


@exchange()
async def tls_resumed(scene: Scene) -> None:
    for _ in range(2):
        await read_response(await scene.client.send(scene.tls_url(b"/close")), b"/close")


@exchange()
async def tls_large_download(scene: Scene) -> None:
    await read_response(await scene.client.send(scene.tls_url(b"/large")), DOWN)


@exchange()
async def tls_large_upload(scene: Scene) -> None:
    await read_response(await post(scene, scene.tls_url(b"/a"), UP), b"/a")


@exchange("uds")
async def unix_socket(scene: Scene) -> None:
    await get(scene)


@exchange("forward")
async def forwarded(scene: Scene) -> None:
    await read_response(await scene.client.send(scene.url(b"/a")))


@exchange("forward")
async def tunnelled_tls(scene: Scene) -> None:
    await tls_get(scene)


@exchange("tunnel")
async def tunnelled(scene: Scene) -> None:
    await get(scene)


@exchange("https-proxy")
async def tls_in_tls(scene: Scene) -> None:
    await tls_get(scene)


@exchange("socks5")
async def socks(scene: Scene) -> None:
    await get(scene)


@exchange("socks5")
async def socks_tls(scene: Scene) -> None:
    await tls_get(scene)
