"""A TLS server that says exactly which bytes go out when: records split, withheld, spoilt.

`SSLSocket` sends what it has as soon as it has it. Here the script holds the ciphertext in its hands.
"""

from __future__ import annotations

import ssl

from .scripted import Peer


class Records:
    """The server's half of TLS over a peer's plain socket."""

    def __init__(self, peer: Peer, context: ssl.SSLContext) -> None:
        self.peer = peer
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self.tls = context.wrap_bio(self._incoming, self._outgoing, server_side=True)

    def handshake(self) -> bytes:
        """Shake hands; what the server would send of its own accord then (tickets) is returned, not sent."""
        while True:
            try:
                self.tls.do_handshake()
            except ssl.SSLWantReadError:
                self.peer.send(self._outgoing.read())
                self._receive()
            else:
                return self._outgoing.read()

    def encrypt(self, data: bytes) -> bytes:
        """The records that carry `data`; the script sends them as it likes."""
        self.tls.write(data)
        return self._outgoing.read()

    def alert(self) -> bytes:
        """A fatal alert, which OpenSSL utters when it is given a record it cannot decrypt."""
        self._incoming.write(b"\x17\x03\x03\x00\x20" + b"\0" * 32)
        try:
            self.tls.read(1)
        except ssl.SSLError:
            pass
        return self._outgoing.read()

    def recv_head(self) -> bytes:
        """A request's head; `b""` if the client leaves first."""
        data = b""
        while not data.endswith(b"\r\n\r\n"):
            try:
                piece = self.tls.read(65536)
            except ssl.SSLWantReadError:
                self._receive()
                continue
            except ssl.SSLError:
                return b""
            if not piece:
                return b""
            data += piece
        return data

    def serve(self) -> None:
        """Answer every request with its own target."""
        while head := self.recv_head():
            body = head.split(b" ")[1]
            self.peer.send(
                self.encrypt(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
            )

    def _receive(self) -> None:
        data = self.peer.recv()
        if data:
            self._incoming.write(data)
        else:
            self._incoming.write_eof()
