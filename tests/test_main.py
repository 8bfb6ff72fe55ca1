"""The command line, against scripted servers."""

from __future__ import annotations

import errno
import io
import os
import signal
import ssl
import sys
import threading
from pathlib import Path

import pytest
import trustme

from httpcore import _waterfall
from httpcore.__main__ import main
from httpcore._waterfall import Waterfall

from .peers.certificates import CA
from .peers.http2 import h2_context, http2
from .peers.http2 import serve as serve_http2
from .peers.scripted import Peer, Server, respond, serve

pytestmark = pytest.mark.usefixtures("nothing_left")


def test_the_body_goes_to_stdout(capfd: pytest.CaptureFixture[str]) -> None:
    with Server(serve) as server:
        assert main([f"http://127.0.0.1:{server.port}/a b?c=d"]) == 0
    out, err = capfd.readouterr()
    assert (out, err) == ("/a%20b?c=d", "")
    assert server.peers[0].received.startswith(b"GET /a%20b?c=d HTTP/1.1\r\nHost: 127.0.0.1:")


def test_verbose_shows_heads_and_phases_but_no_secrets(capfd: pytest.CaptureFixture[str]) -> None:
    with Server(serve) as server:
        arguments = ["-v", "-X", "PUT", "-d", "hello", "-H", "Authorization: Basic c2VjcmV0", "-H", "X: y"]
        assert main([*arguments, f"http://127.0.0.1:{server.port}/a"]) == 0
    out, err = capfd.readouterr()
    assert out == "/a"
    for line in (
        "> PUT /a",
        "> X: y",
        "> Content-Length: 5",
        "< HTTP/1.1 200 OK",
        "connect",
        "waiting",
        "body",
    ):
        assert line in err
    assert "c2VjcmV0" not in err
    assert b"Authorization: Basic c2VjcmV0" in server.peers[0].received


def test_cacert(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    ca = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ca.issue_cert("localhost").configure_cert(context)
    path = tmp_path / "ca.pem"
    ca.cert_pem.write_to_path(str(path))
    with Server(serve, context=context) as server:
        assert main(["--cacert", str(path), f"https://localhost:{server.port}/a"]) == 0
        assert main([f"https://localhost:{server.port}/a"]) == 1
    out, err = capfd.readouterr()
    assert out == "/a"
    assert "not accepted" in err


def test_a_proxy(capfd: pytest.CaptureFixture[str]) -> None:
    with Server(serve) as proxy:
        assert main(["--proxy", f"http://m%65:p%77@127.0.0.1:{proxy.port}", "http://origin.example/a"]) == 0
    assert capfd.readouterr().out == "http://origin.example/a"
    assert b"Proxy-Authorization: Basic bWU6cHc=" in proxy.peers[0].received


def test_http2_by_alpn(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "ca.pem"
    CA.cert_pem.write_to_path(str(path))
    with Server(http2(serve_http2), context=h2_context("h2")) as server:
        url = f"https://localhost:{server.port}/a"
        assert main(["-v", "--http2", "--cacert", str(path), url]) == 0
    out, err = capfd.readouterr()
    assert out == "/a"
    assert "< HTTP/2 200\n" in err
    shown = [line.split()[0] for line in err.splitlines() if line.startswith("  ")]
    assert shown == ["lookup", "connect", "tls", "preface", "settings", "send", "upload", "waiting", "body"]


def test_http2_alone_on_plain_http(capfd: pytest.CaptureFixture[str]) -> None:
    with Server(http2(serve_http2)) as server:
        assert main(["-v", "--http2-only", "-d", "hello", f"http://127.0.0.1:{server.port}/a"]) == 0
    out, err = capfd.readouterr()
    assert out == "/a"
    assert "< HTTP/2 200\n" in err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nonsense"], "not an absolute URL"),
        (["ftp://h/"], "Unsupported URL protocol"),
        (["http://127.0.0.1:1/"], "refused"),
        (["-H", "nothing", "http://127.0.0.1:1/"], "no colon"),
        (["--cacert", "/nowhere", "https://127.0.0.1:1/"], "'/nowhere': [Errno 2] No such file"),
    ],
)
def test_each_error_is_one_line(
    arguments: list[str], message: str, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 1
    out, err = capfd.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert message in err


def test_a_body_of_any_bytes() -> None:
    with Server(serve) as server:
        assert main(["-d", os.fsdecode(b"\xff\xfe\xe9"), f"http://127.0.0.1:{server.port}/"]) == 0
    assert server.peers[0].received.endswith(b"Content-Length: 3\r\n\r\n\xff\xfe\xe9")


def test_nobody_reads_stdout(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    class Pipe(io.BytesIO):
        def write(self, _: object) -> int:
            raise BrokenPipeError(errno.EPIPE, "Broken pipe")

    script = respond(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n1")
    with Server(script) as server, monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", io.TextIOWrapper(Pipe()))
        assert main([f"http://127.0.0.1:{server.port}/"]) == 1
    assert capfd.readouterr().err == "httpcore: [Errno 32] Broken pipe\n"


def test_an_interrupt_ends_it_quietly(capfd: pytest.CaptureFixture[str]) -> None:
    def script(peer: Peer) -> None:
        peer.recv_head()
        signal.pthread_kill(main_thread, signal.SIGINT)
        peer.server.hold()

    main_thread = threading.get_ident()
    # Whoever runs in the background of a shell ignores this signal, until told otherwise.
    previous = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with Server(script) as server:
            assert main([f"http://127.0.0.1:{server.port}/"]) == 130
    finally:
        signal.signal(signal.SIGINT, previous)
    assert capfd.readouterr().err == ""


def test_a_waterfall_begins_with_its_first_phase(monkeypatch: pytest.MonkeyPatch) -> None:
    times = iter([100.0, 100.0, 103.0, 103.0, 104.0])
    drawn = Waterfall()
    monkeypatch.setattr(_waterfall, "monotonic", lambda: next(times))
    for phase in ("connection.connect_tcp", "http11.receive_response_headers"):
        drawn(f"{phase}.started", {})
        drawn(f"{phase}.complete", {})
    connect, waiting = str(drawn).splitlines()
    assert connect == f"  connect   {'█' * 30}{' ' * 10}  3000.00 ms"
    assert waiting == f"  waiting   {' ' * 30}{'█' * 10}  1000.00 ms"


def test_junk_is_an_error(capfd: pytest.CaptureFixture[str]) -> None:
    def script(peer: Peer) -> None:
        peer.recv_head()
        peer.send(b"junk\r\n\r\n")

    with Server(script) as server:
        assert main([f"http://127.0.0.1:{server.port}/"]) == 1
    assert "does not speak HTTP/1.1" in capfd.readouterr().err


def test_errors_do_not_show_a_proxys_password(capfd: pytest.CaptureFixture[str]) -> None:
    for url in (
        "http://me:hunter2@",
        "me:hunter2@proxy",
        "ftp://me:hunter2@proxy",
        "http://me:hunter2@127.0.0.2:1",
    ):
        assert main(["--proxy", url, "http://origin.example/"]) == 1
        text = capfd.readouterr().err
        assert text.startswith("httpcore: ")
        assert "hunter2" not in text
