"""What the ledger writes down: origins, connections and requests. Data only; the ledger keeps it.

A *ticket* is one request on its way. A *place* is one connection, open or being opened::

                 opened()                     the last holder leaves
    CONNECTING ───────────▶ OPEN, with holders ◀────────────────────▶ OPEN, idle
        │                        │             the next one takes it      │
        └────────────────────────┴──── remove(), evicted, expired ────────┴──▶ GONE
"""

from __future__ import annotations

import enum
from collections import OrderedDict
from typing import Generic, TypeVar

C = TypeVar("C")
"""What the pool keeps in a place: its connection object."""

UNBOUNDED = 1 << 60
"""Stands for "no limit" wherever counts are compared."""


class Phase(enum.Enum):
    CONNECTING = "connecting"
    OPEN = "open"
    GONE = "gone"


class Origin(Generic[C]):
    """The places and the queue of one pool key."""

    __slots__ = (
        "aside",
        "available",
        "capacity",
        "dialling",
        "key",
        "may_share",
        "places",
        "route",
        "waiters",
    )

    def __init__(self, key: object, route: object, may_share: bool) -> None:
        self.key = key
        self.route = route
        self.places: dict[Place[C], None] = {}
        # Places with room for one more exchange; the latest used one is taken first.
        self.available: dict[Place[C], None] = {}
        self.waiters: OrderedDict[Ticket[C], None] = OrderedDict()
        # Those of them that a free slot would not help: a shared dial is under way for them, or the origin is
        # at its limit.
        self.aside: OrderedDict[Ticket[C], None] = OrderedDict()
        self.dialling = 0
        # Whether one connection may turn out to carry many exchanges, and how many the last one carried.
        self.may_share = may_share
        self.capacity = UNBOUNDED


class Place(Generic[C]):
    """One connection, from the decision to open it until it is gone."""

    __slots__ = (
        "__weakref__",
        "born",
        "capacity",
        "connection",
        "holders",
        "idle_since",
        "is_retired",
        "origin",
        "phase",
        "uses",
    )

    def __init__(self, origin: Origin[C], now: float) -> None:
        self.origin = origin
        self.phase = Phase.CONNECTING
        self.connection: C | None = None
        self.holders: set[Ticket[C]] = set()
        self.capacity = 1
        # A retired place finishes what it serves and takes nothing new (GOAWAY, age, another's turn).
        self.is_retired = False
        self.born = now
        self.idle_since = now
        self.uses = 0


class Ticket(Generic[C]):
    """One request's claim. `place` is set when it is granted."""

    __slots__ = ("is_waiting", "origin", "passed_over", "place", "waiting_since")

    # Set when a place is asked for, and when there is none: most requests are never in a queue.
    origin: Origin[C]
    waiting_since: float
    passed_over: int

    def __init__(self) -> None:
        self.place: Place[C] | None = None
        self.is_waiting = False


class Grant(Generic[C]):
    """Says that a ticket has to be woken, once.

    A ticket that asks again may be granted a second place while a slow thread is still at the first grant,
    which must not take the other for it when it crosses its own off.
    """

    __slots__ = ("ticket",)

    def __init__(self, ticket: Ticket[C]) -> None:
        self.ticket = ticket
