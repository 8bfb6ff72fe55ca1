"""Which backend a name means, and which one is running. Imports none that is not used."""

from __future__ import annotations

import sys
from collections.abc import Callable

from .base import Backend

ASYNC_NAMES = ("auto", "asyncio", "trio", "anyio")

_loaded: dict[str, Backend] = {}


def resolve_backend(backend: str | Backend, *, is_async: bool) -> Callable[[], Backend]:
    """Return what finds the backend for the code that is running. Raises `ValueError`, `ImportError`."""
    if not isinstance(backend, str):
        if not hasattr(backend, "current_loop"):
            raise TypeError(f"The backend must be a name or a backend object, not {type(backend).__name__}.")
        return lambda: backend
    if backend == "curio":
        raise ValueError("Invalid backend name 'curio': its last release does not import on Python 3.12.")
    if backend not in (ASYNC_NAMES if is_async else ("sync",)):
        raise ValueError(f"Invalid backend name {backend!r}")
    if backend in ("auto", "anyio"):
        if backend == "anyio":
            _require("anyio")
        return running_backend
    if backend == "trio":
        _require("trio")
    if backend == "sync":
        only = load("sync")
        return lambda: only
    return lambda: load(backend)


def running_backend() -> Backend:
    """The backend of the library that runs the current task, asked in the order trio, asyncio."""
    if "trio" in sys.modules and _is_in_trio():
        return load("trio")
    return load("asyncio")


def load(name: str) -> Backend:
    """The one instance of a backend."""
    backend = _loaded.get(name)
    if backend is None:
        backend = _loaded.setdefault(name, _create(name))
    return backend


def _create(name: str) -> Backend:
    if name == "sync":
        from .sync import SyncBackend

        return SyncBackend()
    if name == "trio":
        from .trio import TrioBackend

        return TrioBackend()
    from .asyncio import AsyncioBackend

    return AsyncioBackend()


def _is_in_trio() -> bool:
    lowlevel = getattr(sys.modules["trio"], "lowlevel", None)
    return lowlevel is not None and bool(lowlevel.in_trio_task())


def _require(name: str) -> None:
    try:
        __import__(name)
    except ImportError as exc:
        raise ImportError(f"The backend {name!r} needs the package {name!r}: pip install {name}.") from exc
