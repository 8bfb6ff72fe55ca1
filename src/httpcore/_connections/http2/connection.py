"""HTTP/2 on one stream: any number of exchanges at once.

Theory of operation. Engine, encryption and out-queue are one thing under one lock: encoding a request's head
and queueing it is a single step, so that nothing can come between a header block and its place in the
compression context (RFC 7541 §2.2), whoever is cancelled or interrupted. What is queued leaves in order; what
the kernel does not take waits in `_unsent`. The sends are under the lock too, since records must leave in the
order in which they were encrypted; they never wait.

Reading. Where the loop pushes what arrives (asyncio), it is fed to the engine as it comes, and nobody waits
for the stream at all. Elsewhere (threads, trio) one of the exchanges that wait is the *reader*: it waits for
the stream, feeds whatever comes, wakes those whom it concerns, and hands the reading over when it leaves,
however it leaves. In both cases an exchange sleeps until there is news for its `Lane`.

Giving up never blocks: it is posted, and done at once if the lock is free. Whoever lets go of the lock looks
at the post again. A finaliser may come from another thread than the loop's, so the loop does what it posts.

Invariants: the engine's table of streams and the kernel's bytes are only touched under the lock; there is one
reader at most, and if an exchange waits where nothing is pushed, there is one. A connection does not refer to
its exchanges, only to their lanes, so that an abandoned response is found by the collector.

The file is long because it is all that is done under the one lock, and a class between would be one more call
for each request. What has a state of its own stands beside it: `lanes`, `turns`, `alarm`, `silence`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from threading import Lock
from time import monotonic
from typing import TypeVar

from ..._backends.base import FULL_SIZE, RECEIVE_SIZE, Backend, Parker, Stream, say_goodbye
from ..._exceptions import ConnectError, LocalProtocolError, ReadError, ReadTimeout, WriteError, shed_frames
from ..._forks import mind_forks
from ..._protocols import http2
from ..._types import Buffer
from ..base import NOBODY, Claim, Keeper, Response
from ..requests import Request
from .alarm import Alarm
from .exchange import HTTP2Exchange
from .lanes import Lane
from .silence import Silence, Verdict
from .turns import Role, Turns

T = TypeVar("T")

TURN_SIZE = 128 * 1024
"""Bytes fed in one turn of a loop, before those who take them have theirs: else they pile up."""

CONGESTION = 256 * 1024
"""Bytes that may be queued before nothing more is added but what the protocol demands."""

PING = b"hello..."
"""Eight bytes; any answer is one, so they say nothing."""

RETIRED, GONE = -1, -2
"""Standings of a connection that finishes what it carries, and of one that carries nothing any more."""

LOOK_AGAIN = 0.1
"""Seconds after which a thread that waits to send, while another one reads, looks whether it was answered."""


class HTTP2Connection:
    """One stream, and the exchanges that share it."""

    __slots__ = (
        "__weakref__",
        "_alarm",
        "_backend",
        "_cancel_ping",
        "_congested",
        "_dirty",
        "_is_closed",
        "_is_cut",
        "_is_flush_due",
        "_is_pushed",
        "_is_retired",
        "_is_suspect",
        "_is_turn_due",
        "_known_standing",
        "_lock",
        "_mail",
        "_silence",
        "_stream",
        "_turns",
        "_unsent",
        "_woken",
        "_write_error",
        "engine",
        "keeper",
        "lanes",
        "owes_settings_event",
        "peer",
        "sent_count",
    )

    def __init__(
        self,
        stream: Stream,
        *,
        peer: str,
        backend: Backend,
        ping_interval: float | None = None,
        ping_timeout: float | None = None,
    ) -> None:
        self.peer = peer
        self.keeper: Keeper = NOBODY
        # The lanes of all exchanges whose answers are neither read out nor closed.
        self.lanes: set[Lane] = set()
        self._alarm = Alarm(backend, self.lanes)
        self.sent_count = 0
        # Some trace was told that SETTINGS are awaited, and none yet that they came.
        self.owes_settings_event = False
        self._stream = stream
        self._backend = backend
        # For others to look at only.
        self.engine = http2.Engine()
        self._lock = Lock()
        self._mail: deque[tuple[Callable[..., object], tuple[object, ...]]] = deque()
        self._unsent: Buffer = b""
        self._is_flush_due = False
        # The last turn of the loop left something.
        self._is_turn_due = False
        self._write_error: WriteError | None = None
        # An operation under the lock was cut short.
        self._dirty = False
        self._is_cut = False
        self._is_closed = False
        # What the keeper was told last.
        self._known_standing = self.engine.capacity
        self._is_retired = False
        # Nothing came while an exchange waited, and nothing has come since.
        self._is_suspect = False
        # Who waits, and who of them reads for all.
        self._is_pushed = False
        self._turns = Turns()
        self._congested: dict[Lane, None] = {}
        self._woken: list[Parker] = []
        self._silence = None if ping_interval is None else Silence(ping_interval, ping_timeout)
        self._cancel_ping: Callable[[], None] | None = None
        mind_forks(self)

    # What the pool asks.

    def start(self) -> None:
        """Send the preface, and have the loop feed what arrives, if there is one that does."""
        self._locked(self._flush)
        self._is_pushed = self._stream.watch(self._take_turn)
        if self._is_pushed:
            # What came with the end of the handshake was not announced.
            self._take_turn()

    @property
    def capacity(self) -> int:
        return max(self._standing, 0)

    @property
    def _standing(self) -> int:
        """How many exchanges fit at once; below zero: none any more."""
        engine = self.engine
        if engine.failure is not None:
            return GONE
        if not engine.is_usable or self._is_retired or self._write_error is not None:
            return RETIRED
        return 0 if self._is_suspect and not self._is_unread else engine.capacity

    @property
    def _is_unread(self) -> bool:
        """Whether nobody would notice if something came, so that whoever wants to use it has to look."""
        return not self._is_pushed and self._turns.reader is None

    @property
    def is_gone(self) -> bool:
        return self._standing == GONE

    @property
    def failure(self) -> Exception | None:
        """Why nothing can be sent any more."""
        engine = self.engine
        if engine.failure is None and self._write_error is not None and not engine.has_settings:
            return self._never_begun(self._write_error)
        return engine.failure or self._write_error

    @property
    def has_died(self) -> bool:
        """Whether the connection was cut off, and not ended for anything that either side did."""
        return self._is_cut and not self.engine.goaway_code

    def is_ready(self) -> bool:
        if self._is_unread:
            # The peer may have closed, or said that it is about to.
            self._look()
            if self._is_suspect:
                return False
        return self._standing >= 0

    def has_news(self) -> bool:
        return self._is_pushed and not self.lanes and self._stream.has_news()

    def exchange(self, request: Request, claim: Claim) -> Coroutine[object, object, Response]:
        """Send `request`, and return its response as soon as the head is here."""
        return HTTP2Exchange(self, request, claim).run()

    def close(self) -> None:
        """Say goodbye in one attempt that does not wait (RFC 9113 §6.8), and fail what still runs."""
        self._post(self._part)

    def describe(self) -> str:
        count = len(self.lanes)
        return f"HTTP/2, {'ACTIVE' if count else 'IDLE'}, {count} streams"

    # What an exchange asks.

    async def checkpoint(self) -> None:
        await self._backend.checkpoint()

    def open(
        self, lane: Lane, fields: http2.RequestFields, target: bytes, *, content: bytes | None, ends: bool
    ) -> tuple[int, int]:
        """Queue a request's head, and as much as may go of a body that is here whole.

        Returns how much of the body was taken, and the mark that `sent_count` passes when the first byte of
        the head has left. `None` for `content` leaves the body for later, unless it `ends` here.
        """
        self.lanes.add(lane)
        try:
            with self._lock: opened = self._open(lane, fields, target, content, ends)  # fmt: skip  # noqa: E701
        except WriteError:
            # It may have ended before it had a keeper, who then hears of it now.
            self._settle()
            raise
        if self._mail or self._woken or self._write_error is not None or not self.engine.is_usable:
            self._settle()
        return opened

    def _open(
        self, lane: Lane, fields: http2.RequestFields, target: bytes, content: bytes | None, ends: bool
    ) -> tuple[int, int]:
        """What `_carry_out` would carry out, without the call for each request."""
        if self._dirty or self._mail:
            self._catch_up()
        engine = self.engine
        if (
            len(engine.streams) >= engine.capacity
            or self._is_retired
            or self._is_suspect
            or self._write_error is not None
        ):
            raise WriteError(f"The connection to {self.peer} takes no more requests.")
        mark = self.sent_count + len(self._unsent) + engine.output.size
        self._dirty = True
        try:
            engine.open_stream(fields, target, ends=ends, stream=lane)
        except LocalProtocolError:
            self._dirty = False
            raise
        taken = 0
        if content is not None:
            taken = engine.send_data(lane, content, ends=True)
        if self._silence is not None and len(engine.streams) == 1:
            self._silence.hear(monotonic())
            self._watch_silence()
        if not self._is_flush_due:
            self._send_soon()
        self._dirty = False
        return taken, mark

    def send_data(self, lane: Lane, data: Buffer, *, ends: bool) -> int:
        """Queue what may go of `data`; if none may, there will be news when some may."""
        taken = self._locked(self._send_data, lane, data, ends)
        self._settle()
        return taken

    def _send_data(self, lane: Lane, data: Buffer, ends: bool) -> int:
        if self.is_congested:
            self._congested[lane] = None
            return 0
        taken = self.engine.send_data(lane, data, ends=ends)
        self._send_soon()
        if self.is_congested:
            self._flush()
        return taken

    @property
    def is_congested(self) -> bool:
        """Whether the peer is too slow for more to be queued."""
        return len(self._unsent) + self.engine.output.size > CONGESTION

    def note_congestion(self, lane: Lane) -> None:
        """Have `lane` told when the queue is empty."""
        # Among the lanes, since the alarm looks at the deadlines of these.
        self.lanes.add(lane)
        self._congested[lane] = None

    def consume(self, lane: Lane, size: int) -> None:
        """The caller took `size` bytes: let the peer send as many."""
        self._post(self._consume, lane, size)

    def _consume(self, lane: Lane, size: int) -> None:
        self.engine.consume(lane, size)
        self._send_soon()

    def finish(self, lane: Lane) -> None:
        """An exchange is complete both ways: the engine knows its stream no more, nor does, for nearly all,
        any list that needs the lock."""
        if lane in self._congested:
            self.leave(lane)
        else:
            self.lanes.discard(lane)

    def leave(self, lane: Lane, *, foreign: bool = False) -> None:
        """An exchange is over: its stream, if it is still open, is reset."""
        self._post(self._leave, lane, foreign=foreign)

    def _leave(self, lane: Lane) -> None:
        self._let_go(lane)
        self._stand_down(lane)

    def take_away(self, lane: Lane) -> None:
        """An exchange is closed while another task or thread waits for more of it, and has to hear of it."""
        self._post(self._take_away, lane)

    def _take_away(self, lane: Lane) -> None:
        self._let_go(lane)
        lane.is_over = True
        self._tell([lane])
        is_in_kernel = lane.parker is None and self._turns.reader is lane and not self._stream.nudge()
        if is_in_kernel and not self.lanes:
            # In there only the end of the connection is heard, and nobody else needs this one.
            self._part()

    def _let_go(self, lane: Lane) -> None:
        self.lanes.discard(lane)
        self._congested.pop(lane, None)
        self.engine.reset(lane)
        self._send_soon()

    def suspect(self) -> None:
        """Nothing at all arrived while an exchange waited: no new requests until something does."""
        self._is_suspect = True
        self._settle()

    def retire(self) -> None:
        """Take no new exchange."""
        self._is_retired = True
        self._settle()

    # Waiting.

    def wait(self, lane: Lane, deadline: float | None) -> Awaitable[bool]:
        """Sleep until there is news for `lane`, or for no reason; `False` when `deadline` has passed."""
        if not self._is_pushed:
            return self._wait_by_turns(lane, deadline)
        parker = lane.parker = self._backend.create_parker()
        lane.deadline = deadline
        if lane.has_news:
            parker.unpark()
        elif deadline is not None and deadline < self._alarm.due and not self._alarm.set(deadline):
            return parker.park(deadline)
        return parker.park(None)

    async def _wait_by_turns(self, lane: Lane, deadline: float | None) -> bool:
        try:
            while not lane.has_news:
                if not await self._wait_in_turn(lane, deadline):
                    return lane.has_news
            return True
        finally:
            self._locked(self._stand_down, lane)
            self._settle()

    async def _wait_in_turn(self, lane: Lane, deadline: float | None) -> bool:
        """Read for all, or sleep while another exchange does; `False` when `deadline` has passed."""
        role = self._locked(self._take_role, lane)
        if self._mail:
            # Another thread found the lock taken, and what it posted must not wait until this one wakes.
            self._settle()
        if role is Role.READER:
            return await self._read(deadline)
        if role is Role.NONE:
            return True
        if role is Role.WRITER:
            return await self._wait_to_send(deadline)
        assert lane.parker is not None
        return await lane.parker.park(deadline)

    def _take_role(self, lane: Lane) -> Role:
        if lane.has_news:
            # From another thread, after this one had looked and before it had the lock. There may be no more.
            return Role.NONE
        if self._turns.try_read(lane):
            return Role.READER
        if self._is_behind and not self._stream.nudge():
            return Role.WRITER
        self._turns.sleep(lane, self._backend.create_parker())
        return Role.SLEEPER

    def _stand_down(self, lane: Lane) -> None:
        """Wait no longer, and leave the reading to another one of those who do."""
        parker = self._turns.leave(lane)
        if parker is not None:
            self._woken.append(parker)

    async def _read(self, deadline: float | None) -> bool:
        """Wait for the stream once, for all."""
        limit = deadline
        if self._silence is not None:
            silence_ends = self._locked(self._check_silence)
            if self._mail:
                self._settle()
            if silence_ends is not None and (limit is None or silence_ends < limit):
                limit = silence_ends
        try:
            if self._unsent:
                has_moved = await self._stream.wait(True, True, limit)
            else:
                has_moved = await self._stream.listen(limit)
        except ReadError as exc:
            self._locked(self._break, exc)
            has_moved = True
        if has_moved:
            self._take_turn()
            return True
        self._settle()
        return deadline is None or monotonic() < deadline

    async def _wait_to_send(self, deadline: float | None) -> bool:
        """Wait for the other direction: the reader is inside the kernel, where it hears of nothing else."""
        look_at = monotonic() + LOOK_AGAIN
        if deadline is not None and deadline < look_at:
            look_at = deadline
        await self._stream.wait(False, True, look_at)
        self._send_due()
        return deadline is None or monotonic() < deadline

    # Reading.

    def _take_turn(self) -> None:
        """Take what has arrived, send what can be sent, and tell whom it concerns."""
        self._locked(self._pump)
        self._settle()

    def _take_next_turn(self) -> None:
        self._is_turn_due = False
        self._take_turn()

    def _look(self) -> None:
        """Take what has arrived since somebody read."""
        self._locked(self._pump_unless_read)
        self._settle()

    def _pump_unless_read(self) -> None:
        if self._turns.reader is None:
            self._pump()

    def _pump(self) -> None:
        engine = self.engine
        stream = self._stream
        size = 0
        try:
            while (data := stream.try_receive(RECEIVE_SIZE)) is not None:
                if not data:
                    self._is_cut = True
                    if not engine.has_settings or self._write_error is not None:
                        self._break(self._write_error)
                        break
                self._tell(engine.feed(data))
                self._is_suspect = False
                if self._silence is not None:
                    self._silence.hear(monotonic())
                # Where the kernel is asked, a short piece was the last one.
                is_last = len(data) < FULL_SIZE and not self._is_pushed
                if is_last or not data or engine.failure is not None:
                    break
                size += len(data)
                if size >= TURN_SIZE and self._is_pushed:
                    # The loop may have delivered all of it, and will not call again for what it has.
                    self._is_turn_due = self._is_turn_due or stream.call_soon(self._take_next_turn)
                    if self._is_turn_due:
                        break
        except ReadError as exc:
            self._break(exc)
        if engine.failure is not None:
            self._flush()
            self._shut()
        elif self._unsent:
            self._flush()
        else:
            self._send_soon()

    def _tell(self, streams: Iterable[http2.Stream]) -> None:
        # A task comes when the loop does; a thread comes at once, and would find the lock taken.
        wakes_now = self._is_pushed
        for lane in streams:
            assert isinstance(lane, Lane)
            lane.has_news = True
            parker = lane.parker
            if parker is None:
                continue
            if wakes_now:
                parker.unpark()
            else:
                self._woken.append(parker)

    def _break(self, exc: ReadError | WriteError | None) -> None:
        """The stream broke, or ended. What the peer said before it did has been heard."""
        self._is_cut = True
        failure: Exception | None = self._write_error or exc
        if exc is not None:
            shed_frames(exc)
        if not self.engine.has_settings:
            failure = self._never_begun(failure)
        if failure is not None:
            self._fail(failure)

    def _never_begun(self, cause: Exception | None) -> ConnectError:
        """Nobody has spoken HTTP/2 with us: there never was a connection (RFC 9113 §3.4)."""
        error = ConnectError(f"{self.peer} ended the connection before it sent its SETTINGS.")
        error.__cause__ = cause
        return error

    def _fail(self, exc: Exception) -> None:
        self._tell(self.engine.fail(exc))
        self._shut()

    def _part(self) -> None:
        if not self._is_closed:
            self.engine.close()
            self._flush()
            self._fail(ReadError(f"The connection to {self.peer} was closed while it was being used."))

    def forget_parent(self) -> None:
        """In a forked child: nobody sleeps here, whoever holds the lock is not here, nothing is said."""
        self._lock = Lock()
        self._mail.clear()
        self._turns = Turns()
        for lane in self.lanes:
            lane.parker = None
        self._is_closed = True
        self.engine.fail(ReadError(f"The connection to {self.peer} belongs to the parent of this process."))

    def _shut(self) -> None:
        if not self._is_closed:
            say_goodbye(self._stream)
            self._alarm.cancel()
            self._is_closed = True

    # Sending.

    def _send_soon(self) -> None:
        """Send at the end of this turn of the loop, with what others queue until then, or at once."""
        engine = self.engine
        if self._is_flush_due or not engine.output.size:
            return
        # Alone, there is nobody to wait for.
        if len(engine.streams) > 1 and self._stream.call_soon(self._send_due):
            self._is_flush_due = True
        else:
            self._flush()

    def _send_due(self) -> None:
        self._locked(self._flush)
        self._settle()

    @property
    def _is_behind(self) -> bool:
        """Whether something has yet to leave that was to leave: of ours, or of what TLS has made of it."""
        return bool(self._unsent) or self._stream.get_extra_info("has_output") is True

    def _flush(self) -> None:
        """Send what is queued, as far as it goes."""
        self._is_flush_due = False
        engine = self.engine
        stream = self._stream
        try:
            if not self._unsent and not engine.output.size and self._is_behind:
                # What TLS has kept leaves with whatever it is given.
                stream.try_send(b"")
            while self._unsent or engine.output.size:
                data = self._unsent or engine.take_output()
                sent = stream.try_send(data)
                self.sent_count += sent
                self._unsent = b"" if sent == len(data) else memoryview(data)[sent:]
                if not sent:
                    break
            if self._turns.reader is not None and self._is_behind:
                # Who reads for all may have begun to wait when there was nothing to send: now it is for both.
                stream.nudge()
            if self._unsent:
                return
        except WriteError as exc:
            # Whoever reads hears what the peer said before, and then of the end.
            self._unsent = b""
            shed_frames(exc)
            self._write_error = exc
            engine.take_output()
        if self._congested:
            self._tell(self._congested)
            self._congested.clear()

    # Silence.

    def _watch_silence(self) -> None:
        """Where the loop pushes, it also has to say when nothing came."""
        if not self._is_pushed or self._cancel_ping is not None:
            return
        when = self._check_silence()
        if when is not None:
            self._cancel_ping = self._backend.call_at(when, self._break_silence)

    def _break_silence(self) -> None:
        self._cancel_ping = None
        self._locked(self._watch_silence)
        self._settle()

    def _check_silence(self) -> float | None:
        """Send a PING if it is time, give the peer up if it is past; return when to look again."""
        silence = self._silence
        if silence is None or not self.engine.streams:
            return None
        verdict, when = silence.look(monotonic())
        if verdict is Verdict.DEAD:
            self._fail(ReadTimeout(f"{self.peer} did not answer a PING within {silence.timeout} s."))
            return None
        if verdict is Verdict.ASK:
            self.engine.ping(PING)
            self._flush()
        return when

    # The lock, the post, and what follows from them.

    def _post(self, operation: Callable[..., object], *arguments: object, foreign: bool = False) -> None:
        """Carry out an operation, now or as soon as the lock is free; from a finaliser, in the loop."""
        self._mail.append((operation, arguments))
        if not foreign or not self._stream.call_soon(self._empty_post, foreign=True):
            self._empty_post()

    def _empty_post(self) -> None:
        if self._mail and not self._lock.locked():
            self._locked(_do_nothing)
        self._settle()

    def _locked(self, operation: Callable[..., T], *arguments: object) -> T:
        # On one line: see the pool's, which explains it.
        with self._lock: return self._carry_out(operation, *arguments)  # fmt: skip  # noqa: E701

    def _carry_out(self, operation: Callable[..., T], *arguments: object) -> T:
        if self._dirty or self._mail:
            self._catch_up()
        self._dirty = True
        try:
            result = operation(*arguments)
        except (LocalProtocolError, WriteError):
            # Found out before anything was touched.
            self._dirty = False
            raise
        self._dirty = False
        return result

    def _catch_up(self) -> None:
        """Carry out what was posted."""
        if self._dirty:
            # An exception out of nowhere struck inside the engine: nobody knows what was on its way.
            self._write_error = WriteError(f"Sending to {self.peer} was interrupted.")
            self._fail(self._write_error)
        self._dirty = True
        mail = self._mail
        while mail:
            posted, subjects = mail[0]
            posted(*subjects)
            mail.popleft()
        self._dirty = False

    def _settle(self) -> None:
        """Empty the post, wake whom there is news for, tell the keeper what changed."""
        while self._mail and not self._lock.locked():
            self._locked(_do_nothing)
        woken = self._woken
        while woken:
            _wake_first(woken)
        if self._standing != self._known_standing:
            self._tell_keeper()

    def _tell_keeper(self) -> None:
        keeper = self.keeper
        if keeper is NOBODY:
            return
        while True:
            # Marked first, since the keeper may close the connection; what an interruption loses here is
            # found out by `is_ready`.
            standing = self._known_standing = self._standing
            if standing == GONE:
                keeper.gone()
            elif standing == RETIRED:
                keeper.retired()
            else:
                keeper.resized(standing)
            # Another thread may have changed it meanwhile, and told so before this one told what was.
            if standing == self._standing == self._known_standing:
                return


def _wake_first(woken: list[Parker]) -> None:
    """Wake first and cross off second, so that an interruption loses nobody."""
    try:
        parker = woken[0]
    except IndexError:
        return
    parker.unpark()
    try:
        woken.remove(parker)
    except ValueError:
        pass


def _do_nothing() -> None:
    pass
