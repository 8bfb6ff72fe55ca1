"""Servers in processes of their own: how they say where they are, how they end, and how their clients see them."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any


def announce(ports: dict[str, int]) -> None:
    """In the server: say where it listens."""
    print(json.dumps(ports), flush=True)


async def wait_for_end() -> None:
    """In the server: serve until the client's end of the pipe closes."""
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)


class ServerProcess:
    """The server as its clients see it."""

    def __init__(self, process: subprocess.Popen[str], cafile: Path) -> None:
        assert process.stdout is not None
        self._stdin: IO[str] | None = process.stdin
        self._stdout = process.stdout
        self.cafile = cafile
        self.ports: dict[str, int] = json.loads(self._stdout.readline())

    def url(self, protocol: str, target: bytes = b"/") -> tuple[bytes, bytes, int, bytes]:
        scheme = b"http" if protocol == "http11" else b"https"
        return (scheme, b"127.0.0.1", self.ports[protocol], target)

    def finish(self) -> dict[str, Any]:
        """Have the server stop, and tell what it saw."""
        assert self._stdin is not None
        self._stdin.close()
        report: dict[str, Any] = json.loads(self._stdout.readline())
        return report


@contextmanager
def start_server(name: str, directory: Path, *arguments: str) -> Iterator[ServerProcess]:
    """Run the module of this name beside this one; its authority's certificate goes into `directory`."""
    cafile = directory / "authority.pem"
    command = [sys.executable, "-m", f"{__package__}.{name}", str(cafile), *arguments]
    root = Path(__file__).parents[2]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=root
    ) as process:
        try:
            yield ServerProcess(process, cafile)
        finally:
            process.kill()
