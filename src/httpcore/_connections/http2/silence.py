"""When to ask a peer that says nothing whether it is still there (RFC 9113 §6.7). Pure; `now` comes in."""

from __future__ import annotations

import enum


class Verdict(enum.Enum):
    FINE = "nothing needs to be done"
    ASK = "it is time for a PING"
    DEAD = "the last PING was not answered in time"


class Silence:
    """How long nothing has come. Anything that comes answers a PING."""

    __slots__ = ("_asked_at", "_heard_at", "interval", "timeout")

    def __init__(self, interval: float, timeout: float | None) -> None:
        self.interval = interval
        """Seconds of silence before a PING, and between two of them."""
        self.timeout = timeout
        """Seconds for an answer; `None`: PINGs only keep the way open."""
        self._heard_at = 0.0
        self._asked_at: float | None = None

    def hear(self, now: float) -> None:
        """Something came, or begins to be waited for."""
        self._heard_at = now
        self._asked_at = None

    def look(self, now: float) -> tuple[Verdict, float]:
        """What to do now, and when to look again."""
        asked_at = self._asked_at
        if asked_at is not None and self.timeout is not None:
            due = asked_at + self.timeout
            return (Verdict.FINE if now < due else Verdict.DEAD), due
        due = (self._heard_at if asked_at is None else asked_at) + self.interval
        if now < due:
            return Verdict.FINE, due
        self._asked_at = now
        # An answer begins the next silence, so look again when that one may have lasted long enough.
        return Verdict.ASK, now + (
            self.interval if self.timeout is None else min(self.interval, self.timeout)
        )
