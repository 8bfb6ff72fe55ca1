"""The client's side of one HTTP/1.1 connection: bytes in, heads and bodies out (RFC 9112).

Theory of operation. The two halves of an exchange are independent: the request is framed while the response
may already be here. Received bytes are one buffer and a position in it. `feed` adds to it, `next_head` and
`next_data` take from it and say `None` when it does not hold enough. It is usually the very object that was
fed, so a piece that is all body goes out as it came in.

Invariants. Each received byte is searched once and copied a bounded number of times, however it arrives. How
the bytes were split into pieces changes neither heads, nor body, nor whether there is an error. Good bytes
before a fault are handed out before the error is raised. After an error nothing but the same error comes.

Where the standard leaves a choice (see `sections`, `bodies` and `responses` for more):

- anything before the status line is an error, an empty line too: no server sends one today (§2.2);
- a body's length is not looked at where there can be no body: HEAD, 1xx, 204, 304 (§6.3, rule 1);
- Content-Length together with Transfer-Encoding: chunked wins, and the connection ends there (§6.1);
- bytes after a complete response stay unread, and the connection ends there (§9.2).

The file is long because reuse depends on both halves at once; what one of them can do alone has moved out.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from typing import NoReturn

from ..._exceptions import LocalProtocolError, RemoteProtocolError
from ..._types import Buffer, Field
from ..requests import CHUNKED, as_bytes, check_request_line
from .bodies import ChunkedDecoder, ChunkStage
from .limits import DEFAULT_LIMITS, Limits
from .requests import RequestFields, encode_fields
from .responses import Framing, ResponseHead, read_head, try_read_plain_head
from .sections import SectionScanner

JOIN_SIZE = 16 * 1024
"""Bytes up to which a chunk is copied to be sent in one piece with its framing."""

REST_SIZE = 64
"""Bytes up to which an unread rest (half a chunk-size line, mostly) is copied in front of what follows, to be
one `bytes` object with it; a longer one grows in place."""

_FINISHED = -2
"""Stands for the bytes that are still to be framed once there can be no more of them."""


class Stage(enum.Enum):
    """Where the response is.

        IDLE --start_request--> HEAD --final head--> LENGTH, CHUNKED, UNTIL_CLOSE, RAW
                                ^  |                            |
                    start_request  +--head without a body--+    | last byte
                                |                          v    v
                                +----------------------- COMPLETE

    A violation leads from anywhere to FAILED, where it stays.
    """

    IDLE = "no request was sent"
    HEAD = "the final head has not been read"
    LENGTH = "a body of known length is being read"
    CHUNKED = "a chunked body is being read"
    UNTIL_CLOSE = "a body that ends with the connection is being read"
    RAW = "the connection does not speak HTTP any more"
    COMPLETE = "the response is complete"
    FAILED = "the peer broke the rules"


# Up to Python 3.11 a member costs as much as a call when it is looked up in its class.
_HEAD, _LENGTH, _CHUNKED, _COMPLETE = Stage.HEAD, Stage.LENGTH, Stage.CHUNKED, Stage.COMPLETE
_FRAMED_BY_LENGTH, _FRAMED_BY_CHUNKS = Framing.LENGTH, Framing.CHUNKED

_METHODS_APART = frozenset((b"HEAD", b"CONNECT"))
"""The methods that have a part in the framing of the response."""

_SMALLEST_LINE = 4
"""Bytes of a header line: a letter, a colon, and the line end."""


class Engine:
    """One connection, and the exchanges that follow one another on it.

    An exchange is `start_request`, `frame_body` and `finish_body` on the one side, `feed`, `next_head` and
    `next_data` on the other. What the peer does wrong is a `RemoteProtocolError`, what the caller's request
    does wrong a `LocalProtocolError`; calls out of their order are a `RuntimeError`.
    """

    __slots__ = (
        "_at",
        "_chunks",
        "_data",
        "_failure",
        "_field_count",
        "_head_scanner",
        "_head_size",
        "_interim_count",
        "_is_ended",
        "_is_last",
        "_known_head",
        "_largest_body",
        "_limits",
        "_line",
        "_method",
        "_missing",
        "_plain_size",
        "_request",
        "_stage",
        "_target",
        "_unsent",
        "can_reuse",
        "is_complete",
        "is_request_complete",
        "response_started",
        "trailers",
        "wants_close",
    )

    def __init__(self, limits: Limits = DEFAULT_LIMITS) -> None:
        self._limits = limits
        # What was received: a buffer, how far it has been read, and whether the stream has ended.
        self._data: bytes | bytearray = b""
        self._at = 0
        self._is_ended = False
        # Whether the connection ends with this exchange, for whatever reason. There is no way back from that.
        self._is_last = False
        self.can_reuse = True
        """Whether the connection can carry an exchange: both halves of the last are complete, neither side
        wants to close (RFC 9112 §9.3), and not one byte too many has arrived."""
        # The request. What the last one said need not be checked again: its method, target and fields.
        self._method = b""
        self._target = b""
        self._line = b""
        self._request: RequestFields | None = None
        self.is_request_complete = True
        """Whether the request has been framed to its end."""
        self._unsent = 0
        # The response.
        self._stage = Stage.IDLE
        self._failure = ""
        self._head_scanner = SectionScanner(limits, what="response head")
        # What the peer said last, if that may be remembered: it often says the same again, which is seen in
        # a fifth of the time of a search for the end.
        self._known_head: ResponseHead | None = None
        # No head of up to this size can break a limit: neither in bytes nor in fields.
        self._plain_size = min(limits.head_size, limits.field_size, _SMALLEST_LINE * limits.field_count)
        self._largest_body = limits.content_length
        self._head_size = 0
        self._field_count = 0
        self._interim_count = 0
        self._missing = 0
        self._chunks: ChunkedDecoder | None = None
        self.response_started = False
        """Whether a byte has arrived since the request was started."""
        self.wants_close = False
        """Whether the peer says that it closes the connection after this response, so that it takes no more
        of the request (RFC 9112 §9.6); known with the final head."""
        self.is_complete = False
        """Whether the response has been read to its end."""
        self.trailers: list[Field] = []
        """The trailers of a chunked response, once it is complete (RFC 9110 §6.5)."""

    # The request.

    def start_request(self, method: bytes, target: bytes, headers: Sequence[Field]) -> bytes:
        """Begin an exchange; return the request's head.

        Raises `LocalProtocolError`, and then nothing has changed. RFC 9112 §3.
        """
        is_known = target == self._target and method == self._method
        if not is_known:
            check_request_line(method, target)
        request = self._request
        if request is None or headers != request.source:
            request = encode_fields(headers)
        if not self.can_reuse:
            self._refuse_request()
        if not is_known:
            self._method = method
            self._target = target
            self._line = b"".join((method, b" ", target, b" HTTP/1.1\r\n"))
        self._request = request
        if request.asks_close:
            self._is_last = True
        self._unsent = request.length
        # A request without a body ends with its head, and needs no `finish_body`.
        self.is_request_complete = request.length == 0
        self._stage = _HEAD
        if self._head_size:
            self._head_size = self._field_count = self._interim_count = 0
        if self.trailers:
            self.trailers = []
        self.response_started = self.is_complete = self.can_reuse = False
        return self._line + request.block

    @property
    def expects_continue(self) -> bool:
        """Whether that body should wait for the peer's consent (RFC 9110 §10.1.1)."""
        return self._request is not None and self._request.expects_continue

    def frame_body(self, data: Buffer) -> tuple[Buffer, ...]:
        """The next piece of the request body as it goes on the wire; large ones are not copied.

        Raises `LocalProtocolError` for more than the head has announced. RFC 9112 §6.
        """
        request = self._open_request()
        data = as_bytes(data)
        size = len(data)
        if not size:
            return ()
        if request.length == CHUNKED:
            pieces = (b"%x\r\n" % size, data, b"\r\n")
            return (b"".join(pieces),) if size <= JOIN_SIZE else pieces
        if not request.has_framing:
            raise LocalProtocolError(
                "The request has a body, but neither Content-Length nor Transfer-Encoding: chunked was given."
            )
        if size > self._unsent:
            raise LocalProtocolError(
                "The request body is longer than its Content-Length: "
                f"at least {request.length - self._unsent + size} bytes instead of {request.length}."
            )
        self._unsent -= size
        return (data,)

    def finish_body(self) -> bytes:
        """End the request; return what closes its body on the wire, if anything does.

        Raises `LocalProtocolError` for less than the head has announced.
        """
        request = self._open_request()
        if request.length != CHUNKED and self._unsent:
            raise LocalProtocolError(
                "The request body is shorter than its Content-Length: "
                f"{request.length - self._unsent} bytes instead of {request.length}."
            )
        self._unsent = _FINISHED
        self.is_request_complete = True
        self._see_reuse()
        return b"0\r\n\r\n" if request.length == CHUNKED else b""

    def _open_request(self) -> RequestFields:
        if self._request is None or self._unsent == _FINISHED:
            raise RuntimeError("There is no request to which a body could belong.")
        return self._request

    def _refuse_request(self) -> NoReturn:
        if self._stage is Stage.IDLE:
            raise RemoteProtocolError("The peer spoke, or closed the connection, before it got a request.")
        raise RuntimeError(f"The connection cannot carry another request: {self._stage.value}.")

    # The response.

    def feed(self, data: bytes) -> None:
        """Take what was received; `b""` is the end of the stream."""
        if not data:
            self._is_ended = self._is_last = True
            self.can_reuse = False
            return
        assert not self._is_ended
        self.response_started = True
        self.can_reuse = False
        if not self._data:
            self._data = data
        else:
            self._append(data)

    def _append(self, data: bytes) -> None:
        rest = self._data
        if len(rest) - self._at <= REST_SIZE:
            self._data = bytes(rest[self._at :]) + data
        else:
            if isinstance(rest, bytes):
                rest = self._data = bytearray(rest)
            del rest[: self._at]
            rest += data
        self._at = 0

    def _advance(self, at: int) -> None:
        """Everything before `at` has been read. What has been read to its end is not held on to."""
        if at == len(self._data):
            self._data = b""
            at = 0
        self._at = at

    def next_head(self) -> ResponseHead | None:
        """The next head, interim ones (1xx but 101) included; `None` until it is here. RFC 9112 §4.

        The body follows the first head that is final.
        """
        if self._stage is not _HEAD:
            self._refuse("head")
        data = self._data
        at = self._at
        head = self._known_head
        if head is not None and data.startswith(head.section, at) and not self._head_scanner.searched:
            end = at + len(head.section)
        else:
            head, end = self._read_head(data, at)
            if head is None:
                return None
        if self._head_size or end - at > self._plain_size or not head.is_final:
            self._check_heads(head, end - at)
        if end < len(data):
            self._at = end
        else:
            self._data = b""
            self._at = 0
        if 0 < head.plain_length <= self._largest_body and self._method not in _METHODS_APART:
            self._missing = head.plain_length
            self._stage = _LENGTH
        elif head.is_final:
            self._begin_body(head)
        return head

    def _read_head(self, data: bytes | bytearray, at: int) -> tuple[ResponseHead | None, int]:
        """A head that is here, and where it ends; none, if it is not."""
        if type(data) is bytes and not self._head_scanner.searched:
            end = data.find(b"\r\n\r\n", at)
            if 0 <= end - at <= self._plain_size:
                head = try_read_plain_head(data[at:end])
                if head is not None:
                    if head.section:
                        self._known_head = head
                    return head, end + 4
        if not b"HTTP/".startswith(start := bytes(data[at : at + 5])):
            self._fail(f"The peer does not speak HTTP/1.1: {_describe_stranger(start)}.")
        try:
            end = self._head_scanner.find_end(data, at)
            if end >= 0:
                return read_head(bytes(data[at:end]), self._limits), end
        except RemoteProtocolError as exc:
            self._fail(str(exc))
        if self._is_ended:
            self._fail(self._describe_early_end())
        return None, at

    def _describe_early_end(self) -> str:
        if not self.response_started:
            return "The peer closed the connection without sending a response."
        if not self._data:
            return "The peer closed the connection after an interim response, without a final one."
        return "The peer closed the connection in the middle of a response head."

    def _check_heads(self, head: ResponseHead, size: int) -> None:
        """Hold all heads of one response to their limits, which a single small one cannot reach."""
        limits = self._limits
        self._head_size += size
        self._field_count += len(head.fields)
        if self._head_size > limits.head_size:
            self._fail(f"The response heads are larger than {limits.head_size} bytes.")
        if self._field_count > limits.field_count:
            self._fail(f"The response heads have more than {limits.field_count} fields.")
        if not head.is_final:
            self._interim_count += 1
            if self._interim_count > limits.interim_count:
                self._fail(f"The peer sent more than {limits.interim_count} interim responses.")

    def _begin_body(self, head: ResponseHead) -> None:
        """Decide how the body is delimited: RFC 9112 §6.3."""
        if not head.may_persist:
            self._is_last = True
            self.wants_close = head.says_close
        framing = head.framing
        if self._method in _METHODS_APART:
            framing = self._framing_for_method(head)
        if framing is _FRAMED_BY_LENGTH and 0 < head.length <= self._largest_body:
            self._missing = head.length
            self._stage = _LENGTH
        elif framing is _FRAMED_BY_CHUNKS:
            self._chunks = ChunkedDecoder(self._limits)
            self._stage = _CHUNKED
        elif framing is Framing.NO_BODY:
            self._complete()
        elif framing is Framing.UNTIL_CLOSE:
            self._stage = Stage.UNTIL_CLOSE
            self._is_last = True
        elif framing is Framing.RAW:
            self._stage = Stage.RAW
        elif framing is Framing.FAULTY:
            self._fail(head.fault)
        elif head.length:
            self._fail(f"The response's Content-Length is larger than {self._largest_body}.")
        else:
            self._complete()

    def _framing_for_method(self, head: ResponseHead) -> Framing:
        """HEAD has no body (rule 1), and what follows the opening of a tunnel is none (rule 2)."""
        if head.framing is Framing.RAW or (self._method == b"CONNECT" and head.status < 300):
            return Framing.RAW
        return Framing.NO_BODY if self._method == b"HEAD" else head.framing

    def next_data(self) -> bytes | None:
        """The next piece of the body; `None` until there is one, `b""` when there is no more. RFC 9112 §7.

        A piece is all that is here of the body. `is_complete` is known with the last one.
        """
        stage = self._stage
        if stage is _LENGTH:
            data = self._data
            at = self._at
            size = len(data) - at
            if not size and not self._is_ended:
                return None
            missing = self._missing - size
            if missing < 0 or not size:
                return self._end_counted(data, at)
            # The usual case: what is here is body, and nothing else.
            self._data = b""
            self._at = 0
            self._missing = missing
            if not missing:
                self._stage = _COMPLETE
                self.is_complete = True
                self.can_reuse = self.is_request_complete and not self._is_last
            return bytes(data[at:])
        if stage is _CHUNKED:
            return self._next_chunks()
        if stage is _COMPLETE:
            return b""
        if stage is Stage.UNTIL_CLOSE or stage is Stage.RAW:
            return self._next_unframed()
        return self._refuse("body")

    def pass_data(self, data: bytes) -> bytes | None:
        """`feed`, and then `next_data`: in the middle of a body of known length the same object comes out."""
        if self._stage is _LENGTH and not self._data and 0 < len(data) < self._missing:
            self._missing -= len(data)
            return data
        self.feed(data)
        return self.next_data()

    def _end_counted(self, data: bytes | bytearray, at: int) -> bytes:
        """More is here than was missing, or less will ever be."""
        if not data:
            self._fail(f"The peer closed the connection {self._missing} bytes before the end of the body.")
        end = at + self._missing
        self._advance(end)
        self._complete()
        return bytes(data[at:end])

    def _next_chunks(self) -> bytes | None:
        chunks = self._chunks
        assert chunks is not None
        pieces: list[bytes] = []
        try:
            self._advance(chunks.decode(self._data, self._at, pieces))
        except RemoteProtocolError as exc:
            self._stage = Stage.FAILED
            self._failure = str(exc)
            if not pieces:
                raise
        if chunks.stage is ChunkStage.COMPLETE:
            self.trailers = chunks.trailers
            self._complete()
        elif not pieces:
            if self._is_ended:
                self._fail(f"The peer closed the connection before {chunks.stage.value} of a chunked body.")
            return None
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def _next_unframed(self) -> bytes | None:
        rest = self.take_rest()
        if self._is_ended:
            self._complete()
        elif not rest:
            return None
        return rest

    @property
    def is_raw(self) -> bool:
        """Whether this is no longer HTTP: after 101, and after a 2xx to CONNECT. `next_data` then gives what
        comes until the end of the stream."""
        return self._stage is Stage.RAW

    def take_rest(self) -> bytes:
        """Everything that was received and not read: the first bytes of the protocol that comes next."""
        rest = bytes(self._data[self._at :])
        self._advance(len(self._data))
        return rest

    def _complete(self) -> None:
        self._stage = _COMPLETE
        self.is_complete = True
        self._see_reuse()

    def _see_reuse(self) -> None:
        self.can_reuse = (
            self.is_complete and self.is_request_complete and not self._is_last and not self._data
        )

    def _fail(self, message: str) -> NoReturn:
        self._stage = Stage.FAILED
        self._failure = message
        raise RemoteProtocolError(message)

    def _refuse(self, what: str) -> NoReturn:
        if self._stage is Stage.FAILED:
            raise RemoteProtocolError(self._failure)
        raise RuntimeError(f"There is no {what} to be read: {self._stage.value}.")


def _describe_stranger(start: bytes) -> str:
    """What the first bytes of something that is no HTTP/1.1 response look like."""
    if start.startswith((b"\x15\x03", b"\x16\x03")):
        return "this looks like TLS"
    if start.startswith(b"\x00\x00") and start[3:4] == b"\x04":
        return "this looks like HTTP/2"
    return f"its answer begins with {start!r}"
