"""The ledger alone: random histories keep its invariants, and each rule of its own."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from httpcore._pool.ledger import PATIENCE, Ledger, Limits
from httpcore._pool.places import Phase, Place, Ticket

ORIGINS = ("a", "b", "c")


class History(RuleBasedStateMachine):
    """Requests come and go in any order; multiplexed origins too."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.ledger: Ledger[str] = Ledger(
            Limits(
                max_connections=4,
                max_connections_per_origin=3,
                max_keepalive_connections=3,
                keepalive_expiry=50,
                max_connection_age=120,
            ),
            may_share=lambda route: route == "c",
        )
        self.waiting: list[Ticket[str]] = []
        self.granted: list[Ticket[str]] = []

    def settle(self) -> None:
        self.now += 1.0
        self.ledger.doomed.clear()
        for ticket in [grant.ticket for grant in self.ledger.granted]:
            assert not ticket.is_waiting
            self.waiting.remove(ticket)
            self.granted.append(ticket)
        self.ledger.granted.clear()

    def pick(self, index: int, phase: Phase) -> Ticket[str] | None:
        found = [
            ticket for ticket in self.granted if ticket.place is not None and ticket.place.phase is phase
        ]
        return found[index % len(found)] if found else None

    @rule(key=st.sampled_from(ORIGINS))
    def request(self, key: str) -> None:
        ticket: Ticket[str] = Ticket()
        (self.granted if self.ledger.request(ticket, key, key, self.now) else self.waiting).append(ticket)
        self.settle()

    @rule(key=st.sampled_from(ORIGINS))
    def request_new(self, key: str) -> None:
        ticket: Ticket[str] = Ticket()
        is_granted = self.ledger.request_new(ticket, key, key, self.now)
        (self.granted if is_granted else self.waiting).append(ticket)
        if is_granted and ticket.place is not None and ticket.place.capacity == 1:
            assert ticket.place.uses == 1
        self.settle()

    @rule(index=st.integers(0, 9))
    def renew(self, index: int) -> None:
        if (ticket := self.pick(index, Phase.OPEN)) is not None:
            place = ticket.place
            assert place is not None
            is_renewed = self.ledger.renew(ticket, self.now)
            assert is_renewed is (place.capacity == 1)
            assert ticket.place is not None
            assert ticket.place.phase is (Phase.CONNECTING if is_renewed else Phase.OPEN)
            self.settle()

    @rule(index=st.integers(0, 9), capacity=st.integers(1, 3))
    def opened(self, index: int, capacity: int) -> None:
        if (ticket := self.pick(index, Phase.CONNECTING)) is not None:
            assert ticket.place is not None
            shared = capacity if ticket.place.origin.key == "c" else 1
            assert self.ledger.opened(ticket.place, "connection", capacity=shared, now=self.now)
            self.settle()

    @rule(index=st.integers(0, 9))
    def failed(self, index: int) -> None:
        if (ticket := self.pick(index, Phase.CONNECTING)) is not None:
            assert ticket.place is not None
            self.granted.remove(ticket)
            self.ledger.failed(ticket.place, self.now)
            self.ledger.abandon(ticket, self.now)
            self.settle()

    @rule(index=st.integers(0, 9))
    def release(self, index: int) -> None:
        if (ticket := self.pick(index, Phase.OPEN)) is not None:
            self.granted.remove(ticket)
            self.ledger.release(ticket, self.now)
            self.ledger.release(ticket, self.now)
            self.settle()

    @rule(index=st.integers(0, 9))
    def remove(self, index: int) -> None:
        if (ticket := self.pick(index, Phase.OPEN)) is not None:
            assert ticket.place is not None
            place = ticket.place
            for holder in [one for one in self.granted if one.place is place]:
                self.granted.remove(holder)
                self.ledger.remove(place, self.now)
                self.ledger.abandon(holder, self.now)
            self.settle()

    @rule(index=st.integers(0, 9))
    def abandon_granted(self, index: int) -> None:
        if self.granted:
            ticket = self.granted.pop(index % len(self.granted))
            self.ledger.abandon(ticket, self.now)
            self.ledger.abandon(ticket, self.now)
            self.settle()

    @precondition(lambda self: self.waiting)
    @rule(index=st.integers(0, 9))
    def abandon_waiting(self, index: int) -> None:
        ticket = self.waiting.pop(index % len(self.waiting))
        self.ledger.abandon(ticket, self.now)
        self.settle()

    @rule(index=st.integers(0, 9), capacity=st.integers(0, 4))
    def resize(self, index: int, capacity: int) -> None:
        ticket = self.pick(index, Phase.OPEN)
        if ticket is not None and ticket.place is not None and ticket.place.origin.key == "c":
            self.ledger.resize(ticket.place, capacity, self.now)
            self.settle()

    @rule(seconds=st.integers(1, 60))
    def expire(self, seconds: int) -> None:
        self.now += seconds
        self.ledger.expire(self.now)
        self.settle()

    @rule()
    def interrupted(self) -> None:
        """Whatever was cut short, the indexes follow from the facts."""
        self.ledger._dirty = True
        self.ledger.expire(self.now)
        self.settle()

    @invariant()
    def holds(self) -> None:
        ledger = self.ledger
        assert len(ledger.places) <= 4
        for origin in ledger.origins.values():
            assert len(origin.places) <= 3
            assert origin.dialling == sum(place.phase is Phase.CONNECTING for place in origin.places)
            assert origin.places or origin.waiters
            for place in origin.places:
                self.check_place(place)
        for ticket in self.granted:
            assert ticket.place is not None
            assert ticket in ticket.place.holders
        assert sum(len(origin.waiters) for origin in ledger.origins.values()) == len(self.waiting)
        in_line = {*ledger.waiting}
        aside = {ticket for origin in ledger.origins.values() for ticket in origin.aside}
        assert not in_line & aside
        assert in_line | aside == {*self.waiting}
        assert len(ledger.idle) <= 3
        # Who stands aside does so for a dial, for one of the same origin in line, or for the origin's limit.
        for origin in ledger.origins.values():
            reasons = origin.dialling or len(origin.aside) < len(origin.waiters) or len(origin.places) == 3
            assert reasons or not origin.aside
        # Nobody waits for what is free.
        assert not (ledger.waiting and (ledger.idle or len(ledger.places) < 4))

    def check_place(self, place: Place[str]) -> None:
        ledger = self.ledger
        assert place in ledger.places
        assert (place in ledger.idle) == (place.phase is Phase.OPEN and not place.holders)
        has_room = place.phase is Phase.OPEN and len(place.holders) < place.capacity and not place.is_retired
        assert (place in place.origin.available) == has_room
        assert not (has_room and place.origin.waiters)


