"""Write src/httpcore/_protocols/hpack/tables.py from the appendices of RFC 7541.

    python tools/make_hpack_tables.py [--check]

With `--check` nothing is written; the exit status says whether the file is what would be.
"""

from __future__ import annotations

import argparse
import sys
from fractions import Fraction
from pathlib import Path

TARGET = Path(__file__).parent.parent / "src/httpcore/_protocols/hpack/tables.py"

STATIC = """
:authority
:method GET
:method POST
:path /
:path /index.html
:scheme http
:scheme https
:status 200
:status 204
:status 206
:status 304
:status 400
:status 404
:status 500
accept-charset
accept-encoding gzip, deflate
accept-language
accept-ranges
accept
access-control-allow-origin
age
allow
authorization
cache-control
content-disposition
content-encoding
content-language
content-length
content-location
content-range
content-type
cookie
date
etag
expect
expires
from
host
if-match
if-modified-since
if-none-match
if-range
if-unmodified-since
last-modified
link
location
max-forwards
proxy-authenticate
proxy-authorization
range
referer
refresh
retry-after
server
set-cookie
strict-transport-security
transfer-encoding
user-agent
vary
via
www-authenticate
"""
"""Appendix A: the fields 1 to 61, name and value."""

LENGTHS = """
13 23 28 28 28 28 28 28 28 24 30 28 28 30 28 28
28 28 28 28 28 28 30 28 28 28 28 28 28 28 28 28
 6 10 10 12 13  6  8 11 10 10  8 11  8  6  6  6
 5  5  5  6  6  6  6  6  6  6  7  8 15  6 12 10
13  6  7  7  7  7  7  7  7  7  7  7  7  7  7  7
 7  7  7  7  7  7  7  7  8  7  8 13 19 13 14  6
15  5  6  5  6  5  6  6  6  5  7  7  6  6  6  5
 6  7  6  5  5  6  7  7  7  7  7 15 11 14 13 28
20 22 20 20 22 22 22 23 22 23 23 23 23 23 24 23
24 24 22 23 24 23 23 23 23 21 22 23 22 23 23 24
22 21 20 22 22 23 23 21 23 22 22 24 21 22 23 23
21 21 22 21 23 22 23 23 20 22 22 22 23 22 22 23
26 26 20 19 22 23 22 25 26 26 26 27 27 26 24 25
19 21 26 27 27 26 27 24 21 21 26 26 28 27 27 27
20 24 20 21 22 21 21 23 22 22 25 25 24 24 26 23
26 27 26 26 27 27 27 27 27 28 27 27 27 27 27 26
30
"""
"""Appendix B: bits of the code of each byte, and of EOS. The codes follow from them: shorter ones come
first, and among those of one length that of the smaller byte."""

HEAD = '''"""The tables of RFC 7541, appendices A and B. Written by tools/make_hpack_tables.py."""

from __future__ import annotations

STATIC_TABLE: tuple[tuple[bytes, bytes], ...] = (
'''

MIDDLE = ''')
"""The first one has the index 1."""

CODE_LENGTHS = (
'''

TAIL = ''')
"""Bits of the Huffman code of each byte, and last of EOS. The codes follow from them: shorter ones come
first, and among those of one length that of the smaller byte."""
'''


def render() -> str:
    lengths = [int(word) for word in LENGTHS.split()]
    if len(lengths) != 257 or sum(Fraction(1, 2**length) for length in lengths) != 1:
        raise ValueError("The lengths are not those of a complete code.")
    lines = [HEAD]
    for line in STATIC.strip().splitlines():
        name, _, value = line.partition(" ")
        lines.append(f'    (b"{name}", b"{value}"),\n')
    lines.append(MIDDLE)
    for at in range(0, len(lengths), 16):
        lines.append('    b"' + "".join(f"\\x{length:02x}" for length in lengths[at : at + 16]) + '"\n')
    lines.append(TAIL)
    return "".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description="Write the tables of HPACK.")
    parser.add_argument("--check", action="store_true", help="write nothing, compare")
    if parser.parse_args().check:
        return int(TARGET.read_text(encoding="utf-8") != render())
    TARGET.write_text(render(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
