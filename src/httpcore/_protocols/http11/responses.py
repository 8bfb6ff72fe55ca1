"""Response heads: from the bytes of a section to status, fields and framing (RFC 9112 §4, §6.3).

Theory of operation. A head is read in the plain way first: every line ends with CRLF, every line is one valid
field. Nearly all heads are like that, and what repeats from response to response is remembered: whole heads,
which change once a second with their Date, and single lines. A head that is not plain is read again with all
the leniency that we grant; that is also where the errors come from.

Invariant: what the plain way accepts, the lenient way reads just the same.
"""

from __future__ import annotations

import enum
import re

from ..._exceptions import RemoteProtocolError
from ..._types import Field
from ..fields import list_elements, parse_length, parse_lengths, quote
from .limits import Limits
from .sections import parse_field, split_lines, unfold


class Framing(enum.Enum):
    """Where the body ends, as far as status and fields decide."""

    LENGTH = "after Content-Length bytes"
    CHUNKED = "with the last chunk"
    UNTIL_CLOSE = "with the connection"
    NO_BODY = "where it begins"
    RAW = "nowhere: what follows is no HTTP any more"
    FAULTY = "nowhere certain"


class ResponseHead:
    """What was on the wire, and what follows from it whatever the request was.

    `version` is `b"1.1"` or `b"1.0"`. Equal heads may be one object, so nobody may change it.
    """

    __slots__ = (
        "ext",
        "fault",
        "fields",
        "framing",
        "is_final",
        "length",
        "may_persist",
        "plain_length",
        "reason",
        "says_close",
        "section",
        "status",
        "version",
    )

    def __init__(self, status_line: _StatusLine, fields: list[Field], framing_fields: list[Field]) -> None:
        self.status, self.version, self.reason = status_line
        self.is_final = self.status >= 200 or self.status == 101
        self.section = b""
        """All its bytes, the empty line included, if they are remembered."""
        self.ext: dict[str, object] = {
            "http_version": f"HTTP/{self.version.decode()}",
            "reason": self.reason.decode("latin-1"),
        }
        """What the interfaces tell besides: decoded once for all heads that are alike, copied for each."""
        self.fields = tuple(fields)
        lengths: list[bytes] = []
        codings: list[bytes] = []
        options: list[bytes] = []
        for name, value in framing_fields:
            if name == b"content-length":
                lengths.append(value)
            elif name == b"transfer-encoding":
                codings.append(value)
            else:
                options += list_elements(value)
        self.framing, self.length, self.fault = _decide_framing(self.status, lengths, codings)
        # RFC 9112 §9.3.
        self.says_close = b"close" in options or (self.version == b"1.0" and b"keep-alive" not in options)
        # RFC 9112 §6.1: both fields together, or a transfer coding in HTTP/1.0, are marks of a message that
        # somebody tampered with. It is read, but nothing is read after it.
        is_trusted = not codings or (not lengths and self.version == b"1.1")
        self.may_persist = is_trusted and not self.says_close
        is_plain = self.is_final and self.framing is Framing.LENGTH and self.may_persist
        self.plain_length = self.length if is_plain else 0
        """Bytes of the body as nearly every response has one: with a length, and nothing ends with it."""

    @property
    def headers(self) -> list[Field]:
        """The fields, in a list of the caller's own."""
        return [*self.fields]

    def __repr__(self) -> str:
        return f"<ResponseHead {self.status}, {len(self.fields)} headers>"


def read_head(section: bytes, limits: Limits) -> ResponseHead:
    """Read a whole head, its empty line included. Raises `RemoteProtocolError`."""
    if section.endswith(b"\r\n\r\n") and (head := try_read_plain_head(section[:-4])) is not None:
        return head
    lines = split_lines(section)
    status_line = _parse_status_line(lines[0])
    fields: list[Field] = []
    framing_fields: list[Field] = []
    for line in unfold(lines[1:], limits, what="response head"):
        field, name = parse_field(line)
        fields.append(field)
        if name.lowered in _FRAMING_FIELDS:
            framing_fields.append((name.lowered, field[1]))
    return ResponseHead(status_line, fields, framing_fields)


