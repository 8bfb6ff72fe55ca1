"""The short form of `tests.soak.failing`."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from ..colours import Colour
from ..soak.failing import KINDS, Ports, judge, run, start_peer
from .rows import row

COUNT = 100


@pytest.fixture(scope="module")
def ports() -> Iterator[Ports]:
    with start_peer() as found:
        yield found


@row("RTM-03")
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.usefixtures("nothing_left")
def test_failing_exchanges_leave_nothing(colour: Colour, kind: str, ports: Ports) -> None:
    if colour.is_async or not KINDS[kind].only_async:
        judge(*colour.run(run, colour, KINDS[kind], ports, COUNT))
