"""Suites of tests, beside one another.

    .ci/suites.py           `make test`, the same on each other Python that is installed, and `make interop`
    .ci/suites.py pythons   the other Pythons alone

Almost half of a suite is waiting: for peers, for children, for limits that have to pass. So there are two for
each processor. What they hold against a clock leaves out how long they waited for one (`tests/stopwatch.py`).

What a suite says is kept, and shown whole once it has ended, that of `make test` last, so that the summary
of its tests is the last line of all. The exit code is 0 only if every suite has passed.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

ROOT = Path(__file__).parents[1]

AT_ONCE = 2 * (os.cpu_count() or 1)

MAKE = ("make", "--no-print-directory")

VERSIONS = ("3.10", "3.11", "3.12", "3.13", "3.14")

OURS = f"{sys.version_info.major}.{sys.version_info.minor}"
"""The version that `make test` uses, and so does this file."""

NOT_ELSEWHERE = ("interop", "soak")
"""What of the tests runs only on our own Python: the real servers and the long runs."""


class Suite:
    """Commands that follow one another, until one fails."""

    def __init__(self, name: str, *commands: tuple[str, ...]) -> None:
        self.name = name
        self.has_passed = False
        self._commands = commands
        self._seconds = 0.0
        self._output = tempfile.TemporaryFile()  # noqa: SIM115

    def run(self) -> None:
        begin = time.monotonic()
        self.has_passed = all(self._succeeds(command) for command in self._commands)
        self._seconds = time.monotonic() - begin

    def _succeeds(self, command: tuple[str, ...]) -> bool:
        done = subprocess.run(
            command,
            cwd=ROOT,
            # Suites of one Python would write into one cache.
            env={**os.environ, "PYTEST_ADDOPTS": "-p no:cacheprovider"},
            stdin=subprocess.DEVNULL,
            stdout=self._output,
            stderr=subprocess.STDOUT,
        )
        return done.returncode == 0

    def show(self) -> None:
        sys.stdout.flush()
        self._output.seek(0)
        with self._output:
            shutil.copyfileobj(self._output, sys.stdout.buffer)
        sys.stdout.flush()

    @property
    def verdict(self) -> str:
        return f"{self.name}: {'passed' if self.has_passed else 'FAILED'} after {self._seconds:.0f} s"


def main() -> int:
    pythons = {version: find_python(version) for version in VERSIONS if version != OURS}
    suites = [suite_on(version, python) for version, python in pythons.items() if python]
    print("Not installed:", ", ".join(name for name, python in pythons.items() if not python) or "none")
    if sys.argv[1:] == ["pythons"]:
        return 0 if have_passed(suites) else 1
    last = Suite("make test", (*MAKE, "test"))
    # The longest first, so that no processor is idle at the end.
    suites = [last, *suites, Suite("make interop", (*MAKE, "interop"))]
    return 0 if have_passed(suites, last=last) else 1


def have_passed(suites: Sequence[Suite], *, last: Suite | None = None) -> bool:
    """Run them, and show what they say; whether all have passed."""
    print("Running", ", ".join(suite.name for suite in suites), flush=True)
    with ThreadPoolExecutor(AT_ONCE) as executor:
        running = {executor.submit(suite.run): suite for suite in suites}
        try:
            for future in as_completed(running):
                future.result()
                suite = running[future]
                print(suite.verdict, flush=True)
                if suite is not last:
                    suite.show()
        except BaseException:
            # Whoever interrupts the suites that run means the others, too.
            executor.shutdown(cancel_futures=True)
            raise
    print()
    for suite in suites:
        print(suite.verdict)
    if last is not None:
        last.show()
    return all(suite.has_passed for suite in suites)


def suite_on(version: str, python: str) -> Suite:
    """The suite on another Python, in an environment of its own."""
    environment = f".venv-{version}"
    ignored = [f"--ignore=tests/{name}" for name in NOT_ELSEWHERE]
    return Suite(
        f"Python {version}",
        (*MAKE, f"VENV={environment}", f"PYTHON={python}", f"{environment}/.stamp"),
        (f"{environment}/bin/python", "-m", "pytest", "-q", *ignored),
    )


def find_python(version: str) -> str | None:
    """A Python of this version, on the path or of pyenv."""
    for candidate in candidates(version):
        # A shim may stand in for a Python that is not there.
        if subprocess.run([candidate, "-c", ""], stderr=subprocess.DEVNULL).returncode == 0:
            return candidate
    return None


def candidates(version: str) -> Iterator[str]:
    on_path = shutil.which(f"python{version}")
    if on_path:
        yield on_path
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    yield from map(str, pyenv.glob(f"versions/{version}.*/bin/python"))


if __name__ == "__main__":
    sys.exit(main())
