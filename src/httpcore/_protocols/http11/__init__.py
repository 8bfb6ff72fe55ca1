"""HTTP/1.1, client side, sans-IO (RFC 9112)."""

from .engine import Engine
from .limits import CONNECT_LIMITS, DEFAULT_LIMITS, Limits
from .requests import KeptFields, encode_fields
from .responses import ResponseHead

__all__ = [
    "CONNECT_LIMITS",
    "DEFAULT_LIMITS",
    "Engine",
    "KeptFields",
    "Limits",
    "ResponseHead",
    "encode_fields",
]
