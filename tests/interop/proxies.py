"""Real proxies from the distribution, and one from PyPI, each on a free loopback port with its own configuration.

Every function gives a `ProxyServer` that is already listening; leaving its `with` block ends the process by its id.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path

import trustme

from .servers import Program, free_port, program

USER, PASSWORD = "someone", "secret"


class ProxyServer(Program):
    def __init__(
        self,
        scheme: bytes,
        port: int,
        command: list[str],
        directory: Path,
        *,
        leftover: Path | None = None,
    ) -> None:
        self._leftover = leftover
        self.url = (scheme, b"localhost", port, b"/")
        super().__init__(command, directory, [port])

    def stop(self) -> None:
        super().stop()
        if self._leftover is not None:
            shutil.rmtree(self._leftover)


def squid(directory: Path, *, password: bool = False) -> ProxyServer:
    """Forwards and tunnels to any port; with `password`, only for who knows it."""
    port = free_port()
    # As root squid becomes another user, who has to reach the helper.
    public = Path(tempfile.mkdtemp(prefix="squid-"))
    public.chmod(0o755)
    helper = public / "basic.sh"
    helper.write_text(
        f'#!/bin/sh\nwhile read line; do [ "$line" = "{USER} {PASSWORD}" ] && echo OK || echo ERR; done\n',
        encoding="utf-8",
    )
    helper.chmod(0o755)
    allowed = "http_access allow all"
    if password:
        allowed = f"""
auth_param basic program {helper}
auth_param basic children 1
acl known proxy_auth REQUIRED
http_access allow known
http_access deny all"""
    (directory / "squid.conf").write_text(
        f"""
http_port 127.0.0.1:{port}
{allowed}
cache deny all
cache_effective_user proxy
cache_log /dev/null
access_log none
pid_filename none
coredump_dir {public}
pinger_enable off
shutdown_lifetime 0 seconds
visible_hostname localhost
""",
        encoding="utf-8",
    )
    command = [program("squid"), "-N", "-n", f"squid{port}", "-d", "1", "-f", str(directory / "squid.conf")]
    return ProxyServer(b"http", port, command, directory, leftover=public)


def tinyproxy(directory: Path) -> ProxyServer:
    port = free_port()
    path = directory / "tinyproxy.conf"
    path.write_text(f"Port {port}\nListen 127.0.0.1\nTimeout 600\nMaxClients 100\n", encoding="utf-8")
    return ProxyServer(b"http", port, [program("tinyproxy"), "-d", "-c", str(path)], directory)


def haproxy(directory: Path, authority: trustme.CA, behind: ProxyServer) -> ProxyServer:
    """Terminates TLS before another proxy, which so becomes an https one."""
    port = free_port()
    pem = _certificate(directory, authority)
    path = directory / "haproxy.cfg"
    path.write_text(
        f"""
defaults
    mode tcp
    timeout connect 10s
    timeout client 60s
    timeout server 60s
listen front
    bind 127.0.0.1:{port} ssl crt {pem}
    server back 127.0.0.1:{behind.url[2]}
""",
        encoding="utf-8",
    )
    return ProxyServer(b"https", port, [program("haproxy"), "-db", "-f", str(path)], directory)


def stunnel(directory: Path, authority: trustme.CA, behind: ProxyServer) -> ProxyServer:
    """As `haproxy`, by another TLS terminator."""
    port = free_port()
    pem = _certificate(directory, authority)
    path = directory / "stunnel.conf"
    path.write_text(
        f"foreground = yes\npid =\n[front]\naccept = 127.0.0.1:{port}\nconnect = 127.0.0.1:{behind.url[2]}\ncert = {pem}\n",
        encoding="utf-8",
    )
    return ProxyServer(b"https", port, [program("stunnel4"), str(path)], directory)


def dante(directory: Path) -> ProxyServer:
    port = free_port()
    path = directory / "danted.conf"
    path.write_text(
        f"""
logoutput: stderr
internal: 127.0.0.1 port = {port}
external: 127.0.0.1
clientmethod: none
socksmethod: none
user.privileged: root
user.unprivileged: nobody
client pass {{ from: 0.0.0.0/0 to: 0.0.0.0/0 }}
socks pass {{ from: 0.0.0.0/0 to: 0.0.0.0/0 }}
""",
        encoding="utf-8",
    )
    command = [program("danted"), "-f", str(path), "-p", str(directory / "danted.pid")]
    return ProxyServer(b"socks5h", port, command, directory)


def microsocks(directory: Path, *, password: bool = False) -> ProxyServer:
    port = free_port()
    secret = ["-u", USER, "-P", PASSWORD] if password else []
    command = [program("microsocks"), "-i", "127.0.0.1", "-p", str(port), *secret]
    return ProxyServer(b"socks5", port, command, directory)


def proxy_py(directory: Path, *, password: bool = False) -> ProxyServer:
    port = free_port()
    secret = ["--basic-auth", f"{USER}:{PASSWORD}"] if password else []
    options = ["--hostname", "127.0.0.1", "--port", str(port), "--num-workers", "1", "--num-acceptors", "1"]
    data = ["--data-dir", str(directory), "--threadless"]
    command = [sys.executable, "-W", "ignore", "-m", "proxy", *options, *data, *secret]
    return ProxyServer(b"http", port, command, directory)


def _certificate(directory: Path, authority: trustme.CA) -> Path:
    path = directory / "front.pem"
    path.write_bytes(authority.issue_cert("localhost").private_key_and_cert_chain_pem.bytes())
    path.chmod(0o600)
    return path
