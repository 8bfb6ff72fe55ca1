"""Who reads, where no loop feeds what arrives: one of the exchanges that wait does it for all. Pure."""

from __future__ import annotations

import enum

from ..._backends.base import Parker
from .lanes import Lane


class Role(enum.Enum):
    """What an exchange does while it waits."""

    NONE = "has no need to wait: its news came meanwhile"
    READER = "waits for the stream, for all"
    SLEEPER = "is woken when there is news"
    WRITER = "waits to send, beside the reader"


class Turns:
    """The reader and the sleepers of one connection, which calls this under its lock.

    Invariant: there is one reader at most, and if anybody sleeps there is one.
    """

    __slots__ = ("_sleepers", "reader")

    def __init__(self) -> None:
        self.reader: Lane | None = None
        self._sleepers: dict[Lane, None] = {}

    def try_read(self, lane: Lane) -> bool:
        """Become the reader, unless another one is."""
        if self.reader is None:
            self.reader = lane
        return self.reader is lane

    def sleep(self, lane: Lane, parker: Parker) -> None:
        lane.parker = parker
        self._sleepers[lane] = None

    def leave(self, lane: Lane) -> Parker | None:
        """Wait no longer; a reader leaves it to whoever has slept for longest, and is to be woken."""
        self._sleepers.pop(lane, None)
        lane.parker = None
        if self.reader is not lane:
            return None
        self.reader = next(iter(self._sleepers), None)
        return None if self.reader is None else self.reader.parker
