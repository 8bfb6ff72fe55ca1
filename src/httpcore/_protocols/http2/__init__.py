"""HTTP/2, client side, sans-IO (RFC 9113)."""

from .engine import Engine
from .errors import ErrorCode
from .limits import DEFAULT_LIMITS, Limits
from .requests import RequestFields, prepare_fields
from .responses import ResponseHead
from .streams import Stream

__all__ = [
    "DEFAULT_LIMITS",
    "Engine",
    "ErrorCode",
    "Limits",
    "RequestFields",
    "ResponseHead",
    "Stream",
    "prepare_fields",
]
