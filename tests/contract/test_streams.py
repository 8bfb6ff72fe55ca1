"""What each sentence on `Stream` promises, on every backend, and over TLS."""

from __future__ import annotations

import gc
import hashlib
import socket
import threading
from collections.abc import Callable, Coroutine
from time import monotonic

import anyio
import pytest

from httpcore import ReadError, WriteError
from httpcore._backends.auto import load
from httpcore._backends.base import Backend, Stream
from httpcore._types import Buffer

from ..colours import TIMEOUT, Colour
from ..stopwatch import Stopwatch
from .conftest import Wire
from .wires import Peer, backend_of, connected, fill, join, receive, receive_until_error

pytestmark = pytest.mark.usefixtures("nothing_left")

SOON = 0.02
"""Seconds after which a wait for what does not come is over."""


def in_a_thread(function: Callable[[], object]) -> threading.Thread:
    thread = threading.Thread(target=function)
    thread.start()
    return thread


# Sending.


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_each_byte_that_is_counted_arrives(wire: Wire, kind: Callable[[bytes], Buffer]) -> None:
    data = bytes(range(251)) * 20_000
    received: list[bytes] = []

    async def body(stream: Stream, peer: Peer, backend: Backend) -> None:
        reader = in_a_thread(lambda: received.append(peer.receive(len(data))))
        sent = 0
        while sent < len(data):
            size = stream.try_send(kind(data[sent : sent + 700_001]))
            assert 0 <= size <= 700_001
            sent += size
            if not size:
                assert await stream.wait(False, True, monotonic() + TIMEOUT)
        # What TLS has taken leaves with whichever verb comes next.
        while reader.is_alive():
            assert stream.try_receive(1) is None
            await stream.wait(True, False, monotonic() + SOON)
        reader.join()

    wire.run(body)
    assert hashlib.sha256(received[0]).digest() == hashlib.sha256(data).digest()


