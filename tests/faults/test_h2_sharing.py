"""Many exchanges on one HTTP/2 connection: what becomes of one is no business of the others."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from functools import partial
from time import monotonic

import pytest

import httpcore
from httpcore._connections.http2.connection import HTTP2Connection
from httpcore._pool import pool

from ..colours import Colour
from ..peers.certificates import client_context
from ..peers.http2 import Code, HTTP2Peer, Setting, Stream, first_then_serve, h2_context, http2
from ..peers.http2 import serve as serve_http2
from ..peers.scripted import PATIENCE, Server
from .cancelling import cancel_when
from .h2_meetings import OK, fails, prior, sized_post
from .rows import row

pytestmark = pytest.mark.usefixtures("nothing_left")


def _held(*, body: bytes = b"") -> tuple[Callable[[HTTP2Peer], None], threading.Event]:
    """A script that begins to answer three requests, waits until one is given up, and answers the others."""
    is_begun = threading.Event()

    def script(peer: HTTP2Peer) -> None:
        peer.warm_up()
        requests = peer.recv_requests(3)
        victim = next(request for request in requests if request.path == b"/victim")
        if body:
            peer.headers(victim, OK)
            peer.body(victim, body, ends=False)
        peer.barrier()
        is_begun.set()
        peer.expect_rst(victim, Code.CANCEL)
        for request in requests:
            if request is not victim:
                peer.answer(request, request.path, fields=[(b"x-new", b"an entry")])
        peer.check_window()
        peer.serve()

    return script, is_begun


@row("CAN-09", "CAN-10")
@pytest.mark.parametrize("order", ["first", "last"])
@pytest.mark.parametrize("begun", [False, True])
def test_one_of_many_streams_is_cancelled(colour: Colour, order: str, begun: bool) -> None:
    """As the one that reads for all, and as one that is read for; before its response and inside its body."""
    script, is_begun = _held(body=b"x" * 50_000 if begun else b"")

    async def main() -> None:
        with Server(first_then_serve(script)) as server:
            async with prior(colour, max_connections=1) as client:
                assert await client.get(server.url()) == b"ok"

                async def victim() -> None:
                    if order == "last":
                        while (await client.states()) != ["HTTP/2, ACTIVE, 2 streams"]:
                            await colour.pause()
                    response = await client.send(server.url(b"/victim"))
                    reader = response.reader()
                    try:
                        while await reader.next():
                            pass
                    finally:
                        # Under trio every await raises again here: closing must not need any.
                        await response.close()

                async def other(target: bytes) -> None:
                    if order == "first":
                        while (await client.states())[0] in ("HTTP/2, IDLE, 0 streams",):
                            await colour.pause()
                    assert await client.get(server.url(target)) == target

                await cancel_when(
                    colour, victim, is_begun.is_set, partial(other, b"/a"), partial(other, b"/b")
                )
                assert await client.states() == ["HTTP/2, IDLE, 0 streams"]
                assert await client.get(server.url(b"/next")) == b"/next"
                assert server.accepted == 1

    colour.run(main)


@row("CAN-10", "TMO-09")
def test_the_reader_leaves_as_its_answer_is_whole(colour: Colour) -> None:
    """Whoever reads for the others has its answer: another has to read on, at once."""

    def script(peer: HTTP2Peer) -> None:
        peer.warm_up()
        requests = peer.recv_requests(6)
        for request in requests:
            peer.answer(request, request.path)
            peer.barrier()
        peer.serve()

    async def main() -> None:
        with Server(first_then_serve(script)) as server:
            async with prior(colour, max_connections=1) as client:
                assert await client.get(server.url()) == b"ok"

                async def one(i: int) -> None:
                    assert await client.get(server.url(b"/%d" % i)) == b"/%d" % i

                await colour.gather(*(partial(one, i) for i in range(6)))
                assert await client.get(server.url(b"/next")) == b"/next"
                assert server.accepted == 1

    colour.run(main)


@row("TMO-09")
@pytest.mark.parametrize("begun", [False, True])
def test_one_stream_times_out(colour: Colour, begun: bool) -> None:
    script, is_begun = _held(body=b"x" * 50_000 if begun else b"")

    async def main() -> None:
        with Server(first_then_serve(script)) as server:
            async with prior(colour, max_connections=1) as client:
                assert await client.get(server.url()) == b"ok"

                async def victim() -> None:
                    sending = client.send(server.url(b"/victim"), read=0.3)
                    if not begun:
                        assert isinstance(await fails(sending), httpcore.ReadTimeout)
                    else:
                        response = await sending
                        assert isinstance(await fails(response.read()), httpcore.ReadTimeout)

                async def other(target: bytes) -> None:
                    assert await client.get(server.url(target)) == target

                await colour.gather(victim, partial(other, b"/a"), partial(other, b"/b"))
                assert is_begun.is_set()
                assert await client.states() == ["HTTP/2, IDLE, 0 streams"]
                assert await client.get(server.url(b"/next")) == b"/next"
                assert server.accepted == 1

    colour.run(main)


@row("TMO-09")
def test_a_timeout_on_a_connection_on_which_nothing_arrived(colour: Colour) -> None:
    """It may be dead: it gets no new request. What it has goes on."""

    def script(peer: HTTP2Peer) -> None:
        peer.warm_up()
        lost = peer.recv_request()
        peer.expect_rst(lost, Code.CANCEL)
        peer.expect_end()

    async def main() -> None:
        with Server(first_then_serve(script)) as server:
            async with prior(colour) as client:
                assert await client.get(server.url()) == b"ok"
                assert isinstance(await fails(client.get(server.url(), read=0.1)), httpcore.ReadTimeout)
                assert await client.get(server.url(b"/next")) == b"/next"
                assert server.accepted == 2

    colour.run(main)


@row("TMO-09")
def test_what_is_waited_for_is_ones_own_progress(colour: Colour) -> None:
    """Frames of other streams are no progress of this one."""

    def script(peer: HTTP2Peer) -> None:
        peer.warm_up()
        first, second = peer.recv_requests(2)
        silent, busy = (first, second) if first.path == b"/silent" else (second, first)
        peer.headers(busy, OK)
        while silent.reset_code is None:
            peer.data(busy, b"x")
            peer.barrier()
        peer.data(busy, b"!", ends=True)
        peer.serve()

    async def main() -> None:
        with Server(first_then_serve(script)) as server:
            async with prior(colour, max_connections=1) as client:
                assert await client.get(server.url()) == b"ok"

                async def silent() -> None:
                    exc = await fails(client.get(server.url(b"/silent"), read=0.2))
                    assert isinstance(exc, httpcore.ReadTimeout)

                async def busy() -> None:
                    assert (await client.get(server.url(b"/busy"))).endswith(b"x!")

                await colour.gather(silent, busy)
                assert await client.get(server.url(b"/next")) == b"/next"
                assert server.accepted == 1

    colour.run(main)


@row("TMO-09")
@pytest.mark.parametrize("comes", [True, False])
def test_a_connection_that_was_silent_and_that_nobody_reads(colour: Colour, comes: bool) -> None:
    """It is looked at by whoever would use it next, who else would wait for what nobody hears."""
    has_come = threading.Event()

    def script(peer: HTTP2Peer) -> None:
        peer.warm_up()
        held = peer.recv_request()
        peer.headers(held, OK)
        peer.expect_rst(peer.recv_request(), Code.CANCEL)
        if comes:
            peer.data(held, b"x")
        has_come.set()
        if not comes:
            peer.expect_rst(held, Code.CANCEL)
            peer.expect_end()
            return
        peer.serve()

    async def main() -> None:
        with Server(first_then_serve(script)) as server:
            async with prior(colour, max_connections=1 if comes else 2) as client:
                assert await client.get(server.url()) == b"ok"
                held = await client.send(server.url(b"/held"))
                exc = await fails(client.get(server.url(b"/silent"), read=0.05))
                assert isinstance(exc, httpcore.ReadTimeout)
                while not has_come.is_set():
                    await colour.pause()
                assert await client.get(server.url(b"/next"), pool=5.0) == b"/next"
                await held.close()
                assert await client.get(server.url(b"/last"), pool=5.0) == b"/last"
                assert server.accepted == (1 if comes else 2)

    colour.run(main)


# Threads, figures, the end.


@row("THR-02", on=["sync"])
def test_threads_on_one_connection() -> None:
    """The referee sees whole frames in an order that makes sense; each thread gets its own answers."""
    colour = Colour("sync")

    def respond(peer: HTTP2Peer, request: Stream) -> None:
        peer.answer_soon(request, request.path + bytes(request.body))

    async def main() -> None:
        with Server(http2(lambda peer: peer.serve(respond))) as server:
            async with prior(colour, max_connections=1) as client:

                async def work(i: int) -> None:
                    for j in range(30):
                        target = b"/%d-%d" % (i, j)
                        content = b"%d" % j * (i * j * 50)
                        response = await client.send(server.url(target), **sized_post(content))
                        if j % 7 == 3:
                            await response.close()
                        else:
                            assert await response.read() == target + content

                await colour.gather(*(partial(work, i) for i in range(12)))
                assert await client.get(server.url(b"/next")) == b"/next"
                assert server.accepted == 1

    colour.run(main)


@row("THR-02", on=["sync"])
@pytest.mark.parametrize(("moment", "interval"), [("_take_role", None), ("_check_silence", 60.0)])
def test_a_response_is_closed_as_another_thread_begins_to_read(
    moment: str, interval: float | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It finds the lock taken, and who has that must not fall asleep over what was posted."""
    colour = Colour("sync")
    act = getattr(HTTP2Connection, moment)

    def script(peer: HTTP2Peer) -> None:
        peer.warm_up()
        first = peer.recv_request()
        peer.headers(first, OK)
        second = peer.recv_request()
        peer.expect_rst(first, Code.CANCEL)
        peer.answer(second)

    async def main() -> None:
        with Server(http2(script)) as server:
            async with prior(colour, ping_interval=interval, ping_timeout=interval) as client:
                assert await client.get(server.url()) == b"ok"
                response = await client.send(server.url(b"/first"))

                def close() -> None:
                    colour.run(response.close)

                def act_while_another_closes(connection: HTTP2Connection, *arguments: object) -> object:
                    assert connection._lock.locked()
                    monkeypatch.undo()
                    thread = threading.Thread(target=close)
                    thread.start()
                    thread.join()
                    return act(connection, *arguments)

                monkeypatch.setattr(HTTP2Connection, moment, act_while_another_closes)
                assert await client.get(server.url(b"/second")) == b"ok"

    colour.run(main)


