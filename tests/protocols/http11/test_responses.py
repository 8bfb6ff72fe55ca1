"""Response heads: every policy, and every limit on both of its sides."""

from __future__ import annotations

import pytest

from httpcore._exceptions import RemoteProtocolError
from httpcore._protocols.http11 import CONNECT_LIMITS, Limits, responses

from .driver import read, read_error, receive, splits, start

CRLF2 = b"\r\n\r\n"


def head(*lines: bytes) -> bytes:
    return b"\r\n".join((b"HTTP/1.1 204 No Content", *lines, b"", b""))


def fields(*lines: bytes) -> list[tuple[bytes, bytes]]:
    """The fields that are read from these lines."""
    outcome = read(head(*lines))
    assert outcome.is_complete, outcome.error
    assert outcome.can_reuse
    return outcome.headers


class TestStatusLine:
    @pytest.mark.parametrize(
        ("line", "status", "version", "reason"),
        [
            (b"HTTP/1.1 200 OK", 200, b"1.1", b"OK"),
            (b"HTTP/1.0 404 Not Found", 404, b"1.0", b"Not Found"),
            (b"HTTP/1.1 200 ", 200, b"1.1", b""),
            (b"HTTP/1.1 200", 200, b"1.1", b""),
            (b"HTTP/1.1 200 200", 200, b"1.1", b"200"),
            (b"HTTP/1.1 200  two  blanks ", 200, b"1.1", b" two  blanks "),
            (b"HTTP/1.1 200 a\tb", 200, b"1.1", b"a\tb"),
            (b"HTTP/1.1 200 \xc3\xa4\xff\x80", 200, b"1.1", b"\xc3\xa4\xff\x80"),
            (b"HTTP/1.1 200 " + b"x" * 60_000, 200, b"1.1", b"x" * 60_000),
            (b"HTTP/1.1 599 x", 599, b"1.1", b"x"),
            (b"HTTP/1.1 600 x", 600, b"1.1", b"x"),
            (b"HTTP/1.1 999 x", 999, b"1.1", b"x"),
        ],
    )
    def test_accepted(self, line: bytes, status: int, version: bytes, reason: bytes) -> None:
        for _ in range(2):
            outcome = read(line + b"\r\nContent-Length: 0" + CRLF2)
            assert outcome.heads == [(status, version, reason, [(b"Content-Length", b"0")])]
            assert outcome.is_complete

    @pytest.mark.parametrize(
        "line",
        [
            b"HTTP/1.1 20X OK",
            b"HTTP/1.1 1 OK",
            b"HTTP/1.1 20 OK",
            b"HTTP/1.1 1000 OK",
            b"HTTP/1.1 2000",
            b"HTTP/1.1 -1 OK",
            b"HTTP/1.1 -20 OK",
            b"HTTP/1.1 +200 OK",
            b"HTTP/1.1 +20 OK",
            b"HTTP/1.1 0x12d OK",
            b"HTTP/1.1 2_0 OK",
            b"HTTP/1.1 " + b"2" * 100,
            b"HTTP/1.1 \xd9\xa2\xd9\xa0\xd9\xa0 OK",
            b"HTTP/1.1 \xb2\xb2\xb2 OK",
            b"HTTP/1.1 000 OK",
            b"HTTP/1.1 099 OK",
            b"HTTP/1.1 200OK",
            b"HTTP/1.1 200\tOK",
            b"HTTP/1.1\t200 OK",
            b"HTTP/1.1  200 OK",
            b"HTTP/1.1",
            b"HTTP/1.1 ",
            b"HTTP/1.1 OK",
            b"HTTP/1.2 200 OK",
            b"HTTP/2.0 200 OK",
            b"HTTP/2 200 OK",
            b"HTTP/0.9 200 OK",
            b"HTTP/1 200 OK",
            b"HTTP/1. 200 OK",
            b"HTTP/1.10 200 OK",
            b"HTTP/1.01 200 OK",
            b"HTTP/01.1 200 OK",
            b"HTTP/11 200 OK",
            b"HTTP/1,1 200 OK",
            b"HTTP/1.\xb9 200 OK",
            b"HTTP/" + b"1" * 100 + b" 200 OK",
            b"http/1.1 200 OK",
            b"HTTPS/1.1 200 OK",
            b"ICY 200 OK",
            b"HTTP /1.1 200 OK",
            b" HTTP/1.1 200 OK",
            b"\tHTTP/1.1 200 OK",
            b"xHTTP/1.1 200 OK",
            b"\x00HTTP/1.1 200 OK",
            b"\xef\xbb\xbfHTTP/1.1 200 OK",
            b"\r\nHTTP/1.1 200 OK",
            b"\nHTTP/1.1 200 OK",
            b"<html>hello</html>",
            b"",
        ],
    )
    def test_refused(self, line: bytes) -> None:
        read_error(line + b"\r\nContent-Length: 0" + CRLF2)

    @pytest.mark.parametrize("byte", [*range(0x09), *range(0x0B, 0x20), 0x7F])
    def test_controls(self, byte: int) -> None:
        for place in range(len(b"HTTP/1.1 200 OK")):
            line = bytearray(b"HTTP/1.1 200 OK")
            line[place] = byte
            assert receive([bytes(line) + b"\r\nContent-Length: 0" + CRLF2], ends=False).failed

    def test_what_is_not_http_is_known_by_its_first_bytes(self) -> None:
        """Nobody waits for the end of a line that never comes."""
        for stranger, what in [
            (b"\x15\x03\x01\x00\x02\x02\x46", "TLS"),
            (b"\x16\x03\x03\x00\x7a", "TLS"),
            (b"\x00\x00\x12\x04\x00\x00\x00\x00\x00", "HTTP/2"),
            (b"SSH-2.0-OpenSSH_9.2", "SSH"),
            (b"hello", "hello"),
            (b"HTML", "HTML"),
        ]:
            outcome = receive([stranger], ends=False)
            assert outcome.failed
            assert what in outcome.error
            assert receive([stranger[i : i + 1] for i in range(len(stranger))], ends=False).failed


