"""HTTP/1.1 on one stream: one exchange at a time, both halves watched at once.

Theory of operation. The head goes out, then the body as fast as the peer takes it; whenever sending would
block, the exchange waits for *both* directions, so an answer that comes before the upload is over is heard
(RFC 9112 §9.3). Such an answer ends the upload, or is returned while the rest of the upload is driven by
whoever reads the response's body.

Invariant: the stream is handed to the next exchange only when both halves of the last one are complete and
not one byte too many has arrived. Everything else that ends an exchange (an error, a timeout, a
cancellation, a response closed early) closes the stream first and gives up the claim second; neither waits.

The file is long because both halves share one stream and one end: each wait looks at both of them.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine
from threading import Lock
from time import monotonic

from .._backends.base import FULL_SIZE, LARGE_SIZE, RECEIVE_SIZE, Stream, find_receive, say_goodbye
from .._exceptions import ReadError, ReadTimeout, RemoteProtocolError, WriteError, WriteTimeout
from .._protocols.http11 import Engine, ResponseHead
from .._types import Buffer, Headers
from .base import COMPLETE, NOBODY, OPEN, Claim, Fate, Keeper, Response, Stage
from .exchanges import CONTINUE_WAIT, FAIRNESS, JOIN_SIZE, Exchange
from .requests import Request
from .trace import Info, Trace
from .uploads import Upload

DRAIN_SIZE = 64 * 1024
"""Bytes of an unread body that are thrown away, if they are here, to keep the connection."""


class HTTP11Connection:
    """One stream, and the exchanges that follow one another on it."""

    capacity = 1

    __slots__ = (
        "checkpoint",
        "engine",
        "full_size",
        "is_busy",
        "is_watched",
        "keeper",
        "peer",
        "receive",
        "stream",
    )

    def __init__(self, stream: Stream, *, peer: str, checkpoint: Callable[[], Awaitable[None]]) -> None:
        self.stream = stream
        self.receive = find_receive(stream)
        self.engine = Engine()
        self.peer = peer
        self.checkpoint = checkpoint
        # No reference to the exchange itself: an abandoned response must be found by the collector.
        self.is_busy = False
        self.keeper: Keeper = NOBODY
        self.is_watched = stream.watch(self._notice)
        # Bytes of a piece after which a look comes before a wait.
        self.full_size = LARGE_SIZE if self.is_watched else FULL_SIZE

    def describe(self) -> str:
        return "HTTP/1.1, ACTIVE" if self.is_busy else "HTTP/1.1, IDLE"

    def is_ready(self) -> bool:
        """Nothing may have arrived between two exchanges: not an end, not a 408, not a stray response."""
        if self.is_busy:
            # Whoever cut the last exchange short was cut short as well.
            return False
        if self.stream.is_quiet():
            return True
        try:
            return self.stream.try_receive(1) is None
        except ReadError:
            return False

    def has_news(self) -> bool:
        return self.stream.has_news()

    def exchange(self, request: Request, claim: Claim) -> Coroutine[object, object, Response]:
        """Send `request`, and return its response as soon as the head is here.

        The claim ends with the response: when its body was read to the end, or closed.
        """
        return HTTP11Exchange().run(self, request, claim)

    def close(self) -> None:
        say_goodbye(self.stream)
        self.stream.watch(None)

    def _notice(self) -> None:
        """Something arrived and nobody waits for it; between exchanges that is the end."""
        if not self.is_busy and not self.is_ready():
            self.close()
            self.keeper.gone()


class HTTP11Exchange(Exchange):
    """One request and its response; once the head is here, the response's body."""

    __slots__ = (
        "_closing",
        "_engine",
        "_is_finishing",
        "_is_plain",
        "_is_sent",
        "_last_size",
        "_stream",
        "_trailers",
        "_upload",
    )

    name = "http11"

    # Set by `run`, which begins each exchange: an `__init__` would take longer than all that it has to set.
    _connection: HTTP11Connection
    _stream: Stream
    _engine: Engine
    _upload: Upload | None
    """What did not go out in one piece."""
    _is_sent: bool
    """Whether any of what did may have gone out."""
    _is_plain: bool
    """Whether `try_receive` may have the next piece: no upload, nobody who traces, no wait that is due."""
    _last_size: int
    _trailers: Headers | None
    _closing: Lock
    """Taken by the first one to close, for ever."""

    # The head.

    async def run(self, connection: HTTP11Connection, request: Request, claim: Claim) -> Response:
        """Send `request`, and listen until a final head is here."""
        self._connection = connection
        self._request = request
        self._claim = claim
        stream = self._stream = connection.stream
        engine = self._engine = connection.engine
        timeouts = request.timeouts
        self._upload = self._trailers = None
        self._is_sent = self._is_plain = self._is_awaited = self._is_finishing = self.is_taken = False
        self._served = self._last_size = 0
        self._closing = Lock()
        connection.is_busy = True
        # Last: what is not made to its end has touched nothing, and is not open.
        self.stage = OPEN
        head: ResponseHead | None = None
        try:
            first = engine.start_request(request.method, request.target, request.headers)
            if request.body is not None or not engine.is_request_complete:
                first = self._frame(first)
            if self._upload is None and request.trace is None:
                self._upload = self._try_send(first)
            elif self._upload is None:
                self._upload = Upload(stream, engine, first)
            if self._upload is not None:
                head = await self._upload_all(self._upload)
            # `_receive_head`, without the price of one more coroutine.
            receive = connection.receive
            while head is None:
                # Just after sending nothing is here yet: a look before the wait is a wasted system call.
                deadline = timeouts.deadline(timeouts.read)
                data = None if receive is None else receive(RECEIVE_SIZE, deadline)
                if data is None:
                    if not await stream.wait(True, False, deadline):
                        raise self._late(ReadTimeout, "No response", timeouts.read)
                    data = stream.try_receive(RECEIVE_SIZE)
                head = None if data is None else self._hear(data)
            self.head = (head.status, [*head.fields], {**head.ext})
            if self._upload is not None:
                await self._begin_body(self._upload)
            elif engine.is_complete:
                self._finish()
            else:
                self._is_plain = True
            return self
        except BaseException as exc:
            self.fail(exc)
            raise

    def _try_send(self, data: bytes) -> Upload | None:
        """Send a request that may go out in one piece; return what is left of it."""
        try:
            sent = self._stream.try_send(data)
        except WriteError as exc:
            upload = Upload(self._stream, self._engine, b"")
            upload.fail(exc)
            return upload
        self._is_sent = sent > 0
        return None if sent == len(data) else Upload(self._stream, self._engine, data[sent:])

    def _frame(self, head: bytes) -> bytes:
        """The head, and as much of the body as travels in one piece with it."""
        engine = self._engine
        body = self._request.body
        if body is None or (body.content == b"" and engine.is_request_complete):
            return head if engine.is_request_complete else head + engine.finish_body()
        withheld: tuple[Buffer, ...] = ()
        if body.content is not None:
            withheld = (*engine.frame_body(body.content), engine.finish_body())
            if len(body.content) <= JOIN_SIZE and not engine.expects_continue:
                return b"".join((head, *withheld))
        self._upload = Upload(self._stream, engine, head, withheld=withheld, body=body)
        return head

    def _look(self) -> ResponseHead | None:
        """Take what has arrived; a final head, if it is complete."""
        data = self._stream.try_receive(RECEIVE_SIZE)
        return None if data is None else self._hear(data)

    def _hear(self, data: bytes) -> ResponseHead | None:
        if not data:
            self._check_end()
        engine = self._engine
        engine.feed(data)
        while True:
            head = engine.next_head()
            if head is None or head.is_final:
                return head
            if self._upload is not None:
                self._upload.interim.append(head)

    def _check_end(self) -> None:
        """RFC 9112 §9.8: without close_notify, anybody may have cut the connection."""
        if self._stream.get_extra_info("is_truncated") and not self._engine.is_raw:
            raise RemoteProtocolError(
                f"{self._peer} closed the TLS connection without close_notify inside a response."
            )

    # The upload.

    async def _upload_all(self, upload: Upload) -> ResponseHead:
        """Send what did not go out at once, and listen until a final head is here."""
        request = self._request
        if self._engine.is_request_complete and request.body is not None and request.body.content is None:
            # No field announces this body: its source has to be empty, and is asked before the head goes out.
            await upload.refill()
        if request.trace is not None:
            head = await self._upload_traced(upload, request.trace)
        else:
            head = await self._upload_rest(upload) or await self._receive_head()
        if upload.is_running and (head.status >= 300 or self._engine.wants_close):
            upload.stop()
        if upload.is_torn and request.body is not None:
            await request.body.close()
        return head

    async def _receive_head(self) -> ResponseHead:
        """Listen until a final head is here, after an upload."""
        stream = self._stream
        timeouts = self._request.timeouts
        try:
            while True:
                if not await stream.wait(True, False, timeouts.deadline(timeouts.read)):
                    raise self._late(ReadTimeout, "No response", timeouts.read)
                head = self._look()
                if head is not None:
                    return head
        except (ReadError, RemoteProtocolError) as exc:
            # A peer that closes on a request may have said why, if only with a TLS alert (RFC 8446 §4.6.2);
            # if all there is to see is that it is gone, the first error counts.
            is_mere_end = isinstance(exc, RemoteProtocolError) or isinstance(exc.__cause__, ConnectionError)
            if self._upload is not None and self._upload.error is not None and is_mere_end:
                # Not that error itself, which is kept: a traceback would make a ring of them.
                raise WriteError(str(self._upload.error)) from exc
            raise

    async def _upload_traced(self, upload: Upload, trace: Trace) -> ResponseHead:
        early: ResponseHead | None = None
        info: Info = {"request": self._request}

        async def send_head() -> None:
            upload.flush()

        async def send_body() -> None:
            nonlocal early
            early = await self._upload_rest(upload)

        async def receive_head() -> ResponseHead:
            return early or await self._receive_head()

        await trace.run("http11.send_request_headers", info, send_head)
        await trace.run("http11.send_request_body", info, send_body)
        head = await trace.run("http11.receive_response_headers", info, receive_head)
        for interim in upload.interim:
            await trace.emit("http11.receive_interim_headers.complete", {"return_value": interim})
        await trace.emit("http11.receive_response_body.started", info)
        return head

    async def _upload_rest(self, upload: Upload) -> ResponseHead | None:
        """Send the rest of the request, unless a final head comes first: then return that."""
        if upload.has_more and self._engine.expects_continue:
            head = await self._await_continue(upload)
            if head is not None:
                return head
        while upload.is_running:
            await self._advance(upload)
            if upload.error is None and (head := self._look()) is not None:
                return head
        return None

    async def _await_continue(self, upload: Upload) -> ResponseHead | None:
        """Hold the body back until any head arrives, or for a second (RFC 9110 §10.1.1)."""
        while not upload.flush():
            await self._wait_for_room()
            # What is here and not taken would end each further wait at once.
            if upload.error is None and (head := self._look()) is not None:
                return head
        total = self._request.timeouts.total
        deadline = monotonic() + CONTINUE_WAIT
        if total is not None and total < deadline:
            deadline = total
        while not upload.interim and await self._stream.wait(True, False, deadline):
            if (head := self._look()) is not None:
                return head
        return None

    async def _advance(self, upload: Upload) -> None:
        """Send what the peer takes now and fetch what comes next, or wait until either direction moves."""
        if not upload.flush():
            await self._wait_for_room()
        elif upload.has_more:
            await upload.refill()

    async def _wait_for_room(self) -> None:
        timeouts = self._request.timeouts
        # After a complete response nothing more is taken, so to wait for it would be in vain.
        is_listening = not self._engine.is_complete
        if not await self._stream.wait(is_listening, True, timeouts.deadline(timeouts.write)):
            raise self._late(WriteTimeout, "No room for more of the request", timeouts.write)

    # The body.

    async def _begin_body(self, upload: Upload) -> None:
        """The head is here; if that is all, and all is sent, the exchange is over."""
        if upload.is_running:
            return
        if not self._engine.is_complete:
            self._is_plain = self._request.trace is None
            return
        self._finish()
        if self._request.trace is not None:
            await self._after_completion()

    @property
    def trailers(self) -> Headers:
        return [] if self._trailers is None else self._trailers

    def try_receive(self, may_block: bool = False) -> bytes | None:
        if self.stage is not OPEN:
            return b"" if self.stage is COMPLETE else self._after_the_end()
        if self._is_awaited or not self._is_plain or self._served >= FAIRNESS:
            return None
        engine = self._engine
        try:
            self._is_awaited = True
            if self.stage is not OPEN:
                # Closed by another thread in this very moment.
                return self._after_the_end()
            data = engine.next_data()
            if data is None:
                data = self._try_next(may_block)
            if data is not None:
                self._served += 1
                if engine.is_complete:
                    self._finish()
        except BaseException as exc:
            self.fail(exc)
            # Also where another thread has closed it meanwhile, so that there is nothing left to fail.
            self._describe(exc, is_sent=True)
            raise
        finally:
            self._is_awaited = False
        return data

    async def _receive(self) -> bytes:
        engine = self._engine
        upload = self._upload
        self._served += 1
        if self._served >= FAIRNESS:
            self._served = 0
            await self._connection.checkpoint()
        while (data := None if engine.is_complete else engine.next_data()) is None:
            if upload is not None and upload.is_running:
                await self._advance(upload)
                # After the response the peer may send for ever: that is not ours to keep.
                if not engine.is_complete:
                    self._take()
            elif engine.is_complete:
                data = b""
                break
            # After a full piece look first; after a short one nothing more is here, so wait first.
            elif self._last_size < self._connection.full_size or not self._take():
                limit = self._request.timeouts.read
                if not await self._stream.wait(True, False, self._request.timeouts.deadline(limit)):
                    raise self._late(ReadTimeout, "No more of the response", limit)
                self._take()
        if upload is None or not upload.is_running:
            if engine.is_complete:
                self._finish()
            else:
                # All that was here is taken, so that a loop's next piece is waited for, but after a full one.
                may_come = (
                    self._last_size >= self._connection.full_size or self._connection.receive is not None
                )
                self._is_plain = may_come and self._request.trace is None
        return data

    def _try_next(self, may_block: bool) -> bytes | None:
        """The next piece of what has arrived, or arrives while a thread waits that may."""
        # After a full piece look first; after a short one nothing more is here, so wait first.
        connection = self._connection
        data = self._stream.try_receive(RECEIVE_SIZE) if self._last_size >= connection.full_size else None
        receive = connection.receive
        if data is None and may_block and receive is not None:
            timeouts = self._request.timeouts
            deadline = timeouts.deadline(timeouts.read)
            data = receive(RECEIVE_SIZE, deadline)
            if data is None and deadline is not None and deadline <= monotonic():
                raise self._late(ReadTimeout, "No more of the response", timeouts.read)
        data = self._noted(data)
        return None if data is None else self._engine.pass_data(data)

    def _take(self) -> bool:
        data = self._noted(self._stream.try_receive(RECEIVE_SIZE))
        if data is None:
            return False
        self._engine.feed(data)
        return True

    def _noted(self, data: bytes | None) -> bytes | None:
        """What was received of the body: its size says whether the next look comes before a wait."""
        if data == b"":
            self._check_end()
        # One look in vain is enough: the next one waits first.
        self._last_size = len(data) if data else 0
        return data

    # The end, in one of three ways. None of them waits.

    def _finish(self) -> None:
        """Both halves are complete."""
        self._is_finishing = True
        if self.stage is OPEN:
            self._release()
            # Last: an exchange that is interrupted before it let go of its claim is open, and will fail.
            self.stage = COMPLETE
        else:
            # Another thread has closed the response, and left the rest to us.
            self._drop()

    def _release(self) -> None:
        connection = self._connection
        engine = self._engine
        if engine.trailers:
            self._trailers = engine.trailers
        connection.is_busy = False
        upload = self._upload
        # Nobody has looked at what came behind the response where an upload went on meanwhile; and a loop
        # that told of it before the response was read tells of it no more.
        is_ready = connection.is_ready() if connection.is_watched or upload is not None else True
        if engine.can_reuse and is_ready and (upload is None or not upload.is_torn):
            self._claim.release()
        else:
            connection.close()
            self._claim.discard()

    def fail(self, exc: BaseException) -> None:
        """Nothing more can come of it: close the stream first, then give up the claim."""
        if self.stage is not OPEN:
            return
        is_sent = self._is_sent or (self._upload is not None and self._upload.is_sent)
        self._describe(exc, is_sent=is_sent)
        if (
            isinstance(exc, (ReadError, WriteError, RemoteProtocolError))
            and not self._engine.response_started
        ):
            self._claim.fate = Fate.UNANSWERED if is_sent else Fate.UNSENT
        self._drop()
        # Last: if this is interrupted, the collector will find the exchange open, and drop it again.
        self.stage = Stage.FAILED

    def _drop(self, *, foreign: bool = False) -> None:
        if self._upload is not None:
            self._upload.stop()
        self._connection.close()
        self._claim.discard(foreign=foreign)

    async def close(self) -> None:
        """End the exchange where it is; a small rest of the body that is here already is thrown away."""
        if self.stage is not OPEN or not self._closing.acquire(blocking=False):
            return
        try:
            # Another task or thread may be reading. It says that it is, or that it came to the end, before it
            # looks at the stage, and here the stage is set before either is looked at: one of the two sees
            # the other. So nothing is read twice, and no connection closed that may serve others already.
            self.stage = Stage.CLOSED
            if self._is_finishing:
                return
            if not self._is_awaited and self._drain():
                self._release()
            else:
                self._drop()
        except BaseException as exc:
            # Interrupted: who closed it will not come again.
            self.stage = OPEN
            self.fail(exc)
            raise
        await self._after_completion()

    def _drain(self) -> bool:
        engine = self._engine
        if engine.is_raw or (self._upload is not None and self._upload.is_running):
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
