"""Every step of every reference exchange fails once, in each way that it can."""

from __future__ import annotations

import gc
from types import TracebackType

import pytest

import httpcore

from ..colours import NAMES, Colour
from ..garbage import kept_garbage
from ..peers.faulty import INTERRUPTS, Fault, FaultyBackend, Interrupt
from .exchanges import Exchange, Scene, scene_of
from .exchanges_http2 import EXCHANGES
from .rows import row

pytestmark = pytest.mark.usefixtures("nothing_left")

FEW = ("get_twice", "waiting", "upload_refused", "tls_in_tls")

CASES = [(name, exchange) for name in NAMES for exchange in (FEW if name.startswith("anyio") else EXCHANGES)]
"""Under anyio the backend is the very object that it is on asyncio, or on trio: only who runs the loop differs."""

ALLOWED: dict[Fault, tuple[type[BaseException], ...]] = {
    Fault.ERROR: (httpcore.NetworkError, httpcore.ProxyError),
    Fault.END: (httpcore.RemoteProtocolError, httpcore.NetworkError, httpcore.ProxyError),
    # What a kernel may do at any time, and nobody may notice.
    Fault.PARTIAL: (),
    Fault.NOTHING: (),
    Fault.TIMEOUT: (httpcore.TimeoutException, httpcore.ProxyError),
    Fault.INTERRUPT: (Interrupt,),
    Fault.INTERRUPT_AFTER: (Interrupt,),
}
"""What an exchange may end with, if it does not succeed in spite of the fault."""


def test_there_are_enough_exchanges() -> None:
    assert len(EXCHANGES) >= 24


@row("RTM-04", "TCP-13")
@pytest.mark.parametrize(("colour", "exchange"), CASES, indirect=["colour"])
def test_each_step_fails_once(colour: Colour, exchange: str) -> None:
    with scene_of(exchange) as scene:
        for fault in (Fault.ERROR, Fault.END, Fault.PARTIAL, Fault.NOTHING, Fault.TIMEOUT):
            colour.run(_torture, colour, scene, EXCHANGES[exchange], fault)


KEEPING = ("get_twice", "upload_refused", "tls_in_tls", "h2_get_twice", "h2_two_at_once", "h2_tls_echo")
"""Exchanges in which one error is kept for several who ask, or until the peer has had its say."""


@pytest.mark.parametrize("exchange", KEEPING)
def test_no_error_is_left_to_the_collector(colour: Colour, exchange: str) -> None:
    """An error that is kept would hold by its frames whoever keeps it, connections and buffers with them."""
    with scene_of(exchange) as scene, kept_garbage() as garbage:
        for fault in (Fault.ERROR, Fault.END, Fault.TIMEOUT):
            colour.run(_torture, colour, scene, EXCHANGES[exchange], fault)
        gc.collect()
        assert not [found for found in garbage if isinstance(found, TracebackType)]


@row(
    "RTM-04",
    "CAN-01",
    "CAN-02",
    "CAN-03",
    "CAN-04",
    "CAN-05",
    "CAN-06",
    "CAN-07",
    "CAN-08",
    "CAN-12",
    "CAN-14",
)
@pytest.mark.parametrize(("colour", "exchange"), CASES, indirect=["colour"])
def test_each_step_is_interrupted(colour: Colour, exchange: str) -> None:
    """By what KeyboardInterrupt is like, before each verb and after it: what cancels a thread."""
    with scene_of(exchange) as scene:
        for fault in INTERRUPTS:
            colour.run(_torture, colour, scene, EXCHANGES[exchange], fault)


async def _torture(colour: Colour, scene: Scene, exchange: Exchange, fault: Fault) -> None:
    """Let step 1 of the exchange fail, then step 2, and so on to its end."""
    for k in range(1, 2000):
        backend = FaultyBackend(colour, fault, at=k)
        async with scene.create_client(colour, backend=backend):
            is_interrupted = False
            try:
                await exchange(scene)
            except ALLOWED[fault] as exc:
                is_interrupted = isinstance(exc, Interrupt)
            has_struck = backend.count >= k
            backend.is_armed = False
            # Nobody swallows what came out of nowhere.
            assert is_interrupted is (has_struck and Interrupt in ALLOWED[fault]), k
            scene.check_figures()
            await scene.next_request()
            scene.check_sockets()
        if not has_struck:
            return
    raise AssertionError("the exchange never completed")
