"""Servers that speak HTTP/2, each by ALPN on one free loopback port and with prior knowledge on another.

All of them serve `/hello` and `/big`, refuse what is sent to `/refuse`, and tell in a way of their own what was
uploaded to them.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import sys
import tempfile
from pathlib import Path
from time import monotonic

import trustme

from .servers import PATIENCE, NginxServer, Program, free_port, program, write_site


class HTTP2Server:
    """What a test asks of any of them."""

    name: str
    tls_port: int
    prior_port: int
    method = b"PUT"
    breakdown: str | None = None
    """What the server says when it breaks what it has begun, in a reload, by a fault of its own."""

    def url(self, target: bytes, *, tls: bool = True) -> tuple[bytes, bytes, int, bytes]:
        if tls:
            return (b"https", b"localhost", self.tls_port, target)
        return (b"http", b"localhost", self.prior_port, target)

    def upload_target(self, name: str) -> bytes:
        return b"/up/" + name.encode()

    def received(self, name: str, answer: bytes) -> bytes:
        """The SHA-256 of the upload `name`, to which the server has given this answer."""
        raise NotImplementedError

    def reload(self) -> None:
        """Have the server start afresh, letting what has begun come to its end."""
        raise NotImplementedError


class Nginx(HTTP2Server):
    name = "nginx"

    def __init__(self, server: NginxServer) -> None:
        self._server = server
        self.tls_port, self.prior_port = server.http2_port, server.prior_port

    def received(self, name: str, answer: bytes) -> bytes:
        return _digest(self._server.uploads / name)

    def reload(self) -> None:
        self._server.reload()


class Haproxy(HTTP2Server):
    """Speaks HTTP/2 with us and HTTP/1.1 with the nginx behind it."""

    name = "haproxy"

    def __init__(self, directory: Path, authority: trustme.CA, behind: NginxServer) -> None:
        self._behind = behind
        self._reload_count = 0
        self.tls_port, self.prior_port = free_port(), free_port()
        key = directory / "front.pem"
        key.write_bytes(authority.issue_cert("localhost").private_key_and_cert_chain_pem.bytes())
        path = directory / "haproxy.cfg"
        path.write_text(
            f"""
global
    maxconn 4000
    tune.h2.max-concurrent-streams 100
defaults
    mode http
    timeout connect 10s
    timeout client 60s
    timeout server 60s
    timeout http-request 60s
listen front
    bind 127.0.0.1:{self.tls_port} ssl crt {key} alpn h2,http/1.1
    bind 127.0.0.1:{self.prior_port} proto h2
    http-request deny deny_status 403 if {{ path /refuse }}
    server back 127.0.0.1:{behind.port}
""",
            encoding="utf-8",
        )
        # With a master (-W), which can be told to start another worker.
        command = [program("haproxy"), "-W", "-db", "-f", str(path)]
        self._program = Program(command, directory, [self.tls_port, self.prior_port])

    def __enter__(self) -> Haproxy:
        return self

    def __exit__(self, *_: object) -> None:
        self._program.stop()

    def received(self, name: str, answer: bytes) -> bytes:
        return _digest(self._behind.uploads / name)

    def reload(self) -> None:
        # The master is deaf until it has seen the last worker off.
        deadline = monotonic() + PATIENCE
        while self._program.output().count("Former worker") < self._reload_count:
            if monotonic() > deadline:
                raise RuntimeError(self._program.output())
            os.sched_yield()
        self._reload_count += 1
        os.kill(self._program.process.pid, signal.SIGUSR2)


class Nghttpd(HTTP2Server):
    """Two processes, since one speaks either with or without TLS. Both pad what they send, and add a trailer."""

    name = "nghttpd"
    method = b"POST"

    def __init__(self, directory: Path, authority: trustme.CA) -> None:
        self.tls_port, self.prior_port = free_port(), free_port()
        root = directory / "root"
        write_site(root)
        (root / "refuse").mkdir()
        key, chain = _write_certificate(directory, authority)
        options = ["-a", "127.0.0.1", "-d", str(root), "--echo-upload", "--padding", "200"]
        options += ["--trailer", "x-end: reached", "-w", "20", "-W", "24", "-c", "0"]
        command = [program("nghttpd"), *options]
        (directory / "tls").mkdir()
        self._secure = Program(
            [*command, str(self.tls_port), str(key), str(chain)], directory / "tls", [self.tls_port]
        )
        self._plain = Program([*command, "--no-tls", str(self.prior_port)], directory, [self.prior_port])

    def __enter__(self) -> Nghttpd:
        return self

    def __exit__(self, *_: object) -> None:
        self._secure.stop()
        self._plain.stop()

    def received(self, name: str, answer: bytes) -> bytes:
        return hashlib.sha256(answer).digest()


class Hypercorn(HTTP2Server):
    name = "hypercorn"
    method = b"POST"

    def __init__(self, directory: Path, authority: trustme.CA) -> None:
        self.tls_port, self.prior_port = free_port(), free_port()
        self._directory = directory
        write_site(directory / "root")
        key, chain = _write_certificate(directory, authority)
        path = directory / "hypercorn.toml"
        path.write_text(
            f"""
