"""What a pool says of itself: which connections it has, and how many of what.

Figures are read without the lock, of copies that are made in one go. Whoever asks may be the handler of a
signal in the middle of an operation; and whoever lets go of the lock has to look at the post.
"""

from __future__ import annotations

from collections.abc import Callable

from .._connections.base import Connection
from .._connections.routes import Route
from .ledger import Ledger
from .places import Phase, Place


def summarize(ledger: Ledger[Connection], name_of: Callable[[Route], str]) -> dict[str, list[str]]:
    """What the connections are doing, by the names of where they lead."""
    found: dict[str, list[str]] = {}
    for origin in list(ledger.origins.values()):
        assert isinstance(origin.route, Route)
        states = [_describe(place) for place in list(origin.places)]
        # Two origins may have one name: a proxy that forwards, and the same host through its tunnel.
        name = name_of(origin.route)
        found[name] = sorted([*found.get(name, ()), *states])
    return found


def _describe(place: Place[Connection]) -> str:
    return "Not connected" if place.connection is None else place.connection.describe()


def count(ledger: Ledger[Connection]) -> dict[str, float]:
    """The figures of `statistics()`."""
    places = list(ledger.places)
    connecting = sum(place.phase is Phase.CONNECTING for place in places)
    idle = min(len(ledger.idle), len(places) - connecting)
    return {
        "connections": len(places),
        "connecting": connecting,
        "idle": idle,
        "active": len(places) - connecting - idle,
        "waiting": sum(len(origin.waiters) for origin in list(ledger.origins.values())),
        "opened": ledger.opened_count,
        "requests": ledger.granted_count,
        "waits": ledger.waited_count,
        "wait_seconds": ledger.waited_seconds,
    }
