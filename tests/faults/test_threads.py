"""Threads on one sync pool."""

from __future__ import annotations

import os
import select
import subprocess
import sys
import threading
from collections import deque
from itertools import islice
from time import monotonic
from typing import Any

import pytest

import httpcore
from httpcore._backends import sync
from httpcore._connections.http2.connection import HTTP2Connection
from httpcore._connections.http2.exchange import CREDIT_SIZE, HTTP2Exchange
from httpcore._connections.http2.lanes import Lane
from httpcore._connections.http11 import HTTP11Connection

from ..colours import TIMEOUT, Colour
from ..peers.http2 import HTTP2Peer, http2
from ..peers.scripted import Peer, Server, respond, serve
from .rows import row

pytestmark = pytest.mark.usefixtures("nothing_left")

SYNC = Colour("sync")

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


@row("THR-01", on=["sync"])
def test_many_threads_share_a_pool() -> None:
    with Server(serve) as server, httpcore.SyncConnectionPool(max_connections=4) as pool:

        async def work(i: int) -> None:
            for j in range(50):
                target = b"/%d-%d" % (i, j)
                status, _, stream, _ = pool.request(b"GET", server.url(target), [(b"Host", b"h")])
                assert (status, b"".join(stream)) == (200, target)

        def worker(i: int) -> Any:
            return lambda: work(i)

        SYNC.run(SYNC.gather, *(worker(i) for i in range(16)))
        assert server.accepted <= 4


@row("THR-01", on=["sync"])
def test_what_is_let_go_while_another_thread_is_at_the_ledger(monkeypatch: pytest.MonkeyPatch) -> None:
    """A request whose connection has died asks for another one, and keeps what it is given."""

    class Contended:
        """The pool's lock, which another thread holds until this one has to wait for it."""

        def __init__(self, lock: threading.Lock) -> None:
            self._lock = lock
            self.is_contended = False

        def locked(self) -> bool:
            return self.is_contended or self._lock.locked()

        def __enter__(self) -> None:
            self.is_contended = False
            self._lock.acquire()

        def __exit__(self, *_: object) -> None:
            self._lock.release()

    with Server(respond(ANSWER, then="close")) as server, httpcore.SyncConnectionPool() as pool:
        lock = Contended(pool._pool._lock)
        pool._pool._lock = lock  # type: ignore[assignment]
        is_ready = HTTP11Connection.is_ready

        def look(connection: HTTP11Connection) -> bool:
            lock.is_contended = True
            return is_ready(connection)

        stream: Any = pool.request(b"GET", server.url(), [(b"Host", b"h")])[2]
        sock = stream.body._stream.get_extra_info("socket")
        assert list(stream) == [b"ok"]
        select.select([sock], [], [])
        monkeypatch.setattr(HTTP11Connection, "is_ready", look)
        assert list(pool.request(b"GET", server.url(b"/next"), [(b"Host", b"h")])[2]) == [b"/next"]
        assert pool.statistics()["connections"] == pool.statistics()["idle"] == 1


@row("THR-01", on=["sync"])
def test_preconnecting_waits_for_nobody_who_took_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    """What it was given was dead, and before it asks again another thread is served first."""

    def hold(peer: Peer) -> None:
        peer.recv_head()
        peer.server.hold()
        peer.answer()

    def get() -> None:
        list(pool.request(b"GET", other.url(), [(b"Host", b"h")])[2])

    with (
        Server(respond(ANSWER, then="close")) as server,
        Server(hold) as other,
        httpcore.SyncConnectionPool(max_connections=1) as pool,
    ):
        stream: Any = pool.request(b"GET", server.url(), [(b"Host", b"h")])[2]
        sock = stream.body._stream.get_extra_info("socket")
        assert list(stream) == [b"ok"]
        select.select([sock], [], [])
        thread = threading.Thread(target=get)

        def look(connection: HTTP11Connection) -> bool:
            if not thread.ident:
                thread.start()
                while not pool.statistics()["waiting"]:
                    pass
            return False

        monkeypatch.setattr(HTTP11Connection, "is_ready", look)
        pool.preconnect(server.url())
        monkeypatch.undo()
        assert pool.statistics()["waiting"] == 0
        other.release.set()
        thread.join()
        assert pool.statistics()["idle"] == 1


