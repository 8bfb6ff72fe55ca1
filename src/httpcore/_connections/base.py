"""What pool and connection are to one another, whatever the connection speaks.

The pool hands a connection a `Request` and a `Claim`, and gets a `Response`. What becomes of the claim says
what becomes of the connection; what becomes of the connection by itself, its `Keeper` hears.
"""

from __future__ import annotations

import enum
from collections.abc import Coroutine
from typing import Protocol

from .._types import Headers
from .requests import Request


class Fate(enum.Enum):
    """What is known about a request that failed, for whoever decides whether it may be sent again."""

    UNKNOWN = "unknown"
    UNSENT = "the connection died before one byte of the request went out"
    UNANSWERED = "the connection died before one byte of the response came in"
    REFUSED = "the peer says that it did not process it"
    UNBEGUN = "the connection takes no more requests: others had been quicker, or it is about to end"


# Up to Python 3.11 a member costs as much as a call when it is looked up in its class.
UNKNOWN = Fate.UNKNOWN


class Claim(Protocol):
    """An exchange's hold on its connection. Each verb ends it; only the first one counts."""

    fate: Fate

    def release(self) -> None:
        """The exchange is over in good order: the connection may serve the next one."""

    def discard(self, *, foreign: bool = False) -> None:
        """The connection is of no more use (and was closed). `foreign`: called by a finaliser."""

    def forget(self, *, foreign: bool = False) -> None:
        """This exchange failed; the connection goes on with others."""


class Keeper(Protocol):
    """Who keeps a connection, and is told what becomes of it: from any thread, and outside any exchange."""

    def resized(self, capacity: int) -> None:
        """From now on `capacity` exchanges fit at once."""

    def retired(self) -> None:
        """It takes no new exchange; those that run go on."""

    def gone(self) -> None:
        """It is closed."""


class _Nobody:
    def resized(self, capacity: int) -> None:
        pass

    def retired(self) -> None:
        pass

    def gone(self) -> None:
        pass


NOBODY: Keeper = _Nobody()
"""Keeps connections that are just being opened."""


class Stage(enum.Enum):
    """An exchange begins when it may have touched the connection, and ends in exactly one way."""

    OPEN = "open"
    COMPLETE = "complete"
    CLOSED = "closed by the caller before its end"
    FAILED = "failed"


OPEN, COMPLETE = Stage.OPEN, Stage.COMPLETE


Head = tuple[int, Headers, dict[str, object]]
"""The status, the fields, and what else there is to tell of a response; all of it the caller's own."""


class Response(Protocol):
    """What came back: the head, and the body still to be read."""

    stage: Stage
    is_taken: bool
    """Whether somebody has begun to read the body."""
    head: Head
    """Set once it is here."""

    @property
    def trailers(self) -> Headers: ...

    def try_receive(self, may_block: bool = False) -> bytes | None:
        """A piece that is already here, `b""` at the end, `None` if `receive` would have to wait.

        Where waiting holds up the thread and suspends nothing, this may wait as well if it `may_block`.
        """

    async def receive(self) -> bytes:
        """The next piece that is not empty; `b""` at the end."""

    async def close(self) -> None:
        """End the exchange where it is; idempotent."""


class Answer(Protocol):
    """Where the pool puts what came back. What it returned would reach the sync interface as an exception."""

    body: Response


class Connection(Protocol):
    """An open connection, whatever its protocol."""

    keeper: Keeper
    peer: str

    @property
    def capacity(self) -> int:
        """How many exchanges fit at once."""

    def is_ready(self) -> bool:
        """Whether the next exchange may begin: nothing arrived that would say otherwise."""

    def has_news(self) -> bool:
        """Whether `is_ready` should not be trusted before the loop has had a look round."""

    def exchange(self, request: Request, claim: Claim) -> Coroutine[object, object, Response]:
        """Send `request`, and return its response as soon as the head is here."""

    def close(self) -> None:
        """Close in good order what can be closed without waiting, and abort the rest; idempotent."""

    def describe(self) -> str:
        """A summary such as `HTTP/1.1, IDLE`."""
