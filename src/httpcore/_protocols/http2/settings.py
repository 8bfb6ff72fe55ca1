"""What the peer has announced, and what we announce (RFC 9113 §6.5)."""

from __future__ import annotations

from .errors import ErrorCode, Fault
from .flow import STREAM_WINDOW
from .frames import pack_settings, unpack_setting
from .limits import Limits

HEADER_TABLE_SIZE = 0x1
ENABLE_PUSH = 0x2
MAX_CONCURRENT_STREAMS = 0x3
INITIAL_WINDOW_SIZE = 0x4
MAX_FRAME_SIZE = 0x5
MAX_HEADER_LIST_SIZE = 0x6

SMALLEST_FRAME_LIMIT = 2**14
LARGEST_FRAME_LIMIT = 2**24 - 1
LARGEST_WINDOW = 2**31 - 1

DEFAULT_WINDOW = 2**16 - 1
"""Bytes that a stream, or the connection, may carry before anyone has said otherwise (RFC 9113 §6.9.2)."""

OUR_FRAME_LIMIT = SMALLEST_FRAME_LIMIT
"""Bytes of a frame's payload that the peer may send: the default. DATA is handed on before its frame is
complete, so larger ones would gain nothing."""

PRESUMED_STREAM_COUNT = 100
"""Streams at once before the peer has said anything: what RFC 9113 §6.5.2 asks servers to allow at least."""


def pack_our_settings(limits: Limits) -> bytes:
    """No push; the rest as large as we can bear. The table of HPACK keeps its default size."""
    return pack_settings(
        {
            ENABLE_PUSH: 0,
            INITIAL_WINDOW_SIZE: STREAM_WINDOW,
            MAX_HEADER_LIST_SIZE: limits.header_list_size,
        }
    )


class PeerSettings:
    """What holds for what we send. The defaults are those of RFC 9113 §6.5.2."""

    __slots__ = ("frame_size", "header_list_size", "initial_window", "stream_count", "table_sizes")

    def __init__(self) -> None:
        self.table_sizes: list[int] = []
        """For HPACK, what the last frame said in turn: the smallest counts as well (RFC 7541 §4.2)."""
        self.stream_count: int | None = None
        """Streams that we may have open at once; `None`: as many as we like."""
        self.initial_window = DEFAULT_WINDOW
        self.frame_size = SMALLEST_FRAME_LIMIT
        self.header_list_size: int | None = None

    def apply(self, payload: bytes) -> None:
        """Take a SETTINGS frame whose size is a multiple of six. Raises `Fault`.

        In the order of the entries, so that the last of several counts. Unknown ones are ignored.
        """
        self.table_sizes = []
        for identifier, value in unpack_setting(payload):
            if identifier == HEADER_TABLE_SIZE:
                self.table_sizes.append(value)
            elif identifier == ENABLE_PUSH:
                if value:
                    raise Fault(ErrorCode.PROTOCOL_ERROR, f"a server that sets ENABLE_PUSH to {value}")
            elif identifier == MAX_CONCURRENT_STREAMS:
                self.stream_count = value
            elif identifier == INITIAL_WINDOW_SIZE:
                if value > LARGEST_WINDOW:
                    raise Fault(ErrorCode.FLOW_CONTROL_ERROR, f"an INITIAL_WINDOW_SIZE of {value} bytes")
                self.initial_window = value
            elif identifier == MAX_FRAME_SIZE:
                if not SMALLEST_FRAME_LIMIT <= value <= LARGEST_FRAME_LIMIT:
                    raise Fault(ErrorCode.PROTOCOL_ERROR, f"a MAX_FRAME_SIZE of {value} bytes")
                self.frame_size = value
            elif identifier == MAX_HEADER_LIST_SIZE:
                self.header_list_size = value
