"""The pump, where another thread closes what this one is using."""

from __future__ import annotations

import socket
from collections.abc import Callable

import pytest

from httpcore import ReadError, WriteError
from httpcore._backends.base import RECEIVE_SIZE
from httpcore._backends.sync import SyncStream
from httpcore._connections.tls import TLSStream
from httpcore._protocols.tls import TLSEngine
from httpcore._types import Buffer

from ..peers.certificates import client_context


class Engine(TLSEngine):
    """Calls `meanwhile` from within, as another thread might."""

    meanwhile: Callable[[], None]
    farewells = 0

    def read(self, limit: int) -> bytes:
        self.meanwhile()
        return b"x"

    def write(self, data: Buffer) -> int:
        self.meanwhile()
        return len(data)

    def close_notify(self) -> None:
        self.farewells += 1
        self.meanwhile()


@pytest.mark.parametrize("verb", ["try_receive", "try_send", "close"])
def test_one_thread_at_a_time_is_in_the_engine(verb: str) -> None:
    ours, theirs = socket.socketpair()
    with theirs:
        engine = Engine(client_context(), server_hostname="peer")
        stream = TLSStream(SyncStream(ours), engine, peer="peer", keep_session=lambda session: None)
        engine.meanwhile = stream.close
        if verb == "try_receive":
            assert stream.try_receive(1) == b"x"
        elif verb == "try_send":
            assert stream.try_send(b"x") == 1
        else:
            stream.close()
        assert engine.farewells == (verb == "close")
        with pytest.raises(ReadError, match="closed while"):
            stream.try_receive(1)
        with pytest.raises(WriteError, match="closed while"):
            stream.try_send(b"x")
        assert theirs.recv(1) == b""


def test_the_rest_of_a_record_is_asked_for_besides(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []

    def note(stream: SyncStream, limit: int) -> None:
        asked.append(limit)

    monkeypatch.setattr(SyncStream, "try_receive", note)
    monkeypatch.setattr(TLSEngine, "read", lambda engine, limit: None)
    ours, theirs = socket.socketpair()
    with theirs:
        engine = TLSEngine(client_context(), server_hostname="peer")
        stream = TLSStream(SyncStream(ours), engine, peer="peer", keep_session=lambda session: None)
        for missing in (0, 7):
            monkeypatch.setattr(TLSEngine, "missing_size", missing)
            assert stream.try_receive(1) is None
        stream.abort()
    assert asked == [RECEIVE_SIZE, RECEIVE_SIZE + 7]
