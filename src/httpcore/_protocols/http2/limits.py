"""The bounds on what a peer may make us hold or do, each with its unit and its reason."""

from __future__ import annotations

from typing import NamedTuple


class Limits(NamedTuple):
    """Bounds on one connection. What is beyond them ends the stream if the stream alone is at fault, and
    otherwise the connection."""

    header_list_size: int = 256 * 1024
    """Bytes of one list of fields as RFC 9113 §6.5.2 counts them; announced to the peer. What
    browsers take."""

    field_count: int = 1000
    """Fields of one list. Each costs three objects, twenty times its bytes if it is short."""

    interim_count: int = 16
    """Interim (1xx) responses to one request: who sends more never comes to the point."""

    continuation_count: int = 64
    """CONTINUATION frames of one block of fields: with 16 KiB each, four times the largest list that we take.
    Empty ones would never end."""

    settings_count: int = 32
    """Entries of one SETTINGS frame. Ten settings are registered."""

    acknowledgement_count: int = 1000
    """Frames that the peer has made us queue, and not let us send: answers to PING and SETTINGS, resets,
    credit. Who does not read them gets no more (RFC 9113 §10.5)."""

    useless_count: int = 10_000
    """Frames that bring nothing (PING, SETTINGS, PRIORITY, empty DATA, credit for what was not sent, unknown
    ones …), beyond those that bytes of a body, heads, our own requests and each new read make up for. Each
    costs us more than its sender."""

    provoked_reset_count: int = 100
    """Streams that the peer made us reset by breaking the rules, beyond the responses that it completed. Some
    mistakes are an accident; these are an attack or a defect (RFC 9113 §10.5)."""

    remembered_reset_count: int = 1000
    """Reset streams of which we remember how much may still be on its way."""

    stream_count: int = 2**30
    """Streams at once; the default is as many as there are ids. They are the caller's own, so it is the peer
    who has a reason to bound them."""


DEFAULT_LIMITS = Limits()
