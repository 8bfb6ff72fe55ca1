"""What HTTP/2 costs the client, against the peers, in one run.

    python benchmarks/run_http2.py [--quick] [--rounds N] [--only TEXT] [--awake]

TLS throughout. The client is pinned to one core and nghttpd to another: with `h2load -c 2 -m 100` it answers about
four times as many small requests a second as nginx does, and so is not what is waited for. Each client lives in a
process of its own with all its timeouts set; the rounds are interleaved, and what is shown is the median, and the
median of the ratios to the first client in the same round. A peer that does not install, or fails, is a row that
says so. The peers live in `.venv-peers-http2`, because niquests puts another urllib3 in the place of urllib3.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path
from statistics import median
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).parents[1]))

import trustme
from benchmarks.processes import Client, awake, install
from benchmarks.report import read_options, write_record
from tests.interop.servers import Program, free_port, program, write_site

ROOT = Path(__file__).parents[1]
PEERS = ROOT / ".venv-peers-http2"
PATIENCE = 90
"""Seconds that a client may take for a round."""

PACKAGES = ["pycurl", "pyreqwest", "httpcore2[asyncio,http2]", "niquests", "uvloop"]

SLOW = {"httpcore2": 0.2, "niquests": 0.1}
"""The share of a round that these do: more would take most of the run and change nothing."""

AT_ONCE = ["pyreqwest", "ours", "pycurl", "httpcore2", "niquests"]


class Scenario(NamedTuple):
    title: str
    loop: str
    what: str
    clients: list[str]
    concurrency: int = 1
    connections: int = 1
    count: int = 1500
    """Requests a round."""


SCENARIOS = [
    Scenario("asyncio, 100 on one connection", "asyncio", "small", AT_ONCE, 100, count=5000),
    Scenario("uvloop, 100 on one connection", "uvloop", "small", AT_ONCE, 100, count=5000),
    Scenario("asyncio, 1", "asyncio", "small", ["pyreqwest", "ours", "httpcore2", "niquests"]),
    Scenario("sync, 1", "sync", "small", ["httpcore2", "ours", "pycurl", "pyreqwest", "niquests"]),
    Scenario("sync, 100 MiB down", "sync", "download", ["pycurl", "ours", "httpcore2", "niquests"], count=1),
    Scenario("asyncio, 100 MiB down", "asyncio", "download", ["pycurl", "ours", "httpcore2"], count=1),
    Scenario("asyncio, 100 in flight", "asyncio", "small", ["ours", "ours_gc_off"], 100, 10, count=10_000),
    Scenario("asyncio, 1,000 in flight", "asyncio", "small", ["ours", "ours_gc_off"], 1000, 10, count=10_000),
    Scenario(
        "asyncio, 10,000 in flight", "asyncio", "small", ["ours", "ours_gc_off"], 10_000, 10, count=10_000
    ),
]


class Figures(NamedTuple):
    """Of one request."""

    cpu: float
    clock: float
    peak: float
    """KiB by which the peak of memory grew in the round. Shown is that of the first, with what it loads."""


def start_client(name: str, scenario: Scenario, url: str, cafile: str) -> Client:
    python = sys.executable if name.startswith("ours") else str(PEERS / "bin" / "python")
    script = str(ROOT / "benchmarks" / "clients_http2.py")
    limits = [str(scenario.concurrency), str(scenario.connections)]
    command = [python, script, name, scenario.loop, scenario.what, *limits, url, cafile]
    return Client(name, command, patience=PATIENCE)


def measure(client: Client, count: int) -> Figures | None:
    answer = client.measure(count)
    if answer is None:
        return None
    cpu, clock, peak = answer
    return Figures(cpu / count, clock / count, peak)


def run_scenario(scenario: Scenario, origin: str, cafile: str, rounds: int, share: float) -> list[dict]:
    url = origin + ("/big" if scenario.what == "download" else "/hello")
    count = scenario.count
    if scenario.what == "small":
        count = max(scenario.concurrency, int(count * share))
    clients = [start_client(name, scenario, url, cafile) for name in scenario.clients]
    found: dict[str, list[Figures]] = {name: [] for name in scenario.clients}
    peaks: dict[str, float] = {}
    ratios: dict[str, list[tuple[float, float]]] = {name: [] for name in scenario.clients}
    for number in range(rounds + 1):
        base: Figures | None = None
        for client in clients:
            some = int(count * SLOW.get(client.name, 1.0))
            figures = measure(client, max(some, scenario.concurrency))
            if figures is None:
                continue
            if number == 0:
                # Later rounds find the memory there.
                peaks[client.name] = figures.peak
                continue
            base = base or figures
            found[client.name].append(figures)
            ratios[client.name].append((figures.cpu / base.cpu, figures.clock / base.clock))
    rows = []
    for client in clients:
        client.close()
        row = {
            "scenario": scenario.title,
            "client": client.name,
            "to": scenario.clients[0],
            "failure": client.failure,
        }
        shown = client.failure
        if found[client.name] and not client.failure:
            cpu, clock, _ = (median(column) for column in zip(*found[client.name], strict=True))
            peak = peaks[client.name]
            to_cpu, to_clock = (median(column) for column in zip(*ratios[client.name], strict=True))
            row |= {
                "cpu": cpu,
                "clock": clock,
                "peak_kib": peak,
                "cpu_ratio": to_cpu,
                "clock_ratio": to_clock,
            }
            shown = (
                f"CPU {cpu * 1e6:11.1f} µs {to_cpu:6.2f} ×   clock {clock * 1e6:11.1f} µs {to_clock:6.2f} ×"
                f"   memory {peak:7.0f} KiB"
            )
        rows.append(row)
        print(f"{scenario.title:<31} {client.name:<11} {shown}", flush=True)
    return rows


def main() -> int:
    options = read_options(__doc__)
    install(PEERS, PACKAGES)
    authority = trustme.CA()
    rows: list[dict] = []
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        write_site(directory / "root")
        cafile, key, chain = (str(directory / file) for file in ("ca.pem", "key.pem", "chain.pem"))
        authority.cert_pem.write_to_path(cafile)
        certificate = authority.issue_cert("localhost")
        certificate.private_key_pem.write_to_path(key)
        certificate.cert_chain_pems[0].write_to_path(chain)
        port = free_port()
        options_of_server = ["-a", "127.0.0.1", "-d", str(directory / "root"), "-m", "1000"]
        command = [program("nghttpd"), *options_of_server, str(port), key, chain]
        with Program(command, directory, [port]) as server:
            os.sched_setaffinity(server.process.pid, {os.cpu_count() - 1})
            origin = f"https://localhost:{port}"
            with awake(options.awake):
                for scenario in SCENARIOS:
                    if options.only in scenario.title:
                        rows += run_scenario(scenario, origin, cafile, options.rounds, options.share)
    write_record("http2", options.rounds, rows)
    return 0


if __name__ == "__main__":
    sys.exit(main())
