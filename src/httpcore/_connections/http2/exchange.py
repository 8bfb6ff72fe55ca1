"""One exchange on an HTTP/2 connection: a request, and its response once the head is here.

The connection does the reading and the sending, and the engine keeps what has arrived of the stream; what is
left is to wait for the right thing, and to end in one of three ways, none of which waits. An exchange that
ends early resets its stream and nothing else: its neighbours do not notice.
"""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING

from ..._exceptions import LocalProtocolError, ReadError, ReadTimeout, WriteError, WriteTimeout
from ..._protocols import http2
from ..._types import Buffer, Headers
from ..base import COMPLETE, OPEN, Claim, Fate, Response, Stage
from ..exchanges import CONTINUE_WAIT, FAIRNESS, JOIN_SIZE, Exchange
from ..requests import Request
from ..trace import Info, Trace
from .lanes import Lane

if TYPE_CHECKING:
    from .connection import HTTP2Connection

CREDIT_SIZE = 64 * 1024
"""Bytes that the caller takes before the engine is told: what is kept back is a sixteenth of a window."""


class HTTP2Exchange(Exchange):
    """One request and its response; once the head is here, the response's body."""

    __slots__ = (
        "_body_is_open",
        "_deadline",
        "_is_torn",
        "_knew_settings",
        "_lane",
        "_length",
        "_mark",
        "_pending",
        "_received",
        "_taken",
        "_uploaded",
    )

    name = "http2"

    def __init__(self, connection: HTTP2Connection, request: Request, claim: Claim) -> None:
        self._request = request
        self._claim = claim
        self._served = 0
        self._is_awaited = False
        self.is_taken = False
        self._connection: HTTP2Connection = connection
        self._lane = Lane()
        # The upload: a piece that may go, whether more is to come, what Content-Length says, what has gone.
        self._pending: Buffer = b""
        self._body_is_open = False
        self._length: int | None = None
        self._uploaded = 0
        # An upload that was cut short: the peer's half may end well, ours has to be reset.
        self._is_torn = False
        # When a peer that takes no more of it is given up, and what had been received when it stopped.
        self._deadline: float | None = None
        self._received = 0
        self._knew_settings = False
        # What `sent_count` has to pass before a byte of this request has left.
        self._mark = 0
        # Bytes that the caller took and the engine has not heard of.
        self._taken = 0
        # Last: what is not made to its end has touched nothing, and is not open.
        self.stage = OPEN

    # The head.

    async def run(self) -> Response:
        """Send, and listen until a final head is here."""
        request = self._request
        lane = self._lane
        connection = self._connection
        try:
            route = request.route
            fields = http2.prepare_fields(request.method, route.scheme, route.authority, request.headers)
            if connection.is_congested:
                await self._wait_for_room()
            if request.trace is not None:
                head = await self._run_traced(fields, request.trace)
            else:
                self._open(fields)
                if self._body_is_open:
                    await self._upload(expects_continue=fields.expects_continue)
                timeouts = request.timeouts
                deadline = timeouts.deadline(timeouts.read)
                received = connection.engine.received_count
                lane.has_news = False
                if lane.head is None and lane.error is None:
                    # Most need no other wait than this one, which saves the price of one more coroutine.
                    await connection.wait(lane, deadline)
                head = lane.head or await self._receive_head(deadline, received)
            if self._body_is_open and head.status >= 300:
                self._stop_upload()
            if self._is_torn and request.body is not None:
                await request.body.close()
            if lane.is_ended and not lane.data and not self._body_is_open:
                # All of the response was in its head.
                self._finish()
            if request.trace is not None and self._has_completed():
                await self._after_completion()
            self.head = (head.status, head.headers, {"http_version": "HTTP/2"})
            return self
        except BaseException as exc:
            self.fail(exc)
            raise

    async def _run_traced(self, fields: http2.RequestFields, trace: Trace) -> http2.ResponseHead:
        info: Info = {"request": self._request}
        connection = self._connection
        lane = self._lane

        async def send_head() -> None:
            # Nothing may come between choosing a stream's number and queueing its head.
            self._open(fields)

        await trace.run("http2.send_request_headers", info, send_head)

        async def send_body() -> None:
            await self._upload(expects_continue=fields.expects_continue)

        async def receive_head() -> http2.ResponseHead:
            deadline = self._request.timeouts.deadline(self._request.timeouts.read)
            return lane.head or await self._receive_head(deadline, connection.engine.received_count)

        await trace.run("http2.send_request_body", info, send_body)
        head = await trace.run("http2.receive_response_headers", info, receive_head)
        if connection.owes_settings_event and connection.engine.has_settings:
            connection.owes_settings_event = False
            await trace.emit("http2.receive_remote_settings.complete", {"return_value": None})
        for interim in lane.interim:
            await trace.emit("http2.receive_interim_headers.complete", {"return_value": interim})
        await trace.emit("http2.receive_response_body.started", info)
        return head

    def _open(self, fields: http2.RequestFields) -> None:
        """Check what can be checked before a byte is queued; queue the head, with a small body at once."""
        request = self._request
        body = request.body
        content = b"" if body is None else body.content
        if fields.content_length is not None:
            self._length = fields.content_length
            if content is not None:
                self._check_length(len(content), is_all=True)
        ends = content == b""
        is_joined = content is not None and len(content) <= JOIN_SIZE and not fields.expects_continue
        self._knew_settings = self._connection.engine.has_settings
        try:
            self._uploaded, self._mark = self._connection.open(
                self._lane,
                fields,
                request.target,
                content=content if is_joined and not ends else None,
                ends=ends,
            )
        except WriteError:
            failure = self._connection.failure
            if failure is None:
                self._claim.fate = Fate.UNBEGUN
                raise
            self._claim.fate = Fate.UNSENT
            raise type(failure)(str(failure)) from failure
        if not self._lane.is_sent:
            self._body_is_open = True
            if content:
                self._pending = memoryview(content)[self._uploaded :]

    def _check_length(self, size: int, *, is_all: bool) -> None:
        length = self._length
        if length is None or size == length or (size < length and not is_all):
            return
        way = "longer" if size > length else "shorter"
        raise LocalProtocolError(
            f"The request body is {way} than its Content-Length: {size} bytes instead of {length}."
        )

    async def _receive_head(self, deadline: float | None, received: int) -> http2.ResponseHead:
        """Listen until `deadline`, or longer after an interim head. `received` is from when that began."""
        lane = self._lane
        timeouts = self._request.timeouts
        interims = 0
        while True:
            lane.has_news = False
            if lane.head is not None:
                return lane.head
            self._check()
            if len(lane.interim) > interims:
                interims = len(lane.interim)
                deadline = timeouts.deadline(timeouts.read)
            if not await self._connection.wait(lane, deadline):
                raise self._late_to_read("No response", received)

    def _check(self) -> None:
        """Raise what has ended the stream. Each exchange has an exception of its own."""
        error = self._lane.error
        if error is not None:
            raise type(error)(str(error)) from error

    # The upload.

    async def _wait_for_room(self) -> None:
        """A peer that reads nothing gets no more requests to buffer."""
        connection = self._connection
        timeouts = self._request.timeouts
        deadline = timeouts.deadline(timeouts.write)
        while connection.is_congested and not connection.is_gone:
            self._lane.has_news = False
            connection.note_congestion(self._lane)
            if not await connection.wait(self._lane, deadline):
                raise self._late(WriteTimeout, "No room for the request", timeouts.write)

    async def _upload(self, *, expects_continue: bool) -> None:
        """Send the body, until all of it is queued or the final head comes."""
        if expects_continue and self._body_is_open:
            await self._await_continue()
        while self._body_is_open and self._lane.head is None:
            await self._advance_upload()

    async def _await_continue(self) -> None:
        """Hold the body back until any head arrives, or for a second (RFC 9110 §10.1.1)."""
        lane = self._lane
        total = self._request.timeouts.total
        deadline = monotonic() + CONTINUE_WAIT
        if total is not None and total < deadline:
            deadline = total
        while lane.head is None and not lane.interim:
            lane.has_news = False
            self._check()
            if not await self._connection.wait(lane, deadline):
                return

    async def _advance_upload(self) -> None:
        """Fetch what comes next and queue what the peer lets us send, or wait until something moves."""
        lane = self._lane
        body = self._request.body
        assert body is not None
        if not self._pending and body.content is None:
            self._pending = await body.next_chunk()
            self._check_length(self._uploaded + len(self._pending), is_all=not self._pending)
        timeouts = self._request.timeouts
        if self._try_send():
            self._deadline = None
        elif lane.is_ended or lane.stops_upload:
            # Who has answered in full and takes no more will never take it (RFC 9113 §8.1).
            self._stop_upload()
        else:
            if self._deadline is None:
                self._deadline = timeouts.deadline(timeouts.write)
                self._received = self._connection.engine.received_count
            if not await self._connection.wait(lane, self._deadline):
                self._suspect(self._received)
                raise self._late(WriteTimeout, "No room for more of the request", timeouts.write)

    def _try_send(self) -> bool:
        """Queue a part of what is pending, or the end; `False` if nothing may go now."""
        lane = self._lane
        lane.has_news = False
        self._check()
        if lane.stops_upload:
            return False
        data = self._pending
        body = self._request.body
        ends = not data or (body is not None and body.content is not None)
        taken = self._connection.send_data(lane, data, ends=ends)
        self._uploaded += taken
        self._pending = memoryview(data)[taken:] if taken < len(data) else b""
        if lane.is_sent:
            self._body_is_open = False
        return taken > 0 or lane.is_sent

    def _stop_upload(self) -> None:
        self._is_torn = True
        self._pending = b""
        self._body_is_open = False

    # The body.

    @property
    def trailers(self) -> Headers:
        return [*self._lane.trailers]

    def try_receive(self, may_block: bool = False) -> bytes | None:
        if self.stage is COMPLETE:
            return b""
        if self.stage is not OPEN:
            return self._after_the_end()
        if (
            self._served >= FAIRNESS
            or self._is_awaited
            or self._body_is_open
            or self._request.trace is not None
        ):
            return None
        try:
            return self._take()
        except BaseException as exc:
            self.fail(exc)
            raise

    async def _receive(self) -> bytes:
        if self._served >= FAIRNESS:
            self._served = 0
            await self._connection.checkpoint()
        timeouts = self._request.timeouts
        deadline = timeouts.deadline(timeouts.read)
        received = self._connection.engine.received_count
        lane = self._lane
        while True:
            lane.has_news = False
            if lane.is_over:
                raise ReadError(f"The response from {self._peer} was closed while it was being read.")
            if (data := self._take()) is not None:
                return data
            if self._body_is_open:
                await self._advance_upload()
                deadline = timeouts.deadline(timeouts.read)
                received = self._connection.engine.received_count
            elif not await self._connection.wait(lane, deadline):
                raise self._late_to_read("No more of the response", received)

    def _take(self) -> bytes | None:
        """What is here of the body, `b""` at its end, `None` if it has to be waited for."""
        lane = self._lane
        # Another thread may be reading: what ends the body is looked at before the body is.
        is_ended, error = lane.is_ended, lane.error
        chunks = lane.data
        if chunks:
            try:
                data = chunks.popleft()
            except IndexError:
                # Another thread has closed it in this very moment, or reads as well.
                return None if self.stage is OPEN else self._after_the_end()
            self._served += 1
            if is_ended:
                if not chunks and not self._body_is_open:
                    self._finish()
                return data
            self._taken += len(data)
            if self._taken >= CREDIT_SIZE:
                # Two threads that read must not give the same back twice, which would end the connection.
                taken, self._taken = self._taken, 0
                self._connection.consume(lane, taken)
            return data
        if is_ended:
            if self._body_is_open:
                return None
            if self.stage is Stage.CLOSED:
                # By another thread, which has thrown the rest away: that is not the end.
                return self._after_the_end()
            self._finish()
            return b""
        if error is not None:
            self._check()
        return None

    # The end, in one of three ways. None of them waits.

    def _finish(self) -> None:
        lane = self._lane
        if lane.is_sent:
            self._connection.finish(lane)
        else:
            self._connection.leave(lane)
        self._claim.release()
        # Last: an exchange that is interrupted before it let go of its claim is still open, and will fail.
        self.stage = COMPLETE

    def fail(self, exc: BaseException) -> None:
        """Nothing more can come of it: reset the stream first, then give up the claim."""
        if self.stage is not OPEN:
            return
        connection = self._connection
        lane = self._lane
        is_sent = lane.id > 0 and connection.sent_count > self._mark
        self._describe(exc, is_sent=is_sent)
        if lane.error is not None:
            if lane.is_refused:
                self._claim.fate = Fate.REFUSED
                if self._knew_settings:
                    # Who refuses what its settings allow asks us to go elsewhere.
                    connection.retire()
            elif connection.has_died and lane.head is None and not lane.interim:
                self._claim.fate = Fate.UNANSWERED if is_sent else Fate.UNSENT
        self._let_go(Stage.FAILED)

    def _let_go(self, stage: Stage) -> None:
        try:
            # Before it is asked who waits: whoever comes to wait says so, and looks at the stage afterwards.
            self.stage = stage
            self._drop(is_awaited=stage is Stage.CLOSED and self._is_awaited)
        except BaseException:
            # Interrupted, and nobody comes again. What is done already is not done twice.
            self.stage = stage
            self._drop(is_awaited=stage is Stage.CLOSED and self._is_awaited)
            raise

    def _drop(self, *, foreign: bool = False, is_awaited: bool = False) -> None:
        self._stop_upload()
        if is_awaited:
            self._connection.take_away(self._lane)
        else:
            self._connection.leave(self._lane, foreign=foreign)
        if self._connection.is_gone:
            self._claim.discard(foreign=foreign)
        else:
            self._claim.forget(foreign=foreign)

    async def close(self) -> None:
        """End the exchange where it is."""
        lane = self._lane
        if self.stage is not OPEN:
            return
        if lane.is_ended and not lane.data and not self._body_is_open:
            try:
                self._finish()
            except BaseException as exc:
                self.fail(exc)
                raise
        else:
            self._let_go(Stage.CLOSED)
        await self._after_completion()

    # Time.

    def _late_to_read(self, what: str, received: int) -> ReadTimeout:
        self._suspect(received)
        error = self._late(ReadTimeout, what, self._request.timeouts.read)
        assert isinstance(error, ReadTimeout)
        return error

    def _suspect(self, received: int) -> None:
        if self._connection.engine.received_count == received:
            self._connection.suspect()
