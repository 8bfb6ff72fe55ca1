"""Damage that knows nothing of what it damages."""

from __future__ import annotations

import random
from collections.abc import Callable

Mutation = Callable[[bytearray, random.Random], None]


def replace_byte(data: bytearray, generator: random.Random) -> None:
    if data:
        data[generator.randrange(len(data))] = generator.randrange(256)


def flip_bit(data: bytearray, generator: random.Random) -> None:
    if data:
        data[generator.randrange(len(data))] ^= 1 << generator.randrange(8)


def delete_span(data: bytearray, generator: random.Random) -> None:
    place = generator.randint(0, len(data))
    del data[place : place + generator.randint(1, 8)]


def cut_off(data: bytearray, generator: random.Random) -> None:
    del data[generator.randint(0, len(data)) :]
