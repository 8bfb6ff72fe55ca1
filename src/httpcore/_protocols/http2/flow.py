"""How much the peer may send before somebody has taken it (RFC 9113 §5.2, §6.9).

The connection's credit returns when bytes arrive, so that nobody waits for a stream that its caller does not
read. What bounds memory is the credit of each stream, which returns when the caller takes the bytes; it grows
while they are taken, since a window must hold what is under way for one round trip.
"""

from __future__ import annotations

STREAM_WINDOW = 2**20
"""Bytes that a stream may send before any of them is taken. 1 MiB in one round trip of 50 ms is 20 MiB/s."""

LARGEST_STREAM_WINDOW = 16 * 2**20
"""Bytes up to which a stream's window grows while it is read."""

CONNECTION_WINDOW = 32 * 2**20
"""Bytes that may be under way to us on all streams together. Twice a stream's largest window, because half of
it is returned at a time."""

UNREAD_SIZE = 64 * 2**20
"""Bytes that were received and not taken, on all streams together, past which windows stop growing and credit
goes only to those streams whose callers keep up."""

TINY_SIZE = 32
"""Bytes below which a piece of DATA costs more to keep apart than to copy to the one before it."""


def decide_window(window: int, *, unread: int, total_unread: int) -> int:
    """The next window of a stream that may have one: 0 if it must wait, else the same or twice as much.

    `unread` bytes of this stream and `total_unread` of all are here. A caller keeps up if less than a first
    window of its bytes is waiting: at the latest when all of them are taken.
    """
    if total_unread > UNREAD_SIZE:
        return window if unread < STREAM_WINDOW else 0
    if unread < window // 2:
        return min(window * 2, LARGEST_STREAM_WINDOW)
    return window
