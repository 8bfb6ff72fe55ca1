"""Request heads: what may go out, and what it says about the body that follows (RFC 9112 §3, §6).

Nothing is added and nothing is changed: names keep their case, fields their order, values their bytes, with
the blanks around them, which any receiver drops (RFC 9110 §5.5).

The same client sends the same fields again and again, and checking them is most of the work; so the encoded
fields are remembered, if they are short and hold no credentials.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..._exceptions import LocalProtocolError
from ..._types import Field
from ..fields import (
    BLANKS,
    CONTROLS,
    find_control,
    find_name,
    list_elements,
    no_fields,
    quote,
    quote_field,
)
from ..requests import decide_length


class RequestFields:
    """The fields of a request, ready to be sent, and what they decide."""

    __slots__ = ("asks_close", "block", "expects_continue", "has_framing", "length", "source")

    def __init__(self, block: bytes, *, length: int | None, expects_continue: bool, asks_close: bool) -> None:
        self.block = block
        """Everything after the request line, the empty line included."""
        self.length = length or 0
        """Bytes of the body, or `CHUNKED`."""
        self.has_framing = length is not None
        """Whether the fields speak of a body at all."""
        self.expects_continue = expects_continue and self.length != 0
        self.asks_close = asks_close
        self.source: Sequence[Field] | None = None
        """The fields that this was made of; `None` if they may change."""


class KeptFields(tuple[Field, ...]):
    """Fields that somebody keeps to send them again, credentials included, and what they are encoded to.

    None of them may change.
    """

    encoded: RequestFields | None = None

    def __repr__(self) -> str:
        return f"<KeptFields, {len(self)} headers>"


def encode_fields(headers: Sequence[Field]) -> RequestFields:
    """Check and encode the header fields of one request. Raises `LocalProtocolError`."""
    if type(headers) is KeptFields:
        if headers.encoded is None:
            headers.encoded = _encode(headers)[0]
            headers.encoded.source = headers
        return headers.encoded
    key = tuple(headers)
    try:
        known = _known_fields.get(key)
    except TypeError:
        # A field that is a list or holds a bytearray has no hash, and may change before it is sent again.
        return _encode(key)[0]
    if known is not None:
        return known
    fields, is_secret = _encode(key)
    fields.source = [*key]
    if not is_secret and len(fields.block) <= _KNOWN_SIZE:
        if len(_known_fields) >= _KNOWN_COUNT:
            _known_fields.clear()
        _known_fields[key] = fields
    return fields


_known_fields: dict[tuple[Field, ...], RequestFields] = {}
_KNOWN_COUNT = 1024
_KNOWN_SIZE = 1024


def _encode(headers: tuple[Field, ...]) -> tuple[RequestFields, bool]:
    """The fields, and whether one of them may carry credentials."""
    is_secret = False
    pieces: list[bytes] = []
    special: dict[bytes, list[bytes]] = {name: [] for name in _SPECIAL}
    try:
        for name, value in headers:
            known = find_name(name)
            if known is None:
                raise LocalProtocolError(f"The header name {quote(name)} is not a token.")
            is_secret = is_secret or known.is_secret
            pieces += (name, b": ", value, b"\r\n")
            if known.lowered in special:
                special[known.lowered].append(value.strip(BLANKS))
        block = b"".join((*pieces, b"\r\n"))
    except (AttributeError, TypeError, ValueError):
        raise no_fields(headers) from None
    # Without all that may be in a field, nothing but our own line ends is left.
    if block.translate(None, _PERMITTED) != b"\r\n" * (len(headers) + 1):
        raise LocalProtocolError(_describe_fault(headers))
    _check_host(special[b"host"])
    fields = RequestFields(
        block,
        length=decide_length(special[b"content-length"], special[b"transfer-encoding"]),
        expects_continue=b"100-continue" in list_elements(b",".join(special[b"expect"])),
        asks_close=b"close" in list_elements(b",".join(special[b"connection"])),
    )
    return fields, is_secret


_SPECIAL = (b"host", b"content-length", b"transfer-encoding", b"expect", b"connection")

_PERMITTED = bytes(byte for byte in range(0x100) if byte not in CONTROLS)


def _describe_fault(headers: tuple[Field, ...]) -> str:
    faulty = [field for field in headers if find_control(field[1])]
    return f"The value of a header holds a control character: {quote_field(*faulty[0])}."


def _check_host(values: list[bytes]) -> None:
    """RFC 9112 §3.2: exactly one in every HTTP/1.1 request, CONNECT included. It may be empty."""
    if not values:
        raise LocalProtocolError("The request has no Host header, which HTTP/1.1 requires.")
    if len(values) > 1:
        raise LocalProtocolError(f"The request has {len(values)} Host headers; HTTP/1.1 allows one.")
    if b" " in values[0] or b"\t" in values[0]:
        raise LocalProtocolError(f"The Host header {quote(values[0])} holds a blank.")
