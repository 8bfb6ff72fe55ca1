"""Request heads: what is checked, converted, left out, and remembered (RFC 9113 §8.2, §8.3)."""

from __future__ import annotations

import hpack
import pytest

from httpcore._exceptions import LocalProtocolError
from httpcore._protocols.http2 import Engine, prepare_fields, requests
from httpcore._protocols.http2.frames import HEADERS

from .driver import Field, sent, start


def prepare(*fields: Field, method: bytes = b"GET") -> requests.RequestFields:
    return prepare_fields(method, b"https", b"example.org", fields)


PSEUDO = ((b":method", b"GET"), (b":scheme", b"https"), (b":authority", b"example.org"))


def on_the_wire(engine: Engine) -> list[Field]:
    (head,) = [found for found in sent(engine) if found.kind == HEADERS]
    return [(bytes(name), bytes(value)) for name, value in hpack.Decoder().decode(head.payload, raw=True)]


def test_the_order_on_the_wire() -> None:
    engine = start()
    engine.open_stream(prepare((b"B", b"1"), (b"a", b"2"), (b"B", b"3")), b"/path?q", ends=True)
    assert on_the_wire(engine) == [
        (b":path", b"/path?q"),
        *PSEUDO,
        (b"b", b"1"),
        (b"a", b"2"),
        (b"b", b"3"),
    ]


def test_names_are_lowered_and_values_trimmed() -> None:
    assert prepare((b"X-Custom", b" \tValue \t"), (b"empty", b"  ")).repeated == (
        *PSEUDO,
        (b"x-custom", b"Value"),
        (b"empty", b""),
    )


@pytest.mark.parametrize(
    ("hosts", "authority"),
    [
        ([], b"example.org"),
        ([b"other:8080"], b"other:8080"),
        ([b" other "], b"other"),
        ([b""], b"example.org"),
    ],
)
def test_authority(hosts: list[bytes], authority: bytes) -> None:
    fields = prepare(*[(b"Host", host) for host in hosts]).repeated
    assert fields[2] == (b":authority", authority)
    assert len(fields) == 3


@pytest.mark.parametrize("name", [b"Connection", b"Keep-Alive", b"Proxy-Connection", b"Upgrade"])
def test_what_concerns_the_connection_is_not_sent(name: bytes) -> None:
    assert prepare((name, b"x"), (name.upper(), b"x"), (name.lower(), b"x")).repeated == PSEUDO


def test_what_connection_names_is_not_sent() -> None:
    fields = prepare((b"X-Hop", b"1"), (b"Connection", b"close, x-HOP"), (b"connection", b"Y"), (b"y", b"1"))
    assert fields.repeated == PSEUDO


@pytest.mark.parametrize(
    ("values", "is_sent"),
    [([b"trailers"], True), ([b"gzip, Trailers"], True), ([b"gzip", b"trailers"], True), ([b"gzip"], False)],
)
def test_te(values: list[bytes], is_sent: bool) -> None:
    expected = ((b"te", b"trailers"),) if is_sent else ()
    assert prepare(*[(b"TE", value) for value in values]).repeated == (*PSEUDO, *expected)


def test_transfer_encoding() -> None:
    fields = prepare((b"Transfer-Encoding", b"chunked"))
    assert fields.repeated == PSEUDO
    assert fields.content_length is None
    for value in (b"gzip", b"gzip, chunked", b""):
        with pytest.raises(LocalProtocolError, match="Transfer-Encoding"):
            prepare((b"Transfer-Encoding", value))


def test_content_length() -> None:
    assert prepare().content_length is None
    fields = prepare((b"Content-Length", b"12"))
    assert fields.content_length == 12
    assert fields.repeated == (*PSEUDO, (b"content-length", b"12"))
    for values in ([b"x"], [b"-1"], [b"1", b"1"], [b"1", b"2"], [b"9223372036854775808"], [b"1_0"], [b""]):
        with pytest.raises(LocalProtocolError, match="Content-Length"):
            prepare(*[(b"Content-Length", value) for value in values])
    with pytest.raises(LocalProtocolError, match="both"):
        prepare((b"Content-Length", b"1"), (b"Transfer-Encoding", b"chunked"))


@pytest.mark.parametrize(
    ("fields", "expects"),
    [
        ([(b"Expect", b"100-continue")], True),
        ([(b"Expect", b"100-Continue"), (b"Content-Length", b"5")], True),
        ([(b"Expect", b"100-continue"), (b"Content-Length", b"0")], False),
        ([(b"Expect", b"something")], False),
        ([], False),
    ],
)
def test_expect(fields: list[Field], expects: bool) -> None:
    assert prepare(*fields).expects_continue == expects


