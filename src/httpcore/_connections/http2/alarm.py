"""One timer for all who sleep on a connection.

A timer of the loop for each wait would cost more than the wait itself, and nearly all of them are
cancelled unheard. So it is set for the first deadline of all, left alone when that one's wait is over, and
looks for the next deadline when it rings.
"""

from __future__ import annotations

from collections.abc import Callable
from math import inf
from time import monotonic

from ..._backends.base import Backend
from .signals import Signal

PAUSE = 0.005
"""Seconds between two rings, at least: each of them looks at all who sleep."""


class Alarm:
    """Wakes the signals whose `deadline` has passed. It belongs to one loop."""

    __slots__ = ("_backend", "_cancel", "_signals", "due")

    def __init__(self, backend: Backend, signals: set[Signal]) -> None:
        self._backend = backend
        self._signals = signals
        self._cancel: Callable[[], None] | None = None
        # When it rings.
        self.due = inf

    def set(self, deadline: float) -> bool:
        """Ring at `deadline`, which is before it would ring anyway; `False` if that has passed."""
        now = monotonic()
        if deadline <= now:
            return False
        self.cancel()
        self._set(deadline)
        return True

    def cancel(self) -> None:
        if self._cancel is not None:
            self._cancel()
            self._cancel = None
        self.due = inf

    def _set(self, when: float) -> None:
        self.due = when
        self._cancel = self._backend.call_at(when, self._ring)

    def _ring(self) -> None:
        self._cancel = None
        self.due = inf
        now = monotonic()
        following = inf
        for signal in tuple(self._signals):
            deadline = signal.deadline
            if deadline is None:
                continue
            if deadline > now:
                following = min(following, deadline)
                continue
            signal.deadline = None
            if signal.parker is not None:
                signal.parker.unpark()
        if following < inf:
            self._set(max(following, now + PAUSE))
