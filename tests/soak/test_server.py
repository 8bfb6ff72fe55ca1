"""What the server of the long runs says that it broke: on that the judge relies."""

from __future__ import annotations

import asyncio
from typing import cast

import pytest

from .server import HTTP11, Faults, Report

PORT = 5


class _Writer:
    """The server's side of a connection that is not there."""

    def get_extra_info(self, name: str) -> object:
        return ("127.0.0.1", PORT)

    def write(self, data: bytes) -> None:
        pass

    async def drain(self) -> None:
        pass

    def close(self) -> None:
        pass


class _Fault(Faults):
    def __init__(self, kind: str) -> None:
        self._kind = kind

    def draw(self, kinds: tuple[str, ...] = Faults.KINDS) -> str:
        return self._kind


@pytest.mark.parametrize(
    ("kind", "size", "is_hurt"),
    [
        ("close before", 0, True),
        ("close before", 5, True),
        ("close inside", 5, True),
        # The client has its answer, and may have its next request on the way.
        ("close inside", 0, False),
        ("close after", 5, False),
    ],
)
def test_either_the_exchange_is_hurt_or_what_follows_it(kind: str, size: int, is_hurt: bool) -> None:
    report = Report()

    async def main() -> None:
        reader = asyncio.StreamReader()
        reader.feed_data(b"GET / HTTP/1.1\r\nToken: ab\r\nAnswer-Size: %d\r\n\r\n" % size)
        writer = cast(asyncio.StreamWriter, _Writer())
        await HTTP11(reader, writer, _Fault(kind), report).run()

    asyncio.run(main())
    assert report.hurt == ({"ab": kind} if is_hurt else {})
    assert report.broken == (set() if is_hurt else {PORT})
    assert not report.puzzling
