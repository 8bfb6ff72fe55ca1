"""Which test shows which row of the catalogue."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import pytest

F = TypeVar("F", bound=Callable[..., Any])

COVERED: dict[str, list[str]] = {}
"""Row id → the tests that show it, filled while the modules are imported."""


def row(*ids: str) -> Callable[[F], F]:
    """Mark a test as the one that shows rows of the catalogue."""

    def mark(function: F) -> F:
        for row_id in ids:
            COVERED.setdefault(row_id, []).append(f"{function.__module__}.{function.__name__}")
        marked: F = pytest.mark.row(*ids)(function)
        return marked

    return mark