TestHistory = History.TestCase
TestHistory.settings = settings(max_examples=150, stateful_step_count=60)


def test_the_oldest_waiter_of_all_is_not_passed_over_for_ever() -> None:
    ledger: Ledger[str] = Ledger(Limits(max_connections=1))
    first: Ticket[str] = Ticket()
    assert ledger.request(first, "a", "a", 0.0)
    assert first.place is not None
    ledger.opened(first.place, "connection", capacity=1, now=0.0)
    other: Ticket[str] = Ticket()
    assert not ledger.request(other, "b", "b", 0.0)
    current = first
    turns = 0
    while other.place is None:
        following: Ticket[str] = Ticket()
        assert not ledger.request(following, "a", "a", 0.0)
        ledger.release(current, 0.0)
        current = following
        turns += 1
    assert turns == PATIENCE + 1
    assert ledger.doomed == ["connection"]
    assert other.place.phase is Phase.CONNECTING


def test_one_dial_is_shared_until_it_is_known_to_carry_one_exchange() -> None:
    ledger: Ledger[str] = Ledger(Limits(), may_share=lambda route: True)
    tickets: list[Ticket[str]] = [Ticket() for _ in range(5)]
    assert [ledger.request(ticket, "a", "a", 0.0) for ticket in tickets] == [True, False, False, False, False]
    assert tickets[0].place is not None
    ledger.opened(tickets[0].place, "connection", capacity=1, now=0.0)
    assert len(ledger.places) == 5
    assert all(ticket.place is not None for ticket in tickets)


def test_who_stood_aside_for_a_waiter_that_left_gets_its_turn() -> None:
    ledger: Ledger[str] = Ledger(Limits(max_connections=2), may_share=lambda route: route == "c")
    busy, dialling, first, second, other = (Ticket[str]() for _ in range(5))
    assert ledger.request(busy, "a", "a", 0.0)
    assert busy.place is not None
    ledger.opened(busy.place, "connection", capacity=1, now=0.0)
    assert ledger.request(dialling, "c", "c", 0.0)
    for ticket, key in ((first, "c"), (second, "c"), (other, "b")):
        assert not ledger.request(ticket, key, key, 0.0)
    # The slot goes to the other origin; the first is to dial when there is one, and the second waits for that.
    ledger.abandon(dialling, 0.0)
    assert other.place is not None
    ledger.abandon(first, 0.0)
    ledger.release(busy, 0.0)
    assert second.place is not None


