"""The logger `httpcore`, and the environment variable that turns it on.

What is logged is what a trace hook hears (`_connections/trace.py`), reduced to what cannot hold a body or a
credential: numbers, names, the request line, and how many header fields there were.
"""

from __future__ import annotations

import os
from collections.abc import Callable

from ._connections.requests import Request
from ._protocols.fields import quote

DEBUG, TRACE = 10, 5
"""The levels; on TRACE a request is followed to its end: bodies, and what is closed, as well."""

LATE_PHASES = ("send_request_body", "receive_response_body", "response_closed")
"""What only TRACE shows, unless it fails."""

Hook = Callable[[str, dict[str, object]], object]

log: Callable[[int, str], None] | None = None
"""Writes a message; `None` unless that was asked for when the package was imported. A request looks once."""


def set_up_logging() -> None:
    """Log to stderr if `HTTPCORE_LOG_LEVEL`, else `HTTPX_LOG_LEVEL`, is `DEBUG` or `TRACE`."""
    global log
    level = os.environ.get("HTTPCORE_LOG_LEVEL", os.environ.get("HTTPX_LOG_LEVEL", "")).upper()
    if level not in ("DEBUG", "TRACE"):
        return
    # Nobody else pays for loading it.
    import logging

    logger = logging.getLogger("httpcore")
    logging.addLevelName(TRACE, "TRACE")
    handler = logging.StreamHandler()
    handler.setFormatter(
        logging.Formatter(
            fmt="%(levelname)s [%(asctime)s] %(name)s - %(message)s", datefmt="%Y-%m-%d %H:%M:%S"
        )
    )
    logger.addHandler(handler)
    logger.setLevel(TRACE if level == "TRACE" else DEBUG)
    log = logger.log


def logged(write: Callable[[int, str], None], hook: Hook | None) -> Hook:
    """A trace hook that logs, and then tells the caller's own."""

    def log_and_tell(name: str, info: dict[str, object]) -> object:
        _, phase, step = name.split(".")
        level = TRACE if phase in LATE_PHASES and step != "failed" else DEBUG
        shown = "".join(f" {key}={_show(value)}" for key, value in info.items() if value is not None)
        write(level, name + shown)
        return None if hook is None else hook(name, info)

    return log_and_tell


def _show(value: object) -> str:
    if isinstance(value, (bool, int, float, str)):
        return repr(value)
    if isinstance(value, BaseException):
        return f"{type(value).__name__}({str(value)!r})"
    if isinstance(value, Request):
        return f"<{quote(value.method)} {quote(value.target)} to {value.route.label}>"
    if hasattr(value, "status"):
        return repr(value)
    return f"<{type(value).__name__}>"
