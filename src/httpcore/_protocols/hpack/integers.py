"""Integers with a prefix (RFC 7541 §5.1)."""

from __future__ import annotations

from .errors import HPACKError
from .limits import MAX_INTEGER_OCTETS


def read_integer(block: bytes, at: int, prefix: int) -> tuple[int, int]:
    """The integer whose prefix is full (it holds `prefix`) and goes on at `at`, and where it ends."""
    value = prefix
    for shift, octet in enumerate(block[at : at + MAX_INTEGER_OCTETS]):
        value += (octet & 0x7F) << 7 * shift
        if octet < 0x80:
            return value, at + shift + 1
    if len(block) - at < MAX_INTEGER_OCTETS:
        raise HPACKError("The block ends within an integer.")
    raise HPACKError(f"An integer is longer than {MAX_INTEGER_OCTETS} octets.")


def encode_integer(value: int, prefix: int, pattern: int) -> bytes:
    """`value`, after the bits of `pattern` that stand before the prefix."""
    if value < prefix:
        return bytes((pattern | value,))
    octets = bytearray((pattern | prefix,))
    value -= prefix
    while value >= 0x80:
        octets.append(value & 0x7F | 0x80)
        value >>= 7
    octets.append(value)
    return bytes(octets)
