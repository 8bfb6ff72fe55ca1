"""The client's side of HTTP/1.1 on one connection: bytes in, heads and bodies out. No I/O."""

from __future__ import annotations

import enum
from collections.abc import Sequence
from typing import NoReturn

from ..._exceptions import LocalProtocolError, RemoteProtocolError
from .bodies import ChunkedDecoder, ChunkStage
from .limits import DEFAULT_LIMITS, Limits
from .requests import CHUNKED, RequestFields, check_request_line, encode_fields
from .responses import Field, Framing, Head, ResponseHead, SectionScanner, read_head, try_read_plain

Buffer = bytes | bytearray | memoryview


class Stage(enum.Enum):
    """Where the response half is.

    IDLE --start_request--> HEAD --final head--> LENGTH | CHUNKED | UNTIL_CLOSE | RAW
                              ^  \\                               |
                              |   +--no body----------> COMPLETE <+
                              +-------start_request--------+
    Any violation leads to FAILED, for good.
    """

    IDLE = "no request yet"
    HEAD = "waiting for a final head"
    LENGTH = "in a body of known length"
    CHUNKED = "in a chunked body"
    UNTIL_CLOSE = "in a body that ends with the connection"
    RAW = "no longer HTTP"
    COMPLETE = "the response is complete"
    FAILED = "the peer broke the rules"


JOIN_SIZE = 16 * 1024
"""Up to this many bytes a chunk is copied into one piece with its framing."""


