"""How the bytes were split decides nothing: neither what is read, nor what is answered, nor what fails."""

from __future__ import annotations

from dataclasses import dataclass

from hypothesis import given, settings
from hypothesis import strategies as st

from httpcore._protocols.http2 import Engine, Stream
from httpcore._protocols.http2.frames import ACK

from .driver import (
    body,
    continuation,
    data,
    frame,
    goaway,
    headers,
    ping,
    reset,
    send,
    start,
    window_update,
)
from .driver import settings as settings_frame

Field = tuple[bytes, bytes]

contents = st.one_of(st.binary(max_size=40), st.integers(0, 2000).map(bytes))
paddings = st.one_of(st.none(), st.none(), st.integers(0, 255))
good_fields = st.lists(st.sampled_from([(b"a", b"b"), (b"x-y", b"z" * 50), (b"x", b"")]), max_size=3)
bad_fields = st.lists(st.sampled_from([(b"content-length", b"40"), (b"BAD", b""), (b"a", b" ")]), max_size=2)
any_ids = st.sampled_from([1, 3, 5, 7, 7, 0, 2, 9])


def head(stream_id: int, fields: list[Field], status: bytes | None, ends: bool) -> bytes:
    return headers(stream_id, *fields, status=status, ends=ends)


def long_head(stream_id: int, fields: list[Field], count: int) -> bytes:
    return (
        headers(stream_id, *fields, continues=True)
        + continuation(stream_id, *fields, continues=True) * count
        + continuation(stream_id)
    )


def body_part(stream_id: int, content: bytes, ends: bool, padding: int | None) -> bytes:
    return data(stream_id, content, ends=ends, padding=padding)


def responses(stream_id: int) -> st.SearchStrategy[list[bytes]]:
    """What a server says to one request when nothing goes wrong, or the beginning of it."""
    i = st.just(stream_id)
    interim = st.lists(st.builds(head, i, good_fields, st.just(b"103"), st.just(False)), max_size=2)
    final = st.one_of(
        st.builds(head, i, good_fields, st.just(b"200"), st.just(False)),
        st.builds(long_head, i, good_fields, st.integers(0, 3)),
    )
    parts = st.lists(st.builds(body_part, i, contents, st.just(False), paddings), max_size=5)
    end = st.one_of(
        st.just(b""),
        st.builds(body_part, i, contents, st.just(True), paddings),
        st.builds(head, i, good_fields, st.none(), st.just(True)),
    )
    return st.builds(lambda a, b, c, d: [*a, b, *c, d], interim, final, parts, end)


chatter = st.lists(
    st.one_of(
        st.builds(window_update, st.sampled_from([0, 5]), st.sampled_from([1, 70_000])),
        st.builds(ping, st.binary(min_size=8, max_size=8), flags=st.sampled_from([0, ACK])),
        st.builds(
            settings_frame, st.lists(st.sampled_from([(4, 50), (4, 20_000), (1, 0), (3, 2)]), max_size=3)
        ),
        st.builds(body_part, st.just(7), contents, st.just(False), paddings),
    ),
    max_size=4,
)
unlikely = st.one_of(
    st.builds(head, any_ids, bad_fields, st.sampled_from([b"200", b"204", None, b"x"]), st.booleans()),
    st.builds(lambda i, f: headers(i, *f, continues=True), any_ids, good_fields),
    st.builds(lambda i, f: continuation(i, *f), any_ids, good_fields),
    st.builds(body_part, any_ids, contents, st.booleans(), paddings),
    st.builds(reset, any_ids, st.sampled_from([0, 1, 7, 8, 99])),
    st.builds(window_update, any_ids, st.sampled_from([0, 1, 2**31 - 1])),
    st.builds(
        goaway, st.sampled_from([0, 1, 3, 2**31 - 1]), st.sampled_from([0, 1, 99]), st.binary(max_size=5)
    ),
    st.builds(
        settings_frame,
        st.lists(st.tuples(st.integers(1, 9), st.sampled_from([0, 1, 100, 20_000, 2**32 - 1])), max_size=3),
    ),
    st.builds(
        lambda kind, payload, flags, i: frame(kind, payload, flags=flags, stream_id=i),
        st.integers(0, 12),
        st.binary(max_size=12),
        st.integers(0, 255),
        any_ids,
    ),
)


@st.composite
def conversations(draw: st.DrawFn) -> list[bytes]:
    """Frames of several streams, interleaved; every other time with something among them that is wrong."""
    scripts = [draw(responses(1)), draw(responses(3)), draw(responses(5)), draw(chatter)]
    order = draw(st.permutations([number for number, script in enumerate(scripts) for _ in script]))
    wires = [scripts[number].pop(0) for number in order]
    for wrong in draw(st.one_of(st.just([]), st.lists(unlikely, min_size=1, max_size=2))):
        wires.insert(draw(st.integers(0, len(wires))), wrong)
    return [wire for wire in wires if wire]


@dataclass
class Outcome:
    """What a caller saw of everything."""

    streams: list[tuple[object, ...]]
    output: bytes
    failure: str
    capacity: int


def read(pieces: list[bytes], *, ends: bool) -> Outcome:
    """Four requests, one with an upload, one given up; and what comes back."""
    engine = start([(4, 100)])
    streams = [send(engine), send(engine), send(engine, b"POST", ends=False), send(engine)]
    engine.send_data(streams[2], bytes(200))
    engine.reset(streams[3])
    engine.take_output()
    for piece in pieces:
        check(engine, engine.feed(piece))
    if ends:
        engine.feed(b"")
    return Outcome(
        [
            (
                stream.head,
                stream.interim,
                body(stream),
                stream.trailers,
                stream.is_ended,
                str(stream.error),
                stream.is_refused,
                stream.stops_upload,
                stream.stage,
                stream.send_window,
                stream.capacity_left,
            )
            for stream in streams
        ],
        engine.take_output(),
        str(engine.failure),
        engine.capacity,
    )


def check(engine: Engine, news: list[Stream]) -> None:
    assert len(news) == len(set(news))
    for stream in engine.streams.values():
        assert 0 <= stream.capacity_left <= stream.window
        assert stream.taken >= 0
        # All of a frame counts from its header on.
        assert 0 <= sum(map(len, stream.data)) <= stream.unread
    assert engine.output.size == sum(map(len, engine.output._pieces))
    assert engine._rest is None or len(engine._rest) < 9 + 16_384
    assert (engine.failure is None) or not engine.streams


@settings(max_examples=100)
@given(conversations(), st.data(), st.booleans())
def test_any_frames_in_any_pieces(wires: list[bytes], draw: st.DataObject, ends: bool) -> None:
    wire = b"".join(wires)
    whole = read([wire] if wire else [], ends=ends)
    assert read([wire[i : i + 1] for i in range(len(wire))], ends=ends) == whole
    assert read(wires, ends=ends) == whole
    places = draw.draw(st.lists(st.integers(0, len(wire)), max_size=6).map(sorted))
    pieces = [wire[a:b] for a, b in zip([0, *places], [*places, len(wire)], strict=True) if b > a]
    assert read(pieces, ends=ends) == whole


@settings(max_examples=150)
@given(st.lists(st.binary(min_size=1, max_size=60), max_size=8))
def test_any_bytes(pieces: list[bytes]) -> None:
    whole = read([b"".join(pieces)] if pieces else [], ends=True)
    assert read(pieces, ends=True) == whole
