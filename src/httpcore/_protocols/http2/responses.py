"""Response heads and trailers: from a block of fields to what it says (RFC 9113 §8.2, §8.3).

What a block says is remembered on the block (`FieldBlock.reading`), and the decoder remembers blocks.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from ..._types import Field
from ..fields import LONGEST_BODY, find_control, is_token, parse_lengths, quote, quote_field
from ..hpack import FieldBlock


class ResponseHead(NamedTuple):
    """What was on the wire. The list of headers is the caller's own."""

    status: int
    headers: list[Field]

    def __repr__(self) -> str:
        # Fields may carry credentials.
        return f"<ResponseHead {self.status}, {len(self.headers)} headers>"


class ParsedHead:
    """A head and what follows from it, whatever the request was. Shared, so nobody may change it."""

    __slots__ = ("fault", "fields", "length", "status")

    def __init__(self, block: FieldBlock) -> None:
        self.status = 0
        self.fields: tuple[Field, ...] = ()
        self.length: int | None = None
        """Bytes of the body, where Content-Length tells."""
        self.fault = self._read(block.fields)
        """Why the response is malformed, or an empty string."""

    def _read(self, fields: tuple[Field, ...]) -> str:
        if not fields or fields[0][0] != b":status":
            return describe_flaw(fields) or "a response without :status in the first place"
        status = fields[0][1]
        if not _is_status(status):
            return f"the status {quote(status)}"
        self.status = int(status)
        self.fields = fields[1:]
        if self.status == 101:
            return "the status 101, which HTTP/2 does not have"
        if fault := describe_flaw(self.fields):
            return fault
        lengths = [value for name, value in self.fields if name == b"content-length"]
        if lengths:
            value = b",".join(lengths)
            length, *others = parse_lengths(value)
            if others:
                return f"Content-Length values that differ: {quote(value)}"
            if length is None or length > LONGEST_BODY:
                return f"a Content-Length {quote(value)} that is no number below 2^63"
            self.length = length
        return ""


_is_status = re.compile(rb"[1-9][0-9]{2}").fullmatch


def read_head(block: FieldBlock) -> ParsedHead:
    """Read a block for the first time."""
    block.reading = reading = ParsedHead(block)
    return reading


def describe_flaw(fields: tuple[Field, ...]) -> str:
    """Why these are no regular fields, or an empty string (RFC 9113 §8.2, and RFC 9110 §5 besides)."""
    for name, value in fields:
        if name not in _known_names:
            if name.startswith(b":"):
                return f"the pseudo-header field {quote(name)} where it may not be"
            if not is_token(name) or name != name.lower():
                return f"the field name {quote(name)}"
            if name in _CONNECTION_SPECIFIC:
                return f"the connection-specific field {quote(name)}"
            if len(_known_names) < _KNOWN_NAME_COUNT and len(name) <= _KNOWN_NAME_SIZE:
                _known_names.add(name)
        if not _is_value(value):
            flaw = "a control character" if find_control(value) else "a blank at an end"
            return f"a field value with {flaw}: {quote_field(name, value)}"
    return ""


_is_value = re.compile(
    rb"(?:[\x21-\x7e\x80-\xff](?:[^\x00-\x08\x0a-\x1f\x7f]*[\x21-\x7e\x80-\xff])?)?"
).fullmatch
"""No controls but HTAB, and no blank at either end."""


_CONNECTION_SPECIFIC = frozenset(
    (b"connection", b"keep-alive", b"proxy-connection", b"transfer-encoding", b"upgrade")
)

_known_names: set[bytes] = set()
_KNOWN_NAME_COUNT = 1024
_KNOWN_NAME_SIZE = 64
