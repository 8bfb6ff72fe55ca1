"""TLS over memory: ciphertext in and out on one side, plaintext on the other. No I/O.

OpenSSL does the protocol; this keeps the two queues. What is produced while reading (session tickets'
acknowledgements, KeyUpdate, alerts) stands in the same out-queue as what is written, in the order in which
it was encrypted, so nothing may ever overtake anything.
"""

from __future__ import annotations

import ssl

from .._exceptions import LocalProtocolError
from .._types import Buffer

OUTPUT_LIMIT = 256 * 1024
"""Bytes of ciphertext that may wait to be sent before no more plaintext is taken."""

RECORD_SIZE = 16 * 1024
"""Plaintext bytes in one record at the most (RFC 8446 §5.1)."""

FULL_RECORD = 5 + RECORD_SIZE + 17
"""Bytes of a full record on the wire, with the ciphers of TLS 1.3 (RFC 8446 §5.2, §B.4)."""

WIRE_SIZE = 5 + RECORD_SIZE + 256
"""Bytes of such a record on the wire at the most (RFC 8446 §5.2)."""


class TLSEngine:
    """One side of one TLS connection, the client's."""

    __slots__ = (
        "_begun",
        "_incoming",
        "_is_closing",
        "_is_ended",
        "_outgoing",
        "_output",
        "_sent",
        "is_starved",
        "is_truncated",
        "ssl_object",
    )

    def __init__(
        self, context: ssl.SSLContext, *, server_hostname: str, session: ssl.SSLSession | None = None
    ) -> None:
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        # Ciphertext being sent: what was taken off the outgoing queue, and how much of it went out.
        self._output = b""
        self._sent = 0
        self.is_starved = False
        """Whether the last read found that what is here is not enough: another gives nothing without more."""
        self._is_ended = False
        # Bytes of a record that has begun, and that OpenSSL keeps until all of it is here.
        self._begun = 0
        self._is_closing = False
        self.is_truncated = False
        self.ssl_object = context.wrap_bio(
            self._incoming, self._outgoing, server_hostname=server_name(server_hostname), session=session
        )

    def handshake(self) -> bool:
        """Go on as far as the input allows; `True` once the handshake is complete. `ssl.SSLError` passes."""
        try:
            self.ssl_object.do_handshake()
        except ssl.SSLWantReadError:
            return False
        return True

    # Plaintext.

    def read(self, limit: int) -> bytes | None:
        """Up to `limit` bytes; `None`: more ciphertext is needed; `b""`: the end. `ssl.SSLError` passes."""
        if self.is_starved:
            return None
        read = self.ssl_object.read
        incoming = self._incoming
        pieces: list[bytes] = []
        room = limit
        pending = incoming.pending + self._begun
        self._begun = 0
        try:
            # Never more than a record at once: OpenSSL gives no more, and shrinking what was allocated costs.
            # Nor a part of one, which would leave its rest to be a small piece of its own.
            while not pieces or room >= RECORD_SIZE:
                size = min(room, RECORD_SIZE)
                piece = read(size)
                if not piece:
                    break
                pieces.append(piece)
                room -= len(piece)
                pending = incoming.pending
                is_whole = size == RECORD_SIZE or not self.ssl_object.pending()
                if not pending and is_whole and not self._is_ended:
                    # What the next read would say, without its exception, which takes as long as the read.
                    self.is_starved = True
                    break
        except ssl.SSLWantReadError:
            self.is_starved = True
            self._begun = pending
        except ssl.SSLZeroReturnError:
            pass
        except ssl.SSLEOFError:
            self.is_truncated = True
        except ssl.SSLError:
            # What came before the fault was good; the fault will be met again.
            if not pieces:
                raise
        if not pieces and self.is_starved:
            return None
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def write(self, data: Buffer) -> int:
        """Encrypt what may wait to be sent; return how many bytes were taken. `ssl.SSLError` passes."""
        if not data or not self._has_room():
            return 0
        if len(data) <= RECORD_SIZE:
            return self.ssl_object.write(data)
        view = memoryview(data)
        taken = 0
        while taken < len(view) and self._has_room():
            taken += self.ssl_object.write(view[taken : taken + RECORD_SIZE])
        return taken

    def _has_room(self) -> bool:
        return self.pending_output + WIRE_SIZE <= OUTPUT_LIMIT

    # Ciphertext.

    @property
    def missing_size(self) -> int:
        """Bytes of ciphertext that complete the record whose beginning is here, if it is a full one."""
        return FULL_RECORD - self._begun if 0 < self._begun < FULL_RECORD else 0

    def feed(self, data: bytes) -> None:
        """Ciphertext from the peer; `b""` is the end of the stream."""
        self.is_starved = False
        if data:
            self._incoming.write(data)
        else:
            self._is_ended = True
            self._incoming.write_eof()

    @property
    def has_output(self) -> bool:
        return self._outgoing.pending > 0 or self._sent < len(self._output)

    @property
    def pending_output(self) -> int:
        return len(self._output) - self._sent + self._outgoing.pending

    def peek_output(self) -> Buffer:
        """What is to be sent next; tell `drop_output` how much of it went out."""
        if self._sent == len(self._output):
            self._output = self._outgoing.read()
            self._sent = 0
        return self._output if not self._sent else memoryview(self._output)[self._sent :]

    def drop_output(self, size: int) -> None:
        self._sent += size
        if self._sent == len(self._output):
            self._output = b""
            self._sent = 0

    def close_notify(self) -> None:
        """Queue the closing alert, once (RFC 8446 §6.1)."""
        if self._is_closing:
            return
        self._is_closing = True
        try:
            self.ssl_object.unwrap()
        except ssl.SSLError:
            # It waits for the peer's own, which nobody is going to read.
            pass


def server_name(host: str) -> str:
    """A host as SNI and certificates spell it: without the dot of an absolute name (RFC 6066 §3)."""
    name = host.removesuffix(".")
    if not name or name.endswith("."):
        raise LocalProtocolError(f"The host {host[:80]!r} cannot be the name of a TLS server.")
    return name


def describe(exc: ssl.SSLError, peer: str) -> str:
    """A failed handshake in a sentence."""
    if isinstance(exc, ssl.SSLCertVerificationError):
        return f"The certificate of {peer} was not accepted: {exc.verify_message}."
    if isinstance(exc, (ssl.SSLEOFError, ssl.SSLZeroReturnError)):
        return f"{peer} closed the connection in the middle of the TLS handshake."
    # An error that the ssl module has no name for has OpenSSL's words: `[SSL] its words (_ssl.c:1006)`.
    name = exc.reason or str(exc).partition("] ")[2].partition(" (_ssl")[0] or str(exc)
    reason = name.replace("_", " ").lower()
    hint = _HINTS.get(reason.replace(" ", "_").upper())
    return f"The TLS handshake with {peer} failed: {reason}{f' ({hint})' if hint else ''}."


_HINTS = {
    "WRONG_VERSION_NUMBER": "the port does not seem to speak TLS",
    "HTTP_REQUEST": "the port speaks plain HTTP",
    "UNSUPPORTED_PROTOCOL": "no TLS version in common",
    "TLSV1_ALERT_PROTOCOL_VERSION": "no TLS version in common",
    "TLSV13_ALERT_CERTIFICATE_REQUIRED": "the server wants a client certificate",
    "SSLV3_ALERT_HANDSHAKE_FAILURE": "the server accepts none of what was offered",
    "TLSV1_ALERT_NO_APPLICATION_PROTOCOL": "the server speaks none of the protocols offered",
}
