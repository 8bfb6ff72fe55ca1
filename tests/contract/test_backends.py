"""What `Backend` promises besides its streams and parkers."""

from __future__ import annotations

import socket
from time import monotonic

import anyio
import pytest

from httpcore._backends.auto import load

from ..colours import TIMEOUT, Colour
from .wires import backend_of, connected

pytestmark = pytest.mark.usefixtures("nothing_left")

SOON = 0.02
"""Seconds after which a wait for what does not come is over."""


def test_loops_have_an_identity(colour: Colour) -> None:
    async def main() -> object:
        backend = backend_of(colour)
        loop = backend.current_loop()
        assert loop is backend.current_loop()
        return loop

    first = colour.run(main)
    second = colour.run(main)
    assert (first is second) == (not colour.is_async)


def test_a_checkpoint_lets_others_run(colour: Colour) -> None:
    order: list[str] = []

    async def main() -> None:
        backend = backend_of(colour)

        async def take_turns(name: str) -> None:
            for _ in range(2):
                order.append(name)
                await backend.checkpoint()

        async def first() -> None:
            await take_turns("a")

        async def second() -> None:
            await take_turns("b")

        await colour.gather(first, second)

    colour.run(main)
    if colour.is_async:
        assert order[0] != order[1]
        assert order[2] != order[3]


def test_a_checkpoint_lets_a_cancellation_in(colour: Colour) -> None:
    async def main() -> None:
        with anyio.CancelScope() as scope:
            scope.cancel()
            await backend_of(colour).checkpoint()
        assert scope.cancelled_caught

    if colour.is_async:
        colour.run(main)


def test_sleep(colour: Colour) -> None:
    async def main() -> None:
        begin = monotonic()
        await backend_of(colour).sleep(0.0)
        await backend_of(colour).sleep(SOON)
        # A loop may count whole milliseconds.
        assert SOON - 0.001 <= monotonic() - begin < TIMEOUT

    colour.run(main)


def test_waiting_for_one_of_several_sockets(colour: Colour) -> None:
    async def main() -> None:
        backend = backend_of(colour)
        with (
            connected() as (full, _),
            socket.socket() as connecting,
            socket.create_server(("127.0.0.1", 0)) as server,
        ):
            try:
                while True:
                    full.send(b"x" * 65536)
            except BlockingIOError:
                pass
            deadline = monotonic() + 5 * SOON
            while ready := await backend.wait_writable([full], deadline):
                # The kernel moves bytes to the peer for a while.
                assert ready == [full]
                try:
                    full.send(b"x" * 65536)
                except BlockingIOError:
                    pass
            assert monotonic() >= deadline
            assert list(ready) == []
            connecting.setblocking(False)
            with pytest.raises(BlockingIOError):
                connecting.connect(server.getsockname())
            assert list(await backend.wait_writable([full, connecting], None)) == [connecting]
            assert list(await backend.wait_writable([connecting, full], monotonic() + TIMEOUT)) == [
                connecting
            ]
            # Whoever waits next finds nothing of the last wait left.
            if colour.is_async:
                with anyio.move_on_after(SOON) as scope:
                    await backend.wait_writable([full], None)
                assert scope.cancelled_caught
            assert list(await backend.wait_writable([connecting], None)) == [connecting]

    colour.run(main)


def test_a_refused_connection_is_writable(colour: Colour) -> None:
    async def main() -> None:
        # Who holds a port without listening refuses there, and nobody else can listen meanwhile.
        with socket.socket() as refuser, socket.socket() as sock:
            refuser.bind(("127.0.0.1", 0))
            sock.setblocking(False)
            try:
                sock.connect(refuser.getsockname())
            except BlockingIOError:
                pass
            assert list(await backend_of(colour).wait_writable([sock], monotonic() + TIMEOUT)) == [sock]
            assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)

    colour.run(main)


def test_adopting_takes_the_socket_over(colour: Colour) -> None:
    async def main() -> None:
        backend = backend_of(colour)
        with connected() as (ours, peer):
            # Here before anybody listens.
            peer.send(b"early")
            stream = await backend.adopt(ours)
            assert await stream.wait(True, False, monotonic() + TIMEOUT)
            assert stream.try_receive(100) == b"early"
            stream.abort()
            await colour.pause()
            assert ours.fileno() == -1

    colour.run(main)


def test_a_cancelled_adoption_closes_the_socket(colour: Colour) -> None:
    async def main() -> None:
        with connected() as (ours, peer):
            with anyio.CancelScope() as scope:
                scope.cancel()
                # Whoever gets a stream though has it to close.
                (await backend_of(colour).adopt(ours)).abort()
            await colour.pause()
            assert ours.fileno() == -1
            assert peer.is_left()

    if colour.is_async:
        colour.run(main)


@pytest.mark.parametrize("seconds", [None, TIMEOUT])
def test_foreign_code_within_its_time(colour: Colour, seconds: float | None) -> None:
    async def main() -> None:
        backend = backend_of(colour)
        deadline = None if seconds is None else monotonic() + seconds

        async def answer() -> int:
            await backend.checkpoint()
            return 7

        async def fail() -> int:
            raise TimeoutError("The caller's own.")

        assert await backend.within(answer(), deadline) == 7
        with pytest.raises(TimeoutError, match="The caller's own"):
            await backend.within(fail(), deadline)

    colour.run(main)


@pytest.mark.parametrize("seconds", [-1.0, 0.0, SOON])
def test_foreign_code_that_takes_too_long(colour: Colour, seconds: float) -> None:
    if not colour.is_async:
        # Nothing interrupts foreign code in a thread.
        return

    async def main() -> None:
        backend = backend_of(colour)
        ended: list[None] = []

        async def dawdle() -> None:
            try:
                await backend.sleep(10 * TIMEOUT)
            finally:
                ended.append(None)

        begin = monotonic()
        with pytest.raises(TimeoutError, match="took too long"):
            await backend.within(dawdle(), begin + seconds)
        # Past its deadline it need not have begun.
        assert ended or seconds <= 0.0
        assert monotonic() < begin + TIMEOUT
        ended.clear()
        with anyio.move_on_after(SOON) as scope:
            await backend.within(dawdle(), monotonic() + 10 * TIMEOUT)
        assert scope.cancelled_caught
        assert ended

    colour.run(main)


def test_calls_at_a_time(colour: Colour) -> None:
    async def main() -> None:
        backend = backend_of(colour)
        calls: list[str] = []
        begin = monotonic()
        cancel = backend.call_at(begin + SOON, lambda: calls.append("late"))
        if cancel is None:
            assert backend is not load("asyncio")
            return
        cancelled = backend.call_at(begin, lambda: calls.append("never"))
        assert cancelled is not None
        cancelled()
        assert backend.call_at(begin - 1.0, lambda: calls.append("past")) is not None
        assert calls == []
        deadline = begin + TIMEOUT
        while "late" not in calls and monotonic() < deadline:
            await colour.pause()
        assert calls == ["past", "late"]
        assert monotonic() >= begin + SOON - 0.001
        cancel()

    colour.run(main)
