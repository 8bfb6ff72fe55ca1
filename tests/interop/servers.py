"""Real servers from the distribution, each on a free loopback port, ended by its own process id."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

import trustme

BIG = 100 * 1024 * 1024
"""Bytes of the large bodies."""

PATIENCE = 10.0


class NginxServer:
    """nginx with an http and an https server, on the same ports each time it is started.

    The http server also listens on the `addresses`, which are others of the loopback range.
    """

    def __init__(self, directory: Path, authority: trustme.CA, *, addresses: Sequence[str] = ()) -> None:
        program = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")
        if program is None:
            raise RuntimeError("nginx is missing: apt-get install nginx-light")
        self._program = program
        self._directory = directory
        self._addresses = ("127.0.0.1", *addresses)
        self.port, self.tls_port = free_port(), free_port()
        certificate = authority.issue_cert("localhost", "127.0.0.1")
        certificate.private_key_pem.write_to_path(str(directory / "key.pem"))
        chain = b"".join(blob.bytes() for blob in certificate.cert_chain_pems)
        (directory / "chain.pem").write_bytes(chain)
        (directory / "root").mkdir()
        (directory / "root" / "hello").write_bytes(b"Hello, world!")
        with open(directory / "root" / "big", "wb") as file:
            block = os.urandom(1024 * 1024)
            for _ in range(BIG // len(block)):
                file.write(block)
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
        locations = f"""
            root {d}/root;
            {statuses}
            location = /close {{ keepalive_timeout 0; return 200 closing; }}
            location = /chunked {{ gzip on; gzip_min_length 1; gzip_types *; try_files /hello =404; }}
            location /up/ {{ client_max_body_size 0; dav_methods PUT DELETE; }}
        """
        return f"""
            daemon off; master_process off; worker_processes 1; pid {d}/pid; error_log {d}/error.log;
                        events {{ worker_connections 16384; }}
            http {{
                keepalive_requests 1000000000; keepalive_time 24h; keepalive_timeout 1h;
                access_log off; default_type text/plain; client_body_temp_path {d}/body; {paths}
                server {{ {listens} {locations} }}
                server {{
                    listen 127.0.0.1:{self.tls_port} ssl;
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
        for port in (self.port, self.tls_port):
            wait_for(port, self._process)

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


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        port: int = sock.getsockname()[1]
        return port


def wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    """Until the port answers; connecting is the wait."""
    while process.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), PATIENCE).close()
            return
        except ConnectionRefusedError:
            os.sched_yield()
    raise RuntimeError(f"The server ended with status {process.returncode}.")
