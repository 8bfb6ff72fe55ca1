"""What is to be sent: pieces in order, joined when they are taken."""

from __future__ import annotations

from ..._types import Buffer
from .errors import ErrorCode, Fault
from .limits import Limits


class Output:
    """A queue, which counts what the peer makes us put into it (RFC 9113 §10.5)."""

    __slots__ = ("_limit", "_owed", "_pieces", "size")

    def __init__(self, limits: Limits) -> None:
        self._limit = limits.acknowledgement_count
        self._owed = 0
        self._pieces: list[Buffer] = []
        self.size = 0
        """Bytes that `take` would return."""

    def put(self, piece: Buffer) -> None:
        self._pieces.append(piece)
        self.size += len(piece)

    def put_answer(self, piece: bytes) -> None:
        """Add what the peer makes us send. Raises `Fault` if it does not read it."""
        self._owed += 1
        if self._owed > self._limit:
            raise Fault(
                ErrorCode.ENHANCE_YOUR_CALM,
                f"it asks for more than {self._limit} answers without reading them",
            )
        self._pieces.append(piece)
        self.size += len(piece)

    def take(self) -> bytes:
        pieces = self._pieces
        self._pieces = []
        self.size = self._owed = 0
        return b"".join(pieces)
