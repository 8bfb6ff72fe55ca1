"""Streams that were reset, and the frames that still come for them (RFC 9113 §5.1, "closed").

What crossed our RST_STREAM is ignored, as far as the window that the stream had. What follows the peer's own
is answered, once. Where both halves have ended nothing can follow. Only so many resets are remembered; below
the last one that was forgotten, anything might be meant for a stream that we have reset.
"""

from __future__ import annotations

from .errors import ErrorCode, Fault
from .frames import describe_frame
from .limits import Limits
from .patience import Patience


class Resets:
    """What is remembered of reset streams."""

    __slots__ = ("_count", "_expected", "_last_forgotten_id", "_patience")

    def __init__(self, limits: Limits, patience: Patience) -> None:
        self._count = limits.remembered_reset_count
        self._patience = patience
        # How many bytes of DATA may still come; complemented if it was the peer who reset the stream.
        self._expected: dict[int, int] = {}
        self._last_forgotten_id = 0

    def __len__(self) -> int:
        return len(self._expected)

    def remember(self, stream_id: int, window: int, *, is_by_peer: bool) -> None:
        """A stream was reset whose window was still open for `window` bytes."""
        expected = self._expected
        if len(expected) >= self._count:
            oldest = next(iter(expected))
            del expected[oldest]
            self._last_forgotten_id = max(self._last_forgotten_id, oldest)
        expected[stream_id] = ~window if is_by_peer else window

    def note_late(self, kind: int, stream_id: int, size: int = 0) -> None:
        """A frame has come for a stream that is closed. Raises `Fault` if it should not have."""
        expected = self._expected.get(stream_id)
        if expected is None:
            if stream_id <= self._last_forgotten_id:
                self._patience.spend()
                return
            raise Fault(
                ErrorCode.STREAM_CLOSED, f"{describe_frame(kind)} on stream {stream_id}, which has ended"
            )
        if expected < 0:
            self._expected[stream_id] = ~expected
            raise Fault(
                ErrorCode.STREAM_CLOSED,
                f"{describe_frame(kind)} on a stream that the peer has reset",
                stream_id=stream_id,
            )
        if size > expected:
            raise Fault(
                ErrorCode.FLOW_CONTROL_ERROR, f"more DATA than the window of stream {stream_id} allows"
            )
        self._expected[stream_id] = expected - size
        if not size:
            self._patience.spend()
