"""HPACK as it is met on a connection. (What the codec does alone is tested beside it.)"""

from __future__ import annotations

import socket
import threading

import pytest

import httpcore

from ..colours import Colour
from ..peers.http2 import (
    Code,
    Field,
    Flag,
    HTTP2Peer,
    Stream,
    Type,
    first_then_serve,
    frame,
    http2,
    integer,
    literal,
)
from ..peers.scripted import Server
from .h2_meetings import OK, expect_answer, expect_connection_error, fails, prior, sized_post
from .rows import row

pytestmark = pytest.mark.usefixtures("nothing_left")

HEAD = b"\x88"
"""`:status: 200`, from the static table."""

UNDECODABLE: dict[str, list[bytes]] = {
    "HPK-03": [
        HEAD + b"\x80",
        HEAD + b"\xbe",
        HEAD + b"\xff\x00",
        HEAD + b"\xff\xff\x03",
        HEAD + b"\x7e\x01v",
        HEAD + b"\x0f\x2f\x01v",
        HEAD + b"\x1f\xff\x7f\x01v",
    ],
    "HPK-04": [
        HEAD + b"\xff" + b"\xff" * 20 + b"\x7f",
        HEAD + b"\xff" + b"\x80" * 30 + b"\x01",
        HEAD + b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x7f",
        HEAD + b"\xff",
        HEAD + b"\xff\x80",
        HEAD + b"\x00",
        HEAD + b"\x00\x01",
        HEAD + b"\x00\x01a",
        HEAD + b"\x00\x01a\x7f",
        HEAD + b"\x00\x01a\x05four",
        HEAD + b"\x00\x01a\x7f\xff\xff\xff\xff\x7fabc",
        HEAD + b"\x00\x7f\xff\xff\xff\x7fa",
        b"\x3f",
        b"\x3f\xff\xff\xff\xff\xff\xff\xff\x7f",
    ],
    "HPK-05": [
        HEAD + b"\x00\x01a" + bytes((0x80 | len(text),)) + text
        for text in (
            b"\xff\xff\xff\xff", b"\xff\xff\xff\xfc", b"\x1f\xff", b"\x18", b"\x1f\xff\xff", b"\xfe", b"\xff", b"\x00",
        )
    ],
    "HPK-06": [
        b"\x3f\xe2\x1f" + HEAD,
        b"\x3f\xe1\xff\x7f" + HEAD,
        HEAD + b"\x20",
        HEAD + literal(b"a", b"b") + b"\x3f\xe1\x1f",
        b"\x20" + HEAD + b"\x20",
    ],
    "HPK-10": [b"\xff" * 100, b"\x80", HEAD + b"\x00", bytes(range(1, 200))],
}  # fmt: skip


@row(*UNDECODABLE)
@pytest.mark.parametrize("row_id", UNDECODABLE)
def test_what_cannot_be_decoded(row_id: str, colour: Colour) -> None:
    for block in UNDECODABLE[row_id]:

        def act(peer: HTTP2Peer, request: Stream, block: bytes = block) -> None:
            peer.headers(request, block=block, ends=True)

        expect_connection_error(colour, act, Code.COMPRESSION_ERROR)


@row("HPK-10")
@pytest.mark.parametrize("place", ["trailers", "interim", "after a reset"])
def test_what_cannot_be_decoded_elsewhere(colour: Colour, place: str) -> None:
    def act(peer: HTTP2Peer, request: Stream) -> None:
        if place == "interim":
            peer.headers(request, [(b":status", b"103")])
            peer.headers(request, block=HEAD + b"\x80")
        elif place == "trailers":
            peer.headers(request, OK)
            peer.headers(request, block=b"\x80", ends=True)
        else:
            # The block of a stream that the client has reset is decoded, too.
            peer.frame(Type.WINDOW_UPDATE, 0, request.id, bytes(4))
            peer.wait_for(lambda: request.reset_code is not None, "RST_STREAM")
            peer.recv_request()
            peer.headers(request, block=b"\x80", ends=True)

    if place != "after a reset":
        expect_connection_error(colour, act, Code.COMPRESSION_ERROR)
        return

    def script(peer: HTTP2Peer) -> None:
        act(peer, peer.recv_request())
        peer.expect_goaway(Code.COMPRESSION_ERROR)
        peer.expect_end()

    async def main() -> None:
        with Server(first_then_serve(script)) as server:
            async with prior(colour) as client:
                for hint in ("", "COMPRESSION_ERROR"):
                    exc = await fails(client.send(server.url()))
                    assert isinstance(exc, httpcore.RemoteProtocolError)
                    assert hint in str(exc)
                assert await client.get(server.url(b"/next")) == b"/next"
                assert server.accepted == 2

    colour.run(main)


