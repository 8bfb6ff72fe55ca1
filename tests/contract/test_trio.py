"""What only trio's backend has to see to."""

from __future__ import annotations

import socket

import pytest
import trio

from httpcore._backends.trio import TrioStream


@pytest.mark.parametrize("writable", [False, True])
def test_a_nudge_just_before_the_wait(writable: bool) -> None:
    """Waiting takes a turn or two to set up, and whoever nudges in between would wake nobody."""

    async def main() -> None:
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        stream = TrioStream(ours)
        # So that there is no room to write either.
        while stream.try_send(bytes(65536)):
            pass
        for _ in range(20):
            has_begun = trio.Event()

            async def wait(has_begun: trio.Event = has_begun) -> None:
                has_begun.set()
                assert await stream.wait(True, writable, None)

            async def nudge(has_begun: trio.Event = has_begun) -> None:
                await has_begun.wait()
                assert stream.nudge()

            with trio.fail_after(10):
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(wait)
                    nursery.start_soon(nudge)
        stream.abort()
        theirs.close()

    trio.run(main)
