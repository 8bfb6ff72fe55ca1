"""What only TLS has to see to, over every backend."""

from __future__ import annotations

import threading
from time import monotonic

import pytest

from httpcore._backends.base import Backend, Stream
from httpcore._protocols.tls import OUTPUT_LIMIT, TLSEngine
from httpcore._types import Buffer

from ..colours import TIMEOUT, Colour
from .conftest import Wire
from .wires import Peer, join

SIZE = 32 * 1024 * 1024


def test_little_of_a_large_upload_is_held_as_ciphertext(
    colour: Colour, monkeypatch: pytest.MonkeyPatch
) -> None:
    pending: list[int] = []
    write = TLSEngine.write

    def note(self: TLSEngine, data: Buffer) -> int:
        taken = write(self, data)
        pending.append(self.pending_output)
        return taken

    monkeypatch.setattr(TLSEngine, "write", note)
    received: list[int] = []

    async def body(stream: Stream, peer: Peer, backend: Backend) -> None:
        def count() -> None:
            size = 0
            while size < SIZE:
                size += len(peer.receive(65536))
            received.append(size)

        reader = threading.Thread(target=count)
        reader.start()
        left = memoryview(bytes(SIZE))
        while left:
            sent = stream.try_send(left)
            left = left[sent:]
            if not sent:
                assert await stream.wait(True, True, monotonic() + TIMEOUT)
        while not stream.try_send(b"!"):
            # The last of it leaves with whatever is sent next.
            assert await stream.wait(True, True, monotonic() + TIMEOUT)
        await join(reader, colour)

    Wire(colour, "tls").run(body)
    assert received == [SIZE]
    assert OUTPUT_LIMIT // 2 < max(pending) <= OUTPUT_LIMIT
