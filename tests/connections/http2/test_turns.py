"""Who reads for all, without anybody who does."""

from __future__ import annotations

from httpcore._backends.sync import SyncBackend
from httpcore._connections.http2.lanes import Lane
from httpcore._connections.http2.turns import Turns


def sleeper(turns: Turns) -> Lane:
    lane = Lane()
    assert not turns.try_read(lane)
    turns.sleep(lane, SyncBackend().create_parker())
    return lane


def test_there_is_one_reader() -> None:
    turns, reader = Turns(), Lane()
    assert turns.try_read(reader)
    assert turns.try_read(reader)
    assert not turns.try_read(Lane())
    assert turns.reader is reader


def test_the_reading_is_handed_over_in_turn() -> None:
    turns, reader = Turns(), Lane()
    assert turns.try_read(reader)
    sleepers = [sleeper(turns) for _ in range(3)]
    for following in sleepers:
        parker = following.parker
        assert parker is not None
        assert turns.leave(reader) is parker
        assert turns.reader is following
        reader = following
    assert turns.leave(reader) is None
    assert turns.reader is None


def test_who_leaves_asleep_is_not_the_next() -> None:
    turns, reader = Turns(), Lane()
    assert turns.try_read(reader)
    first, second = sleeper(turns), sleeper(turns)
    assert turns.leave(first) is None
    assert first.parker is None
    assert turns.reader is reader
    parker = second.parker
    assert turns.leave(reader) is parker is not None


def test_who_has_left_leaves_nothing_behind() -> None:
    turns, reader = Turns(), Lane()
    assert turns.try_read(reader)
    assert turns.leave(reader) is None
    assert turns.leave(reader) is None
    other = Lane()
    assert turns.try_read(other)
    assert turns.leave(reader) is None
    assert turns.reader is other
