"""Request heads: what goes out, and what it says about the body that follows (RFC 9113 §8.2, §8.3).

The same client sends the same fields again and again; so the checked and converted ones are remembered, if
they are short and hold no credentials.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..._exceptions import LocalProtocolError
from ..._types import Field
from ..fields import (
    BLANKS,
    find_control,
    find_name,
    is_token,
    list_elements,
    no_fields,
    quote,
    quote_field,
)
from ..hpack import ENTRY_OVERHEAD
from ..requests import CHUNKED, decide_length


class RequestFields:
    """The fields of a request but its `:path`, ready to be encoded, and what they decide."""

    __slots__ = ("content_length", "expects_continue", "list_size", "method", "repeated")

    def __init__(
        self,
        method: bytes,
        repeated: tuple[Field, ...],
        *,
        content_length: int | None,
        expects_continue: bool,
    ) -> None:
        self.method = method
        self.repeated = repeated
        """Pseudo-header fields first."""
        self.content_length = content_length
        """Bytes of the body; `None` if no field tells."""
        self.expects_continue = expects_continue and content_length != 0
        self.list_size = sum([len(name) + len(value) + ENTRY_OVERHEAD for name, value in repeated])
        """As SETTINGS_MAX_HEADER_LIST_SIZE counts (RFC 9113 §6.5.2)."""


def prepare_fields(method: bytes, scheme: bytes, authority: bytes, headers: Sequence[Field]) -> RequestFields:
    """Check and convert the fields of one request. Raises `LocalProtocolError`.

    `authority` is what `:authority` says if there is no Host header.
    """
    global _last
    last_arguments, last = _last
    if (method, scheme, authority, headers) == last_arguments:
        return last
    key = (method, scheme, authority, tuple(headers))
    try:
        known = _known_fields.get(key)
    except TypeError:
        # A field that is a list or holds a bytearray has no hash, and may change before it is sent again.
        return _convert(*key)[0]
    if known is None:
        known, is_secret = _convert(*key)
        if is_secret or known.list_size > _KNOWN_SIZE:
            return known
        if len(_known_fields) >= _KNOWN_COUNT:
            _known_fields.clear()
        _known_fields[key] = known
    _last = ((method, scheme, authority, [*key[3]]), known)
    return known


_known_fields: dict[tuple[bytes, bytes, bytes, tuple[Field, ...]], RequestFields] = {}
_KNOWN_COUNT = 1024
_KNOWN_SIZE = 2048

_last: tuple[tuple[bytes, bytes, bytes, Sequence[Field]] | None, RequestFields]
_last = (None, RequestFields(b"", (), content_length=None, expects_continue=False))
# To see that they are the same again, most often the very same objects, takes half the time of hashing them.


def _convert(
    method: bytes, scheme: bytes, authority: bytes, headers: tuple[Field, ...]
) -> tuple[RequestFields, bool]:
    """The fields, and whether one of them may carry credentials."""
    if not is_token(method):
        raise LocalProtocolError(f"The request method {quote(method)} is not a token.")
    kept, special, is_secret = _sort(headers)
    # RFC 9113 §8.2.2: what concerns the connection is ours to say.
    options = list_elements(b",".join(special[b"connection"]))
    if options:
        kept = [field for field in kept if field[0] not in options]
    if b"trailers" in list_elements(b",".join(special[b"te"])):
        kept.append((b"te", b"trailers"))
    length = decide_length(special[b"content-length"], special[b"transfer-encoding"])
    authority = _decide_authority(special[b"host"], authority)
    fields = RequestFields(
        method,
        (*_pseudo_fields(method, scheme, authority), *kept),
        content_length=None if length == CHUNKED else length,
        expects_continue=b"100-continue" in list_elements(b",".join(special[b"expect"])),
    )
    return fields, is_secret


def _sort(headers: tuple[Field, ...]) -> tuple[list[Field], dict[bytes, list[bytes]], bool]:
    """What may be sent, the values of the special ones, and whether one may carry credentials."""
    is_secret = False
    kept: list[Field] = []
    special: dict[bytes, list[bytes]] = {name: [] for name in _SPECIAL}
    try:
        for name, value in headers:
            known = find_name(name)
            if known is None:
                raise LocalProtocolError(f"The header name {quote(name)} is not a token.")
            if find_control(value):
                raise LocalProtocolError(
                    f"The value of a header holds a control character: {quote_field(name, value)}."
                )
            is_secret = is_secret or known.is_secret
            # RFC 9113 §8.2.1 forbids blanks at the ends, which mean nothing (RFC 9110 §5.5).
            value = bytes(value).strip(BLANKS)
            if known.lowered in special:
                special[known.lowered].append(value)
            if known.lowered not in _UNSENT:
                kept.append((known.lowered, value))
    except (TypeError, ValueError):
        raise no_fields(headers) from None
    return kept, special, is_secret


_SPECIAL = (b"host", b"connection", b"te", b"content-length", b"transfer-encoding", b"expect")

_UNSENT = frozenset(
    (b"host", b"connection", b"keep-alive", b"proxy-connection", b"transfer-encoding", b"upgrade", b"te")
)


def _decide_authority(hosts: list[bytes], authority: bytes) -> bytes:
    """RFC 9113 §8.3.1: the Host header, of which there is one at most, says more than the URL."""
    if len(hosts) > 1:
        raise LocalProtocolError(f"The request has {len(hosts)} Host headers; HTTP/2 allows one.")
    if hosts and hosts[0]:
        if b" " in hosts[0] or b"\t" in hosts[0]:
            raise LocalProtocolError(f"The Host header {quote(hosts[0])} holds a blank.")
        if b"@" in hosts[0]:
            raise LocalProtocolError("The Host header holds user information, which HTTP/2 forbids.")
        return hosts[0]
    return authority


def _pseudo_fields(method: bytes, scheme: bytes, authority: bytes) -> tuple[Field, ...]:
    """RFC 9113 §8.3.1, and §8.5 for CONNECT."""
    if method == b"CONNECT":
        return ((b":method", method), (b":authority", authority))
    return ((b":method", method), (b":scheme", scheme), (b":authority", authority))
