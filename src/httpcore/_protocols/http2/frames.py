"""Frames and their numbers (RFC 9113 §4, §6)."""

from __future__ import annotations

import struct

from .errors import ErrorCode, Fault

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
"""RFC 9113 §3.4: the first bytes of a client."""

HEADER_SIZE = 9

DATA = 0x0
HEADERS = 0x1
PRIORITY = 0x2
RST_STREAM = 0x3
SETTINGS = 0x4
PUSH_PROMISE = 0x5
PING = 0x6
GOAWAY = 0x7
WINDOW_UPDATE = 0x8
CONTINUATION = 0x9

NAMES = {
    DATA: "DATA",
    HEADERS: "HEADERS",
    PRIORITY: "PRIORITY",
    RST_STREAM: "RST_STREAM",
    SETTINGS: "SETTINGS",
    PUSH_PROMISE: "PUSH_PROMISE",
    PING: "PING",
    GOAWAY: "GOAWAY",
    WINDOW_UPDATE: "WINDOW_UPDATE",
    CONTINUATION: "CONTINUATION",
}

# Flags: one bit means different things on different frames.
ACK = 0x1
END_STREAM = 0x1
END_HEADERS = 0x4
PADDED = 0x8
HAS_PRIORITY = 0x20

LARGEST_ID = 2**31 - 1


def describe_frame(kind: int) -> str:
    name = NAMES.get(kind)
    return f"a frame of the unknown type {kind:#x}" if name is None else f"a {name} frame"


_pack = struct.Struct(">IBI").pack

unpack_header = struct.Struct(">IBI").unpack_from
"""`(size << 8 | kind, flags, stream id with its reserved bit)`."""

unpack_number = struct.Struct(">I").unpack_from
"""The 31 or 32 bits with which RST_STREAM, GOAWAY and WINDOW_UPDATE begin."""

unpack_setting = struct.Struct(">HI").iter_unpack

_pack_window_update = struct.Struct(">IBII").pack


def pack_header(kind: int, flags: int, stream_id: int, size: int) -> bytes:
    return _pack(size << 8 | kind, flags, stream_id)


def pack_frame(kind: int, flags: int, stream_id: int, payload: bytes) -> bytes:
    return _pack(len(payload) << 8 | kind, flags, stream_id) + payload


def pack_window_update(stream_id: int, credit: int) -> bytes:
    return _pack_window_update(4 << 8 | WINDOW_UPDATE, 0, stream_id, credit)


def pack_reset(stream_id: int, code: int) -> bytes:
    return _pack_window_update(4 << 8 | RST_STREAM, 0, stream_id, code)


def pack_goaway(code: int, reason: bytes = b"") -> bytes:
    """From a client: the server has opened no stream, so the last one is 0 (RFC 9113 §6.8)."""
    return pack_frame(GOAWAY, 0, 0, struct.pack(">II", 0, code) + reason)


def pack_settings(settings: dict[int, int]) -> bytes:
    return pack_frame(SETTINGS, 0, 0, b"".join([struct.pack(">HI", *entry) for entry in settings.items()]))


SETTINGS_ACK = pack_frame(SETTINGS, ACK, 0, b"")


def strip_padding(payload: bytes) -> bytes:
    """RFC 9113 §6.1."""
    if not payload:
        raise Fault(ErrorCode.FRAME_SIZE_ERROR, "a padded frame without the length of its padding")
    padding = payload[0]
    if padding >= len(payload):
        raise Fault(
            ErrorCode.PROTOCOL_ERROR, f"{padding} bytes of padding in a frame of {len(payload)} bytes"
        )
    return payload[1 : len(payload) - padding]


def check_size(kind: int, payload: bytes, size: int) -> None:
    if len(payload) != size:
        raise Fault(
            ErrorCode.FRAME_SIZE_ERROR,
            f"{describe_frame(kind)} of {len(payload)} bytes instead of {size}",
        )


def check_connection_frame(kind: int, stream_id: int) -> None:
    if stream_id:
        raise Fault(ErrorCode.PROTOCOL_ERROR, f"{describe_frame(kind)} on stream {stream_id}")


def split_block(stream_id: int, block: bytes, *, ends: bool, limit: int) -> bytes:
    """A block of fields in several frames, between which there may be nothing else (RFC 9113 §4.3)."""
    pieces = [block[at : at + limit] for at in range(0, len(block), limit)]
    first, *others, last = pieces
    found = [pack_frame(HEADERS, END_STREAM if ends else 0, stream_id, first)]
    found += [pack_frame(CONTINUATION, 0, stream_id, other) for other in others]
    found.append(pack_frame(CONTINUATION, END_HEADERS, stream_id, last))
    return b"".join(found)
