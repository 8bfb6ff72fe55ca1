"""The engine as a whole: the order of things, interim responses, other protocols, and reuse."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from httpcore._exceptions import LocalProtocolError, RemoteProtocolError
from httpcore._protocols.http11 import Engine
from httpcore._protocols.http11.engine import Stage

from .driver import HOST, Outcome, read, read_error, receive, start

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
EMPTY = b"HTTP/1.1 204 No Content\r\n\r\n"
INTERIM = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"


# Every stage, and how to get there.


def in_stage(stage: Stage) -> Engine:
    engine = Engine()
    if stage is Stage.IDLE:
        return engine
    engine.start_request(
        b"CONNECT" if stage is Stage.RAW else b"POST", b"h:1", [HOST, (b"Content-Length", b"3")]
    )
    response = {
        Stage.HEAD: b"",
        Stage.LENGTH: b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n",
        Stage.CHUNKED: b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        Stage.UNTIL_CLOSE: b"HTTP/1.1 200 OK\r\n\r\n",
        Stage.RAW: b"HTTP/1.1 200 OK\r\n\r\n",
        Stage.COMPLETE: EMPTY,
        Stage.FAILED: b"",
    }[stage]
    if response:
        engine.feed(response)
        assert engine.next_head() is not None
    if stage is Stage.FAILED:
        engine.feed(b"rubbish")
        with pytest.raises(RemoteProtocolError):
            engine.next_head()
    return engine


def begin(engine: Engine) -> object:
    return engine.start_request(b"GET", b"/", [HOST])


def frame(engine: Engine) -> object:
    return engine.frame_body(b"abc")


def overfill(engine: Engine) -> object:
    return engine.frame_body(b"abcd")


def finish(engine: Engine) -> object:
    return engine.finish_body()


def feed(engine: Engine) -> object:
    engine.feed(b"5\r\nabcde\r\n")
    return None


def end(engine: Engine) -> object:
    engine.feed(b"")
    return None


def next_head(engine: Engine) -> object:
    return engine.next_head()


def next_data(engine: Engine) -> object:
    return engine.next_data()


def end_and_read(engine: Engine) -> object:
    engine.feed(b"")
    return engine.next_data()


def feed_and_read(engine: Engine) -> object:
    engine.feed(b"5\r\nabcde\r\n")
    return engine.next_data()


def pass_on(engine: Engine) -> object:
    return engine.pass_data(b"5\r\nabcde\r\n")


def take_rest(engine: Engine) -> object:
    return engine.take_rest()


def everywhere(result: object) -> dict[Stage, object]:
    return dict.fromkeys(Stage, result)


LOCAL, REMOTE, MISUSE = LocalProtocolError, RemoteProtocolError, RuntimeError

# What feeding a piece of a body gives, in one step or in two.
FED: dict[Stage, object] = {
    Stage.IDLE: MISUSE,
    Stage.HEAD: MISUSE,
    Stage.LENGTH: b"5\r\nabcde\r\n",
    Stage.CHUNKED: b"abcde",
    Stage.UNTIL_CLOSE: b"5\r\nabcde\r\n",
    Stage.RAW: b"5\r\nabcde\r\n",
    Stage.COMPLETE: b"",
    Stage.FAILED: REMOTE,
}

# What each input does in each stage: the result, or the kind of error.
TABLE: dict[Callable[[Engine], object], dict[Stage, object]] = {
    begin: {
        Stage.IDLE: b"GET / HTTP/1.1\r\nHost: example.org\r\n\r\n",
        Stage.HEAD: MISUSE,
        Stage.LENGTH: MISUSE,
        Stage.CHUNKED: MISUSE,
        Stage.UNTIL_CLOSE: MISUSE,
        Stage.RAW: MISUSE,
        # The request's own half is not complete.
        Stage.COMPLETE: MISUSE,
        Stage.FAILED: MISUSE,
    },
    frame: dict.fromkeys(Stage, (b"abc",)) | {Stage.IDLE: MISUSE},
    overfill: everywhere(LOCAL) | {Stage.IDLE: MISUSE},
    finish: everywhere(LOCAL) | {Stage.IDLE: MISUSE},
    feed: everywhere(None),
    end: everywhere(None),
    next_head: everywhere(MISUSE) | {Stage.HEAD: None, Stage.FAILED: REMOTE},
    next_data: {
        Stage.IDLE: MISUSE,
        Stage.HEAD: MISUSE,
        Stage.LENGTH: None,
        Stage.CHUNKED: None,
        Stage.UNTIL_CLOSE: None,
        Stage.RAW: None,
        Stage.COMPLETE: b"",
        Stage.FAILED: REMOTE,
    },
    feed_and_read: FED,
    pass_on: FED,
    end_and_read: {
        Stage.IDLE: MISUSE,
        Stage.HEAD: MISUSE,
        Stage.LENGTH: REMOTE,
        Stage.CHUNKED: REMOTE,
        Stage.UNTIL_CLOSE: b"",
        Stage.RAW: b"",
        Stage.COMPLETE: b"",
        Stage.FAILED: REMOTE,
    },
    take_rest: {**everywhere(b""), Stage.FAILED: b"rubbish"},
}

# What leads elsewhere; all else stays where it is. Heads have tests of their own.
TRANSITIONS: dict[tuple[Callable[[Engine], object], Stage], Stage] = {
    (begin, Stage.IDLE): Stage.HEAD,
    (end_and_read, Stage.LENGTH): Stage.FAILED,
    (end_and_read, Stage.CHUNKED): Stage.FAILED,
    (end_and_read, Stage.UNTIL_CLOSE): Stage.COMPLETE,
    (end_and_read, Stage.RAW): Stage.COMPLETE,
}


class TestStages:
    @pytest.mark.parametrize("stage", Stage)
    def test_can_be_reached(self, stage: Stage) -> None:
        assert in_stage(stage)._stage is stage

    @pytest.mark.parametrize("stage", Stage)
    @pytest.mark.parametrize("act", TABLE)
    def test_every_input(self, act: Callable[[Engine], object], stage: Stage) -> None:
        engine = in_stage(stage)
        expected = TABLE[act][stage]
        if isinstance(expected, type):
            with pytest.raises(Exception) as caught:
                act(engine)
            assert type(caught.value) is expected
            assert str(caught.value).endswith(".")
        else:
            assert act(engine) == expected
        assert engine._stage is TRANSITIONS.get((act, stage), stage)
        assert engine.is_complete is (engine._stage is Stage.COMPLETE)

    def test_the_table_is_complete(self) -> None:
        assert all(set(row) == set(Stage) for row in TABLE.values())

    @pytest.mark.parametrize("stage", Stage)
    def test_a_failed_engine_says_the_same_for_ever(self, stage: Stage) -> None:
        engine = in_stage(Stage.FAILED)
        messages = set()
        for call in (engine.next_head, engine.next_data) * 2:
            with pytest.raises(RemoteProtocolError) as caught:
                call()
            messages.add(str(caught.value))
        assert len(messages) == 1
        assert not engine.can_reuse


class TestExchanges:
    def test_many_on_one_connection(self) -> None:
        engine = Engine()
        for number in range(50):
            assert engine.can_reuse
            engine.start_request(b"GET", b"/%d" % number, [HOST])
            assert not engine.can_reuse
            engine.finish_body()
            assert not engine.can_reuse
            outcome = receive(
                [b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n%03d" % number], engine=engine, ends=False
            )
            assert outcome.body == b"%03d" % number

    @pytest.mark.parametrize(
        "responses",
        [
            [b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\nX: 1\r\n\r\n", OK],
            [EMPTY, b"HTTP/1.1 304 x\r\nContent-Length: 9\r\n\r\n", OK],
            [INTERIM + OK, INTERIM * 16 + EMPTY, INTERIM * 16 + OK],
            [OK, b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 0\r\n\r\n", OK],
        ],
    )
    def test_nothing_is_left_over_from_the_one_before(self, responses: list[bytes]) -> None:
        engine = Engine()
        for response in responses * 2:
            engine.start_request(b"GET", b"/", [HOST])
            assert not engine.is_complete
            assert not engine.response_started
            assert not engine.wants_close
            assert engine.trailers == []
            engine.finish_body()
            outcome = receive([response], engine=engine, ends=False)
            assert outcome == receive([response], ends=False)
            assert outcome.can_reuse

    def test_the_request_may_still_be_going_out(self) -> None:
        """The answer to an upload comes before its end; the connection is free when both are complete."""
        engine = Engine()
        engine.start_request(b"POST", b"/", [HOST, (b"Content-Length", b"6")])
        engine.frame_body(b"abc")
        engine.feed(OK)
        assert engine.next_head() is not None
        assert not engine.wants_close
        assert engine.next_data() == b"hello"
        assert engine.is_complete
        assert not engine.can_reuse
        engine.frame_body(b"def")
        assert not engine.can_reuse
        engine.finish_body()
        assert engine.can_reuse

    def test_nothing_changes_when_a_request_is_refused(self) -> None:
        engine = start()
        receive([OK], engine=engine, ends=False)
        for method, headers in ((b"G T", [HOST]), (b"GET", []), (b"GET", [HOST, (b"Content-Length", b"x")])):
            with pytest.raises(LocalProtocolError):
                engine.start_request(method, b"/", headers)
            assert engine.is_complete
            assert engine.can_reuse
            assert engine.next_data() == b""
        engine.start_request(b"GET", b"/", [HOST])

    def test_who_speaks_before_being_asked_is_not_asked(self) -> None:
        for piece in (OK, b"x", b""):
            engine = Engine()
            engine.feed(piece)
            assert not engine.can_reuse
            with pytest.raises(RemoteProtocolError, match=r"before it got a request"):
                engine.start_request(b"GET", b"/", [HOST])


class TestEndOfStream:
    def test_without_a_response(self) -> None:
        engine = start()
        engine.feed(b"")
        with pytest.raises(RemoteProtocolError, match=r"without sending a response"):
            engine.next_head()
        assert not engine.response_started

    @pytest.mark.parametrize("arrived", [b"H", INTERIM, INTERIM + b"H", OK[:-30]])
    def test_with_a_part_of_one(self, arrived: bytes) -> None:
        engine = start()
        engine.feed(arrived)
        assert engine.response_started
        outcome = receive([], engine=engine)
        assert outcome.failed
        assert "without sending" not in outcome.error
        assert engine.response_started

    def test_at_every_place(self) -> None:
        response = INTERIM + b"HTTP/1.1 200 OK\r\nX: 1\r\nContent-Length: 5\r\n\r\nhello"
        for size in range(len(response)):
            assert "closed the connection" in read_error(response[:size], ends=True)

    def test_after_an_interim_response(self) -> None:
        assert "without a final one" in read_error(INTERIM, ends=True)

    def test_after_a_complete_one(self) -> None:
        engine = start()
        outcome = receive([OK], engine=engine)
        assert outcome.is_complete
        assert not outcome.can_reuse
        with pytest.raises(RuntimeError):
            engine.start_request(b"GET", b"/", [HOST])

    def test_it_may_be_told_twice(self) -> None:
        assert receive([OK, b"", b""]).body == b"hello"


class TestInterim:
    @pytest.mark.parametrize("status", [100, 102, 103, 104, 199])
    def test_they_come_before_the_final_one(self, status: int) -> None:
        outcome = read((b"HTTP/1.1 %d x\r\nX: 1\r\n\r\n" % status) * 2 + OK)
        assert [head[0] for head in outcome.heads] == [status, status, 200]
        assert outcome.body == b"hello"
        assert outcome.can_reuse

    def test_their_fields_frame_nothing(self) -> None:
        interim = (
            b"HTTP/1.1 100 x\r\nContent-Length: 5\r\nTransfer-Encoding: gzip\r\nConnection: close\r\n\r\n"
        )
        outcome = read(interim + OK)
        assert outcome.body == b"hello"
        assert outcome.can_reuse

    def test_there_may_be_sixteen(self) -> None:
        assert read(INTERIM * 16 + OK).is_complete
        assert "more than 16 interim" in read_error(INTERIM * 17 + OK)

    def test_what_follows_is_a_head(self) -> None:
        for junk in (b"hello", b"\r\n", b"0\r\n\r\n"):
            read_error(INTERIM + junk + OK)

    def test_in_answer_to_connect_and_head(self) -> None:
        for method in (b"CONNECT", b"HEAD"):
            outcome = read(INTERIM + b"HTTP/1.1 403 x\r\nContent-Length: 0\r\n\r\n", method=method)
            assert [head[0] for head in outcome.heads] == [103, 403]
            assert outcome.is_complete


class TestRaw:
    """After 101, and after a 2xx to CONNECT, the connection does not speak HTTP any more."""

    FRAMINGS = (b"", b"Content-Length: 5\r\n", b"Content-Length: x\r\n", b"Transfer-Encoding: gzip\r\n")

    @pytest.mark.parametrize("framing", FRAMINGS)
    @pytest.mark.parametrize(
        ("method", "status"),
        [(b"GET", 101), (b"CONNECT", 101), (b"CONNECT", 200), (b"CONNECT", 204), (b"CONNECT", 299)],
    )
    def test_bytes_pass_until_the_end(self, framing: bytes, method: bytes, status: int) -> None:
        head = b"HTTP/1.1 %d x\r\nUpgrade: x\r\nConnection: upgrade\r\n%b\r\n" % (status, framing)
        for body in (b"", b"x", b"0\r\n\r\n" + OK):
            outcome = read(head + body, method=method)
            assert outcome.is_raw
            assert outcome.body == body
            assert not outcome.is_complete
            assert not outcome.can_reuse
            outcome = read(head + body, method=method, ends=True)
            assert outcome.body == body
            assert outcome.is_complete
            assert not outcome.can_reuse

    def test_what_is_here_can_be_taken(self) -> None:
        engine = start(b"CONNECT")
        engine.feed(b"HTTP/1.1 200 OK\r\n\r\nfirst")
        engine.next_head()
        assert engine.take_rest() == b"first"
        assert engine.take_rest() == b""
        engine.feed(b"second")
        assert engine.next_data() == b"second"

    def test_what_was_refused_is_http(self) -> None:
        outcome = read(b"HTTP/1.1 407 x\r\nContent-Length: 5\r\n\r\nhello", method=b"CONNECT")
        assert not outcome.is_raw
        assert outcome.body == b"hello"
        assert outcome.can_reuse

    def test_only_for_connect(self) -> None:
        assert not read(b"HTTP/1.1 200 x\r\nContent-Length: 5\r\n\r\nhello").is_raw
        assert not read(b"HTTP/1.1 200 x\r\nContent-Length: 5\r\n\r\nhello", method=b"connect").is_raw


class TestReuse:
    @pytest.mark.parametrize(
        ("version", "connection", "persists"),
        [
            (b"1.1", [], True),
            (b"1.1", [b"keep-alive"], True),
            (b"1.1", [b"close"], False),
            (b"1.1", [b"CLOSE"], False),
            (b"1.1", [b"Keep-Alive, Close"], False),
            (b"1.1", [b"keep-alive", b"close"], False),
            (b"1.1", [b"close", b"keep-alive"], False),
            (b"1.1", [b" ,, x ,\tclose ,"], False),
            (b"1.1", [b"closed, x-close, close;q=1, 'close'"], True),
            (b"1.1", [b""], True),
            (b"1.0", [], False),
            (b"1.0", [b""], False),
            (b"1.0", [b"keep-alive"], True),
            (b"1.0", [b"x", b"KEEP-ALIVE"], True),
            (b"1.0", [b"keep-alive, close"], False),
            (b"1.0", [b"x-keep-alive"], False),
        ],
    )
    def test_connection_options(self, version: bytes, connection: list[bytes], persists: bool) -> None:
        lines = b"".join(b"cOnnection: " + value + b"\r\n" for value in connection)
        response = b"HTTP/" + version + b" 200 OK\r\n" + lines + b"Content-Length: 0\r\n\r\n"
        for _ in range(3):
            engine = start()
            assert receive([response], engine=engine, ends=False).can_reuse is persists
            assert engine.wants_close is not persists
        assert read(response).can_reuse is persists

    @pytest.mark.parametrize(
        ("connection", "persists"),
        [
            ([], True),
            ([b"keep-alive"], True),
            ([b"close"], False),
            ([b"x, Close"], False),
            ([b"x", b"close"], False),
        ],
    )
    def test_our_own_wish(self, connection: list[bytes], persists: bool) -> None:
        for _ in range(2):
            engine = Engine()
            engine.start_request(b"GET", b"/", [HOST, *((b"connection", value) for value in connection)])
            engine.finish_body()
            assert receive([OK], engine=engine, ends=False).can_reuse is persists
            assert not engine.wants_close

    def test_an_unread_body(self) -> None:
        engine = start()
        engine.feed(OK)
        engine.next_head()
        assert not engine.can_reuse

    def test_bytes_that_nobody_asked_for(self) -> None:
        """The response is delivered; the next request never sees them."""
        for surplus in (b"x", b"\r\n", OK, b"HTTP/1.1 408 Request Timeout\r\n\r\n"):
            for pieces in ([OK + surplus], [OK, surplus]):
                engine = start()
                outcome = receive(pieces, engine=engine, ends=False)
                assert outcome.body == b"hello"
                assert outcome.is_complete
                assert not outcome.can_reuse
                assert engine.next_data() == b""
                with pytest.raises(RuntimeError):
                    engine.start_request(b"GET", b"/", [HOST])
                assert engine.take_rest() == surplus

    def test_an_early_end(self) -> None:
        for response in (OK, EMPTY):
            assert not receive([response]).can_reuse


class TestPieces:
    """Pieces may come faster than they are read."""

    def test_all_before_the_first_look(self) -> None:
        body = bytes(range(256)) * 100
        responses = {
            INTERIM + b"HTTP/1.1 200 OK\r\nContent-Length: 25600\r\n\r\n" + body: body,
            b"HTTP/1.1 200 OK\nTransfer-Encoding: chunked\r\n\n6400\r\n"
            + body
            + b"\r\n1;x\r\nx\r\n0\r\nX: 1\r\n\r\n": body + b"x",
            b"HTTP/1.1 200 OK\r\n\r\n" + body: body,
        }
        for response, expected in responses.items():
            for size in (1, 7, 100, 5000):
                engine = start()
                for at in range(0, len(response), size):
                    engine.feed(response[at : at + size])
                outcome = receive([], engine=engine)
                assert outcome.body == expected
                assert outcome.is_complete
                assert outcome == receive([response])

    def test_everything_between_two_looks(self) -> None:
        chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"40\r\n" + b"x" * 64 + b"\r\n"
        for cut in range(len(chunked) - 70, len(chunked)):
            engine = start()
            outcome = Outcome()
            engine.feed(chunked[:cut])
            assert engine.next_head() is not None
            outcome.body += engine.next_data() or b""
            for byte in chunked[cut:] + b"5;" + b"a" * 200 + b"\r\nhello\r\n0\r\n" + b"X: " + b"a" * 200:
                engine.feed(bytes([byte]))
            outcome.body += engine.next_data() or b""
            for byte in b"\r\n\r\n":
                engine.feed(bytes([byte]))
            assert engine.next_data() == b""
            assert engine.is_complete
            assert outcome.body == b"x" * 64 + b"hello"
            assert engine.trailers == [(b"X", b"a" * 200)]
            assert engine.take_rest() == b""
