"""Other parsers, asked what they make of the same bytes."""

from __future__ import annotations

import http.client
import io
from collections.abc import Callable
from dataclasses import dataclass

import h11
import httptools

from .driver import receive

Fields = list[tuple[bytes, bytes]]


@dataclass(frozen=True)
class Verdict:
    """What a parser says after the stream has ended: an error, or a complete response."""

    is_accepted: bool
    status: int = 0
    headers: tuple[tuple[bytes, bytes], ...] = ()
    body: bytes = b""


REFUSED = Verdict(False)


def ask_ours(wire: bytes, method: bytes = b"GET") -> Verdict:
    outcome = receive([wire], method=method)
    if outcome.failed or not outcome.is_complete:
        return REFUSED
    return Verdict(True, outcome.status, _lower(outcome.headers), outcome.body)


def ask_h11(wire: bytes, method: bytes = b"GET") -> Verdict:
    connection = h11.Connection(h11.CLIENT, max_incomplete_event_size=2**20)
    connection.send(h11.Request(method=method, target=b"/", headers=[(b"Host", b"h")]))
    connection.send(h11.EndOfMessage())
    connection.receive_data(wire)
    verdict: Verdict | None = None
    body = b""
    has_ended = False
    try:
        while True:
            event = connection.next_event()
            if isinstance(event, h11.Response):
                verdict = Verdict(True, event.status_code, _lower(event.headers.raw_items()))
            elif isinstance(event, h11.Data):
                body += event.data
            elif isinstance(event, h11.EndOfMessage) and verdict is not None:
                return Verdict(True, verdict.status, verdict.headers, body)
            elif event is h11.NEED_DATA and not has_ended:
                connection.receive_data(b"")
                has_ended = True
            elif not isinstance(event, h11.InformationalResponse):
                return REFUSED
    except h11.RemoteProtocolError:
        return REFUSED


class _Collector:
    """Callbacks of httptools; notes the first final response."""

    def __init__(self) -> None:
        self.fields: Fields = []
        self.body = b""
        self.status = 0
        self.is_complete = False
        self.parser: httptools.HttpResponseParser | None = None

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self.is_complete and (self.status == 0 or not self.body):
            self.fields.append((name, value))

    def on_headers_complete(self) -> None:
        assert self.parser is not None
        if not self.is_complete:
            self.status = self.parser.get_status_code()

    def on_body(self, body: bytes) -> None:
        if not self.is_complete:
            self.body += body

    def on_message_begin(self) -> None:
        if not self.is_complete:
            self.fields = []

    def on_message_complete(self) -> None:
        if self.status >= 200:
            self.is_complete = True


def ask_httptools(wire: bytes, method: bytes = b"GET") -> Verdict:
    """llhttp, which is not told the request's method and cannot be told the end of the stream."""
    collector = _Collector()
    collector.parser = httptools.HttpResponseParser(collector)
    try:
        collector.parser.feed_data(wire)
    except httptools.HttpParserUpgrade:
        return REFUSED
    except httptools.HttpParserError:
        if not collector.is_complete:
            return REFUSED
    if not collector.is_complete:
        return REFUSED
    return Verdict(True, collector.status, _lower(collector.fields), collector.body)


class _Socket:
    def __init__(self, wire: bytes) -> None:
        self.wire = wire

    def makefile(self, mode: str) -> io.BytesIO:
        return io.BytesIO(self.wire)


def ask_http_client(wire: bytes, method: bytes = b"GET") -> Verdict:
    response = http.client.HTTPResponse(_Socket(wire), method=method.decode())  # type: ignore[arg-type]
    try:
        response.begin()
        fields = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in response.getheaders()]
        body = response.read()
    except (http.client.HTTPException, ValueError, OverflowError):
        return REFUSED
    return Verdict(True, response.status, _lower(fields), body)


def _lower(fields: Fields) -> tuple[tuple[bytes, bytes], ...]:
    return tuple((bytes(name).lower(), bytes(value).strip(b" \t")) for name, value in fields)


ORACLES: dict[str, Callable[[bytes, bytes], Verdict]] = {
    "h11": ask_h11,
    "httptools": ask_httptools,
    "http.client": ask_http_client,
}
