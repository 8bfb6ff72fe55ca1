"""The examples of RFC 7541, appendix C: the blocks of one connection, what they say, and the table after each."""

from __future__ import annotations

from typing import NamedTuple

Field = tuple[bytes, bytes]


class Step(NamedTuple):
    block: bytes
    fields: list[Field]
    table: list[Field]
    table_size: int


class Example(NamedTuple):
    clause: str
    capacity: int
    steps: list[Step]


AUTHORITY = (b":authority", b"www.example.com")
NO_CACHE = (b"cache-control", b"no-cache")
CUSTOM = (b"custom-key", b"custom-value")
START = [(b":method", b"GET"), (b":scheme", b"http"), (b":path", b"/")]
SECURE_START = [(b":method", b"GET"), (b":scheme", b"https"), (b":path", b"/index.html")]

PRIVATE = (b"cache-control", b"private")
FIRST_DATE = (b"date", b"Mon, 21 Oct 2013 20:13:21 GMT")
SECOND_DATE = (b"date", b"Mon, 21 Oct 2013 20:13:22 GMT")
LOCATION = (b"location", b"https://www.example.com")
FOUND = (b":status", b"302")
REDIRECT = (b":status", b"307")
GZIP = (b"content-encoding", b"gzip")
COOKIE = (b"set-cookie", b"foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1")


def requests(*blocks: str) -> list[Step]:
    says = [
        [*START, AUTHORITY],
        [*START, AUTHORITY, NO_CACHE],
        [*SECURE_START, AUTHORITY, CUSTOM],
    ]
    tables = [[AUTHORITY], [NO_CACHE, AUTHORITY], [CUSTOM, NO_CACHE, AUTHORITY]]
    return steps(blocks, says, tables, [57, 110, 164])


def responses(*blocks: str) -> list[Step]:
    says = [
        [FOUND, PRIVATE, FIRST_DATE, LOCATION],
        [REDIRECT, PRIVATE, FIRST_DATE, LOCATION],
        [(b":status", b"200"), PRIVATE, SECOND_DATE, LOCATION, GZIP, COOKIE],
    ]
    tables = [
        [LOCATION, FIRST_DATE, PRIVATE, FOUND],
        [REDIRECT, LOCATION, FIRST_DATE, PRIVATE],
        [COOKIE, GZIP, SECOND_DATE],
    ]
    return steps(blocks, says, tables, [222, 222, 215])


def steps(
    blocks: tuple[str, ...], says: list[list[Field]], tables: list[list[Field]], sizes: list[int]
) -> list[Step]:
    return [
        Step(bytes.fromhex(block), fields, table, size)
        for block, fields, table, size in zip(blocks, says, tables, sizes, strict=True)
    ]


def single(block: str, field: Field, *, enters: bool) -> list[Step]:
    size = len(field[0]) + len(field[1]) + 32 if enters else 0
    return [Step(bytes.fromhex(block), [field], [field] if enters else [], size)]


EXAMPLES = [
    Example(
        "C.2.1",
        4096,
        single(
            "400a 6375 7374 6f6d 2d6b 6579 0d63 7573 746f 6d2d 6865 6164 6572",
            (b"custom-key", b"custom-header"),
            enters=True,
        ),
    ),
    Example(
        "C.2.2",
        4096,
        single("040c 2f73 616d 706c 652f 7061 7468", (b":path", b"/sample/path"), enters=False),
    ),
    Example(
        "C.2.3",
        4096,
        single("1008 7061 7373 776f 7264 0673 6563 7265 74", (b"password", b"secret"), enters=False),
    ),
    Example("C.2.4", 4096, single("82", (b":method", b"GET"), enters=False)),
    Example(
        "C.3",
        4096,
        requests(
            "8286 8441 0f77 7777 2e65 7861 6d70 6c65 2e63 6f6d",
            "8286 84be 5808 6e6f 2d63 6163 6865",
            "8287 85bf 400a 6375 7374 6f6d 2d6b 6579 0c63 7573 746f 6d2d 7661 6c75 65",
        ),
    ),
    Example(
        "C.4",
        4096,
        requests(
            "8286 8441 8cf1 e3c2 e5f2 3a6b a0ab 90f4 ff",
            "8286 84be 5886 a8eb 1064 9cbf",
            "8287 85bf 4088 25a8 49e9 5ba9 7d7f 8925 a849 e95b b8e8 b4bf",
        ),
    ),
    Example(
        "C.5",
        256,
        responses(
            "4803 3330 3258 0770 7269 7661 7465 611d 4d6f 6e2c 2032 3120 4f63 7420 3230 3133 2032 303a 3133"
            "3a32 3120 474d 546e 1768 7474 7073 3a2f 2f77 7777 2e65 7861 6d70 6c65 2e63 6f6d",
            "4803 3330 37c1 c0bf",
            "88c1 611d 4d6f 6e2c 2032 3120 4f63 7420 3230 3133 2032 303a 3133 3a32 3220 474d 54c0 5a04 677a"
            "6970 7738 666f 6f3d 4153 444a 4b48 514b 425a 584f 5157 454f 5049 5541 5851 5745 4f49 553b 206d"
            "6178 2d61 6765 3d33 3630 303b 2076 6572 7369 6f6e 3d31",
        ),
    ),
    Example(
        "C.6",
        256,
        responses(
            "4882 6402 5885 aec3 771a 4b61 96d0 7abe 9410 54d4 44a8 2005 9504 0b81 66e0 82a6 2d1b ff6e 919d"
            "29ad 1718 63c7 8f0b 97c8 e9ae 82ae 43d3",
            "4883 640e ffc1 c0bf",
            "88c1 6196 d07a be94 1054 d444 a820 0595 040b 8166 e084 a62d 1bff c05a 839b d9ab 77ad 94e7 821d"
            "d7f2 e6c7 b335 dfdf cd5b 3960 d5af 2708 7f36 72c1 ab27 0fb5 291f 9587 3160 65c0 03ed 4ee5 b106"
            "3d50 07",
        ),
    ),
]