USED_UP = """
import sys, threading, httpcore
from httpcore._connections.http11 import HTTP11Exchange

finish = HTTP11Exchange._finish
rest = []

def finish_and_lose_turn(exchange):
    finish(exchange)
    thread = threading.Thread(target=lambda: rest.append(next(chunks, None)))
    thread.start()
    thread.join()

url = (b"http", b"127.0.0.1", int(sys.argv[1]), b"/")
with httpcore.SyncConnectionPool() as pool:
    chunks = iter(pool.request(b"GET", url, [(b"Host", b"h")])[2])
    first = next(chunks)
    list(pool.request(b"GET", url, [(b"Host", b"go-on")])[2])
    HTTP11Exchange._finish = finish_and_lose_turn
    next(chunks, None)
    assert (first, rest) == (b"first", [None]), (first, rest)
"""


@row("THR-01", on=["sync"])
def test_one_thread_uses_up_the_chunks_while_another_one_brings_the_last() -> None:
    """Two threads may not read one response, but the interpreter has to survive that they do."""

    def script(peer: Peer) -> None:
        if b"go-on" in peer.recv_head():
            peer.server.release.set()
            peer.answer()
        else:
            peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nfirst")
            peer.server.hold()
            peer.send(b"last")

    with Server(script) as server:
        # What is freed is overwritten, so that nobody reads it with impunity.
        run = subprocess.run(
            [sys.executable, "-c", USED_UP, str(server.port)],
            env={**os.environ, "PYTHONMALLOC": "debug"},
            capture_output=True,
            text=True,
            timeout=30,
        )
        assert (run.returncode, run.stderr) == (0, "")


@row("THR-02", on=["sync"])
def test_two_threads_that_read_give_credit_back_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """What they do to themselves, the others on their connection must not notice."""
    size = 1024 * 1024
    given_back: list[int] = []
    consume = HTTP2Connection.consume

    def consume_late(connection: HTTP2Connection, lane: Lane, count: int) -> None:
        given_back.append(count)
        if len(given_back) % 2:
            thread = threading.Thread(target=lambda: list(islice(chunks, 8)))
            thread.start()
            thread.join(TIMEOUT)
        consume(connection, lane, count)

    def respond_in_halves(peer: HTTP2Peer) -> None:
        request = peer.recv_request()
        peer.headers(request, [(b":status", b"200")])
        peer.body(request, bytes(size), ends=False)
        peer.answer(peer.recv_request())
        peer.data(request, b"", ends=True)
        peer.serve()

    with (
        Server(http2(respond_in_halves)) as server,
        httpcore.SyncConnectionPool(http1=False, http2=True) as pool,
    ):
        stream = pool.request(b"GET", server.url())[2]
        monkeypatch.setattr(HTTP2Connection, "consume", consume_late)
        chunks = iter(stream)
        # Past the last but one piece of credit, the end is yet to come.
        while sum(given_back) < size - 2 * CREDIT_SIZE:
            assert next(chunks)
        assert sum(given_back) <= size
        assert b"".join(pool.request(b"GET", server.url())[2]) == b"ok"
        stream.close()
        assert server.accepted == 1


