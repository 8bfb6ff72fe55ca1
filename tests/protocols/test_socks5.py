"""The SOCKS5 handshake, message by message and byte by byte (RFC 1928, RFC 1929)."""

from __future__ import annotations

import pytest

from httpcore import LocalProtocolError, ProxyError, RemoteProtocolError
from httpcore._protocols.socks5 import REPLIES, SOCKS5Handshake

V4 = b"\x05\x00\x00\x01\x7f\x00\x00\x01\x00\x50"

BOUND = {
    "IPv4": V4,
    "IPv6": b"\x05\x00\x00\x04" + bytes(15) + b"\x01\x00\x50",
    "a name": b"\x05\x00\x00\x03\x05proxy\x00\x50",
    "no name": b"\x05\x00\x00\x03\x00\x00\x50",
    "a long name": b"\x05\x00\x00\x03\xff" + b"x" * 255 + b"\x00\x50",
}
"""Replies with every kind of bound address, which means nothing to us but its length."""


def shake_hands(handshake: SOCKS5Handshake, *answers: bytes, size: int = 1000) -> list[bytes]:
    """Everything that is sent, if these are the answers, each fed in pieces of `size`."""
    sent = [handshake.take_output()]
    for answer in answers:
        assert not handshake.is_done
        for i in range(0, len(answer), size):
            handshake.feed(answer[i : i + size])
        sent.append(handshake.take_output())
    return sent


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
@pytest.mark.parametrize("reply", BOUND.values(), ids=BOUND)
def test_without_a_password(reply: bytes, size: int) -> None:
    handshake = SOCKS5Handshake(b"origin.example", 443)
    sent = shake_hands(handshake, b"\x05\x00", reply, size=size)
    assert sent == [b"\x05\x01\x00", b"\x05\x01\x00\x03\x0eorigin.example\x01\xbb", b""]
    assert handshake.is_done


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
@pytest.mark.parametrize("reply", BOUND.values(), ids=BOUND)
def test_with_a_password(reply: bytes, size: int) -> None:
    handshake = SOCKS5Handshake(b"origin.example", 443, auth=(b"me", b"secret"))
    sent = shake_hands(handshake, b"\x05\x02", b"\x01\x00", reply, size=size)
    assert sent == [
        b"\x05\x02\x00\x02",
        b"\x01\x02me\x06secret",
        b"\x05\x01\x00\x03\x0eorigin.example\x01\xbb",
        b"",
    ]
    assert handshake.is_done


@pytest.mark.parametrize("cut", range(1, len(V4)))
def test_a_reply_cut_at_every_byte(cut: int) -> None:
    handshake = SOCKS5Handshake(b"h", 80)
    shake_hands(handshake, b"\x05\x00")
    handshake.feed(V4[:cut])
    assert not handshake.is_done
    with pytest.raises(RemoteProtocolError, match="closed the connection before the reply"):
        handshake.feed(b"")


def test_a_password_that_is_not_asked_for_is_not_sent() -> None:
    handshake = SOCKS5Handshake(b"h", 80, auth=(b"me", b"secret"))
    sent = shake_hands(handshake, b"\x05\x00", V4)
    assert b"secret" not in b"".join(sent)
    assert handshake.is_done


@pytest.mark.parametrize(
    ("host", "encoded"),
    [
        (b"h", b"\x03\x01h"),
        (b"x" * 255, b"\x03\xff" + b"x" * 255),
        (b"192.0.2.1", b"\x01\xc0\x00\x02\x01"),
        (b"::1", b"\x04" + bytes(15) + b"\x01"),
        (b"2001:db8::ff", b"\x04\x20\x01\x0d\xb8" + bytes(11) + b"\xff"),
        # What looks like an address and is none is a name, for the proxy to make sense of.
        (b"127.1", b"\x03\x05127.1"),
        (b"192.0.2.01", b"\x03\x0a192.0.2.01"),
    ],
)
def test_what_is_asked_for(host: bytes, encoded: bytes) -> None:
    sent = shake_hands(SOCKS5Handshake(host, 65535), b"\x05\x00")
    assert sent[1] == b"\x05\x01\x00" + encoded + b"\xff\xff"


@pytest.mark.parametrize("auth", [(b"a", b"b"), (b"a" * 255, b"b" * 255)])
def test_the_longest_credentials(auth: tuple[bytes, bytes]) -> None:
    user, password = auth
    sent = shake_hands(SOCKS5Handshake(b"h", 80, auth=auth), b"\x05\x02")
    assert sent[1] == b"\x01" + bytes((len(user),)) + user + bytes((len(password),)) + password


