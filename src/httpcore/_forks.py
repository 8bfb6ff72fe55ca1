"""What a forked child must not take over from its parent.

A child starts with copies of its parent's sockets, on which both could speak, and of locks that may be held
by threads which it does not have. Whoever owns either says so here; in the child it is then asked to let go
of it, before any other code runs.
"""

from __future__ import annotations

import os
import socket
from typing import Protocol
from weakref import WeakSet


class Heir(Protocol):
    def forget_parent(self) -> None:
        """In a forked child: renew locks, and let go of connections without a word to the peer."""


_heirs: WeakSet[Heir] = WeakSet()


def mind_forks(heir: Heir) -> None:
    """Have `heir.forget_parent()` called in each child that is forked during its life."""
    _heirs.add(heir)


def lead_nowhere(sock: socket.socket) -> None:
    """Cut a socket that an event loop knows off its connection, in the child only.

    Parent and child share the loop's epoll. If the child closed the socket by way of the loop, the parent's
    would be unregistered and the parent deaf; if it closed the number only, the loop's copy could one day
    close whatever has taken the number since. So the number stays in use, for nothing.
    """
    number = sock.fileno()
    if number < 0:
        return
    try:
        nothing = os.open(os.devnull, os.O_RDWR)
    except OSError:
        # No number is free but the one that this gives back.
        os.close(number)
        return
    os.dup2(nothing, number, inheritable=False)
    os.close(nothing)


def _forget_parent() -> None:
    for heir in list(_heirs):
        heir.forget_parent()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_parent)
