"""A proxy that is no work to speak of: it grants each CONNECT, and carries all else to one port of loopback.

    python proxy.py PORT

prints the port that it listens on. A server that takes targets in absolute form makes it one that forwards, too.
"""

from __future__ import annotations

import socket
import sys
import threading

CHUNK = 65536


def carry(source: socket.socket, sink: socket.socket) -> None:
    """Carry bytes one way until their end."""
    try:
        while data := source.recv(CHUNK):
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)
    except OSError:
        pass


def serve(client: socket.socket, port: int) -> None:
    with client, socket.create_connection(("127.0.0.1", port)) as server:
        for sock in (client, server):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        # A head fits into what arrives first: there is one client, and it is ours.
        first = client.recv(CHUNK)
        if first.startswith(b"CONNECT "):
            client.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        else:
            server.sendall(first)
        back = threading.Thread(target=carry, args=(server, client))
        back.start()
        carry(client, server)
        back.join()


def main() -> None:
    port = int(sys.argv[1])
    with socket.create_server(("127.0.0.1", 0)) as listener:
        print(listener.getsockname()[1], flush=True)
        while True:
            client, _ = listener.accept()
            threading.Thread(target=serve, args=(client, port), daemon=True).start()


if __name__ == "__main__":
    main()
