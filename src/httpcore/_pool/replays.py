"""Which requests are sent again. Nothing is sent here, and nothing waits.

A request that has failed is sent again only where that cannot repeat what the peer has done. The connection
says how far it came (`Fate`), the pool whether the connection had been used before: one that dies while it is
idle was let go by a peer that has not seen the request, one that dies when it is fresh has told something.
"""

from __future__ import annotations

from .._connections.base import Fate
from .._connections.requests import Request

IDEMPOTENT = frozenset({b"GET", b"HEAD", b"OPTIONS", b"TRACE", b"PUT", b"DELETE"})
"""Methods that may be sent twice (RFC 9110 §9.2.2)."""

MAX_REPLAYS = 2
"""Replays of one request in all; a dead reused connection accounts for at most one of them."""


class Replays:
    """What one request has been through, once it has failed."""

    __slots__ = ("_count", "_is_allowed", "has_met_dead")

    def __init__(self, *, is_allowed: bool) -> None:
        self._is_allowed = is_allowed
        self._count = 0
        self.has_met_dead = False
        """Whether a kept connection had died: then no other kept one is trusted."""

    def admit(self, request: Request, fate: Fate, *, was_reused: bool) -> bool:
        """Whether `request` is to be sent again after an attempt that failed; it counts if so."""
        if fate is Fate.UNBEGUN and was_reused:
            # That was no attempt: it ended, or others filled it, before we came to use it.
            return True
        is_dead = fate in (Fate.UNANSWERED, Fate.UNSENT)
        if self._count >= MAX_REPLAYS or (is_dead and (self.has_met_dead or not was_reused)):
            return False
        if not self._may_repeat(request, fate):
            return False
        self._count += 1
        self.has_met_dead = self.has_met_dead or is_dead
        return True

    def _may_repeat(self, request: Request, fate: Fate) -> bool:
        if fate is Fate.UNBEGUN:
            return True
        if not self._is_allowed or fate is Fate.UNKNOWN or request.has_callers_failure:
            return False
        if request.body is not None and not request.body.can_be_replayed:
            return False
        return fate is not Fate.UNANSWERED or request.method in IDEMPOTENT
