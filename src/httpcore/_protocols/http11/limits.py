"""The bounds on what a peer may make us hold or do, each with its unit and its reason."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """Bounds on one response. Whatever is beyond them is a `RemoteProtocolError`."""

    head_size: int = 256 * 1024
    """Bytes of the final head and its interim heads together; the trailers have as much once more.
    Large enough for any head that a browser would take (RFC 9110 §5.4)."""

    field_size: int = 64 * 1024
    """Bytes of one line of a head: real cookies and security policies reach 20 KiB."""

    field_count: int = 1000
    """Fields of the final head and its interim heads together; each one costs a tuple and two objects."""

    chunk_line_size: int = 4 * 1024
    """Bytes of one chunk-size line with its extensions, which nobody reads (RFC 9112 §7.1.1)."""

    chunk_excess: int = 64 * 1024
    """Bytes that chunk lines longer than `FREE_CHUNK_LINE` may have over and above the rest of the body.
    So extensions cannot outweigh the payload they travel with."""

    interim_count: int = 16
    """Interim (1xx) responses before the final one: a peer that sends more never answers."""

    content_length: int = 2**63 - 1
    """Bytes that a Content-Length or a chunk size may announce: what every other implementation can count."""


FREE_CHUNK_LINE = 32
"""Bytes of a chunk line that count as framing; a size takes at most 16 digits."""

DEFAULT_LIMITS = Limits()