@row("HPK-10")
def test_every_stream_ends_with_the_connection(colour: Colour) -> None:
    def script(peer: HTTP2Peer) -> None:
        requests = peer.recv_requests(3)
        peer.headers(requests[0], block=b"\x80")
        peer.expect_goaway(Code.COMPRESSION_ERROR)
        peer.expect_end()

    async def main() -> None:
        with Server(first_then_serve(script)) as server:
            async with prior(colour, max_connections=1) as client:

                async def one() -> None:
                    exc = await fails(client.get(server.url()))
                    assert isinstance(exc, httpcore.RemoteProtocolError)
                    assert "COMPRESSION_ERROR" in str(exc)

                await colour.gather(one, one, one)
                assert await client.get(server.url(b"/next")) == b"/next"
                assert server.accepted == 2

    colour.run(main)


DATE = (b"date", b"Mon, 21 Oct 2013 20:13:21 GMT")

LATER = (b"date", b"Mon, 21 Oct 2013 20:13:22 GMT")

CACHE = (b"cache-control", b"private")

PLACE = (b"location", b"https://www.example.com")

COOKIE = (b"set-cookie", b"foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1")

APPENDIX_LISTS = [
    (302, [CACHE, DATE, PLACE]),
    (307, [CACHE, DATE, PLACE]),
    (200, [CACHE, LATER, PLACE, (b"content-encoding", b"gzip"), COOKIE]),
]

APPENDIX = {
    "C.5": [
        "4803333032580770726976617465611d4d6f6e2c203231204f637420323031332032303a31333a323120474d546e1768747470733a2f2f7777772e6578616d706c652e636f6d",
        "4803333037c1c0bf",
        "88c1611d4d6f6e2c203231204f637420323031332032303a31333a323220474d54c05a04677a69707738666f6f3d4153444a4b48514b425a584f5157454f50495541585157454f49553b206d61782d6167653d333630303b2076657273696f6e3d31",
    ],
    "C.6": [
        "488264025885aec3771a4b6196d07abe941054d444a8200595040b8166e082a62d1bff6e919d29ad171863c78f0b97c8e9ae82ae43d3",
        "4883640effc1c0bf",
        "88c16196d07abe941054d444a8200595040b8166e084a62d1bffc05a839bd9ab77ad94e7821dd7f2e6c7b335dfdfcd5b3960d5af27087f3672c1ab270fb5291f9587316065c003ed4ee5b1063d5007",
    ],
}

TO_256 = b"\x3f\xe1\x01"
"""The size of the table in the appendix."""


@row("HPK-02")
@pytest.mark.parametrize("section", APPENDIX)
@pytest.mark.parametrize("size", [b"", TO_256])
def test_the_appendix(colour: Colour, section: str, size: bytes) -> None:
    def script(peer: HTTP2Peer) -> None:
        for i, block in enumerate(APPENDIX[section]):
            request = peer.recv_request()
            peer.headers(request, block=(b"" if i else size) + bytes.fromhex(block))
            peer.data(request, b"ok", ends=True)
        request = peer.recv_request()
        peer.headers(request, block=HEAD)
        peer.data(request, request.path, ends=True)
        peer.expect_end()

    async def main() -> None:
        with Server(http2(script)) as server:
            async with prior(colour) as client:
                for status, fields in APPENDIX_LISTS:
                    response = await client.send(server.url())
                    assert (response.status, response.headers) == (status, fields)
                    assert await response.read() == b"ok"
                assert await client.get(server.url(b"/next")) == b"/next"

    colour.run(main)


def _each(kind: int, prefix: int) -> list[bytes]:
    """A field with a literal and an indexed name, plain and in the Huffman code (`custom-key: custom-header`)."""
    plain = integer(10, 7) + b"custom-key" + integer(13, 7) + b"custom-header"
    coded = b"\x88\x25\xa8\x49\xe9\x5b\xa9\x7d\x7f\x89" + b"\x25\xa8\x49\xe9\x5b\xb8\xe8\xb4\xbf"
    # `accept` is 19 in the static table.
    return [
        bytes((kind,)) + plain,
        bytes((kind,)) + coded[:9] + integer(13, 7) + b"custom-header",
        integer(19, prefix, kind) + integer(3, 7) + b"*/*",
    ]


