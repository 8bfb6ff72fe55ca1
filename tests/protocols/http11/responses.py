"""Valid responses of every shape, for hypothesis."""

from __future__ import annotations

from dataclasses import dataclass

from hypothesis import strategies as st

Fields = list[tuple[bytes, bytes]]


@dataclass
class Message:
    """A response on the wire, and what it means."""

    wire: bytes
    method: bytes
    version: bytes
    status: int
    reason: bytes
    headers: Fields
    body: bytes
    trailers: Fields
    ends_with_connection: bool


_TOKEN = b"!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
_FRAMING = (b"content-length", b"transfer-encoding", b"connection", b"upgrade", b"proxy-connection")


def text(alphabet: bytes, *, min_size: int = 0, max_size: int = 12) -> st.SearchStrategy[bytes]:
    characters = st.text(alphabet.decode("latin-1"), min_size=min_size, max_size=max_size)
    return characters.map(lambda drawn: drawn.encode("latin-1"))


VISIBLE = bytes(range(0x21, 0x7F))
OBSOLETE = bytes(range(0x80, 0x100))


def names() -> st.SearchStrategy[bytes]:
    return text(_TOKEN, min_size=1).filter(lambda name: name.lower() not in _FRAMING)


def values(alphabet: bytes = VISIBLE + OBSOLETE) -> st.SearchStrategy[bytes]:
    inner = text(alphabet + b"  \t", max_size=20)
    return inner.map(lambda value: value.strip(b" \t"))


def fields(alphabet: bytes = VISIBLE + OBSOLETE) -> st.SearchStrategy[Fields]:
    return st.lists(st.tuples(names(), values(alphabet)), max_size=5)


@st.composite
def messages(
    draw: st.DrawFn,
    *,
    alphabet: bytes = VISIBLE + OBSOLETE,
    bare_line_feeds: bool = True,
    only_get: bool = False,
    interim: bool = True,
    trailers: bool = True,
) -> Message:
    """`alphabet`: of values and reason phrases. The other switches are for oracles that know less."""
    end = draw(st.sampled_from([b"\r\n", b"\r\n", b"\n"])) if bare_line_feeds else b"\r\n"
    method = b"GET" if only_get else draw(st.sampled_from([b"GET", b"GET", b"POST", b"HEAD"]))
    version = draw(st.sampled_from([b"1.1", b"1.1", b"1.0"]))
    status = draw(st.sampled_from([200, 200, 201, 204, 206, 301, 304, 404, 500, 599]))
    reason = draw(st.sampled_from([b"OK", b"", b"Not Found", b"a\tb"]))
    headers = draw(fields(alphabet))
    body = draw(st.binary(max_size=60))
    trailing: Fields = []
    framing = draw(st.sampled_from(["length", "chunked", "connection"]))
    if framing == "length":
        headers.insert(draw(st.integers(0, len(headers))), (b"Content-Length", b"%d" % len(body)))
        encoded = body
    elif framing == "chunked" and version == b"1.1":
        headers.insert(draw(st.integers(0, len(headers))), (b"Transfer-Encoding", b"chunked"))
        trailing = draw(fields(alphabet)) if trailers else []
        encoded = _encode_chunks(draw, body, end) + _encode(trailing, end) + end
    else:
        framing = "connection"
        encoded = body
    if method == b"HEAD" or status in (204, 304):
        framing, body, encoded, trailing = "none", b"", b"", []
    before = b""
    if interim:
        count = draw(st.sampled_from([0, 0, 1, 2]))
        before = (b"HTTP/1.1 103 x" + end + _encode(draw(fields(alphabet)), end) + end) * count
    status_line = b"HTTP/%b %d %b" % (version, status, reason) + end
    return Message(
        wire=before + status_line + _encode(headers, end) + end + encoded,
        method=method,
        version=version,
        status=status,
        reason=reason,
        headers=headers,
        body=body,
        trailers=trailing,
        ends_with_connection=framing == "connection",
    )


def _encode(lines: Fields, end: bytes) -> bytes:
    return b"".join(name + b": " + value + end for name, value in lines)


def _encode_chunks(draw: st.DrawFn, body: bytes, end: bytes) -> bytes:
    """Chunks of drawn sizes, with an extension where the line ends with CRLF."""
    encoded = b""
    while body:
        size = draw(st.integers(1, len(body)))
        digits = draw(st.sampled_from([b"%x", b"%X", b"%04x"])) % size
        extension = draw(st.sampled_from([b"", b"", b";a=b", b';a="b"'])) if end == b"\r\n" else b""
        encoded += digits + extension + end + body[:size] + end
        body = body[size:]
    return encoded + b"0" + end
