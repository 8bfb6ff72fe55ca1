"""Two hosts with a cable between them: network namespaces, which need root and iproute2.

A thread that is `inside` a host has its network, and so have the sockets and threads it makes there.
"""

from __future__ import annotations

import ctypes
import errno
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

CLONE_NEWNET = 0x40000000


class Host:
    """One end of the cable."""

    def __init__(self, name: str, number: int) -> None:
        self.name = name
        self.ipv4 = f"10.99.0.{number}"
        self.ipv6 = f"fd99::{number}"

    def ip(self, *arguments: str) -> None:
        run("ip", "-n", self.name, *arguments)

    def tc(self, *arguments: str) -> None:
        run("tc", "-n", self.name, *arguments)

    @contextmanager
    def inside(self) -> Iterator[None]:
        """Have this thread on this host."""
        with open("/proc/thread-self/ns/net", "rb") as home:
            with Path("/run/netns", self.name).open("rb") as there:
                _enter(there.fileno())
            try:
                yield
            finally:
                _enter(home.fileno())


class Cable:
    """A client and a server. `near` and `far` are their interfaces."""

    near, far = "near0", "far0"

    def __init__(self) -> None:
        # Runs beside one another do not meet.
        self.client = Host(f"httpcore-{os.getpid()}-c", 1)
        self.server = Host(f"httpcore-{os.getpid()}-s", 2)
        # What `mend` has to undo.
        self._lost: list[str] = []
        self._is_pulled = False
        self._is_slow = False

    def lay(self) -> None:
        run("ip", "netns", "add", self.client.name)
        run("ip", "netns", "add", self.server.name)
        self.client.ip(
            "link", "add", self.near, "type", "veth", "peer", "name", self.far, "netns", self.server.name
        )
        for host, interface in ((self.client, self.near), (self.server, self.far)):
            host.ip("link", "set", "lo", "up")
            host.ip("address", "add", f"{host.ipv4}/24", "dev", interface)
            # Without waiting for the detection of duplicates.
            host.ip("address", "add", f"{host.ipv6}/64", "dev", interface, "nodad")
            host.ip("link", "set", interface, "up")
        self._meet()

    def _meet(self) -> None:
        """Have the hosts learn each other's hardware addresses, which takes a second if a packet is lost."""
        with self.client.inside():
            for address in (self.server.ipv4, self.server.ipv6):
                family = socket.AF_INET6 if ":" in address else socket.AF_INET
                with socket.socket(family) as sock:
                    sock.settimeout(10.0)
                    assert sock.connect_ex((address, 1)) == errno.ECONNREFUSED

    def remove(self) -> None:
        for host in (self.client, self.server):
            subprocess.run(["ip", "netns", "del", host.name], capture_output=True, check=False)

    def lose(self, address: str) -> None:
        """Have what is sent to `address` vanish: nobody has the hardware address it goes to."""
        self.client.ip(
            "neigh", "replace", address, "lladdr", "02:00:00:00:00:99", "dev", self.near, "nud", "permanent"
        )
        self._lost.append(address)

    def slow_down(self, delay: str) -> None:
        """Have what the server sends take its time; `RuntimeError` where the kernel cannot."""
        self.server.tc("qdisc", "add", "dev", self.far, "root", "netem", "delay", delay)
        self._is_slow = True

    def pull(self) -> None:
        self._is_pulled = True
        self.server.ip("link", "set", self.far, "down")

    def plug(self) -> None:
        self.server.ip("link", "set", self.far, "up")
        # A link that went down took its IPv6 addresses along.
        self.server.ip("address", "replace", f"{self.server.ipv6}/64", "dev", self.far, "nodad")
        self._is_pulled = False

    def mend(self) -> None:
        """Make the cable as it was laid, for the next who needs one."""
        while self._lost:
            self.client.ip("neigh", "del", self._lost.pop(), "dev", self.near)
        if self._is_slow:
            self.server.tc("qdisc", "del", "dev", self.far, "root")
            self._is_slow = False
        if self._is_pulled:
            self.plug()
        self._meet()


def reason_against() -> str | None:
    """Why there can be no namespaces here; `None` if there can."""
    if sys.platform != "linux":
        return "network namespaces are Linux's"
    if os.geteuid() != 0:
        return "making network namespaces needs root"
    if shutil.which("ip") is None or shutil.which("tc") is None:
        return "iproute2 is not installed"
    name = f"httpcore-{os.getpid()}-t"
    made = subprocess.run(["ip", "netns", "add", name], capture_output=True, text=True, check=False)
    if made.returncode:
        return f"network namespaces are not allowed here: {made.stderr.strip()}"
    subprocess.run(["ip", "netns", "del", name], check=True)
    return None


def run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}: {done.stderr.strip()}")


def _enter(number: int) -> None:
    # os.setns came with Python 3.12.
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.setns(number, CLONE_NEWNET):
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
