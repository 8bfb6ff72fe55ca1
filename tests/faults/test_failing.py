"""The short form of `tests.soak.failing`."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from ..colours import Colour
from ..soak.failing import KINDS, judge, run
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
