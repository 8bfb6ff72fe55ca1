"""Watches an HTTP/2 client, frame by frame, and objects to what RFC 9113 forbids it.

It sees the connection as a server does: what the client sent is checked against what the server has granted,
allowed and announced. A client may not have heard yet of what was sent last; so what concerns a stream that the
server has ended, or a setting, is held against it only after an acknowledgement shows that it has.

The `hpack` package decodes the client's header blocks, so that an encoder out of step is seen at once.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from enum import IntEnum
from itertools import islice
from typing import NamedTuple

from hpack import Decoder, HPACKError, NeverIndexedHeaderTuple

Field = tuple[bytes, bytes]

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

LARGEST_WINDOW = 2**31 - 1

REMEMBERED = 1000
"""How many closed streams are remembered."""


class Type(IntEnum):
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
    ALTSVC = 0xA
    ORIGIN = 0xC
    PRIORITY_UPDATE = 0x10


class Flag(IntEnum):
    NONE = 0x0
    ACK = 0x1
    END_STREAM = 0x1
    END_HEADERS = 0x4
    PADDED = 0x8
    PRIORITY = 0x20


class Setting(IntEnum):
    HEADER_TABLE_SIZE = 0x1
    ENABLE_PUSH = 0x2
    MAX_CONCURRENT_STREAMS = 0x3
    INITIAL_WINDOW_SIZE = 0x4
    MAX_FRAME_SIZE = 0x5
    MAX_HEADER_LIST_SIZE = 0x6


class Code(IntEnum):
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


class Frame(NamedTuple):
    type: int
    flags: int
    stream_id: int
    payload: bytes


class Goaway(NamedTuple):
    last_id: int
    code: int
    debug: bytes


class Violation(AssertionError):
    """The client did what it must not."""


class Stream:
    """One exchange as the server sees it."""

    def __init__(self, stream_id: int, *, allowance: int, window: int) -> None:
        self.id = stream_id
        self.fields: list[Field] = []
        self.secrets: list[Field] = []
        """The fields that came as never to be indexed."""
        self.block = b""
        """The header block as it was on the wire."""
        self.body = bytearray()
        self.trailers: list[Field] = []
        self.is_ended = False
        """The client's half is complete."""
        self.reset_code: int | None = None
        """What the client reset it with."""
        self.is_answered = False
        """Our half is complete, or was reset."""
        self.was_reset_by_us = False
        self.closed_at: int | None = None
        """How many acknowledgements were awaited when our side ended it."""
        self.allowance = allowance
        """How much DATA the client may send."""
        self.window = window
        """How much DATA we may send."""
        self.granted = 0
        """How much the client has granted by WINDOW_UPDATE."""
        self.updates = 0

    def __getitem__(self, name: bytes) -> bytes:
        return next(value for key, value in self.fields if key == name)

    @property
    def method(self) -> bytes:
        return self[b":method"]

    @property
    def path(self) -> bytes:
        return self[b":path"]

    @property
    def is_over(self) -> bool:
        return self.reset_code is not None or (self.is_answered and (self.is_ended or self.was_reset_by_us))


