"""`ext["trace"]`: which phases are told of, in which order, and what becomes of a hook that raises."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import pytest

import httpcore

from .colours import ASYNC_NAMES, Client, Colour
from .peers.certificates import client_context, server_context
from .peers.http2 import HTTP2Peer, h2_context, http2
from .peers.http2 import serve as serve_http2
from .peers.scripted import Peer, Server, serve

SIZED = [(b"Host", b"h"), (b"Content-Length", b"2")]

Events = list[tuple[str, dict[str, Any]]]


async def trace(
    client: Client, url: Any, method: bytes = b"GET", stream: Any = None, **limits: float
) -> Events:
    """Send a request and read its answer; what was heard, an error of ours included."""
    events: Events = []
    headers = None if stream is None else SIZED
    try:
        response = await client.send(
            url, method, headers, stream, trace=lambda name, info: events.append((name, info)), **limits
        )
        await response.read()
    except (httpcore.NetworkError, httpcore.TimeoutException):
        pass
    return events


def phases(events: Events) -> list[str]:
    """The phases in their order, each of which has to start and to complete before the next one does."""
    names = [name for name, _ in events]
    found = [name.removesuffix(".started") for name in names[::2]]
    assert names == [f"{phase}.{step}" for phase in found for step in ("started", "complete")]
    for name, info in events:
        assert ("return_value" in info) == name.endswith(".complete")
    return found


EXCHANGE = [
    "send_request_headers",
    "send_request_body",
    "receive_response_headers",
    "receive_response_body",
    "response_closed",
]


@pytest.mark.parametrize("method", [b"GET", b"HEAD", b"POST"])
@pytest.mark.parametrize("way", ["tcp", "tls", "uds"])
def test_http11(colour: Colour, way: str, method: bytes) -> None:
    opening = {
        "tcp": ["connection.lookup", "connection.connect_tcp"],
        "tls": ["connection.lookup", "connection.connect_tcp", "connection.start_tls"],
        "uds": ["connection.connect_unix_socket"],
    }[way]
    exchange = [f"http11.{phase}" for phase in EXCHANGE]

    async def main(path: str) -> None:
        context = server_context() if way == "tls" else None
        # An answer to HEAD has no body, whatever its length.
        script = serve if method != b"HEAD" else _answer_without_body
        with Server(script, context=context, path=path if way == "uds" else None) as server:
            options = {"uds": path if way == "uds" else None, "ssl_context": client_context()}
            async with colour.client(**options) as client:
                for expected in ([*opening, *exchange], exchange):
                    body = colour.stream([b"a", b"b"]) if method == b"POST" else None
                    events = await trace(client, server.url(), method, body)
                    assert phases(events) == expected
                infos = dict(events)
                head = infos["http11.receive_response_headers.complete"]["return_value"]
                assert head.status == 200

    with tempfile.TemporaryDirectory() as directory:
        colour.run(main, str(Path(directory, "socket")))


def _answer_without_body(peer: Peer) -> None:
    while peer.recv_request()[0]:
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n")


@pytest.mark.parametrize("method", [b"GET", b"HEAD", b"POST"])
def test_http2(colour: Colour, method: bytes) -> None:
    exchange = [f"http2.{phase}" for phase in EXCHANGE]

    def script(peer: HTTP2Peer) -> None:
        if method == b"HEAD":
            peer.serve(lambda peer, stream: peer.headers(stream, [(b":status", b"200")], ends=True))
        else:
            peer.serve()

    async def main() -> None:
        with Server(http2(script), context=h2_context()) as server:
            async with colour.client(http2=True, ssl_context=client_context()) as client:
                body = colour.stream([b"a", b"b"]) if method == b"POST" else None
                events = await trace(client, server.url(), method, body)
                settings = [name for name, _ in events if "settings" in name]
                assert settings == [
                    f"http2.receive_remote_settings.{step}" for step in ("started", "complete")
                ]
                rest = [event for event in events if "settings" not in event[0]]
                opening = ["connection.lookup", "connection.connect_tcp", "connection.start_tls"]
                assert phases(rest) == [*opening, "http2.send_connection_init", *exchange]
                body = colour.stream([b"a", b"b"]) if method == b"POST" else None
                assert phases(await trace(client, server.url(), method, body)) == exchange

    colour.run(main)


def test_an_answer_during_the_upload(colour: Colour) -> None:
    """It is received all the same, and the upload has not failed."""

    def script(peer: Peer) -> None:
        peer.recv_head()
        peer.send(b"HTTP/1.1 102 Wait\r\n\r\nHTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n")
        peer.recv_to_end()

    async def main() -> None:
        with Server(script) as server:
            async with colour.client() as client:
                events: Events = []
                headers = [(b"Host", b"h"), (b"Content-Length", b"%d" % (1 << 30))]
                response = await client.send(
                    server.url(),
                    b"POST",
                    headers,
                    colour.stream([bytes(1 << 20)] * 1024),
                    trace=lambda name, info: events.append((name, info)),
                )
                assert response.status == 403
                interim = [info for name, info in events if name == "http11.receive_interim_headers.complete"]
                assert [info["return_value"].status for info in interim] == [102]
                rest = [event for event in events if "interim" not in event[0]]
                assert phases(rest)[2:] == [f"http11.{phase}" for phase in EXCHANGE]

    colour.run(main)


def _mute(peer: Peer) -> None:
    peer.recv_head()
    peer.server.hold()


def _half(peer: Peer) -> None:
    peer.recv_head()
    peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")
    peer.server.hold()


@pytest.mark.parametrize(
    ("script", "failed"),
    [
        (None, "connection.connect_tcp"),
        (_mute, "http11.receive_response_headers"),
        (_half, "http11.receive_response_body"),
        (http2(lambda peer: peer.server.hold()), "http2.receive_response_headers"),
    ],
)
def test_a_phase_that_fails(colour: Colour, script: Any, failed: str) -> None:
    async def main() -> None:
        options = {"http1": False, "http2": True} if failed.startswith("http2") else {}
        with Server(script or serve) as server:
            async with colour.client(**options) as client:
                url = server.url() if script else (b"http", b"127.0.0.1", 1, b"/")
                # Half a response has to be here before the time is over.
                events = await trace(client, url, read=0.3 if script is _half else 0.05)
                name, info = events[-1]
                assert name == f"{failed}.failed"
                error = httpcore.ConnectError if script is None else httpcore.ReadTimeout
                assert type(info["exception"]) is error
                assert not [name for name, _ in events[:-1] if name.endswith(".failed")]

    colour.run(main)


class Objection(Exception):
    pass


@pytest.mark.parametrize("is_http2", [False, True])
def test_a_hook_that_raises(colour: Colour, is_http2: bool) -> None:
    """It is the caller's own error, and at no point does it cost more than the connection."""

    async def main() -> None:
        script, options = (http2(serve_http2), {"http1": False, "http2": True}) if is_http2 else (serve, {})
        with Server(script) as server:
            client = colour.client(**options)
            names = [name for name, _ in await trace(client, server.url(), b"POST", colour.stream([b"ab"]))]
            await client.close()
            for objectionable in names:

                def hook(name: str, info: object, objectionable: str = objectionable) -> None:
                    if name == objectionable:
                        raise Objection(name)

                closed: list[bool] = []
                body = colour.stream([b"a", b"b"], closed)
                with pytest.raises(Objection, match=objectionable):
                    response = await client.send(server.url(), b"POST", SIZED, body, trace=hook)
                    await response.read()
                figures = client.pool.statistics()
                assert figures["connections"] == figures["idle"], objectionable
                assert await client.get(server.url(b"/next")) == b"/next"
                await client.close()

    colour.run(main)


