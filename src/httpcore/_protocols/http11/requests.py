"""Request heads: what may go out, and what it says about the body that follows (RFC 9112 §3, §6).

Nothing is added and nothing is changed: names keep their case, fields their order, values their bytes.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from ..._exceptions import LocalProtocolError
from .fields import (
    BLANKS,
    CREDENTIALS,
    find_control,
    is_token,
    list_elements,
    parse_length,
    quote,
    quote_value,
)
from .limits import DEFAULT_LIMITS

# RFC 9112 §3.2 wants ASCII. Bytes above it are the caller's own and go out as they are, as everywhere.
_is_target = re.compile(rb"[\x21-\x7e\x80-\xff]+").fullmatch


class RequestFields(NamedTuple):
    """The fields of a request, ready to send, and what they decide."""

    block: bytes
    """From the end of the request line on, the empty line included."""

    length: int
    """Bytes that Content-Length announces; 0 if there is none, -1 for a chunked body."""

    has_framing: bool
    """Whether a Content-Length or a Transfer-Encoding field is there."""

    expects_continue: bool
    asks_close: bool


CHUNKED = -1


def check_request_line(method: bytes, target: bytes) -> None:
    """Raise `LocalProtocolError` for a method or target that would not arrive as what it is."""
    if not is_token(method):
        raise LocalProtocolError(f"The request method {quote(method)} is not a token.")
    if not _is_target(target):
        raise LocalProtocolError(
            f"The request target {quote(target)} is empty, or holds a blank or a control character."
        )


def encode_fields(headers: Sequence[tuple[bytes, bytes]]) -> RequestFields:
    """Validate and encode the header fields of one request."""
    try:
        key = tuple(headers)
        known = _known.get(key)
    except TypeError:
        # A field that is a list, or a buffer that may change: encoded anew each time.
        return _encode(headers)
    if known is None:
        known = _encode(headers)
        _remember(key, known)
    return known


# The same client sends the same fields again and again, and validating them is most of the work.
_known: dict[tuple[tuple[bytes, bytes], ...], RequestFields] = {}
_KNOWN_COUNT = 256
_KNOWN_SIZE = 2048


def _remember(key: tuple[tuple[bytes, bytes], ...], fields: RequestFields) -> None:
    if len(fields.block) > _KNOWN_SIZE or any(name.lower() in CREDENTIALS for name, _ in key):
        return
    if len(_known) >= _KNOWN_COUNT:
        _known.clear()
    _known[key] = fields


def _encode(headers: Sequence[tuple[bytes, bytes]]) -> RequestFields:
    lines: list[bytes] = []
    special: dict[bytes, list[bytes]] = {}
    for name, value in headers:
        _check_field(name, value)
        lines.append(b"%b: %b\r\n" % (name, value))
        lowered = name.lower()
        if lowered in _SPECIAL:
            special.setdefault(lowered, []).append(value.strip(BLANKS))
    _check_host(special.get(b"host", []))
    length = _decide_length(special.get(b"content-length", []), special.get(b"transfer-encoding", []))
    expectations = list_elements(special.get(b"expect", []))
    return RequestFields(
        b"".join((*lines, b"\r\n")),
        length or 0,
        length is not None,
        expects_continue=b"100-continue" in expectations and bool(length),
        asks_close=b"close" in list_elements(special.get(b"connection", [])),
    )


_SPECIAL = frozenset({b"host", b"content-length", b"transfer-encoding", b"expect", b"connection"})


def _check_field(name: bytes, value: bytes) -> None:
    if not is_token(name):
        raise LocalProtocolError(f"The header name {quote(name)} is not a token.")
    if find_control(value):
        raise LocalProtocolError(
            f"The value of the header {quote_name(name)} holds a control character: "
            f"{quote_value(name, value)}."
        )


def quote_name(name: bytes) -> str:
    return name.decode("ascii") if len(name) <= 60 else f"{name[:60].decode('ascii')}..."


def _check_host(values: list[bytes]) -> None:
    """RFC 9112 §3.2: exactly one, in every HTTP/1.1 request, CONNECT included."""
    if not values:
        raise LocalProtocolError("The request has no Host header, which HTTP/1.1 requires.")
    if len(values) > 1:
        raise LocalProtocolError(f"The request has {len(values)} Host headers; HTTP/1.1 allows one.")
    if any(byte in values[0] for byte in BLANKS):
        raise LocalProtocolError(f"The Host header {quote(values[0])} holds a blank.")


def _decide_length(lengths: list[bytes], codings: list[bytes]) -> int | None:
    """The length of the body, `CHUNKED`, or `None` when there is none (RFC 9112 §6.2)."""
    if lengths and codings:
        raise LocalProtocolError("The request has both a Content-Length and a Transfer-Encoding header.")
    if codings:
        if [coding.lower() for coding in codings] != [b"chunked"]:
            raise LocalProtocolError(
                f"The request's Transfer-Encoding {quote(b', '.join(codings))} is not one single 'chunked'."
            )
        return CHUNKED
    if not lengths:
        return None
    if len(lengths) > 1:
        raise LocalProtocolError(f"The request has {len(lengths)} Content-Length headers.")
    length = parse_length(lengths[0], DEFAULT_LIMITS.content_length)
    if length is None:
        raise LocalProtocolError(f"The request's Content-Length {quote(lengths[0])} is not a valid length.")
    return length