@row("POOL-13")
def test_what_the_pool_says_of_its_connections(colour: Colour) -> None:
    async def main() -> None:
        with Server(http2(serve_http2)) as server:
            async with prior(colour) as client:
                responses = [await client.send(server.url(b"/%d" % i)) for i in range(3)]
                origin = f"http://127.0.0.1:{server.port}"
                assert await client.info() == {origin: ["HTTP/2, ACTIVE, 3 streams"]}
                await responses[0].read()
                await responses[1].close()
                assert await client.info() == {origin: ["HTTP/2, ACTIVE, 1 streams"]}
                await responses[2].read()
                assert await client.info() == {origin: ["HTTP/2, IDLE, 0 streams"]}
                assert await client.get(server.url(b"/next")) == b"/next"

    colour.run(main)


@row("H2F-19")
def test_closing_the_pool_says_goodbye(colour: Colour) -> None:
    """GOAWAY(NO_ERROR), and what runs fails with a ReadError."""
    goodbyes: list[int] = []

    def script(peer: HTTP2Peer) -> None:
        request = peer.recv_request()
        peer.headers(request, OK)
        peer.expect_end()
        assert peer.referee.goaway is not None
        goodbyes.append(peer.referee.goaway.code)

    async def main() -> None:
        with Server(first_then_serve(script)) as server:
            async with prior(colour) as client:
                response = await client.send(server.url())
                await client.close()
                assert isinstance(await fails(response.read()), httpcore.ReadError)
                assert await client.get(server.url(b"/next")) == b"/next"
        assert goodbyes == [Code.NO_ERROR]

    colour.run(main)


