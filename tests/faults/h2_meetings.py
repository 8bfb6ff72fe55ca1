"""One request that meets an odd HTTP/2 server, and the next one, which has to get its own answer."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, NamedTuple

import httpcore

from ..colours import Client, Colour
from ..peers.http2 import Code, HTTP2Peer, HTTP2Script, Stream, first_then_serve
from ..peers.scripted import Server

Act = Callable[[HTTP2Peer, Stream], object]
"""What a server does with the first request."""

OK = [(b":status", b"200")]

ERRORS = (httpcore.ProtocolError, httpcore.NetworkError, httpcore.TimeoutException)


class Outcome(NamedTuple):
    error: Exception | None
    status: int
    headers: list[tuple[bytes, bytes]]
    body: bytes
    accepted: int
    """How many connections the server has taken when all is over."""


def prior(colour: Colour, **options: Any) -> Client:
    """A client that knows that its servers speak HTTP/2."""
    return colour.client(**{"http1": False, "http2": True, **options})


async def meet(
    colour: Colour,
    script: HTTP2Script,
    *,
    method: bytes = b"GET",
    fields: Sequence[tuple[bytes, bytes]] = (),
    stream: Any = None,
    settings: dict[int, int] | None = None,
    greets: bool = True,
    is_warm: bool = False,
    **timeouts: Any,
) -> Outcome:
    """Send a request to a server whose first connection runs `script`; then one more on the same pool.

    `is_warm`: after a request that the script answers by `warm_up`.
    """
    with Server(first_then_serve(script, settings, greets=greets)) as server:
        async with prior(colour) as client:
            if is_warm:
                assert await client.get(server.url()) == b"ok"
            error: Exception | None = None
            status, headers, body = 0, [], b""
            try:
                host = (b"Host", b"h")
                response = await client.send(server.url(b"/odd"), method, [host, *fields], stream, **timeouts)
                status, headers = response.status, response.headers
                reader = response.reader()
                while chunk := await reader.next():
                    body += chunk
            except ERRORS as exc:
                error = exc
            assert await client.get(server.url(b"/next")) == b"/next"
            figures = client.pool.statistics()
            assert figures["active"] == figures["waiting"] == figures["connecting"] == 0, figures
            return Outcome(error, status, headers, body, server.accepted)


def expect_connection_error(colour: Colour, act: Act, code: Code, **options: Any) -> Outcome:
    """What the server does ends the connection, with this code; the next request goes over another one."""

    def script(peer: HTTP2Peer) -> None:
        act(peer, peer.recv_request())
        peer.expect_goaway(code)
        peer.expect_end()

    outcome = colour.run(lambda: meet(colour, script, **options))
    assert isinstance(outcome.error, httpcore.RemoteProtocolError), outcome
    assert code.name in str(outcome.error)
    assert outcome.error.request_sent
    assert len(str(outcome.error)) < 600
    assert outcome.accepted == 2
    return outcome


def expect_stream_error(colour: Colour, act: Act, *codes: Code, **options: Any) -> Outcome:
    """What the server does ends this one stream, with PROTOCOL_ERROR or one of `codes` instead.

    The next request goes over the same connection.
    """

    def script(peer: HTTP2Peer) -> None:
        request = peer.recv_request(whole=False)
        act(peer, request)
        peer.expect_rst(request, *(codes or (Code.PROTOCOL_ERROR,)))
        peer.check_window()
        peer.serve()

    outcome = colour.run(lambda: meet(colour, script, **options))
    assert isinstance(outcome.error, httpcore.RemoteProtocolError), outcome
    assert outcome.error.request_sent
    assert len(str(outcome.error)) < 600
    assert outcome.accepted == 1
    return outcome


def expect_answer(
    colour: Colour, act: Act, body: bytes = b"ok", *, status: int = 200, **options: Any
) -> Outcome:
    """Whatever the server does, the request gets this answer, and the connection goes on."""

    def script(peer: HTTP2Peer) -> None:
        act(peer, peer.recv_request())
        peer.serve()

    outcome = colour.run(lambda: meet(colour, script, **options))
    assert outcome.error is None, outcome
    assert (outcome.status, outcome.body) == (status, body)
    assert outcome.accepted == 1
    return outcome


def post(content: bytes) -> dict[str, Any]:
    """The options of `meet` for an upload."""
    return {
        "method": b"POST",
        "fields": [(b"Content-Length", b"%d" % len(content))],
        "stream": httpcore.PlainByteStream(content),
    }


def sized_post(content: bytes) -> dict[str, Any]:
    """The arguments of `Client.send` for an upload."""
    fields = [(b"Host", b"h"), (b"Content-Length", b"%d" % len(content))]
    return {"method": b"POST", "headers": fields, "stream": httpcore.PlainByteStream(content)}


def engine_of(client: Client) -> Any:
    """The engine of the client's one HTTP/2 connection."""
    (place,) = client.pool._pool.ledger.places
    return place.connection.engine


async def fails(awaitable: Awaitable[object], *kinds: type[Exception]) -> Exception:
    """The exception that an awaitable ends with."""
    expected = kinds or ERRORS
    try:
        result = await awaitable
    except expected as exc:
        return exc
    raise AssertionError(f"It did not fail: {result!r}")
