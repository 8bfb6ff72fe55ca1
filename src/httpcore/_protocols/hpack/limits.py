"""The bounds of the codec, each with its unit and its reason."""

from __future__ import annotations

DEFAULT_TABLE_SIZE = 4096
"""Bytes of a dynamic table before anyone has said otherwise (RFC 9113 §6.5.2), and the most that our own
encoder uses: a larger one would cost memory here too, and save next to nothing."""

MAX_INTEGER_OCTETS = 5
"""Octets that may follow the prefix of an integer. They hold 35 bits, more than any number that is good."""

MAX_MEMO_COUNT = 64
"""Blocks that an encoder or a decoder remembers; then it forgets them all and starts over."""

MAX_MEMO_SIZE = 4096
"""Bytes of a block, and of the list that it stands for, that are worth remembering. A connection so remembers
less than 1 MiB whatever is sent to it."""

MAX_STRING_SIZE = 64
"""Bytes of a coded string that a decoder remembers together with its text: dates and names, nothing long."""

MAX_STRING_COUNT = 128
"""Strings that a decoder remembers; then it forgets them all and starts over."""

MAX_SEEN_COUNT = 128
"""Fields of which an encoder remembers that it has sent them once, before it starts over."""

EVICTION_INTERVAL = 64
"""Blocks that must be encoded between two entries of which each pushes out others. Where requests with more
fields than the table holds take turns, each would move it otherwise, and nothing could be remembered."""
