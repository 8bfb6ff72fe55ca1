"""Blocks that other encoders wrote, recorded: each encoder is one connection.

Where a `story` is named, the encoder was given these lists. The others are servers and clients that wrote lists of
their own, which the `hpack` package has read.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TypedDict

import hpack
import pytest

from httpcore._protocols.hpack import Decoder, Encoder

from .examples import Field

JSONList = list[list[str]]


class _Recording(TypedDict, total=False):
    encoder: str
    table_size: int
    blocks: list[str]
    fields: list[JSONList]
    story: str


class _Recordings(TypedDict):
    lists: dict[str, list[JSONList]]
    encoders: list[_Recording]


RECORDINGS: _Recordings = json.loads((Path(__file__).parent / "foreign.json").read_text(encoding="utf-8"))


def fields_of(recording: _Recording) -> list[list[Field]]:
    lists = recording["fields"] if "fields" in recording else RECORDINGS["lists"][recording["story"]]
    return [[(name.encode("latin-1"), value.encode("latin-1")) for name, value in fields] for fields in lists]


def name_of(recording: _Recording) -> str:
    return recording["encoder"]


foreign = pytest.mark.parametrize("recording", RECORDINGS["encoders"], ids=name_of)


@foreign
def test_what_others_write(recording: _Recording) -> None:
    decoder = Decoder(table_size=recording["table_size"])
    expected = fields_of(recording)
    assert len(expected) == len(recording["blocks"]) > 3
    for block, fields in zip(recording["blocks"], expected, strict=True):
        assert list(decoder.decode(bytes.fromhex(block)).fields) == fields


@foreign
def test_what_others_write_twice(recording: _Recording) -> None:
    """On one connection, as if it went on, with a foreign decoder beside it."""
    decoder = Decoder(table_size=recording["table_size"])
    other = hpack.Decoder(max_header_list_size=2**20)
    other.max_allowed_table_size = max(recording["table_size"], 4096)
    for block in recording["blocks"] * 3:
        data = bytes.fromhex(block)
        try:
            fields = [(bytes(name), bytes(value)) for name, value in other.decode(data, raw=True)]
        except hpack.HPACKError:
            break
        assert list(decoder.decode(data).fields) == fields


@foreign
def test_writing_the_same(recording: _Recording) -> None:
    """What we write of the lists is read. Requests are no more than a fifth longer than what others write,
    though their paths are not Huffman-coded."""
    encoder, decoder = Encoder(), Decoder()
    size = 0
    for fields in fields_of(recording):
        block = encoder.encode(fields[:1], tuple(fields[1:]))
        assert list(decoder.decode(block).fields) == fields
        size += len(block)
    if fields_of(recording)[0][0][0] == b":method":
        assert size <= 1.2 * sum(len(block) // 2 for block in recording["blocks"])


def test_there_are_enough_encoders() -> None:
    """Programs, each with an encoder that is its own, and not recordings, of which some have several."""
    programs = {re.split(r",| \(", name_of(recording))[0] for recording in RECORDINGS["encoders"]}
    assert len(programs) >= 20, programs
