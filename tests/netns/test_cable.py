"""A client and a server with a cable between them that does what cables do."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import httpcore

from ..colours import Client, Colour
from ..faults.rows import row
from ..peers.scripted import Peer, Server, serve
from ..stopwatch import Stopwatch
from .namespaces import Cable, reason_against

REASON = reason_against()

pytestmark = [
    pytest.mark.usefixtures("nothing_left"),
    pytest.mark.skipif(REASON is not None, reason=str(REASON)),
]


@pytest.fixture(scope="module")
def laid_cable() -> Iterator[Cable]:
    cable = Cable()
    try:
        cable.lay()
        yield cable
    finally:
        cable.remove()


@pytest.fixture
def cable(laid_cable: Cable) -> Iterator[Cable]:
    yield laid_cable
    laid_cable.mend()


def serve_on(cable: Cable, *, address: str | None = None, port: int = 0, script: object = serve) -> Server:
    """A server on the far host, once it is entered as a context."""
    server: Server
    with cable.server.inside():
        server = Server(script, address=address or cable.server.ipv4, port=port)  # type: ignore[arg-type]
        server.__enter__()
    return server


def resolve_to(*addresses: str) -> object:
    return lambda host, port: list(addresses)


@row("TCP-02")
def test_a_host_that_is_not_there(colour: Colour, cable: Cable) -> None:
    cable.lose("10.99.0.77")

    async def main() -> None:
        async with colour.client() as client:
            watch = Stopwatch()
            with pytest.raises(httpcore.ConnectTimeout):
                await client.send((b"http", b"10.99.0.77", 80, b"/"), connect=0.5)
            assert watch.elapsed >= 0.5
            assert watch.taken < 0.75
            assert client.pool.statistics()["connections"] == 0

    with cable.client.inside():
        colour.run(main)


@row("DNS-04", "DNS-05")
@pytest.mark.parametrize("way", ["black hole", "no route", "refused"])
def test_ipv6_that_leads_nowhere(colour: Colour, cable: Cable, way: str) -> None:
    """RFC 8305: whoever has both addresses waits for neither."""
    broken = {"black hole": "fd99::77", "no route": "2001:db8::1", "refused": cable.server.ipv6}[way]
    if way == "black hole":
        cable.lose(broken)
    server = serve_on(cable)

    async def main() -> None:
        async with colour.client(resolver=resolve_to(broken, cable.server.ipv4)) as client:
            watch = Stopwatch()
            assert await client.get((b"http", b"both.test", server.port, b"/a")) == b"/a"
            elapsed, taken = watch.elapsed, watch.taken
            # After 250 ms the next one is tried beside it, and at once where the first one fails.
            assert taken < (0.5 if way == "black hole" else 0.25)
            assert elapsed >= 0.25 or way != "black hole"

    try:
        with cable.client.inside():
            colour.run(main)
    finally:
        server.__exit__(None, None, None)


@row("TMO-03")
def test_a_cable_that_is_pulled_inside_a_response(colour: Colour, cable: Cable) -> None:
    """Nobody says anything any more, not even that nothing will come."""

    def script(peer: Peer) -> None:
        peer.recv_request()
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nbegun")
        peer.server.hold()

    server = serve_on(cable, script=script)

    async def main() -> None:
        async with colour.client() as client:
            response = await client.send((b"http", cable.server.ipv4.encode(), server.port, b"/"), read=0.5)
            reader = response.reader()
            assert await reader.next() == b"begun"
            cable.pull()
            watch = Stopwatch()
            with pytest.raises(httpcore.ReadTimeout):
                await reader.next()
            assert watch.elapsed >= 0.5
            assert watch.taken < 0.75
            assert client.pool.statistics()["connections"] == 0

    try:
        with cable.client.inside():
            colour.run(main)
    finally:
        server.__exit__(None, None, None)


@row("TCP-03")
@pytest.mark.parametrize("method", [b"GET", b"POST"])
def test_a_host_that_restarts_without_a_word(colour: Colour, cable: Cable, method: bytes) -> None:
    """It knows nothing of the idle connection, and answers what comes on it with RST."""

    def script(peer: Peer) -> None:
        peer.recv_request()
        peer.answer(b"/a")
        peer.server.hold()
        # With the cable pulled nobody hears of it.
        peer.reset()

    first = serve_on(cable, script=script)
    second: list[Server] = []

    async def main() -> None:
        async with colour.client() as client:
            url = (b"http", cable.server.ipv4.encode(), first.port, b"/a")
            assert await client.get(url) == b"/a"
            cable.pull()
            first.__exit__(None, None, None)
            cable.plug()
            second.append(serve_on(cable, port=first.port))
            assert await client.states() == ["HTTP/1.1, IDLE"]
            await ask_again(client, url, method)
            assert second[0].accepted == 1

    try:
        with cable.client.inside():
            colour.run(main)
    finally:
        for server in second:
            server.__exit__(None, None, None)


async def ask_again(client: Client, url: tuple[bytes, bytes, int, bytes], method: bytes) -> None:
    """What may be sent twice is; what may not is told to its caller, and the next one works."""
    headers = [(b"Host", b"h"), (b"Content-Length", b"0")]
    if method == b"POST":
        with pytest.raises((httpcore.ReadError, httpcore.WriteError)) as caught:
            await client.send(url, method, headers)
        assert caught.value.request_sent
    assert await (await client.send(url, b"GET", headers)).read() == b"/a"


def test_a_host_that_is_far_away(colour: Colour, cable: Cable) -> None:
    try:
        cable.slow_down("60ms")
    except RuntimeError as exc:
        pytest.skip(f"this kernel delays nothing: {exc}")
    server = serve_on(cable)

    async def main() -> None:
        resolver = resolve_to(cable.server.ipv4, "10.99.0.77")
        async with colour.client(resolver=resolver) as client:
            url = (b"http", b"far.test", server.port, b"/a")
            watch = Stopwatch()
            assert await client.get(url) == b"/a"
            # One round for the connection, one for the exchange, and no second attempt beside it.
            assert watch.elapsed >= 0.12
            assert watch.taken < 0.25
            watch = Stopwatch()
            assert await client.get(url) == b"/a"
            assert watch.elapsed >= 0.06
            assert watch.taken < 0.12
            assert server.accepted == 1

    try:
        with cable.client.inside():
            colour.run(main)
    finally:
        server.__exit__(None, None, None)
