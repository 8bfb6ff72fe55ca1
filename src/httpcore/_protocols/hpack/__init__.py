"""HPACK, sans-IO (RFC 7541)."""

from .decoder import ENTRY_OVERHEAD, Decoder, FieldBlock
from .encoder import Encoder
from .errors import HPACKError

__all__ = ["ENTRY_OVERHEAD", "Decoder", "Encoder", "FieldBlock", "HPACKError"]
