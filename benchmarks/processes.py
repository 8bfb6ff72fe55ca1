"""Clients in processes of their own, and the environments that the peers live in."""

from __future__ import annotations

import os
import select
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

CLIENT_CORE = 0
"""The servers have the other ones."""


class Client:
    """A client process, pinned to a core, that answers each number of requests with what they took."""

    def __init__(self, name: str, command: Sequence[str], *, patience: float) -> None:
        self.name = name
        self.failure = ""
        self._patience = patience
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=lambda: os.sched_setaffinity(0, {CLIENT_CORE}),
        )

    def measure(self, count: int) -> list[float] | None:
        """The figures of a round; `None`, and a `failure`, if there are none within `patience` seconds."""
        if self.failure:
            return None
        process = self._process
        try:
            process.stdin.write(f"{count}\n")
            process.stdin.flush()
            ready, _, _ = select.select([process.stdout], [], [], self._patience)
            line = process.stdout.readline() if ready else ""
        except OSError:
            line = ""
        if not line:
            process.kill()
            lines = process.stderr.read().strip().splitlines()
            self.failure = lines[-1] if lines else f"no answer within {self._patience} s"
            return None
        return [float(word) for word in line.split()]

    def close(self) -> None:
        process = self._process
        process.stdin.close()
        process.kill()
        process.wait()
        process.stdout.close()
        process.stderr.close()


@contextmanager
def awake(is_wanted: bool) -> Iterator[None]:
    """Have something run on the client's core whenever the client does not, so that it never halts."""
    if not is_wanted:
        yield
        return
    program = "import os, sys\nwhile os.getppid() == int(sys.argv[1]):\n    for _ in range(10**6): pass"
    spinner = subprocess.Popen(
        ["nice", "-n", "19", sys.executable, "-c", program, str(os.getpid())],
        preexec_fn=lambda: os.sched_setaffinity(0, {CLIENT_CORE}),
    )
    try:
        yield
    finally:
        spinner.kill()
        spinner.wait()


def install(environment: Path, packages: Sequence[str]) -> None:
    """Make the environment of the peers; one that does not install is said, and fails when it is run."""
    if not environment.exists():
        subprocess.run([sys.executable, "-m", "venv", str(environment)], check=True)
    for package in packages:
        command = [str(environment / "bin" / "pip"), "install", "-q", "--disable-pip-version-check", package]
        if subprocess.run(command, capture_output=True, check=False).returncode:
            print(f"{package}: did not install")
