"""Plays the server: makes frames by hand, and reads those that the engine sends."""

from __future__ import annotations

import random
import struct
from collections.abc import Iterable
from typing import NamedTuple

from httpcore._protocols.http2 import DEFAULT_LIMITS, Engine, ErrorCode, Limits, Stream, prepare_fields
from httpcore._protocols.http2.frames import (
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    GOAWAY,
    HEADERS,
    PADDED,
    PING,
    PREFACE,
    RST_STREAM,
    SETTINGS,
    WINDOW_UPDATE,
)

Field = tuple[bytes, bytes]


class Frame(NamedTuple):
    kind: int
    flags: int
    stream_id: int
    payload: bytes


def frame(kind: int, payload: bytes = b"", *, flags: int = 0, stream_id: int = 0) -> bytes:
    return len(payload).to_bytes(3, "big") + struct.pack(">BBI", kind, flags, stream_id) + payload


def settings(entries: Iterable[tuple[int, int]] = (), *, flags: int = 0) -> bytes:
    return frame(SETTINGS, b"".join(struct.pack(">HI", *entry) for entry in entries), flags=flags)


def block(*fields: Field) -> bytes:
    """Fields that leave the dynamic table alone: literals, not indexed (RFC 7541 §6.2.2)."""
    return b"".join(b"\0" + _string(name) + _string(value) for name, value in fields)


def _string(text: bytes) -> bytes:
    size = len(text)
    if size < 127:
        return bytes([size]) + text
    size -= 127
    head = bytearray([127])
    while size >= 128:
        head.append(size % 128 + 128)
        size //= 128
    return bytes(head) + bytes([size]) + text


def headers(
    stream_id: int,
    *fields: Field,
    status: bytes | None = b"200",
    ends: bool = False,
    continues: bool = False,
) -> bytes:
    """A HEADERS frame; without `status` it holds trailers."""
    payload = block(*(() if status is None else ((b":status", status),)), *fields)
    flags = (END_STREAM if ends else 0) | (0 if continues else END_HEADERS)
    return frame(HEADERS, payload, flags=flags, stream_id=stream_id)


def continuation(stream_id: int, *fields: Field, continues: bool = False) -> bytes:
    return frame(CONTINUATION, block(*fields), flags=0 if continues else END_HEADERS, stream_id=stream_id)


def data(stream_id: int, content: bytes = b"", *, ends: bool = False, padding: int | None = None) -> bytes:
    flags = END_STREAM if ends else 0
    if padding is not None:
        content = bytes([padding]) + content + bytes(padding)
        flags |= PADDED
    return frame(DATA, content, flags=flags, stream_id=stream_id)


def reset(stream_id: int, code: int = ErrorCode.CANCEL) -> bytes:
    return frame(RST_STREAM, struct.pack(">I", code), stream_id=stream_id)


def goaway(last_id: int, code: int = ErrorCode.NO_ERROR, debug: bytes = b"") -> bytes:
    return frame(GOAWAY, struct.pack(">II", last_id, code) + debug)


def window_update(stream_id: int, credit: int) -> bytes:
    return frame(WINDOW_UPDATE, struct.pack(">I", credit), stream_id=stream_id)


def ping(payload: bytes = b"12345678", *, flags: int = 0) -> bytes:
    return frame(PING, payload, flags=flags)


def start(
    entries: Iterable[tuple[int, int]] = (), *, limits: Limits = DEFAULT_LIMITS, engine: Engine | None = None
) -> Engine:
    """An engine that has exchanged SETTINGS with its peer, and whose output was taken."""
    engine = engine or Engine(limits)
    assert engine.feed(settings(entries)) == []
    assert engine.failure is None, engine.failure
    engine.take_output()
    return engine


HOST = (b"Host", b"example.org")


def send(
    engine: Engine,
    method: bytes = b"GET",
    *fields: Field,
    target: bytes = b"/",
    ends: bool = True,
) -> Stream:
    """Open a stream, and take its head from the output."""
    request = prepare_fields(method, b"https", b"example.org", fields)
    stream = engine.open_stream(request, target, ends=ends)
    engine.take_output()
    return stream


def sent(engine: Engine) -> list[Frame]:
    """Take the output as frames."""
    output = engine.take_output().removeprefix(PREFACE)
    found = []
    at = 0
    while at < len(output):
        size = int.from_bytes(output[at : at + 3], "big")
        kind, flags, stream_id = struct.unpack_from(">BBI", output, at + 3)
        payload = output[at + 9 : at + 9 + size]
        assert len(payload) == size
        found.append(Frame(kind, flags, stream_id, payload))
        at += 9 + size
    return found


def sent_data(engine: Engine) -> bytes:
    return b"".join(found.payload for found in sent(engine) if found.kind == DATA)


def body(stream: Stream) -> bytes:
    return b"".join(stream.data)


def take(engine: Engine, stream: Stream) -> bytes:
    """Take all that is here of the body, as the connection does."""
    content = body(stream)
    stream.data.clear()
    engine.consume(stream, len(content))
    return content


def expect_reset(engine: Engine, stream_id: int, code: ErrorCode) -> None:
    """The last thing sent is a reset of this stream, and the connection goes on."""
    assert engine.failure is None, engine.failure
    assert sent(engine)[-1] == (RST_STREAM, 0, stream_id, struct.pack(">I", code))
    assert stream_id not in engine.streams


def expect_failure(engine: Engine, code: ErrorCode) -> str:
    """The last thing sent is a GOAWAY, and nothing is open any more; returns the sentence."""
    assert engine.failure is not None
    last = sent(engine)[-1]
    assert last.kind == GOAWAY
    assert last.stream_id == 0
    assert struct.unpack_from(">II", last.payload) == (0, code), last
    assert engine.streams == {}
    assert engine.capacity == 0
    assert not engine.is_usable
    message = str(engine.failure)
    assert f"({code.name})" in message
    assert message.endswith(".")
    assert len(message) < 300
    return message


def split_at_random(wire: bytes, size: int, generator: random.Random) -> list[bytes]:
    """Pieces of up to `size` bytes."""
    pieces = []
    at = 0
    while at < len(wire):
        end = at + generator.randint(1, size)
        pieces.append(wire[at:end])
        at = end
    return pieces


def splits(wire: bytes) -> list[list[bytes]]:
    """Whole, byte by byte, at every single place if there are few, and a few times at random."""
    ways = [[wire], [wire[i : i + 1] for i in range(len(wire))]]
    if len(wire) <= 300:
        ways += [[wire[:i], wire[i:]] for i in range(1, len(wire))]
    generator = random.Random(len(wire))
    ways += [split_at_random(wire, size, generator) for size in (2, 5, 17, 60, 1000)]
    return ways
