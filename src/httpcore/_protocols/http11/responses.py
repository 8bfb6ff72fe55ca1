"""Response heads and trailers: from the bytes of a section to fields and framing (RFC 9112 §4, §5, §6.3).

Theory of operation. A section is a run of lines closed by an empty one. `SectionScanner` finds its end,
however the bytes arrive, and looks at each byte once. `read_head` then parses the section as a whole: first
assuming that it is plain (every line ends with CRLF and is a valid field), which nearly all are, and which is
what the caches serve; if that fails, with all the leniency that we grant (bare LF, obs-fold), which is also
where the errors come from.

Invariant: what the plain way accepts, the lenient way reads just the same.
"""

from __future__ import annotations

import enum
import re
from typing import NamedTuple

from ..._exceptions import RemoteProtocolError
from .fields import (
    BLANKS,
    find_control,
    holds_credentials,
    is_token,
    list_elements,
    parse_length,
    quote,
    quote_value,
)
from .limits import Limits

Field = tuple[bytes, bytes]


class ResponseHead(NamedTuple):
    """What was on the wire. `headers` is a fresh list that becomes the caller's own."""

    status: int
    version: bytes
    reason: bytes
    headers: list[tuple[bytes, bytes]]


class Framing(enum.Enum):
    """How the fields delimit the body, unless the status or the request method decides."""

    LENGTH = "Content-Length"
    CHUNKED = "chunked"
    UNTIL_CLOSE = "until the connection is closed"
    FAULTY = "not to be told"


class Head(NamedTuple):
    """A parsed head, and what it says whatever the request was."""

    status: int
    version: bytes
    reason: bytes
    fields: tuple[Field, ...]
    framing: Framing
    length: int
    fault: str
    """Why the framing is FAULTY."""
    is_trusted: bool
    """Whether the framing leaves no doubt where the next response begins."""
    says_close: bool
    """Whether the peer closes the connection after this response, as far as the fields tell."""


def read_head(section: bytes, limits: Limits) -> Head:
    """Parse a whole head, its empty line included. Raises `RemoteProtocolError`."""
    head = try_read_plain(section[:-4]) if section.endswith(b"\r\n\r\n") else None
    if head is None:
        lines = _split_lines(section)
        status_line = _parse_status_line(lines[0])
        fields = [parse_field(line) for line in _unfold(lines[1:], limits)]
        head = _make_head(status_line, fields)
    return head


def read_trailers(section: bytes, limits: Limits) -> list[Field]:
    """Parse a whole trailer section, its empty line included (RFC 9112 §7.1.2)."""
    fields = [parse_field(line) for line in _unfold(_split_lines(section), limits)]
    if len(fields) > limits.field_count:
        raise RemoteProtocolError(f"The response has more than {limits.field_count} trailer fields.")
    return fields


# The plain way, with its caches.

_known_lines: dict[bytes, Field] = {}
_KNOWN_LINES_COUNT = 2048
_KNOWN_LINE_SIZE = 128


def try_read_plain(block: bytes) -> Head | None:
    """Parse a head up to its empty line, `None` unless it is plain."""
    lines = block.split(b"\r\n")
    try:
        status_line = _parse_status_line(lines[0])
        fields = [_known_lines.get(line) or _learn(line) for line in lines[1:]]
    except RemoteProtocolError:
        return None
    return _make_head(status_line, fields)


def _learn(line: bytes) -> Field:
    field = parse_field(line)
    if len(line) <= _KNOWN_LINE_SIZE and not holds_credentials(field[0]):
        if len(_known_lines) >= _KNOWN_LINES_COUNT:
            _known_lines.clear()
        _known_lines[line] = field
    return field


# Lines.


def _split_lines(section: bytes) -> list[bytes]:
    """The lines before the empty one. RFC 9112 §2.2: a line ends with LF or CRLF."""
    lines = [line[:-1] if line.endswith(b"\r") else line for line in section.split(b"\n")]
    return lines[:-2]


def _unfold(lines: list[bytes], limits: Limits) -> list[bytes]:
    """Join obs-fold continuation lines to their field with one space (RFC 9112 §5.2)."""
    fields: list[list[bytes]] = []
    for line in lines:
        if not line.startswith((b" ", b"\t")):
            fields.append([line])
        elif fields:
            fields[-1].append(line.strip(BLANKS))
        else:
            raise RemoteProtocolError(f"The first header line begins with a blank: {quote(line)}.")
    return [_join(parts, limits) for parts in fields]