def test_who_stood_aside_for_a_waiter_that_was_served_gets_its_turn() -> None:
    limits = Limits(max_connections=4, max_connections_per_origin=3)
    ledger: Ledger[str] = Ledger(limits, may_share=lambda route: route == "c")
    first, *others, second, third, fourth = (Ticket[str]() for _ in range(6))
    for ticket in (first, *others, second, third, fourth):
        key = "a" if ticket in others else "c"
        ledger.request(ticket, key, key, 0.0)
    for ticket in (first, *others, second):
        assert ticket.place is not None
        ledger.opened(ticket.place, "connection", capacity=1, now=0.0)
    # The third stood in line, and the fourth aside, since the origin may have one connection more.
    ledger.release(first, 0.0)
    assert third.place is not None
    ledger.release(others[0], 0.0)
    assert fourth.place is not None


def test_who_had_a_place_before_waits_before_those_who_came_later() -> None:
    ledger: Ledger[str] = Ledger(Limits(max_connections=1), may_share=lambda route: True)
    refused, served, first, second = (Ticket[str]() for _ in range(4))
    ledger.request(refused, "a", "a", 0.0)
    ledger.request(served, "a", "a", 0.0)
    assert refused.place is not None
    ledger.opened(refused.place, "connection", capacity=2, now=0.0)
    assert served.place is refused.place
    for ticket in (first, second):
        assert not ledger.request(ticket, "a", "a", 0.0)
    ledger.retire(served.place, 0.0)
    ledger.abandon(refused, 0.0)
    assert not ledger.request_again(refused, "a", "a", 0.0)
    # The first in line opens the next connection, and shares it.
    ledger.release(served, 0.0)
    assert first.place is not None
    ledger.opened(first.place, "another", capacity=2, now=0.0)
    assert refused.place is first.place
    assert second.place is None


def test_the_work_does_not_grow_with_the_waiters() -> None:
    """Connections that serve once, with few and with many in line: the same number of steps each time."""
    few, many = steps_of_closing(100), steps_of_closing(5_000)
    assert many <= few * 1.1


def test_the_work_does_not_grow_with_those_that_may_grow_old() -> None:
    few, many = steps_of_looking(10), steps_of_looking(1_000)
    assert many == few


def steps_of_looking(connections: int) -> int:
    ledger, tickets = aging(connections)
    for ticket in tickets:
        ledger.release(ticket, 0.0)
    return steps_of(lambda: ledger.expire(1.0))


def aging(connections: int) -> tuple[Ledger[str], list[Ticket[str]]]:
    """A ledger with connections in use, of which one is born each second and lives for an hour."""
    ledger: Ledger[str] = Ledger(Limits(max_connection_age=3600.0))
    tickets: list[Ticket[str]] = [Ticket() for _ in range(connections)]
    for second, ticket in enumerate(tickets):
        ledger.request(ticket, "a", "a", float(second))
        assert ticket.place is not None
        ledger.opened(ticket.place, f"connection {second}", capacity=1, now=float(second))
    return ledger, tickets


def test_each_connection_goes_when_it_has_its_age() -> None:
    ledger, tickets = aging(5)
    for index in (3, 0, 4, 2):
        ledger.release(tickets[index], 10.0)
    assert ledger.expire(3599.0) == 3600.0
    # The second is in use, and goes when it is not.
    assert ledger.expire(3601.0) == 3602.0
    assert ledger.doomed == ["connection 0"]
    ledger.release(tickets[1], 3601.5)
    assert ledger.doomed == ["connection 0", "connection 1"]
    # An interrupted operation loses no age.
    ledger._dirty = True
    assert ledger.expire(3603.0) == 3604.0
    assert ledger.doomed == ["connection 0", "connection 1", "connection 2", "connection 3"]
    assert ledger.expire(3604.0) is None
    assert not ledger.places


def steps_of_closing(waiters: int) -> int:
    ledger: Ledger[str] = Ledger(Limits(max_connections=2))
    tickets: list[Ticket[str]] = [Ticket() for _ in range(waiters)]
    for ticket in tickets:
        if ledger.request(ticket, "a", "a", 0.0):
            assert ticket.place is not None
            ledger.opened(ticket.place, "connection", capacity=1, now=0.0)

    def close_some() -> None:
        for ticket in tickets[:50]:
            assert ticket.place is not None
            ledger.remove(ticket.place, 0.0)
            ledger.abandon(ticket, 0.0)
            for grant in ledger.granted:
                assert grant.ticket.place is not None
                ledger.opened(grant.ticket.place, "connection", capacity=1, now=0.0)
            ledger.granted.clear()

    return steps_of(close_some)


def steps_of(action: Callable[[], object]) -> int:
    """How many lines it takes."""
    steps = 0

    def count(frame: FrameType, event: str, argument: Any) -> Any:
        nonlocal steps
        steps += 1
        return count

    sys.settrace(count)
    try:
        action()
    finally:
        sys.settrace(None)
    return steps
