"""The referee lets a client that knows the protocol pass, and no other."""

from __future__ import annotations

import socket
from collections.abc import Callable

import h2.config
import h2.connection
import h2.events
import pytest
from hpack import Encoder

from .http2 import Flag, HTTP2Peer, Type, frame, http2, serve, settings_payload
from .referee import PREFACE, Frame, Referee, Violation
from .scripted import Server

GET = [(b":method", b"GET"), (b":scheme", b"http"), (b":authority", b"h"), (b":path", b"/")]


def test_another_client_is_served() -> None:
    """Uploads and downloads beyond the windows, many streams, trailers: `h2` finds no fault, nor does the referee."""

    def script(peer: HTTP2Peer) -> None:
        peer.serve(
            lambda peer, request: peer.answer_soon(request, bytes(request.body), trailers=[(b"t", b"v")])
        )

    size = 200_000
    with Server(http2(script)) as server, socket.create_connection(("127.0.0.1", server.port)) as sock:
        client = h2.connection.H2Connection(h2.config.H2Configuration(header_encoding=None))
        client.local_settings.enable_push = 0
        client.local_settings.acknowledge()
        client.initiate_connection()
        rest = {}
        for stream_id in (1, 3, 5):
            client.send_headers(stream_id, [(b":method", b"POST"), *GET[1:]])
            rest[stream_id] = size
        received = dict.fromkeys(rest, 0)
        trailers: list[object] = []
        while len(trailers) < 3:
            for stream_id, left in list(rest.items()):
                while left and (room := min(client.local_flow_control_window(stream_id), 16_384, left)):
                    client.send_data(stream_id, b"x" * room, end_stream=room == left)
                    left = rest[stream_id] = left - room
            sock.sendall(client.data_to_send())
            for event in client.receive_data(sock.recv(65_536)):
                if isinstance(event, h2.events.DataReceived):
                    received[event.stream_id] += len(event.data)
                    client.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
                elif isinstance(event, h2.events.TrailersReceived):
                    trailers.append(event.headers)
        assert received == dict.fromkeys(rest, size)
        assert [[tuple(field) for field in fields] for fields in trailers] == [[(b"t", b"v")]] * 3  # type: ignore[attr-defined]


def test_a_violation_fails_the_test() -> None:
    def meet() -> None:
        with Server(http2(serve)) as server, socket.create_connection(("127.0.0.1", server.port)) as sock:
            sock.sendall(PREFACE + frame(Type.PING, payload=b"12345678"))
            while sock.recv(65_536):
                pass

    with pytest.raises(Violation, match="SETTINGS come first"):
        meet()


def _headers(stream_id: int, fields: list[tuple[bytes, bytes]], flags: int = Flag.END_HEADERS) -> Frame:
    return Frame(Type.HEADERS, flags, stream_id, Encoder().encode(fields, huffman=False))


VIOLATIONS: dict[str, Callable[[], list[Frame]]] = {
    "overrun": lambda: [_headers(1, GET), *[Frame(Type.DATA, 0, 1, bytes(16_000))] * 5],
    "end": lambda: [_headers(1, GET, Flag.END_HEADERS | Flag.END_STREAM), Frame(Type.DATA, 0, 1, b"x")],
    "idle": lambda: [Frame(Type.RST_STREAM, 0, 1, bytes(4))],
    "even": lambda: [_headers(2, GET)],
    "reset": lambda: [_headers(1, GET), Frame(Type.RST_STREAM, 0, 1, bytes(4)), Frame(Type.DATA, 0, 1, b"x")],
    "long": lambda: [_headers(1, GET), Frame(Type.DATA, 0, 1, bytes(16_385))],
    "interrupted": lambda: [_headers(1, GET, 0), Frame(Type.PING, 0, 0, bytes(8))],
    "undecodable": lambda: [Frame(Type.HEADERS, Flag.END_HEADERS, 1, b"\xff\xff\xff")],
    "no path": lambda: [_headers(1, GET[:3])],
    "upper case": lambda: [_headers(1, [*GET, (b"A", b"b")])],
    "host": lambda: [_headers(1, [*GET, (b"host", b"h")])],
    "nothing to acknowledge": lambda: [Frame(Type.SETTINGS, Flag.ACK, 0, b"")],
    "no credit": lambda: [Frame(Type.WINDOW_UPDATE, 0, 0, bytes(4))],
    "too much credit": lambda: [Frame(Type.WINDOW_UPDATE, 0, 0, (2**31 - 1).to_bytes(4, "big"))],
    "push": lambda: [Frame(Type.SETTINGS, 0, 0, settings_payload([(2, 1)]))],
}


@pytest.mark.parametrize("name", VIOLATIONS)
def test_violations(name: str) -> None:
    referee = Referee()
    referee.see(Frame(Type.SETTINGS, 0, 0, b""))
    with pytest.raises(Violation):
        for sent in VIOLATIONS[name]():
            referee.see(sent)


def test_what_a_client_may_not_know_yet_is_not_held_against_it() -> None:
    referee = Referee()
    referee.see(Frame(Type.SETTINGS, 0, 0, b""))
    referee.see(_headers(1, GET))
    referee.note_reset(referee.streams[1])
    referee.note_ping(b"12345678")
    referee.see(Frame(Type.DATA, 0, 1, b"late"))
    referee.see(Frame(Type.PING, Flag.ACK, 0, b"12345678"))
    with pytest.raises(Violation, match="knows"):
        referee.see(Frame(Type.DATA, 0, 1, b"too late"))