class Referee:
    def __init__(self) -> None:
        self.streams: OrderedDict[int, Stream] = OrderedDict()
        self.active_count = 0
        """How many streams are not over."""
        self.last_id = 0
        self.goaway: Goaway | None = None
        self.client_settings: dict[int, int] = {}
        self.frame_size = 16_384
        """The longest payload that we may send."""
        self.window = 65_535
        """How much DATA we may send on the connection."""
        self.largest_window = 65_535
        self.allowance = 65_535
        """How much DATA the client may send on the connection."""
        self.frame_limit = 16_384
        self.concurrency_limit: int | None = None
        self.list_limit: int | None = None
        self.decoder = Decoder(max_header_list_size=2**24)
        self.knows_what_was_sent = True
        """Whether all our SETTINGS and PINGs were noted here: if not, any acknowledgement may be due."""
        self.opened: deque[Stream] = deque()
        """Streams whose HEADERS have come, for whoever answers."""
        self._stream_window = 65_535
        self._stream_allowance = 65_535
        self._awaited: deque[dict[int, int] | bytes] = deque()
        """The SETTINGS and PINGs that we sent and that are not acknowledged yet."""
        self._sent_count = 0
        self._acknowledged_count = 0
        self._goaway_at: int | None = None
        self._is_first = True
        self._block: list[bytes] = []
        self._block_frame: Frame | None = None

    # What we sent.

    def note_settings(self, settings: dict[int, int]) -> None:
        self._awaited.append(settings)
        self._sent_count += 1

    def note_ping(self, payload: bytes) -> None:
        self._awaited.append(payload)
        self._sent_count += 1

    def note_data(self, stream: Stream | None, size: int) -> None:
        self.window -= size
        if stream is not None:
            stream.window -= size

    def note_end(self, stream: Stream) -> None:
        stream.is_answered = True
        if stream.is_ended:
            self._close(stream)

    def note_reset(self, stream: Stream) -> None:
        stream.is_answered = stream.was_reset_by_us = True
        self._close(stream)

    def note_credit(self, stream: Stream | None, size: int) -> None:
        if stream is None:
            self.allowance += size
        else:
            stream.allowance += size

    def note_goaway(self) -> None:
        self._goaway_at = self._sent_count

    def _close(self, stream: Stream) -> None:
        if stream.closed_at is None:
            stream.closed_at = self._sent_count
            self.active_count -= 1
        if len(self.streams) > REMEMBERED:
            for key in [key for key in islice(self.streams, 8) if self.streams[key].is_over]:
                del self.streams[key]

    def _knows(self, moment: int | None) -> bool:
        """Whether the client has acknowledged something that was sent after `moment`."""
        return moment is not None and self._acknowledged_count > moment

    # What the client sends.

    def see(self, frame: Frame) -> None:
        """Check a frame and note what it says."""
        if self._is_first:
            self._demand(
                frame.type == Type.SETTINGS and not frame.flags & Flag.ACK, "SETTINGS come first", frame
            )
            self._is_first = False
        self._demand(len(frame.payload) <= self.frame_limit, "the frame is too long", frame)
        if self._block_frame is not None:
            same = frame.type == Type.CONTINUATION and frame.stream_id == self._block_frame.stream_id
            self._demand(same, "a header block was interrupted", frame)
        match frame.type:
            case Type.DATA:
                self._see_data(frame)
            case Type.HEADERS:
                self._see_headers(frame)
            case Type.CONTINUATION:
                self._demand(self._block_frame is not None, "it continues nothing", frame)
                self._see_fragment(frame, frame.payload)
            case Type.RST_STREAM:
                self._see_reset(frame)
            case Type.SETTINGS:
                self._see_settings(frame)
            case Type.PING:
                self._see_ping(frame)
            case Type.GOAWAY:
                self._demand(frame.stream_id == 0 and len(frame.payload) >= 8, "it is malformed", frame)
                last_id, code = (int.from_bytes(frame.payload[i : i + 4], "big") for i in (0, 4))
                self.goaway = Goaway(last_id, code, frame.payload[8:])
            case Type.WINDOW_UPDATE:
                self._see_window_update(frame)
            case Type.PRIORITY:
                self._demand(frame.stream_id != 0 and len(frame.payload) == 5, "it is malformed", frame)
            case _:
                raise Violation(f"A client has no reason to send {frame}.")

    def _demand(self, condition: bool, otherwise: str, frame: Frame) -> None:
        if not condition:
            shown = frame._replace(payload=frame.payload[:40])
            raise Violation(f"{otherwise}: {shown} ({len(frame.payload)} bytes)")

    def _known(self, frame: Frame) -> Stream | None:
        """The frame's stream; `None` if it was closed so long ago that it is forgotten."""
        self._demand(frame.stream_id % 2 == 1, "a client's streams have odd numbers", frame)
        self._demand(frame.stream_id <= self.last_id, "the stream is idle", frame)
        stream = self.streams.get(frame.stream_id)
        if stream is not None:
            self._demand(stream.reset_code is None, "the client had reset this stream", frame)
            self._demand(
                not self._knows(stream.closed_at), "the client knows that this stream is closed", frame
            )
        return stream

    def _see_data(self, frame: Frame) -> None:
        stream = self._known(frame)
        content = self._unpadded(frame)
        size = len(frame.payload)
        self._demand(size <= max(0, self.allowance), "the connection's window is overrun", frame)
        self.allowance -= size
        if stream is None:
            return
        self._demand(not stream.is_ended, "the client had ended this stream", frame)
        self._demand(size == 0 or size <= stream.allowance, "the stream's window is overrun", frame)
        stream.allowance -= size
        stream.body += content
        if frame.flags & Flag.END_STREAM:
            self._end(stream)

    def _see_headers(self, frame: Frame) -> None:
        self._demand(frame.stream_id % 2 == 1, "a client's streams have odd numbers", frame)
        if frame.stream_id <= self.last_id:
            stream = self._known(frame)
            self._demand(stream is None or not stream.is_ended, "the client had ended this stream", frame)
            self._demand(bool(frame.flags & Flag.END_STREAM), "trailers end the stream", frame)
        else:
            self._demand(self.goaway is None, "the client had said goodbye", frame)
            self._demand(not self._knows(self._goaway_at), "the client knows that we take no more", frame)
            if self.concurrency_limit is not None:
                self._demand(self.active_count < self.concurrency_limit, "there are too many streams", frame)
            self.last_id = frame.stream_id
            self.active_count += 1
            self.streams[frame.stream_id] = Stream(
                frame.stream_id, allowance=self._stream_allowance, window=self._stream_window
            )
        fragment = self._unpadded(frame)
        if frame.flags & Flag.PRIORITY:
            fragment = fragment[5:]
        self._block_frame = frame
        self._block = []
        self._see_fragment(frame, fragment)

    def _see_fragment(self, frame: Frame, fragment: bytes) -> None:
        self._block.append(fragment)
        if not frame.flags & Flag.END_HEADERS:
            return
        first = self._block_frame
        assert first is not None
        self._block_frame = None
        block = b"".join(self._block)
        try:
            decoded = list(self.decoder.decode(block, raw=True))
        except HPACKError as exc:
            raise Violation(f"the block cannot be decoded: {exc!r}: {block[:60]!r}") from exc
        fields = [(bytes(name), bytes(value)) for name, value in decoded]
        stream = self.streams.get(first.stream_id)
        if stream is None:
            return
        if self.list_limit is not None:
            size = sum(len(name) + len(value) + 32 for name, value in fields)
            self._demand(size <= self.list_limit, "the header list is too large", first)
        if stream.fields:
            stream.trailers = fields
            self._demand(not any(name[:1] == b":" for name, _ in fields), "pseudo-fields in trailers", first)
        else:
            _check_request(fields)
            stream.fields = fields
            stream.block = block
            stream.secrets = [
                (bytes(field[0]), bytes(field[1]))
                for field in decoded
                if isinstance(field, NeverIndexedHeaderTuple)
            ]
            self.opened.append(stream)
        if first.flags & Flag.END_STREAM:
            self._end(stream)

    def _end(self, stream: Stream) -> None:
        stream.is_ended = True
        if stream.is_answered:
            self._close(stream)

    def _see_reset(self, frame: Frame) -> None:
        self._demand(len(frame.payload) == 4, "it is malformed", frame)
        stream = self._known(frame)
        if stream is not None:
            stream.reset_code = int.from_bytes(frame.payload, "big")
            self._close(stream)

    def _see_settings(self, frame: Frame) -> None:
        self._demand(frame.stream_id == 0 and len(frame.payload) % 6 == 0, "it is malformed", frame)
        if frame.flags & Flag.ACK:
            self._demand(not frame.payload, "an acknowledgement has no payload", frame)
            settings = next((sent for sent in self._awaited if isinstance(sent, dict)), None)
            if settings is None and not self.knows_what_was_sent:
                return
            self._demand(settings is not None, "it acknowledges nothing", frame)
            assert settings is not None
            self._awaited.remove(settings)
            self._acknowledged_count += 1
            self._apply(settings)
            return
        for i in range(0, len(frame.payload), 6):
            key = int.from_bytes(frame.payload[i : i + 2], "big")
            value = int.from_bytes(frame.payload[i + 2 : i + 6], "big")
            self._see_setting(key, value, frame)

    def _see_setting(self, key: int, value: int, frame: Frame) -> None:
        if key == Setting.ENABLE_PUSH:
            self._demand(value == 0, "nobody wants pushes", frame)
        elif key == Setting.INITIAL_WINDOW_SIZE:
            self._demand(value <= LARGEST_WINDOW, "the window is too large", frame)
            for stream in self.streams.values():
                stream.window += value - self._stream_window
            self._stream_window = value
        elif key == Setting.MAX_FRAME_SIZE:
            self._demand(16_384 <= value < 2**24, "the frame size is out of range", frame)
            self.frame_size = value
        self.client_settings[key] = value

    def _apply(self, settings: dict[int, int]) -> None:
        """The client obeys these from here on."""
        for key, value in settings.items():
            if key == Setting.HEADER_TABLE_SIZE:
                self.decoder.max_allowed_table_size = value
            elif key == Setting.MAX_CONCURRENT_STREAMS:
                self.concurrency_limit = value
            elif key == Setting.INITIAL_WINDOW_SIZE:
                for stream in self.streams.values():
                    stream.allowance += value - self._stream_allowance
                self._stream_allowance = value
            elif key == Setting.MAX_FRAME_SIZE:
                self.frame_limit = value
            elif key == Setting.MAX_HEADER_LIST_SIZE:
                self.list_limit = value

    def _see_ping(self, frame: Frame) -> None:
        self._demand(frame.stream_id == 0 and len(frame.payload) == 8, "it is malformed", frame)
        if not frame.flags & Flag.ACK:
            return
        if frame.payload in self._awaited:
            self._awaited.remove(frame.payload)
            self._acknowledged_count += 1
        else:
            self._demand(not self.knows_what_was_sent, "it answers no PING of ours", frame)

    def _see_window_update(self, frame: Frame) -> None:
        self._demand(len(frame.payload) == 4, "it is malformed", frame)
        size = int.from_bytes(frame.payload, "big") & LARGEST_WINDOW
        self._demand(size > 0, "it grants nothing", frame)
        if frame.stream_id == 0:
            self.window += size
            self.largest_window = max(self.largest_window, self.window)
            self._demand(self.window <= LARGEST_WINDOW, "the connection's window is too large", frame)
            return
        stream = self._known(frame)
        if stream is not None:
            stream.window += size
            stream.granted += size
            stream.updates += 1
            self._demand(stream.window <= LARGEST_WINDOW, "the stream's window is too large", frame)

    def _unpadded(self, frame: Frame) -> bytes:
        if not frame.flags & Flag.PADDED:
            return frame.payload
        self._demand(frame.payload[0] < len(frame.payload), "there is more padding than frame", frame)
        return frame.payload[1 : len(frame.payload) - frame.payload[0]]


