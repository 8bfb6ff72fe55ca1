"""An HTTP/2 server that does exactly what a script says, and watches the client while it does.

`http2(script)` makes a script for `scripted.Server`: over plain TCP for clients with prior knowledge, over TLS with
`h2_context()`. The script gets an `HTTP2Peer` once the preface is here and our SETTINGS are out. It may send any
frame, any block, any bytes; what the client sends goes through the `Referee`, and a violation fails the test.
While it waits, it acknowledges SETTINGS and PINGs and gives back the credit of what is uploaded, unless told not to.
"""

from __future__ import annotations

import ssl
import sys
import traceback
from collections.abc import Callable, Iterable, Sequence

from hpack import Encoder

from .certificates import server_context
from .referee import PREFACE, Code, Field, Flag, Frame, Goaway, Referee, Setting, Stream, Type, Violation
from .scripted import PATIENCE, Peer, Script

HTTP2Script = Callable[["HTTP2Peer"], None]

Responder = Callable[["HTTP2Peer", Stream], None]


class ClientGone(ConnectionError):
    """The client closed the connection. A script that does not expect it simply ends."""


class Silence(AssertionError):
    """The client said nothing for as long as anyone waits."""


def http2(script: HTTP2Script, settings: dict[int, int] | None = None, *, greets: bool = True) -> Script:
    """Run `script` for each connection, behind `settings` of ours; without `greets`, behind none."""

    def run(peer: Peer) -> None:
        _guard(HTTP2Peer(peer), script, settings or {}, greets)

    return run


def first_then_serve(
    script: HTTP2Script, settings: dict[int, int] | None = None, *, greets: bool = True
) -> Script:
    """The first connection runs `script`; the ones after it are served well."""
    first, others = http2(script, settings, greets=greets), http2(serve)
    return lambda peer: first(peer) if peer.number == 0 else others(peer)


def serve(peer: HTTP2Peer) -> None:
    """The script of a well-behaved server."""
    peer.serve()


def h2_context(*protocols: str) -> ssl.SSLContext:
    """A server's context that agrees to h2, or to `protocols` instead."""
    context = server_context()
    context.set_alpn_protocols(list(protocols or ("h2",)))
    return context


def _guard(peer: HTTP2Peer, script: HTTP2Script, settings: dict[int, int], greets: bool) -> None:
    try:
        if greets:
            peer.settings(settings)
        peer.see_preface()
        script(peer)
    except ClientGone:
        pass
    except AssertionError:
        # The test often fails first, of what the client makes of the end: then this is the reason.
        traceback.print_exc(file=sys.stderr)
        raise


def frame(kind: int, flags: int = 0, stream_id: int = 0, payload: bytes = b"") -> bytes:
    """The bytes of a frame; nothing about it is checked."""
    return len(payload).to_bytes(3, "big") + bytes((kind, flags)) + stream_id.to_bytes(4, "big") + payload


def settings_payload(settings: Iterable[tuple[int, int]]) -> bytes:
    return b"".join(key.to_bytes(2, "big") + value.to_bytes(4, "big") for key, value in settings)


def literal(name: bytes, value: bytes) -> bytes:
    """A field as a literal that touches no table and uses no Huffman code."""
    return b"\0" + _string(name) + _string(value)


def _string(text: bytes) -> bytes:
    return integer(len(text), 7) + text


def integer(value: int, prefix: int, first: int = 0) -> bytes:
    """RFC 7541 §5.1."""
    limit = 2**prefix - 1
    if value < limit:
        return bytes((first | value,))
    encoded = bytearray((first | limit,))
    value -= limit
    while value >= 128:
        encoded.append(value % 128 + 128)
        value //= 128
    encoded.append(value)
    return bytes(encoded)


