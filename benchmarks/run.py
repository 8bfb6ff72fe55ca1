"""CPU seconds of the client per request, against the floor and the peers, in one run.

    python benchmarks/run.py [--quick] [--rounds N] [--only TEXT] [--awake]

The client is pinned to one core and nginx to another. Each client lives in a process of its own with all its
timeouts set; the rounds are interleaved, and what is shown is the median, and the median of the ratios to the floor
of the same round, in CPU time and by the clock. A peer that does not install, or fails, is a row that says so. The
peers live in `.venv-peers`.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).parents[1]))

import trustme
from benchmarks.origins import ADDRESSES
from benchmarks.origins import COUNT as ORIGINS
from benchmarks.processes import Client, awake, install
from benchmarks.report import read_options, write_record
from tests.interop.servers import NginxServer

ROOT = Path(__file__).parents[1]
PEERS = ROOT / ".venv-peers"
PATIENCE = 60
"""Seconds that a client may take for a round."""

PACKAGES = ["pycurl", "pyreqwest", "aiohttp", "urllib3", "httpcore2[asyncio,trio,http2]", "uvloop"]

SYNC = ["floor", "ours", "pycurl", "pyreqwest", "urllib3", "httpcore2"]
SYNC_PLAIN = ["floor", "floor_timed", "sketch", *SYNC[1:]]
ASYNC = ["floor", "ours", "pyreqwest", "aiohttp", "httpcore2"]
ASYNC_PLAIN = ["floor", "sketch", *ASYNC[1:]]
TRIO = ["floor", "floor_timed", "sketch", "ours", "httpcore2"]
ANYIO = ["floor", "ours", "httpcore2"]
PROXIED = ["ours", "ours_tunnelled", "ours_forwarded"]
MANY = ["ours", "ours_many", "floor", "floor_many"]
SYNC_LARGE = ["floor", "ours", "pycurl", "urllib3", "httpcore2"]


class Scenario(NamedTuple):
    title: str
    loop: str
    what: str
    clients: list[str]
    concurrency: int = 1
    tls: bool = False
    count: int = 1500
    """Requests a round."""


SCENARIOS = [
    Scenario("sync, 1, plain", "sync", "small", SYNC_PLAIN),
    Scenario("sync, 1, TLS", "sync", "small", SYNC, tls=True),
    Scenario("asyncio, 1, plain", "asyncio", "small", ASYNC_PLAIN),
    Scenario("asyncio, 1, TLS", "asyncio", "small", ASYNC, tls=True),
    Scenario("asyncio, 100, plain", "asyncio", "small", ASYNC_PLAIN, 100, count=2000),
    Scenario("asyncio, 100, TLS", "asyncio", "small", ASYNC, 100, tls=True, count=2000),
    Scenario("uvloop, 1, plain", "uvloop", "small", ASYNC),
    Scenario("uvloop, 100, plain", "uvloop", "small", ASYNC, 100, count=2000),
    Scenario("uvloop, 100, TLS", "uvloop", "small", ASYNC, 100, tls=True, count=2000),
    Scenario("trio, 1, plain", "trio", "small", TRIO),
    Scenario("trio, 100, plain", "trio", "small", TRIO, 100, count=2000),
    Scenario("anyio, 1, plain", "anyio", "small", ANYIO),
    Scenario("anyio, 100, plain", "anyio", "small", ANYIO, 100, count=2000),
    # What a proxy costs the client: the same request without one, through a tunnel, and forwarded.
    Scenario("sync, through a proxy", "sync", "small", PROXIED),
    Scenario("asyncio, through a proxy", "asyncio", "small", PROXIED),
    Scenario("sync, 100 MiB down, plain", "sync", "download", SYNC_LARGE, count=1),
    Scenario("sync, 100 MiB down, TLS", "sync", "download", SYNC_LARGE, tls=True, count=1),
    Scenario("asyncio, 100 MiB down, plain", "asyncio", "download", ASYNC, count=1),
    Scenario("asyncio, 100 MiB down, TLS", "asyncio", "download", ASYNC, tls=True, count=1),
    Scenario("sync, 100 MiB up, plain", "sync", "upload", SYNC_LARGE, count=1),
    Scenario("sync, 100 MiB up, TLS", "sync", "upload", SYNC_LARGE, tls=True, count=1),
    Scenario("asyncio, 100 MiB up, plain", "asyncio", "upload", ["floor", "ours"], count=1),
    Scenario("asyncio, 100 MiB up, TLS", "asyncio", "upload", ["floor", "ours"], tls=True, count=1),
    # What many origins cost in the kernel alone stands in the last two rows of each. Every origin comes twenty
    # times a round: what its first time costs, after another client had the core, is another question.
    Scenario("sync, 500 origins, 2,000 idle", "sync", "small", MANY, count=20 * ORIGINS),
    Scenario("asyncio, 500 origins, 2,000 idle", "asyncio", "small", MANY, count=20 * ORIGINS),
]
"""Ratios are to the first client of each."""


def start_client(name: str, loop: str, scenario: str, concurrency: int, *arguments: str) -> Client:
    own = name.startswith(("floor", "sketch", "ours"))
    python = sys.executable if own else str(PEERS / "bin" / "python")
    script = str(ROOT / "benchmarks" / "clients.py")
    command = [python, script, name, loop, scenario, str(concurrency), *arguments]
    return Client(name, command, patience=PATIENCE)


@contextmanager
def running_proxy(port: int) -> Iterator[str]:
    """A proxy to one server, beside it on its core; gives its own port."""
    with subprocess.Popen(
        [sys.executable, str(ROOT / "benchmarks" / "proxy.py"), str(port)],
        stdout=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: os.sched_setaffinity(0, {os.cpu_count() - 1}),
    ) as proxy:
        try:
            yield proxy.stdout.readline().strip()
        finally:
            proxy.kill()


def run_scenario(
    scenario: Scenario, server: NginxServer, cafile: str, proxy_port: str, rounds: int, share: float
) -> list[dict]:
    title, loop, what, names, concurrency, tls, count = scenario
    path = {"small": "/hello", "download": "/big", "upload": "/up/bench"}[what]
    url = f"https://localhost:{server.tls_port}{path}" if tls else f"http://127.0.0.1:{server.port}{path}"
    count = max(concurrency, int(count * share)) if what == "small" else count
    clients = [start_client(name, loop, what, concurrency, url, cafile, proxy_port) for name in names]
    figures: dict[str, list[float]] = {name: [] for name in names}
    ratios: dict[str, list[tuple[float, float]]] = {name: [] for name in names}
    for number in range(rounds + 1):
        base = None
        for client in clients:
            answer = client.measure(count)
            if answer is None or number == 0:
                continue
            cpu, clock = answer
            base = (cpu, clock) if client.name == names[0] else base
            figures[client.name].append(cpu / count)
            ratios[client.name].append((cpu / base[0], clock / base[1]) if base else (0.0, 0.0))
    rows = []
    for client in clients:
        client.close()
        found = figures[client.name]
        row = {"scenario": title, "client": client.name, "to": names[0], "failure": client.failure}
        shown = client.failure
        if found and not client.failure:
            to_cpu, to_clock = (median(column) for column in zip(*ratios[client.name], strict=True))
            row |= {"microseconds": median(found) * 1e6, "ratio": to_cpu, "clock_ratio": to_clock}
            shown = f"{median(found) * 1e6:12.1f} µs {to_cpu:8.2f} ×   clock {to_clock:6.2f} ×"
        rows.append(row)
        print(f"{title:<32} {client.name:<16} {shown}", flush=True)
    return rows


def measure_memory(server: NginxServer, cafile: str) -> list[dict]:
    """Extra memory, and time, of the upload of one large `bytes` object."""
    rows = []
    for loop in ("sync", "asyncio"):
        for tls in (False, True):
            url = f"https://localhost:{server.tls_port}" if tls else f"http://127.0.0.1:{server.port}"
            for size in (256, 1024):
                title = f"{loop}, {size} MiB bytes up, {'TLS' if tls else 'plain'}"
                script = str(ROOT / "benchmarks" / "memory.py")
                command = [sys.executable, script, loop, str(size), f"{url}/up/memory", cafile]
                run = subprocess.run(command, capture_output=True, text=True, check=False)
                row = {"scenario": title, "client": "ours", "failure": ""}
                if run.returncode:
                    row["failure"] = shown = (run.stderr.strip().splitlines() or ["failed"])[-1]
                else:
                    extra, seconds = (float(word) for word in run.stdout.split())
                    row |= {"extra_kib": extra, "seconds": seconds}
                    shown = f"{extra:12.0f} KiB extra, {seconds:.2f} s"
                rows.append(row)
                print(f"{title:<32} {'ours':<10} {shown}", flush=True)
    return rows


def main() -> int:
    options = read_options(__doc__)
    install(PEERS, PACKAGES)
    # Four clients hold 2,000 connections each, and nginx their other ends.
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard if hard < 20000 else 20000, hard))
    authority = trustme.CA()
    rows: list[dict] = []
    with tempfile.TemporaryDirectory() as directory:
        cafile = str(Path(directory) / "ca.pem")
        authority.cert_pem.write_to_path(cafile)
        with NginxServer(Path(directory), authority, addresses=ADDRESSES) as server:
            os.sched_setaffinity(server.pid, {os.cpu_count() - 1})
            with running_proxy(server.port) as proxy_port, awake(options.awake):
                for scenario in SCENARIOS:
                    if options.only in scenario.title:
                        rows += run_scenario(
                            scenario, server, cafile, proxy_port, options.rounds, options.share
                        )
            if options.only in "memory of a large upload":
                rows += measure_memory(server, cafile)
    write_record("latest", options.rounds, rows)
    return 0


if __name__ == "__main__":
    sys.exit(main())
