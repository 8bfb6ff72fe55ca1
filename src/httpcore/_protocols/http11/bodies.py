"""The chunked transfer coding, received (RFC 9112 §7.1).

Theory of operation. One call decodes all that is here, so a flood of tiny chunks becomes one piece for each
piece that was received. Between two calls only the stage and the bytes missing from the current chunk are
kept; an incomplete line stays in the caller's buffer, and its search goes on where it stopped.

Invariant: what is in `pieces` is payload, whatever comes after it. An error may follow a good piece.

Where the standard leaves a choice:

- lines, and the data of a chunk, may end with a bare LF, but not a line with an extension: two parsers that
  disagree about where an extension ends are how responses get split;
- spaces after the size are ignored, and so are extensions, whatever they say; nothing else may be there.
"""

from __future__ import annotations

import enum
import re

from ..._exceptions import RemoteProtocolError
from ..._types import Field
from ..fields import quote
from .limits import FREE_CHUNK_LINE, Limits
from .sections import SectionScanner, parse_field, split_lines, unfold


class ChunkStage(enum.Enum):
    """What comes next.

    SIZE --> DATA --> DATA_END --> SIZE ...
      |
      +--0--> TRAILERS --> COMPLETE
    """

    SIZE = "a chunk size"
    DATA = "the data of a chunk"
    DATA_END = "the line end behind the data of a chunk"
    TRAILERS = "the end of the trailers"
    COMPLETE = "nothing"


class ChunkedDecoder:
    """Chunks in, payload out. Raises `RemoteProtocolError`, and is of no use after that."""

    __slots__ = ("_consumed", "_excess", "_limits", "_missing", "_scanner", "_searched", "stage", "trailers")

    def __init__(self, limits: Limits) -> None:
        self.stage = ChunkStage.SIZE
        self.trailers: list[Field] = []
        self._limits = limits
        self._missing = 0
        """Bytes of the current chunk that are still to come."""
        self._searched = 0
        """Bytes of an incomplete chunk-size line in which there is no line end."""
        self._consumed = 0
        self._excess = 0
        self._scanner: SectionScanner | None = None

    def decode(self, data: bytes | bytearray, at: int, pieces: list[bytes]) -> int:
        """Append the payload in `data[at:]` to `pieces`; return the offset of what has to wait for more."""
        start = at
        size = len(data)
        while at < size:
            stage = self.stage
            if stage is ChunkStage.DATA:
                after = self._take_data(data, at, pieces)
            elif stage is ChunkStage.DATA_END:
                after = self._skip_line_end(data, at)
            elif stage is ChunkStage.SIZE:
                if not self._searched and isinstance(data, bytes):
                    at = self._take_plain_chunks(data, at, pieces)
                    if self.stage is not ChunkStage.SIZE:
                        continue
                after = self._read_size(data, at, self._consumed + at - start)
            elif stage is ChunkStage.TRAILERS:
                after = self._read_trailers(data, at)
            else:
                break
            if after < 0:
                break
            at = after
        self._consumed += at - start
        return at

    def _take_plain_chunks(self, data: bytes, at: int, pieces: list[bytes]) -> int:
        """Take the chunks that look like nearly all do, as long as they are here from size to line end.

        A million chunks of one byte must not cost a million turns through the stages. What is not plain stays
        where it is; of what is not all here, the size is taken.
        """
        largest = self._limits.content_length
        # A size of up to eight digits, and its line end.
        while (end := data.find(b"\r\n", at, at + 10)) >= 0:
            size = _known_sizes.get(data[at:end])
            if size is None:
                size = _learn_size(data[at:end])
            if not 0 <= size <= largest:
                return at
            at = end + 2
            stop = at + size
            if not size or data[stop : stop + 2] != b"\r\n":
                self._missing = size
                self.stage = ChunkStage.DATA if size else ChunkStage.TRAILERS
                return at
            pieces.append(data[at:stop])
            at = stop + 2
        return at

    def _take_data(self, data: bytes | bytearray, at: int, pieces: list[bytes]) -> int:
        end = min(at + self._missing, len(data))
        pieces.append(bytes(data[at:end]))
        self._missing -= end - at
        if not self._missing:
            self.stage = ChunkStage.DATA_END
        return end

    def _skip_line_end(self, data: bytes | bytearray, at: int) -> int:
        if data.startswith(b"\r\n", at):
            self.stage = ChunkStage.SIZE
            return at + 2
        if data.startswith(b"\n", at):
            self.stage = ChunkStage.SIZE
            return at + 1
        if data[at:] == b"\r":
            return -1
        raise RemoteProtocolError("The data of a chunk is not followed by a line end.")

    def _read_size(self, data: bytes | bytearray, at: int, consumed: int) -> int:
        limits = self._limits
        end = data.find(b"\n", at + self._searched)
        size = (end if end >= 0 else len(data)) - at
        if size > limits.chunk_line_size:
            raise RemoteProtocolError(f"A chunk-size line is longer than {limits.chunk_line_size} bytes.")
        if end < 0:
            self._searched = size
            return -1
        self._searched = 0
        if size > FREE_CHUNK_LINE:
            if 2 * self._excess + size > limits.chunk_excess + consumed:
                raise RemoteProtocolError(
                    f"Chunk extensions outweigh the body by more than {limits.chunk_excess} bytes."
                )
            self._excess += size
        self._missing = _parse_size(bytes(data[at:end]))
        if self._missing > limits.content_length:
            raise RemoteProtocolError(f"A chunk is larger than {limits.content_length} bytes.")
        self.stage = ChunkStage.DATA if self._missing else ChunkStage.TRAILERS
        return end + 1

    def _read_trailers(self, data: bytes | bytearray, at: int) -> int:
        """RFC 9112 §7.1.2. They are kept apart, so a framing field among them frames nothing."""
        if self._scanner is None:
            if data.startswith(b"\r\n", at):
                self.stage = ChunkStage.COMPLETE
                return at + 2
            self._scanner = SectionScanner(self._limits, what="trailer section")
        end = self._scanner.find_end(data, at)
        if end >= 0:
            lines = split_lines(bytes(data[at:end]))
            self.trailers = [
                parse_field(line)[0] for line in unfold(lines, self._limits, what="trailer section")
            ]
            self.stage = ChunkStage.COMPLETE
        return end


_known_sizes: dict[bytes, int] = {}
_KNOWN_SIZES_COUNT = 1024


def _learn_size(line: bytes) -> int:
    """The size in a line of up to eight hexadecimal digits and nothing else; otherwise -1."""
    if not _is_plain_size(line):
        return -1
    if len(_known_sizes) >= _KNOWN_SIZES_COUNT:
        _known_sizes.clear()
    size = _known_sizes[line] = int(line, 16)
    return size


_is_plain_size = re.compile(rb"[0-9A-Fa-f]{1,8}").fullmatch


def _parse_size(line: bytes) -> int:
    """The size in a line without its LF."""
    match = _match_size_line(line)
    if match is None:
        raise RemoteProtocolError(f"The peer sent no valid chunk size: {quote(line)}.")
    return int(match[1] or b"0", 16)


# `int` must not see more digits than can count; leading zeros are bounded by the length of the line.
_match_size_line = re.compile(
    rb"(?=[0-9A-Fa-f])0*([0-9A-Fa-f]{0,16})(?: *\r?|[ \t]*;[\t\x20-\x7e\x80-\xff]*\r)"
).fullmatch
