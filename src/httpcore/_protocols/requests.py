"""What a request says, whatever the version of HTTP that carries it (RFC 9110)."""

from __future__ import annotations

import re

from .._exceptions import LocalProtocolError
from .._types import Buffer
from .fields import LONGEST_BODY, is_token, parse_length, quote

CHUNKED = -1
"""The length of a request body that says itself where it ends: in chunks, or with a stream of frames."""


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


def decide_length(lengths: list[bytes], codings: list[bytes]) -> int | None:
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
    if length is None or length > LONGEST_BODY:
        value = quote(lengths[0])
        raise LocalProtocolError(f"The request's Content-Length {value} is not a number below 2^63.")
    return length


def as_bytes(data: Buffer) -> Buffer:
    """`data`, whose `len` then counts bytes."""
    if isinstance(data, bytes):
        return data
    if isinstance(data, memoryview):
        return data if data.nbytes == len(data) and data.contiguous else data.tobytes()
    if isinstance(data, bytearray):
        return data
    raise TypeError(f"A request body is made of bytes, not of {type(data).__name__}.")
