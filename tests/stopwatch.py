"""How long something took, and how much of that was the machine's doing.

An upper bound on time is a bound on what we do, and a machine that runs other things as well makes us wait
for a processor. How long, the kernel counts for each thread, to the nanosecond: a bound holds for the rest.
"""

from __future__ import annotations

import os
from time import monotonic

TICK = 1 / os.sysconf("SC_CLK_TCK")
"""Seconds in which the kernel counts what a hypervisor gave to other machines."""


class Stopwatch:
    """Runs from when it is made."""

    def __init__(self) -> None:
        self._waits = _waits_of_threads()
        self._stolen = _stolen()
        self._begin = monotonic()

    @property
    def elapsed(self) -> float:
        """Seconds on the clock: what a lower bound is held against."""
        return monotonic() - self._begin

    @property
    def taken(self) -> float:
        """The same without what this process waited for a processor: what an upper bound is held against."""
        elapsed = self.elapsed
        waits = _waits_of_threads()
        held_up = sum(waited - self._waits.get(thread, 0.0) for thread, waited in waits.items())
        return elapsed - held_up - (_stolen() - self._stolen)


def _waits_of_threads() -> dict[str, float]:
    """Seconds that each thread of this process has been ready to run, and was not run."""
    found: dict[str, float] = {}
    for thread in os.listdir("/proc/self/task"):
        try:
            with open(f"/proc/self/task/{thread}/schedstat") as file:
                found[thread] = int(file.read().split()[1]) / 1e9
        except (OSError, IndexError):
            # It has ended meanwhile, or this kernel does not count.
            pass
    return found


def _stolen() -> float:
    """Seconds for which the whole machine was not run."""
    with open("/proc/stat") as file:
        return int(file.readline().split()[8]) * TICK
