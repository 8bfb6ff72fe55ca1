"""Processes that were forked while connections were open."""

from __future__ import annotations

import subprocess
import sys

import pytest

from ..peers.scripted import Server, serve
from .rows import row

pytestmark = pytest.mark.usefixtures("nothing_left")


@row("FRK-01", "FRK-03", on=["sync"])
def test_a_forked_child_leaves_its_parents_connections_alone() -> None:
    program = """
import os, sys, httpcore
pool = httpcore.SyncConnectionPool()
url = (b"http", b"127.0.0.1", int(sys.argv[1]), b"/a")
def get():
    _, _, stream, _ = pool.request(b"GET", url, [(b"Host", b"h")])
    return b"".join(stream)
assert get() == b"/a"
child = os.fork()
if child == 0:
    if sys.argv[2] == "close":
        pool.close()
    assert get() == b"/a"
    pool.close()
    os._exit(0)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
assert get() == b"/a"
pool.close()
"""
    with Server(serve) as server:
        for number, first in enumerate(("close", "use")):
            subprocess.run([sys.executable, "-c", program, str(server.port), first], check=True)
            assert server.accepted == 2 * (number + 1)