@row("TMO-09")
def test_waiting_for_a_stream_is_waiting_for_the_pool(colour: Colour) -> None:
    """PoolTimeout: all streams are taken, and no other connection may be opened."""

    def script(peer: HTTP2Peer) -> None:
        peer.warm_up({Setting.MAX_CONCURRENT_STREAMS: 1})
        request = peer.recv_request()
        peer.headers(request, OK)
        peer.server.hold()
        peer.data(request, b"late", ends=True)
        peer.serve()

    async def main() -> None:
        with Server(first_then_serve(script)) as server:
            async with prior(colour, max_connections=1) as client:
                assert await client.get(server.url()) == b"ok"
                response = await client.send(server.url())
                exc = await fails(client.get(server.url(), pool=0.05))
                assert isinstance(exc, httpcore.PoolTimeout)
                assert exc.request_sent is False
                server.release.set()
                assert await response.read() == b"late"
                assert await client.get(server.url(b"/next")) == b"/next"
                assert server.accepted == 1

    colour.run(main)


@row("TMO-09")
def test_who_is_refused_waits_again_for_what_is_left(colour: Colour, monkeypatch: pytest.MonkeyPatch) -> None:
    """One budget: a request that waited for as long as it may gets a stream, is refused, and finds it taken."""
    limit = 1e6
    is_late, is_begun, is_wanted, may_end = (threading.Event() for _ in range(4))
    monkeypatch.setattr(pool, "monotonic", lambda: monotonic() + limit * is_late.is_set())

    def script(peer: HTTP2Peer) -> None:
        peer.warm_up({Setting.MAX_CONCURRENT_STREAMS: 1})
        first = peer.recv_request()
        peer.headers(first, OK)
        peer.server.hold()
        peer.data(first, b"first", ends=True)
        refused = peer.recv_request()
        is_begun.set()
        assert is_wanted.wait(PATIENCE)
        peer.reset(refused, Code.REFUSED_STREAM)
        other = peer.recv_request()
        assert may_end.wait(PATIENCE)
        peer.answer(other, other.path)
        peer.serve()

    async def main() -> None:
        for event in (is_late, is_begun, is_wanted, may_end):
            event.clear()
        with Server(first_then_serve(script)) as server:
            async with prior(colour, max_connections=1) as client:

                async def wait() -> None:
                    while not client.pool.statistics()["waiting"]:
                        await colour.pause()

                async def first() -> None:
                    await wait()
                    is_late.set()
                    server.release.set()
                    assert await response.read() == b"first"

                async def refused() -> None:
                    exc = await fails(client.get(server.url(b"/refused"), pool=limit))
                    assert isinstance(exc, httpcore.PoolTimeout)
                    may_end.set()

                async def other() -> None:
                    while not is_begun.is_set():
                        await colour.pause()
                    assert await client.get(server.url(b"/other")) == b"/other"

                async def judge() -> None:
                    while not is_begun.is_set():
                        await colour.pause()
                    await wait()
                    is_wanted.set()

                assert await client.get(server.url()) == b"ok"
                response = await client.send(server.url())
                await colour.gather(first, refused, other, judge)

    colour.run(main)


