"""How many frames that bring nothing we read: see `Limits.useless_count`.

There is no clock here. What makes up for such frames is whatever else a connection does: the bytes of a body,
a head, a request of ours, and each read, since a flood comes many frames at a time. A frame with one byte of
a body brings something, and so does credit for a byte that we have sent: an application may write, and read,
in steps as small as that.
"""

from __future__ import annotations

from .errors import ErrorCode, Fault
from .limits import Limits

USELESS = 10
"""The price of a frame that brings nothing."""

HEAD_WORTH = 1000
"""What a head makes up for, theirs or ours."""


class Patience:
    """Spent by frames that bring nothing, and won back."""

    __slots__ = ("_count", "spent")

    def __init__(self, limits: Limits) -> None:
        self._count = limits.useless_count
        self.spent = 0

    def spend(self) -> None:
        """Raises `Fault` when there is none left."""
        self.spent += USELESS
        if self.spent > self._count * USELESS:
            raise Fault(ErrorCode.ENHANCE_YOUR_CALM, f"more than {self._count} frames that bring nothing")

    def win_back(self, worth: int) -> None:
        self.spent = max(0, self.spent - worth)
