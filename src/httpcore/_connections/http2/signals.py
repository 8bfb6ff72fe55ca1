"""What an exchange sleeps on while others do the reading."""

from __future__ import annotations

from ..._backends.base import Parker


class Signal:
    """Whether there is news for an exchange, and how to wake it. It does not know the exchange itself."""

    __slots__ = ("deadline", "has_news", "is_over", "parker")

    def __init__(self) -> None:
        self.has_news = False
        # Whether another task or thread closed the exchange while it waited.
        self.is_over = False
        self.parker: Parker | None = None
        # Where an alarm has to wake it.
        self.deadline: float | None = None
