"""TLS round any stream: the pump between a sans-IO engine and the stream beneath it.

What the engine produces, also while reading (session tickets, KeyUpdate answers, alerts), leaves through its
one out-queue in order. Every verb first sends what is queued, so whoever drives either direction drives both.

OpenSSL breaks, memory and all, when two threads are in one connection at once. The verbs are called by one at
a time; `close` may come from any, and leaves the engine alone while another is in it. Each says what it is
about before it looks for the other.
"""

from __future__ import annotations

import ssl
import threading
from collections.abc import Callable, Coroutine

from .._backends.base import (
    CLOSED_TO_READER,
    CLOSED_TO_WRITER,
    RECEIVE_SIZE,
    Stream,
    find_receive,
    say_goodbye,
)
from .._exceptions import ConnectError, ReadError, WriteError
from .._protocols.tls import TLSEngine, describe
from .._types import Buffer


class TLSStream:
    """A stream over another stream, so TLS in TLS is this class twice."""

    __slots__ = (
        "_engine",
        "_farewell",
        "_inner",
        "_is_aborted",
        "_is_in_use",
        "_keep_session",
        "_peer",
        "_receive",
    )

    def __init__(
        self,
        inner: Stream,
        engine: TLSEngine,
        *,
        peer: str,
        keep_session: Callable[[ssl.SSLSession | None], None],
    ) -> None:
        self._inner = inner
        self._receive = find_receive(inner)
        self._engine = engine
        self._peer = peer
        self._is_aborted = False
        # Whether a verb is in the engine; and what the first one to close gets hold of, for ever.
        self._is_in_use = False
        self._farewell = threading.Lock()
        # TLS 1.3 sends its tickets after the handshake: the session is kept with the first bytes read.
        self._keep_session: Callable[[ssl.SSLSession | None], None] | None = keep_session

    async def handshake(self, deadline: float | None) -> bool:
        """Shake hands; `False` when `deadline` passed first. Raises `ConnectError`."""
        engine = self._engine
        inner = self._inner
        try:
            while not engine.handshake():
                is_flushed = self._flush()
                data = inner.try_receive(RECEIVE_SIZE)
                if data is not None:
                    engine.feed(data)
                elif not await inner.wait(True, not is_flushed, deadline):
                    return False
            while not self._flush():
                if not await inner.wait(False, True, deadline):
                    return False
        except ssl.SSLError as exc:
            self._flush_quietly()
            raise ConnectError(f"{describe(exc, self._peer)}") from exc
        except (ReadError, WriteError) as exc:
            raise ConnectError(f"The TLS handshake with {self._peer} failed: {exc}") from exc
        return True

    def try_send(self, data: Buffer) -> int:
        try:
            self._is_in_use = True
            if self._is_aborted:
                raise WriteError(CLOSED_TO_WRITER)
            if self._engine.has_output and not self._flush():
                return 0
            taken = self._engine.write(data)
            self._flush()
        except ssl.SSLError as exc:
            raise WriteError(f"Sending to {self._peer} failed: {exc}") from exc
        finally:
            self._is_in_use = False
        return taken

    def try_receive(self, limit: int, ciphertext: bytes | None = None) -> bytes | None:
        """`ciphertext` has been taken from the stream beneath already."""
        engine = self._engine
        try:
            self._is_in_use = True
            if self._is_aborted:
                raise ReadError(CLOSED_TO_READER)
            if ciphertext is not None:
                engine.feed(ciphertext)
            while (data := engine.read(limit)) is None:
                # A piece that ends with a record is read without the exception that part of one costs.
                ciphertext = self._inner.try_receive(RECEIVE_SIZE + engine.missing_size)
                if ciphertext is None:
                    break
                engine.feed(ciphertext)
            if engine.has_output:
                self._flush_quietly()
            if data and self._keep_session is not None:
                self._keep_session(engine.ssl_object.session)
                self._keep_session = None
        except ssl.SSLError as exc:
            self._flush_quietly()
            raise ReadError(f"Reading from {self._peer} failed: {exc}") from exc
        finally:
            self._is_in_use = False
        return data

    @property
    def blocks(self) -> bool:
        return self._receive is not None

    def receive(self, limit: int, deadline: float | None) -> bytes | None:
        receive = self._receive
        assert receive is not None
        engine = self._engine
        data = None if engine.is_starved else self.try_receive(limit)
        # What has yet to be sent has to be waited for as well.
        while data is None and not engine.has_output:
            ciphertext = receive(RECEIVE_SIZE, deadline)
            if ciphertext is None:
                break
            data = self.try_receive(limit, ciphertext)
        return data

    def wait(self, readable: bool, writable: bool, deadline: float | None) -> Coroutine[object, object, bool]:
        engine = self._engine
        if readable and not engine.is_starved:
            return _ready()
        return self._inner.wait(readable, writable or engine.has_output, deadline)

    def listen(self, deadline: float | None) -> Coroutine[object, object, bool]:
        engine = self._engine
        if not engine.is_starved:
            return _ready()
        if engine.has_output:
            return self._inner.wait(True, True, deadline)
        return self._inner.listen(deadline)

    def close(self) -> None:
        """Say `close_notify` in one attempt that does not wait, then have the stream beneath close."""
        try:
            self._is_aborted = True
            if not self._is_in_use and self._farewell.acquire(blocking=False):
                self._engine.close_notify()
                self._flush_quietly()
            # In a tunnel it is TLS as well, and has a goodbye of its own to say.
            say_goodbye(self._inner)
        except BaseException:
            # Interrupted, and perhaps nobody closes again.
            self._inner.abort()
            raise

    def abort(self) -> None:
        self._is_aborted = True
        self._inner.abort()

    def watch(self, callback: Callable[[], None] | None) -> bool:
        return self._inner.watch(callback)

    def call_soon(self, callback: Callable[[], None], *, foreign: bool = False) -> bool:
        return self._inner.call_soon(callback, foreign=foreign)

    def nudge(self) -> bool:
        return self._inner.nudge()

    def is_quiet(self) -> bool:
        return self._engine.is_starved and self._inner.is_quiet()

    def has_news(self) -> bool:
        return self._inner.has_news()

    def get_extra_info(self, name: str) -> object:
        if name == "ssl_object":
            return self._engine.ssl_object
        if name == "has_output":
            return self._engine.has_output
        if name == "is_truncated":
            return self._engine.is_truncated
        return self._inner.get_extra_info(name)

    def _flush(self) -> bool:
        """Send what is queued; `True` when nothing is left."""
        engine = self._engine
        while output := engine.peek_output():
            try:
                sent = self._inner.try_send(output)
            except WriteError:
                # It will never leave, and nobody must wait until it can.
                engine.drop_output(len(output))
                raise
            engine.drop_output(sent)
            if sent < len(output):
                return False
        return True

    def _flush_quietly(self) -> None:
        """Whoever reads learns of a broken connection by reading."""
        try:
            self._flush()
        except WriteError:
            pass


async def _ready() -> bool:
    return True
