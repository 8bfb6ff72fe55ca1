"""Response bodies: where they end, what may be in them, and how they arrive."""

from __future__ import annotations

import pytest

from httpcore._exceptions import RemoteProtocolError
from httpcore._protocols.http11 import Engine, Limits

from .driver import Outcome, read, read_error, receive, start

OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"


def begin(response: bytes, **options: bytes) -> Engine:
    """An engine that has read a head and waits for the body."""
    engine = start(**options)  # type: ignore[arg-type]
    engine.feed(response)
    assert engine.next_head() is not None
    return engine


def read_chunks(chunks: bytes, *, limits: Limits = Limits(), ends: bool = False) -> Outcome:  # noqa: B008
    return read(CHUNKED + chunks, limits=limits, ends=ends)


def refuse_chunks(chunks: bytes, *, body: bytes = b"", limits: Limits = Limits(), ends: bool = False) -> str:  # noqa: B008
    """The sentence with which a chunked body is refused, after `body` was delivered."""
    response = CHUNKED + chunks
    assert read(response, limits=limits, ends=ends).body == body
    return read_error(response, limits=limits, ends=ends)


class TestContentLength:
    @pytest.mark.parametrize(
        ("fields", "size"),
        [
            (b"Content-Length: 5", 5),
            (b"content-length:5", 5),
            (b"CONTENT-LENGTH: \t5\t ", 5),
            (b"Content-Length: 005", 5),
            (b"Content-Length: " + b"0" * 5000 + b"5", 5),
            (b"Content-Length: 5, 5", 5),
            (b"Content-Length: 5,5 ,\t5", 5),
            (b"Content-Length: 5, 05", 5),
            (b"Content-Length: 5\r\nContent-Length: 5", 5),
            (b"Content-Length: 5\r\nX: 1\r\ncontent-length: 5", 5),
            (b"Content-Length: 0", 0),
            (b"Content-Length: 00", 0),
        ],
    )
    def test_accepted(self, fields: bytes, size: int) -> None:
        body = b"12345"[:size]
        for _ in range(2):
            outcome = read(OK + fields + b"\r\n\r\n" + body)
            assert outcome.body == body
            assert outcome.can_reuse

    @pytest.mark.parametrize(
        "fields",
        [
            b"Content-Length:",
            b"Content-Length: -1",
            b"Content-Length: +1",
            b"Content-Length: 0x1",
            b"Content-Length: 1a",
            b"Content-Length: 1 2",
            b"Content-Length: 1\t2",
            b"Content-Length: 1_0",
            b"Content-Length: 1.0",
            b"Content-Length: 1e3",
            b"Content-Length: \xb2",
            b"Content-Length: \xd9\xa1",
            b"Content-Length: 5,",
            b"Content-Length: ,5",
            b"Content-Length: 5,,5",
            b"Content-Length: 5, 6",
            b"Content-Length: 5, x",
            b"Content-Length: x, x",
            b"Content-Length: 5\r\nContent-Length: 6",
            b"Content-Length: 5\r\nContent-Length:",
            b"Content-Length: 5\r\nContent-Length: 5, 6",
            b"Content-Length: 9223372036854775808",
            b"Content-Length: 18446744073709551616",
            b"Content-Length: 1" + b"0" * 30,
            b"Content-Length: " + b"9" * 50_000,
        ],
    )
    def test_refused(self, fields: bytes) -> None:
        for _ in range(2):
            assert "Content-Length" in read_error(OK + fields + b"\r\n\r\n12345")

    def test_cut_short(self) -> None:
        for body in (b"", b"1", b"1234"):
            response = OK + b"Content-Length: 5\r\n\r\n" + body
            assert f"{5 - len(body)} bytes before the end" in read_error(response, ends=True)
            outcome = read(response)
            assert not outcome.is_complete
            assert outcome.body == body

    def test_a_byte_too_many(self) -> None:
        for body in (b"", b"12345"):
            for surplus in (b"x", b"\n", OK + b"Content-Length: 5\r\n\r\n12345", b"x" * 1000):
                outcome = read(OK + b"Content-Length: %d\r\n\r\n" % len(body) + body + surplus)
                assert outcome.body == body
                assert outcome.is_complete
                assert not outcome.failed
                assert not outcome.can_reuse

    def test_the_largest_needs_no_memory(self) -> None:
        engine = begin(OK + b"Content-Length: 9223372036854775807\r\n\r\n")
        engine.feed(b"x" * 1000)
        assert engine.next_data() == b"x" * 1000
        assert engine.next_data() is None
        assert not engine.is_complete

    def test_the_limit(self) -> None:
        limits = Limits(content_length=100)
        assert not read(OK + b"Content-Length: 100\r\n\r\n", limits=limits).failed
        assert "larger than 100" in read_error(OK + b"Content-Length: 101\r\n\r\n", limits=limits)
        assert not read(CHUNKED + b"64\r\n", limits=limits).failed
        for chunk in (b"65\r\n", b"65\r\n" + b"x" * 0x65 + b"\r\n"):
            assert "larger than 100" in read_error(CHUNKED + chunk, limits=limits)

    def test_huge_bodies_are_exact(self) -> None:
        """2^32 is no border. Not a byte is copied or held."""
        size = 2**32 + 5
        engine = begin(OK + b"Content-Length: %d\r\n\r\n" % size)
        piece = bytes(2**24)
        for _ in range(2**8):
            engine.feed(piece)
            assert engine.next_data() is piece
            assert not engine.is_complete
        engine.feed(b"12345")
        assert engine.next_data() == b"12345"
        assert engine.is_complete


