"""An exchange is cancelled, interrupted or fails at every step, and its neighbours on the connection do not notice."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial

import pytest

import httpcore

from ..colours import ASYNC_NAMES, Client, Colour
from ..peers.faulty import Fault, FaultyBackend, Interrupt
from ..peers.http2 import HTTP2Peer, Stream, http2
from ..peers.scripted import Server
from .cancelling import cancel_at
from .h2_meetings import prior, sized_post
from .rows import row

pytestmark = pytest.mark.usefixtures("nothing_left")

Victim = Callable[[Client, Server], Awaitable[object]]

LARGE = bytes(range(256)) * 800


def respond(peer: HTTP2Peer, request: Stream) -> None:
    """Echo; `/large` is larger than what is read at once."""
    body = bytes(request.body) or (LARGE if request.path == b"/large" else request.path)
    fields = [(b":status", b"200"), (b"x-path", request.path)]
    peer.headers(request, fields)
    peer.send_soon(request, body)


async def get(client: Client, server: Server) -> object:
    return await (await client.send(server.url(b"/victim"))).read()


async def upload(client: Client, server: Server) -> object:
    return await (await client.send(server.url(b"/victim"), **sized_post(LARGE))).read()


async def download(client: Client, server: Server) -> object:
    return await (await client.send(server.url(b"/large"))).read()


async def closed_early(client: Client, server: Server) -> object:
    response = await client.send(server.url(b"/large"))
    await response.first()
    await response.close()
    return None


ALLOWED: dict[Fault, tuple[type[BaseException], ...]] = {
    Fault.PARTIAL: (),
    Fault.NOTHING: (),
    Fault.TIMEOUT: (httpcore.TimeoutException,),
    Fault.INTERRUPT: (Interrupt,),
}
"""How the victim may end."""

HARMLESS = (Fault.PARTIAL, Fault.NOTHING)

EXCUSED: dict[Fault, tuple[type[BaseException], ...]] = {
    **dict.fromkeys(ALLOWED, ()),
    # In the middle of sending: nobody knows what is on its way, so the connection ends.
    Fault.INTERRUPT: (httpcore.NetworkError,),
}
"""How its neighbours may."""

VICTIMS: dict[str, Victim] = {victim.__name__: victim for victim in (get, upload, download, closed_early)}


async def _neighbour(
    client: Client, server: Server, kind: str, excused: tuple[type[BaseException], ...]
) -> None:
    try:
        await _serve(client, server, kind)
    except excused:
        pass


async def _serve(client: Client, server: Server, kind: str) -> None:
    if kind == "upload":
        response = await client.send(server.url(b"/up"), **sized_post(LARGE))
        assert await response.read() == LARGE
    else:
        response = await client.send(server.url(kind.encode()))
        assert (b"x-path", kind.encode()) in response.headers
        assert await response.read() == (LARGE if kind == "/large" else kind.encode())


async def _beside(
    colour: Colour,
    client: Client,
    server: Server,
    victim: Callable[[], Awaitable[object]],
    *,
    is_first: bool,
    excused: tuple[type[BaseException], ...] = (),
) -> None:
    """Run the victim and its neighbours; whoever comes first reads for the others."""
    neighbours: list[Callable[[], Awaitable[object]]] = [
        partial(_neighbour, client, server, kind, excused) for kind in ("/a", "upload", "/large")
    ]
    await colour.gather(*([victim, *neighbours] if is_first else [*neighbours, victim]))


async def _check(client: Client, server: Server, accepted: int | None) -> None:
    figures = client.pool.statistics()
    assert figures["active"] == figures["waiting"] == figures["connecting"] == 0, figures
    assert await client.get(server.url(b"/next"), pool=1.0) == b"/next"
    assert accepted in (None, server.accepted)


@row("CAN-09", "CAN-10", "HPK-12")
@pytest.mark.parametrize("is_first", [True, False])
@pytest.mark.parametrize("victim", VICTIMS)
@pytest.mark.parametrize("name", ASYNC_NAMES)
def test_cancelled_at_every_suspension(name: str, victim: str, is_first: bool) -> None:
    colour = Colour(name)

    async def main() -> None:
        with Server(http2(lambda peer: peer.serve(respond))) as server:
            async with prior(colour, max_connections=1) as client:
                assert await client.get(server.url(b"/warm")) == b"/warm"
                for k in range(1, 1000):
                    was_cancelled = False

                    async def doomed(k: int = k) -> None:
                        nonlocal was_cancelled
                        was_cancelled = await cancel_at(colour, lambda: VICTIMS[victim](client, server), k)

                    await _beside(colour, client, server, doomed, is_first=is_first)
                    await _check(client, server, 1)
                    if not was_cancelled:
                        assert k > 1
                        return
                raise AssertionError("the exchange never completed")

    colour.run(main)


@row("CAN-09", "CAN-10", "TMO-09", "HPK-12", "THR-02")
@pytest.mark.parametrize("is_first", [True, False])
@pytest.mark.parametrize("victim", VICTIMS)
def test_struck_at_every_step(colour: Colour, victim: str, is_first: bool) -> None:
    """What times out or is interrupted is one exchange; what a kernel may do at any time is nobody's trouble."""

    async def main(fault: Fault) -> None:
        with Server(http2(lambda peer: peer.serve(respond))) as server:
            for k in range(1, 1000):
                backend = FaultyBackend(colour, fault, at=k)
                backend.is_armed = False
                async with prior(colour, max_connections=1, backend=backend) as client:
                    assert await client.get(server.url(b"/warm")) == b"/warm"
                    accepted = server.accepted

                    async def struck(backend: FaultyBackend = backend, client: Client = client) -> None:
                        backend.aim()
                        try:
                            await VICTIMS[victim](client, server)
                        except ALLOWED[fault]:
                            pass
                        finally:
                            # Its thread's number may be the next one's.
                            backend.is_armed = False

                    await _beside(colour, client, server, struck, is_first=is_first, excused=EXCUSED[fault])
                    await _check(client, server, accepted if fault in HARMLESS else None)
                if backend.count < k:
                    return
        raise AssertionError("the exchange never completed")

    for fault in ALLOWED:
        colour.run(main, fault)