@row("THR-03", on=["sync"])
@pytest.mark.parametrize("is_whole", [False, True])
def test_closing_on_http2_meets_a_reader_that_is_about_to_wait(
    monkeypatch: pytest.MonkeyPatch, is_whole: bool
) -> None:
    errors: list[BaseException] = []
    drop = HTTP2Exchange._drop

    def read() -> None:
        try:
            list(stream)
        except BaseException as exc:
            errors.append(exc)

    def drop_late(exchange: HTTP2Exchange, **options: Any) -> None:
        monkeypatch.undo()
        thread.start()
        while thread.is_alive() and not exchange._is_awaited:
            pass
        drop(exchange, **options)

    def respond(peer: HTTP2Peer) -> None:
        request = peer.recv_request()
        peer.headers(request, [(b":status", b"200")])
        if is_whole:
            peer.data(request, b"whole", ends=True)
        peer.serve()

    thread = threading.Thread(target=read)
    with Server(http2(respond)) as server, httpcore.SyncConnectionPool(http1=False, http2=True) as pool:
        ext = {"timeout": {"read": 5.0}}
        stream = pool.request(b"GET", server.url(), ext=ext)[2]
        if is_whole:
            assert b"".join(pool.request(b"GET", server.url(b"/next"), ext=ext)[2]) == b"/next"
        monkeypatch.setattr(HTTP2Exchange, "_drop", drop_late)
        stream.close()
        thread.join(TIMEOUT)
        assert [str(error) for error in errors] == ["The response was closed before its body was read."]


@row("THR-03", on=["sync"])
def test_closing_on_http2_takes_away_what_is_being_taken() -> None:
    class Contended(deque[bytes]):
        """Chunks that another thread throws away when this one has seen them."""

        is_contended = False

        def __bool__(self) -> bool:
            if self.is_contended:
                self.is_contended = False
                thread = threading.Thread(target=stream.close)
                thread.start()
                thread.join(TIMEOUT)
                return True
            return len(self) > 0

    def respond(peer: HTTP2Peer) -> None:
        request = peer.recv_request()
        peer.headers(request, [(b":status", b"200")])
        peer.data(request, b"part")
        peer.serve()

    with Server(http2(respond)) as server, httpcore.SyncConnectionPool(http1=False, http2=True) as pool:
        stream: Any = pool.request(b"GET", server.url())[2]
        assert b"".join(pool.request(b"GET", server.url(b"/next"))[2]) == b"/next"
        chunks = stream.body._lane.data = Contended(stream.body._lane.data)
        assert list(chunks) == [b"part"]
        chunks.is_contended = True
        with pytest.raises(RuntimeError, match="closed before its body was read"):
            list(stream)


@row("THR-03", on=["sync"])
def test_closing_wakes_a_blocked_reader() -> None:
    errors: list[BaseException] = []

    def read(stream: Any) -> None:
        try:
            list(stream)
        except BaseException as exc:
            errors.append(exc)

    script = respond(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n")
    with Server(script) as server, httpcore.SyncConnectionPool() as pool:
        _, _, stream, _ = pool.request(b"GET", server.url(), [(b"Host", b"h")])
        thread = threading.Thread(target=read, args=(stream,))
        thread.start()
        connection: Any = next(iter(pool._pool.ledger.places)).connection
        while not connection.stream._is_receiving:
            pass
        pool.close()
        thread.join(5)
        assert not thread.is_alive()
    assert [type(error) for error in errors] == [httpcore.ReadError]


@row("THR-03", on=["sync"])
def test_closing_meets_a_reader_that_is_about_to_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another thread's turn, or a signal's, may come between the reader's look and its wait."""
    script = respond(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n")
    with Server(script) as server, httpcore.SyncConnectionPool() as pool:
        _, _, stream, _ = pool.request(
            b"GET", server.url(), [(b"Host", b"h")], ext={"timeout": {"read": 5.0}}
        )

        def monotonic_of_another_turn() -> float:
            monkeypatch.undo()
            pool.close()
            # Longer than the receiver's timeout, which has to be set then.
            return monotonic() - 10.0

        monkeypatch.setattr(sync, "monotonic", monotonic_of_another_turn)
        with pytest.raises(httpcore.ReadError, match="closed while it was being read"):
            list(stream)