class TestNoCopies:
    @pytest.mark.parametrize(
        "head",
        [b"Content-Length: 3000000", b"Connection: close", b"Transfer-Encoding: chunked\r\n\r\n2dc6c0"],
    )
    def test_a_piece_that_is_all_body_is_passed_on(self, head: bytes) -> None:
        engine = begin(OK + head + b"\r\n" * (1 if b"chunked" in head else 2))
        assert engine.next_data() is None
        for _ in range(3):
            piece = b"x" * 60_000
            engine.feed(piece)
            assert engine.next_data() is piece
            assert engine.next_data() is None

    def test_nothing_that_was_read_is_held(self) -> None:
        """An idle connection must not keep the last piece of the last body alive."""
        for response in (
            OK + b"Content-Length: 3\r\n\r\nabc",
            CHUNKED + b"3\r\nabc\r\n0\r\n\r\n",
            b"HTTP/1.1 204 x\r\n\r\n",
        ):
            engine = begin(response)
            while not engine.is_complete:
                engine.next_data()
            assert engine._data == b""

    def test_a_flood_of_chunks_becomes_one_piece(self) -> None:
        engine = begin(CHUNKED)
        engine.feed(b"1\r\nx\r\n" * 10_000 + b"0\r\n\r\n")
        assert engine.next_data() == b"x" * 10_000
        assert engine.is_complete


