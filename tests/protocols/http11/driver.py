"""Puts bytes into the engine, in whatever pieces, and says what came of it."""

from __future__ import annotations

import random
from collections.abc import Iterable
from dataclasses import dataclass, field

from httpcore._exceptions import RemoteProtocolError
from httpcore._protocols.http11 import DEFAULT_LIMITS, Engine, Limits

HOST = (b"Host", b"example.org")


@dataclass
class Outcome:
    """What a caller saw of one response. Two ways of splitting the same bytes must give equal outcomes."""

    heads: list[tuple[int, bytes, bytes, list[tuple[bytes, bytes]]]] = field(default_factory=list)
    body: bytes = b""
    trailers: list[tuple[bytes, bytes]] = field(default_factory=list)
    is_complete: bool = False
    can_reuse: bool = False
    is_raw: bool = False
    failed: bool = False
    error: str = field(default="", compare=False)

    @property
    def status(self) -> int:
        return self.heads[-1][0]

    @property
    def headers(self) -> list[tuple[bytes, bytes]]:
        return self.heads[-1][3]


def start(method: bytes = b"GET", limits: Limits = DEFAULT_LIMITS) -> Engine:
    """An engine that has sent a request without a body."""
    engine = Engine(limits)
    engine.start_request(method, b"/", [HOST])
    engine.finish_body()
    return engine


def receive(
    pieces: Iterable[bytes],
    *,
    method: bytes = b"GET",
    limits: Limits = DEFAULT_LIMITS,
    engine: Engine | None = None,
    ends: bool = True,
    passes: bool = False,
) -> Outcome:
    """Read one response, as the connection does: all that can be read after each piece.

    `ends`: the stream ends after the pieces. `passes`: the body's pieces are fed and read in one step.
    """
    engine = engine or start(method, limits)
    outcome = Outcome()
    reader = _Reader(engine, outcome)
    try:
        for piece in (*pieces, b"") if ends else pieces:
            if passes and reader.has_final_head:
                outcome.body += engine.pass_data(piece) or b""
            else:
                engine.feed(piece)
            reader.read()
    except RemoteProtocolError as exc:
        outcome.failed = True
        outcome.error = str(exc)
    outcome.trailers = engine.trailers
    outcome.is_complete = engine.is_complete
    outcome.can_reuse = engine.can_reuse
    return outcome


class _Reader:
    def __init__(self, engine: Engine, outcome: Outcome) -> None:
        self.engine = engine
        self.outcome = outcome
        self.has_final_head = False

    def read(self) -> None:
        while not self.has_final_head:
            head = self.engine.next_head()
            if head is None:
                return
            self.outcome.heads.append((head.status, head.version, head.reason, head.headers))
            self.has_final_head = head.status >= 200 or head.status == 101
            self.outcome.is_raw = self.engine.is_raw
        while data := self.engine.next_data():
            self.outcome.body += data


def read(
    response: bytes, *, method: bytes = b"GET", limits: Limits = DEFAULT_LIMITS, ends: bool = False
) -> Outcome:
    """Read a response that arrives in every way that matters, and make sure that it does not matter."""
    whole = receive([response], method=method, limits=limits, ends=ends)
    for pieces in splits(response):
        for passes in (False, True):
            outcome = receive(pieces, method=method, limits=limits, ends=ends, passes=passes)
            assert outcome == whole, pieces
    return whole


def splits(data: bytes) -> list[list[bytes]]:
    """Byte by byte, at every single place if there are few, and a few times at random."""
    ways = [[data[i : i + 1] for i in range(len(data))]]
    if len(data) <= 300:
        ways += [[data[:i], data[i:]] for i in range(1, len(data))]
    generator = random.Random(len(data))
    for size in (2, 5, 17, 60, 1000):
        ways.append(split_at_random(data, size, generator))
    return ways


def split_at_random(data: bytes, size: int, generator: random.Random) -> list[bytes]:
    """Pieces of up to `size` bytes."""
    pieces = []
    at = 0
    while at < len(data):
        end = at + generator.randint(1, size)
        pieces.append(data[at:end])
        at = end
    return pieces


def read_error(
    response: bytes, *, method: bytes = b"GET", limits: Limits = DEFAULT_LIMITS, ends: bool = False
) -> str:
    """The sentence with which a response is refused; it must be, however it arrives."""
    outcome = read(response, method=method, limits=limits, ends=ends)
    assert outcome.failed, outcome
    assert not outcome.is_complete
    assert not outcome.can_reuse
    assert outcome.error.endswith("."), outcome.error
    assert len(outcome.error) < 250, outcome.error
    return outcome.error
