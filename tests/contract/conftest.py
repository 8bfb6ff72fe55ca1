"""A stream for each colour and layer, and the peer at its other end."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest

from httpcore._backends.base import Backend, Stream

from ..colours import Colour
from .wires import LAYERS, Peer, backend_of, connected, secure

Body = Callable[[Stream, Peer, Backend], Awaitable[None]]


class Wire:
    """Runs a test body with a stream that is connected to a peer."""

    def __init__(self, colour: Colour, layer: str) -> None:
        self.colour = colour
        self.layer = layer

    def run(self, body: Body) -> None:
        async def main() -> None:
            backend = backend_of(self.colour)
            with connected() as (ours, peer):
                stream = plain = await backend.adopt(ours)
                try:
                    if self.layer == "tls":
                        stream = await secure(plain, peer)
                    await body(stream, peer, backend)
                finally:
                    stream.abort()
                    # A loop closes in its next turn.
                    await self.colour.pause()

        self.colour.run(main)


@pytest.fixture(params=LAYERS)
def wire(request: pytest.FixtureRequest, colour: Colour) -> Wire:
    return Wire(colour, request.param)


@pytest.fixture
def plain_wire(colour: Colour) -> Wire:
    return Wire(colour, "plain")