class HTTP2Peer:
    """The server's end of an HTTP/2 connection."""

    def __init__(self, peer: Peer) -> None:
        self.peer = peer
        self.server = peer.server
        self.referee = Referee()
        self.encoder = Encoder()
        self.acknowledges_settings = True
        self.answers_pings = True
        self.gives_credit = True
        """Whether uploaded bytes are credited as soon as they are here."""
        self.frames: list[Frame] = []
        """The last frames of the client, the newest at the end."""
        self._buffer = bytearray()
        self._ping_count = 0
        self._queued: dict[int, tuple[Stream, bytearray, list[Field]]] = {}
        """Stream → what `answer_soon` still has to send."""
        self._timeout: float | None = -1.0

    @property
    def number(self) -> int:
        """Which connection of the server this is, from 0."""
        return self.peer.number

    def see_preface(self) -> None:
        preface = self._recv_exactly(len(PREFACE), PATIENCE)
        if preface != PREFACE:
            raise Violation(f"this is no preface: {preface!r}")

    # Sending.

    def send(self, data: bytes) -> None:
        try:
            self.peer.sock.sendall(data)
        except OSError as exc:
            raise ClientGone("The client is gone, or does not read.") from exc

    def frame(self, kind: int, flags: int = 0, stream_id: int = 0, payload: bytes = b"") -> None:
        """Send one frame, whatever it is. What it means is noted nowhere."""
        self.send(frame(kind, flags, stream_id, payload))

    def settings(self, settings: dict[int, int]) -> None:
        self.referee.note_settings(settings)
        self.frame(Type.SETTINGS, payload=settings_payload(settings.items()))

    def block(self, fields: Iterable[Field], *, huffman: bool = True) -> bytes:
        """An encoded header block. It has to be sent, or the tables are no longer in step."""
        return bytes(self.encoder.encode(list(fields), huffman=huffman))

    def headers(
        self,
        stream: Stream | int,
        fields: Iterable[Field] = (),
        *,
        ends: bool = False,
        block: bytes | None = None,
        cut: int = 16_384,
        padding: int | None = None,
    ) -> None:
        """Send fields, or an encoded block, in frames of at most `cut` bytes."""
        stream_id = self._id(stream)
        block = self.block(fields) if block is None else block
        pieces = [block[i : i + cut] for i in range(0, len(block), cut)] or [b""]
        flags = Flag.END_STREAM * ends
        first = pieces[0]
        if padding is not None:
            flags |= Flag.PADDED
            first = bytes((padding,)) + first + bytes(padding)
        out = [frame(Type.HEADERS, flags | Flag.END_HEADERS * (len(pieces) == 1), stream_id, first)]
        for i, piece in enumerate(pieces[1:], 2):
            out.append(frame(Type.CONTINUATION, Flag.END_HEADERS * (i == len(pieces)), stream_id, piece))
        self._note_end(stream_id, ends)
        self.send(b"".join(out))

    def data(
        self, stream: Stream | int, content: bytes, *, ends: bool = False, padding: int | None = None
    ) -> None:
        """Send one DATA frame, whatever the windows say; they are reduced."""
        stream_id = self._id(stream)
        flags = Flag.END_STREAM * ends
        if padding is not None:
            flags |= Flag.PADDED
            content = bytes((padding,)) + content + bytes(padding)
        self.referee.note_data(self.referee.streams.get(stream_id), len(content))
        self._note_end(stream_id, ends)
        self.frame(Type.DATA, flags, stream_id, content)

    def _note_end(self, stream_id: int, ends: bool) -> None:
        stream = self.referee.streams.get(stream_id)
        if ends and stream is not None:
            self.referee.note_end(stream)

    def body(self, stream: Stream, content: bytes, *, ends: bool = True) -> None:
        """Send DATA as far as the windows allow, and wait for more credit."""
        view = memoryview(content)
        while view:
            room = min(stream.window, self.referee.window, self.referee.frame_size, len(view))
            if stream.is_over:
                return
            if room <= 0:
                self.step()
                continue
            self.data(stream, bytes(view[:room]), ends=ends and room == len(view))
            view = view[room:]
        if ends and not content:
            self.data(stream, b"", ends=True)

    def answer(
        self,
        stream: Stream,
        body: bytes = b"ok",
        *,
        status: int = 200,
        fields: Sequence[Field] = (),
        trailers: Sequence[Field] = (),
    ) -> None:
        """A complete response."""
        head = [(b":status", b"%d" % status), (b"content-length", b"%d" % len(body)), *fields]
        self.headers(stream, head, ends=not body and not trailers)
        if body:
            self.body(stream, body, ends=not trailers)
        if trailers:
            self.headers(stream, trailers, ends=True)

    def answer_soon(self, stream: Stream, body: bytes = b"ok", *, trailers: Sequence[Field] = ()) -> None:
        """A complete response whose body leaves beside others', as `serve` finds the windows open."""
        head = [(b":status", b"200"), (b"content-length", b"%d" % len(body))]
        self.headers(stream, head, ends=not body and not trailers)
        if body or trailers:
            self.send_soon(stream, body, trailers=trailers)

    def send_soon(self, stream: Stream, body: bytes, *, trailers: Sequence[Field] = ()) -> None:
        """The same for a body whose head has been sent."""
        self._queued[stream.id] = (stream, bytearray(body), list(trailers))
        self._pump()

    def _pump(self) -> None:
        """Send what `answer_soon` has left, a frame of each stream at a time."""
        moved = True
        while moved and self._queued:
            moved = False
            for key, (stream, rest, trailers) in list(self._queued.items()):
                if stream.is_over:
                    del self._queued[key]
                    continue
                room = max(0, min(stream.window, self.referee.window, self.referee.frame_size, len(rest)))
                if room or not rest:
                    moved = True
                    piece = bytes(rest[:room])
                    del rest[:room]
                    if piece:
                        self.data(stream, piece, ends=not rest and not trailers)
                    if not rest:
                        if trailers:
                            self.headers(stream, trailers, ends=True)
                        del self._queued[key]

    def reset(self, stream: Stream | int, code: int) -> None:
        stream_id = self._id(stream)
        known = self.referee.streams.get(stream_id)
        if known is not None:
            self.referee.note_reset(known)
        self.frame(Type.RST_STREAM, 0, stream_id, int(code).to_bytes(4, "big"))

    def goaway(self, last: Stream | int, code: int = Code.NO_ERROR, debug: bytes = b"") -> None:
        """Say goodbye: streams above `last` were not processed."""
        self.referee.note_goaway()
        payload = self._id(last).to_bytes(4, "big") + int(code).to_bytes(4, "big") + debug
        self.frame(Type.GOAWAY, 0, 0, payload)

    def credit(self, stream: Stream | int, size: int) -> None:
        """Let the client send `size` bytes more; 0 is the connection."""
        stream_id = self._id(stream)
        self.referee.note_credit(self.referee.streams[stream_id] if stream_id else None, size)
        self.frame(Type.WINDOW_UPDATE, 0, stream_id, size.to_bytes(4, "big"))

    def close(self) -> None:
        self.peer.half_close()

    @staticmethod
    def _id(stream: Stream | int) -> int:
        return stream if isinstance(stream, int) else stream.id

    # Receiving.

    def step(self, patience: float | None = PATIENCE) -> Frame:
        """Take one frame of the client: check it, and do what is done with every frame of its kind."""
        head = self._recv_exactly(9, patience)
        received = Frame(
            head[3],
            head[4],
            int.from_bytes(head[5:], "big") & 0x7FFFFFFF,
            self._recv_exactly(int.from_bytes(head[:3], "big"), PATIENCE),
        )
        self.frames.append(received)
        del self.frames[:-1000]
        self.referee.see(received)
        if received.type == Type.SETTINGS and not received.flags & Flag.ACK:
            table_size = self.referee.client_settings.get(Setting.HEADER_TABLE_SIZE, 4096)
            if table_size != self.encoder.header_table_size:
                self.encoder.header_table_size = table_size
            if self.acknowledges_settings:
                self._reply(frame(Type.SETTINGS, Flag.ACK))
        elif received.type == Type.PING and not received.flags & Flag.ACK and self.answers_pings:
            self._reply(frame(Type.PING, Flag.ACK, 0, received.payload))
        elif received.type == Type.DATA and self.gives_credit and received.payload:
            self._give_back(received)
        return received

    def _give_back(self, received: Frame) -> None:
        size = len(received.payload)
        self.referee.note_credit(None, size)
        data = frame(Type.WINDOW_UPDATE, 0, 0, size.to_bytes(4, "big"))
        stream = self.referee.streams.get(received.stream_id)
        if stream is not None and not stream.is_ended and not stream.is_over:
            self.referee.note_credit(stream, size)
            data += frame(Type.WINDOW_UPDATE, 0, stream.id, size.to_bytes(4, "big"))
        self._reply(data)

    def _reply(self, data: bytes) -> None:
        """Send what follows from what the client sent. Though it may be gone, the rest it said counts."""
        try:
            self.send(data)
        except ClientGone:
            pass

    def recv_request(self, *, whole: bool = True) -> Stream:
        """The next request nobody has taken yet, with its body and trailers if it is to be `whole`."""
        while True:
            request = self._take(whole)
            if request is not None:
                return request
            self.step()

    def recv_requests(self, count: int) -> list[Stream]:
        return [self.recv_request() for _ in range(count)]

    def _take(self, whole: bool) -> Stream | None:
        opened = self.referee.opened
        for stream in opened:
            if stream.is_ended or not whole:
                opened.remove(stream)
                return stream
            if stream.reset_code is not None:
                opened.remove(stream)
                break
        return None

    def warm_up(self, settings: dict[int, int] | None = None) -> None:
        """Answer a first request once the client is known to have seen our settings, and these."""
        request = self.recv_request()
        if settings is not None:
            self.settings(settings)
        self.barrier()
        self.answer(request)

    def serve(
        self,
        responder: Responder | None = None,
        *,
        on_open: Callable[[HTTP2Peer, Stream], bool] | None = None,
    ) -> None:
        """Answer every request with its own path, or as `responder` does, until the client leaves.

        `on_open` is asked first, when a request's body may not be here yet; it says whether it has answered.
        """
        waiting: list[Stream] = []
        while True:
            while (opened := self._take(whole=False)) is not None:
                if on_open is None or not on_open(self, opened):
                    waiting.append(opened)
            request = next((stream for stream in waiting if stream.is_ended or stream.is_over), None)
            if request is None:
                self.step(patience=None)
                self._pump()
                continue
            waiting.remove(request)
            if request.reset_code is not None:
                continue
            if responder is None:
                self.answer_soon(request, request.path)
            else:
                responder(self, request)

    def barrier(self) -> None:
        """Wait until the client has seen all that was sent so far."""
        self._ping_count += 1
        payload = self._ping_count.to_bytes(8, "big")
        self.referee.note_ping(payload)
        self.frame(Type.PING, 0, 0, payload)
        self.wait_for(lambda: payload not in self.referee._awaited, "the answer to a PING")

    def wait_for(self, condition: Callable[[], bool], what: str) -> None:
        """Take frames until the condition holds."""
        try:
            while not condition():
                self.step()
        except (ClientGone, Silence) as exc:
            raise AssertionError(f"The client left, or fell silent, before {what}: {exc}") from exc

    def wait_for_body(self, stream: Stream, size: int) -> None:
        """Wait until so much of a request's body is here."""
        self.wait_for(lambda: len(stream.body) >= size, f"{size} bytes of a body")

    def expect_goaway(self, *codes: Code) -> Goaway:
        """The client ends the connection, with one of these codes."""
        self.wait_for(lambda: self.referee.goaway is not None, f"GOAWAY({codes[0].name})")
        goaway = self.referee.goaway
        assert goaway is not None
        assert goaway.code in codes, goaway
        return goaway

    def expect_rst(self, stream: Stream, *codes: Code) -> None:
        """The client ends this one stream, with one of these codes."""
        self.wait_for(lambda: stream.reset_code is not None, f"RST_STREAM({codes[0].name})")
        assert stream.reset_code in codes, stream.reset_code

    def expect_end(self) -> None:
        """The client closes the connection, whatever it says before."""
        try:
            while True:
                self.step()
        except ClientGone:
            pass

    def check_window(self) -> None:
        """No credit was lost: nearly all that the client ever granted on the connection is free."""
        self.barrier()
        assert self.referee.window >= self.referee.largest_window // 2, (
            self.referee.window,
            self.referee.largest_window,
        )

    def _recv_exactly(self, size: int, patience: float | None) -> bytes:
        buffer = self._buffer
        while len(buffer) < size:
            sock = self.peer.sock
            if patience != self._timeout:
                sock.settimeout(patience)
                self._timeout = patience
            try:
                data = sock.recv(65_536)
            except TimeoutError as exc:
                raise Silence(f"Nothing came for {patience} s.") from exc
            except OSError as exc:
                raise ClientGone("The connection broke.") from exc
            if not data:
                raise ClientGone("The client closed the connection.")
            buffer += data
        data = bytes(buffer[:size])
        del buffer[:size]
        return data


__all__ = [
    "ClientGone", "Code", "Field", "Flag", "Frame", "Goaway", "HTTP2Peer", "Setting", "Stream", "Type", "Violation",
    "first_then_serve", "frame", "h2_context", "http2", "integer", "literal", "serve", "settings_payload",
]  # fmt: skip
