"""Threads on one sync pool."""

from __future__ import annotations

import threading
from time import monotonic
from typing import Any

import pytest

import httpcore
from httpcore._backends import sync

from ..colours import Colour
from ..peers.scripted import Server, respond, serve
from .rows import row

pytestmark = pytest.mark.usefixtures("nothing_left")

SYNC = Colour("sync")


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
