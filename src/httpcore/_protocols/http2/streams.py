"""One stream: the two halves of an exchange (RFC 9113 §5.1)."""

from __future__ import annotations

import enum
from collections import deque
from collections.abc import Sequence

from ..._exceptions import RemoteProtocolError
from ..._types import Field
from ..hpack import FieldBlock
from .errors import ErrorCode, Fault, describe_code
from .flow import STREAM_WINDOW, TINY_SIZE
from .responses import ParsedHead, ResponseHead, describe_flaw


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
"""What is missing of a body of unknown length: more than can ever arrive, and twice what a length may say."""

NOTHING: deque[bytes] = deque(maxlen=0)
"""Stays empty, whatever is put into it: a queue of its own would be most of what a waiting stream takes."""


class Stream:
    """What the wire knows of one exchange. The connection reads it.

    Without an id until `Engine.open_stream`; RFC 9113 §5.1 calls that "idle".
    """

    __slots__ = (
        "capacity_left",
        "data",
        "error",
        "head",
        "id",
        "interim",
        "is_ended",
        "is_refused",
        "is_sent",
        "method",
        "missing",
        "send_window",
        "stage",
        "stops_upload",
        "taken",
        "trailers",
        "window",
    )

    def __init__(self) -> None:
        self.id = 0
        self.stage = _HEAD
        # The request.
        self.method = b""
        self.send_window = 0
        """Bytes of DATA that the peer takes; negative after it has lowered INITIAL_WINDOW_SIZE."""
        self.is_sent = False
        """Whether our half is complete: END_STREAM is queued."""
        self.stops_upload = False
        """Whether the response is complete and the peer will not take the rest of the request (RFC 9113
        §8.1). There is no `error` then."""
        # The response.
        self.head: ResponseHead | None = None
        """The final head."""
        self.interim: Sequence[ResponseHead] = ()
        """The 1xx heads."""
        self.data = NOTHING
        """What has arrived of the body and was not taken. Who takes it calls `Engine.consume`."""
        self.trailers: Sequence[Field] = ()
        self.is_ended = False
        """Whether the response is complete: END_STREAM has arrived, and the length is right."""
        self.missing = UNLIMITED
        """Bytes of the body that are still to come."""
        # Credit: what is left + what is unread + what was taken and not yet returned = the window.
        self.window = STREAM_WINDOW
        self.capacity_left = STREAM_WINDOW
        self.taken = 0
        # The end.
        self.error: Exception | None = None
        """Why the stream ended before its response was complete. What arrived before can be taken."""
        self.is_refused = False
        """Whether the peer says that it has not processed the request (RFC 9113 §8.7)."""

    def __repr__(self) -> str:
        return f"<Stream {self.id}: {self.stage.value}>"

    @property
    def unread(self) -> int:
        """Bytes of credit that is used and not yet given up by `Engine.consume`."""
        return self.window - self.capacity_left - self.taken

    # What the peer says. Each of these raises a `Fault` of this stream, and then nothing has changed.

    def take_head(self, head: ParsedHead, *, ends: bool, interim_count: int) -> bool:
        """Returns whether it is the final one. RFC 9113 §8.1."""
        if head.fault:
            raise Fault(ErrorCode.PROTOCOL_ERROR, head.fault, stream_id=self.id)
        status = head.status
        if status < 200:
            if ends:
                raise Fault(
                    ErrorCode.PROTOCOL_ERROR, f"a response that ends with a {status}", stream_id=self.id
                )
            if len(self.interim) >= interim_count:
                raise Fault(
                    ErrorCode.ENHANCE_YOUR_CALM,
                    f"more than {interim_count} interim responses",
                    stream_id=self.id,
                )
            self.interim = [*self.interim, ResponseHead(status, [*head.fields])]
            return False
        # RFC 9113 §8.1.1: where there can be no content, its length says what there would have been.
        if status == 204 or status == 304 or self.method == b"HEAD":
            self.missing = 0
        elif head.length is not None and not (status < 300 and self.method == b"CONNECT"):
            self.missing = head.length
        self.head = _make_head(ResponseHead, (status, [*head.fields]))
        self.stage = _BODY
        return True

    def take_trailers(self, block: FieldBlock, *, ends: bool) -> None:
        """RFC 9113 §8.1."""
        if not ends:
            raise Fault(ErrorCode.PROTOCOL_ERROR, "trailers that do not end the response", stream_id=self.id)
        if flaw := describe_flaw(block.fields):
            raise Fault(ErrorCode.PROTOCOL_ERROR, f"trailers with {flaw}", stream_id=self.id)
        self.trailers = [*block.fields]

    def expect_data(self, size: int, payload_size: int) -> None:
        """A DATA frame of `size` bytes begins, of which `payload_size` belong to the body."""
        if self.stage is _ENDED:
            # RFC 9113 §5.1, "half-closed (remote)".
            raise Fault(ErrorCode.STREAM_CLOSED, "DATA after the end of the response", stream_id=self.id)
        if self.stage is _HEAD:
            raise Fault(ErrorCode.PROTOCOL_ERROR, "DATA before the head of the response", stream_id=self.id)
        if size > self.capacity_left:
            raise Fault(
                ErrorCode.FLOW_CONTROL_ERROR,
                f"DATA of {size} bytes, where the stream's window has {self.capacity_left} left",
                stream_id=self.id,
            )
        if payload_size > self.missing:
            has_none = self.method == b"HEAD" or (self.head is not None and self.head.status in (204, 304))
            limit = "where there is none" if has_none else "longer than its Content-Length"
            raise Fault(ErrorCode.PROTOCOL_ERROR, f"a body {limit}", stream_id=self.id)
        self.missing -= payload_size
        self.capacity_left -= size
        # Padding is taken by nobody.
        self.taken += size - payload_size

    def append(self, piece: bytes) -> None:
        """Keep a piece of the body. An object for each byte would make fifty of it."""
        data = self.data
        if data is NOTHING:
            self.data = deque((piece,))
            return
        if len(piece) < TINY_SIZE:
            try:
                last = data[-1]
                if len(last) < TINY_SIZE:
                    data[-1] = last + piece
                    return
            except IndexError:
                # Nothing was left, or nothing is: another thread takes what is there meanwhile.
                pass
        data.append(piece)

    @property
    def is_short(self) -> bool:
        """Whether bytes are missing that Content-Length has promised (RFC 9113 §8.1.1)."""
        return 0 < self.missing < UNLIMITED // 2

    def note_reset(self, code: int) -> None:
        """RST_STREAM has arrived (RFC 9113 §6.4, §8.1, §8.7)."""
        if self.stage is _ENDED:
            # A complete response counts, whatever the code: HAProxy says CANCEL where NO_ERROR is meant.
            self.stops_upload = True
        else:
            self.error = RemoteProtocolError(self._describe_reset(code))
            # Whoever has answered has processed it, whatever it says now.
            self.is_refused = code == ErrorCode.REFUSED_STREAM and not self.has_answer

    def _describe_reset(self, code: int) -> str:
        name = describe_code(code)
        if code == ErrorCode.REFUSED_STREAM:
            return f"The peer refused the request ({name})."
        if code == ErrorCode.HTTP_1_1_REQUIRED:
            return f"The peer wants HTTP/1.1 for this request ({name})."
        when = "before its response" if self.head is None else "in the middle of its response"
        return f"The peer reset the stream {when} ({name})."

    @property
    def has_answer(self) -> bool:
        return self.head is not None or bool(self.interim)


# What `ResponseHead(...)` comes to, without the function that a NamedTuple has for it.
_make_head = tuple.__new__

# Up to Python 3.11 a member costs as much as a call when it is looked up in its class.
_HEAD, _BODY, _ENDED = Stage.HEAD, Stage.BODY, Stage.ENDED
