"""The tables are those of the RFC, and the generator still writes them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from hpack.huffman_constants import REQUEST_CODES, REQUEST_CODES_LENGTH
from hpack.table import HeaderTable

from httpcore._protocols.hpack import huffman, tables

TOOL = Path(__file__).parents[3] / "tools/make_hpack_tables.py"


def test_the_generated_file_is_what_the_generator_writes() -> None:
    subprocess.run([sys.executable, str(TOOL), "--check"], check=True)


def test_the_static_table() -> None:
    assert tables.STATIC_TABLE == HeaderTable.STATIC_TABLE


def test_the_code() -> None:
    assert list(tables.CODE_LENGTHS) == list(REQUEST_CODES_LENGTH)
    assert huffman._make_codes() == list(REQUEST_CODES)
