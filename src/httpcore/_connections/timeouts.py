"""The limits of `ext["timeout"]`, in seconds, and the deadlines that follow from them.

A deadline is a value of `time.monotonic()`, computed once for the operation that it bounds.
"""

from __future__ import annotations

from collections.abc import Mapping
from time import monotonic

PHASES = {name: f"The {name!r} timeout" for name in ("pool", "connect", "read", "write", "total")}
"""The keys of `ext["timeout"]`, and how errors speak of them."""

LONGEST = 1e9
"""Seconds that are as good as no limit: thirty years, and still within what the timers of loops can count."""


class Timeouts:
    """Seconds for each phase, `None` for no limit; `total` is the deadline of the whole exchange, which
    `total_seconds` led to."""

    __slots__ = ("connect", "pool", "read", "total", "total_seconds", "write")

    def __init__(
        self,
        pool: float | None = None,
        connect: float | None = None,
        read: float | None = None,
        write: float | None = None,
        total_seconds: float | None = None,
    ) -> None:
        self.pool = pool
        self.connect = connect
        self.read = read
        self.write = write
        self.total = None if total_seconds is None else monotonic() + total_seconds
        self.total_seconds = total_seconds

    def deadline(self, seconds: float | None) -> float | None:
        """The moment at which a phase that begins now, and may take `seconds`, is cut."""
        if seconds is None:
            return self.total
        deadline = monotonic() + seconds
        return deadline if self.total is None or deadline < self.total else self.total

    def describe(self, seconds: float | None) -> str:
        """The limit that ran out, for an error's sentence."""
        if self.total is not None and monotonic() >= self.total:
            return f"the total time of {self.total_seconds} s"
        return f"{seconds} s"


UNLIMITED = Timeouts()

_last: tuple[dict[str, object], Timeouts] = ({}, UNLIMITED)
# Callers hand in the same limits again and again: comparing two small dicts is cheaper than parsing one.


def read_timeouts(limits: object) -> Timeouts:
    """Read `ext["timeout"]`. NaN is a `ValueError`, what is not a number a `TypeError`."""
    global _last
    if limits is None:
        return UNLIMITED
    known, parsed = _last
    if limits == known:
        return parsed
    if not isinstance(limits, Mapping):
        raise TypeError(f"ext['timeout'] must be a mapping of seconds, not {type(limits).__name__}.")
    total = _seconds(limits, "total")
    parsed = Timeouts(
        _seconds(limits, "pool"),
        _seconds(limits, "connect"),
        _seconds(limits, "read"),
        _seconds(limits, "write"),
        total,
    )
    if total is None:
        _last = (dict(limits), parsed)
    return parsed


def _seconds(limits: Mapping[object, object], name: str) -> float | None:
    value = limits.get(name)
    if value is None:
        return None
    seconds = check_seconds(PHASES[name], value)
    return None if seconds >= LONGEST else max(seconds, 0.0)


def check_seconds(name: str, value: object) -> float:
    """Return `value` as seconds, `LONGEST` at the most."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"{name} must be a number of seconds, not {type(value).__name__}.")
    if value != value:
        raise ValueError(f"{name} must be a number of seconds, not NaN.")
    return float(min(value, LONGEST))
