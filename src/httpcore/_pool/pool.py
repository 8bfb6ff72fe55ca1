"""The pool: waits for a place, opens connections, hands them over, closes them.

It acts on what the ledger decides, and is thin on purpose. The rules of its one lock: it is held for pure
bookkeeping only, never over an await, I/O or foreign code, and no path that gives something back ever blocks
on it. Giving back posts a note and, if the lock is free, settles the post at once; whoever lets go of the
lock looks at the post again. So a finaliser or a signal handler may interrupt the pool at any line, the
critical sections included.

The file is long because whatever takes the lock or posts stands beside these rules.
"""

from __future__ import annotations

import warnings
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from threading import Lock
from time import monotonic
from typing import TypeVar
from weakref import ref

from .._backends.base import Backend, Parker
from .._connections.base import UNKNOWN, Answer, Connection
from .._connections.connector import Connector
from .._connections.requests import Request
from .._connections.routes import Route
from .._connections.timeouts import Timeouts
from .._connections.trace import Trace, traced
from .._exceptions import ConnectError, NetworkError, PoolTimeout, ProtocolError
from .._forks import mind_forks
from .ledger import Ledger, Limits
from .places import Grant, Place, Ticket
from .replays import Replays

T = TypeVar("T")

BRIEF = 0.0001
"""Seconds of idleness after which the kernel is asked whether a busy loop has missed something."""

Ask = Callable[[Ticket[Connection], object, object, float], bool]
"""One of the ledger's ways of asking it for a place."""


class Claim(Ticket[Connection]):
    """A ticket that a request holds, and an exchange after it: each of its verbs ends it, once."""

    __slots__ = ("_is_ended", "_pool", "fate", "parker")

    def __init__(self, pool: Pool) -> None:
        # What `Ticket` sets, without the call: there is one of these for every request.
        self.place = None
        self.is_waiting = False
        self._pool = pool
        self._is_ended = False
        self.parker: Parker | None = None
        self.fate = UNKNOWN

    # What is posted twice has no effect, what is not posted at all is lost: so post first, mark second.

    def release(self) -> None:
        if self._is_ended:
            return
        pool = self._pool
        ledger = pool.ledger
        if pool._mail or pool._lock.locked():
            pool.post(ledger.release, self)
        else:
            # Nobody is at the post, so this needs no note, and one that is cut short needs none either: then
            # the exchange discards its claim.
            with pool._lock: ledger.release(self, monotonic())  # fmt: skip  # noqa: E701
            if pool._mail or ledger.doomed or ledger.granted or pool._is_watched:
                pool._settle()
        self._is_ended = True

    def discard(self, *, foreign: bool = False) -> None:
        if not self._is_ended:
            place = self.place
            if place is not None:
                self._pool.post(self._pool.ledger.remove, place)
            self._pool.post(self._pool.ledger.abandon, self, foreign=foreign)
            self._is_ended = True

    def forget(self, *, foreign: bool = False) -> None:
        if not self._is_ended:
            self._pool.post(self._pool.ledger.abandon, self, foreign=foreign)
            self._is_ended = True


class Budget:
    """What one request may wait for places in all, however often it stands in line."""

    __slots__ = ("seconds", "timeouts")

    def __init__(self, timeouts: Timeouts) -> None:
        self.timeouts = timeouts
        self.seconds = timeouts.pool
        """What is left; `None`: no limit."""

    def spend(self, seconds: float) -> None:
        if self.seconds is not None:
            self.seconds = max(0.0, self.seconds - seconds)


class PlaceKeeper:
    """Tells the ledger what becomes of the connection in a place."""

    __slots__ = ("_place", "_pool")

    def __init__(self, pool: Pool, place: Place[Connection]) -> None:
        self._pool = pool
        # The ledger keeps it as long as it matters, and a closed connection is to go without the collector.
        self._place = ref(place)

    def resized(self, capacity: int) -> None:
        self._tell(self._pool.ledger.resize, capacity)

    def retired(self) -> None:
        self._tell(self._pool.ledger.retire)

    def gone(self) -> None:
        self._tell(self._pool.ledger.remove)

    def _tell(self, operation: Callable[..., object], *arguments: object) -> None:
        place = self._place()
        if place is not None:
            self._pool.post(operation, place, *arguments)


