"""The logger `httpcore`, and the environment variable that turns it on."""

from __future__ import annotations

import os

TRACE = 5
"""The level below DEBUG."""


def set_up_logging() -> None:
    """Log to stderr if `HTTPCORE_LOG_LEVEL`, else `HTTPX_LOG_LEVEL`, is `DEBUG` or `TRACE`."""
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
    logger.setLevel(TRACE if level == "TRACE" else logging.DEBUG)
