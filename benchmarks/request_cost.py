"""What a warm GET costs in the interpreter alone: calls, bytecodes, and microseconds on a hot interpreter.

    python benchmarks/request_cost.py [--functions]

The socket is one that takes everything and has answered at once, so no system call is in these figures. Calls and
bytecodes do not depend on what else the machine does; `--functions` says where the bytecodes are run.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter

import httpcore
from httpcore._backends import sync

ANSWER = (
    b"HTTP/1.1 200 OK\r\nServer: nginx/1.22.1\r\nDate: Sat, 23 Nov 2024 18:44:00 GMT\r\n"
    b"Content-Type: text/plain\r\nContent-Length: 13\r\nLast-Modified: Sat, 23 Nov 2024 18:00:00 GMT\r\n"
    b'Connection: keep-alive\r\nETag: "1234567"\r\nAccept-Ranges: bytes\r\n\r\nHello, world!'
)
URL = (b"http", b"127.0.0.1", 8080, b"/hello")
FIELDS = [(b"Host", b"127.0.0.1:8080"), (b"Accept", b"*/*"), (b"User-Agent", b"bench")]
LIMITS = {"timeout": dict.fromkeys(("connect", "read", "write", "pool"), 30.0)}


class ReadySocket:
    """What our stream asks of a socket; sending and receiving are functions in C, as they are in a real one."""

    def __init__(self) -> None:
        self.send = len
        self.recv = {sync.RECEIVE_SIZE: ANSWER}.get

    def setblocking(self, flag: bool) -> None:
        pass

    def settimeout(self, seconds: float) -> None:
        pass

    def detach(self) -> int:
        return -1

    def close(self) -> None:
        pass


class ReadyBackend(sync.SyncBackend):
    async def connect(self, host, port, **options):
        return sync.SyncStream(ReadySocket())


def request(pool: httpcore.SyncConnectionPool) -> None:
    _, _, stream, _ = pool.request(b"GET", URL, FIELDS, None, LIMITS)
    for _ in stream:
        pass
    stream.close()


def count_calls(pool: httpcore.SyncConnectionPool) -> Counter[str]:
    calls: Counter[str] = Counter()

    def profile(frame, event: str, argument: object) -> None:
        calls[event] += 1

    sys.setprofile(profile)
    request(pool)
    sys.setprofile(None)
    # The request of this file, and the end of the profile.
    return calls - Counter(call=1, c_call=1)


def count_bytecodes(pool: httpcore.SyncConnectionPool) -> Counter[str]:
    bytecodes: Counter[str] = Counter()

    def trace(frame, event: str, argument: object):
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        if event == "opcode" and frame.f_code.co_filename != __file__:
            # Its qualified name is known from Python 3.11 on.
            bytecodes[getattr(frame.f_code, "co_qualname", frame.f_code.co_name)] += 1
        return trace

    sys.settrace(trace)
    request(pool)
    sys.settrace(None)
    return bytecodes


def time_one(pool: httpcore.SyncConnectionPool, rounds: int, count: int) -> float:
    best = float("inf")
    for _ in range(rounds):
        begin = time.perf_counter()
        for _ in range(count):
            request(pool)
        best = min(best, (time.perf_counter() - begin) / count)
    return best


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--functions", action="store_true")
    options = parser.parse_args()
    sync.create_look = lambda sock: {}.get
    sync.create_receiver = lambda sock: sock
    with httpcore.SyncConnectionPool(backend=ReadyBackend()) as pool:
        for _ in range(100):
            request(pool)
        calls, bytecodes = count_calls(pool), count_bytecodes(pool)
        best = time_one(pool, rounds=30, count=1000)
        print(
            f"{calls['call']} calls of Python, {calls['c_call']} of C, "
            f"{sum(bytecodes.values())} bytecodes, {best * 1e6:.1f} µs"
        )
        if options.functions:
            for name, number in bytecodes.most_common():
                print(f"{number:5} {name}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
