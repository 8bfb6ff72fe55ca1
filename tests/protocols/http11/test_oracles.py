"""Our verdicts beside those of h11, llhttp (httptools) and `http.client`.

Valid responses: all agree. Invalid ones, and those where the standard leaves a choice: where h11 or llhttp
differ from us, the table says so, and why we do as we do. `http.client` takes nearly everything; it is asked
about valid responses only.
"""

from __future__ import annotations

import hypothesis
import pytest

from .oracles import ORACLES, Verdict, ask_h11, ask_http_client, ask_httptools, ask_ours
from .responses import VISIBLE, Message, messages


def expected(message: Message) -> Verdict:
    headers = tuple((name.lower(), value) for name, value in message.headers)
    return Verdict(True, message.status, headers, message.body)


@hypothesis.given(message=messages(bare_line_feeds=False))
def test_valid_responses_beside_h11(message: Message) -> None:
    assert (
        ask_h11(message.wire, message.method) == ask_ours(message.wire, message.method) == expected(message)
    )


@hypothesis.given(message=messages(bare_line_feeds=False, only_get=True, interim=False, trailers=False))
def test_valid_responses_beside_httptools(message: Message) -> None:
    hypothesis.assume(not message.ends_with_connection)
    assert ask_httptools(message.wire) == ask_ours(message.wire) == expected(message)


@hypothesis.given(message=messages(alphabet=VISIBLE, interim=False, bare_line_feeds=False))
def test_valid_responses_beside_http_client(message: Message) -> None:
    # It waits for chunks where there can be no body, and its idea of a blank is that of e-mail.
    hypothesis.assume(message.body or (b"Transfer-Encoding", b"chunked") not in message.headers)
    hypothesis.assume(not any(value == b"" or b"\t" in value for _, value in message.headers))
    assert (
        ask_http_client(message.wire, message.method)
        == ask_ours(message.wire, message.method)
        == expected(message)
    )


OK = b"HTTP/1.1 200 OK\r\n"
SIZED = OK + b"Content-Length: 5\r\n"
HELLO = SIZED + b"\r\nhello"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"

ACCEPTED = {
    "plain": HELLO,
    "obs-text": SIZED + b"X: a\xffb\r\n\r\nhello",
    "no reason": HELLO.replace(b" OK", b""),
    "status 999": HELLO.replace(b"200", b"999"),
    "100 before": b"HTTP/1.1 100 Continue\r\n\r\n" + HELLO,
    "103 before": b"HTTP/1.1 103 x\r\nX: 1\r\n\r\n" + HELLO,
    "204": b"HTTP/1.1 204 x\r\nContent-Length: 5\r\n\r\n",
    "304": b"HTTP/1.1 304 x\r\nContent-Length: 5\r\n\r\n",
    "surplus": HELLO + b"XX",
    "coding in HTTP/1.0": CHUNKED.replace(b"1.1", b"1.0") + b"5\r\nhello\r\n0\r\n\r\n",
    "extension": CHUNKED + b"5;a=b\r\nhello\r\n0\r\n\r\n",
    "quoted extension": CHUNKED + b'5;a="b;\xff"\r\nhello\r\n0\r\n\r\n',
    "trailers": CHUNKED + b"5\r\nhello\r\n0\r\nX: 1\r\n\r\n",
    "bare LF": HELLO.replace(b"\r", b""),
    "bare LF in chunks": CHUNKED + b"5\nhello\r\n0\n\n",
    "bare LF after data": CHUNKED + b"5\r\nhello\n0\r\n\r\n",
    "obs-fold": SIZED + b"X: 1\r\n 2\r\n\r\nhello",
    "both framings": SIZED + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    "two equal lengths": SIZED + b"Content-Length: 5\r\n\r\nhello",
    "list of equal lengths": OK + b"Content-Length: 5, 5\r\n\r\nhello",
    "blank after the size": CHUNKED + b"5 \r\nhello\r\n0\r\n\r\n",
    "zeros before the size": CHUNKED + b"0" * 30 + b"5\r\nhello\r\n0\r\n\r\n",
    "until close": OK + b"\r\nhello",
}