class TestChunks:
    @pytest.mark.parametrize(
        ("chunks", "body"),
        [
            (b"0\r\n\r\n", b""),
            (b"5\r\nhello\r\n0\r\n\r\n", b"hello"),
            (b"5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n", b"hello world"),
            (b"A\r\n0123456789\r\na\r\n0123456789\r\n0\r\n\r\n", b"0123456789" * 2),
            (b"0a\r\n0123456789\r\n000\r\n\r\n", b"0123456789"),
            (b"00000000000000000005\r\nhello\r\n" + b"0" * 4000 + b"\r\n\r\n", b"hello"),
            (b"5\r\n\r\n0\r\n\r\n0\r\n\r\n", b"\r\n0\r\n"),
            (b"5 \r\nhello\r\n0  \r\n\r\n", b"hello"),
            (b"5;a=b\r\nhello\r\n0;c\r\n\r\n", b"hello"),
            (b'5;a="b;c\\"d";e\r\nhello\r\n0\r\n\r\n', b"hello"),
            (b"5 \t; a = b\r\nhello\r\n0\r\n\r\n", b"hello"),
            (b"5;\r\nhello\r\n0;\xff\t\r\n\r\n", b"hello"),
            (b"5\nhello\n0\n\n", b"hello"),
            (b"5\nhello\r\n0\r\n\n", b"hello"),
            (b"5\r\nhello\n0\n\r\n", b"hello"),
            (b"5 \nhello\n0 \n\n", b"hello"),
        ],
    )
    def test_accepted(self, chunks: bytes, body: bytes) -> None:
        outcome = read_chunks(chunks)
        assert outcome.body == body
        assert outcome.is_complete
        assert outcome.can_reuse
        outcome = read_chunks(chunks + b"x")
        assert outcome.body == body
        assert outcome.is_complete
        assert not outcome.can_reuse

    @pytest.mark.parametrize(
        "line",
        [
            b"0x5",
            b"0X5",
            b"+5",
            b"-5",
            b" 5",
            b"\t5",
            b"5\t",
            b"5 \t",
            b"5\f",
            b"5\v",
            b"5\0",
            b"5H",
            b"5 5",
            b"5_0",
            b"5,",
            b"5 x",
            b"5=a",
            b"",
            b" ",
            b";a=b",
            b"\xb5",
            b"\xd9\xa5",
            b"5\xa0",
            b"5\x85",
            b"8000000000000000",
            b"FFFFFFFFFFFFFFFF",
            b"10000000000000000",
            b"1" + b"0" * 20,
            b"F" * 4000,
            b"5;a\0",
            b"5;a\x7f",
            b"5;a\rb",
            b"5\r",
            b"5\r\r",
            b"5;a\r",
            b"\r",
        ],
    )
    def test_refused_size(self, line: bytes) -> None:
        refuse_chunks(line + b"\r\nhello\r\n0\r\n\r\n")
        refuse_chunks(b"3\r\nabc\r\n" + line + b"\r\nhello\r\n0\r\n\r\n", body=b"abc")

    def test_the_largest_size(self) -> None:
        assert not read_chunks(b"7FFFFFFFFFFFFFFF\r\nx").failed

    def test_a_line_with_an_extension_does_not_end_with_a_bare_line_feed(self) -> None:
        refuse_chunks(b"5;a=b\nhello\r\n0\r\n\r\n")
        refuse_chunks(b"5;\nhello\r\n0\r\n\r\n")
        refuse_chunks(b"5;a\nb\r\nhello\r\n0\r\n\r\n")

    @pytest.mark.parametrize(
        "end", [b"", b"x", b"xx", b"\r", b"\rx", b"\r\r\n", b"x\r\n", b"0", b" \r\n", b"\0"]
    )
    def test_refused_line_end_after_data(self, end: bytes) -> None:
        message = refuse_chunks(b"5\r\nhello" + end + b"5\r\nhello\r\n0\r\n\r\n", body=b"hello")
        assert "not followed by a line end" in message

    def test_stray_line_ends(self) -> None:
        refuse_chunks(b"\r\n5\r\nhello\r\n0\r\n\r\n")
        refuse_chunks(b"5\r\nhello\r\n\r\n5\r\nhello\r\n0\r\n\r\n", body=b"hello")
        refuse_chunks(b"5\r\nhello\n\n0\r\n\r\n", body=b"hello")

    def test_cut_short_anywhere(self) -> None:
        whole = b"5;a=b\r\nhello\r\n3\r\nabc\r\n0\r\nX: 1\r\n\r\n"
        for size in range(len(whole)):
            response = CHUNKED + whole[:size]
            assert "closed the connection" in read_error(response, ends=True)
            assert not read(response).is_complete
            assert b"helloabc".startswith(read(response).body)

    def test_good_bytes_come_before_the_error(self) -> None:
        engine = begin(CHUNKED)
        engine.feed(b"3\r\nabc\r\n3\r\ndef\r\nrubbish\r\n")
        assert engine.next_data() == b"abcdef"
        assert not engine.is_complete
        for _ in range(3):
            with pytest.raises(RemoteProtocolError, match=r"no valid chunk size: b'rubbish"):
                engine.next_data()

    def test_the_end_is_known_with_the_last_piece(self) -> None:
        engine = begin(CHUNKED)
        engine.feed(b"3\r\nabc\r\n0\r\n\r\n")
        assert engine.next_data() == b"abc"
        assert engine.is_complete
        assert engine.next_data() == b""

    def test_no_error_shows_a_body(self) -> None:
        assert "hunter2" not in refuse_chunks(b"1\r\nxhunter2", body=b"x")


class TestChunkLimits:
    def test_a_line(self) -> None:
        for last in (b"", b"5\r\nhello\r\n"):
            fitting = b"5;" + b"a" * 4093 + b"\r\n"
            assert read_chunks(last + fitting + b"hello\r\n0\r\n\r\n").is_complete
            message = refuse_chunks(
                last + b"5;" + b"a" * 4094 + b"\r\nhello\r\n0\r\n\r\n", body=b"hello" if last else b""
            )
            assert "longer than 4096 bytes" in message

    def test_an_endless_line_is_cut_off(self) -> None:
        for stuff in (b"0", b"5;" + b"a" * 99, b"5" + b" " * 99):
            engine = begin(CHUNKED)
            fed = 0
            with pytest.raises(RemoteProtocolError):
                while fed < 10_000:
                    engine.feed(stuff)
                    fed += len(stuff)
                    engine.next_data()
            assert fed <= 4096 + 100

    def test_extensions_may_not_outweigh_the_body(self) -> None:
        chunk = b"1;" + b"a" * 1000 + b"\r\nx\r\n"
        response = CHUNKED + chunk * 200 + b"0\r\n\r\n"
        outcomes = [
            receive([response]),
            receive([response[i : i + 100] for i in range(0, len(response), 100)]),
        ]
        assert outcomes[0] == outcomes[1]
        assert "outweigh" in outcomes[0].error
        assert 60 <= len(outcomes[0].body) <= 70

    def test_but_a_large_body_carries_many(self) -> None:
        chunk = b"800;" + b"a" * 1000 + b"\r\n" + b"x" * 2048 + b"\r\n"
        response = CHUNKED + chunk * 500 + b"0\r\n\r\n"
        assert len(receive([response]).body) == 500 * 2048

    def test_tiny_chunks_are_no_offence(self) -> None:
        response = CHUNKED + b"00000001\r\nx\r\n" * 100_000 + b"0\r\n\r\n"
        assert receive([response]).body == b"x" * 100_000


