"""Request heads and bodies: what goes out, byte for byte, and what does not go out at all."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from httpcore._exceptions import LocalProtocolError
from httpcore._protocols.http11 import Engine, requests
from httpcore._protocols.http11.engine import JOIN_SIZE

from .driver import HOST

Fields = Sequence[tuple[bytes, bytes]]


def refuse(headers: Fields, *, method: bytes = b"GET", target: bytes = b"/") -> str:
    """The sentence with which a request is refused: twice the same, and the engine is as good as new."""
    engine = Engine()
    with pytest.raises(LocalProtocolError) as first:
        engine.start_request(method, target, headers)
    with pytest.raises(LocalProtocolError) as second:
        engine.start_request(method, target, headers)
    assert str(first.value) == str(second.value)
    assert str(first.value).endswith(".")
    assert len(str(first.value)) < 250
    assert engine.can_reuse
    assert engine.start_request(b"GET", b"/", [HOST]) == b"GET / HTTP/1.1\r\nHost: example.org\r\n\r\n"
    return str(first.value)


class TestHead:
    def test_goes_out_as_it_is(self) -> None:
        headers = [
            (b"aCCept", b"*/*"),
            (b"Host", b"h"),
            (b"X-Two", b"2"),
            (b"X-One", b"1"),
            (b"X-Two", b"2b"),
        ]
        for _ in range(2):
            head = Engine().start_request(b"GET", b"/a?b=c", headers)
            assert head == (
                b"GET /a?b=c HTTP/1.1\r\naCCept: */*\r\nHost: h\r\nX-Two: 2\r\nX-One: 1\r\nX-Two: 2b\r\n\r\n"
            )

    @pytest.mark.parametrize(
        "target",
        [
            b"/",
            b"*",
            b"example.org:443",
            b"[::1]:443",
            b"http://example.org/a",
            b'/%20"<>\\^`{|}~#x',
            b"/\xc3\xa4\xff\x80",
            b"/" + b"x" * 100_000,
        ],
    )
    def test_target_is_verbatim(self, target: bytes) -> None:
        head = Engine().start_request(b"GET", target, [HOST])
        assert head == b"GET " + target + b" HTTP/1.1\r\nHost: example.org\r\n\r\n"

    @pytest.mark.parametrize("method", [b"GET", b"get", b"PROPFIND", b"M-SEARCH", b"!#$%&'*+-.^_`|~09azAZ"])
    def test_any_token_is_a_method(self, method: bytes) -> None:
        assert Engine().start_request(method, b"/", [HOST]).startswith(method + b" / ")

    @pytest.mark.parametrize(
        "value", [b"", b"a b\tc", b"\x80\xff\xc3\xa4", b" padded\t ", b"a" * 100_000, b":", b'"quo\\"ted"']
    )
    def test_value_is_verbatim(self, value: bytes) -> None:
        head = Engine().start_request(b"GET", b"/", [HOST, (b"X", value)])
        assert head.endswith(b"\r\nX: " + value + b"\r\n\r\n")

    def test_a_sequence_of_any_kind_will_do(self) -> None:
        expected = b"GET / HTTP/1.1\r\nHost: example.org\r\n\r\n"
        assert Engine().start_request(b"GET", b"/", (HOST,)) == expected
        assert Engine().start_request(b"GET", b"/", [[b"Host", b"example.org"]]) == expected  # type: ignore[list-item]

    def test_the_same_list_with_other_content_is_another_request(self) -> None:
        headers = [HOST, (b"X", b"1")]
        assert Engine().start_request(b"GET", b"/", headers).endswith(b"X: 1\r\n\r\n")
        headers[1] = (b"X", b"2")
        assert Engine().start_request(b"GET", b"/", headers).endswith(b"X: 2\r\n\r\n")

    def test_what_is_not_bytes_is_a_type_error(self) -> None:
        for headers in (
            [("Host", "h")],
            [(b"Host", "h")],
            [HOST, (b"X", "1")],
            [HOST, (b"X", 1)],
            5,
            [5],
            None,
        ):
            with pytest.raises((TypeError, ValueError)):
                Engine().start_request(b"GET", b"/", headers)  # type: ignore[arg-type]
        for method, target in (("GET", b"/"), (b"GET", "/"), (None, b"/"), (b"GET", None)):
            with pytest.raises(TypeError):
                Engine().start_request(method, target, [HOST])  # type: ignore[arg-type]


class TestRefusedHead:
    @pytest.mark.parametrize("byte", [*b"\r\n\0 \t\x0b\x1f\x7f", *b'"(),/:;<=>?@[\\]{}', 0x80, 0xFF])
    def test_method(self, byte: int) -> None:
        assert "method" in refuse([HOST], method=b"G" + bytes([byte]) + b"ET")
        assert "method" in refuse([HOST], method=bytes([byte]))

    def test_empty_method(self) -> None:
        assert "method b''" in refuse([HOST], method=b"")

    @pytest.mark.parametrize("byte", [*range(0x21), 0x7F])
    def test_target(self, byte: int) -> None:
        for target in (b"/a" + bytes([byte]) + b"b", bytes([byte]) + b"/", b"/" + bytes([byte])):
            assert "target" in refuse([HOST], target=target)

    def test_empty_target(self) -> None:
        assert "empty" in refuse([HOST], target=b"")

    @pytest.mark.parametrize("byte", [*range(0x21), *b'"(),/:;<=>?@[\\]{}', 0x7F, 0x80, 0xFF])
    def test_name(self, byte: int) -> None:
        for name in (b"X" + bytes([byte]) + b"Y", bytes([byte]) + b"X", b"X" + bytes([byte])):
            assert "name" in refuse([HOST, (name, b"1")])

    def test_empty_name(self) -> None:
        assert "name" in refuse([HOST, (b"", b"1")])

    @pytest.mark.parametrize("byte", [*range(0x09), *range(0x0A, 0x20), 0x7F])
    def test_value(self, byte: int) -> None:
        for value in (b"a" + bytes([byte]) + b"b", bytes([byte]), b"a" + bytes([byte])):
            message = refuse([HOST, (b"X-Field", value)])
            assert "control character" in message
            assert "X-Field" in message

    def test_smuggled_line_ends(self) -> None:
        for value in (
            b"a\r\nX: b",
            b"a\nX: b",
            b"a\r\n",
            b"\r\n\r\nGET / HTTP/1.1",
            b"a\rX: b",
            b"\r\n folded",
        ):
            refuse([HOST, (b"X", value)])
            refuse([(b"Host", b"h" + value)])

    @pytest.mark.parametrize("method", [b"GET", b"CONNECT", b"OPTIONS"])
    def test_host(self, method: bytes) -> None:
        assert "no Host" in refuse([], method=method)
        assert "no Host" in refuse([(b"X-Host", b"h")], method=method)
        assert "2 Host" in refuse([HOST, (b"hOST", b"example.org")], method=method)
        for value in (b"a b", b"a\tb"):
            assert "blank" in refuse([(b"Host", value)], method=method)

    def test_an_empty_host_is_one(self) -> None:
        assert Engine().start_request(b"GET", b"/", [(b"Host", b"")])

    @pytest.mark.parametrize(
        "headers",
        [
            [(b"Content-Length", b"1"), (b"Transfer-Encoding", b"chunked")],
            [(b"transfer-encoding", b"chunked"), (b"content-length", b"1")],
            [(b"Content-Length", b"1"), (b"content-length", b"1")],
            [(b"CONTENT-LENGTH", b"1"), (b"content-length", b"2")],
        ],
    )
    def test_contradicting_framing(self, headers: list[tuple[bytes, bytes]]) -> None:
        assert "Content-Length" in refuse([HOST, *headers])

    @pytest.mark.parametrize(
        "value",
        [
            b"",
            b"-1",
            b"+1",
            b"0x1",
            b"1a",
            b"1 2",
            b"1,1",
            b"1, 1",
            b"1_0",
            b"1.0",
            b"\xb2",
            b"\xd9\xa1",
            b"%d" % 2**63,
            b"1" + b"0" * 30,
            b"9" * 5000,
        ],
    )
    def test_content_length(self, value: bytes) -> None:
        assert "Content-Length" in refuse([HOST, (b"Content-Length", value)])

    @pytest.mark.parametrize(
        "values",
        [
            [b""],
            [b"gzip"],
            [b"identity"],
            [b"gzip, chunked"],
            [b"chunked, gzip"],
            [b"chunked, chunked"],
            [b"chunked", b"chunked"],
            [b"chunked", b""],
            [b"chunked,"],
            [b"xchunked"],
            [b"chunked;a=b"],
            [b'"chunked"'],
        ],
    )
    def test_transfer_encoding(self, values: list[bytes]) -> None:
        assert "Transfer-Encoding" in refuse([HOST, *((b"Transfer-Encoding", value) for value in values)])

    @pytest.mark.parametrize("name", [b"Authorization", b"proxy-authorization", b"COOKIE", b"Set-Cookie"])
    def test_credentials_are_not_shown(self, name: bytes) -> None:
        secret = b"hunter2"
        messages = [
            refuse([HOST, (name, secret + b"\n")]),
            refuse([HOST, (name + b": " + secret, b"1")]),
            refuse([HOST, (b"\n" + name + b" " + secret, b"1")]),
        ]
        for message in messages:
            assert "hunter2" not in message
        assert name.decode() in messages[0]


class TestMemory:
    """What was encoded once is not encoded again; with bounds, and without secrets."""

    def test_secrets_are_not_kept(self) -> None:
        for name in (b"Authorization", b"Proxy-Authorization", b"cookie", b"Set-Cookie", b"X-Api-Key"):
            for _ in range(2):
                Engine().start_request(b"GET", b"/", [HOST, (name, b"hunter2")])
        assert "hunter2" not in repr(
            [*requests._known_fields, *(f.block for f in requests._known_fields.values())]
        )

    def test_it_is_bounded(self) -> None:
        for number in range(requests._KNOWN_COUNT + 10):
            Engine().start_request(b"GET", b"/", [HOST, (b"X", b"%d" % number)])
            assert len(requests._known_fields) <= requests._KNOWN_COUNT
        Engine().start_request(b"GET", b"/", [HOST, (b"X", b"long" * requests._KNOWN_SIZE)])
        assert all(len(fields.block) <= requests._KNOWN_SIZE for fields in requests._known_fields.values())


class TestAgain:
    """What the last request on a connection said need not be checked again."""

    @staticmethod
    def answer(engine: Engine) -> None:
        engine.feed(b"HTTP/1.1 204 No Content\r\n\r\n")
        assert engine.next_head() is not None
        assert engine.can_reuse

    def test_each_part_may_change_by_itself(self) -> None:
        engine = Engine()
        said: list[tuple[bytes, bytes, Fields]] = [
            (method, target, headers)
            for method in (b"GET", b"HEAD")
            for target in (b"/", b"/other")
            for headers in ([HOST], [HOST, (b"Authorization", b"secret")], [HOST, (b"Authorization", b"s")])
        ]
        for method, target, headers in [*said, *said[::-1], *said[::5], said[0], said[0]]:
            head = engine.start_request(method, target, headers)
            assert head == Engine().start_request(method, target, headers)
            self.answer(engine)

    def test_a_fault_is_no_part_of_it(self) -> None:
        engine = Engine()
        for method, target, headers in ((b"G T", b"/", [HOST]), (b"GET", b"/ ", [HOST]), (b"GET", b"/", [])):
            engine.start_request(b"GET", b"/", [HOST])
            self.answer(engine)
            for _ in range(2):
                with pytest.raises(LocalProtocolError):
                    engine.start_request(method, target, headers)
            assert engine.start_request(b"GET", b"/", [HOST]).startswith(b"GET / HTTP/1.1\r\n")
            self.answer(engine)

    def test_a_list_may_change(self) -> None:
        engine = Engine()
        headers = [HOST, (b"X", b"1")]
        engine.start_request(b"GET", b"/", headers)
        self.answer(engine)
        headers[1] = (b"X", b"2")
        assert engine.start_request(b"GET", b"/", headers).endswith(b"X: 2\r\n\r\n")

    def test_a_field_may_change(self) -> None:
        engine = Engine()
        value = bytearray(b"1")
        headers: Fields = [HOST, (b"X", value)]  # type: ignore[list-item]
        engine.start_request(b"GET", b"/", headers)
        self.answer(engine)
        value[:] = b"2"
        assert engine.start_request(b"GET", b"/", headers).endswith(b"X: 2\r\n\r\n")

    def test_it_is_not_encoded_again(self, monkeypatch: pytest.MonkeyPatch) -> None:
        engine = Engine()
        headers = [HOST, (b"Cookie", b"secret")]
        head = engine.start_request(b"GET", b"/", headers)
        self.answer(engine)
        monkeypatch.delattr("httpcore._protocols.http11.engine.encode_fields")
        monkeypatch.delattr("httpcore._protocols.http11.engine.check_request_line")
        assert engine.start_request(b"GET", b"/", [*headers]) == head


def start_upload(*headers: tuple[bytes, bytes]) -> Engine:
    engine = Engine()
    engine.start_request(b"POST", b"/", [HOST, *headers])
    return engine


class TestFraming:
    """What the head says about the body."""

    @pytest.mark.parametrize(
        ("headers", "body_expected", "expects_continue"),
        [
            ([], False, False),
            ([(b"Content-Length", b"0")], False, False),
            ([(b"content-length", b"5")], True, False),
            ([(b"CONTENT-LENGTH", b" 007\t")], True, False),
            ([(b"Content-Length", b"%d" % (2**63 - 1))], True, False),
            ([(b"Transfer-Encoding", b"chunked")], True, False),
            ([(b"transfer-encoding", b" Chunked ")], True, False),
            ([(b"Expect", b"100-continue")], False, False),
            ([(b"Expect", b"100-continue"), (b"Content-Length", b"0")], False, False),
            ([(b"Expect", b"100-continue"), (b"Content-Length", b"5")], True, True),
            ([(b"Transfer-Encoding", b"chunked"), (b"eXPECT", b" 100-Continue ")], True, True),
            ([(b"Transfer-Encoding", b"chunked"), (b"Expect", b"something, 100-continue")], True, True),
            ([(b"Transfer-Encoding", b"chunked"), (b"Expect", b"200-ok")], True, False),
        ],
    )
    def test_facts(
        self, headers: list[tuple[bytes, bytes]], body_expected: bool, expects_continue: bool
    ) -> None:
        for _ in range(2):
            engine = start_upload(*headers)
            assert engine.is_request_complete is not body_expected
            assert engine.expects_continue is expects_continue


class TestBody:
    def test_without_framing(self) -> None:
        engine = start_upload()
        assert engine.frame_body(b"") == ()
        with pytest.raises(
            LocalProtocolError, match=r"neither Content-Length nor Transfer-Encoding: chunked"
        ):
            engine.frame_body(b"x")
        assert engine.finish_body() == b""

    def test_content_length(self) -> None:
        engine = start_upload((b"Content-Length", b"5"))
        first, second = b"hel", bytearray(b"lo")
        assert engine.frame_body(first)[0] is first
        assert engine.frame_body(b"") == ()
        assert engine.frame_body(second)[0] is second
        assert engine.frame_body(b"") == ()
        assert engine.finish_body() == b""

    def test_too_long(self) -> None:
        engine = start_upload((b"Content-Length", b"5"))
        with pytest.raises(LocalProtocolError, match=r"longer .* at least 6 bytes instead of 5\."):
            engine.frame_body(b"123456")
        engine.frame_body(b"1234")
        with pytest.raises(LocalProtocolError, match=r"longer .* at least 6 bytes instead of 5\."):
            engine.frame_body(b"56")
        engine.frame_body(b"5")
        assert engine.finish_body() == b""

    def test_too_long_for_none(self) -> None:
        with pytest.raises(LocalProtocolError, match=r"at least 1 bytes instead of 0\."):
            start_upload((b"Content-Length", b"0")).frame_body(b"1")

    def test_too_short(self) -> None:
        engine = start_upload((b"Content-Length", b"5"))
        with pytest.raises(LocalProtocolError, match=r"shorter .*: 0 bytes instead of 5\."):
            engine.finish_body()
        engine.frame_body(b"1234")
        with pytest.raises(LocalProtocolError, match=r"shorter .*: 4 bytes instead of 5\."):
            engine.finish_body()
        engine.frame_body(b"5")
        assert engine.finish_body() == b""

    def test_chunks(self) -> None:
        engine = start_upload((b"Transfer-Encoding", b"chunked"))
        assert engine.frame_body(b"hello") == (b"5\r\nhello\r\n",)
        assert engine.frame_body(b"x" * 26) == (b"1a\r\n" + b"x" * 26 + b"\r\n",)
        assert engine.frame_body(b"") == ()
        assert engine.finish_body() == b"0\r\n\r\n"

    def test_large_chunks_are_not_copied(self) -> None:
        engine = start_upload((b"Transfer-Encoding", b"chunked"))
        small, large = b"x" * JOIN_SIZE, b"x" * (JOIN_SIZE + 1)
        assert engine.frame_body(small) == (b"4000\r\n" + small + b"\r\n",)
        size, data, end = engine.frame_body(large)
        assert (size, end) == (b"4001\r\n", b"\r\n")
        assert data is large

    @pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
    @pytest.mark.parametrize("size", [5, JOIN_SIZE + 1])
    def test_any_buffer_will_do(self, kind: type[memoryview], size: int) -> None:
        for header in ((b"Transfer-Encoding", b"chunked"), (b"Content-Length", b"%d" % size)):
            engine = start_upload(header)
            wire = b"".join((*engine.frame_body(kind(b"x" * size)), engine.finish_body()))
            assert wire.count(b"x") == size

    def test_a_buffer_is_measured_in_bytes(self) -> None:
        wide = memoryview(b"12345678").cast("I")
        strided = memoryview(b"1x2x3x4x")[::2]
        engine = start_upload((b"Transfer-Encoding", b"chunked"))
        assert engine.frame_body(wide) == (b"8\r\n12345678\r\n",)
        assert engine.frame_body(strided) == (b"4\r\n1234\r\n",)
        engine = start_upload((b"Content-Length", b"12"))
        assert b"".join((*engine.frame_body(wide), *engine.frame_body(strided))) == b"123456781234"
        assert engine.finish_body() == b""

    @pytest.mark.parametrize("data", ["text", 5, None, [b"x"]])
    def test_what_is_no_buffer_is_a_type_error(self, data: bytes) -> None:
        for header in ((b"Transfer-Encoding", b"chunked"), (b"Content-Length", b"4")):
            with pytest.raises(TypeError, match=r"made of bytes"):
                start_upload(header).frame_body(data)

    def test_it_ends_once(self) -> None:
        for headers in ([], [(b"Transfer-Encoding", b"chunked")], [(b"Content-Length", b"0")]):
            engine = start_upload(*headers)
            engine.finish_body()
            with pytest.raises(RuntimeError):
                engine.finish_body()
            with pytest.raises(RuntimeError):
                engine.frame_body(b"x")

    def test_huge_sizes_are_exact(self) -> None:
        """2^32 is no border. The body is counted, not held."""
        engine = start_upload((b"Content-Length", b"%d" % (5 * 2**30)))
        piece = memoryview(bytes(2**20))
        for _ in range(5 * 2**10):
            engine.frame_body(piece)
        with pytest.raises(LocalProtocolError):
            engine.frame_body(b"1")
        assert engine.finish_body() == b""
