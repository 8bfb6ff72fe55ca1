"""What can be wrong with what the peer sends, and the codes that say so (RFC 9113 §5.4, §7)."""

from __future__ import annotations

import enum


class ErrorCode(enum.IntEnum):
    """Why a stream or a connection ended (RFC 9113 §7)."""

    NO_ERROR = 0x0
    PROTOCOL_ERROR = 0x1
    INTERNAL_ERROR = 0x2
    FLOW_CONTROL_ERROR = 0x3
    SETTINGS_TIMEOUT = 0x4
    STREAM_CLOSED = 0x5
    FRAME_SIZE_ERROR = 0x6
    REFUSED_STREAM = 0x7
    CANCEL = 0x8
    COMPRESSION_ERROR = 0x9
    CONNECT_ERROR = 0xA
    ENHANCE_YOUR_CALM = 0xB
    INADEQUATE_SECURITY = 0xC
    HTTP_1_1_REQUIRED = 0xD


def describe_code(code: int) -> str:
    """The name of an error code; unknown ones are allowed, and mean nothing special."""
    try:
        return ErrorCode(code).name
    except ValueError:
        return f"unknown error code {code:#x}"


class Fault(Exception):
    """The peer broke a rule: ends the connection, or the stream whose id it carries. Stays in this room."""

    def __init__(self, code: ErrorCode, reason: str, *, stream_id: int = 0) -> None:
        self.code = code
        self.reason = reason
        self.stream_id = stream_id


def describe_fault(code: ErrorCode, reason: str) -> str:
    return f"The peer broke the rules of HTTP/2 ({code.name}): {reason}."