class Pool:
    def __init__(
        self, connector: Connector, limits: Limits, *, find_backend: Callable[[], Backend], replay: bool
    ) -> None:
        self.connector = connector
        # No method of ours: with it ledger and pool would keep one another until the collector comes.
        self.ledger: Ledger[Connection] = Ledger(limits, may_share=partial(_may_share, connector))
        self._find_backend = find_backend
        self._replay = replay
        self._lock = Lock()
        self._mail: deque[tuple[Callable[..., object], tuple[object, ...]]] = deque()
        self._backend: Backend | None = None
        self._loop: object = None
        self._cancel_reaper: Callable[[], None] | None = None
        self._drainers: list[Parker] = []
        self._ages = limits.bound_age
        # Whether more may follow from a release than what the ledger decides; it stays so.
        self._is_watched = self._ages
        mind_forks(self)

    # Requests.

    async def handle(self, request: Request, answer: Answer) -> None:
        """Serve one request, and fill in the answer: its body holds the connection from here on."""
        replays: Replays | None = None
        ask: Ask | None = None
        budget: Budget | None = None
        while True:
            claim = Claim(self)
            was_reused = True
            try:
                connection = self._try_connect(claim, request.route, ask)
                if connection is None:
                    was_reused = False
                    request.check(may_be_http2=self.connector.may_multiplex(request.route))
                    budget = budget or Budget(request.timeouts)
                    connection = await self._connect(claim, request.route, budget, request.trace, ask)
                    assert claim.place is not None
                    was_reused = claim.place.uses > 1
                # On one line: an answer that is interrupted between here and the end would be read by nobody.
                answer.body = await connection.exchange(request, claim); return  # fmt: skip  # noqa: E702
            except (NetworkError, ProtocolError) as exc:
                claim.forget()
                replays = replays or Replays(is_allowed=self._replay)
                if not replays.admit(request, claim.fate, was_reused=was_reused):
                    await self._give_up(request, exc)
                ask = self.ledger.request_new if replays.has_met_dead else self.ledger.request_again
            except BaseException as exc:
                claim.forget()
                await self._give_up(request, exc)
            if request.body is not None:
                request.body.rewind()

    async def _give_up(self, request: Request, exc: BaseException) -> None:
        """Our cleanup is done: let the caller's stream know, and the caller.

        A cancellation meanwhile comes first; an error of the stream's own does not.
        """
        try:
            if request.body is not None:
                await request.body.close()
        except Exception:
            raise exc from exc.__cause__
        else:
            raise exc
        finally:
            # An error's traceback that led back to the error would keep all it knows for the collector.
            del exc

    def _try_connect(self, claim: Claim, route: Route, ask: Ask | None = None) -> Connection | None:
        """Ask for a place; return its connection if that is open and good, as it is for most requests.

        `None`: the claim has its place, or its position in the queue, and `_connect` goes on from there.
        Whoever had a place before says how to `ask`.
        """
        # Threads have no loop that might have changed.
        if self._loop is not None or self._backend is None:
            self._enter_loop()
        # What an exception out of nowhere left in the post, a `close` say, is older than this request.
        if self._mail:
            self._settle()
        now = monotonic()
        ledger = self.ledger
        if ask is not None:
            is_granted = self._locked(ask, claim, route.key, route, now)
        else:
            with self._lock: is_granted = ledger.request(claim, route.key, route, now)  # fmt: skip  # noqa: E701
        if self._mail or ledger.doomed:
            self._settle()
        if not is_granted:
            return None
        place = claim.place
        connection = None if place is None else place.connection
        if connection is None or not connection.is_ready():
            return None
        if self._loop is not None and self._may_have_missed(claim, connection, now):
            return None
        return connection

    async def _connect(
        self, claim: Claim, route: Route, budget: Budget, trace: Trace | None, ask: Ask | None = None
    ) -> Connection:
        """Get a connection that is ready for the request: a kept one, a freed one or a new one."""
        backend = self._backend
        assert backend is not None
        while True:
            # It may be woken for nothing: by a slow thread, for an earlier place that was of no use.
            while claim.is_waiting:
                await self._wait(claim, route, backend, budget, trace)
            place = claim.place
            if place is None:
                raise ConnectError(f"The pool was closed while a request waited for {route.label}.")
            connection = place.connection
            if connection is None:
                return await self._open(place, route, backend, budget.timeouts, trace)
            if ask == self.ledger.request_new and self._locked(self.ledger.renew, claim, monotonic()):
                # It waited, and was handed what it does not trust.
                self._settle()
                continue
            if self._may_have_missed(claim, connection, monotonic()):
                # Once round for the loop to look, and once more for it to deliver.
                await backend.checkpoint()
                await backend.checkpoint()
            if connection.is_ready():
                return connection
            # Not by post, which may be read only after what the claim asks for next.
            self._locked(self._part, claim, place, monotonic())
            self._settle()
            connection = self._try_connect(claim, route, ask or self.ledger.request_again)
            if connection is not None:
                return connection

    def _part(self, claim: Claim, place: Place[Connection], now: float) -> None:
        """Have a claim let go of a connection that is of no use. What still runs on that may end."""
        self.ledger.retire(place, now)
        self.ledger.abandon(claim, now)

    def _may_have_missed(self, claim: Claim, connection: Connection, now: float) -> bool:
        """Whether a loop that was kept busy has yet to deliver something to an idle connection."""
        place = claim.place
        return place is not None and now - place.idle_since > BRIEF and connection.has_news()

    async def _wait(
        self, claim: Claim, route: Route, backend: Backend, budget: Budget, trace: Trace | None
    ) -> None:
        parker = claim.parker = backend.create_parker()
        self._settle()
        # The place may have been granted before there was a parker: then nobody knew whom to wake.
        if not claim.is_waiting:
            return
        begin = monotonic()
        timeouts = budget.timeouts
        deadline = timeouts.deadline(budget.seconds)
        is_woken = await traced(trace, "pool.wait", {"origin": route.label}, parker.park, deadline)
        budget.spend(monotonic() - begin)
        if not is_woken and claim.is_waiting:
            limit = timeouts.describe(timeouts.pool)
            raise PoolTimeout(f"No connection to {route.label} became free within {limit}.")

    async def _open(
        self,
        place: Place[Connection],
        route: Route,
        backend: Backend,
        timeouts: Timeouts,
        trace: Trace | None,
    ) -> Connection:
        connection: Connection | None = None
        try:
            connection = await self.connector.open(route, backend, timeouts=timeouts, trace=trace)
            connection.keeper = PlaceKeeper(self, place)
            is_wanted = self._locked(self._opened, place, connection, monotonic())
            self._settle()
        except BaseException as exc:
            if connection is not None:
                connection.close()
            if isinstance(exc, Exception):
                self.post(self.ledger.failed, place)
            raise
        if not is_wanted:
            connection.close()
            raise ConnectError(f"The pool was closed while it connected to {route.label}.")
        return connection

    def _opened(self, place: Place[Connection], connection: Connection, now: float) -> bool:
        return self.ledger.opened(place, connection, capacity=connection.capacity, now=now)

    # The lock, the post, and what follows from them.

    def post(self, operation: Callable[..., object], *subjects: object, foreign: bool = False) -> None:
        """Have the ledger carry out `operation(*subjects, now)`, now or as soon as the lock is free."""
        self._mail.append((operation, subjects))
        if not self._lock.locked():
            with self._lock: self._empty_post()  # fmt: skip  # noqa: E701
        if self._mail or self.ledger.doomed or self.ledger.granted or self._is_watched:
            self._settle(foreign=foreign)

    def _settle(self, *, foreign: bool = False) -> None:
        """Empty the post, close what the ledger doomed, wake whom it granted a place."""
        # If this thread holds the lock, this is a finaliser or a signal handler in the middle of an
        # operation, and whoever it interrupted settles. If another does, it lets go in no time.
        while self._mail and not self._lock.locked():
            self._locked(self._empty_post)
        ledger = self.ledger
        while ledger.doomed:
            _act_on_first(ledger.doomed, _close)
        while ledger.granted:
            _act_on_first(ledger.granted, _unpark_foreign if foreign else _unpark)
        if self._ages and self._cancel_reaper is None and ledger.idle and not self._lock.locked():
            self._schedule_reaper()
        while self._drainers and not self._is_busy():
            _act_on_first(self._drainers, lambda parker: parker.unpark(foreign=foreign))

    def _empty_post(self) -> None:
        mail = self._mail
        now = monotonic()
        while mail:
            operation, subjects = mail[0]
            operation(*subjects, now)
            mail.popleft()

    def _locked(self, operation: Callable[..., T], *arguments: object) -> T:
        # On one line, here and wherever the lock is taken: that leaves no point at which an exception out
        # of nowhere could strike between holding the lock and being sure to let go of it.
        with self._lock: return operation(*arguments)  # fmt: skip  # noqa: E701

    # Age, loops, the end.

    def _schedule_reaper(self) -> None:
        due = self._locked(self.ledger.expire, monotonic())
        if due is not None and self._backend is not None:
            self._cancel_reaper = self._backend.call_at(due, self._reap)
        if self._mail or self.ledger.doomed:
            self._settle()

    def _reap(self) -> None:
        self._cancel_reaper = None
        self._locked(self.ledger.expire, monotonic())
        self._settle()

    def _enter_loop(self) -> None:
        """If another loop runs than before, what belongs to the last one is dropped."""
        backend = self._find_backend()
        loop = backend.current_loop()
        if backend is self._backend and loop is self._loop:
            return
        if self._backend is not None and loop is not self._loop:
            self._stop_reaper()
            self._locked(self.ledger.clear, monotonic())
            self._settle()
        self._backend = backend
        self._loop = loop

    def close(self) -> None:
        """Close every connection, and fail what runs on them. The pool can be used again.

        Like all that gives back it never blocks, so that the handler of a signal may do it.
        """
        self._stop_reaper()
        self.post(self.ledger.clear)

    def _stop_reaper(self) -> None:
        if self._cancel_reaper is not None:
            self._cancel_reaper()
            self._cancel_reaper = None

    def forget_parent(self) -> None:
        """In a forked child: start anew. Connections, waiters and whoever holds the lock are the parent's."""
        self._lock = Lock()
        self._mail.clear()
        self._cancel_reaper = None
        self._drainers.clear()
        self._backend = self._loop = None
        self.ledger.clear(monotonic())
        self.ledger.doomed.clear()
        self.ledger.granted.clear()

    async def drain(self, deadline: float) -> None:
        """Close as soon as nothing runs and nobody waits, or at `deadline`; a cancellation makes it now."""
        try:
            while self._is_busy() and monotonic() < deadline:
                await self._wait_for_quiet(deadline)
        finally:
            self.close()

    async def _wait_for_quiet(self, deadline: float) -> None:
        # What belongs to a loop that is gone will never end.
        self._enter_loop()
        assert self._backend is not None
        parker = self._backend.create_parker()
        self._drainers.append(parker)
        self._is_watched = True
        try:
            if self._is_busy():
                await parker.park(deadline)
        finally:
            _cross_off(self._drainers, parker)

    def _is_busy(self) -> bool:
        ledger = self.ledger
        return len(ledger.places) > len(ledger.idle)

    def drop(self, name: str) -> None:
        """The pool's owner is gone: keep nothing. What still runs may end."""
        if self.ledger.places:
            self.post(self.ledger.shrink, foreign=True)
            warnings.warn(f"{name} was never closed.", ResourceWarning, source=self, stacklevel=2)

    async def preconnect(self, route: Route, count: int) -> None:
        """Have `count` connections to an origin open, or one that carries as many exchanges.

        Fewer, if there is no room for more: none would come of waiting, since these are held meanwhile.
        """
        claims: list[Claim] = []
        try:
            # A place may be of no use, and taken by another one before its claim asks again.
            with suppress(PoolTimeout):
                await self._claim_places(claims, route, count)
            for claim in claims:
                claim.forget()
        except BaseException:
            # Also what was interrupted as it forgot.
            for claim in claims:
                claim.forget()
            raise

    async def _claim_places(self, claims: list[Claim], route: Route, count: int) -> None:
        for _ in range(count):
            claims.append(claim := Claim(self))
            if self._try_connect(claim, route) is None:
                if claim.is_waiting:
                    return
                await self._connect(claim, route, Budget(Timeouts(pool=0.0)), None)


def _act_on_first(items: list[T], act: Callable[[T], None]) -> None:
    """Act on the first item, and only then take it off the list, so that an interruption loses nothing."""
    try:
        item = items[0]
    except IndexError:
        # Another thread was here first.
        return
    act(item)
    _cross_off(items, item)


def _cross_off(items: list[T], item: T) -> None:
    try:
        items.remove(item)
    except ValueError:
        pass


def _close(connection: Connection) -> None:
    connection.close()


def _unpark(grant: Grant[Connection]) -> None:
    parker = grant.ticket.parker if isinstance(grant.ticket, Claim) else None
    if parker is not None:
        parker.unpark()


def _unpark_foreign(grant: Grant[Connection]) -> None:
    parker = grant.ticket.parker if isinstance(grant.ticket, Claim) else None
    if parker is not None:
        parker.unpark(foreign=True)


def _may_share(connector: Connector, route: object) -> bool:
    assert isinstance(route, Route)
    return connector.may_multiplex(route)
