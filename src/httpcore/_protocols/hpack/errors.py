"""What a peer's block can have wrong with it."""

from __future__ import annotations


class HPACKError(Exception):
    """The block cannot be decoded; the table is lost, and with it the connection (RFC 9113 §4.3)."""