REFUSED = {
    "bare CR in a value": SIZED + b"X: a\rb\r\n\r\nhello",
    "bare CR as line end": HELLO.replace(b"\n", b""),
    "CR CR LF": SIZED + b"X: a\r\r\n\r\nhello",
    "empty line before": b"\r\n" + HELLO,
    "junk before": b"xx" + HELLO,
    "HTTP/0.9": b"hello",
    "nothing": b"",
    "status 20X": HELLO.replace(b"200", b"20X"),
    "status 099": HELLO.replace(b"200", b"099"),
    "status 1000": HELLO.replace(b"200", b"1000"),
    "status +20": HELLO.replace(b"200", b"+20"),
    "two blanks before the status": HELLO.replace(b" 200", b"  200"),
    "tab before the status": HELLO.replace(b" 200", b"\t200"),
    "HTTP/1.2": HELLO.replace(b"1.1", b"1.2"),
    "HTTP/2.0": HELLO.replace(b"1.1", b"2.0"),
    "HTTP/0.9 in the status line": HELLO.replace(b"1.1", b"0.9"),
    "http/1.1": HELLO.replace(b"HTTP", b"http"),
    "blank before the colon": SIZED + b"X : 1\r\n\r\nhello",
    "no colon": SIZED + b"X\r\n\r\nhello",
    "empty name": SIZED + b": 1\r\n\r\nhello",
    "bad name": SIZED + b"X(: 1\r\n\r\nhello",
    "blank first line": OK + b" X: 1\r\nContent-Length: 5\r\n\r\nhello",
    "NUL": SIZED + b"X: a\0b\r\n\r\nhello",
    "control in a value": SIZED + b"X: a\x01b\r\n\r\nhello",
    "different lengths": SIZED + b"Content-Length: 6\r\n\r\nhello",
    "length +5": HELLO.replace(b": 5", b": +5"),
    "length -5": HELLO.replace(b": 5", b": -5"),
    "length 0_5": HELLO.replace(b": 5", b": 0_5"),
    "empty length": HELLO.replace(b": 5", b": "),
    "length of 65 bits": HELLO.replace(b": 5", b": 18446744073709551621"),
    "length too long": HELLO.replace(b": 5", b": 6"),
    "gzip, chunked": CHUNKED.replace(b"chunked", b"gzip, chunked") + b"5\r\nhello\r\n0\r\n\r\n",
    "chunked, gzip": CHUNKED.replace(b"chunked", b"chunked, gzip") + b"5\r\nhello\r\n0\r\n\r\n",
    "chunked, chunked": CHUNKED.replace(b"chunked", b"chunked, chunked") + b"5\r\nhello\r\n0\r\n\r\n",
    "xchunked": CHUNKED.replace(b"chunked", b"xchunked") + b"5\r\nhello\r\n0\r\n\r\n",
    "gzip": CHUNKED.replace(b"chunked", b"gzip") + b"hello",
    "identity": CHUNKED.replace(b"chunked", b"identity") + b"hello",
    "size 0x5": CHUNKED + b"0x5\r\nhello\r\n0\r\n\r\n",
    "size +5": CHUNKED + b"+5\r\nhello\r\n0\r\n\r\n",
    "blank before the size": CHUNKED + b" 5\r\nhello\r\n0\r\n\r\n",
    "tab after the size": CHUNKED + b"5\t\r\nhello\r\n0\r\n\r\n",
    "size of 65 bits": CHUNKED + b"10000000000000005\r\nhello\r\n0\r\n\r\n",
    "bare LF in an extension": CHUNKED + b"5;a\nhello\r\n0\r\n\r\n",
    "bare CR in an extension": CHUNKED + b"5;a\rb\r\nhello\r\n0\r\n\r\n",
    "no line end after data": CHUNKED + b"5\r\nhelloXX0\r\n\r\n",
    "empty line before the size": CHUNKED + b"\r\n5\r\nhello\r\n0\r\n\r\n",
    "end before the last line": CHUNKED + b"5\r\nhello\r\n0\r\n",
    "bad trailer": CHUNKED + b"5\r\nhello\r\n0\r\nX 1\r\n\r\n",
    "only an interim response": b"HTTP/1.1 100 Continue\r\n\r\n",
    "1001 fields": OK + b"X: 1\r\n" * 1000 + b"Content-Length: 5\r\n\r\nhello",
    "a field of 70,000 bytes": SIZED + b"X: " + b"a" * 70_000 + b"\r\n\r\nhello",
}

# Who differs from us, and why we do not follow.
DIFFERENCES: dict[str, dict[str, str]] = {
    "bare LF": {"httptools": "strict by default; RFC 9112 §2.2 allows it and old servers do it"},
    "bare LF in chunks": {
        "httptools": "as above",
        "h11": "takes it in heads only; one policy for both is easier to reason about",
    },
    "bare LF after data": {"httptools": "as above", "h11": "as above"},
    "obs-fold": {"httptools": "refuses it; RFC 9112 §5.2 has a client replace it by a space"},
    "both framings": {"httptools": "refuses it; RFC 9112 §6.3 lets the coding win, and we do not reuse"},
    "two equal lengths": {
        "httptools": "refuses it; RFC 9110 §8.6 allows one to be used",
        "h11": "merges the fields; we show what was on the wire",
    },
    "list of equal lengths": {"httptools": "as above", "h11": "as above"},
    "blank after the size": {"httptools": "strict by default; real servers pad sizes"},
    "zeros before the size": {"h11": "at most 20 digits; we bound the line"},
    "until close": {"httptools": "cannot be told of the end"},
    "empty line before": {"httptools": "skips it; only servers should (RFC 9112 §2.2)"},
    "HTTP/1.2": {"h11": "any version of one digit each"},
    "HTTP/2.0": {"h11": "as above", "httptools": "knows the version; it is not spoken in text"},
    "HTTP/0.9 in the status line": {"h11": "as above", "httptools": "as above"},
    "control in a value": {"h11": "refuses NUL, CR and LF alone; RFC 9110 §5.5 has no other controls"},
    "gzip, chunked": {"httptools": "leaves the gzip to the caller; we did not ask for it (RFC 9110 §10.1.4)"},
    "chunked, chunked": {"httptools": "decodes once; RFC 9112 §6.1 forbids it"},
    "tab after the size": {"h11": "any blank; spaces are what servers pad with"},
    "bare CR in an extension": {"h11": "looks for CRLF only; an ambiguous end is a way to split responses"},
    "1001 fields": {"h11": "bounds the bytes", "httptools": "has no bounds"},
    "a field of 70,000 bytes": {"h11": "was given another bound", "httptools": "has no bounds"},
}


@pytest.mark.parametrize("name", [*ACCEPTED, *REFUSED])
def test_where_we_agree_and_where_we_do_not(name: str) -> None:
    wire = {**ACCEPTED, **REFUSED}[name]
    ours = ask_ours(wire)
    assert ours.is_accepted is (name in ACCEPTED)
    differing = {oracle for oracle in ("h11", "httptools") if ORACLES[oracle](wire, b"GET") != ours}
    assert differing == set(DIFFERENCES.get(name, {}))


def test_each_difference_is_one_of_a_case() -> None:
    assert set(DIFFERENCES) <= set(ACCEPTED) | set(REFUSED)
    assert not set(ACCEPTED) & set(REFUSED)