def test_a_hook_that_raises_an_error_of_ours(colour: Colour) -> None:
    """Nothing is sent, nor tried, again for it."""

    async def main() -> None:
        with Server(serve) as server:
            async with colour.client(retries=1) as client:
                for phase in ("connection.connect_tcp.failed", "http11.receive_response_headers.started"):
                    error = (
                        httpcore.ConnectError("mine") if "connect" in phase else httpcore.ReadError("mine")
                    )
                    names: list[str] = []

                    def hook(name: str, info: object) -> None:
                        names.append(name)
                        if name == phase:
                            raise error

                    url = (b"http", b"127.0.0.1", 1, b"/") if "connect" in phase else server.url()
                    assert await client.get(server.url()) == b"/"
                    with pytest.raises(type(error), match=r"^mine$") as caught:
                        await client.send(url, trace=hook)
                    assert caught.value is error
                    assert names.count(phase) == 1

    colour.run(main)


@pytest.mark.parametrize("name", ASYNC_NAMES)
def test_an_async_hook_is_awaited(name: str) -> None:
    colour = Colour(name)

    async def main() -> None:
        with Server(serve) as server:
            async with colour.client() as client:
                names: list[str] = []

                async def hook(name: str, info: dict[str, object]) -> None:
                    await colour.pause()
                    names.append(name)

                response = await client.send(server.url(), trace=hook)
                assert await response.read() == b"/"
                assert names[-1] == "http11.response_closed.complete"

    colour.run(main)


def test_an_async_hook_in_sync() -> None:
    async def hook(name: str, info: dict[str, object]) -> None:
        await Colour("asyncio").pause()

    url = (b"http", b"127.0.0.1", 1, b"/")
    with httpcore.SyncConnectionPool() as pool, pytest.raises(RuntimeError, match="event loop"):
        pool.request(b"GET", url, SIZED[:1], ext={"trace": hook})


def test_trying_again(colour: Colour) -> None:
    """The pauses are 0, 0.5, 1, 2, 4 … seconds."""
    slept: list[float] = []

    async def main() -> None:
        client = colour.client(retries=5)
        real = client.pool._pool._find_backend()

        class Impatient:
            def __getattr__(self, name: str) -> Any:
                return getattr(real, name)

            async def sleep(self, seconds: float) -> None:
                slept.append(seconds)

        impatient = Impatient()
        client.pool._pool._find_backend = lambda: impatient
        events = await trace(client, (b"http", b"127.0.0.1", 1, b"/"))
        assert slept == [0, 0.5, 1, 2, 4]
        delays = [info["delay"] for name, info in events if name == "connection.retry.started"]
        assert delays == slept
        assert [name for name, _ in events].count("connection.connect_tcp.failed") == 6
        await client.close()

    colour.run(main)