@row("HPK-01")
def test_blocks_of_other_encoders(colour: Colour) -> None:
    """Every representation, by hand; the `hpack` package with Huffman and without, its table large, small and none."""
    custom, accept = (b"custom-key", b"custom-header"), (b"accept", b"*/*")
    by_hand = [
        (block, accept if i == 2 else custom)
        for kind, prefix in ((0x40, 6), (0x00, 4), (0x10, 4))
        for i, block in enumerate(_each(kind, prefix))
    ]
    lists: list[list[Field]] = [
        [(b"server", b"nginx"), DATE, (b"content-type", b"text/html"), COOKIE],
        [(b"server", b"nginx"), LATER, (b"content-type", b"text/html"), COOKIE, COOKIE],
        [(b"a", bytes(range(0x20, 0x7F)).strip()), (b"b", bytes(range(0x80, 0x100))), (b"c", b"")],
        [(b"x-%d" % i, b"v" * i) for i in range(100)],
        [(b"a", b"b" * 5_000), CACHE, (b"a", b"b" * 5_000)],
    ]

    def script(peer: HTTP2Peer) -> None:
        for block, _ in by_hand:
            request = peer.recv_request()
            peer.headers(request, block=HEAD + block)
            peer.data(request, request.path, ends=True)
        # From here on the peer's encoder keeps the table: it begins with an empty one.
        peer.encoder.header_table_size = 0
        sizes = iter((4096, 256, 64, 0, 4096, 100))
        for _ in range(6):
            peer.encoder.header_table_size = next(sizes)
            for i, fields in enumerate(lists * 2):
                request = peer.recv_request()
                peer.headers(request, block=peer.block([*OK, *fields], huffman=i % 2 == 0))
                peer.data(request, request.path, ends=True)
        peer.serve()

    async def main() -> None:
        with Server(http2(script)) as server:
            async with prior(colour) as client:
                for i, (_, field) in enumerate(by_hand):
                    response = await client.send(server.url(b"/%d" % i))
                    assert response.headers == [field]
                    assert await response.read() == b"/%d" % i
                for _ in range(6):
                    for fields in lists * 2:
                        response = await client.send(server.url(b"/a"))
                        assert response.headers == fields
                        assert await response.read() == b"/a"
                assert await client.get(server.url(b"/next")) == b"/next"
                assert server.accepted == 1

    colour.run(main)


@row("HPK-07")
def test_entries_larger_than_the_table(colour: Colour) -> None:
    """One empties the table, and has its value all the same; one may evict the entry that its name comes from."""
    large = b"v" * 5_000
    name = b"x-name"
    insert = b"\x40" + integer(len(name), 7) + name + b"\x01a"
    blocks = [
        (HEAD + insert, [(name, b"a")]),
        # 62 names the entry, which has to go to make room for what it names.
        (HEAD + integer(62, 6, 0x40) + integer(4_050, 7) + large[:4_050], [(name, large[:4_050])]),
        (HEAD + b"\xbe", [(name, large[:4_050])]),
        # Larger than the table: nothing is left of it.
        (HEAD + integer(62, 6, 0x40) + integer(5_000, 7) + large, [(name, large)]),
        (HEAD + insert + b"\xbe", [(name, b"a"), (name, b"a")]),
    ]

    def script(peer: HTTP2Peer) -> None:
        for block, _ in blocks:
            request = peer.recv_request()
            peer.headers(request, block=block)
            peer.data(request, request.path, ends=True)
        request = peer.recv_request()
        peer.headers(request, block=HEAD + b"\xbf")
        peer.expect_goaway(Code.COMPRESSION_ERROR)
        peer.expect_end()

    async def main() -> None:
        with Server(first_then_serve(script)) as server:
            async with prior(colour) as client:
                for _, fields in blocks:
                    response = await client.send(server.url(b"/a"))
                    assert response.headers == fields
                    assert await response.read() == b"/a"
                # One entry is in the table, not two.
                assert isinstance(await fails(client.send(server.url())), httpcore.RemoteProtocolError)
                assert await client.get(server.url(b"/next")) == b"/next"
                assert server.accepted == 2

    colour.run(main)


@row("HPK-08")
def test_the_peers_table_changes_between_blocks(colour: Colour) -> None:
    sizes = [4096, 0, 4096, 60, 2000, 0, 0, 4096]
    fields = [(b"x-some", b"value"), (b"x-other", b"other value"), COOKIE]

    def script(peer: HTTP2Peer) -> None:
        for size in sizes:
            peer.encoder.header_table_size = size
            for _ in range(3):
                request = peer.recv_request()
                peer.headers(request, [*OK, *fields])
                peer.data(request, request.path, ends=True)
        # Two changes at once (RFC 7541 §4.2).
        request = peer.recv_request()
        peer.encoder.header_table_size = 0
        peer.encoder.header_table_size = 4096
        peer.headers(request, [*OK, *fields])
        peer.data(request, request.path, ends=True)
        peer.serve()

    async def main() -> None:
        with Server(http2(script)) as server:
            async with prior(colour) as client:
                for i in range(3 * len(sizes) + 1):
                    response = await client.send(server.url(b"/%d" % i))
                    assert response.headers == fields
                    assert await response.read() == b"/%d" % i
                assert await client.get(server.url(b"/next")) == b"/next"
                assert server.accepted == 1

    colour.run(main)