def try_read_plain_head(block: bytes) -> ResponseHead | None:
    """Read a head without its empty line; `None` unless it is plain."""
    head = _known_heads.get(block)
    if head is not None:
        return head
    lines = block.split(b"\r\n")
    fields: list[Field] = []
    framing_fields: list[Field] = []
    is_news = False
    try:
        status_line = _parse_status_line(lines[0])
        del lines[0]
        for line in lines:
            known = _known_lines.get(line)
            if known is None:
                known = _learn_line(line)
                is_news = True
            field, role = known
            fields.append(field)
            if role:
                framing_fields.append((role, field[1]))
    except RemoteProtocolError:
        return None
    head = ResponseHead(status_line, fields, framing_fields)
    # A head with a line that is new, or too secret to be known, is not likely to come again.
    if not is_news and len(block) <= _KNOWN_HEAD_SIZE:
        if len(_known_heads) >= _KNOWN_HEAD_COUNT:
            _known_heads.clear()
        _known_heads[block] = head
        head.section = block + b"\r\n\r\n"
    return head


_known_heads: dict[bytes, ResponseHead] = {}
_KNOWN_HEAD_COUNT = 256
_KNOWN_HEAD_SIZE = 1024

_known_lines: dict[bytes, tuple[Field, bytes]] = {}
_KNOWN_LINE_COUNT = 1024
_KNOWN_LINE_SIZE = 256


def _learn_line(line: bytes) -> tuple[Field, bytes]:
    """The field, and its lower-cased name if it has a part in the framing."""
    field, name = parse_field(line)
    parsed = (field, name.lowered if name.lowered in _FRAMING_FIELDS else b"")
    if len(line) <= _KNOWN_LINE_SIZE and not name.is_secret:
        if len(_known_lines) >= _KNOWN_LINE_COUNT:
            _known_lines.clear()
        _known_lines[line] = parsed
    return parsed


_FRAMING_FIELDS = (b"content-length", b"transfer-encoding", b"connection")

_StatusLine = tuple[int, bytes, bytes]


def _parse_status_line(line: bytes) -> _StatusLine:
    """RFC 9112 §4: one space before the code, one before the phrase, which is kept as it is. The phrase, and
    the space before it, may be missing. Codes of 600 and above are data."""
    known = _known_status_lines.get(line)
    if known is not None:
        return known
    match = _match_status_line(line)
    if match is None:
        raise RemoteProtocolError(f"The peer sent no valid HTTP/1.1 status line: {quote(line)}.")
    version, status, reason = match.groups()
    parsed = (int(status), version, reason or b"")
    if len(line) <= _KNOWN_STATUS_LINE_SIZE:
        if len(_known_status_lines) >= _KNOWN_STATUS_LINE_COUNT:
            _known_status_lines.clear()
        _known_status_lines[line] = parsed
    return parsed


_known_status_lines: dict[bytes, _StatusLine] = {}
_KNOWN_STATUS_LINE_COUNT = 64
_KNOWN_STATUS_LINE_SIZE = 64

_match_status_line = re.compile(
    rb"HTTP/(1\.[01]) ([1-9][0-9]{2})(?: ([^\x00-\x08\x0a-\x1f\x7f]*))?"
).fullmatch


def _decide_framing(status: int, lengths: list[bytes], codings: list[bytes]) -> tuple[Framing, int, str]:
    """RFC 9112 §6.3 as framing, length and fault, but for what depends on the request's method."""
    # Whatever the fields say: a switch of protocols (rule 2), and what has no body (rule 1).
    if status == 101:
        return Framing.RAW, 0, ""
    if status == 204 or status == 304:
        return Framing.NO_BODY, 0, ""
    # The fields decide (rules 3 to 8). Their fault may be of no consequence: HEAD and CONNECT come first.
    if codings:
        coding = b", ".join(codings)
        if list_elements(coding) == [b"chunked"]:
            return Framing.CHUNKED, 0, ""
        return (
            Framing.FAULTY,
            0,
            f"The response's Transfer-Encoding {quote(coding)} is not one single 'chunked'.",
        )
    if not lengths:
        return Framing.UNTIL_CLOSE, 0, ""
    value = b",".join(lengths)
    length = parse_length(value)
    if length is None:
        length, *others = parse_lengths(value)
        if others:
            return Framing.FAULTY, 0, f"The response's Content-Length values differ: {quote(value)}."
        if length is None:
            return Framing.FAULTY, 0, f"The response's Content-Length {quote(value)} is not a valid number."
    return Framing.LENGTH, length, ""
