"""The bounds on what a peer may make us hold or do, each with its unit and its reason."""

from __future__ import annotations

from typing import NamedTuple

from ..fields import LONGEST_BODY


class Limits(NamedTuple):
    """Bounds on one response; whatever is beyond them is a `RemoteProtocolError`.

    The memory that a peer can fill is the bound plus the one piece that went past it.
    """

    head_size: int = 256 * 1024
    """Bytes of the final head and its interim heads together, and again of the trailers. What browsers take;
    servers refuse to send a tenth of it."""

    field_size: int = 64 * 1024
    """Bytes of one line of a head, of one folded field, of one trailer. Real cookies and content security
    policies reach 20 KiB."""

    field_count: int = 1000
    """Fields of the final head and its interim heads together, and again of the trailers. Each costs three
    objects, twenty times its bytes if it is short."""

    chunk_line_size: int = 4 * 1024
    """Bytes of one chunk-size line with its extensions, which nobody reads (RFC 9112 §7.1.1)."""

    chunk_excess: int = 64 * 1024
    """Bytes by which long chunk-size lines (see `FREE_CHUNK_LINE`) may outweigh the rest of the body, so that
    padding a body with extensions costs its sender at least what it costs us."""

    interim_count: int = 16
    """Interim (1xx) responses to one request: who sends more never comes to the point."""

    content_length: int = LONGEST_BODY
    """Bytes that a Content-Length or a chunk size may announce."""


FREE_CHUNK_LINE = 32
"""Bytes up to which a chunk-size line is framing and no excess: a size has at most 16 digits that count."""

DEFAULT_LIMITS = Limits()

CONNECT_LIMITS = Limits(head_size=16 * 1024, field_size=16 * 1024)
"""For a proxy's answer to CONNECT, of which nothing but the status matters."""
