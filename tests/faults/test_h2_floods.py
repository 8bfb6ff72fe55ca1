"""HTTP/2 servers that send much of what costs them little."""

from __future__ import annotations

import gc
import socket
import sys
import tracemalloc

import pytest

import httpcore

from ..colours import Colour
from ..peers.http2 import (
    ClientGone,
    Code,
    Flag,
    HTTP2Peer,
    HTTP2Script,
    Stream,
    Type,
    first_then_serve,
    frame,
    http2,
    integer,
    literal,
    settings_payload,
)
from ..peers.scripted import Server
from .h2_meetings import OK, engine_of, expect_answer, fails, meet, prior
from .rows import row

pytestmark = pytest.mark.usefixtures("nothing_left")

HEAD = literal(b":status", b"200")

BATCH = 500

MOST = 32 * 1024 * 1024
"""Bytes of a flood by which a client has to have ended the connection, those in the kernel's buffers included."""


def flood(*frames: bytes, before: bytes = b"") -> HTTP2Script:
    """Send frames again and again until the client goes, and read nothing meanwhile."""

    def script(peer: HTTP2Peer) -> None:
        peer.recv_request()
        peer.send(before)
        batch = b"".join(frames) * BATCH
        try:
            for _ in range(MOST // len(batch) + 1):
                peer.send(batch)
        except ClientGone:
            return
        raise AssertionError("The client took all of it.")

    return script


def begin(stream_id: int = 1, block: bytes = b"") -> bytes:
    return frame(Type.HEADERS, 0, stream_id, block)


OPEN = frame(Type.HEADERS, Flag.END_HEADERS, 1, HEAD)

FLOODS: dict[str, list[HTTP2Script]] = {
    "H2D-01": [
        flood(frame(Type.CONTINUATION, 0, 1, b""), before=begin()),
        flood(frame(Type.CONTINUATION, 0, 1, literal(b"a", b"b")), before=begin(1, HEAD)),
        flood(frame(Type.CONTINUATION, 0, 1, literal(b"a", b"b" * 16_000)), before=begin(1, HEAD)),
    ],
    "H2D-03": [flood(frame(Type.PING, 0, 0, bytes(8)))],
    "H2D-04": [
        flood(frame(Type.SETTINGS)),
        flood(frame(Type.SETTINGS, 0, 0, settings_payload([(4, 65_535)]))),
        flood(frame(Type.SETTINGS, 0, 0, settings_payload([(0x99, 1)] * 30))),
    ],
    "H2D-05": [flood(frame(Type.DATA, 0, 1, b""), before=OPEN)],
    "H2D-06": [flood(frame(Type.DATA, Flag.PADDED, 1, b"\xff" + bytes(255)), before=OPEN)],
    "H2D-07": [
        flood(frame(Type.WINDOW_UPDATE, 0, 0, b"\0\0\0\1")),
        flood(frame(Type.WINDOW_UPDATE, 0, 1, b"\0\0\0\1")),
    ],
    "H2D-08": [flood(frame(Type.PRIORITY, 0, stream_id, bytes(5))) for stream_id in (1, 1001)],
    "H2D-11": [
        flood(frame(Type.PING, 0, 0, bytes(8)), frame(Type.SETTINGS)),
        flood(frame(0x42, 0, 0, b"")),
    ],
}  # fmt: skip


@row(*FLOODS)
@pytest.mark.parametrize("row_id", FLOODS)
def test_floods_end_the_connection(row_id: str, colour: Colour) -> None:
    for script in FLOODS[row_id]:
        outcome = colour.run(lambda: meet(colour, script))
        assert isinstance(outcome.error, httpcore.RemoteProtocolError), outcome
        assert outcome.accepted == 2


@row("H2D-02")
@pytest.mark.parametrize(
    "data",
    [
        begin()
        + frame(Type.CONTINUATION, 0, 1, b"") * 10
        + frame(Type.CONTINUATION, Flag.END_HEADERS, 1, b""),
        begin() + frame(Type.CONTINUATION, Flag.END_HEADERS, 1, b""),
        frame(Type.HEADERS, Flag.END_HEADERS, 1, b""),
    ],
    ids=["long", "short", "headers"],
)
def test_a_flood_on_a_stream_that_is_reset(colour: Colour, data: bytes) -> None:
    """The first empty head ends the stream. What follows is ignored, but not for ever."""

    async def main() -> None:
        with Server(first_then_serve(flood(data))) as server:
            async with prior(colour) as client:
                for _ in range(5):
                    try:
                        assert await client.get(server.url(b"/next")) == b"/next"
                        break
                    except httpcore.RemoteProtocolError:
                        pass
                assert await client.get(server.url(b"/next")) == b"/next"
                assert server.accepted == 2

    colour.run(main)


@row("H2D-01", "H2D-04")
@pytest.mark.parametrize(
    ("data", "codes"),
    [
        (
            begin(1, HEAD) + frame(Type.CONTINUATION, 0, 1, b"") * 70,
            (Code.ENHANCE_YOUR_CALM, Code.PROTOCOL_ERROR),
        ),
        (
            frame(Type.SETTINGS, 0, 0, settings_payload([(0x99, 1)] * 33)),
            (Code.ENHANCE_YOUR_CALM, Code.PROTOCOL_ERROR),
        ),
    ],
    ids=["continuation", "settings"],
)
def test_a_little_too_much(colour: Colour, data: bytes, codes: tuple[Code, ...]) -> None:
    def script(peer: HTTP2Peer) -> None:
        peer.recv_request()
        peer.send(data)
        peer.expect_goaway(*codes)
        peer.expect_end()

    outcome = colour.run(lambda: meet(colour, script))
    assert isinstance(outcome.error, httpcore.RemoteProtocolError), outcome
    assert outcome.accepted == 2


@row("H2D-01", "H2D-03", "H2D-04", "H2D-05", "H2D-07", "H2D-08")
def test_as_much_as_is_fair(colour: Colour) -> None:
    """Some of each is nothing bad."""

    def act(peer: HTTP2Peer, request: Stream) -> None:
        for _ in range(50):
            peer.referee.note_settings({})
            peer.frame(Type.SETTINGS)
        for i in range(200):
            payload = i.to_bytes(8, "big")
            peer.referee.note_ping(payload)
            peer.frame(Type.PING, 0, 0, payload)
            peer.frame(Type.WINDOW_UPDATE, 0, 0, b"\0\0\0\1")
            peer.frame(Type.WINDOW_UPDATE, 0, request.id, b"\0\0\0\1")
            peer.frame(Type.PRIORITY, 0, request.id, bytes(5))
        fields = [(b"x-%d" % i, b"value") for i in range(20)]
        block = peer.block([*OK, *fields])
        peer.headers(request, block=block, cut=len(block) // 50 + 1)
        for _ in range(200):
            peer.data(request, b"")
        peer.data(request, b"ok", ends=True)

    expect_answer(colour, act)


def _narrow(peer: HTTP2Peer) -> None:
    """Leave room for little in the way from the client to us."""
    peer.peer.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)


@row("H2D-03", "H2D-11")
@pytest.mark.parametrize("kind", ["ping", "settings"])
def test_answers_that_are_not_read(colour: Colour, kind: str) -> None:
    """No more than a thousand answers are queued for a peer that takes none."""
    data = frame(Type.PING, 0, 0, bytes(8)) if kind == "ping" else frame(Type.SETTINGS)

    def script(peer: HTTP2Peer) -> None:
        _narrow(peer)
        flood(data)(peer)

    async def main() -> None:
        small = [(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)]
        with Server(first_then_serve(script)) as server:
            async with prior(colour, socket_options=small) as client:
                exc = await fails(client.get(server.url()))
                assert isinstance(exc, httpcore.RemoteProtocolError)
                assert await client.get(server.url(b"/next")) == b"/next"
                assert server.accepted == 2

    colour.run(main)


@row("H2D-06")
def test_a_body_of_single_bytes(colour: Colour) -> None:
    """That is allowed, so it is put up with; read by nobody, it takes no more memory than its window says."""
    count = 100_000

    def script(peer: HTTP2Peer) -> None:
        request = peer.recv_request()
        peer.headers(request, OK)
        other = peer.recv_request()
        piece = frame(Type.DATA, 0, request.id, b"x")
        for _ in range(count // BATCH):
            peer.referee.note_data(request, BATCH)
            peer.send(piece * BATCH)
        peer.data(request, b"!", ends=True)
        peer.answer(other, other.path)
        peer.serve()

    async def main() -> None:
        with Server(first_then_serve(script)) as server:
            async with prior(colour) as client:
                response = await client.send(server.url())
                assert await client.get(server.url(b"/other")) == b"/other"
                assert await response.read() == b"x" * count + b"!"
                assert await client.get(server.url(b"/next")) == b"/next"
                assert server.accepted == 1

    colour.run(main)


@row("H2D-09")
@pytest.mark.parametrize("way", ["refused", "goaway", "goaway at once"])
def test_a_server_that_refuses_everything(colour: Colour, way: str) -> None:
    """Each request is tried three times at most."""
    seen: list[int] = []
    is_good = False

    def script(peer: HTTP2Peer) -> None:
        if is_good:
            peer.serve()
        if way == "goaway at once":
            peer.goaway(0)
            peer.expect_end()
        while True:
            request = peer.recv_request()
            seen.append(request.id)
            if is_good:
                peer.answer(request, request.path)
            elif way == "refused":
                peer.reset(request, Code.REFUSED_STREAM)
            else:
                peer.goaway(0)
                peer.expect_end()

    async def main() -> None:
        nonlocal is_good
        with Server(http2(script)) as server:
            async with prior(colour) as client:
                for i in range(1, 4):
                    exc = await fails(client.get(server.url()))
                    assert isinstance(exc, (httpcore.RemoteProtocolError, httpcore.ConnectError))
                    assert len(seen) <= 3 * i
                    assert server.accepted <= 3 * i
                is_good = True
                assert await client.get(server.url(b"/next")) == b"/next"

    colour.run(main)


@row("H2D-10")
def test_resets_that_the_server_provokes(colour: Colour) -> None:
    """Each request fails by the server's fault. They are counted, and after so many the connection is given up."""

    def script(peer: HTTP2Peer) -> None:
        for _ in range(1_000):
            request = peer.recv_request()
            peer.frame(Type.WINDOW_UPDATE, 0, request.id, bytes(4))
        raise AssertionError("The client let itself be provoked for ever.")

    async def main() -> None:
        with Server(first_then_serve(script)) as server:
            async with prior(colour) as client:
                for _ in range(1_000):
                    await fails(client.get(server.url()), httpcore.RemoteProtocolError)
                    figures = client.pool.statistics()
                    if figures["connections"] == 0:
                        break
                else:
                    raise AssertionError("The connection was never given up.")
                assert await client.get(server.url(b"/next")) == b"/next"
                assert server.accepted == 2

    colour.run(main)


@row("H2D-12")
def test_memory_stays_flat(colour: Colour) -> None:
    """Many streams one after another, ended in each way, leave nothing behind."""

    def respond(peer: HTTP2Peer, request: Stream) -> None:
        if request.path == b"/closed":
            peer.headers(request, OK)
            peer.data(request, b"part")
        elif request.path == b"/refused":
            peer.reset(request, Code.INTERNAL_ERROR)
        else:
            peer.answer(request, request.path)

    async def main() -> None:
        with Server(http2(lambda peer: peer.serve(respond))) as server:
            async with prior(colour) as client:

                async def send(target: bytes) -> None:
                    if target == b"/refused":
                        await fails(client.get(server.url(target)))
                    elif target == b"/closed":
                        response = await client.send(server.url(target))
                        await response.first()
                        await response.close()
                    else:
                        assert await client.get(server.url(target)) == target

                async def weigh(count: int) -> tuple[int, int]:
                    for i in range(count):
                        await send((b"/closed", b"/refused", b"/closed", b"/%d" % i)[i % 4])
                    gc.collect()
                    engine = engine_of(client)
                    assert not engine.streams
                    parts = [getattr(engine, name) for name in dir(engine) if not name.startswith("__")]
                    return len(gc.get_objects()), sum(sys.getsizeof(part) for part in parts)

                # What is kept for a while is kept by now: by us, and by the peer beside us.
                objects, size = await weigh(2_400)
                more_objects, more_size = await weigh(1_000)
                assert more_objects < objects + 500
                assert more_size < size + 2_000
                assert await client.get(server.url(b"/next")) == b"/next"
                assert server.accepted == 1

    colour.run(main)


@row("H2D-13")
def test_a_block_that_expands_without_end(colour: Colour) -> None:
    """One entry of 4 KB, and a reference to it in each further byte: 64 MB in a frame, and so in each of four."""

    def bomb(count: int) -> bytes:
        entry = b"\x40" + integer(1, 7) + b"a" + integer(4_000, 7) + b"b" * 4_000
        return HEAD + entry + b"\xbe" * count

    def act(peer: HTTP2Peer, request: Stream) -> None:
        tracemalloc.start()
        peer.headers(request, block=bomb(4 * 16_000))

    def script(peer: HTTP2Peer) -> None:
        request = peer.recv_request()
        act(peer, request)
        peer.wait_for(
            lambda: request.reset_code is not None or peer.referee.goaway is not None, "an end of it"
        )
        peer.serve()

    try:
        outcome = colour.run(lambda: meet(colour, script))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert isinstance(outcome.error, httpcore.RemoteProtocolError), outcome
    assert peak < 24_000_000


@row("H2D-13")
def test_the_table_after_such_a_block(colour: Colour) -> None:
    """The stream alone has to end: the connection goes on, with the table in step."""

    def script(peer: HTTP2Peer) -> None:
        request = peer.recv_request()
        entry = (b"a", b"b" * 3_000)
        block = peer.block([*OK, entry])
        peer.headers(request, block=block + b"\xbe" * 500)
        peer.wait_for(lambda: request.reset_code is not None, "RST_STREAM")
        request = peer.recv_request()
        peer.headers(request, [*OK, entry])
        peer.data(request, request.path, ends=True)
        peer.serve()

    async def main() -> None:
        with Server(first_then_serve(script)) as server:
            async with prior(colour) as client:
                assert isinstance(await fails(client.get(server.url())), httpcore.RemoteProtocolError)
                response = await client.send(server.url(b"/b"))
                assert response.headers == [(b"a", b"b" * 3_000)]
                assert await response.read() == b"/b"
                assert await client.get(server.url(b"/next")) == b"/next"
                assert server.accepted == 1

    colour.run(main)
