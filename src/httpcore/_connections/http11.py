"""HTTP/1.1 on one stream: one exchange at a time, both halves watched at once.

Theory of operation. The head goes out, then the body as fast as the peer takes it; whenever sending would
block, the exchange waits for *both* directions, so an answer that comes before the upload is over is heard
(RFC 9112 §9.3). Such an answer ends the upload, or is returned while the rest of the upload is driven by
whoever reads the response's body.

Invariant: the stream is handed to the next exchange only when both halves of the last one are complete and
not one byte too many has arrived. Everything else that ends an exchange (an error, a timeout, a
cancellation, a response closed early) closes the stream first and gives up the claim second; neither waits.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable
from time import monotonic

from .._backends.base import Stream
from .._exceptions import ReadError, ReadTimeout, RemoteProtocolError, WriteError, WriteTimeout
from .._protocols.http11 import Engine, ResponseHead
from .._types import Buffer, Headers
from .errors import mark_sent
from .exchanges import CONTINUE_WAIT, FAIRNESS, JOIN_SIZE, Exchange, Stage
from .requests import NOBODY, Claim, Fate, Keeper, Request, Response
from .trace import Info, Trace

RECEIVE_SIZE = 64 * 1024
"""Bytes asked of the stream at once. Larger pieces make the allocator use fresh pages each time."""

SEND_SIZE = 1024 * 1024
"""Bytes offered to the stream at once."""

DRAIN_SIZE = 64 * 1024
"""Bytes of an unread body that are thrown away, if they are here, to keep the connection."""

_VERSIONS = {b"1.1": "HTTP/1.1", b"1.0": "HTTP/1.0"}


class HTTP11Connection:
    """One stream, and the exchanges that follow one another on it."""

    capacity = 1

    __slots__ = ("checkpoint", "engine", "is_busy", "keeper", "peer", "stream")

    def __init__(self, stream: Stream, *, peer: str, checkpoint: Callable[[], Awaitable[None]]) -> None:
        self.stream = stream
        self.engine = Engine()
        self.peer = peer
        self.checkpoint = checkpoint
        # No reference to the exchange itself: an abandoned response must be found by the collector.
        self.is_busy = False
        self.keeper: Keeper = NOBODY
        stream.watch(self._notice)

    def describe(self) -> str:
        return "HTTP/1.1, ACTIVE" if self.is_busy else "HTTP/1.1, IDLE"

    def is_ready(self) -> bool:
        """Nothing may have arrived between two exchanges: not an end, not a 408, not a stray response."""
        if self.stream.is_quiet():
            return True
        try:
            return self.stream.try_receive(1) is None
        except ReadError:
            return False

    def has_news(self) -> bool:
        return self.stream.has_news()

    async def exchange(self, request: Request, claim: Claim) -> Response:
        """Send `request`, and return its response as soon as the head is here.

        The claim ends with the response: when its body was read to the end, or closed.
        """
        exchange = HTTP11Exchange(self, request, claim)
        try:
            head = await exchange.run(exchange.prepare())
        except BaseException as exc:
            exchange.fail(exc)
            raise
        return Response(
            head.status,
            head.headers,
            version=_VERSIONS[head.version],
            reason=head.reason.decode("latin-1"),
            body=exchange,
        )

    def close(self) -> None:
        # A stream that has a way to say goodbye says it in one attempt.
        close = getattr(self.stream, "close", self.stream.abort)
        close()

    def _notice(self) -> None:
        """Something arrived and nobody waits for it; between exchanges that is the end."""
        if not self.is_busy and not self.is_ready():
            self.close()
            self.keeper.gone()


class HTTP11Exchange(Exchange):
    """One request and its response; once the head is here, the response's body."""

    __slots__ = (
        "_body_is_open",
        "_connection",
        "_engine",
        "_interim",
        "_is_torn",
        "_last_size",
        "_pending",
        "_sent",
        "_stream",
        "_trailers",
        "_withheld",
        "_write_error",
    )

    name = "http11"

    def __init__(self, connection: HTTP11Connection, request: Request, claim: Claim) -> None:
        super().__init__(request, claim, peer=connection.peer)
        self._connection = connection
        self._stream = connection.stream
        self._engine = connection.engine
        # The upload: framed bytes that may go, framed bytes that have to wait, whether more is to come.
        self._pending: deque[Buffer] = deque()
        self._withheld: tuple[Buffer, ...] = ()
        self._body_is_open = False
        # An upload that was cut short leaves half a message on the wire.
        self._is_torn = False
        self._write_error: WriteError | None = None
        self._sent = 0
        self._interim: list[ResponseHead] | None = None
        self._trailers: Headers | None = None
        self._last_size = 0
        connection.is_busy = True

    # The head.

    def prepare(self) -> bytes:
        """Check what can be checked before a byte is written, and return the first bytes to send."""
        request = self._request
        engine = self._engine
        head = engine.start_request(request.method, request.target, request.headers)
        body = request.body
        if body is None or (body.content == b"" and not engine.body_expected):
            engine.finish_body()
            return head
        if body.content is None:
            self._body_is_open = True
            return head
        buffers = (*engine.frame_body(body.content), engine.finish_body())
        if len(body.content) <= JOIN_SIZE and not engine.expects_continue:
            return b"".join((head, *buffers))
        self._withheld = buffers
        self._body_is_open = True
        return head

    async def run(self, first: bytes) -> ResponseHead:
        """Send, and listen until a final head is here."""
        trace = self._request.trace
        if trace is not None:
            head = await self._run_traced(first, trace)
        else:
            self._pending.append(first)
            if self._flush() and not self._body_is_open:
                head = await self._receive_head()
            else:
                head = await self._upload() or await self._receive_head()
        engine = self._engine
        if self._is_uploading and (head.status >= 300 or engine.wants_close):
            self._stop_upload()
        if self._is_torn and self._request.body is not None:
            await self._request.body.close()
        if engine.is_complete and not self._is_uploading:
            self._finish()
        return head

    async def _run_traced(self, first: bytes, trace: Trace) -> ResponseHead:
        head: ResponseHead | None
        info: Info = {"request": self._request}

        async def send_head() -> None:
            self._pending.append(first)
            self._flush()

        await trace.run("http11.send_request_headers", info, send_head)
        head = await trace.run("http11.send_request_body", info, self._upload)
        if head is None:
            head = await trace.run("http11.receive_response_headers", info, self._receive_head)
        for interim in self._interim or ():
            await trace.emit("http11.receive_interim_headers.complete", {"return_value": interim})
        await trace.emit("http11.receive_response_body.started", info)
        return head

    async def _receive_head(self) -> ResponseHead:
        stream = self._stream
        timeouts = self._request.timeouts
        try:
            while True:
                # Just after sending nothing is here yet: a look before the wait is a wasted system call.
                if not await stream.wait(True, False, timeouts.deadline(timeouts.read)):
                    raise self._late(ReadTimeout, "No response", timeouts.read)
                head = self._hear()
                if head is not None:
                    return head
        except (ReadError, RemoteProtocolError) as exc:
            # A peer that closes on a request may have said why, if only with a TLS alert (RFC 8446 §4.6.2);
            # if all there is to see is that it is gone, the first error counts.
            is_mere_end = isinstance(exc, RemoteProtocolError) or isinstance(exc.__cause__, ConnectionError)
            if self._write_error is not None and is_mere_end:
                raise self._write_error from exc
            raise

    def _hear(self) -> ResponseHead | None:
        """Take what has arrived; a final head, if it is complete."""
        data = self._receive_now()
        if data is None:
            return None
        engine = self._engine
        engine.feed(data)
        while True:
            head = engine.next_head()
            if head is None or head.status >= 200 or head.status == 101:
                return head
            self._interim = [*(self._interim or ()), head]

    def _receive_now(self) -> bytes | None:
        data = self._stream.try_receive(RECEIVE_SIZE)
        if data == b"" and self._stream.get_extra_info("is_truncated") and not self._engine.is_raw:
            # RFC 9112 §9.8: without close_notify, anybody may have cut the connection.
            raise RemoteProtocolError(
                f"{self._connection.peer} closed the TLS connection without close_notify inside a response."
            )
        return data

    # The upload.

    @property
    def _is_uploading(self) -> bool:
        return self._body_is_open or bool(self._pending)

    async def _upload(self) -> ResponseHead | None:
        """Send the rest of the request, unless a final head comes first: then return that."""
        if self._engine.expects_continue and self._body_is_open:
            head = await self._await_continue()
            if head is not None:
                return head
        while self._is_uploading:
            await self._advance_upload()
            if self._write_error is None and (head := self._hear()) is not None:
                return head
        return None

    async def _await_continue(self) -> ResponseHead | None:
        """Hold the body back until any head arrives, or for a second (RFC 9110 §10.1.1)."""
        while self._pending:
            await self._wait_both()
            self._flush()
        total = self._request.timeouts.total
        deadline = monotonic() + CONTINUE_WAIT
        if total is not None and total < deadline:
            deadline = total
        while self._interim is None and await self._stream.wait(True, False, deadline):
            if (head := self._hear()) is not None:
                return head
        return None

    async def _advance_upload(self) -> None:
        """Send what the peer takes now and fetch what comes next, or wait until either direction moves."""
        if not self._flush():
            await self._wait_both()
        elif self._body_is_open:
            await self._refill()

    async def _wait_both(self) -> None:
        timeouts = self._request.timeouts
        if not await self._stream.wait(True, True, timeouts.deadline(timeouts.write)):
            raise self._late(WriteTimeout, "No room for more of the request", timeouts.write)

    def _flush(self) -> bool:
        """Send what is framed; `True` when nothing is left of it."""
        pending = self._pending
        stream = self._stream
        try:
            while pending:
                data = pending[0]
                size = len(data)
                sent = stream.try_send(data if size <= SEND_SIZE else memoryview(data)[:SEND_SIZE])
                self._sent += sent
                if sent == size:
                    pending.popleft()
                elif sent:
                    pending[0] = memoryview(data)[sent:]
                else:
                    return False
        except WriteError as exc:
            self._write_error = exc
            self._stop_upload()
        return True

    async def _refill(self) -> None:
        """Frame the next piece of the body, or its end."""
        body = self._request.body
        if self._withheld or body is None:
            self._pending.extend(buffer for buffer in self._withheld if buffer)
            self._withheld = ()
            self._body_is_open = False
        elif chunk := await body.next_chunk():
            self._pending.extend(self._engine.frame_body(chunk))
        else:
            self._body_is_open = False
            if last := self._engine.finish_body():
                self._pending.append(last)

    def _stop_upload(self) -> None:
        self._is_torn = True
        self._pending.clear()
        self._withheld = ()
        self._body_is_open = False

    # The body.

    @property
    def trailers(self) -> Headers:
        return [] if self._trailers is None else self._trailers

    def try_receive(self) -> bytes | None:
        stage = self._stage
        if stage is not Stage.OPEN:
            return b"" if stage is Stage.COMPLETE else self._after_the_end()
        if self._served >= FAIRNESS or self._request.trace is not None or self._is_uploading:
            return None
        try:
            data = self._engine.next_data()
            if data is not None:
                self._served += 1
                if self._engine.is_complete:
                    self._finish()
        except BaseException as exc:
            self.fail(exc)
            raise
        return data

    async def _receive(self) -> bytes:
        engine = self._engine
        self._served += 1
        if self._served >= FAIRNESS:
            self._served = 0
            await self._connection.checkpoint()
        while (data := None if engine.is_complete else engine.next_data()) is None:
            if self._is_uploading:
                await self._advance_upload()
                self._take()
            elif engine.is_complete:
                data = b""
                break
            else:
                await self._take_more()
        if engine.is_complete and not self._is_uploading:
            self._finish()
        return data

    async def _take_more(self) -> None:
        # A full piece was not the last one: look first. After a short one nothing more is here: wait first.
        if self._last_size == RECEIVE_SIZE and self._take():
            return
        timeouts = self._request.timeouts
        if not await self._stream.wait(True, False, timeouts.deadline(timeouts.read)):
            raise self._late(ReadTimeout, "No more of the response", timeouts.read)
        self._take()

    def _take(self) -> bool:
        data = self._receive_now()
        if data is None:
            return False
        self._last_size = len(data)
        self._engine.feed(data)
        return True

    # The end, in one of three ways. None of them waits.

    def _finish(self) -> None:
        """Both halves are complete."""
        connection = self._connection
        engine = self._engine
        self._trailers = engine.trailers or None
        connection.is_busy = False
        if engine.can_reuse and not self._is_torn:
            self._claim.release()
        else:
            connection.close()
            self._claim.discard()
        # Last: an exchange that is interrupted before it let go of its claim is still open, and will fail.
        self._stage = Stage.COMPLETE

    def fail(self, exc: BaseException) -> None:
        """Nothing more can come of it: close the stream first, then give up the claim."""
        if self._stage is not Stage.OPEN:
            return
        self._stage = Stage.FAILED
        mark_sent(exc, self._sent > 0)
        if (
            isinstance(exc, (ReadError, WriteError, RemoteProtocolError))
            and not self._engine.response_started
        ):
            self._claim.fate = Fate.UNANSWERED if self._sent else Fate.UNSENT
        self._drop()

    def _drop(self, *, foreign: bool = False) -> None:
        self._stop_upload()
        self._connection.close()
        self._claim.discard(foreign=foreign)

    async def close(self) -> None:
        """End the exchange where it is; a small rest of the body that is here already is thrown away."""
        if self._stage is not Stage.OPEN:
            return
        try:
            is_drained = self._drain()
        except BaseException as exc:
            # Interrupted: who closed it will not come again.
            self.fail(exc)
            raise
        if is_drained:
            self._finish()
        else:
            self._stage = Stage.CLOSED
            self._drop()
        await self._after_completion()

    def _drain(self) -> bool:
        engine = self._engine
        if self._is_uploading or engine.is_raw:
            return False
        size = 0
        try:
            while not engine.is_complete and size <= DRAIN_SIZE:
                data = engine.next_data()
                if data is None and not self._take():
                    return False
                size += len(data or b"")
        except (ReadError, RemoteProtocolError):
            return False
        return engine.is_complete
