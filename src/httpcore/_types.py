"""The shapes that the layers hand to each other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

Field = tuple[bytes, bytes]
"""A header field, or a trailer: its name and its value."""

Headers = list[Field]
"""Fields in wire order, names in the case they have on the wire."""

HeaderFields = Sequence[Field]
"""Fields that are only read."""

URL = tuple[bytes, bytes, int | None, bytes]
"""`(scheme, host, port, target)`; an IPv6 host has no brackets, the target goes out as it is."""

Extensions = Mapping[str, object]

Buffer = bytes | bytearray | memoryview

SocketOption = tuple[int, int, int | bytes]
"""`(level, option, value)` as `socket.setsockopt` takes them."""
