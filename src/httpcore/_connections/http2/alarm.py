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
from .lanes import Lane

PAUSE = 0.005
"""Seconds between two rings, at least: each of them looks at all who sleep."""


class Alarm:
    """Wakes the lanes whose `deadline` has passed. It belongs to one loop."""

    __slots__ = ("_backend", "_cancel", "_lanes", "due")

    def __init__(self, backend: Backend, lanes: set[Lane]) -> None:
        self._backend = backend
        self._lanes = lanes
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
        for lane in tuple(self._lanes):
            deadline = lane.deadline
            if deadline is None:
                continue
            if deadline > now:
                following = min(following, deadline)
                continue
            lane.deadline = None
            if lane.parker is not None:
                lane.parker.unpark()
        if following < inf:
            self._set(max(following, now + PAUSE))
