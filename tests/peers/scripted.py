"""A server that does exactly what a script says, one thread a connection.

A script is called with a `Peer` for each connection. All waiting is for bytes or for events, never for time.
"""

from __future__ import annotations

import socket
import ssl
import struct
import threading
from collections.abc import Callable
from types import TracebackType

Script = Callable[["Peer"], None]

PATIENCE = 10.0
"""Seconds after which a script that waits for something gives up."""


class Peer:
    """The server's end of one connection."""

    def __init__(self, server: Server, sock: socket.socket, number: int) -> None:
        self.server = server
        self.sock = sock
        self.number = number
        self.received = b""
        self._buffer = b""

    def recv(self) -> bytes:
        """Some bytes, or `b""` at the end."""
        try:
            data = self._buffer or self.sock.recv(65536)
        except OSError:
            data = b""
        self._buffer = b""
        self.received += data
        return data

    def recv_until(self, mark: bytes) -> bytes:
        """Everything up to and including `mark`; `b""` if the end comes first."""
        data = b""
        while mark not in data:
            piece = self.recv()
            if not piece:
                return b""
            data += piece
        end = data.index(mark) + len(mark)
        self.unread(data[end:])
        return data[:end]

    def recv_exactly(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            piece = self.recv()
            if not piece:
                return data
            data += piece
        self.unread(data[size:])
        return data[:size]

    def recv_head(self) -> bytes:
        return self.recv_until(b"\r\n\r\n")

    def recv_request(self) -> tuple[bytes, bytes]:
        """A request's head, and its body as Content-Length or chunked says."""
        head = self.recv_head()
        lowered = head.lower()
        if b"transfer-encoding: chunked" in lowered:
            body = b""
            while size := int(self.recv_until(b"\r\n") or b"0", 16):
                body += self.recv_exactly(size + 2)[:-2]
            self.recv_until(b"\r\n")
            return head, body
        if b"content-length:" in lowered:
            size = int(lowered.split(b"content-length:")[1].split(b"\r\n")[0])
            return head, self.recv_exactly(size)
        return head, b""

    def recv_to_end(self) -> bytes:
        data = b""
        while piece := self.recv():
            data += piece
        return data

    def send(self, data: bytes) -> None:
        try:
            self.sock.sendall(data)
        except OSError:
            pass

    def send_bytewise(self, data: bytes) -> None:
        for i in range(len(data)):
            self.send(data[i : i + 1])

    def answer(self, body: bytes = b"ok", *, extra: bytes = b"") -> None:
        """A complete response."""
        self.send(b"HTTP/1.1 200 OK\r\n%bContent-Length: %d\r\n\r\n%b" % (extra, len(body), body))

    def half_close(self) -> None:
        try:
            self.sock.shutdown(socket.SHUT_WR)
        except OSError:
            pass

    def reset(self) -> None:
        """Close with a RST."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close()

    def close(self) -> None:
        if isinstance(self.sock, ssl.SSLSocket):
            # Without close_notify: that is `say_goodbye`.
            self.sock._sslobj = None  # type: ignore[attr-defined]
        self.sock.close()

    def say_goodbye(self) -> None:
        """Send TLS's close_notify."""
        assert isinstance(self.sock, ssl.SSLSocket)
        try:
            self.sock.unwrap()
        except OSError:
            pass

    def serve(self) -> None:
        """Answer every request with its own target, until the client leaves."""
        while head := self.recv_request()[0]:
            self.answer(head.split(b" ")[1])

    def unread(self, data: bytes) -> None:
        """Have it received again."""
        self._buffer = data + self._buffer
        self.received = self.received[: len(self.received) - len(data)]


class Server:
    """Listens on loopback; a context manager. `script` runs for each connection, in a thread of its own."""

    def __init__(
        self,
        script: Script,
        *,
        context: ssl.SSLContext | None = None,
        address: str = "127.0.0.1",
        port: int = 0,
        path: str | None = None,
        backlog: int = 128,
    ) -> None:
        self._script = script
        self._context = context
        if path is not None:
            self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            self._listener.bind(path)
            self._listener.listen(backlog)
            self.port = 0
        else:
            family = socket.AF_INET6 if ":" in address else socket.AF_INET
            self._listener = socket.create_server((address, port), family=family, backlog=backlog)
            self.port = self._listener.getsockname()[1]
        self.address = address
        self.peers: list[Peer] = []
        self.errors: list[BaseException] = []
        self.release = threading.Event()
        """For scripts that hold back until the test says so; set at the end in any case."""
        self._threads: list[threading.Thread] = []

    @property
    def host(self) -> bytes:
        return self.address.encode()

    def url(self, target: bytes = b"/", *, scheme: bytes | None = None) -> tuple[bytes, bytes, int, bytes]:
        if scheme is None:
            scheme = b"http" if self._context is None else b"https"
        return (scheme, self.host, self.port, target)

    @property
    def accepted(self) -> int:
        return len(self.peers)

    def hold(self) -> None:
        """Wait for the test to go on."""
        assert self.release.wait(PATIENCE)

    def __enter__(self) -> Server:
        thread = threading.Thread(target=self._accept)
        self._threads.append(thread)
        thread.start()
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        self.release.set()
        self._shut(self._listener)
        self._listener.close()
        # Whoever is being accepted is a peer, too.
        self._join(self._threads[0])
        for peer in self.peers:
            self._shut(peer.sock)
        for thread in self._threads:
            self._join(thread)
        for peer in self.peers:
            peer.sock.close()
        if exc is None and self.errors:
            raise self.errors[0]

    @staticmethod
    def _join(thread: threading.Thread) -> None:
        thread.join(PATIENCE)
        assert not thread.is_alive()

    @staticmethod
    def _shut(sock: socket.socket) -> None:
        try:
            sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            if sock.family != getattr(socket, "AF_UNIX", None):
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            peer = Peer(self, sock, len(self.peers))
            self.peers.append(peer)
            thread = threading.Thread(target=self._run, args=(peer,))
            self._threads.append(thread)
            thread.start()

    def _run(self, peer: Peer) -> None:
        try:
            if self._context is not None:
                peer.sock = self._context.wrap_socket(peer.sock, server_side=True)
            self._script(peer)
        except (OSError, ssl.SSLError):
            # The client left, or did not accept the handshake.
            pass
        except BaseException as exc:
            self.errors.append(exc)
        finally:
            peer.close()


def serve(peer: Peer) -> None:
    """The script of a well-behaved server."""
    peer.serve()


def first_then_serve(first: Script) -> Script:
    """A script for the first request; connections, and requests, after it are served well."""

    def script(peer: Peer) -> None:
        if peer.number == 0:
            first(peer)
        else:
            peer.serve()

    return script


def respond(data: bytes, *, then: str = "serve") -> Script:
    """The first request is answered with `data`; then the connection is served on, closed or reset."""

    def script(peer: Peer) -> None:
        peer.recv_request()
        peer.send(data)
        if then == "close":
            peer.close()
        elif then == "reset":
            peer.reset()
        else:
            peer.serve()

    return first_then_serve(script)


class black_hole:  # noqa: N801
    """An address that takes no connection on a port, and refuses none: its queue is full."""

    def __init__(self, port: int, address: str = "127.0.0.4") -> None:
        self._listener = socket.create_server((address, port), backlog=0)
        self._address = address
        self._fillers: list[socket.socket] = []
        for _ in range(4):
            sock = socket.socket()
            sock.setblocking(False)
            self._fillers.append(sock)
            try:
                sock.connect((address, self._listener.getsockname()[1]))
            except BlockingIOError:
                pass

    def __enter__(self) -> str:
        return self._address

    def __exit__(self, *_: object) -> None:
        for sock in (*self._fillers, self._listener):
            sock.close()
