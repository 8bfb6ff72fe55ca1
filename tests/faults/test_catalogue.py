"""The catalogue and the tests agree on the names of the rows."""

from __future__ import annotations

from . import (
    test_body,
    test_cancellation,
    test_connect,
    test_h1,
    test_pool,
    test_proxy,
    test_threads,
    test_timeouts,
)
from . import test_tls as test_tls
from .__main__ import CATALOGUE
from .rows import COVERED

MODULES = (
    test_body,
    test_cancellation,
    test_connect,
    test_h1,
    test_pool,
    test_proxy,
    test_threads,
    test_timeouts,
)

COMPLETE = {"dns", "proxy"}
"""Layers of which no row may be without a test, but for those that `MISSING` names with the reason."""

MISSING = {
    "DNS-10": "a lookup is shared, but no test cancels its first caller yet",
    "PRX-11": "one proxy class has one set of credentials: nothing to share across",
    "PRX-18": "HTTP/2 is not built yet",
}


def test_every_row_that_is_shown_exists() -> None:
    assert set(COVERED) <= {row["id"] for row in CATALOGUE}


def test_complete_layers_stay_complete() -> None:
    missing = {row["id"] for row in CATALOGUE if row["layer"] in COMPLETE} - set(COVERED)
    assert missing == set(MISSING)
