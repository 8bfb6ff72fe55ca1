"""Our HPACK beside the `hpack` package, in memory: microseconds of one core for each block.

    python benchmarks/micro_hpack.py [--rounds 15] [--json]

Rounds are interleaved, so that a busy machine slows all alike, and the best one counts. Each reads or writes the
same thousand blocks with a codec of its own, in order, as on one connection.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import hpack
from micro import Results, compare

from httpcore._protocols.hpack import Decoder, Encoder

Field = tuple[bytes, bytes]

COUNT = 1000

REQUEST = (
    (b":method", b"GET"),
    (b":scheme", b"https"),
    (b":authority", b"api.example.org"),
    (b"user-agent", b"bench/1.0 (linux; python)"),
    (b"accept", b"application/json"),
    (b"accept-encoding", b"gzip, deflate, br"),
    (b"accept-language", b"en-GB,en;q=0.8"),
    (b"cache-control", b"no-cache"),
    (b"x-client-version", b"2024.11.3"),
)
"""With the :path, ten fields."""


def response(number: int) -> list[Field]:
    return [
        (b":status", b"200"),
        (b"server", b"nginx/1.22.1"),
        (b"date", b"Sat, 23 Nov 2024 18:%02d:%02d GMT" % (number // 60 % 60, number % 60)),
        (b"content-type", b"application/json; charset=utf-8"),
        (b"content-length", b"%d" % (1000 + number)),
        (b"last-modified", b"Sat, 23 Nov 2024 18:00:00 GMT"),
        (b"etag", b'"%012x"' % (number * 7919)),
        (b"cache-control", b"max-age=3600, public"),
        (b"vary", b"Accept-Encoding"),
        (b"strict-transport-security", b"max-age=31536000"),
    ]


def varied_blocks() -> list[bytes]:
    """Date, length and tag are new in each, and all fields enter the table, as foreign encoders have it."""
    encoder = hpack.Encoder()
    return [bytes(encoder.encode(response(number))) for number in range(COUNT)]


def literal_blocks() -> list[bytes]:
    """The same, as from an encoder without a table of its own (nginx, haproxy): each field is sent in full."""
    return [encode_in_full(response(number)) for number in range(COUNT)]


def same_literal_blocks() -> list[bytes]:
    """One resource within one second."""
    return [encode_in_full(response(1)) for _ in range(COUNT)]


def encode_in_full(fields: list[Field]) -> bytes:
    return bytes(hpack.Encoder().encode(fields))


def same_blocks() -> list[bytes]:
    """All fields are in the table, so that each is one byte."""
    encoder = hpack.Encoder()
    fields = response(1)
    return [bytes(bytearray(encoder.encode(fields))) for _ in range(COUNT)]


def decode_with_ours(blocks: list[bytes]) -> None:
    decode = Decoder().decode
    for block in blocks:
        decode(block)


def decode_with_hpack(blocks: list[bytes]) -> None:
    decode = hpack.Decoder().decode
    for block in blocks:
        decode(block, raw=True)


def encode_with_ours(paths: list[bytes]) -> None:
    encode = Encoder().encode
    for path in paths:
        encode([(b":path", path)], REQUEST)


def encode_with_hpack(paths: list[bytes]) -> None:
    """What h2 does: the path, like all else, may enter the table."""
    encode = hpack.Encoder().encode
    for path in paths:
        encode([(b":path", path), *REQUEST])


def new_paths() -> list[bytes]:
    return [b"/v1/accounts/%d/orders?page=2" % number for number in range(COUNT)]


Work = Callable[[list[bytes]], None]
DECODERS: dict[str, Work] = {"ours": decode_with_ours, "hpack": decode_with_hpack}
ENCODERS: dict[str, Work] = {"ours": encode_with_ours, "hpack": encode_with_hpack}

CASES: dict[str, tuple[Callable[[], list[bytes]], dict[str, Work]]] = {
    "decode, three new fields of ten, indexed": (varied_blocks, DECODERS),
    "decode, three new fields of ten, in full": (literal_blocks, DECODERS),
    "decode, a block seen before": (same_blocks, DECODERS),
    "decode, a block seen before, in full": (same_literal_blocks, DECODERS),
    "encode, nine fields and a new :path": (new_paths, ENCODERS),
}


def measure_first_decode(*, rounds: int) -> dict[str, float]:
    """One block with a new decoder each time: what the first response of a connection costs."""
    block = same_blocks()[0]
    best = dict.fromkeys(DECODERS, float("inf"))
    for _ in range(rounds):
        for name, make in (("ours", Decoder), ("hpack", hpack.Decoder)):
            decoders = [make() for _ in range(COUNT)]
            started = time.process_time()
            for decoder in decoders:
                decoder.decode(block)
            best[name] = min(best[name], (time.process_time() - started) / COUNT * 1e6)
    return best


def measure(rounds: int) -> Results:
    """Case -> codec -> best microseconds for one block."""
    results = {"decode, the first block": measure_first_decode(rounds=rounds)}
    for case, (make, codecs) in CASES.items():
        best = dict.fromkeys(codecs, float("inf"))
        for _ in range(rounds):
            for name, work in codecs.items():
                data = make()
                started = time.process_time()
                work(data)
                best[name] = min(best[name], (time.process_time() - started) / len(data) * 1e6)
        results[case] = best
    return results


if __name__ == "__main__":
    compare("Time our HPACK beside the hpack package.", measure, unit="microseconds per block", rival="hpack")
