"""The client's side of one HTTP/2 connection: bytes in, streams with news out (RFC 9113).

Theory of operation. What is to be sent is a list of pieces, joined when it is taken. What was received is
read frame by frame; a frame that is not complete waits in `_rest`, except for DATA: its payload is handed on
as it arrives, and `_payload_left` says how much is still to come, so that a body is copied once. Everything
that a frame means is decided when its header, and for all but DATA its payload, is here: how the bytes were
split into pieces decides nothing.

A violation is a `Fault`. It ends one stream (RST_STREAM, `Stream.error`) or everything (GOAWAY, `failure`);
nothing is ever raised from `feed`.

Invariants. Every block of fields is decoded, in order, whatever becomes of its stream, since the next one
may refer to it; every block that was encoded is sent. Every byte of DATA counts against the connection's
window and is credited to it on arrival. `streams` holds the open streams and nothing else: what is known of
others is their id, below or above `_next_id`, and for those that were reset, in bounded number, how much may
still come.

One call is atomic for whoever holds the lock round it. The limits on what the peer makes us queue count what
it does not let us send: take the output when what was taken before has been sent.

The file is long because any frame may touch any part of a connection. What has a state of its own stands
beside it: `streams`, `settings`, `resets`, `patience`, `output`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from ..._exceptions import LocalProtocolError, RemoteProtocolError
from ..._types import Buffer
from ..fields import quote
from ..hpack import ENTRY_OVERHEAD, Decoder, Encoder, HPACKError
from ..requests import as_bytes, check_request_line
from . import frames
from .errors import ErrorCode, Fault, describe_code, describe_fault
from .flow import CONNECTION_WINDOW, decide_window
from .frames import (
    HEADER_SIZE,
    check_connection_frame,
    check_size,
    describe_frame,
    pack_frame,
    pack_header,
    pack_reset,
    pack_window_update,
    split_block,
    strip_padding,
    unpack_header,
    unpack_number,
)
from .limits import DEFAULT_LIMITS, Limits
from .output import Output
from .patience import HEAD_WORTH, USELESS, Patience
from .requests import RequestFields
from .resets import Resets
from .responses import ParsedHead, read_head
from .settings import (
    DEFAULT_WINDOW,
    LARGEST_WINDOW,
    OUR_FRAME_LIMIT,
    PRESUMED_STREAM_COUNT,
    PeerSettings,
    pack_our_settings,
)
from .streams import Stage, Stream

# Up to Python 3.11 a member costs as much as a call when it is looked up in its class.
_HEAD, _BODY, _ENDED, _GONE = Stage.HEAD, Stage.BODY, Stage.ENDED, Stage.GONE

_DATA: Final = frames.DATA
_HEADERS: Final = frames.HEADERS
_PADDED: Final = frames.PADDED
_END_STREAM: Final = frames.END_STREAM
_END_HEADERS: Final = frames.END_HEADERS
_HAS_PRIORITY: Final = frames.HAS_PRIORITY

_CREDIT_AT = CONNECTION_WINDOW // 2


class Engine:
    """One connection."""

    # Past thirty attributes of an instance Python looks each of them up the slow way.
    __slots__ = (
        "_block_ends",
        "_block_id",
        "_block_pieces",
        "_blocked",
        "_credit_due",
        "_decoder",
        "_encoder",
        "_goaway",
        "_is_closing",
        "_is_window_open",
        "_last_processed_id",
        "_limits",
        "_needed",
        "_news",
        "_next_id",
        "_patience",
        "_payload_ends",
        "_payload_left",
        "_payload_stream",
        "_peer",
        "_pinged",
        "_provoked_count",
        "_receive_window",
        "_resets",
        "_rest",
        "_send_window",
        "capacity",
        "failure",
        "goaway_code",
        "has_settings",
        "is_usable",
        "output",
        "received_count",
        "streams",
    )

    def __init__(self, limits: Limits = DEFAULT_LIMITS) -> None:
        self._limits = limits
        self._peer = PeerSettings()
        self._encoder = Encoder()
        self._decoder = Decoder(list_size=limits.header_list_size, field_count=limits.field_count)
        # What goes out.
        self.output = Output(limits)
        """What `take_output` will return."""
        self._send_window = DEFAULT_WINDOW
        self._blocked: dict[int, Stream] = {}
        self._is_window_open = False
        # Bytes that the peer may yet give back, for the connection and for the streams together.
        self._credit_due = 0
        # What comes in: an incomplete frame and how long it must grow, or what is missing of a DATA frame.
        self._rest: bytearray | None = None
        self._needed = 0
        self._payload_left = 0
        self._payload_ends = False
        self._payload_stream: Stream | None = None
        self._receive_window = CONNECTION_WINDOW
        self.received_count = 0
        """Bytes that were received: tells whether anything at all has arrived."""
        # A block of fields that is not complete.
        self._block_id = 0
        self._block_ends = False
        self._block_pieces: list[bytes] = []
        # The streams.
        self.streams: dict[int, Stream] = {}
        """Those that are open, by id."""
        self._news: dict[int, Stream] = {}
        self._next_id = 1
        self._patience = Patience(limits)
        self._resets = Resets(limits, self._patience)
        # The connection.
        self.has_settings = False
        """Whether the peer's SETTINGS have arrived."""
        self.capacity = min(limits.stream_count, PRESUMED_STREAM_COUNT)
        """How many streams fit at once."""
        self.is_usable = True
        """Whether new streams may be opened at all."""
        self.failure: Exception | None = None
        """Why the connection is broken."""
        self.goaway_code: int | None = None
        """What the peer said when it said that it closes the connection."""
        self._pinged: bytes | None = None
        self._last_processed_id = frames.LARGEST_ID
        self._goaway = ""
        self._is_closing = False
        self._provoked_count = 0
        self.output.put(frames.PREFACE)
        self.output.put(pack_our_settings(limits))
        self.output.put(pack_window_update(0, CONNECTION_WINDOW - DEFAULT_WINDOW))

    def __repr__(self) -> str:
        return f"<Engine: {len(self.streams)} streams, capacity {self.capacity}>"

    # What goes out.

    def take_output(self) -> bytes:
        """Everything that is to be sent."""
        return self.output.take()

    # Requests.

    def open_stream(
        self, request: RequestFields, target: bytes, *, ends: bool, stream: Stream | None = None
    ) -> Stream:
        """Queue the head of a request, which `ends` with it if it has no body. RFC 9113 §8.3.1.

        Raises `LocalProtocolError`, and then nothing has changed. `target` has no part in a CONNECT, §8.5.
        Whoever wants to know more of a `stream` than we do brings one of a class of its own.
        """
        method = request.method
        check_request_line(method, target)
        path = () if method == b"CONNECT" else ((b":path", target),)
        peer = self._peer
        limit = peer.header_list_size
        if limit is not None:
            size = request.list_size + (len(b":path") + len(target) + ENTRY_OVERHEAD if path else 0)
            if size > limit:
                raise LocalProtocolError(
                    f"The request head is {size} bytes large; the peer takes {limit} (MAX_HEADER_LIST_SIZE)."
                )
        if len(self.streams) >= self.capacity:
            raise RuntimeError(f"There is no room for another stream: {self!r}.")
        stream_id = self._next_id
        self._next_id = stream_id + 2
        if self._next_id > frames.LARGEST_ID:
            self._retire()
        if stream is None:
            stream = Stream()
        stream.id = stream_id
        stream.method = method
        stream.send_window = peer.initial_window
        stream.is_sent = ends
        self.streams[stream_id] = stream
        if self._patience.spent:
            self._patience.win_back(HEAD_WORTH)
        block = self._encoder.encode(path, request.repeated)
        if len(block) <= peer.frame_size:
            flags = _END_HEADERS | _END_STREAM if ends else _END_HEADERS
            self.output.put(pack_frame(_HEADERS, flags, stream_id, block))
        else:
            self.output.put(split_block(stream_id, block, ends=ends, limit=peer.frame_size))
        return stream

    def send_data(self, stream: Stream, data: Buffer, *, ends: bool = False) -> int:
        """Queue as much of the request's body as may be sent; return how much that is.

        If that is not all, there will be news when more may be. The request `ends` with the last byte of
        `data`. Nothing is taken for a stream that is no longer open. RFC 9113 §6.1, §6.9.
        """
        if stream.is_sent:
            raise RuntimeError("The request has ended.")
        if type(data) is not bytes:
            data = as_bytes(data)
        stream_id = stream.id
        if stream_id not in self.streams:
            return 0
        size = len(data)
        taken = min(size, self._send_window, stream.send_window) if size else 0
        if taken > 0:
            stream.send_window -= taken
            self._send_window -= taken
            self._queue_data(stream_id, data, taken, ends=ends and taken == size)
            if self._blocked:
                # Whoever has had some goes to the end of the line.
                self._blocked.pop(stream_id, None)
        elif size:
            taken = 0
        elif ends:
            self.output.put(pack_header(_DATA, _END_STREAM, stream_id, 0))
        if taken < size:
            self._blocked.setdefault(stream_id, stream)
        elif ends:
            stream.is_sent = True
            if stream.stage is _ENDED:
                del self.streams[stream_id]
        return taken

    def _queue_data(self, stream_id: int, data: Buffer, size: int, *, ends: bool) -> None:
        """The first `size` bytes of `data`, in frames as large as the peer takes them.

        What the caller could change before it is sent is copied.
        """
        limit = self._peer.frame_size
        self._credit_due += 2 * size
        if size <= limit:
            self.output.put(pack_header(_DATA, _END_STREAM if ends else 0, stream_id, size))
            whole = size == len(data) and isinstance(data, bytes)
            self.output.put(data if whole else bytes(data[:size]))
            return
        is_frozen = isinstance(data.obj if isinstance(data, memoryview) else data, bytes)
        view = memoryview(data if is_frozen else bytes(data[:size]))
        for at in range(0, size, limit):
            stop = min(at + limit, size)
            flags = _END_STREAM if ends and stop == size else 0
            self.output.put(pack_header(_DATA, flags, stream_id, stop - at))
            self.output.put(view[at:stop])

    def consume(self, stream: Stream, size: int) -> None:
        """The caller took `size` bytes of `stream.data`: let the peer send as many, in large steps."""
        if stream.stage is not _BODY:
            return
        assert size <= stream.unread
        stream.taken += size
        self._credit_stream(stream)

    def _credit_stream(self, stream: Stream) -> None:
        if stream.taken * 2 < stream.window:
            return
        total = sum([other.unread for other in self.streams.values()])
        window = decide_window(stream.window, unread=stream.unread, total_unread=total)
        if window:
            credit = stream.taken + window - stream.window
            stream.window = window
            stream.taken = 0
            stream.capacity_left += credit
            self.output.put(pack_window_update(stream.id, credit))

    def reset(self, stream: Stream, code: ErrorCode = ErrorCode.CANCEL) -> None:
        """Give up a stream, or what is unread of it. Does no harm twice, or when it is complete."""
        stream.data.clear()
        if stream.id in self.streams:
            self.output.put(pack_reset(stream.id, code))
            self._forget(stream)

    def _forget(self, stream: Stream, *, is_by_peer: bool = False) -> None:
        """A stream was reset."""
        stream.stage = _GONE
        del self.streams[stream.id]
        self._blocked.pop(stream.id, None)
        if self._payload_stream is stream:
            self._payload_stream = None
        self._resets.remember(stream.id, stream.capacity_left, is_by_peer=is_by_peer)

    def ping(self, payload: bytes) -> None:
        """Ask for a sign of life (RFC 9113 §6.7): eight bytes, which come back."""
        assert len(payload) == 8
        self._pinged = payload
        self.output.put(pack_frame(frames.PING, 0, 0, payload))

    # The end.

    def close(self, code: ErrorCode = ErrorCode.NO_ERROR) -> None:
        """Say goodbye; what is open goes on (RFC 9113 §6.8)."""
        if self.failure is None and not self._is_closing:
            self._is_closing = True
            self.output.put(frames.pack_goaway(code))
            self._retire()

    def _retire(self) -> None:
        self.is_usable = False
        self.capacity = 0

    def fail(self, exc: Exception) -> list[Stream]:
        """The stream of bytes beneath broke with `exc`. Returns the streams that were open."""
        if self.failure is None:
            self.failure = exc
            self._retire()
        return self._end_streams(lambda: exc)

    def _end_streams(self, make_error: Callable[[], Exception]) -> list[Stream]:
        ended = [*self.streams.values()]
        for stream in ended:
            if stream.stage is _ENDED:
                stream.stops_upload = True
            else:
                stream.error = make_error()
            stream.stage = _GONE
        self.streams.clear()
        self._blocked.clear()
        self._payload_stream = None
        return ended

    def _break(self, fault: Fault) -> None:
        """A connection error (RFC 9113 §5.4.1)."""
        message = describe_fault(fault.code, fault.reason)
        self.failure = RemoteProtocolError(message)
        self._retire()
        self.output.put(frames.pack_goaway(fault.code, fault.reason.encode()))
        for stream in self._end_streams(lambda: RemoteProtocolError(message)):
            self._news[stream.id] = stream

    def _end_input(self) -> list[Stream]:
        """The peer closed the connection."""
        if self.failure is not None:
            return []
        if not self.has_settings:
            message = "The peer closed the connection before it sent its SETTINGS."
        elif self._goaway:
            message = f"The peer closed the connection, as it had announced ({self._goaway})."
        else:
            message = "The peer closed the connection without GOAWAY."
        self.failure = RemoteProtocolError(message)
        self._retire()
        return self._end_streams(lambda: RemoteProtocolError(message))

    def _fail_stream(self, fault: Fault) -> None:
        """A stream error (RFC 9113 §5.4.2). Raises `Fault` if there are too many."""
        stream = self.streams.get(fault.stream_id)
        self._provoked_count += 1
        if self._provoked_count > self._limits.provoked_reset_count:
            raise Fault(
                ErrorCode.ENHANCE_YOUR_CALM,
                f"more than {self._limits.provoked_reset_count} streams had to be reset, "
                f"the last one for {fault.reason}",
            )
        self.output.put_answer(pack_reset(fault.stream_id, fault.code))
        if stream is None:
            return
        if stream.stage is _ENDED:
            stream.stops_upload = True
        else:
            stream.error = RemoteProtocolError(describe_fault(fault.code, fault.reason))
        self._forget(stream)
        self._news[stream.id] = stream

    # What comes in.

    def feed(self, data: bytes) -> list[Stream]:
        """Take what was received; `b""` is the end. Returns the streams that have news, each once: a head,
        data, the end, an error, or room to send where there was none."""
        if not data:
            return self._end_input()
        self.received_count += len(data)
        if self.failure is not None:
            return []
        if self._patience.spent:
            # One in a read is a sign of life; a flood comes in many.
            self._patience.win_back(USELESS)
        if self._rest is not None:
            self._rest += data
            if len(self._rest) < self._needed:
                return []
            data = bytes(self._rest)
            self._rest = None
        try:
            self._read(data)
        except Fault as fault:
            self._break(fault)
        if self._is_window_open:
            self._is_window_open = False
            self._wake_blocked()
        if not self._news:
            return []
        news = [*self._news.values()]
        self._news.clear()
        return news

    def _read(self, data: bytes) -> None:
        """Read all frames. Raises `Fault` for the connection.

        One long function, because a call for each frame would cost as much as the frame.
        """
        end = len(data)
        at = self._read_payload(data, 0) if self._payload_left else 0
        streams = self.streams
        news = self._news
        patience = self._patience
        while end - at >= HEADER_SIZE:
            word, flags, stream_id = unpack_header(data, at)
            kind = word & 0xFF
            size = word >> 8
            start = at + HEADER_SIZE
            at = start + size
            stream_id &= 0x7FFFFFFF
            if kind == _DATA and not flags & _PADDED and not self._block_id and size <= OUR_FRAME_LIMIT:
                stream = streams.get(stream_id)
                if (
                    stream is not None
                    and stream.stage is _BODY
                    and size <= stream.missing
                    and size <= stream.capacity_left
                    and size <= self._receive_window
                    and (size or flags & _END_STREAM)
                ):
                    stream.missing -= size
                    stream.capacity_left -= size
                    self._receive_window -= size
                    if patience.spent:
                        patience.win_back(size >> 3)
                else:
                    self._check_order(kind, stream_id, size, data, start)
                    stream = self._judge_data(stream_id, size, size, flags & _END_STREAM)
                if self._receive_window < _CREDIT_AT:
                    self._credit_connection()
                if at > end:
                    self._payload_left = size
                    self._payload_stream = stream
                    self._payload_ends = bool(flags & _END_STREAM)
                    at = self._read_payload(data, start)
                elif stream is not None:
                    if size:
                        stream.append(data[start:at])
                    if flags & _END_STREAM:
                        self._end(stream)
                    news[stream_id] = stream
                continue
            is_plain_head = (
                kind == _HEADERS
                and flags & ~_END_STREAM == _END_HEADERS
                and stream_id in streams
                and at <= end
                and size <= OUR_FRAME_LIMIT
                and not self._block_id
                and self.has_settings
            )
            if not is_plain_head:
                self._check_order(kind, stream_id, size, data, start)
                if at > end:
                    at = start - HEADER_SIZE
                    self._needed = HEADER_SIZE + size
                    break
            try:
                if is_plain_head:
                    self._on_block(stream_id, data[start:at], ends=bool(flags & _END_STREAM))
                elif (handle := _HANDLERS.get(kind)) is not None:
                    handle(self, flags, stream_id, data[start:at])
                else:
                    patience.spend()
            except Fault as fault:
                if not fault.stream_id:
                    raise
                self._fail_stream(fault)
        else:
            self._needed = HEADER_SIZE
        if at < end:
            self._rest = bytearray(data[at:] if at else data)

    def _read_payload(self, data: bytes, at: int) -> int:
        """Hand on what is here, from `at`, of a DATA frame; return where it ends."""
        stop = at + self._payload_left
        if stop > len(data):
            stop = len(data)
        self._payload_left -= stop - at
        stream = self._payload_stream
        if stream is not None and stop > at:
            stream.append(data[at:stop])
            self._news[stream.id] = stream
            if not self._payload_left:
                self._payload_stream = None
                if self._payload_ends:
                    self._end(stream)
        return stop

    def _check_order(self, kind: int, stream_id: int, size: int, data: bytes, start: int) -> None:
        """What can be wrong with any frame, before its payload is here."""
        if not self.has_settings and kind != frames.SETTINGS:
            # RFC 9113 §3.4.
            head = data[start - HEADER_SIZE : start]
            what = "this looks like HTTP/1" if head.startswith(b"HTTP/") else f"it begins with {quote(head)}"
            raise Fault(ErrorCode.PROTOCOL_ERROR, f"it does not begin with SETTINGS; {what}")
        if size > OUR_FRAME_LIMIT:
            raise Fault(
                ErrorCode.FRAME_SIZE_ERROR,
                f"{describe_frame(kind)} of {size} bytes, where {OUR_FRAME_LIMIT} are allowed",
            )
        if self._block_id and (kind != frames.CONTINUATION or stream_id != self._block_id):
            # RFC 9113 §6.10.
            raise Fault(ErrorCode.PROTOCOL_ERROR, f"{describe_frame(kind)} within a block of fields")

    def _judge_data(self, stream_id: int, size: int, payload_size: int, ends: int) -> Stream | None:
        """Account for a DATA frame of `size` bytes, of which `payload_size` belong to the body; return the
        stream that takes them. RFC 9113 §6.1, §6.9."""
        self._check_known(frames.DATA, stream_id)
        if size > self._receive_window:
            raise Fault(
                ErrorCode.FLOW_CONTROL_ERROR,
                f"DATA of {size} bytes, where the connection's window has {self._receive_window} left",
            )
        self._receive_window -= size
        stream = self.streams.get(stream_id)
        try:
            if stream is None:
                self._resets.note_late(frames.DATA, stream_id, size)
                return None
            stream.expect_data(size, payload_size)
        except Fault as fault:
            if not fault.stream_id:
                raise
            self._fail_stream(fault)
            return None
        if not payload_size and not ends:
            self._patience.spend()
        return stream

    def _credit_connection(self) -> None:
        self.output.put_answer(pack_window_update(0, CONNECTION_WINDOW - self._receive_window))
        self._receive_window = CONNECTION_WINDOW

    def _check_known(self, kind: int, stream_id: int) -> None:
        """RFC 9113 §5.1.1: the odd ids below `_next_id` are ours, and the peer opens none."""
        if not stream_id:
            raise Fault(ErrorCode.PROTOCOL_ERROR, f"{describe_frame(kind)} that belongs to no stream")
        if stream_id >= self._next_id or not stream_id & 1:
            raise Fault(
                ErrorCode.PROTOCOL_ERROR,
                f"{describe_frame(kind)} on stream {stream_id}, which was never opened",
            )

    def _end(self, stream: Stream) -> None:
        """END_STREAM has arrived: the response is complete, if its length is right."""
        if stream.missing and stream.is_short:
            reason = f"a body {stream.missing} bytes shorter than its Content-Length"
            self._fail_stream(Fault(ErrorCode.PROTOCOL_ERROR, reason, stream_id=stream.id))
            return
        stream.is_ended = True
        stream.stage = _ENDED
        if self._provoked_count:
            self._provoked_count -= 1
        if stream.is_sent:
            del self.streams[stream.id]

    def _wake_blocked(self) -> None:
        """Tell who waits for a window that there may be room."""
        if self._send_window > 0:
            for stream in self._blocked.values():
                if stream.send_window > 0:
                    self._news[stream.id] = stream

    # The frames, in the order of RFC 9113 §6. Each handler gets the whole payload and may raise `Fault`.

    def _on_padded_data(self, flags: int, stream_id: int, payload: bytes) -> None:
        size = len(payload)
        content = strip_padding(payload)
        ends = flags & _END_STREAM
        stream = self._judge_data(stream_id, size, len(content), ends)
        if self._receive_window < _CREDIT_AT:
            self._credit_connection()
        if stream is None:
            return
        if content:
            stream.append(content)
        self._credit_stream(stream)
        if ends:
            self._end(stream)
        self._news[stream_id] = stream

    def _on_headers(self, flags: int, stream_id: int, payload: bytes) -> None:
        self._check_known(frames.HEADERS, stream_id)
        if flags & _PADDED:
            payload = strip_padding(payload)
        if flags & _HAS_PRIORITY:
            if len(payload) < 5:
                raise Fault(
                    ErrorCode.FRAME_SIZE_ERROR, f"a HEADERS frame of {len(payload)} bytes with a priority"
                )
            payload = payload[5:]
        if flags & _END_HEADERS:
            self._on_block(stream_id, payload, ends=bool(flags & _END_STREAM))
        else:
            self._block_id = stream_id
            self._block_ends = bool(flags & _END_STREAM)
            self._block_pieces = [payload]

    def _on_continuation(self, flags: int, stream_id: int, payload: bytes) -> None:
        if not self._block_id:
            raise Fault(ErrorCode.PROTOCOL_ERROR, "a CONTINUATION frame that continues nothing")
        self._block_pieces.append(payload)
        if flags & _END_HEADERS:
            block = b"".join(self._block_pieces)
            self._block_id = 0
            self._block_pieces = []
            self._on_block(stream_id, block, ends=self._block_ends)
        elif len(self._block_pieces) > self._limits.continuation_count:
            raise Fault(
                ErrorCode.ENHANCE_YOUR_CALM,
                f"a block of fields in more than {self._limits.continuation_count} CONTINUATION frames",
            )

    def _on_block(self, stream_id: int, encoded: bytes, *, ends: bool) -> None:
        """A whole block of fields: a head, interim or final, or trailers (RFC 9113 §8.1)."""
        try:
            block = self._decoder.decode(encoded)
        except HPACKError as exc:
            raise Fault(
                ErrorCode.COMPRESSION_ERROR,
                f"a block of fields that cannot be decoded: {str(exc).rstrip('.')}",
            ) from exc
        stream = self.streams.get(stream_id)
        if stream is None:
            self._resets.note_late(frames.HEADERS, stream_id)
            return
        if stream.stage is _ENDED:
            raise Fault(ErrorCode.STREAM_CLOSED, "HEADERS after the end of the response", stream_id=stream_id)
        if block.is_too_large:
            limits = self._limits
            raise Fault(
                ErrorCode.ENHANCE_YOUR_CALM,
                f"more than {limits.field_count} fields, or {limits.header_list_size} bytes of them",
                stream_id=stream_id,
            )
        if stream.stage is _BODY:
            stream.take_trailers(block, ends=ends)
            self._end(stream)
        elif stream.take_head(
            block.reading if type(block.reading) is ParsedHead else read_head(block),
            ends=ends,
            interim_count=self._limits.interim_count,
        ):
            if self._patience.spent:
                self._patience.win_back(HEAD_WORTH)
            if ends:
                self._end(stream)
        self._news[stream_id] = stream

    def _on_priority(self, flags: int, stream_id: int, payload: bytes) -> None:
        """Means nothing any more, on any stream (RFC 9113 §5.3.2)."""
        if not stream_id:
            raise Fault(ErrorCode.PROTOCOL_ERROR, "a PRIORITY frame that belongs to no stream")
        if len(payload) != 5:
            # On a stream that is not open there is nothing to reset.
            raise Fault(
                ErrorCode.FRAME_SIZE_ERROR,
                f"a PRIORITY frame of {len(payload)} bytes",
                stream_id=stream_id if stream_id in self.streams else 0,
            )
        self._patience.spend()

    def _on_reset(self, flags: int, stream_id: int, payload: bytes) -> None:
        check_size(frames.RST_STREAM, payload, 4)
        self._check_known(frames.RST_STREAM, stream_id)
        stream = self.streams.get(stream_id)
        if stream is None:
            self._patience.spend()
            return
        stream.note_reset(unpack_number(payload)[0])
        self._forget(stream, is_by_peer=True)
        self._news[stream_id] = stream

    def _on_settings(self, flags: int, stream_id: int, payload: bytes) -> None:
        check_connection_frame(frames.SETTINGS, stream_id)
        if flags & frames.ACK:
            check_size(frames.SETTINGS, payload, 0)
            if not self.has_settings:
                raise Fault(ErrorCode.PROTOCOL_ERROR, "it does not begin with SETTINGS of its own")
            self._patience.spend()
            return
        if len(payload) % 6:
            raise Fault(ErrorCode.FRAME_SIZE_ERROR, f"a SETTINGS frame of {len(payload)} bytes")
        if len(payload) > self._limits.settings_count * 6:
            raise Fault(
                ErrorCode.ENHANCE_YOUR_CALM,
                f"a SETTINGS frame with more than {self._limits.settings_count} entries",
            )
        if self.has_settings:
            self._patience.spend()
        peer = self._peer
        window = peer.initial_window
        peer.apply(payload)
        self.has_settings = True
        for table_size in peer.table_sizes:
            self._encoder.resize(table_size)
        self._change_windows(peer.initial_window - window)
        if self.is_usable:
            count = peer.stream_count
            self.capacity = (
                self._limits.stream_count if count is None else min(count, self._limits.stream_count)
            )
        self.output.put_answer(frames.SETTINGS_ACK)

    def _change_windows(self, change: int) -> None:
        """RFC 9113 §6.9.2: of the open streams too, and below zero if need be."""
        if not change:
            return
        for stream in self.streams.values():
            stream.send_window += change
            if stream.send_window > LARGEST_WINDOW:
                raise Fault(
                    ErrorCode.FLOW_CONTROL_ERROR, f"SETTINGS that open a window of {stream.send_window} bytes"
                )
        if change > 0:
            self._is_window_open = True

    def _on_push(self, flags: int, stream_id: int, payload: bytes) -> None:
        raise Fault(ErrorCode.PROTOCOL_ERROR, "a PUSH_PROMISE frame, although push is disabled")

    def _on_ping(self, flags: int, stream_id: int, payload: bytes) -> None:
        check_connection_frame(frames.PING, stream_id)
        check_size(frames.PING, payload, 8)
        if not flags & frames.ACK:
            self._patience.spend()
            self.output.put_answer(pack_frame(frames.PING, frames.ACK, 0, payload))
        elif payload == self._pinged:
            self._pinged = None
        else:
            self._patience.spend()

    def _on_goaway(self, flags: int, stream_id: int, payload: bytes) -> None:
        """RFC 9113 §6.8: what is above the last id was not processed, the rest goes on."""
        check_connection_frame(frames.GOAWAY, stream_id)
        if len(payload) < 8:
            raise Fault(ErrorCode.FRAME_SIZE_ERROR, f"a GOAWAY frame of {len(payload)} bytes")
        last_id = unpack_number(payload)[0] & 0x7FFFFFFF
        (code,) = unpack_number(payload, 4)
        if last_id > self._last_processed_id:
            raise Fault(
                ErrorCode.PROTOCOL_ERROR, f"GOAWAY up to stream {last_id} after {self._last_processed_id}"
            )
        self._patience.spend()
        self._last_processed_id = last_id
        debug = payload[8:]
        self.goaway_code = code
        self._goaway = f"GOAWAY, {describe_code(code)}" + (f", {quote(debug)}" if debug else "")
        self._retire()
        for stream in [*self.streams.values()]:
            if stream.id > last_id:
                if stream.stage is _ENDED:
                    stream.stops_upload = True
                else:
                    stream.error = RemoteProtocolError(
                        f"The peer closes the connection, and has not processed the request ({self._goaway})."
                    )
                    # Whoever has answered has processed it, whatever it says now.
                    stream.is_refused = not stream.has_answer
                self._forget(stream, is_by_peer=True)
                self._news[stream.id] = stream

    def _on_window_update(self, flags: int, stream_id: int, payload: bytes) -> None:
        check_size(frames.WINDOW_UPDATE, payload, 4)
        credit = unpack_number(payload)[0] & 0x7FFFFFFF
        if 0 < credit <= self._credit_due:
            # It gives back what we have used, in whatever steps its application takes it.
            self._credit_due -= credit
        else:
            self._patience.spend()
        if not stream_id:
            if not credit:
                raise Fault(ErrorCode.PROTOCOL_ERROR, "a WINDOW_UPDATE of 0 bytes for the connection")
            self._send_window += credit
            if self._send_window > LARGEST_WINDOW:
                raise Fault(
                    ErrorCode.FLOW_CONTROL_ERROR,
                    f"it opens the connection's window to {self._send_window} bytes",
                )
        else:
            self._check_known(frames.WINDOW_UPDATE, stream_id)
            stream = self.streams.get(stream_id)
            if stream is None:
                return
            if not credit:
                raise Fault(ErrorCode.PROTOCOL_ERROR, "a WINDOW_UPDATE of 0 bytes", stream_id=stream_id)
            stream.send_window += credit
            if stream.send_window > LARGEST_WINDOW:
                raise Fault(
                    ErrorCode.FLOW_CONTROL_ERROR,
                    f"it opens the stream's window to {stream.send_window} bytes",
                    stream_id=stream_id,
                )
        self._is_window_open = True


_HANDLERS: dict[int, Callable[[Engine, int, int, bytes], None]] = {
    frames.DATA: Engine._on_padded_data,
    frames.HEADERS: Engine._on_headers,
    frames.PRIORITY: Engine._on_priority,
    frames.RST_STREAM: Engine._on_reset,
    frames.SETTINGS: Engine._on_settings,
    frames.PUSH_PROMISE: Engine._on_push,
    frames.PING: Engine._on_ping,
    frames.GOAWAY: Engine._on_goaway,
    frames.WINDOW_UPDATE: Engine._on_window_update,
    frames.CONTINUATION: Engine._on_continuation,
}