class TestFields:
    def test_order_case_and_repetition_are_kept(self) -> None:
        assert fields(b"b: 1", b"A: 2", b"B: 3", b"Set-Cookie: a", b"set-cookie: b", b"A: 2") == [
            (b"b", b"1"),
            (b"A", b"2"),
            (b"B", b"3"),
            (b"Set-Cookie", b"a"),
            (b"set-cookie", b"b"),
            (b"A", b"2"),
        ]

    @pytest.mark.parametrize(
        ("line", "value"),
        [
            (b"X:v", b"v"),
            (b"X: v", b"v"),
            (b"X: \t v \t ", b"v"),
            (b"X:", b""),
            (b"X: ", b""),
            (b"X:\t", b""),
            (b"X: a b\tc", b"a b\tc"),
            (b"X: a:b", b"a:b"),
            (b"X::", b":"),
            (b"X: \x80\xff\xc3\xa4", b"\x80\xff\xc3\xa4"),
            (b"X: \xa0v\xa0", b"\xa0v\xa0"),
            (b"X: \x85", b"\x85"),
        ],
    )
    def test_value(self, line: bytes, value: bytes) -> None:
        for _ in range(2):
            assert fields(line) == [(b"X", value)]

    def test_every_token_is_a_name(self) -> None:
        name = b"!#$%&'*+-.^_`|~0123456789abcXYZ"
        assert fields(name + b": v") == [(name, b"v")]

    @pytest.mark.parametrize("byte", [*range(0x09), *range(0x0B, 0x20), 0x7F])
    def test_controls_in_a_value(self, byte: int) -> None:
        control = bytes([byte])
        for line in (b"X: " + control, b"X: a" + control + b"b", b"X: a" + control, b"X:" + control + b"a"):
            for follow in ((), (b"Y: 1",)):
                if not (byte == 0x0D and line.endswith(control)):
                    assert "X" in read_error(head(line, *follow))

    @pytest.mark.parametrize(
        "byte", [*range(0x0A), *range(0x0B, 0x21), *b'"(),/;<=>?@[\\]{}', 0x7F, 0x80, 0xFF]
    )
    def test_bytes_that_no_name_has(self, byte: int) -> None:
        stray = bytes([byte])
        for line in (b"X" + stray + b"Y: 1", b"X" + stray + b": 1"):
            read_error(head(line))
            read_error(head(b"Z: 1", line))
        if byte not in b" \t":
            read_error(head(b"Z: 1", stray + b"X: 1"))
        read_error(head(stray + b"X: 1"))

    @pytest.mark.parametrize(
        "line", [b":", b": v", b" : v", b"\t: v", b"X", b"X v", b"X : v", b"X\t: v", b"=", b"\x00"]
    )
    def test_lines_that_are_no_field(self, line: bytes) -> None:
        read_error(head(line))
        read_error(head(line, b"Y: 1"))
        if line[:1] not in (b" ", b"\t"):
            read_error(head(b"Y: 1", line))

    def test_bare_carriage_returns(self) -> None:
        for response in (
            b"HTTP/1.1 204 x\rX: 1\r\n\r\n",
            b"HTTP/1.1 204 x\r\rX: 1\r\n\r\n",
            b"HTTP/1.1 204 x\r\r\n\r\n",
            b"HTTP/1.1 204 x\r\nX: 1\r\r\n\r\n",
            b"HTTP/1.1 204 x\r\nX: 1\rY: 2\r\n\r\n",
            b"HTTP/1.1 204 x\r\nX\r: 1\r\n\r\n",
            b"HTTP/1.1 204 x\r\n\rX: 1\r\n\r\n",
            b"HTTP/1.1 204 x\r\nX: 1\r\n\rY: 2\r\n\r\n",
            b"HTTP/1.1 204 x\r\nX: 1\r\n\r\r\n\r\n",
        ):
            read_error(response)

    @pytest.mark.parametrize("end", [b"\n", b"\r\n"])
    @pytest.mark.parametrize("other", [b"\n", b"\r\n"])
    @pytest.mark.parametrize("last", [b"\n", b"\r\n"])
    def test_bare_line_feeds(self, end: bytes, other: bytes, last: bytes) -> None:
        response = b"HTTP/1.1 200 OK" + end + b"X: 1" + other + b"Content-Length: 3" + end + last + b"abc"
        outcome = read(response)
        assert outcome.headers == [(b"X", b"1"), (b"Content-Length", b"3")]
        assert outcome.body == b"abc"
        assert outcome.can_reuse

    def test_a_line_end_within_the_body_is_not_searched_for(self) -> None:
        """The first empty line counts, whichever kind it is of, not the first CRLF CRLF."""
        outcome = read(b"HTTP/1.1 200 OK\nContent-Length: 8\n\na: b\r\n\r\n")
        assert outcome.body == b"a: b\r\n\r\n"
        outcome = read(b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\na: b\r\n\r\n")
        assert outcome.body == b"a: b\r\n\r\n"
        assert outcome.headers == [(b"Content-Length", b"8")]

    @pytest.mark.parametrize(
        ("folded", "value"),
        [
            (b"X: a\r\n b", b"a b"),
            (b"X: a\r\n\tb", b"a b"),
            (b"X: a \t\r\n \t b", b"a b"),
            (b"X: a\r\n b\r\n c", b"a b c"),
            (b"X:\r\n b", b"b"),
            (b"X: a\r\n ", b"a"),
            (b"X: a\r\n \r\n b", b"a  b"),
            (b"X: a\n b", b"a b"),
            (b"X: a\r\n b: c", b"a b: c"),
        ],
    )
    def test_folds(self, folded: bytes, value: bytes) -> None:
        assert fields(folded, b"Y: 1") == [(b"X", value), (b"Y", b"1")]
        assert fields(b"Y: 1", folded) == [(b"Y", b"1"), (b"X", value)]

    def test_a_fold_into_framing_counts(self) -> None:
        outcome = read(b"HTTP/1.1 200 OK\r\nTransfer-Encoding:\r\n chunked\r\n\r\n1\r\na\r\n0\r\n\r\n")
        assert outcome.body == b"a"
        assert "not one single" in read_error(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n , gzip\r\n\r\n"
        )

    def test_nothing_folds_into_the_status_line(self) -> None:
        assert "blank" in read_error(head(b" X: 1"))
        assert "blank" in read_error(head(b"\tX: 1"))
        assert "blank" in read_error(head(b" "))

    def test_the_list_is_the_callers_own(self) -> None:
        response = head(b"X: 1")
        for _ in range(4):
            engine = start()
            engine.feed(response)
            received = engine.next_head()
            assert received is not None
            assert received.headers == [(b"X", b"1")]
            received.headers.append((b"Y", b"2"))
            received.headers[0] = (b"X", b"changed")

    @pytest.mark.parametrize("stray", [b"\0", b"\r", b"\x0b", b"\x7f"])
    def test_strays_are_refused_at_once_wherever_they_are(self, stray: bytes) -> None:
        """Even in the empty line, when otherwise we would wait for the end of the head."""
        plain = head(b"X: 1", b"Content-Length: 0")
        for place in range(len(plain)):
            response = plain[:place] + stray + plain[place:]
            assert receive([response], ends=False).failed
            assert receive([response[i : i + 1] for i in range(len(response))], ends=False).failed


class TestErrors:
    @pytest.mark.parametrize(
        "lines",
        [
            [b"Set-Cookie: id=hunter2\x01"],
            [b"Set-Cookie : id=hunter2"],
            [b"Set-Cookie id=hunter2"],
            [b"set-cookie=hunter2"],
            [b"X: 1", b"\x01Authorization: hunter2"],
            [b"SET-COOKIE: a", b" hunter2\x01"],
            [b"X-Auth-Token: hunter2\x7f"],
            [b" Set-Cookie: hunter2"],
        ],
    )
    def test_credentials_are_not_shown(self, lines: list[bytes]) -> None:
        assert "hunter2" not in read_error(head(*lines))

    def test_values_are_shown_but_bounded(self) -> None:
        message = read_error(head(b"X-Field: abc\x01"))
        assert "X-Field" in message
        assert "abc\\x01" in message
        assert "(50002 bytes)" in read_error(head(b"X: " + b"a" * 50_000 + b"\x01b"))
        assert "(50004 bytes)" in read_error(head(b"a" * 50_000 + b"\x01: b"))

    def test_no_head_shows_its_content(self) -> None:
        engine = start()
        engine.feed(head(b"Set-Cookie: hunter2"))
        assert repr(engine.next_head()) == "<ResponseHead 204, 1 headers>"


class TestLimits:
    LIMITS = Limits(head_size=200, field_size=60, field_count=5, interim_count=2)

    def test_the_defaults(self) -> None:
        limits = Limits()
        assert limits.head_size == 256 * 1024
        assert limits.field_size == 64 * 1024
        assert limits.field_count == 1000
        assert limits.chunk_line_size == 4 * 1024
        assert limits.interim_count == 16
        assert limits.content_length == 2**63 - 1
        assert CONNECT_LIMITS.head_size == 16 * 1024

    def test_a_line(self) -> None:
        for end in (b"\r\n", b"\n"):
            size = 60 - (len(end) - 1) - len(b"X: ")
            fitting = b"HTTP/1.1 204 x" + end + b"X: " + b"a" * size + end + end
            assert read(fitting, limits=self.LIMITS).is_complete
            too_long = b"HTTP/1.1 204 x" + end + b"X: " + b"a" * (size + 1) + end + end
            assert "longer than 60 bytes" in read_error(too_long, limits=self.LIMITS)

    def test_the_status_line_is_a_line(self) -> None:
        assert "longer than 60 bytes" in read_error(b"HTTP/1.1 204 " + b"x" * 60 + CRLF2, limits=self.LIMITS)

    def test_a_folded_field(self) -> None:
        folded = b"X: " + b"a" * 25 + b"\r\n " + b"a" * 25
        assert read(head(folded), limits=self.LIMITS).is_complete
        assert "folded" in read_error(head(folded + b"\r\n " + b"a" * 6), limits=self.LIMITS)

    def test_the_whole_head(self) -> None:
        lines = [b"X: " + b"a" * 40] * 3
        room = 200 - len(head(*lines, b"Y: "))
        assert read(head(*lines, b"Y: " + b"a" * room), limits=self.LIMITS).is_complete
        too_large = head(*lines, b"Y: " + b"a" * (room + 1))
        assert "larger than 200 bytes" in read_error(too_large, limits=self.LIMITS)

    def test_the_number_of_fields(self) -> None:
        for end in (b"\r\n", b"\n"):
            fitting = b"HTTP/1.1 204 x" + end + (b"X: 1" + end) * 5 + end
            too_many = b"HTTP/1.1 204 x" + end + (b"X: 1" + end) * 6 + end
            for _ in range(3):
                assert read(fitting, limits=self.LIMITS).is_complete
                assert "more than 5 fields" in read_error(too_many, limits=self.LIMITS)

    def test_a_head_that_others_may_receive_is_refused_where_it_is_too_much(self) -> None:
        response = head(*[b"X: 1"] * 7)
        for _ in range(3):
            assert read(response).is_complete
            read_error(response, limits=self.LIMITS)

    def test_interim_heads_count(self) -> None:
        interim = b"HTTP/1.1 103 x\r\nX: 1\r\nX: 2\r\n\r\n"
        final = b"HTTP/1.1 204 x\r\n"
        assert read(interim * 2 + final + b"X: 3\r\n\r\n", limits=self.LIMITS).is_complete
        assert "fields" in read_error(interim * 2 + final + b"X: 3\r\nX: 4\r\n\r\n", limits=self.LIMITS)
        large = b"HTTP/1.1 103 x\r\nX: " + b"a" * 50 + CRLF2
        assert "larger than 200" in read_error(
            large * 2 + b"HTTP/1.1 204 x\r\nX: " + b"a" * 50 + CRLF2, limits=self.LIMITS
        )
        assert "interim" in read_error(b"HTTP/1.1 100 x\r\n\r\n" * 3, limits=self.LIMITS)

    def test_the_count_starts_anew_with_each_request(self) -> None:
        engine = start(limits=self.LIMITS)
        for number in range(10):
            if number:
                engine.start_request(b"GET", b"/", [(b"Host", b"h")])
                engine.finish_body()
            outcome = receive(
                [b"HTTP/1.1 103 x\r\nX: 1\r\n\r\n", head(b"X: " + b"a" * 50, b"Y: " + b"a" * 50)],
                engine=engine,
                ends=False,
            )
            assert outcome.can_reuse

    @pytest.mark.parametrize("stuff", [b"a", b"X: 1\r\n", b" \n", b"a: " + b"b" * 1000 + b"\n"])
    @pytest.mark.parametrize("piece_size", [1, 1000, 64 * 1024])
    def test_an_endless_head_is_cut_off(self, stuff: bytes, piece_size: int) -> None:
        """No later than one piece past the limit, so no more than that is ever held."""
        limits = Limits(head_size=20_000, field_size=5_000)
        engine = start(limits=limits)
        flood = b"HTTP/1.1 200 OK\r\nX: 1\r\n" + stuff * (100_000 // len(stuff))
        fed = 0
        with pytest.raises(RemoteProtocolError, match=r"larger|longer"):
            while fed < len(flood):
                engine.feed(flood[fed : fed + piece_size])
                fed += piece_size
                assert engine.next_head() is None
        assert fed <= 20_000 + piece_size

    def test_real_heads_fit(self) -> None:
        lines = [b"X-%d: " % number + b"a" * 240 for number in range(999)]
        lines.append(b"Y: " + b"a" * 10_000)
        response = head(*lines)
        assert len(response) < 256 * 1024 + 10_000
        response = head(*lines[:950], b"Z: " + b"a" * 20_000)
        for pieces in ([response], [response[i : i + 1000] for i in range(0, len(response), 1000)]):
            assert len(receive(pieces, ends=False).headers) == 951


class TestMemory:
    """What was read once is not read again; with bounds, and without secrets."""

    def test_the_second_reading_is_like_the_first(self) -> None:
        response = head(b"X-Memory: 1", b"Connection: close", b"Content-Length: 5", b"Y: \xff")
        first = read(response)
        assert responses._known_heads.get(response[:-4]) is not None
        assert read(response) == first
        assert read(response, method=b"HEAD").heads == first.heads

    def test_secrets_are_not_kept(self) -> None:
        for _ in range(3):
            for name in (b"Set-Cookie", b"set-cookie", b"Authorization", b"Proxy-Authorization", b"Cookie"):
                assert read(head(name + b": hunter2")).is_complete
        assert "hunter2" not in repr([*responses._known_heads, *responses._known_lines])

    def test_it_is_bounded(self) -> None:
        for number in range(2000):
            for _ in range(2):
                receive([b"HTTP/1.1 204 %d\r\nX: %d\r\nY: 1\r\n\r\n" % (number, number)], ends=False)
            assert len(responses._known_heads) <= responses._KNOWN_HEAD_COUNT
            assert len(responses._known_lines) <= responses._KNOWN_LINE_COUNT
            assert len(responses._known_status_lines) <= 64
        for _ in range(3):
            receive([head(b"X: " + b"a" * 2000, b"Y: 1")], ends=False)
            receive([head(*[b"X: 1"] * 500)], ends=False)
            receive([b"HTTP/1.1 204 " + b"x" * 1000 + CRLF2], ends=False)
        assert max(map(len, responses._known_heads)) <= responses._KNOWN_HEAD_SIZE
        assert max(map(len, responses._known_lines)) <= responses._KNOWN_LINE_SIZE
        assert max(map(len, responses._known_status_lines)) <= 64

    def test_a_remembered_line_frames_as_a_new_one_does(self) -> None:
        for _ in range(3):
            for method in (b"GET", b"HEAD"):
                assert read(b"HTTP/1.1 200 x\r\nX: 1\r\nContent-Length: 0\r\n\r\n", method=method).is_complete
            assert "differ" in read_error(
                head(b"X: 1").replace(b"204", b"200")[:-2] + b"Content-Length: 0\r\nContent-Length: 1" + CRLF2
            )


def test_the_driver_tries_all_splits() -> None:
    ways = splits(b"abc")
    assert [b"a", b"b", b"c"] in ways
    assert [b"a", b"bc"] in ways
    assert [b"ab", b"c"] in ways
    assert all(b"".join(pieces) == b"abc" for pieces in ways)
