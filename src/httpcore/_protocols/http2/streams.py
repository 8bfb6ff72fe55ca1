"""One stream: the two halves of an exchange (RFC 9113 §5.1)."""

from __future__ import annotations

import enum
from collections import deque

from ..fields import Field
from .flow import STREAM_WINDOW
from .responses import ResponseHead


class Stage(enum.Enum):
    """Where the peer's half of a stream is.

        HEAD --final head--> BODY --END_STREAM--> ENDED
          |                                         ^
          +---------- final head, END_STREAM -------+

    RST_STREAM of either side, a violation, or the end of the connection leads from anywhere to GONE. Our own
    half is a yes or no, `Stream.is_sent`. In the words of RFC 9113 §5.1, HEAD and BODY are "open", or
    "half-closed (local)" once `is_sent`; ENDED is "half-closed (remote)", and "closed" once `is_sent`; GONE
    is "closed". Reserved states do not exist without push, and "idle" is an id not yet used.
    """

    HEAD = "the final head has not arrived"
    BODY = "the body is arriving"
    ENDED = "the response is complete"
    GONE = "the stream was reset"


UNLIMITED = 2**64
"""What is missing of a body of unknown length: more than can ever arrive."""


class Stream:
    """What the wire knows of one exchange. The connection reads it, and sets `owner`."""

    __slots__ = (
        "capacity_left",
        "data",
        "error",
        "error_code",
        "has_length",
        "head",
        "id",
        "interim",
        "is_connect",
        "is_ended",
        "is_head",
        "is_refused",
        "is_sent",
        "missing",
        "owner",
        "send_window",
        "stage",
        "stops_upload",
        "taken",
        "trailers",
        "window",
    )

    def __init__(self, stream_id: int, send_window: int, *, is_head: bool, is_connect: bool) -> None:
        self.id = stream_id
        self.owner: object | None = None
        """Whatever the connection wants to find again."""
        self.stage = _HEAD
        # The request.
        self.is_head = is_head
        self.is_connect = is_connect
        self.send_window = send_window
        """Bytes of DATA that the peer takes; negative after it has lowered INITIAL_WINDOW_SIZE."""
        self.is_sent = False
        """Whether our half is complete: END_STREAM is queued."""
        self.stops_upload = False
        """Whether the response is complete and the peer will not take the rest of the request (RFC 9113
        §8.1). There is no `error` then."""
        # The response.
        self.head: ResponseHead | None = None
        """The final head."""
        self.interim: list[ResponseHead] = []
        """The 1xx heads."""
        self.data: deque[bytes] = deque()
        """What has arrived of the body and was not taken. Who takes it calls `Engine.consume`."""
        self.trailers: list[Field] = []
        self.is_ended = False
        """Whether the response is complete: END_STREAM has arrived, and the length is right."""
        self.has_length = False
        self.missing = UNLIMITED
        # Credit: what is left + what is unread + what was taken and not yet returned = the window.
        self.window = STREAM_WINDOW
        self.capacity_left = STREAM_WINDOW
        self.taken = 0
        # The end.
        self.error: Exception | None = None
        """Why the stream ended before its response was complete. What arrived before can be taken."""
        self.error_code: int | None = None
        """Of the peer's RST_STREAM or GOAWAY."""
        self.is_refused = False
        """Whether the peer says that it has not processed the request (RFC 9113 §8.7)."""

    def __repr__(self) -> str:
        return f"<Stream {self.id}: {self.stage.value}>"

    @property
    def unread(self) -> int:
        """Bytes of credit that is used and not yet given up by `Engine.consume`."""
        return self.window - self.capacity_left - self.taken


# Up to Python 3.11 a member costs as much as a call when it is looked up in its class.
_HEAD = Stage.HEAD
