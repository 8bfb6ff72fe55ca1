"""HTTP/1.1, client side, sans-IO (RFC 9112)."""

from .engine import Engine
from .limits import DEFAULT_LIMITS, Limits
from .responses import ResponseHead

__all__ = ["DEFAULT_LIMITS", "Engine", "Limits", "ResponseHead"]
