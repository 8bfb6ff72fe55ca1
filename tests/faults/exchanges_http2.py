"""The reference exchanges over HTTP/2. To import this module is to register them beside the others.

Their servers' referee sees to it that whatever is cancelled, interrupted or tortured leaves the header tables, the
windows and the streams of the connection in order.
"""

from __future__ import annotations

import itertools
from weakref import WeakKeyDictionary

import httpcore

from ..colours import drive
from ..peers.http2 import Code, HTTP2Peer, Stream, Type
from ..peers.scripted import Server
from .exchanges import DOWN, EXCHANGES, HOST, UP, Scene, endless, exchange, post, read_response

LARGER = DOWN * 4
"""More than the first window of a stream."""


def reference(peer: HTTP2Peer) -> None:
    """What the path says is what the server does; by default it answers with the path."""
    served = itertools.count()

    def respond(peer: HTTP2Peer, request: Stream) -> None:
        path = request.path
        is_first = next(served) == 0
        if path == b"/moved" and not is_first:
            peer.goaway(request.id - 2)
        elif path == b"/refused" and _takes_its_turn(peer):
            peer.reset(request, Code.REFUSED_STREAM)
        elif path == b"/vanish" and not is_first:
            peer.close()
        elif path == b"/broken":
            peer.frame(Type.WINDOW_UPDATE, 0, request.id, bytes(4))
        elif path == b"/reset":
            peer.headers(request, [(b":status", b"200")])
            peer.data(request, b"part")
            peer.reset(request, Code.INTERNAL_ERROR)
        elif path == b"/interim":
            peer.headers(request, [(b":status", b"103"), (b"link", b"x")])
            peer.answer_soon(request, path)
        elif path == b"/trailers":
            peer.answer_soon(request, path, trailers=[(b"t", b"v")])
        elif path == b"/none":
            peer.headers(request, [(b":status", b"204")], ends=True)
        elif request.method == b"HEAD":
            peer.headers(request, [(b":status", b"200"), (b"content-length", b"5")], ends=True)
        else:
            peer.answer_soon(request, LARGER if path == b"/large" else bytes(request.body) or path)

    peer.serve(respond, on_open=_respond_early)


_REFUSALS: WeakKeyDictionary[Server, int] = WeakKeyDictionary()


def _takes_its_turn(peer: HTTP2Peer) -> bool:
    """Every second request of a server is refused, over whichever connection it comes."""
    count = _REFUSALS[peer.server] = _REFUSALS.get(peer.server, 0) + 1
    return count % 2 == 1


def _respond_early(peer: HTTP2Peer, request: Stream) -> bool:
    """Answer before the upload is here, where that is asked for."""
    if request.path == b"/refuse":
        peer.answer(request, b"no", status=413)
        peer.reset(request, Code.NO_ERROR)
    elif request.path == b"/early":
        peer.headers(request, [(b":status", b"200")])
        peer.data(request, b"ok")
    elif request.path == b"/expect":
        peer.headers(request, [(b":status", b"100")])
        return False
    else:
        return False
    return True


@exchange("h2")
async def h2_get(scene: Scene) -> None:
    await read_response(await scene.client.send(scene.url(b"/a")), b"/a")


@exchange("h2")
async def h2_get_twice(scene: Scene) -> None:
    await h2_get(scene)
    await h2_get(scene)


@exchange("h2")
async def h2_head(scene: Scene) -> None:
    await read_response(await scene.client.send(scene.url(b"/a"), b"HEAD"), b"")


@exchange("h2")
async def h2_no_content(scene: Scene) -> None:
    await read_response(await scene.client.send(scene.url(b"/none")), b"")


@exchange("h2")
async def h2_interim(scene: Scene) -> None:
    await read_response(await scene.client.send(scene.url(b"/interim")), b"/interim")


@exchange("h2")
async def h2_trailers(scene: Scene) -> None:
    response = await scene.client.send(scene.url(b"/trailers"))
    await read_response(response, b"/trailers")
    assert response.stream.trailers == [(b"t", b"v")]


@exchange("h2")
async def h2_large_download(scene: Scene) -> None:
    await read_response(await scene.client.send(scene.url(b"/large")), LARGER)


@exchange("h2")
async def h2_closed_early(scene: Scene) -> None:
    response = await scene.client.send(scene.url(b"/large"))
    await response.first()
    await response.close()


