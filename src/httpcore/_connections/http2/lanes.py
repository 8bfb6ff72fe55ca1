"""One exchange's part of a connection: its stream, and what it sleeps on while others do the reading."""

from __future__ import annotations

from ..._backends.base import Parker
from ..._protocols import http2


class Lane(http2.Stream):
    """A stream, whether there is news of it, and how to wake its exchange, which it does not know."""

    __slots__ = ("deadline", "has_news", "is_over", "parker")

    def __init__(self) -> None:
        super().__init__()
        self.has_news = False
        # Whether another task or thread closed the exchange while it waited.
        self.is_over = False
        self.parker: Parker | None = None
        # Where an alarm has to wake it.
        self.deadline: float | None = None