def _join(parts: list[bytes], limits: Limits) -> bytes:
    if len(parts) == 1:
        return parts[0]
    line = b" ".join((parts[0].rstrip(BLANKS), *parts[1:]))
    if len(line) > limits.field_size:
        raise RemoteProtocolError(f"A folded header field is larger than {limits.field_size} bytes.")
    return line


def parse_field(line: bytes) -> Field:
    """RFC 9112 §5. A blank before the colon is an error, blanks around the value are not part of it."""
    name, colon, value = line.partition(b":")
    if not colon:
        raise RemoteProtocolError(f"A header line has no colon: {quote(line)}.")
    if not is_token(name):
        raise RemoteProtocolError(f"A header name is not a token: {quote(line)}.")
    value = value.strip(BLANKS)
    if find_control(value):
        raise RemoteProtocolError(
            f"The value of the header {quote(name)} holds a control character: {quote_value(name, value)}."
        )
    return name, value


_StatusLine = tuple[int, bytes, bytes]
_match_status_line = re.compile(rb"HTTP/(1\.[01]) ([0-9]{3})(?: ([^\x00-\x08\x0a-\x1f\x7f]*))?").fullmatch


def _parse_status_line(line: bytes) -> _StatusLine:
    """RFC 9112 §4. One space on either side of the code; the phrase is kept as it is, and may be missing."""
    match = _match_status_line(line)
    if match is None:
        raise RemoteProtocolError(f"Not an HTTP/1.1 status line: {quote(line)}.")
    version, status, reason = match.groups()
    if status < b"100":
        raise RemoteProtocolError(f"The status code {quote(status)} is below 100.")
    return int(status), version, reason or b""


# Framing.

_SPECIAL = frozenset({b"content-length", b"transfer-encoding", b"connection"})


def _make_head(status_line: _StatusLine, fields: list[Field]) -> Head:
    status, version, reason = status_line
    special: dict[bytes, list[bytes]] = {}
    for name, value in fields:
        lowered = name.lower()
        if lowered in _SPECIAL:
            special.setdefault(lowered, []).append(value)
    codings = special.get(b"transfer-encoding")
    lengths = special.get(b"content-length")
    framing, length, fault = _decide_framing(lengths, codings)
    # RFC 9112 §6.1: both fields, or a coding in HTTP/1.0, is the mark of a message gone through other hands.
    is_trusted = codings is None or (lengths is None and version == b"1.1")
    options = list_elements(special.get(b"connection", []))
    says_close = b"close" in options or (version == b"1.0" and b"keep-alive" not in options)
    return Head(status, version, reason, tuple(fields), framing, length, fault, is_trusted, says_close)


def _decide_framing(lengths: list[bytes] | None, codings: list[bytes] | None) -> tuple[Framing, int, str]:
    """RFC 9112 §6.3, rules 3 to 8; rules 1 and 2 need the request and are the engine's."""
    if codings is not None:
        if list_elements(codings) != [b"chunked"]:
            fault = f"The Transfer-Encoding {quote(b', '.join(codings))} is not one single 'chunked'."
            return Framing.FAULTY, 0, fault
        return Framing.CHUNKED, 0, ""
    if lengths is None:
        return Framing.UNTIL_CLOSE, 0, ""
    values = {parse_length(value.strip(BLANKS), 2**63 - 1) for value in b",".join(lengths).split(b",")}
    length = values.pop()
    if values:
        return Framing.FAULTY, 0, f"The Content-Length values {quote(b', '.join(lengths))} differ."
    if length is None:
        return Framing.FAULTY, 0, f"The Content-Length {quote(b', '.join(lengths))} is not a valid length."
    return Framing.LENGTH, length, ""


class SectionScanner:
    """Finds the empty line that closes a section, looking at each byte once."""

    __slots__ = ("_limits", "_line_at", "_searched")

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        # Offsets from the first byte of the section.
        self._line_at = 0
        self._searched = 0

    def find_end(self, data: bytes | bytearray, at: int) -> int:
        """The offset just behind the section that begins at `at`, -1 if its end is not here yet."""
        limits = self._limits
        line_at = at + self._line_at
        start = at + self._searched
        while (end := data.find(b"\n", start)) >= 0:
            size = end - line_at
            if size == 0 or (size == 1 and data[line_at] == 13):
                self._line_at = self._searched = 0
                return end + 1
            if size > limits.field_size:
                break
            start = line_at = end + 1
        if len(data) - line_at > limits.field_size:
            raise RemoteProtocolError(f"A header line is longer than {limits.field_size} bytes.")
        if len(data) - at > limits.head_size:
            raise RemoteProtocolError(f"The response head is larger than {limits.head_size} bytes.")
        self._line_at = line_at - at
        self._searched = len(data) - at
        return -1
