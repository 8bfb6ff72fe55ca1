"""Request heads: what may go out, and what it says about the body that follows (RFC 9112 §3, §6).

Nothing is added and nothing is changed: names keep their case, fields their order, values their bytes.

The same client sends the same fields again and again, and checking them is most of the work; so the encoded
fields are remembered, as far as they are short and speak of no credentials.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from ..._exceptions import LocalProtocolError
from .fields import (
    BLANKS,
    CONTROLS,
    Field,
    find_control,
    find_name,
    is_secret,
    is_token,
    list_elements,
    parse_length,
    quote,
    quote_value,
)
from .limits import DEFAULT_LIMITS

CHUNKED = -1
"""The `length` of a request body that is sent in chunks."""


class RequestFields:
    """The fields of a request, ready to be sent, and what they decide."""

    __slots__ = ("asks_close", "block", "expects_continue", "has_framing", "length")

    def __init__(self, block: bytes, *, length: int | None, expects_continue: bool, asks_close: bool) -> None:
        self.block = block
        """Everything behind the request line, the empty line included."""
        self.length = length or 0
        """Bytes of the body, or `CHUNKED`."""
        self.has_framing = length is not None
        """Whether the fields speak of a body at all."""
        self.expects_continue = expects_continue and self.length != 0
        self.asks_close = asks_close


def check_request_line(method: bytes, target: bytes) -> None:
    """Raise `LocalProtocolError` unless method and target arrive as what they are.

    RFC 9112 §3.2 wants ASCII. Bytes above it are not ours to judge: the target goes out as it is, and servers
    take them. The form of the target (§3.2.1 to §3.2.4) is the business of who chose the route.
    """
    if method not in _METHODS and not is_token(method):
        raise LocalProtocolError(f"The request method {quote(method)} is not a token.")
    if not _is_target(target):
        flaw = "holds a blank or a control character" if target else "is empty"
        raise LocalProtocolError(f"The request target {quote(target)} {flaw}.")


_METHODS = frozenset(b"GET HEAD POST PUT DELETE CONNECT OPTIONS TRACE PATCH".split())

_is_target = re.compile(rb"[\x21-\x7e\x80-\xff]+").fullmatch


def encode_fields(headers: Sequence[Field]) -> RequestFields:
    """Check and encode the header fields of one request. Raises `LocalProtocolError`."""
    try:
        key = tuple(headers)
        fields = _known_fields.get(key)
    except TypeError:
        # A field that is a list or a bytearray has no hash, and may change before it is sent again.
        return _encode(headers)
    if fields is None:
        fields = _encode(headers)
        if len(fields.block) <= _KNOWN_SIZE and not any(is_secret(name) for name, _ in key):
            if len(_known_fields) >= _KNOWN_COUNT:
                _known_fields.clear()
            _known_fields[key] = fields
    return fields


_known_fields: dict[tuple[Field, ...], RequestFields] = {}
_KNOWN_COUNT = 1024
_KNOWN_SIZE = 1024


def _encode(headers: Sequence[Field]) -> RequestFields:
    pieces: list[bytes] = []
    special: dict[bytes, list[bytes]] = {name: [] for name in _SPECIAL}
    for name, value in headers:
        known = find_name(name)
        if known is None:
            raise LocalProtocolError(f"The header name {quote(name)} is not a token.")
        pieces += (name, b": ", value, b"\r\n")
        if known.lowered in special:
            special[known.lowered].append(value.strip(BLANKS))
    block = b"".join((*pieces, b"\r\n"))
    # Without all that may be in a field, nothing but our own line ends is left.
    if block.translate(None, _PERMITTED) != b"\r\n" * (len(headers) + 1):
        _find_fault(headers)
    _check_host(special[b"host"])
    return RequestFields(
        block,
        length=_decide_length(special[b"content-length"], special[b"transfer-encoding"]),
        expects_continue=b"100-continue" in list_elements(special[b"expect"]),
        asks_close=b"close" in list_elements(special[b"connection"]),
    )


_SPECIAL = (b"host", b"content-length", b"transfer-encoding", b"expect", b"connection")

_PERMITTED = bytes(byte for byte in range(0x100) if byte not in CONTROLS)


def _find_fault(headers: Sequence[Field]) -> None:
    for name, value in headers:
        if find_control(value):
            raise LocalProtocolError(
                f"The value of the header {quote(name)} holds a control character: "
                f"{quote_value(name, value)}."
            )


def _check_host(values: list[bytes]) -> None:
    """RFC 9112 §3.2: exactly one in every HTTP/1.1 request, CONNECT included. It may be empty."""
    if not values:
        raise LocalProtocolError("The request has no Host header, which HTTP/1.1 requires.")
    if len(values) > 1:
        raise LocalProtocolError(f"The request has {len(values)} Host headers; HTTP/1.1 allows one.")
    if b" " in values[0] or b"\t" in values[0]:
        raise LocalProtocolError(f"The Host header {quote(values[0])} holds a blank.")


def _decide_length(lengths: list[bytes], codings: list[bytes]) -> int | None:
    """Bytes of the body, `CHUNKED`, or `None` when neither field is there (RFC 9112 §6.2)."""
    if lengths and codings:
        raise LocalProtocolError("The request has both a Content-Length and a Transfer-Encoding header.")
    if codings:
        if [coding.lower() for coding in codings] != [b"chunked"]:
            value = quote(b", ".join(codings))
            raise LocalProtocolError(f"The request's Transfer-Encoding {value} is not one single 'chunked'.")
        return CHUNKED
    if not lengths:
        return None
    if len(lengths) > 1:
        raise LocalProtocolError(f"The request has {len(lengths)} Content-Length headers.")
    length = parse_length(lengths[0])
    if length is None or length > DEFAULT_LIMITS.content_length:
        value = quote(lengths[0])
        raise LocalProtocolError(f"The request's Content-Length {value} is not a number below 2^63.")
    return length
