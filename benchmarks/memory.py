"""Memory and time that uploading one `bytes` object takes beyond the object itself.

    python memory.py LOOP MEBIBYTES URL CAFILE

prints the growth of the peak resident size in KiB, and the CPU seconds.
"""

from __future__ import annotations

import asyncio
import sys
import time
from pathlib import Path

import clients

import httpcore


def resident(field: str) -> int:
    """KiB, from what the kernel says of this process."""
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1])
    raise RuntimeError(f"The kernel does not tell {field}.")


def main() -> None:
    loop, size, url, cafile = sys.argv[1], int(sys.argv[2]) << 20, sys.argv[3], sys.argv[4]
    target = clients.Target(url, cafile)
    place = clients.url_of(target)
    headers = [(b"Host", b"localhost"), (b"Content-Length", b"%d" % size)]
    stream = httpcore.PlainByteStream(b"x" * size)
    small = (b"GET", (*place[:3], b"/hello"), [(b"Host", b"localhost")])
    ext = {"timeout": dict.fromkeys(("connect", "read", "write", "pool"), clients.TIMEOUT)}
    figures: list[float] = []

    def mark() -> None:
        # Forget the peak so far.
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
        figures.extend((resident("VmRSS"), time.process_time()))

    def run_sync() -> None:
        with httpcore.SyncConnectionPool(ssl_context=target.context()) as pool:
            list(pool.request(*small, None, ext)[2])
            mark()
            status, _, body, _ = pool.request(b"PUT", place, headers, stream, ext)
            list(body)
            assert status in (201, 204), status

    async def run_async() -> None:
        async with httpcore.AsyncConnectionPool(ssl_context=target.context()) as pool:
            async for _ in (await pool.arequest(*small, None, ext))[2]:
                pass
            mark()
            status, _, body, _ = await pool.arequest(b"PUT", place, headers, stream, ext)
            async for _ in body:
                pass
            assert status in (201, 204), status

    if loop == "sync":
        run_sync()
    else:
        asyncio.run(run_async())
    print(resident("VmHWM") - int(figures[0]), time.process_time() - figures[1])


if __name__ == "__main__":
    main()
