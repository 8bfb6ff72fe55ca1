"""What an exchange is in every version of HTTP: how it is read, and the ways in which it ends."""

from __future__ import annotations

import warnings

from .._exceptions import ReadError, ReadTimeout, WriteTimeout
from .base import COMPLETE, OPEN, Claim, Connection, Head, Stage
from .errors import mark_sent, name_peer
from .requests import Request
from .trace import Info

JOIN_SIZE = 16 * 1024
"""Up to this many bytes a body travels in one piece with its head."""

CONTINUE_WAIT = 1.0
"""Seconds that a body waits for an answer to `Expect: 100-continue` (RFC 9110 §10.1.1)."""

FAIRNESS = 64
"""Chunks served without waiting before the other tasks get their turn."""


class Exchange:
    """One request and its response; once the head is here, the response's body.

    Each version sets these fields as it begins, and fills in `_receive` and `fail`, and `_drop`, which gives
    up stream and claim without waiting.
    """

    __slots__ = (
        "_claim",
        "_connection",
        "_is_awaited",
        "_request",
        "_served",
        "head",
        "is_taken",
        "stage",
    )

    name: str
    """The version, as traces spell it."""

    head: Head
    stage: Stage
    is_taken: bool
    _connection: Connection
    _request: Request
    _claim: Claim
    _served: int
    """Chunks served since the others had their turn."""
    _is_awaited: bool
    """Whether somebody is inside `receive`."""

    @property
    def _peer(self) -> str:
        return self._connection.peer

    async def receive(self) -> bytes:
        if self.stage is not OPEN:
            return self._after_the_end()
        if self._is_awaited:
            raise RuntimeError("The response's body is being read already, by another task or thread.")
        try:
            self._is_awaited = True
            if self.stage is not OPEN:
                # Closed by another thread in this very moment.
                return self._after_the_end()
            data = await self._receive()
        except BaseException as exc:
            self.fail(exc)
            # Also where another task has closed it meanwhile, so that there is nothing left to fail.
            self._describe(exc, is_sent=True)
            if self._request.trace is not None:
                await self._request.trace.emit(
                    f"{self.name}.receive_response_body.failed", {"exception": exc}
                )
            raise
        finally:
            self._is_awaited = False
        if self._has_completed():
            await self._after_completion()
        return data

    async def _receive(self) -> bytes:
        """The next piece of the body that is not empty; `b""` at its end."""
        raise NotImplementedError

    def fail(self, exc: BaseException) -> None:
        """Nothing more can come of it."""
        raise NotImplementedError

    def _drop(self, *, foreign: bool = False) -> None:
        raise NotImplementedError

    def _describe(self, exc: BaseException, *, is_sent: bool) -> None:
        """Add to an error of ours what only the exchange knows."""
        if not self._request.has_callers_failure:
            mark_sent(exc, is_sent)
            name_peer(exc, self._peer)

    def _has_completed(self) -> bool:
        return self.stage is COMPLETE

    def _after_the_end(self) -> bytes:
        if self.stage is COMPLETE:
            return b""
        if self.stage is Stage.CLOSED:
            raise RuntimeError("The response was closed before its body was read.")
        error = ReadError(f"The response from {self._peer} has failed before.")
        mark_sent(error, True)
        raise error

    async def _after_completion(self) -> None:
        """Tell those who want to know; our own cleanup is done."""
        request = self._request
        if request.body is not None:
            await request.body.close()
        if request.trace is not None:
            info: Info = {"return_value": None}
            if self._has_completed():
                await request.trace.emit(f"{self.name}.receive_response_body.complete", info)
            await request.trace.emit(f"{self.name}.response_closed.started", {"request": request})
            await request.trace.emit(f"{self.name}.response_closed.complete", info)

    def __del__(self) -> None:
        try:
            is_open = self.stage is OPEN
        except AttributeError:
            # Interrupted while it was made.
            return
        if is_open:
            self.stage = Stage.CLOSED
            self._drop(foreign=True)
            warnings.warn(
                f"A response from {self._peer} was never read to its end nor closed.",
                ResourceWarning,
                source=self,
                stacklevel=1,
            )

    def _late(
        self, error: type[ReadTimeout] | type[WriteTimeout], what: str, seconds: float | None
    ) -> ReadTimeout | WriteTimeout:
        limit = self._request.timeouts.describe(seconds)
        way = "from" if error is ReadTimeout else "at"
        return error(f"{what} {way} {self._peer} within {limit}.")
