"""What a header field may look like, in either direction (RFC 9110 §5), and how errors speak of one."""

from __future__ import annotations

import re
from collections.abc import Sequence

BLANKS = b" \t"

is_token = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+").fullmatch

CONTROLS = bytes(byte for byte in (*range(0x20), 0x7F) if byte != 0x09)
"""What neither a value nor a reason phrase may hold: every control but HTAB (RFC 9110 §5.5)."""

find_control = re.compile(b"[" + re.escape(CONTROLS) + b"]").search

is_secret = re.compile(rb"auth|cookie|token|secret|api-?key", re.IGNORECASE).search
"""Whether a name, or a line too malformed to have one, speaks of a field that may carry credentials. Their
values appear in no error and stay in no cache."""


class Name:
    """What is to be known of a valid field name."""

    __slots__ = ("is_secret", "lowered")

    def __init__(self, name: bytes) -> None:
        self.lowered = name.lower()
        self.is_secret = is_secret(name) is not None


def find_name(name: bytes) -> Name | None:
    """`None` unless the name is a token (RFC 9110 §5.1)."""
    known = _known_names.get(name)
    if known is None and is_token(name):
        known = Name(name)
        if len(name) <= _KNOWN_NAME_SIZE:
            if len(_known_names) >= _KNOWN_NAME_COUNT:
                _known_names.clear()
            _known_names[name] = known
    return known


# There are few names in the world, and looking one up costs a tenth of looking at it.
_known_names: dict[bytes, Name] = {}
_KNOWN_NAME_COUNT = 1024
_KNOWN_NAME_SIZE = 64

_SHOWN_SIZE = 60


def quote(text: bytes) -> str:
    """A bounded `repr` for errors; without its content if that may hold credentials."""
    return "not shown, as it may hold credentials" if is_secret(text) else _bound(text)


def quote_field(name: bytes, value: bytes) -> str:
    """The same for a field with a valid name."""
    return f"{_bound(name)}: {'not shown' if is_secret(name) else quote(value)}"


def _bound(text: bytes) -> str:
    if len(text) <= _SHOWN_SIZE:
        return repr(text)
    return f"{text[:_SHOWN_SIZE]!r}... ({len(text)} bytes)"


def no_fields(headers: Sequence[object]) -> TypeError:
    """Names what made these headers impossible to read: not what they say, but what they are."""
    for field in headers:
        if not isinstance(field, (tuple, list)) or len(field) != 2:
            return TypeError(f"A header must be a pair of bytes, not {type(field).__name__}.")
        for what, part in zip(("name", "value"), field, strict=True):
            if not isinstance(part, (bytes, bytearray)):
                return TypeError(f"The {what} of a header must be bytes, not {type(part).__name__}.")
    return TypeError("The headers must be pairs of bytes.")


def list_elements(value: bytes) -> list[bytes]:
    """The elements of a list, in lower case; empty ones do not count (RFC 9110 §5.6.1)."""
    elements = [element.strip(BLANKS) for element in value.lower().split(b",")]
    return [element for element in elements if element]


def parse_length(value: bytes) -> int | None:
    """The number in a Content-Length, `None` if there is none (RFC 9110 §8.6), or one past all limits.

    `int` alone would also take signs, blanks and underscores, and ever more digits in ever more time.
    """
    if not value.isdigit():
        return None
    if len(value) > _DIGITS:
        value = value.lstrip(b"0")
        if len(value) > _DIGITS:
            return None
    return int(value or b"0")


def parse_lengths(value: bytes) -> set[int | None]:
    """The same for values that were joined by commas: equal ones count as one (RFC 9110 §8.6)."""
    return {parse_length(element.strip(BLANKS)) for element in value.split(b",")}


_DIGITS = 20

LONGEST_BODY = 2**63 - 1
"""Bytes that a Content-Length may announce: as far as other implementations count, so that nobody between
reads a different number."""
