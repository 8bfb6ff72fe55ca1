"""What a header field may look like, in either direction (RFC 9110 §5), and how one is named in an error."""

from __future__ import annotations

import re

is_token = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+").fullmatch

find_control = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]").search
"""Every control character but HTAB: what neither a value nor a reason phrase may hold (RFC 9110 §5.5)."""

BLANKS = b" \t"

CREDENTIALS = frozenset({b"authorization", b"proxy-authorization", b"cookie", b"set-cookie"})
"""Fields whose values appear in no error, and stay in no cache."""

_SHOWN = 60


def quote(value: bytes) -> str:
    """A bounded `repr`, without the content if it may hold credentials."""
    value = bytes(value)
    if holds_credentials(value):
        return f"(a field with credentials, {len(value)} bytes)"
    if len(value) <= _SHOWN:
        return repr(value)
    return f"{value[:_SHOWN]!r}... ({len(value)} bytes)"


def quote_value(name: bytes, value: bytes) -> str:
    """As `quote`, for the value of the field `name`."""
    if bytes(name).lower() in CREDENTIALS:
        return "(not shown)"
    return quote(value)


def holds_credentials(line: bytes) -> bool:
    """Whether a line, however malformed, speaks of a field that carries credentials."""
    lowered = line.lower()
    return any(name in lowered for name in CREDENTIALS)


def list_elements(values: list[bytes]) -> list[bytes]:
    """The elements of a comma-separated list over several lines, in lower case; empty ones count for nothing
    (RFC 9110 §5.6.1)."""
    elements = [element.strip(BLANKS) for element in b",".join(values).lower().split(b",")]
    return [element for element in elements if element]


def parse_length(value: bytes, maximum: int) -> int | None:
    """The number that a Content-Length field gives, `None` if it is none (RFC 9110 §8.6).

    `int` would also take signs, blanks, underscores, and any number of digits in quadratic time.
    """
    if not _is_decimal(value):
        return None
    digits = value.lstrip(b"0") or b"0"
    if len(digits) > len(str(maximum)):
        return None
    length = int(digits)
    return length if length <= maximum else None


_is_decimal = re.compile(rb"[0-9]+").fullmatch
