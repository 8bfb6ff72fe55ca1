"""A backend that fails on purpose: its k-th verb errs, ends, times out, does half of it, or is interrupted.

It wraps a real backend, so everything but that one verb is real.
"""

from __future__ import annotations

import asyncio
import enum
import threading
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, NoReturn

import trio

from httpcore import ReadError, WriteError
from httpcore._backends.auto import load

from ..colours import Colour


class Fault(enum.Enum):
    ERROR = "the connection breaks"
    END = "the peer ends the connection"
    PARTIAL = "one byte is sent or received"
    NOTHING = "the kernel takes or has nothing, and waking was for nothing"
    TIMEOUT = "the deadline passes"
    INTERRUPT = "an exception out of nowhere, before the verb"
    INTERRUPT_AFTER = "an exception out of nowhere, when the verb is done"


INTERRUPTS = (Fault.INTERRUPT, Fault.INTERRUPT_AFTER)

FAULTS = {
    "try_send": (Fault.ERROR, Fault.PARTIAL, Fault.NOTHING, *INTERRUPTS),
    "try_receive": (Fault.ERROR, Fault.END, Fault.PARTIAL, Fault.NOTHING, *INTERRUPTS),
    "receive": (Fault.ERROR, Fault.END, Fault.PARTIAL, Fault.NOTHING, Fault.TIMEOUT, *INTERRUPTS),
    "wait": (Fault.NOTHING, Fault.TIMEOUT, *INTERRUPTS),
    "listen": (Fault.NOTHING, Fault.TIMEOUT, *INTERRUPTS),
    "park": (Fault.TIMEOUT, *INTERRUPTS),
    "wait_writable": (Fault.NOTHING, *INTERRUPTS),
    "adopt": INTERRUPTS,
    "checkpoint": INTERRUPTS,
}
"""Verb → what it can meet. A verb that cannot meet the fault is not counted: nothing would happen there."""


class Interrupt(KeyboardInterrupt):
    """Of a kind of its own, so that the tests' runner can still be interrupted."""


def whoever_runs(colour: Colour) -> object:
    """The task, or the thread, that runs now; `None` in a callback of the loop."""
    if not colour.is_async:
        return threading.get_ident()
    if not colour.is_trio:
        return asyncio.current_task()
    try:
        return trio.lowlevel.current_task()
    except RuntimeError:
        return None


class FaultyBackend:
    """`at` is the number of the verb that meets the fault, counted from 1 among those that can.

    Only verbs of the task, or the thread, that made it are counted: an interrupt in a callback of the loop would
    be the loop's. `is_armed` turns it off; `count` says how far it got.
    """

    def __init__(self, colour: Colour, fault: Fault, *, at: int) -> None:
        kind = "trio" if colour.is_trio else "asyncio" if colour.is_async else "sync"
        self._inner: Any = load(kind)
        self.fault = fault
        self.at = at
        self.count = 0
        self.is_armed = True
        self._colour = colour
        self._owner = whoever_runs(colour)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def aim(self) -> None:
        """Count the verbs of whoever calls this, from now on."""
        self._owner = whoever_runs(self._colour)
        self.is_armed = True

    def strikes(self, verb: str) -> bool:
        """Count a verb that can meet the fault; whether it is the one."""
        if self.fault not in FAULTS[verb] or not self.is_armed or whoever_runs(self._colour) != self._owner:
            return False
        self.count += 1
        return self.count == self.at

    def create_parker(self) -> Any:
        return _Parker(self, self._inner.create_parker())

    async def adopt(self, sock: Any) -> Any:
        strikes = self.strikes("adopt")
        if strikes and self.fault is Fault.INTERRUPT:
            sock.close()
            raise Interrupt
        stream = _Stream(self, await self._inner.adopt(sock))
        if strikes and self.fault is Fault.INTERRUPT_AFTER:
            stream.abort()
            raise Interrupt
        return stream

    async def wait_writable(self, sockets: Sequence[Any], deadline: float | None) -> Any:
        if self.strikes("wait_writable"):
            if self.fault is Fault.NOTHING:
                return ()
            if self.fault in INTERRUPTS:
                await _interrupt(self.fault, self._inner.wait_writable, sockets, deadline)
        return await self._inner.wait_writable(sockets, deadline)

    async def checkpoint(self) -> None:
        if self.strikes("checkpoint") and self.fault in INTERRUPTS:
            await _interrupt(self.fault, self._inner.checkpoint)
        await self._inner.checkpoint()


