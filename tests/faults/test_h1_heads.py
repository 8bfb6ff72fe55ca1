"""HTTP/1.1 heads and framing: what the peer sends, and what becomes of it and of the next request."""

from __future__ import annotations

import threading
from functools import partial
from time import monotonic, thread_time

import pytest

import httpcore

from ..colours import Colour
from ..peers.nibbling import NibblingBackend
from ..peers.scripted import Peer, Server, first_then_serve, respond
from ..stopwatch import Stopwatch
from .rows import row

pytestmark = pytest.mark.usefixtures("nothing_left")

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


def with_status_line(line: bytes) -> bytes:
    return line + b"\r\nContent-Length: 2\r\n\r\nok"


def with_field(line: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\n" + line + b"\r\nContent-Length: 2\r\n\r\nok"


REJECTED = {
    "H1P-02": [b"<html>hello</html>", b"ok\r\n"],
    "H1P-03": [b"xx" + OK, b"\0" + OK, b" " + OK],
    "H1P-04": [b"\r\n" + OK, b"\r\n\r\n" + OK, b"\n" + OK],
    "H1P-05": [
        with_status_line(b"HTTP/1.1 " + status + b" OK")
        for status in (b"20X", b"1", b"1000", b"-1", b"+200", b"0x12d", b"2" * 100, "٢٠٠".encode(), b"2 00")
    ],
    "H1P-06": [with_status_line(b"HTTP/1.1 000 OK"), with_status_line(b"HTTP/1.1 099 OK")],
    "H1P-08": [
        with_status_line(version + b" 200 OK")
        for version in (
            b"HTTP/1.2", b"HTTP/2.0", b"HTTP/0.9", b"HTTP/1", b"HTTP/1.10", b"http/1.1", b"HTTP/" + b"1" * 100,
        )
    ],
    "H1P-11": [
        with_field(b"A: b\rc"), b"HTTP/1.1 200 OK\rContent-Length: 2\r\n\r\nok",
        with_field(b"A\r: b"), with_field(b"A: b\r\r"),
    ],
    "H1P-13": [OK[:i] + b"\0" + OK[i:] for i in range(1, OK.index(b"\r\n\r\n") + 1)],
    "H1P-14": [with_field(b"A: b" + bytes((code,)) + b"c") for code in (*range(1, 9), 11, 12, *range(14, 32), 127)],
    "H1P-15": [with_field(b"A : b"), with_field(b"A\t: b")],
    "H1P-16": [b"HTTP/1.1 200 OK\r\n A: b\r\nContent-Length: 2\r\n\r\nok"],
    "H1P-18": [with_field(b"nothing"), with_field(b"Content-Length")],
    "H1P-19": [with_field(b": b")],
    "H1P-20": [with_field(bytes((code,)) + b": b") for code in b'()<>@,;\\"/[]?={}\x80\xff']
    + [with_field(b"a b: c")],
    "H1P-23": [with_field(b"A: " + b"b" * 70_000)],
    "H1P-24": [with_field(b"\r\n".join(b"A%d: b" % i for i in range(1_100)))],
    "H1P-25": [b"HTTP/1.1 103 Early\r\nA: " + b"b" * 60_000 + b"\r\n\r\n" + b"" for _ in range(1)],
    "H1P-31": [b"\0\0\0\x04\0\0\0\0\0" * 2],
    "H1P-32": [with_status_line(b"HTTP/2 200")],
    "H1I-04": [b"HTTP/1.1 102 Processing\r\n\r\n" * 50],
    "H1I-06": [b"HTTP/1.1 103 Early\r\n\r\njunk" + OK],
    "H1B-03": [
        b"HTTP/1.1 200 OK\r\nContent-Length: " + value + b"\r\n\r\nok"
        for value in (b"-1", b"+1", b"0x1", b"1a", b"1 2", b"", b"9223372036854775808", b"1" + b"0" * 30, "٢".encode())
    ],
    "H1B-05": [b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok!",
               b"HTTP/1.1 200 OK\r\nContent-Length: 2, 3\r\n\r\nok!"],
    "H1B-11": [b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked, gzip\r\n\r\n2\r\nok\r\n0\r\n\r\n"],
    "H1B-12": [
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: " + value + b"\r\n\r\n2\r\nok\r\n0\r\n\r\n"
        for value in (b"chunked, chunked", b"identity", b"xchunked", b"chunkedchunked", b"", b"chunked;q=1")
    ],
    "H1B-14": [b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"],
}  # fmt: skip
REJECTED["H1P-25"] = [(b"HTTP/1.1 103 Early\r\nA: " + b"b" * 60_000 + b"\r\n\r\n") * 6]

ACCEPTED: dict[str, list[tuple[bytes, int, bytes]]] = {
    "H1P-06": [(with_status_line(b"HTTP/1.1 %d Odd" % status), status, b"ok") for status in (600, 799, 999)],
    "H1P-07": [
        (with_status_line(b"HTTP/1.1 200"), 200, b"ok"),
        (with_status_line(b"HTTP/1.1 200 "), 200, b"ok"),
        (with_status_line(b"HTTP/1.1 200 caf\xe9"), 200, b"ok"),
        (with_status_line(b"HTTP/1.1 200 404"), 200, b"ok"),
    ],
    "H1P-12": [(OK.replace(b"\r\n", b"\n"), 200, b"ok")],
    "H1P-17": [(with_field(b"A: b\r\n c"), 200, b"ok"), (with_field(b"A: b\r\n\tc"), 200, b"ok")],
    "H1P-21": [(with_field(b"A: \x80\xff"), 200, b"ok")],
    "H1P-28": [(with_field(b"A:\t b \t"), 200, b"ok"), (with_field(b"A:"), 200, b"ok")],
    "H1I-01": [(b"HTTP/1.1 100 Continue\r\n\r\n" + OK, 200, b"ok")],
    "H1I-02": [(b"HTTP/1.1 102 A\r\n\r\nHTTP/1.1 103 B\r\nX: y\r\n\r\nHTTP/1.1 199 C\r\n\r\n" + OK, 200, b"ok")],
    "H1B-04": [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nok", 200, b"ok"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2, 2\r\n\r\nok", 200, b"ok"),
    ],
    "H1C-07": [
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2;a=b;c=\"d;e\"\r\nok\r\n0\r\n\r\n", 200, b"ok")
    ],
    "H1C-16": [(b"HTTP/1.1 200 OK\nTransfer-Encoding: chunked\n\n2\nok\n0\n\n", 200, b"ok")],
}  # fmt: skip


async def _meet(colour: Colour, data: bytes, *, then: str = "serve") -> tuple[int, bytes, int] | Exception:
    """Send a request that `data` answers, then one that has to get its own answer."""
    with Server(respond(data, then=then)) as server:
        async with colour.client() as client:
            result: tuple[int, bytes, int] | Exception
            try:
                response = await client.send(server.url(b"/odd"))
                result = (response.status, await response.read(), 0)
            except (httpcore.ProtocolError, httpcore.NetworkError) as exc:
                result = exc
            assert await client.get(server.url(b"/next")) == b"/next"
            if not isinstance(result, Exception):
                result = (*result[:2], server.accepted)
            return result


@row(*REJECTED)
@pytest.mark.parametrize("row_id", REJECTED)
def test_what_is_rejected(row_id: str, colour: Colour) -> None:
    for data in REJECTED[row_id]:
        result = colour.run(_meet, colour, data)
        assert isinstance(result, httpcore.RemoteProtocolError), (data[:80], result)
        assert result.request_sent
        assert len(str(result)) < 400


@row(*ACCEPTED)
@pytest.mark.parametrize("row_id", ACCEPTED)
def test_what_is_accepted(row_id: str, colour: Colour) -> None:
    for data, status, body in ACCEPTED[row_id]:
        assert colour.run(_meet, colour, data) == (status, body, 1), data[:80]


@row("H1P-01", "H1I-05", "TCP-05")
def test_cut_at_every_offset(colour: Colour) -> None:
    head = b"HTTP/1.1 103 E\r\n\r\n" + OK
    for end in range(len(head)):
        result = colour.run(_meet_cut, colour, head[:end])
        assert isinstance(result, httpcore.RemoteProtocolError), (end, result)


async def _meet_cut(colour: Colour, data: bytes) -> object:
    return await _meet(colour, data, then="close")


@row("H1P-09", "H1B-13")
def test_http_10_is_not_kept_unless_it_says_so(colour: Colour) -> None:
    async def check(fields: bytes, body: bytes, connections: int) -> None:
        data = b"HTTP/1.0 200 OK\r\n" + fields + b"\r\n" + body
        assert await _meet(colour, data) == (200, b"ok", connections)

    colour.run(check, b"Content-Length: 2\r\n", b"ok", 2)
    colour.run(check, b"Content-Length: 2\r\nConnection: Keep-Alive\r\n", b"ok", 1)
    colour.run(check, b"Transfer-Encoding: chunked\r\nConnection: keep-alive\r\n", b"2\r\nok\r\n0\r\n\r\n", 2)


@row("H1P-33", "POOL-17")
def test_connection_close_in_any_form(colour: Colour) -> None:
    async def check(fields: bytes) -> None:
        assert await _meet(colour, with_field(fields)) == (200, b"ok", 2)

    for fields in (b"Connection: close", b"Connection: x, CLOSE", b"Connection: x\r\nconnection: Close"):
        colour.run(check, fields)


@row("POOL-17")
def test_connection_close_in_the_request(colour: Colour) -> None:
    async def main() -> None:
        with Server(Peer.serve) as server:
            async with colour.client() as client:
                for _ in range(2):
                    response = await client.send(
                        server.url(b"/a"), headers=[(b"Host", b"h"), (b"Connection", b"close")]
                    )
                    assert await response.read() == b"/a"
                assert server.accepted == 2

    colour.run(main)


@row("H1P-22")
def test_names_keep_case_and_order(colour: Colour) -> None:
    async def main() -> None:
        data = b"HTTP/1.1 200 OK\r\nb: 1\r\nA: 2\r\nB: 3\r\ncontent-LENGTH: 0\r\n\r\n"
        with Server(respond(data)) as server:
            async with colour.client() as client:
                response = await client.send(server.url())
                assert response.headers == [
                    (b"b", b"1"),
                    (b"A", b"2"),
                    (b"B", b"3"),
                    (b"content-LENGTH", b"0"),
                ]

    colour.run(main)


@row("H1P-10")
def test_odd_blanks_in_the_status_line(colour: Colour) -> None:
    for line in (b"HTTP/1.1\t200 OK", b"HTTP/1.1  200 OK"):
        result = colour.run(_meet, colour, with_status_line(line))
        assert isinstance(result, httpcore.RemoteProtocolError), line


@row("H1P-26")
def test_an_endless_field_fed_drop_by_drop(colour: Colour) -> None:
    def script(peer: Peer) -> None:
        peer.recv_head()
        peer.send(b"HTTP/1.1 200 OK\r\nA: ")
        for _ in range(300):
            peer.send(b"b" * 1000)
        peer.recv_to_end()

    async def main() -> None:
        with Server(first_then_serve(script)) as server:
            async with colour.client() as client:
                with pytest.raises(httpcore.RemoteProtocolError):
                    await client.send(server.url())
                assert await client.get(server.url(b"/next")) == b"/next"

    colour.run(main)


@row("H1P-27")
def test_a_large_head_byte_by_byte(colour: Colour) -> None:
    """Each byte is looked at once: were it all of them each time, this would take minutes."""
    field = b"X-Large: " + b"v" * 60_000
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n%b\r\n\r\n" % field

    async def main() -> None:
        backend = NibblingBackend(colour, rest=1)
        with Server(respond(head + b"ok")) as server:
            async with colour.client(backend=backend) as client:
                begin = thread_time()
                assert await client.get(server.url()) == b"ok"
                assert thread_time() - begin < 5.0
                assert backend.pieces >= len(head)
                assert await client.get(server.url(b"/next")) == b"/next"
                assert server.accepted == 1

    colour.run(main)


@row("TCP-10", "H1I-03", "H1C-01")
def test_cut_in_two_at_every_place(colour: Colour) -> None:
    data = (
        b"HTTP/1.1 103 E\r\nA: b\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
        b"3\r\nabc\r\n2;x\r\nde\r\n0\r\nT: v\r\n\r\n"
    )

    def script(peer: Peer) -> None:
        while peer.recv_head():
            peer.send(data)

    async def main() -> None:
        backend = NibblingBackend(colour)
        with Server(script) as server:
            async with colour.client(backend=backend) as client:
                for first in range(1, len(data)):
                    backend.first = first
                    response = await client.send(server.url())
                    assert await response.read() == b"abcde", first
                    assert response.stream.trailers == [(b"T", b"v")]
                assert server.accepted == 1
                assert backend.pieces >= 2 * (len(data) - 1)

    colour.run(main)


@row("TCP-10", "H1I-03", "H1C-01")
def test_byte_by_byte(colour: Colour) -> None:
    body = b"HTTP/1.1 103 E\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;x\r\nde\r\n0\r\nT: v\r\n\r\n"

    def script(peer: Peer) -> None:
        peer.recv_head()
        peer.send_bytewise(body)
        peer.serve()

    async def main() -> None:
        with Server(first_then_serve(script)) as server:
            async with colour.client() as client:
                response = await client.send(server.url())
                assert await response.read() == b"abcde"
                assert response.stream.trailers == [(b"T", b"v")]
                assert await client.get(server.url(b"/next")) == b"/next"
                assert server.accepted == 1

    colour.run(main)


@row("H1P-30", "H1B-02", "H1C-14")
def test_bytes_after_the_response_poison_the_connection(colour: Colour) -> None:
    chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"
    for data in (OK + OK, OK + b"x", chunked + b"\r\n", chunked + OK):
        assert colour.run(_meet, colour, data) == (200, b"ok", 2), data


@row("H1P-29", "H1P-34", "H1P-30")
def test_what_arrives_on_an_idle_connection_is_nobodys_answer(colour: Colour) -> None:
    sent = [b"HTTP/1.1 408 Request Timeout\r\nConnection: close\r\nContent-Length: 0\r\n\r\n", OK, b""]
    for data in sent:

        def script(peer: Peer, data: bytes = data) -> None:
            peer.recv_head()
            peer.answer(b"first")
            peer.server.hold()
            peer.send(data)
            peer.half_close()
            told.set()
            peer.recv_to_end()

        told = threading.Event()

        async def main(script: object = script, told: threading.Event = told) -> None:
            with Server(first_then_serve(script)) as server:  # type: ignore[arg-type]
                async with colour.client() as client:
                    assert await client.get(server.url()) == b"first"
                    server.release.set()
                    assert told.wait(5)
                    # Past the time for which the loop is believed without asking the kernel.
                    until = monotonic() + 0.005
                    while monotonic() < until:
                        pass
                    assert await client.get(server.url(b"/next")) == b"/next"
                    assert server.accepted == 2

        colour.run(main)


@row("H1I-07", "H1I-08", "H1I-09")
def test_switching_protocols_hands_over_raw_bytes(colour: Colour) -> None:
    head = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nContent-Length: 3\r\n\r\nfirst"

    def script(peer: Peer) -> None:
        peer.recv_head()
        peer.send(head)
        peer.send(b" and last")
        peer.close()

    async def main() -> None:
        with Server(first_then_serve(script)) as server:
            async with colour.client() as client:
                response = await client.send(server.url())
                assert response.status == 101
                assert await response.read() == b"first and last"
                assert await client.get(server.url(b"/next")) == b"/next"
                assert server.accepted == 2

    colour.run(main)


@row("H1B-09")
def test_after_connect_the_framing_fields_mean_nothing(colour: Colour) -> None:
    def script(peer: Peer) -> None:
        peer.recv_head()
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\nraw bytes")
        peer.close()

    async def main() -> None:
        with Server(first_then_serve(script)) as server:
            async with colour.client() as client:
                url = server.url(b"h:1")
                response = await client.send(url, b"CONNECT", [(b"Host", b"h:1")])
                assert await response.read() == b"raw bytes"

    colour.run(main)


@row("H1I-10")
def test_a_final_answer_to_expect_stops_the_body(colour: Colour) -> None:
    def script(peer: Peer) -> None:
        peer.recv_head()
        peer.send(b"HTTP/1.1 417 No\r\nContent-Length: 2\r\n\r\nno")
        assert peer.recv_to_end() == b""

    async def main() -> None:
        fields = [(b"Host", b"h"), (b"Content-Length", b"5"), (b"Expect", b"100-continue")]
        with Server(first_then_serve(script)) as server:
            async with colour.client() as client:
                stream = httpcore.PlainByteStream(b"hello")
                response = await client.send(server.url(), b"POST", fields, stream)
                assert (response.status, await response.read()) == (417, b"no")
                assert await client.get(server.url(b"/next")) == b"/next"

    colour.run(main)


@row("H1I-10", "H1W-11")
def test_a_head_with_expect_is_refused_before_it_is_sent(colour: Colour) -> None:
    """The answer ends each wait for room until it is taken."""

    def script(peer: Peer) -> None:
        peer.recv_exactly(100)
        peer.send(b"HTTP/1.1 431 Too Large\r\nContent-Length: 2\r\n\r\nno")
        peer.server.hold()

    async def main() -> None:
        fields = [(b"Host", b"h"), (b"Content-Length", b"5"), (b"Expect", b"100-continue")]
        fields.append((b"Large", b"x" * 16_000_000))
        with Server(first_then_serve(script)) as server:
            async with colour.client() as client:
                stream = httpcore.PlainByteStream(b"hello")
                response = await client.send(server.url(), b"POST", fields, stream)
                assert (response.status, await response.read()) == (431, b"no")
                server.release.set()
                assert await client.get(server.url(b"/next")) == b"/next"

    colour.run(main)


@row("H1I-11", "H1I-01")
def test_expect_waits_for_an_answer_or_a_second(colour: Colour) -> None:
    async def main(says_continue: bool) -> None:
        def script(peer: Peer) -> None:
            head = peer.recv_head()
            assert b"hello" not in peer.received
            if says_continue:
                peer.send(b"HTTP/1.1 100 Continue\r\n\r\n")
            assert peer.recv_exactly(5) == b"hello"
            peer.answer(head.split(b" ")[1])

        fields = [(b"Host", b"h"), (b"Content-Length", b"5"), (b"Expect", b"100-continue")]
        with Server(script) as server:
            async with colour.client() as client:

                async def post(stream: object) -> None:
                    watch = Stopwatch()
                    response = await client.send(server.url(b"/x"), b"POST", fields, stream)
                    assert says_continue or watch.elapsed >= 1.0
                    assert await response.read() == b"/x"

                streams = (httpcore.PlainByteStream(b"hello"), colour.stream([b"hel", b"lo"]))
                await colour.gather(*(partial(post, stream) for stream in streams))

    colour.run(main, True)
    colour.run(main, False)


@row("H1W-01", "H1W-02", "H1W-03", "H1W-04", "H1W-05")
def test_bad_requests_are_not_sent(colour: Colour) -> None:
    host = (b"Host", b"h")
    bad: list[tuple[bytes, bytes, list[tuple[bytes, bytes]]]] = [
        *((method, b"/", [host]) for method in (b"", b"G T", b"GET\r", b"GET\n", b"G\0T", b"G/T")),
        *((b"GET", target, [host]) for target in (b"", b"/a b", b"/a\r\n", b"/\0", b"/\x7f", b"/a\tb")),
        *((b"GET", b"/", [host, field]) for field in (
            (b"A\r", b"b"), (b"A", b"b\r\nC: d"), (b"A", b"b\0"), (b"A", b"b\n"), (b"", b"b"), (b"a b", b"c"),
            (b"A:", b"b"),
        )),
        *((b"GET", b"/", [(b"Host", value)]) for value in (b"h\r\n", b"h\0", b"h\n")),
        (b"GET", b"/", []),
        (b"GET", b"/", [host, host]),
        (b"POST", b"/", [host, (b"Content-Length", b"0"), (b"Transfer-Encoding", b"chunked")]),
        (b"POST", b"/", [host, (b"Content-Length", b"0"), (b"content-length", b"0")]),
        (b"POST", b"/", [host, (b"Content-Length", b"+1")]),
        (b"POST", b"/", [host, (b"Transfer-Encoding", b"gzip, chunked")]),
    ]  # fmt: skip

    async def main() -> None:
        with Server(Peer.serve) as server:
            async with colour.client() as client:
                for method, target, headers in bad:
                    with pytest.raises(httpcore.LocalProtocolError) as caught:
                        await client.send(server.url(target), method, headers)
                    assert not caught.value.request_sent
                assert await client.get(server.url(b"/next")) == b"/next"
            for peer in server.peers[:-1]:
                assert peer.received == b""

    colour.run(main)


@row("H1W-11")
def test_a_large_head_is_sent_whole(colour: Colour) -> None:
    async def main() -> None:
        with Server(Peer.serve) as server:
            async with colour.client() as client:
                target = b"/" + b"x" * 100_000
                headers = [(b"Host", b"h"), *((b"A%d" % i, b"b" * 1000) for i in range(100))]
                response = await client.send(server.url(target), headers=headers)
                assert await response.read() == target

    colour.run(main)


@row("H1W-12", "H1W-13", "H1W-14")
def test_the_head_goes_out_as_it_is(colour: Colour) -> None:
    async def main() -> None:
        with Server(Peer.serve) as server:
            async with colour.client() as client:
                headers = [(b"b", b"1"), (b"HoSt", b"[::1]:8080"), (b"A", b"")]
                for method, target in (
                    (b"GET", b"http://h/x"),
                    (b"OPTIONS", b"*"),
                    (b"M-SEARCH", b"/%20?q#f"),
                ):
                    response = await client.send(server.url(target), method, headers)
                    assert await response.read() == target
            wire = b"b: 1\r\nHoSt: [::1]:8080\r\nA: \r\n\r\n"
            expected = [b"GET http://h/x", b"OPTIONS *", b"M-SEARCH /%20?q#f"]
            assert server.peers[0].received == b"".join(line + b" HTTP/1.1\r\n" + wire for line in expected)

    colour.run(main)