@exchange("h2")
async def h2_closed_unread(scene: Scene) -> None:
    await (await scene.client.send(scene.url(b"/large"))).close()


@exchange("h2")
async def h2_small_upload(scene: Scene) -> None:
    await read_response(await post(scene, scene.url(b"/a"), b"hello"), b"hello")


@exchange("h2")
async def h2_large_upload(scene: Scene) -> None:
    await read_response(await post(scene, scene.url(b"/a"), UP), UP)


@exchange("h2")
async def h2_streamed_upload(scene: Scene) -> None:
    await read_response(await post(scene, scene.url(b"/a"), [UP[:30_000]] * 5), UP[:150_000])


@exchange("h2")
async def h2_expect(scene: Scene) -> None:
    response = await post(scene, scene.url(b"/expect"), b"hello", (b"Expect", b"100-continue"))
    await read_response(response, b"hello")


@exchange("h2")
async def h2_upload_refused(scene: Scene) -> None:
    response = await post(scene, scene.url(b"/refuse"), UP)
    assert response.status == 413
    await read_response(response, b"no")


@exchange("h2")
async def h2_closed_while_uploading(scene: Scene) -> None:
    """The caller's stream is told, and takes its time."""
    stream: object
    if scene.colour.is_async:
        stream = httpcore.AsyncIteratorByteStream(endless(UP), aclose_func=scene.colour.pause)
    else:
        stream = httpcore.IteratorByteStream(
            itertools.repeat(UP), close_func=lambda: drive(scene.colour.pause())
        )
    response = await scene.client.send(scene.url(b"/early"), b"POST", [HOST], stream, read=5.0, write=5.0)
    await response.first()
    await response.close()


@exchange("h2")
async def h2_two_at_once(scene: Scene) -> None:
    """One response is left unread while another request is served; then it is read after all.

    If sending fails meanwhile, the connection takes no other request, but has its slot until the first is read.
    """
    response = await scene.client.send(scene.url(b"/large"))
    try:
        try:
            await read_response(await scene.client.send(scene.url(b"/a"), pool=0.1), b"/a")
        except httpcore.PoolTimeout:
            assert not _takes_requests(scene)
        await read_response(response, LARGER)
    finally:
        await response.close()


def _takes_requests(scene: Scene) -> bool:
    (place,) = scene.client.pool._pool.ledger.places
    is_usable: bool = place.connection.capacity > 0
    return is_usable


@exchange("h2")
async def h2_refused(scene: Scene) -> None:
    """REFUSED_STREAM, and the request is sent again."""
    await read_response(await post(scene, scene.url(b"/refused"), b"hello"), b"hello")


@exchange("h2")
async def h2_moved(scene: Scene) -> None:
    """GOAWAY leaves the second request out: it goes over another connection."""
    await h2_get(scene)
    await read_response(await post(scene, scene.url(b"/moved"), b"hello"), b"hello")


@exchange("h2")
async def h2_replayed(scene: Scene) -> None:
    """The second request meets a connection that the server drops."""
    await h2_get(scene)
    await read_response(await scene.client.send(scene.url(b"/vanish")), b"/vanish")


@exchange("h2")
async def h2_broken(scene: Scene) -> None:
    """The server makes us reset the stream."""
    try:
        await read_response(await scene.client.send(scene.url(b"/broken")), None)
    except httpcore.RemoteProtocolError:
        pass


@exchange("h2")
async def h2_reset(scene: Scene) -> None:
    """The server resets the stream inside the response."""
    try:
        await read_response(await scene.client.send(scene.url(b"/reset")), b"part and all the rest")
    except httpcore.RemoteProtocolError:
        pass


@exchange("h2")
async def h2_preconnected(scene: Scene) -> None:
    await scene.client.preconnect(scene.url(b"/"))
    await h2_get(scene)


@exchange("h2")
async def h2_tls_get(scene: Scene) -> None:
    await read_response(await scene.client.send(scene.tls_url(b"/a")), b"/a")


@exchange("h2")
async def h2_tls_echo(scene: Scene) -> None:
    await read_response(await post(scene, scene.tls_url(b"/a"), UP), UP)


@exchange("h2")
async def h2_evicting(scene: Scene) -> None:
    """The idle connection to one origin makes room for one to another."""
    await h2_get(scene)
    await h2_tls_get(scene)


@exchange("h2-tunnel")
async def h2_tunnelled(scene: Scene) -> None:
    await h2_tls_get(scene)


__all__ = ["EXCHANGES", "reference"]
