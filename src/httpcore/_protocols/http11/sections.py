"""Field sections, the common part of heads and trailers: lines up to an empty one (RFC 9112 §2.2, §5).

Whatever is wrong is a `RemoteProtocolError`. Where the standard leaves a choice:

- a line may end with a bare LF; a CR anywhere but before an LF is an error (§2.2);
- obs-fold becomes one space (§5.2), but nothing can be folded into the first line;
- a blank before the colon, an empty name and one that is no token are errors (§5.1);
- so are NUL and all other controls but HTAB; bytes from 0x80 on are kept as they are (RFC 9110 §5.5).
"""

from __future__ import annotations

import re

from ..._exceptions import RemoteProtocolError
from ..._types import Field
from ..fields import BLANKS, Name, find_control, find_name, quote, quote_field
from .limits import Limits


class SectionScanner:
    """Finds the empty line that closes a section, however the bytes arrive; looks at each byte once."""

    __slots__ = ("_limits", "_line_at", "_what", "searched")

    def __init__(self, limits: Limits, *, what: str) -> None:
        self._limits = limits
        self._what = what
        # Both count from the first byte of the section.
        self._line_at = 0
        self.searched = 0
        """Bytes of an incomplete section in which there is no end."""

    def find_end(self, data: bytes | bytearray, at: int) -> int:
        """The offset past the section that begins at `at`; -1 while its end is not here."""
        limit = self._limits.field_size
        line_at = at + self._line_at
        searched = at + self.searched
        while (end := data.find(b"\n", searched)) >= 0:
            size = end - line_at
            if size == 0 or (size == 1 and data[line_at] == 0x0D):
                self._check_size(end + 1 - at)
                self._line_at = self.searched = 0
                return end + 1
            if size > limit:
                break
            searched = line_at = end + 1
        if len(data) - line_at > limit:
            raise RemoteProtocolError(f"A line of the {self._what} is longer than {limit} bytes.")
        self._check_size(len(data) - at)
        # What can only be refused is refused now: its end may never come.
        if _find_stray(data, max(at, at + self.searched - 1)):
            raise RemoteProtocolError(f"The {self._what} holds a control character or a bare CR.")
        self._line_at = line_at - at
        self.searched = len(data) - at
        return -1

    def _check_size(self, size: int) -> None:
        limit = self._limits.head_size
        if size > limit:
            raise RemoteProtocolError(f"The {self._what} is larger than {limit} bytes.")


_find_stray = re.compile(rb"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]|\r(?!\n|\Z)").search


def split_lines(section: bytes) -> list[bytes]:
    """The lines of a whole section, without their ends and without the empty one."""
    # Not `splitlines`: that one splits at a bare CR too.
    lines = [line[:-1] if line.endswith(b"\r") else line for line in section.split(b"\n")]
    return lines[:-2]


def unfold(lines: list[bytes], limits: Limits, *, what: str) -> list[bytes]:
    """One line for each field."""
    fields: list[list[bytes]] = []
    for line in lines:
        if not line.startswith((b" ", b"\t")):
            fields.append([line])
        elif fields:
            fields[-1].append(line.strip(BLANKS))
        else:
            raise RemoteProtocolError(f"The first field of the {what} begins with a blank: {quote(line)}.")
    if len(fields) > limits.field_count:
        raise RemoteProtocolError(f"The {what} has more than {limits.field_count} fields.")
    return [_join(parts, limits) for parts in fields]


def _join(parts: list[bytes], limits: Limits) -> bytes:
    if len(parts) == 1:
        return parts[0]
    line = b" ".join((parts[0].rstrip(BLANKS), *parts[1:]))
    if len(line) > limits.field_size:
        raise RemoteProtocolError(f"A folded header field is larger than {limits.field_size} bytes.")
    return line


def parse_field(line: bytes) -> tuple[Field, Name]:
    """The name as it was sent, and the value without the blanks around it; and what is known of the name."""
    name, colon, value = line.partition(b":")
    known = find_name(name)
    if not colon:
        raise RemoteProtocolError(f"A header line has no colon: {quote(line)}.")
    if known is None:
        raise RemoteProtocolError(f"The name in a header line is not a token: {quote(line)}.")
    value = value.strip(BLANKS)
    if find_control(value):
        raise RemoteProtocolError(
            f"The value of a header holds a control character: {quote_field(name, value)}."
        )
    return (name, value), known