async def _interrupt(fault: Fault, verb: Callable[..., Awaitable[object]], *arguments: object) -> NoReturn:
    """Raise, before the verb or as soon as it is done, whatever came of it."""
    try:
        if fault is Fault.INTERRUPT_AFTER:
            await verb(*arguments)
    finally:
        raise Interrupt


class _Parker:
    def __init__(self, backend: FaultyBackend, inner: Any) -> None:
        self._backend = backend
        self._inner = inner

    async def park(self, deadline: float | None) -> Any:
        if self._backend.strikes("park"):
            fault = self._backend.fault
            if fault in INTERRUPTS:
                await _interrupt(fault, self._inner.park, deadline)
            if fault is Fault.TIMEOUT:
                return False
        return await self._inner.park(deadline)

    def unpark(self, *, foreign: bool = False) -> None:
        self._inner.unpark(foreign=foreign)


class _Stream:
    def __init__(self, backend: FaultyBackend, inner: Any) -> None:
        self._backend = backend
        self._inner = inner
        self._is_ended = False
        self._is_broken = False
        self._is_late = False
        self._watcher: Callable[[], None] | None = None

    def watch(self, callback: Callable[[], None] | None) -> bool:
        is_pushed: bool = self._inner.watch(callback)
        self._watcher = callback if is_pushed else None
        return is_pushed

    def _tell_watcher(self) -> None:
        """Where the loop says what arrives, it says so once: also what the test makes of it."""
        if self._watcher is not None:
            self._inner.call_soon(self._watcher)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def try_send(self, data: Any) -> Any:
        if not self._backend.strikes("try_send"):
            return self._inner.try_send(data)
        fault = self._backend.fault
        if fault is Fault.ERROR:
            self._break()
            raise WriteError("Sending failed: the test says so.")
        if fault is Fault.PARTIAL:
            self._tell_watcher()
            return self._inner.try_send(bytes(data[:1]))
        if fault is Fault.NOTHING:
            self._tell_watcher()
            return 0
        if fault is Fault.INTERRUPT:
            raise Interrupt
        try:
            return self._inner.try_send(data)
        finally:
            if fault is Fault.INTERRUPT_AFTER:
                raise Interrupt

    def _break(self) -> None:
        self._is_broken = True
        self._inner.abort()
        self._tell_watcher()

    def try_receive(self, limit: int) -> Any:
        return self._receive("try_receive", limit)

    def receive(self, limit: int, deadline: float | None) -> Any:
        return self._receive("receive", limit, deadline)

    def _receive(self, verb: str, limit: int, *deadline: float | None) -> Any:
        if self._is_ended:
            return b""
        if self._is_broken and self._watcher is not None:
            raise ReadError("Receiving failed: sending had.")
        receive = getattr(self._inner, verb)
        if not self._backend.strikes(verb):
            return receive(limit, *deadline)
        fault = self._backend.fault
        if fault is Fault.ERROR:
            self._break()
            raise ReadError("Receiving failed: the test says so.")
        if fault is Fault.END:
            self._is_ended = True
            self._tell_watcher()
            return b""
        if fault in (Fault.NOTHING, Fault.TIMEOUT):
            # Nobody takes its word for the deadline: who asks `wait` is to hear the same.
            self._is_late = fault is Fault.TIMEOUT
            self._tell_watcher()
            return None
        if fault is Fault.INTERRUPT:
            raise Interrupt
        try:
            return receive(1 if fault is Fault.PARTIAL else limit, *deadline)
        finally:
            if fault is Fault.INTERRUPT_AFTER:
                raise Interrupt

    async def listen(self, deadline: float | None) -> Any:
        if self._is_ended:
            return True
        if self._backend.strikes("listen"):
            fault = self._backend.fault
            if fault in INTERRUPTS:
                await _interrupt(fault, self._inner.listen, deadline)
            if fault is Fault.TIMEOUT:
                return False
            if fault is Fault.NOTHING:
                return True
        return await self._inner.listen(deadline)

    async def wait(self, readable: bool, writable: bool, deadline: float | None) -> Any:
        if self._is_ended:
            return True
        if self._is_late:
            return False
        if self._backend.strikes("wait"):
            fault = self._backend.fault
            if fault in INTERRUPTS:
                await _interrupt(fault, self._inner.wait, readable, writable, deadline)
            if fault is Fault.TIMEOUT:
                return False
            if fault is Fault.NOTHING:
                return True
        return await self._inner.wait(readable, writable, deadline)