@row("HPK-11")
def test_credentials_are_never_indexed(colour: Colour) -> None:
    """Not for the next hop either: the literal says so."""
    secrets = [
        (b"authorization", b"Basic c2VjcmV0OnNlY3JldA=="),
        (b"proxy-authorization", b"Bearer c2VjcmV0"),
        (b"cookie", b"id=c2VjcmV0"),
    ]
    seen: list[Stream] = []

    def respond(peer: HTTP2Peer, request: Stream) -> None:
        seen.append(request)
        table = peer.referee.decoder.header_table.dynamic_entries
        assert not any(b"c2VjcmV0" in bytes(value) for _, value in table)
        peer.answer(request, request.path)

    async def main() -> None:
        with Server(http2(lambda peer: peer.serve(respond))) as server:
            async with prior(colour) as client:
                for _ in range(3):
                    fields = [(b"Host", b"h"), (b"Accept", b"*/*"), *secrets]
                    response = await client.send(server.url(b"/a"), headers=fields)
                    await response.read()
                assert await client.get(server.url(b"/next")) == b"/next"
                for request in seen[:3]:
                    assert set(request.secrets) >= set(secrets)
                    assert (b"accept", b"*/*") not in request.secrets

    colour.run(main)


@row("HPK-12")
def test_given_up_between_encoding_and_sending(colour: Colour) -> None:
    """The block was encoded, and could not be sent: it is sent later, and the table has no hole."""

    def script(peer: HTTP2Peer) -> None:
        peer.credit(0, 2**24)
        peer.warm_up({4: 2**24})
        peer.server.hold()
        # All that piled up comes in, is decoded, and makes sense.
        upload = peer.recv_request()
        peer.answer(upload, b"%d" % len(upload.body))
        peer.serve()

    size = 8_000_000
    has_begun = threading.Event()

    async def main() -> None:
        small = [(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)]
        with Server(first_then_serve(script)) as server:
            async with prior(colour, max_connections=1, socket_options=small) as client:
                assert await client.get(server.url()) == b"ok"

                async def upload() -> None:
                    has_begun.set()
                    response = await client.send(server.url(b"/up"), **sized_post(b"x" * size))
                    assert await response.read() == b"%d" % size

                async def given_up() -> None:
                    try:
                        for i in range(5):
                            fields = [(b"Host", b"h"), (b"x-%d" % i, b"a new entry of the table" * 20)]
                            exc = await fails(
                                client.send(server.url(b"/lost"), headers=fields, write=0.05, read=0.05)
                            )
                            assert isinstance(exc, httpcore.TimeoutException)
                    finally:
                        server.release.set()

                async def after() -> None:
                    while not server.release.is_set():
                        await colour.pause()
                    for i in range(5):
                        fields = [(b"Host", b"h"), (b"x-%d" % i, b"a new entry of the table" * 20)]
                        response = await client.send(server.url(b"/%d" % i), headers=fields)
                        assert await response.read() == b"/%d" % i

                async def later() -> None:
                    while not has_begun.is_set():
                        await colour.pause()
                    await colour.pause()
                    await given_up()

                await colour.gather(upload, later, after)
                assert await client.get(server.url(b"/next")) == b"/next"

    colour.run(main)


@row("HPK-13")
@pytest.mark.parametrize("huffman", [True, False])
def test_a_block_in_single_bytes(colour: Colour, huffman: bool) -> None:
    fields = [(b"x-a", b"some value"), CACHE, (b"x-a", b"some value")]

    def act(peer: HTTP2Peer, request: Stream) -> None:
        block = peer.block([*OK, *fields], huffman=huffman)
        assert len(block) < 64
        peer.headers(request, block=block, cut=1)
        peer.data(request, b"ok")
        peer.headers(request, block=peer.block(fields, huffman=huffman), cut=1, ends=True)

    outcome = expect_answer(colour, act)
    assert outcome.headers == fields


@row("HPK-13")
def test_a_block_whose_first_fragment_is_empty(colour: Colour) -> None:
    def act(peer: HTTP2Peer, request: Stream) -> None:
        peer.send(
            frame(Type.HEADERS, 0, request.id, b"")
            + frame(Type.CONTINUATION, 0, request.id, HEAD)
            + frame(Type.CONTINUATION, 0, request.id, b"")
            + frame(Type.CONTINUATION, Flag.END_HEADERS, request.id, b"")
        )
        peer.data(request, b"ok", ends=True)

    expect_answer(colour, act)