@row("H2F-24")
def test_the_end_while_idle(colour: Colour) -> None:
    """The connection ends while it is idle: that is seen before it is used, so that even a POST goes well."""
    is_closed = threading.Event()

    def script(peer: HTTP2Peer) -> None:
        peer.warm_up()
        peer.close()
        is_closed.set()
        peer.expect_end()

    async def main() -> None:
        with Server(first_then_serve(script)) as server:
            async with prior(colour) as client:
                assert await client.get(server.url()) == b"ok"
                assert is_closed.wait(5)
                # What arrives within a tenth of a millisecond of the last answer is not looked for.
                begun = monotonic()
                while monotonic() < begun + 0.001:
                    pass
                response = await client.send(server.url(b"/next"), **sized_post(b"x"))
                assert await response.read() == b"/next"
                assert server.accepted == 2

    colour.run(main)


@pytest.mark.parametrize("scheme", [b"http", b"https"])
def test_what_is_stuck_goes_on_though_another_reads(colour: Colour, scheme: bytes) -> None:
    """Who reads for all began to wait when there was nothing to send; from then on it waits for both directions."""
    is_held = threading.Event()
    size = 200_000

    def script(peer: HTTP2Peer) -> None:
        peer.credit(0, 2**20)
        peer.warm_up()
        held = peer.recv_request()
        is_held.set()
        peer.server.release.wait(PATIENCE)
        upload = peer.recv_request()
        peer.answer(upload, b"%d" % len(upload.body))
        peer.answer(held, held.path)
        peer.serve()

    async def main() -> None:
        is_tls = scheme == b"https"
        options = {"http1": is_tls, "ssl_context": client_context(), "max_connections": 1}
        small = [(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)]
        context = h2_context() if is_tls else None
        with Server(http2(script, {Setting.INITIAL_WINDOW_SIZE: 2**20}), context=context) as server:
            async with prior(colour, **options, socket_options=small) as client:
                assert await client.get(server.url()) == b"ok"
                (place,) = client.pool._pool.ledger.places

                async def read() -> None:
                    assert await client.get(server.url(b"/held")) == b"/held"

                async def upload() -> None:
                    while not is_held.is_set():
                        await colour.pause()
                    response = await client.send(server.url(), **sized_post(bytes(size)))
                    assert await response.read() == b"%d" % size

                async def release() -> None:
                    while not place.connection._is_behind:
                        await colour.pause()
                    server.release.set()

                await colour.gather(read, upload, release)

    colour.run(main)