class Engine:
    __slots__ = (
        "_at",
        "_body_left",
        "_chunks",
        "_data",
        "_failure",
        "_field_count",
        "_fields",
        "_head_size",
        "_interim_count",
        "_is_ended",
        "_is_request_complete",
        "_is_trusted",
        "_left",
        "_limits",
        "_method",
        "_scanner",
        "_stage",
        "body_expected",
        "expects_continue",
        "is_complete",
        "response_started",
        "wants_close",
    )

    def __init__(self, limits: Limits = DEFAULT_LIMITS) -> None:
        self._limits = limits
        self._data: bytes | bytearray = b""
        self._at = 0
        self._is_ended = False
        self._stage = Stage.IDLE
        self._failure = ""
        self._scanner = SectionScanner(limits)
        self._chunks: ChunkedDecoder | None = None
        self._fields: RequestFields | None = None
        self._method = b""
        self._body_left = 0
        self._is_request_complete = False
        self._is_trusted = False
        self._left = 0
        self._interim_count = 0
        self._head_size = 0
        self._field_count = 0
        self.body_expected = False
        self.expects_continue = False
        self.response_started = False
        self.wants_close = False
        self.is_complete = False

    # The request half.

    def start_request(self, method: bytes, target: bytes, headers: Sequence[tuple[bytes, bytes]]) -> bytes:
        check_request_line(method, target)
        fields = encode_fields(headers)
        if self._stage is not Stage.IDLE and not self.can_reuse:
            raise RuntimeError(f"No request can be sent on this connection: {self._stage.value}.")
        if self._is_ended or self._at < len(self._data):
            raise RemoteProtocolError("The peer spoke, or closed the connection, before it got a request.")
        self._fields = fields
        self._method = method
        self._body_left = fields.length
        self._is_request_complete = False
        self.body_expected = fields.length != 0
        self.expects_continue = fields.expects_continue
        self._stage = Stage.HEAD
        self._chunks = None
        self._interim_count = self._head_size = self._field_count = 0
        self.response_started = self.wants_close = self.is_complete = False
        return b"%b %b HTTP/1.1\r\n%b" % (method, target, fields.block)

    def frame_body(self, data: Buffer) -> tuple[Buffer, ...]:
        fields = self._fields
        if fields is None or self._is_request_complete:
            raise RuntimeError("No request body is open.")
        if not isinstance(data, (bytes, bytearray, memoryview)):
            raise TypeError(f"A request body consists of bytes, not {type(data).__name__}.")
        if isinstance(data, memoryview) and (data.itemsize != 1 or not data.contiguous):
            data = data.tobytes()
        size = len(data)
        if not size:
            return ()
        if fields.length == CHUNKED:
            if size <= JOIN_SIZE:
                return (b"".join((b"%x\r\n" % size, data, b"\r\n")),)
            return (b"%x\r\n" % size, data, b"\r\n")
        if not fields.has_framing:
            raise LocalProtocolError(
                "The request has a body, but neither Content-Length nor Transfer-Encoding: chunked was given."
            )
        if size > self._body_left:
            sent = fields.length - self._body_left + size
            raise LocalProtocolError(
                "The request body is longer than its Content-Length: "
                f"{sent} bytes or more, not {fields.length}."
            )
        self._body_left -= size
        return (data,)

    def finish_body(self) -> bytes:
        fields = self._fields
        if fields is None or self._is_request_complete:
            raise RuntimeError("No request body is open.")
        if fields.length == CHUNKED:
            self._is_request_complete = True
            return b"0\r\n\r\n"
        if self._body_left:
            raise LocalProtocolError(
                f"The request body is shorter than its Content-Length: "
                f"{fields.length - self._body_left} bytes, not {fields.length}."
            )
        self._is_request_complete = True
        return b""

    # The response half.

    def feed(self, data: bytes) -> None:
        if not data:
            self._is_ended = True
            return
        assert not self._is_ended
        self.response_started = True
        if self._at == len(self._data):
            self._data = data
            self._at = 0
            return
        if isinstance(self._data, bytes):
            self._data = bytearray(self._data)
        del self._data[: self._at]
        self._at = 0
        self._data += data

    def next_head(self) -> ResponseHead | None:
        if self._stage is not Stage.HEAD:
            self._refuse("head")
        data = self._data
        at = self._at
        if type(data) is bytes:
            end = data.find(b"\r\n\r\n", at)
            if 0 <= end - at <= 8192:
                head = try_read_plain(data[at:end])
                if head is not None:
                    self._at = end + 4
                    return self._accept(head, end + 4 - at)
        return self._next_head_with_care()

    def _next_head_with_care(self) -> ResponseHead | None:
        data = self._data
        at = self._at
        if bytes(data[at : at + 5]) != b"HTTP/"[: len(data) - at]:
            self._fail(
                f"The peer does not speak HTTP/1.1: its answer begins with {bytes(data[at : at + 16])!r}."
            )
        try:
            end = self._scanner.find_end(data, at)
            if end < 0:
                if self._is_ended:
                    self._fail(self._describe_early_end())
                return None
            head = read_head(bytes(data[at:end]), self._limits)
        except RemoteProtocolError as exc:
            self._fail(str(exc))
        self._at = end
        return self._accept(head, end - at)

    def _describe_early_end(self) -> str:
        if not self.response_started:
            return "The peer closed the connection without sending a response."
        if self._at == len(self._data):
            return "The peer closed the connection after an interim response, without a final one."
        return "The peer closed the connection in the middle of the response head."

    def _accept(self, head: Head, size: int) -> ResponseHead:
        self._head_size += size
        self._field_count += len(head.fields)
        limits = self._limits
        if self._head_size > limits.head_size:
            self._fail(f"The response head is larger than {limits.head_size} bytes.")
        if self._field_count > limits.field_count:
            self._fail(f"The response head has more than {limits.field_count} fields.")
        if head.status < 200 and head.status != 101:
            self._interim_count += 1
            if self._interim_count > limits.interim_count:
                self._fail(f"The peer sent more than {limits.interim_count} interim responses.")
        else:
            self._begin_body(head)
        return ResponseHead(head.status, head.version, head.reason, list(head.fields))

    def _begin_body(self, head: Head) -> None:
        self.wants_close = head.says_close
        self._is_trusted = head.is_trusted
        status = head.status
        # RFC 9112 §6.3, rule 2 and RFC 9110 §15.2.2.
        if status == 101 or (self._method == b"CONNECT" and 200 <= status < 300):
            self._stage = Stage.RAW
        # Rule 1.
        elif self._method == b"HEAD" or status in (204, 304):
            self._complete()
        elif head.framing is Framing.LENGTH:
            self._left = head.length
            self._stage = Stage.LENGTH
            if not head.length:
                self._complete()
        elif head.framing is Framing.CHUNKED:
            self._chunks = ChunkedDecoder(self._limits)
            self._stage = Stage.CHUNKED
        elif head.framing is Framing.UNTIL_CLOSE:
            self.wants_close = True
            self._stage = Stage.UNTIL_CLOSE
        else:
            self._fail(head.fault)

    def next_data(self) -> bytes | None:
        stage = self._stage
        data = self._data
        at = self._at
        if stage is Stage.LENGTH:
            size = len(data) - at
            if not size:
                if self._is_ended:
                    self._fail(
                        f"The peer closed the connection {self._left} bytes before the end of the body."
                    )
                return None
            if size > self._left:
                size = self._left
            self._at = at + size
            self._left -= size
            if not self._left:
                self._complete()
            return bytes(data[at : at + size])
        if stage is Stage.CHUNKED:
            return self._next_chunks()
        if stage is Stage.UNTIL_CLOSE or stage is Stage.RAW:
            self._at = len(data)
            if self._is_ended:
                self._complete()
            elif at == len(data):
                return None
            return bytes(data[at:])
        if stage is Stage.COMPLETE:
            return b""
        return self._refuse("body")

    def _next_chunks(self) -> bytes | None:
        chunks = self._chunks
        assert chunks is not None
        pieces: list[bytes] = []
        try:
            self._at = chunks.decode(self._data, self._at, pieces)
        except RemoteProtocolError as exc:
            self._stage = Stage.FAILED
            self._failure = str(exc)
            if not pieces:
                raise
            return b"".join(pieces)
        if chunks.stage is ChunkStage.COMPLETE:
            self._complete()
            return b"".join(pieces)
        if pieces:
            return b"".join(pieces)
        if self._is_ended:
            self._fail(f"The peer closed the connection in {chunks.stage.value}.")
        return None

    def take_rest(self) -> bytes:
        rest = bytes(self._data[self._at :])
        self._data = b""
        self._at = 0
        return rest

    @property
    def can_reuse(self) -> bool:
        return (
            self._stage is Stage.COMPLETE
            and self._is_request_complete
            and self._is_trusted
            and not self.wants_close
            and not self._is_ended
            and self._at == len(self._data)
            and self._fields is not None
            and not self._fields.asks_close
        )

    @property
    def is_raw(self) -> bool:
        return self._stage is Stage.RAW

    @property
    def has_unread_bytes(self) -> bool:
        return self._stage in (Stage.COMPLETE, Stage.IDLE) and self._at < len(self._data)

    @property
    def body_remaining_hint(self) -> int | None:
        return self._left if self._stage is Stage.LENGTH else None

    @property
    def trailers(self) -> list[Field]:
        return [] if self._chunks is None else self._chunks.trailers

    def _complete(self) -> None:
        self._stage = Stage.COMPLETE
        self.is_complete = True

    def _fail(self, message: str) -> NoReturn:
        self._stage = Stage.FAILED
        self._failure = message
        raise RemoteProtocolError(message)

    def _refuse(self, what: str) -> NoReturn:
        if self._stage is Stage.FAILED:
            raise RemoteProtocolError(self._failure)
        raise RuntimeError(f"There is no {what} to read: {self._stage.value}.")