@pytest.mark.parametrize(
    ("host", "port", "auth"),
    [
        (b"", 80, None),
        (b"x" * 256, 80, None),
        (b"h", -1, None),
        (b"h", 65536, None),
        (b"h", 80, (b"", b"b")),
        (b"h", 80, (b"a", b"")),
        (b"h", 80, (b"a" * 256, b"b")),
        (b"h", 80, (b"a", b"b" * 256)),
    ],
)
def test_what_cannot_be_asked_for(host: bytes, port: int, auth: tuple[bytes, bytes] | None) -> None:
    with pytest.raises(LocalProtocolError):
        SOCKS5Handshake(host, port, auth=auth)


@pytest.mark.parametrize("code", range(1, 256))
def test_every_refusal(code: int) -> None:
    """It needs no more than two bytes: some proxies send no more."""
    handshake = SOCKS5Handshake(b"h", 80)
    shake_hands(handshake, b"\x05\x00")
    handshake.feed(b"\x05")
    with pytest.raises(ProxyError, match=REPLIES.get(code, f"unknown reply {code}")):
        handshake.feed(bytes((code,)))
    assert not handshake.is_done


def test_every_reply_of_the_standard_has_a_name() -> None:
    assert sorted(REPLIES) == list(range(1, 9))
    assert len(set(REPLIES.values())) == 8


@pytest.mark.parametrize("method", range(256))
def test_every_choice_of_a_method(method: int) -> None:
    for auth, offered in ((None, (0,)), ((b"me", b"secret"), (0, 2))):
        handshake = SOCKS5Handshake(b"h", 80, auth=auth)
        handshake.take_output()
        handshake.feed(b"\x05")
        if method in offered:
            handshake.feed(bytes((method,)))
            assert handshake.take_output()
        elif method == 0xFF:
            with pytest.raises(ProxyError, match="none of the authentication methods"):
                handshake.feed(bytes((method,)))
        else:
            with pytest.raises(RemoteProtocolError, match=f"method {method}, which was not offered"):
                handshake.feed(bytes((method,)))


@pytest.mark.parametrize("status", range(1, 256))
def test_every_refusal_of_a_password(status: int) -> None:
    handshake = SOCKS5Handshake(b"h", 80, auth=(b"me", b"secret"))
    shake_hands(handshake, b"\x05\x02")
    with pytest.raises(ProxyError, match="refused the username or the password"):
        handshake.feed(bytes((1, status)))


@pytest.mark.parametrize(
    ("before", "answer"),
    [
        ([], b"\x04"),
        ([], b"HTTP/1.1 400 Bad Request\r\n\r\n"),
        ([b"\x05\x02"], b"\x05"),
        ([b"\x05\x02", b"\x01\x00"], b"\x01"),
        ([b"\x05\x00"], b"\x00\x5a"),
    ],
    ids=["version 4", "HTTP", "in the answer to the password", "in the reply", "version 4 in the reply"],
)
def test_a_wrong_version(before: list[bytes], answer: bytes) -> None:
    """The first byte says so."""
    handshake = SOCKS5Handshake(b"h", 80, auth=(b"me", b"secret"))
    shake_hands(handshake, *before)
    with pytest.raises(RemoteProtocolError, match="does not speak SOCKS5"):
        handshake.feed(answer)


@pytest.mark.parametrize("kind", sorted(set(range(256)) - {1, 3, 4}))
def test_an_unknown_type_of_address(kind: int) -> None:
    handshake = SOCKS5Handshake(b"h", 80)
    shake_hands(handshake, b"\x05\x00")
    with pytest.raises(RemoteProtocolError, match=f"address type {kind}"):
        handshake.feed(bytes((5, 0, 0, kind, 0)))


@pytest.mark.parametrize("answers", [(b"\x05\x00", V4 + b"x"), (b"\x05\x00", V4, b"x")])
def test_bytes_after_the_reply(answers: tuple[bytes, ...]) -> None:
    handshake = SOCKS5Handshake(b"h", 80)
    with pytest.raises(RemoteProtocolError, match="after its reply"):
        for answer in answers:
            handshake.take_output()
            handshake.feed(answer)


@pytest.mark.parametrize("answer", [b"\x05\x00\x05", b"\x05\x00" + V4, b"\x05\x02\x01\x00"])
def test_an_answer_before_the_question(answer: bytes) -> None:
    handshake = SOCKS5Handshake(b"h", 80, auth=(b"me", b"secret"))
    handshake.take_output()
    with pytest.raises(RemoteProtocolError, match="before it was asked"):
        handshake.feed(answer)


@pytest.mark.parametrize(
    "before", [[], [b"\x05"], [b"\x05\x02"], [b"\x05\x02", b"\x01"], [b"\x05\x02", b"\x01\x00"]]
)
def test_the_end_at_every_step(before: list[bytes]) -> None:
    handshake = SOCKS5Handshake(b"h", 80, auth=(b"me", b"secret"))
    for answer in before:
        handshake.take_output()
        handshake.feed(answer)
    with pytest.raises(RemoteProtocolError, match="closed the connection before the"):
        handshake.feed(b"")