class TestTrailers:
    def test_they_are_kept_apart(self) -> None:
        outcome = read_chunks(b"1\r\nx\r\n0\r\nX-Sum: 1\r\nx-sum: 2\r\nY: \xff\r\n\r\n")
        assert outcome.trailers == [(b"X-Sum", b"1"), (b"x-sum", b"2"), (b"Y", b"\xff")]
        assert outcome.headers == [(b"Transfer-Encoding", b"chunked")]
        assert outcome.can_reuse

    def test_they_frame_nothing(self) -> None:
        trailers = b"Content-Length: 5\r\nTransfer-Encoding: gzip\r\nHost: x\r\nConnection: close\r\n"
        outcome = read_chunks(b"1\r\nx\r\n0\r\n" + trailers + b"\r\n")
        assert outcome.body == b"x"
        assert len(outcome.trailers) == 4
        assert outcome.can_reuse

    def test_they_are_read_like_heads(self) -> None:
        outcome = read_chunks(b"0\r\nA: 1\nB:  2 \t\r\n 3\r\n\n")
        assert outcome.trailers == [(b"A", b"1"), (b"B", b"2 3")]

    @pytest.mark.parametrize(
        "trailer",
        [
            b"X",
            b"X : 1",
            b": 1",
            b" X: 1",
            b"X: \0",
            b"X\0: 1",
            b"X: a\rb",
            b"(: 1",
            b"X: \x7f",
            b"\xff: 1",
            b"\0",
        ],
    )
    def test_refused(self, trailer: bytes) -> None:
        refuse_chunks(b"1\r\nx\r\n0\r\n" + trailer + b"\r\n\r\n", body=b"x")

    def test_limits(self) -> None:
        limits = Limits(head_size=200, field_size=60, field_count=3)
        cases = [
            (b"X: " + b"a" * 56, b"X: " + b"a" * 57, "longer than 60 bytes"),
            (b"X: 1\r\n" * 2 + b"X: 1", b"X: 1\r\n" * 3 + b"X: 1", "more than 3 fields"),
            (
                b" b\n".join([b"X: 1\r\n"] + [b""] * 19)[:-2],
                b" b\n".join([b"X: 1\r\n"] + [b""] * 90)[:-2],
                "larger than 200",
            ),
        ]
        for fitting, too_much, message in cases:
            assert read_chunks(b"1\r\nx\r\n0\r\n" + fitting + b"\r\n\r\n", limits=limits).can_reuse
            assert message in refuse_chunks(
                b"1\r\nx\r\n0\r\n" + too_much + b"\r\n\r\n", body=b"x", limits=limits
            )

    def test_they_are_those_of_the_last_response(self) -> None:
        engine = start()
        assert receive([CHUNKED + b"0\r\nX: 1\r\n\r\n"], engine=engine, ends=False).trailers == [(b"X", b"1")]
        engine.start_request(b"GET", b"/", [(b"Host", b"h")])
        assert engine.trailers == []

    def test_credentials_are_not_shown(self) -> None:
        assert "hunter2" not in refuse_chunks(b"0\r\nSet-Cookie: hunter2\x01\r\n\r\n")


