"""The catalogue, and which test shows which of its rows.

A test is marked with the rows that it shows, and runs on each backend through the fixture `colour`. One that
does not take it says `on` which backends it runs. A row may hold more than one test; it passes on a backend
if all of them do.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import pytest

from ..colours import ASYNC_NAMES, NAMES, Colour

F = TypeVar("F", bound=Callable[..., Any])

LAYERS = (
    "dns", "tcp", "tls", "h1", "h2", "hpack", "body", "pool", "proxy", "timeouts", "cancellation", "threads", "fork", "runtime",
)  # fmt: skip
"""The layers that are built: each of their rows has to be shown on each backend."""


@dataclass(frozen=True)
class Row:
    id: str
    layer: str
    scenario: str
    expected: str
    rfc: str = ""
    needs: str = ""
    """Another layer that has to be built before the row says anything."""
    not_applicable: dict[str, str] = field(default_factory=dict)
    """A backend, `async` or `all` → why the row says nothing about it."""

    def reason_against(self, backend: str) -> str | None:
        """Why the row does not apply to a backend; `None` if it does."""
        if self.needs and self.needs not in LAYERS:
            return f"{self.needs} is not built yet"
        groups = [backend, "all"]
        if backend in ASYNC_NAMES:
            groups.append("async")
        return next((self.not_applicable[name] for name in groups if name in self.not_applicable), None)


def _load() -> dict[str, Row]:
    rows = json.loads(Path(__file__).with_name("catalogue.json").read_text(encoding="utf-8"))
    return {row["id"]: Row(**row) for row in rows}


CATALOGUE = _load()


def row(*ids: str, on: Sequence[str] = ()) -> Callable[[F], F]:
    """Mark a test as one that shows rows of the catalogue; `on` which backends, if it takes no colour."""
    unknown = [name for name in ids if name not in CATALOGUE] + [name for name in on if name not in NAMES]
    if unknown:
        raise ValueError(f"The catalogue has no {', '.join(unknown)}.")
    mark: Callable[[F], F] = pytest.mark.row(*ids, on=tuple(on))
    return mark


def cells_of(item: pytest.Item) -> Iterable[tuple[str, str]]:
    """The `(row, backend)` pairs that a test shows."""
    callspec = getattr(item, "callspec", None)
    parameters: dict[str, object] = {} if callspec is None else callspec.params
    chosen = parameters.get("row_id")
    for mark in item.iter_markers("row"):
        ids = mark.args if chosen is None else (chosen,)
        for backend in _backends(parameters, mark.kwargs["on"]):
            yield from ((row_id, backend) for row_id in ids)


def _backends(parameters: dict[str, object], on: Sequence[str]) -> Sequence[str]:
    if on:
        return on
    value = parameters.get("colour", parameters.get("name"))
    name = value.name if isinstance(value, Colour) else value
    return [name] if isinstance(name, str) and name in NAMES else []
