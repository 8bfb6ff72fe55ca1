"""TLS over memory: how records become pieces."""

from __future__ import annotations

import ssl

import pytest

from httpcore._backends.base import FULL_SIZE, RECEIVE_SIZE
from httpcore._protocols.tls import FULL_RECORD, RECORD_SIZE, TLSEngine

from ..peers.certificates import client_context, server_context


class Pair:
    """An engine, and its peer after the handshake."""

    def __init__(self) -> None:
        self.engine = TLSEngine(client_context(), server_hostname="localhost")
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.peer = server_context().wrap_bio(self._incoming, self._outgoing, server_side=True)
        while not self.engine.handshake():
            self._pass_on()
            try:
                self.peer.do_handshake()
            except ssl.SSLWantReadError:
                pass
            self.engine.feed(self._outgoing.read())
        self._pass_on()
        self.peer.do_handshake()
        self.engine.feed(self._outgoing.read())
        assert self.engine.read(1) is None

    def _pass_on(self) -> None:
        output = bytes(self.engine.peek_output())
        self.engine.drop_output(len(output))
        self._incoming.write(output)

    def encrypt(self, *sizes: int) -> bytes:
        """Records of these sizes."""
        for size in sizes:
            self.peer.write(bytes(size))
        return self._outgoing.read()


@pytest.fixture
def pair() -> Pair:
    return Pair()


def sizes(engine: TLSEngine, limit: int = RECEIVE_SIZE) -> list[int]:
    """Of all the pieces that are here."""
    found = []
    while piece := engine.read(limit):
        found.append(len(piece))
    return found


def test_what_is_asked_for_at_once_is_as_many_full_records_as_make_a_full_piece(pair: Pair) -> None:
    ciphertext = pair.encrypt(*[RECORD_SIZE] * 4)
    assert len(ciphertext) == 4 * FULL_RECORD == RECEIVE_SIZE
    pair.engine.feed(ciphertext)
    assert sizes(pair.engine) == [FULL_SIZE]
    assert pair.engine.missing_size == 0


@pytest.mark.parametrize("begun", [1, 5, 100, FULL_RECORD - 2])
def test_what_a_record_that_has_begun_misses(pair: Pair, begun: int) -> None:
    ciphertext = pair.encrypt(RECORD_SIZE, RECORD_SIZE)
    pair.engine.feed(ciphertext[: FULL_RECORD + begun])
    assert sizes(pair.engine) == [RECORD_SIZE]
    assert pair.engine.missing_size == FULL_RECORD - begun
    pair.engine.feed(ciphertext[FULL_RECORD + begun : -1])
    assert sizes(pair.engine) == []
    assert pair.engine.missing_size == 1
    pair.engine.feed(ciphertext[-1:])
    assert sizes(pair.engine) == [RECORD_SIZE]
    assert pair.engine.missing_size == 0


def test_no_piece_ends_within_a_record(pair: Pair) -> None:
    pair.engine.feed(pair.encrypt(*[RECORD_SIZE] * 5, 100))
    assert sizes(pair.engine) == [4 * RECORD_SIZE, RECORD_SIZE + 100]


def test_unless_less_than_a_record_is_asked_for(pair: Pair) -> None:
    pair.engine.feed(pair.encrypt(RECORD_SIZE, 100))
    assert sizes(pair.engine, 10_000) == [10_000, RECORD_SIZE - 10_000, 100]
