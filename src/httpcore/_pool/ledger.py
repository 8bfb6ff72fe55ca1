"""The ledger: which connection serves which request. Pure bookkeeping.

Nothing here waits, opens, closes or looks at a clock; `now` comes in as an argument. The caller holds the
pool's lock around each operation, and afterwards acts on what the ledger decided: it closes the connections
in `doomed` and wakes the tickets of the grants in `granted`. What is kept of each is in `places`.

One fact is authoritative for each: for a place its `phase` and its `holders`, for a ticket `is_waiting` and
`place`. All else (`available`, `idle`, the queues) is an index over these facts, so every operation takes
constant time however many connections, origins and waiters there are. An operation that is interrupted by
an exception out of nowhere (KeyboardInterrupt) leaves `_dirty` set, and the next one rebuilds the indexes.

Invariants: a place is in exactly one phase; `len(places)` never exceeds `max_connections`; no ticket that
may open a connection waits while a slot is free or an idle connection could be closed for it.

The file is long because every operation may touch every index: none of these could move out alone.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Generic, NamedTuple

from .places import UNBOUNDED, C, Grant, Origin, Phase, Place, Ticket

PATIENCE = 16
"""How often the oldest waiter of all may be passed over before a slot is taken from others for it."""


class Limits(NamedTuple):
    """How many connections there may be, and for how many seconds. `None`: no limit."""

    max_connections: int | None = None
    max_connections_per_origin: int | None = None
    max_keepalive_connections: int | None = None
    keepalive_expiry: float | None = None
    max_connection_age: float | None = None

    @property
    def bound_age(self) -> bool:
        """Whether a connection may become too old."""
        return self.keepalive_expiry is not None or self.max_connection_age is not None


# Up to Python 3.11 a member costs as much as a call when it is looked up in its class.
_OPEN = Phase.OPEN


class Ledger(Generic[C]):
    def __init__(self, limits: Limits, *, may_share: Callable[[object], bool] = lambda route: False) -> None:
        self.limits = limits
        # Whether one connection on a route may turn out to carry many exchanges.
        self._may_share = may_share
        self.origins: dict[object, Origin[C]] = {}
        self.places: dict[Place[C], None] = {}
        # Idle places, the least recently used one first.
        self.idle: OrderedDict[Place[C], None] = OrderedDict()
        # Open places that have yet to reach their age, the oldest first.
        self._births: OrderedDict[Place[C], None] = OrderedDict()
        # Waiting tickets that could use a free slot, the oldest first: all but those that stand aside.
        self.waiting: OrderedDict[Ticket[C], None] = OrderedDict()
        # Decisions for the caller to act on, outside the lock.
        self.doomed: list[C] = []
        self.granted: list[Grant[C]] = []
        # Figures since the beginning.
        self.opened_count = 0
        self.granted_count = 0
        self.waited_count = 0
        self.waited_seconds = 0.0
        self._dirty = False
        self._max_connections = _bound(limits.max_connections)
        self._max_per_origin = _bound(limits.max_connections_per_origin)
        self._max_keepalive = _bound(limits.max_keepalive_connections)
        self._ages = limits.bound_age

    # What a request asks.

    def request(self, ticket: Ticket[C], key: object, route: object, now: float) -> bool:
        """Grant `ticket` a place, open or to be opened by its owner; `False`: it waits in line.

        An origin is known by its key, and forgotten again with its last connection and waiter.
        """
        if self._dirty:
            self._rebuild(now)
        self._dirty = True
        origin = self.origins.get(key)
        if origin is None:
            origin = self.origins[key] = Origin(key, route, self._may_share(route))
        if self._ages:
            self._drop_aged(origin, now)
        if origin.available:
            self._take(origin, ticket)
            if self.waiting:
                self._pass_over(origin)
        elif self._may_dial(origin) and self._make_room():
            self._start_dial(origin, ticket, now)
        else:
            self._enqueue(origin, ticket, now)
        self._dirty = False
        return not ticket.is_waiting

    def request_again(self, ticket: Ticket[C], key: object, route: object, now: float) -> bool:
        """The same for a request whose place was of no use: it waits before those who came later."""
        is_granted = self.request(ticket, key, route, now)
        if not is_granted:
            ticket.origin.waiters.move_to_end(ticket, last=False)
        return is_granted

    def request_new(self, ticket: Ticket[C], key: object, route: object, now: float) -> bool:
        """The same for a ticket whose kept connection was dead: it dials where it would get another kept one.

        That one may be just as dead, and a request is sent again only once. It makes way if there is no room.
        """
        self._begin(now)
        origin = self.origins.get(key)
        place = None if origin is None else next(reversed(origin.available), None)
        if origin is None or place is None or place.capacity > 1:
            self._dirty = False
            return self.request_again(ticket, key, route, now)
        if not self._may_dial(origin) or len(self.places) >= self._max_connections:
            self._evict(place)
        self._start_dial(origin, ticket, now)
        self._dirty = False
        return True

    def renew(self, ticket: Ticket[C], now: float) -> bool:
        """The same for a ticket that had to wait, and was given a kept connection: it dials in its stead.

        `False`: others use that one, too.
        """
        self._begin(now)
        place = ticket.place
        is_its_own = place is not None and place.phase is _OPEN and place.capacity == 1
        if place is not None and is_its_own:
            place.holders.discard(ticket)
            self._evict(place)
            self._start_dial(place.origin, ticket, now)
        self._dirty = False
        return is_its_own

    # What becomes of a connection.

    def opened(self, place: Place[C], connection: C, *, capacity: int, now: float) -> bool:
        """The dial of `place` succeeded; `capacity` exchanges fit at once (1: HTTP/1.1).

        `False`: the place is gone meanwhile (the pool was closed), and the connection is not wanted.
        """
        self._begin(now)
        is_wanted = place.phase is Phase.CONNECTING
        if is_wanted:
            origin = place.origin
            place.connection = connection
            place.phase = Phase.OPEN
            place.born = now
            self._births[place] = None
            origin.dialling -= 1
            origin.may_share = capacity > 1
            origin.capacity = capacity
            self.opened_count += 1
            self._set_capacity(place, capacity, now)
        self._dirty = False
        return is_wanted

    def resize(self, place: Place[C], capacity: int, now: float) -> None:
        """The peer changed how many exchanges fit at once."""
        self._begin(now)
        if place.phase is Phase.OPEN and capacity != place.capacity:
            self._set_capacity(place, capacity, now)
        self._dirty = False

    def retire(self, place: Place[C], now: float) -> None:
        """No new exchange on this connection; it goes when the last one is over."""
        self._begin(now)
        self._retire(place, now)
        self._dirty = False

    def release(self, ticket: Ticket[C], now: float) -> None:
        """The ticket's part in its place is over: the room goes to a waiter, or is kept."""
        if self._dirty:
            self._rebuild(now)
        self._dirty = True
        place = ticket.place
        if place is not None:
            ticket.place = None
            holders = place.holders
            holders.discard(ticket)
            if self.waiting and place.phase is _OPEN:
                self._hear_oldest(place, now)
            if place.phase is not _OPEN:
                if not holders:
                    self._remove(place, now)
            elif place.is_retired or (self._ages and self._is_too_old(place, now)):
                self._retire(place, now)
            else:
                place.idle_since = now
                origin = place.origin
                has_room = len(holders) < place.capacity
                if has_room:
                    origin.available[place] = None
                if has_room and origin.waiters:
                    self._hand_over(origin, now)
                # A peer that for now takes no exchange at all (RFC 9113 §5.1.2) leaves an idle connection.
                elif not holders:
                    if self.waiting or len(self.idle) >= self._max_keepalive:
                        self._idle(place, now)
                    else:
                        self.idle[place] = None
        self._dirty = False

    def remove(self, place: Place[C], now: float) -> None:
        """The connection is closed: its slot is free."""
        self._begin(now)
        self._remove(place, now)
        self._dirty = False

    def failed(self, place: Place[C], now: float) -> None:
        """The dial failed. Those who counted on it no longer wait for one another: each may try itself."""
        self._begin(now)
        place.origin.capacity = 1
        self._remove(place, now)
        self._dirty = False

    def abandon(self, ticket: Ticket[C], now: float) -> None:
        """The request gave up, wherever it was. An unused connection goes to the next."""
        self._begin(now)
        if ticket.is_waiting:
            origin = ticket.origin
            self._dequeue(ticket)
            if origin.aside:
                # Those may have stood aside for this one, which was to dial.
                self._serve_waiters_of(origin, now)
            self._forget(origin)
        self._dirty = False
        self.release(ticket, now)

    def expire(self, now: float) -> float | None:
        """Doom the idle connections that are too old; return when to look again, `None` if nothing ages."""
        self._begin(now)
        due = self._expire(now)
        self._dirty = False
        return due

    def clear(self, now: float) -> None:
        """Doom every connection, and forget everything. Whoever waits is woken without a place."""
        self._begin(now)
        for origin in list(self.origins.values()):
            for ticket in list(origin.waiters):
                self._grant(ticket, now)
        for place in list(self.places):
            self._evict(place)
        self.origins.clear()
        self._dirty = False

    def shrink(self, now: float) -> None:
        """Keep no idle connection, now and from now on."""
        self._begin(now)
        self._max_keepalive = 0
        while self.idle:
            self._evict(next(iter(self.idle)))
        self._dirty = False

    # A place changes hands.

    def _take(self, origin: Origin[C], ticket: Ticket[C]) -> None:
        """Give `ticket` the latest used of the places that have room."""
        place, _ = origin.available.popitem()
        ticket.place = place
        holders = place.holders
        if not holders:
            self.idle.pop(place, None)
        holders.add(ticket)
        place.uses += 1
        self.granted_count += 1
        if len(holders) < place.capacity:
            origin.available[place] = None

    def _hear_oldest(self, place: Place[C], now: float) -> None:
        """The oldest waiter of all gets the next slot, if it was passed over too often."""
        oldest = self._oldest()
        if oldest.passed_over >= PATIENCE and oldest.origin is not place.origin:
            # For a connection that carries others' exchanges this means: when they are over.
            oldest.passed_over = -UNBOUNDED
            self._retire(place, now)

    def _hand_over(self, origin: Origin[C], now: float) -> None:
        """The room that there is goes to the oldest waiter of its origin."""
        ticket = next(iter(origin.waiters))
        self._take(origin, ticket)
        self._grant(ticket, now)
        self._pass_over(origin)
        if origin.aside:
            # It may have stood in line, and another one does now.
            self._serve_waiters_of(origin, now)

    def _idle(self, place: Place[C], now: float) -> None:
        self.idle[place] = None
        if self.waiting:
            # Whoever waits has no use for this connection, but for its slot.
            self._evict(place)
            self._grant_slots(now)
        elif len(self.idle) > self._max_keepalive:
            self._evict(next(iter(self.idle)))

    def _set_capacity(self, place: Place[C], capacity: int, now: float) -> None:
        place.capacity = capacity
        origin = place.origin
        if place.is_retired or len(place.holders) >= capacity:
            origin.available.pop(place, None)
        else:
            origin.available[place] = None
        self._serve_waiters_of(origin, now)
        if not place.holders and place.phase is Phase.OPEN and place not in self.idle:
            self._idle(place, now)

    def _retire(self, place: Place[C], now: float) -> None:
        if place.phase is not Phase.OPEN:
            return
        place.is_retired = True
        place.origin.available.pop(place, None)
        if not place.holders:
            self._evict(place)
        self._serve_waiters_of(place.origin, now)

    def _evict(self, place: Place[C]) -> None:
        """Close a connection."""
        if place.connection is not None:
            self.doomed.append(place.connection)
        self._detach(place)

    def _remove(self, place: Place[C], now: float) -> None:
        if place.phase is not Phase.GONE:
            self._detach(place)
            self._serve_waiters_of(place.origin, now)

    def _detach(self, place: Place[C]) -> None:
        # A place that an interrupted operation never entered is in no count either.
        if place.phase is Phase.CONNECTING and place in self.places:
            place.origin.dialling -= 1
        place.phase = Phase.GONE
        self.places.pop(place, None)
        self.idle.pop(place, None)
        self._births.pop(place, None)
        place.origin.places.pop(place, None)
        place.origin.available.pop(place, None)
        self._forget(place.origin)

    # Slots for new connections.

    def _may_dial(self, origin: Origin[C]) -> bool:
        if len(origin.places) >= self._max_per_origin:
            return False
        # One dial may come back with room for many: more dials only for more waiters than that.
        return not (origin.may_share and origin.dialling) or (
            len(origin.waiters) >= origin.dialling * origin.capacity
        )

    def _make_room(self) -> bool:
        """Whether one more connection may be opened, an idle one closed for it where need be."""
        if len(self.places) < self._max_connections:
            return True
        if not self.idle:
            return False
        self._evict(next(iter(self.idle)))
        return True

    def _start_dial(self, origin: Origin[C], ticket: Ticket[C], now: float) -> None:
        place = Place(origin, now)
        ticket.place = place
        place.holders.add(ticket)
        place.uses = 1
        self.origins[origin.key] = origin
        self.places[place] = None
        origin.places[place] = None
        origin.dialling += 1
        self.granted_count += 1

    def _grant_slots(self, now: float) -> None:
        """Free slots go to the oldest tickets that can use one."""
        while self.waiting:
            ticket = self._oldest()
            origin = ticket.origin
            if not self._may_dial(origin):
                del self.waiting[ticket]
                origin.aside[ticket] = None
                origin.aside.move_to_end(ticket, last=False)
            elif self._make_room():
                self._start_dial(origin, ticket, now)
                self._grant(ticket, now)
            else:
                return

    def _serve_waiters_of(self, origin: Origin[C], now: float) -> None:
        """The origin's state changed: hand out its room, and let those dial who now may."""
        while origin.waiters and origin.available:
            ticket = next(iter(origin.waiters))
            self._take(origin, ticket)
            self._grant(ticket, now)
        if origin.aside:
            in_line = len(origin.waiters) - len(origin.aside)
            room = self._max_per_origin - len(origin.places)
            if origin.may_share:
                room = min(room, 1 + len(origin.waiters) // origin.capacity)
            while origin.aside and in_line < room:
                ticket, _ = origin.aside.popitem(last=False)
                self.waiting[ticket] = None
                in_line += 1
        self._grant_slots(now)

    # The queues.

    def _enqueue(self, origin: Origin[C], ticket: Ticket[C], now: float) -> None:
        self.origins[origin.key] = origin
        ticket.origin = origin
        ticket.is_waiting = True
        ticket.waiting_since = now
        ticket.passed_over = 0
        (self.waiting if self._may_dial(origin) else origin.aside)[ticket] = None
        origin.waiters[ticket] = None

    def _dequeue(self, ticket: Ticket[C]) -> None:
        ticket.is_waiting = False
        self.waiting.pop(ticket, None)
        ticket.origin.waiters.pop(ticket, None)
        ticket.origin.aside.pop(ticket, None)

    def _grant(self, ticket: Ticket[C], now: float) -> None:
        """Have a ticket woken that was just given its place."""
        self.granted.append(Grant(ticket))
        self._dequeue(ticket)
        self.waited_count += 1
        self.waited_seconds += now - ticket.waiting_since

    def _oldest(self) -> Ticket[C]:
        return next(iter(self.waiting))

    def _pass_over(self, served: Origin[C]) -> None:
        """A place was given to another than the oldest waiter of all."""
        if self.waiting:
            oldest = self._oldest()
            if oldest.origin is not served:
                oldest.passed_over += 1

    # Age.

    def _is_too_old(self, place: Place[C], now: float) -> bool:
        age = self.limits.max_connection_age
        return age is not None and now - place.born >= age

    def _expire(self, now: float) -> float | None:
        due: float | None = None
        expiry, age = self.limits.keepalive_expiry, self.limits.max_connection_age
        while expiry is not None and self.idle:
            place = next(iter(self.idle))
            due = place.idle_since + expiry
            if due > now:
                break
            self._evict(place)
            due = None
        while age is not None and self._births:
            place = next(iter(self._births))
            if not self._is_too_old(place, now):
                return place.born + age if due is None else min(due, place.born + age)
            del self._births[place]
            self._retire(place, now)
        return due

    def _drop_aged(self, origin: Origin[C], now: float) -> None:
        """Let nothing be taken that is past its time."""
        self._expire(now)
        self.origins.setdefault(origin.key, origin)

    # Origins and indexes.

    def _forget(self, origin: Origin[C]) -> None:
        if origin.places or origin.waiters:
            return
        if self.origins.get(origin.key) is origin:
            del self.origins[origin.key]

    def _begin(self, now: float) -> None:
        if self._dirty:
            self._rebuild(now)
        self._dirty = True

    def _rebuild(self, now: float) -> None:
        """Derive every index from the facts, after an operation that was cut short."""
        tickets = [*self.waiting, *(t for origin in self.origins.values() for t in origin.waiters)]
        places = [place for place in self.places if place.phase is not Phase.GONE]
        origins = {place.origin: None for place in places}
        origins.update((ticket.origin, None) for ticket in tickets)
        for origin in origins:
            origin.places.clear()
            origin.available.clear()
            origin.waiters.clear()
            origin.aside.clear()
            origin.dialling = 0
        self.origins = {origin.key: origin for origin in origins}
        self.idle.clear()
        self._births.clear()
        self.waiting.clear()
        self.places = {}
        for place in sorted(places, key=lambda place: place.idle_since):
            self._reindex(place)
        for place in sorted(self.places, key=lambda place: place.born):
            if place.phase is Phase.OPEN and not place.is_retired:
                self._births[place] = None
        for ticket in tickets:
            if ticket.place is not None and ticket in ticket.place.holders:
                ticket.is_waiting = False
                if all(grant.ticket is not ticket for grant in self.granted):
                    self.granted.append(Grant(ticket))
            elif ticket.is_waiting:
                ticket.place = None
                ticket.origin.waiters[ticket] = ticket.origin.aside[ticket] = None
        for origin in origins:
            self._serve_waiters_of(origin, now)
            self._forget(origin)

    def _reindex(self, place: Place[C]) -> None:
        origin = place.origin
        place.holders = {ticket for ticket in place.holders if ticket.place is place}
        if place.phase is Phase.CONNECTING:
            if not place.holders:
                place.phase = Phase.GONE
                return
            origin.dialling += 1
        elif not place.is_retired and len(place.holders) < place.capacity:
            origin.available[place] = None
        self.places[place] = None
        origin.places[place] = None
        if place.phase is Phase.OPEN and not place.holders:
            self.idle[place] = None


def _bound(limit: int | None) -> int:
    return UNBOUNDED if limit is None else limit