def test_connect() -> None:
    """RFC 9113 §8.5: neither :scheme nor :path."""
    engine = start()
    request = prepare((b"Host", b"example.org:443"), (b"a", b"b"), method=b"CONNECT")
    engine.open_stream(request, b"example.org:443", ends=False)
    assert on_the_wire(engine) == [
        (b":method", b"CONNECT"),
        (b":authority", b"example.org:443"),
        (b"a", b"b"),
    ]


@pytest.mark.parametrize("name", [b"", b" ", b"a b", b":path", b"a:", b"\xe4", b"a\0", b"a\r\nb", b"a(b"])
def test_a_name_that_is_no_token(name: bytes) -> None:
    with pytest.raises(LocalProtocolError, match="not a token"):
        prepare((name, b"x"))


@pytest.mark.parametrize("value", [b"a\0", b"a\r\nb: c", b"\n", b"\x7f", b"\x1b"])
def test_a_value_with_a_control(value: bytes) -> None:
    with pytest.raises(LocalProtocolError, match="control character"):
        prepare((b"a", value))
    with pytest.raises(LocalProtocolError) as caught:
        prepare((b"Authorization", b"secret" + value))
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("hosts", [[b"a", b"b"], [b"a", b"a"], [b"a b"], [b"a\tb"], [b"user:password@host"]])
def test_a_host_that_may_not_be(hosts: list[bytes]) -> None:
    with pytest.raises(LocalProtocolError, match="Host") as caught:
        prepare(*[(b"Host", host) for host in hosts])
    assert "password" not in str(caught.value)


@pytest.mark.parametrize("method", [b"", b"G T", b"GET\r\n", b"\xe4"])
def test_a_method_that_is_no_token(method: bytes) -> None:
    with pytest.raises(LocalProtocolError, match="method"):
        prepare(method=method)


@pytest.mark.parametrize("target", [b"", b"/a b", b"/a\r\n", b"/\0", b"/\x7f"])
def test_a_target_that_may_not_be(target: bytes) -> None:
    """Found out before anything is encoded."""
    engine = start()
    with pytest.raises(LocalProtocolError, match="target"):
        engine.open_stream(prepare(), target, ends=True)
    assert not engine.output.size
    assert engine.streams == {}


def test_what_repeats_is_remembered() -> None:
    assert prepare((b"remembered", b"1")) is prepare((b"remembered", b"1"))
    assert prepare((b"remembered", b"1")) is not prepare((b"remembered", b"2"))
    assert prepare((b"remembered", b"1")) is not prepare((b"remembered", b"1"), method=b"HEAD")
    other = prepare_fields(b"GET", b"http", b"example.org", [(b"remembered", b"1")])
    assert other.repeated[1] == (b":scheme", b"http")
    other = prepare_fields(b"GET", b"https", b"example.net", [(b"remembered", b"1")])
    assert other.repeated[2] == (b":authority", b"example.net")


@pytest.mark.parametrize("name", [b"Authorization", b"Cookie", b"X-Api-Key", b"X-Token"])
def test_credentials_are_not_remembered(name: bytes) -> None:
    prepare((name, b"very secret"))
    assert b"very secret" not in repr([*requests._known_fields]).encode()


def test_what_is_remembered_is_bounded() -> None:
    for number in range(requests._KNOWN_COUNT + 10):
        prepare((b"number", b"%d" % number))
        assert len(requests._known_fields) <= requests._KNOWN_COUNT
    prepare((b"long", b"x" * requests._KNOWN_SIZE))
    assert all(fields.list_size <= requests._KNOWN_SIZE for fields in requests._known_fields.values())


def test_fields_without_a_hash() -> None:
    value = bytearray(b"1")
    first = prepare((b"mutable", value))  # type: ignore[arg-type]
    value[:] = b"2"
    second = prepare((b"mutable", value))  # type: ignore[arg-type]
    assert first.repeated[-1] == (b"mutable", b"1")
    assert second.repeated[-1] == (b"mutable", b"2")
    third = prepare([b"a", b"b"])  # type: ignore[arg-type]
    assert third.repeated[-1] == (b"a", b"b")


def test_list_size() -> None:
    """RFC 9113 §6.5.2."""
    assert prepare((b"a", b"bc")).list_size == sum(len(n) + len(v) + 32 for n, v in PSEUDO) + 35