def test_a_full_stream_takes_nothing_until_there_is_room(wire: Wire) -> None:
    async def body(stream: Stream, peer: Peer, backend: Backend) -> None:
        total = await fill(stream)
        assert total > 0
        assert stream.try_send(b"x") == 0
        deadline = monotonic() + SOON
        assert not await stream.wait(False, True, deadline)
        assert monotonic() >= deadline
        received: list[bytes] = []
        reader = in_a_thread(lambda: received.append(peer.receive(total)))
        while not stream.try_send(b"x"):
            assert await stream.wait(False, True, monotonic() + TIMEOUT)
        while reader.is_alive():
            assert stream.try_receive(1) is None
            await stream.wait(True, False, monotonic() + SOON)
        assert received[0] == (bytes(range(256)) * (total // 256 + 1))[:total]

    wire.run(body)


def test_nothing_is_sent_of_nothing(wire: Wire) -> None:
    async def body(stream: Stream, peer: Peer, backend: Backend) -> None:
        assert stream.try_send(b"") == 0
        assert stream.try_send(b"x") == 1
        assert peer.receive(1) == b"x"

    wire.run(body)


async def send_until_error(stream: Stream) -> None:
    deadline = monotonic() + TIMEOUT
    with pytest.raises(WriteError):
        while monotonic() < deadline:
            stream.try_send(b"x" * 1000)
            assert await stream.wait(False, True, deadline)
            # Let a loop run.
            await stream.wait(True, False, monotonic() + 0.001)


def test_sending_to_a_peer_that_has_reset_fails(wire: Wire) -> None:
    async def body(stream: Stream, peer: Peer, backend: Backend) -> None:
        peer.reset()
        await send_until_error(stream)
        with pytest.raises(WriteError):
            stream.try_send(b"x")

    wire.run(body)


# Receiving.


def test_what_arrives_is_received_once_and_in_order(wire: Wire) -> None:
    data = bytes(range(251)) * 4_000

    async def body(stream: Stream, peer: Peer, backend: Backend) -> None:
        assert stream.try_receive(10) is None

        def answer() -> None:
            peer.send(data)
            peer.finish()

        writer = in_a_thread(answer)
        received = bytearray()
        limits = iter([1, 2, 3, 1000, 70_000] * 1_000)
        while (piece := stream.try_receive(limit := next(limits))) != b"":
            if piece is None:
                assert await stream.wait(True, False, monotonic() + TIMEOUT)
            else:
                assert len(piece) <= limit
                received += piece
        writer.join()
        assert received == data

    wire.run(body)


def test_the_end_is_the_end_each_time(wire: Wire) -> None:
    async def body(stream: Stream, peer: Peer, backend: Backend) -> None:
        peer.send(b"last")
        peer.finish()
        assert await receive(stream, 100) == b"last"
        for _ in range(3):
            assert await stream.wait(True, False, None)
            assert stream.try_receive(10) == b""
        # The other direction is still open.
        assert stream.try_send(b"thanks") == 6
        assert peer.receive(6) == b"thanks"
        assert stream.try_receive(10) == b""

    wire.run(body)


def test_a_reset_is_no_end(wire: Wire) -> None:
    async def body(stream: Stream, peer: Peer, backend: Backend) -> None:
        peer.send(b"last words")
        peer.reset()
        assert await receive_until_error(stream) == b"last words"
        for _ in range(3):
            assert await stream.wait(True, True, None)
            with pytest.raises(ReadError):
                stream.try_receive(10)

    wire.run(body)


def test_what_broke_a_stream_is_kept_without_its_frames(wire: Wire) -> None:
    """They hold whoever met it, and so the stream: only the collector would find such a ring."""

    async def body(stream: Stream, peer: Peer, backend: Backend) -> None:
        peer.reset()
        await receive_until_error(stream)
        with pytest.raises(ReadError) as caught:
            stream.try_receive(10)
        _check_that_it_holds_nothing(caught.value.__cause__)
        with pytest.raises(WriteError) as failed:
            stream.try_send(b"x")
        _check_that_it_holds_nothing(failed.value.__cause__)

    wire.run(body)


def _check_that_it_holds_nothing(cause: BaseException | None) -> None:
    assert cause is not None
    assert cause.__traceback__ is None
    assert cause.__context__ is None


def test_last_words_are_heard_after_sending_has_failed(wire: Wire) -> None:
    async def body(stream: Stream, peer: Peer, backend: Backend) -> None:
        peer.send(b"last words")
        peer.reset()
        # At once: a loop has not heard of it.
        try:
            while stream.try_send(b"x" * 100_000):
                pass
        except WriteError:
            pass
        # And it was cut off: nothing that says so later may pass for the end of what was said.
        assert await receive_until_error(stream) == b"last words"
        with pytest.raises(ReadError):
            stream.try_receive(10)

    wire.run(body)


def test_an_end_that_was_heard_stays_one_though_sending_fails(wire: Wire) -> None:
    async def body(stream: Stream, peer: Peer, backend: Backend) -> None:
        peer.send(b"all of it")
        peer.finish()
        assert await receive(stream, 9) == b"all of it"
        assert await stream.wait(True, False, monotonic() + TIMEOUT)
        assert stream.try_receive(1) == b""
        peer.reset()
        await send_until_error(stream)
        assert stream.try_receive(1) == b""

    wire.run(body)


# Waiting.


def test_a_wait_for_nothing_ends_with_its_deadline(wire: Wire) -> None:
    async def body(stream: Stream, peer: Peer, backend: Backend) -> None:
        for seconds in (-1.0, 0.0, 0.0001, 0.0011, SOON, 3 * SOON):
            watch = Stopwatch()
            deadline = monotonic() + seconds
            while await stream.wait(True, False, deadline):
                assert stream.try_receive(1) is None
            assert monotonic() >= deadline
            assert watch.taken < max(seconds, 0.0) + 1.0

    wire.run(body)


@pytest.mark.parametrize("ending", ["bytes", "end", "reset"])
@pytest.mark.parametrize(("is_full", "seconds"), [(False, None), (True, TIMEOUT)])
def test_news_end_a_wait(wire: Wire, ending: str, is_full: bool, seconds: float | None) -> None:
    """In both directions, if both are asked for: also where there is no room to send."""

    async def body(stream: Stream, peer: Peer, backend: Backend) -> None:
        if is_full:
            await fill(stream)
        act = {"bytes": lambda: peer.send(b"x"), "end": peer.finish, "reset": peer.reset}[ending]
        deadline = None if seconds is None else monotonic() + seconds
        results: list[object] = []

        async def wait() -> None:
            while True:
                assert await stream.wait(True, is_full, deadline)
                try:
                    data = stream.try_receive(1)
                except ReadError as exc:
                    results.append(type(exc))
                    return
                if data is not None:
                    results.append(data)
                    return

        async def answer() -> None:
            await wire.colour.pause()
            act()

        await wire.colour.gather(wait, answer)
        if ending == "end" and wire.layer == "tls" and is_full:
            return
        assert results == {"bytes": [b"x"], "end": [b""], "reset": [ReadError]}[ending]

    wire.run(body)


def test_an_error_is_room_to_send(wire: Wire) -> None:
    async def body(stream: Stream, peer: Peer, backend: Backend) -> None:
        await fill(stream)

        async def wait() -> None:
            deadline = monotonic() + TIMEOUT
            with pytest.raises(WriteError):
                while True:
                    assert await stream.wait(False, True, deadline)
                    stream.try_send(b"x")

        async def reset() -> None:
            await wire.colour.pause()
            peer.reset()

        await wire.colour.gather(wait, reset)

    wire.run(body)


def test_a_wait_for_what_is_here_ends_at_once(wire: Wire) -> None:
    async def body(stream: Stream, peer: Peer, backend: Backend) -> None:
        assert await stream.wait(False, True, None)
        assert await stream.wait(True, True, None)
        peer.send(b"x")
        assert await stream.wait(True, False, None)
        assert await stream.wait(True, False, monotonic() + TIMEOUT)
        assert await receive(stream, 1) == b"x"

    wire.run(body)


def test_what_is_here_beats_a_deadline_that_has_passed(wire: Wire) -> None:
    async def body(stream: Stream, peer: Peer, backend: Backend) -> None:
        peer.send(b"x")
        assert await stream.wait(True, False, None)
        assert await stream.wait(True, False, monotonic() - 1.0)
        assert await receive(stream, 1) == b"x"

    wire.run(body)


def test_each_direction_has_its_own_waiter_and_deadline(plain_wire: Wire) -> None:
    async def body(stream: Stream, peer: Peer, backend: Backend) -> None:
        total = await fill(stream)
        order: list[str] = []

        async def read() -> None:
            deadline = monotonic() + SOON
            while await stream.wait(True, False, deadline):
                assert stream.try_receive(1) is None
            order.append("late")
            await join(in_a_thread(lambda: peer.receive(total)), plain_wire.colour)

        async def write() -> None:
            # Well after the other's deadline.
            deadline = monotonic() + TIMEOUT
            while not stream.try_send(b"x"):
                assert await stream.wait(False, True, deadline)
            order.append("sent")

        await plain_wire.colour.gather(write, read)
        assert order == ["late", "sent"]

    plain_wire.run(body)


def test_a_cancelled_wait_harms_nobody(wire: Wire) -> None:
    if not wire.colour.is_async:
        return

    async def body(stream: Stream, peer: Peer, backend: Backend) -> None:
        for readable, writable in ((True, False), (True, True), (False, True)):
            total = await fill(stream) if writable else 0
            for deadline in (None, monotonic() + TIMEOUT):
                with anyio.move_on_after(SOON) as scope:
                    while True:
                        assert await stream.wait(readable, writable, deadline)
                        assert not readable or stream.try_receive(1) is None
                assert scope.cancelled_caught
            peer.send(b"hello")
            assert await receive(stream, 5) == b"hello"
            reader = in_a_thread(lambda size=total: peer.receive(size))  # type: ignore[misc]
            while reader.is_alive():
                assert stream.try_receive(1) is None
                await stream.wait(True, False, monotonic() + SOON)
        assert stream.try_send(b"bye") == 3
        assert peer.receive(3) == b"bye"

    wire.run(body)


def test_listening_is_waiting_to_receive(wire: Wire) -> None:
    async def body(stream: Stream, peer: Peer, backend: Backend) -> None:
        for seconds in (-1.0, 0.0, 0.0011, SOON):
            watch = Stopwatch()
            deadline = monotonic() + seconds
            while await stream.listen(deadline):
                assert stream.try_receive(1) is None
            assert monotonic() >= deadline
            assert watch.taken < max(seconds, 0.0) + 1.0
        peer.send(b"xy")
        assert await stream.listen(None)
        assert await receive(stream, 1) == b"x"
        assert await stream.listen(monotonic() + TIMEOUT)
        assert await receive(stream, 1) == b"y"
        peer.finish()
        assert await stream.listen(None)
        assert await receive(stream, 1) == b""
        assert await stream.listen(monotonic() + TIMEOUT)
        stream.abort()
        assert await stream.listen(None)

    wire.run(body)


def test_listening_is_woken_by_an_abort(wire: Wire) -> None:
    async def body(stream: Stream, peer: Peer, backend: Backend) -> None:
        async def listen() -> None:
            with pytest.raises(ReadError):
                while True:
                    assert await stream.listen(monotonic() + TIMEOUT)
                    assert stream.try_receive(1) is None

        async def abort() -> None:
            await wire.colour.pause()
            in_a_thread(stream.abort).join()

        await wire.colour.gather(listen, abort)

    wire.run(body)


# The end.


async def expect_closed(stream: Stream) -> None:
    assert await stream.wait(True, False, None)
    assert await stream.wait(False, True, None)
    assert await stream.wait(True, True, monotonic() + TIMEOUT)
    with pytest.raises(WriteError):
        stream.try_send(b"x")
    with pytest.raises(ReadError):
        stream.try_receive(1)
    assert not stream.is_quiet()


def test_abort(wire: Wire) -> None:
    async def body(stream: Stream, peer: Peer, backend: Backend) -> None:
        for _ in range(3):
            stream.abort()
            await expect_closed(stream)
        await wire.colour.pause()
        sock = stream.get_extra_info("socket")
        assert isinstance(sock, socket.socket)
        assert sock.fileno() == -1
        assert peer.is_left()

    wire.run(body)


@pytest.mark.parametrize("direction", ["read", "write", "both"])
def test_an_abort_wakes_who_waits_with_an_error(wire: Wire, direction: str) -> None:
    async def body(stream: Stream, peer: Peer, backend: Backend) -> None:
        readable, writable = direction != "write", direction != "read"
        if writable:
            await fill(stream)

        async def wait() -> None:
            with pytest.raises((ReadError, WriteError)):
                while True:
                    assert await stream.wait(readable, writable, monotonic() + TIMEOUT)
                    if writable:
                        stream.try_send(b"x")
                    if readable:
                        assert stream.try_receive(1) is None
            await expect_closed(stream)

        async def abort() -> None:
            await wire.colour.pause()
            in_a_thread(stream.abort).join()

        await wire.colour.gather(wait, abort)
        await wire.colour.pause()
        sock = stream.get_extra_info("socket")
        assert isinstance(sock, socket.socket)
        assert sock.fileno() == -1

    wire.run(body)


def test_an_abort_in_a_thread_is_never_taken_for_an_end(plain_wire: Wire) -> None:
    """The loop may carry it out before the thread has come to its next line."""
    if not plain_wire.colour.is_async:
        return

    async def body(stream: Stream, peer: Peer, backend: Backend) -> None:
        # What the thread has done by then: it asked the loop.
        has_asked = threading.Event()

        class Slow(type(stream)):  # type: ignore[misc]
            __slots__ = ()

            def __setattr__(self, name: str, value: object) -> None:
                if name == "_is_aborted" and threading.current_thread() is thread:
                    has_asked.set()
                    goes_on.wait(TIMEOUT)
                super().__setattr__(name, value)

        goes_on = threading.Event()
        stream.__class__ = Slow
        thread = threading.Thread(target=stream.abort)
        thread.start()
        try:
            has_asked.wait(TIMEOUT)
            with pytest.raises(ReadError, match="closed while it was being read"):
                while True:
                    assert await stream.wait(True, False, monotonic() + TIMEOUT)
                    assert stream.try_receive(1) is None
        finally:
            goes_on.set()
            thread.join()

    plain_wire.run(body)


def test_threads_abort_together(plain_wire: Wire) -> None:
    async def body(stream: Stream, peer: Peer, backend: Backend) -> None:
        threads = [threading.Thread(target=stream.abort) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        await plain_wire.colour.pause()
        await expect_closed(stream)

    plain_wire.run(body)


def test_a_finaliser_aborts(wire: Wire) -> None:
    class Owner:
        def __init__(self, stream: Stream) -> None:
            self.stream = stream
            self.itself = self

        def __del__(self) -> None:
            self.stream.abort()

    async def body(stream: Stream, peer: Peer, backend: Backend) -> None:
        Owner(stream)
        gc.collect()
        await expect_closed(stream)

    wire.run(body)


@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")
def test_an_abort_after_the_loop_closes_the_socket(colour: Colour) -> None:
    with connected() as (ours, peer):

        async def main() -> Stream:
            return await backend_of(colour).adopt(ours)

        stream = colour.run(main)
        for _ in range(2):
            stream.abort()
            assert ours.fileno() == -1
            assert not stream.call_soon(lambda: None, foreign=True)
            assert not stream.call_soon(lambda: None)
        assert peer.receive(1) == b""


# What a loop can do besides.


def test_watch(wire: Wire) -> None:
    async def body(stream: Stream, peer: Peer, backend: Backend) -> None:
        calls: list[bytes | None] = []
        is_watched = stream.watch(lambda: calls.append(stream.try_receive(10)))
        assert is_watched == (backend is load("asyncio"))
        peer.send(b"x")
        deadline = monotonic() + TIMEOUT
        while is_watched and not calls and monotonic() < deadline:
            await wire.colour.pause()
        assert calls == ([b"x"] if is_watched else [])
        # Who waits is told instead.
        calls.clear()
        peer.send(b"y")
        assert await receive(stream, 1) == (b"x" if not is_watched else b"y")
        assert calls == []
        assert stream.watch(None) == is_watched
        peer.finish()
        assert await receive(stream, 10) == (b"" if is_watched else b"y")
        assert calls == []

    wire.run(body)


@pytest.mark.parametrize("ending", ["end", "reset"])
def test_watch_hears_of_ends(wire: Wire, ending: str) -> None:
    async def body(stream: Stream, peer: Peer, backend: Backend) -> None:
        calls: list[None] = []
        is_watched = stream.watch(lambda: calls.append(None))
        if ending == "end":
            peer.finish()
        else:
            peer.reset()
        deadline = monotonic() + TIMEOUT
        while is_watched and not calls and monotonic() < deadline:
            await wire.colour.pause()
        assert bool(calls) == is_watched

    wire.run(body)


def test_watch_hears_of_room(plain_wire: Wire) -> None:
    async def body(stream: Stream, peer: Peer, backend: Backend) -> None:
        total = await fill(stream)
        calls: list[None] = []
        is_watched = stream.watch(lambda: calls.append(None))
        await join(in_a_thread(lambda: peer.receive(total)), plain_wire.colour)
        deadline = monotonic() + TIMEOUT
        while is_watched and not calls and monotonic() < deadline:
            await plain_wire.colour.pause()
        assert bool(calls) == is_watched

    plain_wire.run(body)


def test_call_soon(wire: Wire) -> None:
    async def body(stream: Stream, peer: Peer, backend: Backend) -> None:
        calls: list[str] = []
        has_loop = stream.call_soon(lambda: calls.append("own"))
        assert has_loop == wire.colour.is_async
        thread = in_a_thread(lambda: stream.call_soon(lambda: calls.append("foreign"), foreign=True))
        thread.join()
        # Not within the call.
        assert calls == []
        deadline = monotonic() + TIMEOUT
        while has_loop and len(calls) < 2 and monotonic() < deadline:
            await wire.colour.pause()
        assert sorted(calls) == (["foreign", "own"] if has_loop else [])

    wire.run(body)


def test_nudge(wire: Wire) -> None:
    async def body(stream: Stream, peer: Peer, backend: Backend) -> None:
        if not wire.colour.is_async:
            assert not stream.nudge()
            return
        # Nobody waits: then it does nothing.
        assert stream.nudge()
        await fill(stream)
        for readable, writable in ((True, False), (False, True), (True, True)):
            waits = [None, monotonic() + TIMEOUT]

            async def wait() -> None:
                while waits:
                    assert await stream.wait(readable, writable, waits[-1])
                    waits.pop()

            async def nudge() -> None:
                # It is lost on who does not wait yet.
                while waits:
                    await wire.colour.pause()
                    assert stream.nudge()

            with anyio.fail_after(TIMEOUT):
                await wire.colour.gather(wait, nudge)
        # It has harmed nothing.
        peer.send(b"x")
        assert await receive(stream, 1) == b"x"

    wire.run(body)


# Looking.


def test_is_quiet(wire: Wire) -> None:
    async def body(stream: Stream, peer: Peer, backend: Backend) -> None:
        assert stream.try_receive(1) is None
        assert stream.is_quiet()
        peer.send(b"xy")
        assert await stream.wait(True, False, None)
        assert not stream.is_quiet()
        assert await receive(stream, 1) == b"x"
        assert not stream.is_quiet()
        assert await receive(stream, 1) == b"y"
        assert stream.try_receive(1) is None
        assert stream.is_quiet()
        peer.finish()
        assert await stream.wait(True, False, None)
        assert not stream.is_quiet()

    wire.run(body)


@pytest.mark.parametrize("ending", ["bytes", "end", "reset"])
def test_news_that_the_loop_has_not_delivered(plain_wire: Wire, ending: str) -> None:
    async def body(stream: Stream, peer: Peer, backend: Backend) -> None:
        assert not stream.has_news()
        act = {"bytes": lambda: peer.send(b"x"), "end": peer.finish, "reset": peer.reset}[ending]
        act()
        # One of the two shows it, without a turn of the loop; and the look takes nothing.
        for _ in range(2):
            assert stream.has_news() or not stream.is_quiet()
        assert await stream.wait(True, False, monotonic() + TIMEOUT)
        assert not stream.has_news()
        assert not stream.is_quiet()

    plain_wire.run(body)


def test_extra_info(wire: Wire) -> None:
    async def body(stream: Stream, peer: Peer, backend: Backend) -> None:
        sock = stream.get_extra_info("socket")
        assert isinstance(sock, socket.socket)
        assert stream.get_extra_info("client_addr") == sock.getsockname() == peer.socket.getpeername()
        assert stream.get_extra_info("server_addr") == sock.getpeername() == peer.socket.getsockname()
        ssl_object = stream.get_extra_info("ssl_object")
        assert (ssl_object is not None) == (wire.layer == "tls")
        assert stream.get_extra_info("anything else") is None
        stream.abort()
        await wire.colour.pause()
        assert stream.get_extra_info("client_addr") is None
        assert stream.get_extra_info("server_addr") is None

    wire.run(body)


@pytest.mark.parametrize("deadline", [1e10, 1e300])
def test_a_deadline_that_nobody_lives_to_see(wire: Wire, deadline: float) -> None:
    async def body(stream: Stream, peer: Peer, backend: Backend) -> None:
        for wait in (
            lambda: stream.wait(True, False, deadline),
            lambda: stream.wait(True, True, deadline),
            lambda: stream.listen(deadline),
        ):

            async def receive_one(wait: Callable[[], Coroutine[object, object, bool]] = wait) -> None:
                while (data := stream.try_receive(1)) is None:
                    assert await wait()
                    await backend.checkpoint()
                assert data == b"x"

            async def send() -> None:
                await wire.colour.pause()
                peer.send(b"x")

            await wire.colour.gather(receive_one, send)
        parker = backend.create_parker()
        thread = threading.Thread(target=parker.unpark)
        thread.start()
        assert await parker.park(deadline)
        thread.join()

    wire.run(body)
