"""The chunked transfer coding, received (RFC 9112 §7.1).

Theory of operation. One call decodes all that has arrived, so that a flood of tiny chunks costs the caller
one piece for each piece received. Between calls only the stage and the bytes left of the current chunk are
kept; an incomplete line stays in the caller's buffer, and is searched from where the last search ended.

Invariant: what was appended to `pieces` is payload, whatever comes after it.
"""

from __future__ import annotations

import enum
import re

from ..._exceptions import RemoteProtocolError
from .fields import quote
from .limits import FREE_CHUNK_LINE, Limits
from .responses import Field, SectionScanner, read_trailers


class ChunkStage(enum.Enum):
    """
    SIZE -> DATA -> DATA_END -> SIZE ...
      |
      +--> TRAILERS -> COMPLETE
    """

    SIZE = "a chunk-size line"
    DATA = "the data of a chunk"
    DATA_END = "the line end after the data of a chunk"
    TRAILERS = "the trailer section"
    COMPLETE = "complete"


class ChunkedDecoder:
    """Takes chunked bytes, gives payload."""

    __slots__ = ("_excess", "_left", "_limits", "_scanner", "_searched", "_seen", "stage", "trailers")

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self.stage = ChunkStage.SIZE
        self.trailers: list[Field] = []
        self._left = 0
        self._searched = 0
        self._seen = 0
        self._excess = 0
        self._scanner = SectionScanner(limits)

    def decode(self, data: bytes | bytearray, at: int, pieces: list[bytes]) -> int:
        """Append the payload in `data[at:]` to `pieces`; return the offset of what is left to read."""
        begin = at
        end = len(data)
        while at < end:
            stage = self.stage
            if stage is ChunkStage.DATA:
                stop = min(at + self._left, end)
                pieces.append(bytes(data[at:stop]))
                self._left -= stop - at
                at = stop
                if self._left == 0:
                    self.stage = ChunkStage.DATA_END
                continue
            if stage is ChunkStage.DATA_END:
                after = self._skip_line_end(data, at)
            elif stage is ChunkStage.SIZE:
                after = self._read_size(data, at, self._seen + at - begin)
            elif stage is ChunkStage.TRAILERS:
                after = self._read_trailers(data, at)
            else:
                break
            if after < 0:
                break
            at = after
        self._seen += at - begin
        return at

    def _skip_line_end(self, data: bytes | bytearray, at: int) -> int:
        if data[at] == 10:
            self.stage = ChunkStage.SIZE
            return at + 1
        if data[at] == 13:
            if len(data) == at + 1:
                return -1
            if data[at + 1] == 10:
                self.stage = ChunkStage.SIZE
                return at + 2
        raise RemoteProtocolError(
            f"The data of a chunk is not followed by a line end but by {quote(bytes(data[at : at + 2]))}."
        )

    def _read_size(self, data: bytes | bytearray, at: int, seen: int) -> int:
        end = data.find(b"\n", at + self._searched)
        size = (len(data) if end < 0 else end) - at
        if size > self._limits.chunk_line_size:
            raise RemoteProtocolError(
                f"A chunk-size line is longer than {self._limits.chunk_line_size} bytes."
            )
        if end < 0:
            self._searched = size
            return -1
        self._searched = 0
        if size > FREE_CHUNK_LINE:
            self._excess += size
            if self._excess > self._limits.chunk_excess + seen - self._excess:
                raise RemoteProtocolError("The chunk extensions outweigh the body.")
        self._left = _parse_size(bytes(data[at:end]))
        self.stage = ChunkStage.DATA if self._left else ChunkStage.TRAILERS
        return end + 1

    def _read_trailers(self, data: bytes | bytearray, at: int) -> int:
        end = self._scanner.find_end(data, at)
        if end >= 0:
            self.trailers = read_trailers(bytes(data[at:end]), self._limits)
            self.stage = ChunkStage.COMPLETE
        return end


_match_size_line = re.compile(
    rb"0*([0-9A-Fa-f]{0,16})"
    rb"(?: *\r?|[ \t]*;[\t\x20-\x7e\x80-\xff]*\r)"
).fullmatch


def _parse_size(line: bytes) -> int:
    """Blanks after the size are accepted, and extensions ignored. A line with extensions ends with CRLF:
    others may look for its end behind a bare LF."""
    match = _match_size_line(line)
    if match is None or not line[:1].isalnum():
        raise RemoteProtocolError(f"Not a chunk size: {quote(line)}.")
    size = int(match[1] or b"0", 16)
    if size >= 2**63:
        raise RemoteProtocolError(f"The chunk size {quote(line)} is too large.")
    return size
