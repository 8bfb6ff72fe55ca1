"""The short form of `tests.soak.failing`."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest

from ..colours import Colour
from ..garbage import kept_garbage, types_of_ours
from ..soak.failing import KINDS, fail, held_if_full, judge, open_client, run
from ..soak.processes import ServerProcess, start_server
from .rows import row

COUNT = 100


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    with start_server("wrong_server", tmp_path_factory.mktemp("wrong")) as found:
        yield found


@row("RTM-03")
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.usefixtures("nothing_left")
def test_failing_exchanges_leave_nothing(colour: Colour, kind: str, server: ServerProcess) -> None:
    if colour.is_async or not KINDS[kind].only_async:
        judge(colour.run(run, colour, KINDS[kind], server, COUNT))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.usefixtures("nothing_left")
def test_what_failed_leaves_nothing_to_the_collector(
    colour: Colour, kind: str, server: ServerProcess
) -> None:
    if KINDS[kind].only_async and not colour.is_async:
        return

    async def body() -> set[str]:
        async with (
            open_client(colour, KINDS[kind], server) as client,
            held_if_full(client, KINDS[kind], server),
        ):
            await fail(client, KINDS[kind], server, 10)
            await _collect(colour)
            with kept_garbage() as garbage:
                await fail(client, KINDS[kind], server, 10)
                await _collect(colour)
                return types_of_ours(garbage)

    assert not colour.run(body)


async def _collect(colour: Colour) -> None:
    for _ in range(3):
        await colour.pause()
    gc.collect()
