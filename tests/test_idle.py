"""What an idle connection costs."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

COUNT = 1000

BUDGET = 6.0
"""KiB of resident memory that are ours, beyond what a program without us needs for the same sockets."""


def test_the_memory_of_an_idle_connection() -> None:
    """`benchmarks/idle.py` is the long form, with ten thousand of them."""
    program = Path(__file__).parents[1] / "benchmarks" / "idle.py"
    run = subprocess.run(
        [sys.executable, str(program), str(COUNT)], capture_output=True, text=True, check=True, timeout=120
    )
    figures = {name: float(size) for name, size in re.findall(r"(.+): ([\d.]+) KiB", run.stdout)}
    for colour in ("sync", "asyncio"):
        assert figures[f"httpcore {colour}"] - figures[f"bare {colour}"] <= BUDGET, run.stdout
