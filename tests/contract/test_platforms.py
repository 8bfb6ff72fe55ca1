"""Everything works where the platform lacks what only Linux, or only Unix, has."""

from __future__ import annotations

import subprocess
import sys

import pytest

MISSING = """
import os, select, socket
for module, names in (
    (select, ["poll"]),
    (socket, ["AF_UNIX", "MSG_DONTWAIT", "SO_RCVTIMEO", *(n for n in vars(socket) if n.startswith("TCP_KEEP"))]),
    (os, ["register_at_fork"]),
):
    for name in names:
        del vars(module)[name]

def socketpair():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        ours = socket.create_connection(listener.getsockname())
        return ours, listener.accept()[0]

socket.socketpair = socketpair
"""

PROGRAM = """
import threading

def serve(listener):
    while True:
        sock, _ = listener.accept()
        threading.Thread(target=talk, args=(sock,), daemon=True).start()

def talk(sock):
    with sock, sock.makefile("rb") as lines:
        while lines.readline():
            length = 0
            while (line := lines.readline()) != b"\\r\\n":
                if line.startswith(b"Content-Length"):
                    length = int(line.split(b":")[1])
            body = lines.read(length)
            sock.sendall(b"HTTP/1.1 200 OK\\r\\nContent-Length: %d\\r\\n\\r\\n" % len(body) + body)

listener = socket.create_server(("127.0.0.1", 0))
threading.Thread(target=serve, args=(listener,), daemon=True).start()
port = listener.getsockname()[1]

import httpcore

url = (b"http", b"127.0.0.1", port, b"/")
unix = (b"http", b"anything", 80, b"/")
body = bytes(range(256)) * 40_000
headers = [(b"Host", b"h"), (b"Content-Length", b"%d" % len(body))]
stream = httpcore.PlainByteStream(body)
ext = {"timeout": {"connect": 20.0, "read": 20.0, "write": 20.0}}
"""

SYNC = """
with httpcore.SyncConnectionPool() as pool:
    for ext in (ext, None, ext):
        status, _, answer, _ = pool.request(b"POST", url, headers, stream, ext)
        assert (status, b"".join(answer)) == (200, body)
    assert list(pool.get_connection_info().values()) == [["HTTP/1.1, IDLE"]]
try:
    httpcore.SyncConnectionPool(uds="nowhere").request(b"GET", unix, [(b"Host", b"h")])
except httpcore.ConnectError as exc:
    assert "no Unix sockets" in str(exc)
else:
    raise AssertionError
from httpcore._backends.sync import SyncStream
from httpcore._blocking import run
from time import monotonic
ours, theirs = socketpair()
waiting = SyncStream(ours)
assert not run(waiting.listen(monotonic() + 0.01))
assert not run(waiting.wait(True, False, monotonic() + 0.01))
theirs.send(b"x")
assert run(waiting.listen(None))
assert run(waiting.wait(True, True, None))
assert not waiting.is_quiet()
assert waiting.try_receive(1) == b"x"
waiting.abort()
theirs.close()
"""

ASYNC = """
async def main():
    async with httpcore.AsyncConnectionPool() as pool:
        for _ in range(2):
            status, _, answer, _ = await pool.arequest(b"POST", url, headers, stream, ext)
            assert (status, b"".join([chunk async for chunk in answer])) == (200, body)
        assert list((await pool.get_connection_info()).values()) == [["HTTP/1.1, IDLE"]]

{library}.run({call})
"""

PROGRAMS = {
    "sync": SYNC,
    "asyncio": ASYNC.format(library="asyncio", call="main()"),
    "trio": ASYNC.format(library="trio", call="main"),
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_platform_without_what_linux_has(name: str) -> None:
    # What is foreign may need what is missing, and is there first.
    first = f"import {name}\n" if name != "sync" else ""
    if name == "asyncio":
        # Its debug mode tells of callbacks that took long, as they do on a busy machine.
        first += "import logging\nlogging.getLogger('asyncio').setLevel(logging.ERROR)\n"
    code = first + MISSING + PROGRAM + PROGRAMS[name]
    run = subprocess.run(
        [sys.executable, "-X", "dev", "-W", "error", "-c", code],
        capture_output=True,
        text=True,
        timeout=120.0,
        check=False,
    )
    assert (run.returncode, run.stderr) == (0, "")