class TestTransferEncoding:
    @pytest.mark.parametrize("value", [b"chunked", b"CHUNKED", b" \tchunked\t", b"chunked,", b", chunked ,,"])
    def test_accepted(self, value: bytes) -> None:
        outcome = read(OK + b"Transfer-Encoding:" + value + b"\r\n\r\n1\r\nx\r\n0\r\n\r\n")
        assert outcome.body == b"x"
        assert outcome.can_reuse

    @pytest.mark.parametrize(
        "value",
        [
            b"",
            b",",
            b"gzip",
            b"identity",
            b"gzip, chunked",
            b"chunked, gzip",
            b"chunked, identity",
            b"chunked, chunked",
            b"chunked\r\nTransfer-Encoding: chunked",
            b"chunked\r\nTransfer-Encoding: identity",
            b"gzip\r\nTransfer-Encoding: chunked",
            b"xchunked",
            b"chunkedchunked",
            b"chunked chunked",
            b"chunked;q=1",
            b'"chunked"',
            b"chunked\x85",
            b"\xa0chunked",
            b"chunke\xc4\x8f",
        ],
    )
    def test_refused(self, value: bytes) -> None:
        for _ in range(2):
            response = OK + b"Transfer-Encoding: " + value + b"\r\n\r\n1\r\nx\r\n0\r\n\r\n"
            assert "Transfer-Encoding" in read_error(response)
            assert "Transfer-Encoding" in read_error(response.replace(b"1.1", b"1.0"))

    @pytest.mark.parametrize("length", [b"1", b"100", b"x", b"5\r\nContent-Length: 6"])
    def test_chunked_wins_over_content_length_and_the_connection_ends(self, length: bytes) -> None:
        for order in (
            b"Transfer-Encoding: chunked\r\nContent-Length: %b",
            b"Content-Length: %b\r\nTransfer-Encoding: chunked",
        ):
            outcome = read(OK + order % length + b"\r\n\r\n1\r\nx\r\n0\r\n\r\n")
            assert outcome.body == b"x"
            assert outcome.is_complete
            assert not outcome.can_reuse

    def test_in_http_1_0_it_is_followed_and_the_connection_ends(self) -> None:
        outcome = read(
            b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n"
        )
        assert outcome.body == b"x"
        assert outcome.is_complete
        assert not outcome.can_reuse


class TestUntilClose:
    def test_the_end_of_the_stream_is_the_end(self) -> None:
        for head in (OK, b"HTTP/1.0 200 OK\r\n", OK + b"Connection: keep-alive\r\n"):
            for body in (b"", b"x", b"HTTP/1.1 200 OK\r\n\r\n"):
                assert read(head + b"\r\n" + body).body == body
                assert not read(head + b"\r\n" + body).is_complete
                outcome = read(head + b"\r\n" + body, ends=True)
                assert outcome.body == body
                assert outcome.is_complete
                assert not outcome.can_reuse

    def test_the_last_bytes_and_the_end_come_together(self) -> None:
        engine = begin(OK + b"\r\n")
        engine.feed(b"abc")
        engine.feed(b"")
        assert engine.next_data() == b"abc"
        assert engine.is_complete
        assert engine.next_data() == b""

    def test_to_end_with_the_connection_is_not_to_say_so(self) -> None:
        """A peer that sends until it closes may well take the rest of the request."""
        assert not begin(OK + b"\r\n").wants_close
        assert begin(OK + b"Connection: close\r\n\r\n").wants_close


class TestNoBody:
    FRAMINGS = (
        b"",
        b"Content-Length: 5\r\n",
        b"Content-Length: x\r\n",
        b"Content-Length: 5\r\nContent-Length: 6\r\n",
        b"Transfer-Encoding: chunked\r\n",
        b"Transfer-Encoding: gzip\r\n",
    )

    @pytest.mark.parametrize("framing", FRAMINGS)
    @pytest.mark.parametrize(
        ("method", "status"), [(b"HEAD", 200), (b"HEAD", 404), (b"GET", 204), (b"GET", 304)]
    )
    def test_whatever_the_fields_say(self, framing: bytes, method: bytes, status: int) -> None:
        response = b"HTTP/1.1 %d x\r\n%b\r\n" % (status, framing)
        outcome = read(response, method=method)
        assert outcome.is_complete
        assert outcome.body == b""
        assert outcome.can_reuse
        for surplus in (b"x", b"12345", b"0\r\n\r\n", b"\r\n"):
            outcome = read(response + surplus, method=method)
            assert outcome.is_complete
            assert outcome.body == b""
            assert not outcome.can_reuse

    def test_the_method_has_case(self) -> None:
        assert not read(OK + b"Content-Length: 5\r\n\r\n", method=b"head").is_complete

    def test_the_end_is_known_with_the_head(self) -> None:
        for response in (b"HTTP/1.1 204 x\r\n\r\n", OK + b"Content-Length: 0\r\n\r\n"):
            engine = begin(response)
            assert engine.is_complete
            assert engine.next_data() == b""
