"""What a concurrency library has to offer.

A backend is small on purpose: a stream with few verbs, a way to park and be woken, and the handful of
primitives that connecting needs. Everything that follows from these (dialling, TLS, HTTP, pooling) is
written once, above.

Of all these verbs only coroutines wait, and `Stream.wait` is where an exchange is suspended, cancelled or
timed out. So bytes that went out are always counted, and cleaning up never waits.
"""

from __future__ import annotations

import socket
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Protocol, TypeVar, cast, runtime_checkable

from .._types import Buffer, SocketOption

T = TypeVar("T")

FULL_SIZE = 64 * 1024
"""Bytes of a piece after which more is likely to be here."""

LARGE_SIZE = 24 * 1024
"""The same on a loop, where to wait in vain costs two turns of it, and to look in vain a tenth of that."""

RECEIVE_SIZE = 4 * (16 * 1024 + 22)
"""Bytes that a stream is asked for at once: `FULL_SIZE` as TLS 1.3 carries it, in four full records. For much
larger pieces the allocator uses fresh pages each time."""

CLOSED_TO_READER = "The connection was closed while it was being read."
CLOSED_TO_WRITER = "The connection was closed while it was being written to."
"""What they are told of a stream that somebody aborted."""


class Stream(Protocol):
    """A connected, ordered byte stream. Raises `ReadError` and `WriteError`, nothing else."""

    def try_send(self, data: Buffer) -> int:
        """Send what fits now; return how many bytes went, 0 if none can before `wait` for writable."""

    def try_receive(self, limit: int) -> bytes | None:
        """Return up to `limit` bytes that are here, `None` if there are none now, `b""` at the end.

        A connection that broke has no end: what came before is received, and then each call raises.
        """

    def wait(self, readable: bool, writable: bool, deadline: float | None) -> Coroutine[object, object, bool]:
        """Suspend until a direction asked for may make progress; `False` when `deadline` passed first.

        `deadline` is a `time.monotonic()` value. Waking without cause is allowed: callers try again. End of
        stream and errors count as readable and writable. One may wait for each direction at a time.
        """

    def listen(self, deadline: float | None) -> Coroutine[object, object, bool]:
        """`wait` until something may be received, for a reader who must not lose it.

        `wait` may receive ahead, and if it is interrupted just then, what it had is gone. That is fine where
        an interrupted exchange ends its connection, and not where others go on with it.
        """

    def abort(self) -> None:
        """Close at once, from any thread, a finaliser too; idempotent. Who waits is woken with an error."""

    def watch(self, callback: Callable[[], None] | None) -> bool:
        """Have `callback` called whenever something arrives (bytes, end, error), or can be sent again, while
        nobody waits for it. `None` ends it.

        Only a loop can do this: where there is none, `False` is returned and nothing is ever called.
        """

    def call_soon(self, callback: Callable[[], None], *, foreign: bool = False) -> bool:
        """Have the loop call back once, at the end of its turn; `False` where there is no loop to do it.

        `foreign` says that the call may come from another thread, a finaliser or a signal handler.
        """

    def nudge(self) -> bool:
        """Wake whoever waits, without cause, to look again; `False` where that cannot be done.

        Called where the loop runs. It is lost if nobody waits.
        """

    def is_quiet(self) -> bool:
        """Whether nothing is here to be received, not even the end: the cheapest look there is.

        Asked while nobody waits. `False` says only that `try_receive` is worth a call.
        """

    def has_news(self) -> bool:
        """Whether something has arrived that the loop has not delivered yet, so that `try_receive` misses it.

        A loop that was kept busy for long knows nothing of what happened meanwhile.
        """

    def get_extra_info(self, name: str) -> object:
        """`socket`, `client_addr`, `server_addr`, `ssl_object`; `None` where there is no such thing."""


Receive = Callable[[int, float | None], "bytes | None"]


class BlockingStream(Stream, Protocol):
    """A stream whose waits hold up the thread and suspend nothing: no coroutine is needed for them."""

    blocks: bool
    """Whether it is one; a stream over another is what that one is."""

    def receive(self, limit: int, deadline: float | None) -> bytes | None:
        """`try_receive`, which waits until `deadline` for something to come.

        `None` says that nothing came, or that there is more than that to wait for, so that `wait` has to.
        """


def find_receive(stream: Stream) -> Receive | None:
    """The verb of a stream that blocks."""
    return cast(BlockingStream, stream).receive if getattr(stream, "blocks", False) else None


def say_goodbye(stream: Stream) -> None:
    """Close a stream; one that has a `close` besides `abort`, as TLS has, says goodbye in one attempt."""
    close = getattr(stream, "close", stream.abort)
    close()


class Parker(Protocol):
    """One sleep and one wake-up, in any order."""

    def park(self, deadline: float | None) -> Awaitable[bool]:
        """Suspend until `unpark`, which may have come already; `False` when `deadline` passed first."""

    def unpark(self, *, foreign: bool = False) -> None:
        """Wake the sleeper; again and afterwards without effect.

        Works from any thread. `foreign` says that the call may come from a finaliser or a signal handler,
        so that not even the sleeper's own loop may be trusted to look around by itself.
        """


class Backend(Protocol):
    """One concurrency library."""

    def current_loop(self) -> object:
        """The identity of the running loop; connections are not shared between loops. Sync: `None`."""

    def create_parker(self) -> Parker: ...

    async def sleep(self, seconds: float) -> None: ...

    async def checkpoint(self) -> None:
        """Let others run (and a cancellation in), without waiting for anything."""

    async def wait_writable(
        self, sockets: Sequence[socket.socket], deadline: float | None
    ) -> Sequence[socket.socket]:
        """Wait until some of these connecting sockets are writable; empty when `deadline` passed first."""

    async def adopt(self, sock: socket.socket) -> Stream:
        """Make a stream of a connected, non-blocking socket; the socket is the stream's from then on."""

    async def within(self, awaitable: Awaitable[T], deadline: float | None) -> T:
        """Await foreign code; `TimeoutError` when `deadline` passed first, and then it is cancelled."""

    def call_at(self, when: float, callback: Callable[[], None]) -> Callable[[], None] | None:
        """Have the running loop call back at `when`; returns what cancels it, `None` without a loop."""


@runtime_checkable
class Connecting(Protocol):
    """What a backend has besides that makes its connections itself, of sockets or of anything else.

    No name is looked up for it, and no socket opened; `wait_writable` and `adopt` are not asked for.
    """

    async def connect(
        self,
        host: str,
        port: int,
        *,
        uds: str | bytes | None,
        local_address: str | None,
        socket_options: Sequence[SocketOption],
        deadline: float | None,
    ) -> Stream:
        """A stream to the peer. Raises `ConnectError`; `ConnectTimeout` when `deadline` passed first."""