SPECIFIC = frozenset(
    (b"connection", b"keep-alive", b"proxy-connection", b"transfer-encoding", b"upgrade", b"host")
)
"""Fields that a client of ours never sends on HTTP/2 (RFC 9113 §8.2.2, §8.3.1)."""


def _check_request(fields: list[Field]) -> None:
    """RFC 9113 §8.2 and §8.3, for a request."""
    names = [name for name, _ in fields]
    pseudo = [name for name in names if name[:1] == b":"]
    if names[: len(pseudo)] != pseudo:
        raise Violation(f"pseudo-fields come first: {names}")
    is_connect = (b":method", b"CONNECT") in fields
    wanted = [b":authority", b":method"] if is_connect else [b":authority", b":method", b":path", b":scheme"]
    if sorted(pseudo) != wanted:
        raise Violation(f"these are no pseudo-fields of a request: {pseudo}")
    for name, value in fields:
        if name != name.lower() or name in SPECIFIC or not name:
            raise Violation(f"no such field on HTTP/2: {name!r}")
        if name == b"te" and value != b"trailers":
            raise Violation(f"te may only be trailers: {value!r}")
        if set(value) & set(b"\0\r\n") or value != value.strip(b" \t"):
            raise Violation(f"no such value on HTTP/2: {name!r}: {value!r}")