bind = "127.0.0.1:{self.tls_port}"
insecure_bind = "127.0.0.1:{self.prior_port}"
keyfile = "{key}"
certfile = "{chain}"
graceful_timeout = {PATIENCE}
h2_max_concurrent_streams = 100
keep_alive_max_requests = 1000000
""",
            encoding="utf-8",
        )
        application = f"{Path(__file__).with_name('http2_application.py')}:application"
        command = [sys.executable, "-W", "ignore", "-m", "hypercorn", "-c", str(path), application]
        self._program = Program(command, directory, [self.tls_port, self.prior_port])

    def __enter__(self) -> Hypercorn:
        return self

    def __exit__(self, *_: object) -> None:
        self._program.stop()

    def upload_target(self, name: str) -> bytes:
        return b"/digest"

    def received(self, name: str, answer: bytes) -> bytes:
        return answer

    def begin_to_end(self) -> None:
        """Take no new connections; what has begun may come to its end."""
        self._program.process.terminate()

    def release(self) -> None:
        """Let `/held` send the rest."""
        (self._directory / "release").touch()

    def wait_for_end(self) -> None:
        self._program.process.wait(PATIENCE)


class Apache(HTTP2Server):
    name = "apache"
    # In a GOAWAY with an error code, -902 of nghttp2, for streams that it had taken.
    breakdown = "The user callback function failed"

    def __init__(self, authority: trustme.CA) -> None:
        self.tls_port, self.prior_port = free_port(), free_port()
        # Started as root, Apache becomes another user, who has to reach the files.
        self._directory = directory = Path(tempfile.mkdtemp(prefix="apache-"))
        directory.chmod(0o755)
        write_site(directory / "root")
        for writable in (directory / "root" / "up", directory / "locks"):
            writable.mkdir()
            writable.chmod(0o777)
        key, chain = _write_certificate(directory, authority)
        modules = "".join(
            f"LoadModule {name}_module /usr/lib/apache2/modules/mod_{name}.so\n"
            for name in ("mpm_event", "http2", "ssl", "socache_shmcb", "authz_core", "dav", "dav_fs")
        )
        path = directory / "apache.conf"
        path.write_text(
            f"""
{modules}
ServerRoot {directory}
ServerName localhost
DefaultRuntimeDir {directory}
PidFile {directory}/pid
ErrorLog {directory}/error.log
User nobody
Group nogroup
ServerLimit 2
StartServers 1
ThreadsPerChild 50
MaxRequestWorkers 100
ThreadLimit 50
Listen 127.0.0.1:{self.tls_port}
Listen 127.0.0.1:{self.prior_port}
Protocols h2 h2c http/1.1
H2MaxSessionStreams 100
DocumentRoot {directory}/root
DavLockDB {directory}/locks/lock
<Location /up>
    Dav On
</Location>
<Location /refuse>
    Require all denied
</Location>
<VirtualHost 127.0.0.1:{self.tls_port}>
    SSLEngine on
    SSLCertificateFile {chain}
    SSLCertificateKeyFile {key}
</VirtualHost>
""",
            encoding="utf-8",
        )
        command = [program("apache2"), "-DFOREGROUND", "-f", str(path)]
        self._program = Program(command, directory, [self.tls_port, self.prior_port])

    def __enter__(self) -> Apache:
        return self

    def __exit__(self, *_: object) -> None:
        self._program.stop()
        shutil.rmtree(self._directory)

    def received(self, name: str, answer: bytes) -> bytes:
        return _digest(self._directory / "root" / "up" / name)

    def reload(self) -> None:
        os.kill(self._program.process.pid, signal.SIGUSR1)


def _write_certificate(directory: Path, authority: trustme.CA) -> tuple[Path, Path]:
    certificate = authority.issue_cert("localhost")
    key, chain = directory / "key.pem", directory / "chain.pem"
    certificate.private_key_pem.write_to_path(str(key))
    chain.write_bytes(b"".join(blob.bytes() for blob in certificate.cert_chain_pems))
    return key, chain


def _digest(path: Path) -> bytes:
    found = hashlib.sha256(path.read_bytes()).digest()
    path.unlink()
    return found
