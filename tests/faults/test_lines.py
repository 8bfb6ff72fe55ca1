"""An exception out of nowhere at every line of the library that a reference exchange runs."""

from __future__ import annotations

import gc
import sys
from collections.abc import Awaitable, Callable, Sequence
from functools import cache
from pathlib import Path
from types import CodeType, FrameType, TracebackType
from typing import Any

import pytest

import httpcore

from ..colours import Colour
from ..peers.faulty import Interrupt, whoever_runs
from .exchanges import KINDS, Exchange, Scene, scene_of
from .exchanges_http2 import EXCHANGES
from .rows import row

pytestmark = pytest.mark.usefixtures("nothing_left")

Line = tuple[str, int]
"""A file and the number of a line in it."""

LIBRARY = str(Path(httpcore.__file__).parent)

LOOPS = ("sync", "asyncio", "trio")
"""Where every exchange is struck. On the others the same lines run, and other code only beneath them."""

HTTP1 = [name for name, kind in KINDS.items() if not kind.startswith("h2")]

HTTP2 = ("h2_get", "h2_closed_early", "h2_two_at_once", "h2_streamed_upload", "h2_moved")

ROOMS = ("http2", "hpack", "_backends", "_connections/exchanges")
"""What HTTP/2 has of its own, and where what is on its way may be lost. The others are struck with HTTP/1.1."""

FEW = ("get_twice", "waiting", "closed_early", "tls_get")


@row("CAN-14")
# A socket, or a response, that was interrupted before anybody owned it is closed by the collector, which says so.
@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")
@pytest.mark.filterwarnings("ignore:A response from:ResourceWarning")
@pytest.mark.filterwarnings("ignore:coroutine .* was never awaited:RuntimeWarning")
def test_an_interrupt_at_any_line(colour: Colour) -> None:
    _strike_each_line(colour, HTTP1 if colour.name in LOOPS else FEW, rooms=("",))


@row("CAN-14")
@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")
@pytest.mark.filterwarnings("ignore:A response from:ResourceWarning")
@pytest.mark.filterwarnings("ignore:coroutine .* was never awaited:RuntimeWarning")
@pytest.mark.parametrize("name", LOOPS)
def test_an_interrupt_at_any_line_of_http2(name: str) -> None:
    _strike_each_line(Colour(name), HTTP2, rooms=ROOMS)


def _strike_each_line(colour: Colour, names: Sequence[str], *, rooms: Sequence[str]) -> None:
    struck: set[Line] = set()
    for name in names:
        with scene_of(name) as scene:
            exchange = EXCHANGES[name]
            for line in colour.run(_lines_of, colour, scene, exchange):
                if line not in struck and any(room in line[0] for room in rooms):
                    struck.add(line)
                    colour.run(_strike, colour, scene, exchange, line)
    assert len(struck) > 700


async def _lines_of(colour: Colour, scene: Scene, exchange: Exchange) -> list[Line]:
    """The lines of the library that the exchange runs, in this order."""
    lines: dict[Line, None] = {}
    async with scene.create_client(colour):
        with Tracer(colour, lambda line: lines.setdefault(line)):
            await exchange(scene)
    return list(lines)


async def _strike(colour: Colour, scene: Scene, exchange: Exchange, where: Line) -> None:
    has_struck = False

    def strike(line: Line) -> None:
        nonlocal has_struck
        if line == where and not has_struck:
            has_struck = True
            raise Interrupt

    async with scene.create_client(colour):
        is_interrupted = await _is_interrupted(exchange, scene, Tracer(colour, strike, only=where))
        assert is_interrupted is has_struck, where
        try:
            _check_figures(scene)
            await scene.next_request()
            _check_sockets(scene)
        except BaseException as exc:
            raise AssertionError(f"The pool does not go on after an interrupt at {where}.") from exc


def _check_figures(scene: Scene) -> None:
    """A response that was on its way to the caller is nobody's: the collector ends it (at once from 3.11 on)."""
    try:
        scene.check_figures()
    except AssertionError:
        if sys.version_info >= (3, 11):
            raise
        gc.collect()
        scene.check_figures()


def _check_sockets(scene: Scene) -> None:
    """After an interrupt on the way out of the kernel a thread looks as if it were in there still.

    Then its socket is shut down, and closed as soon as nobody refers to the connection.
    """
    try:
        scene.check_sockets()
    except AssertionError:
        gc.collect()
        scene.check_sockets()


async def _is_interrupted(
    exchange: Callable[[Scene], Awaitable[object]], scene: Scene, tracer: Tracer
) -> bool:
    try:
        with tracer:
            await exchange(scene)
    except Interrupt:
        return True
    return False


class Tracer:
    """Tells of each line of the library that the task which made it runs; a context manager.

    With `only` one line of interest, functions without it are left to run at their own speed.
    """

    def __init__(self, colour: Colour, tell: Callable[[Line], object], *, only: Line | None = None) -> None:
        self._colour = colour
        self._tell = tell
        self._only = only
        self._owner = whoever_runs(colour)

    def __enter__(self) -> None:
        self._previous = sys.gettrace()
        sys.settrace(self._trace)

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        sys.settrace(self._previous)

    def _trace(self, frame: FrameType, event: str, _: object) -> Any:
        code = frame.f_code
        if not code.co_filename.startswith(LIBRARY) or code.co_name == "<module>":
            return None
        if self._only is not None and self._only not in _lines_in(code):
            return None
        if _is_finalising(frame):
            return None
        if event == "line" and whoever_runs(self._colour) == self._owner:
            self._tell((frame.f_code.co_filename, frame.f_lineno))
        return self._trace


@cache
def _lines_in(code: CodeType) -> frozenset[Line]:
    return frozenset((code.co_filename, number) for _, _, number in code.co_lines() if number is not None)


def _is_finalising(frame: FrameType | None) -> bool:
    """Whether a finaliser of the library has called: what is raised there, Python drops."""
    while frame is not None and frame.f_code.co_filename.startswith(LIBRARY):
        if frame.f_code.co_name == "__del__":
            return True
        frame = frame.f_back
    return False
