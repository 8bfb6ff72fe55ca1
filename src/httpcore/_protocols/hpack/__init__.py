"""HPACK, sans-IO (RFC 7541)."""

from .decoder import Decoder, FieldBlock
from .encoder import Encoder
from .errors import HPACKError

__all__ = ["Decoder", "Encoder", "FieldBlock", "HPACKError"]
