"""Real servers from the distribution, each on a free loopback port, ended by its own process id."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Sequence
from pathlib import Path
from random import Random
from types import TracebackType
from typing import TYPE_CHECKING

import trustme

if TYPE_CHECKING:
    from typing_extensions import Self

BIG = 100 * 1024 * 1024
"""Bytes of the large bodies."""

PATIENCE = 10.0

PACKAGES = {
    "apache2": "apache2-bin",
    "danted": "dante-server",
    "haproxy": "haproxy",
    "microsocks": "microsocks",
    "nghttpd": "nghttp2-server",
    "nginx": "nginx-light",
    "squid": "squid",
    "stunnel4": "stunnel4",
    "tinyproxy": "tinyproxy",
}
"""What to install for a program."""


class Program:
    """A program that listens on `ports` once it is constructed; leaving the `with` block ends it by its id."""

    def __init__(self, command: list[str], directory: Path, ports: Sequence[int]) -> None:
        self._directory = directory
        self._log = open(directory / "output.log", "wb")  # noqa: SIM115
        self.process = subprocess.Popen(command, stdout=self._log, stderr=self._log, cwd=directory)
        try:
            for port in ports:
                wait_for(port, self.process)
        except RuntimeError as exc:
            self._log.close()
            raise RuntimeError(self.output()) from exc

    def output(self) -> str:
        """What the program has said so far."""
        return (self._directory / "output.log").read_text(encoding="utf-8", errors="replace")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        self.stop()

    def stop(self) -> None:
        self.process.terminate()
        try:
            self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self._log.close()


class NginxServer:
    """nginx with an http and an https server, on the same ports each time it is started.

    The http server also listens on the `addresses`, which are others of the loopback range. HTTP/2 is spoken on
    ports of its own: by ALPN on `http2_port`, and from the first byte on `prior_port`. With a `master`, it can
    be reloaded.
    """

    def __init__(
        self,
        directory: Path,
        authority: trustme.CA,
        *,
        addresses: Sequence[str] = (),
        master: bool = False,
        max_requests: int = 1_000_000_000,
    ) -> None:
        self._program = program("nginx")
        self._directory = directory
        self._addresses = ("127.0.0.1", *addresses)
        self._has_master = master
        self._max_requests = max_requests
        self.port, self.tls_port = free_port(), free_port()
        self.http2_port, self.prior_port = free_port(), free_port()
        certificate = authority.issue_cert("localhost", "127.0.0.1")
        certificate.private_key_pem.write_to_path(str(directory / "key.pem"))
        chain = b"".join(blob.bytes() for blob in certificate.cert_chain_pems)
        (directory / "chain.pem").write_bytes(chain)
        write_site(directory / "root")
        (directory / "nginx.conf").write_text(self._config(), encoding="utf-8")
        self._process: subprocess.Popen[bytes] | None = None

    def _config(self) -> str:
        d = self._directory
        statuses = "\n".join(
            f"location = /status/{code} {{ return {code}; }}"
            for code in (200, 204, 301, 304, 400, 404, 418, 500, 503)
        )
        paths = "\n".join(f"{name}_temp_path {d}/{name};" for name in ("proxy", "fastcgi", "uwsgi", "scgi"))
        listens = " ".join(f"listen {address}:{self.port};" for address in self._addresses)
        # A worker of another user could not enter the directory.
        processes = "master_process on; user root;" if self._has_master else "master_process off;"
        locations = f"""
            root {d}/root;
            {statuses}
            location = /close {{ keepalive_timeout 0; return 200 closing; }}
            location = /chunked {{ gzip on; gzip_min_length 1; gzip_types *; try_files /hello =404; }}
            location = /refuse {{ client_max_body_size 0; return 403; }}
            location /up/ {{ client_max_body_size 0; dav_methods PUT DELETE; }}
        """
        return f"""
            daemon off; {processes} worker_processes 1; pid {d}/pid; error_log {d}/error.log;
            events {{ worker_connections 16384; }}
            http {{
                keepalive_requests {self._max_requests}; http2_max_concurrent_streams 1000; keepalive_time 24h; keepalive_timeout 1h;
                access_log off; default_type text/plain; client_body_temp_path {d}/body; {paths}
                server {{ {listens} listen 127.0.0.1:{self.prior_port} http2; {locations} }}
                server {{
                    listen 127.0.0.1:{self.tls_port} ssl; listen 127.0.0.1:{self.http2_port} ssl http2;
                    ssl_certificate {d}/chain.pem; ssl_certificate_key {d}/key.pem; {locations}
                }}
            }}
        """

    def url(self, target: bytes, *, tls: bool = False) -> tuple[bytes, bytes, int, bytes]:
        if tls:
            return (b"https", b"localhost", self.tls_port, target)
        return (b"http", b"127.0.0.1", self.port, target)

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def uploads(self) -> Path:
        return self._directory / "root" / "up"

    def start(self) -> None:
        self.uploads.mkdir(exist_ok=True)
        self._process = subprocess.Popen(
            [
                self._program,
                "-c",
                str(self._directory / "nginx.conf"),
                "-e",
                str(self._directory / "error.log"),
            ]
        )
        for port in (self.port, self.tls_port, self.http2_port, self.prior_port):
            wait_for(port, self._process)

    def reload(self) -> None:
        """Have the master start other workers; the old ones finish what they have begun."""
        os.kill(self.pid, signal.SIGHUP)

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait(PATIENCE)
            self._process = None

    def __enter__(self) -> NginxServer:
        self.start()
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        self.stop()


def write_site(root: Path) -> None:
    """A small file and a large one, the same in each site."""
    root.mkdir()
    (root / "hello").write_bytes(b"Hello, world!")
    with open(root / "big", "wb") as file:
        block = Random(1).randbytes(1024 * 1024)
        for number in range(BIG // len(block)):
            file.write(number.to_bytes(8, "big") + block[8:])


def program(name: str) -> str:
    path = shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin:/usr/local/sbin")
    if path is None:
        raise RuntimeError(f"{name} is missing: apt-get install {PACKAGES[name]}")
    return path


def free_port() -> int:
    """A port that nobody listens on, another one each time.

    It lies below those that the kernel gives to clients: one of these might have it before the server does, and a
    client that knocks at such a port for long enough, as `wait_for` does, one day meets itself.
    """
    while True:
        port = _chance.randrange(15_000, 32_000)
        if port in _given:
            continue
        try:
            with socket.create_server(("127.0.0.1", port)):
                pass
        except OSError:
            continue
        _given.add(port)
        return port


_given: set[int] = set()

_chance = Random()


def wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    """Until the port answers; connecting is the wait."""
    while process.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), PATIENCE).close()
            return
        except ConnectionRefusedError:
            os.sched_yield()
    raise RuntimeError(f"The server ended with status {process.returncode}.")
