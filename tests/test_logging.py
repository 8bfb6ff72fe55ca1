"""What `HTTPCORE_LOG_LEVEL` turns on when the package is imported."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from .peers.http2 import http2
from .peers.http2 import serve as serve_http2
from .peers.scripted import Server, serve

SCRIPT = """
import sys
import httpcore
heard = []
options = {"http1": False, "http2": True} if sys.argv[1] == "2" else {}
url = (b"http", b"127.0.0.1", int(sys.argv[2]), b"/path")
names = (b"Authorization", b"Proxy-Authorization", b"Cookie", b"X-Plain")
headers = [(b"Host", b"h"), (b"Content-Length", b"7"), *((name, b"hunter2") for name in names)]
with httpcore.SyncConnectionPool(**options) as pool:
    hook = lambda name, info: heard.append(name)
    _, _, stream, _ = pool.request(b"POST", url, headers, [b"hunter2"], {"trace": hook})
    assert b"".join(stream) == b"/path"
    try:
        pool.request(b"GET", (b"http", b"127.0.0.1", 1, b"/"), headers[:1])
    except httpcore.ConnectError:
        pass
assert "connection.connect_tcp.complete" in heard
"""


def run(version: str, port: int, **environment: str) -> str:
    kept = {name: value for name, value in os.environ.items() if not name.endswith("_LOG_LEVEL")}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, version, str(port)],
        env={**kept, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    return done.stderr


def test_it_is_off() -> None:
    with Server(serve) as server:
        assert run("1", server.port) == ""
        assert run("1", server.port, HTTPCORE_LOG_LEVEL="INFO") == ""
        assert run("1", server.port, HTTPCORE_LOG_LEVEL="", HTTPX_LOG_LEVEL="DEBUG") == ""


@pytest.mark.parametrize(
    "environment",
    [{"HTTPCORE_LOG_LEVEL": "DEBUG"}, {"HTTPX_LOG_LEVEL": "debug"}, {"HTTPCORE_LOG_LEVEL": "TRACE"}],
)
@pytest.mark.parametrize("version", ["1", "2"])
def test_it_shows_phases_and_no_secrets(version: str, environment: dict[str, str]) -> None:
    with Server(serve if version == "1" else http2(serve_http2)) as server:
        log = run(version, server.port, **environment)
    name = "http11" if version == "1" else "http2"
    for event in (
        f"DEBUG [httpcore] connection.connect_tcp.started host='127.0.0.1' port={server.port}",
        f"DEBUG [httpcore] {name}.send_request_headers.started request=<b'POST' b'/path' to 127.0.0.1:{server.port}>",
        f"DEBUG [httpcore] {name}.receive_response_headers.complete return_value=<ResponseHead 200, 1 headers>",
        "DEBUG [httpcore] connection.connect_tcp.failed exception=ConnectError('Connecting to 127.0.0.1:1 failed",
    ):
        assert event in strip_times(log)
    assert ("TRACE" in log) == ("TRACE" in environment.values())
    assert "hunter2" not in log


def strip_times(log: str) -> str:
    """`LEVEL [logger] message`, without the time in the middle."""
    lines = [line.split(" ", 5) for line in log.splitlines()]
    return "\n".join(f"{level} [{logger}] {message}" for level, _, _, logger, _, message in lines)
