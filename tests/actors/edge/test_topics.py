"""The hub: one frame for all, order, conflation, and what a change of connection does."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from actors.edge.identity import Identity
from actors.edge.topic_messages import Resume
from actors.edge.topics import Topics
from protocol.codec import JSON, MSGPACK, EncodeError, Encoding
from protocol.errors import CloseCode
from protocol.messages.match import MatchEvent
from protocol.messages.room import RoomMessage
from protocol.server.flusher import Flusher
from protocol.server.outbox import Outbox


class Wire:
    """A transport that sends nothing, so that tests can look at what is queued."""

    def __init__(self) -> None:
        self.send: Callable[[bytes | memoryview], int] = len
        self.address: str | None = None

    def overflowed(self) -> None:
        raise AssertionError("nothing here is that long")

    def fell_behind(self, reason: str) -> None:
        raise AssertionError(reason)

    def broken(self, error: OSError) -> None:
        raise AssertionError(error)

    def sent_all(self) -> None:
        raise AssertionError("nothing here is closed")

    async def wait_writable(self) -> None:
        raise AssertionError("nothing here is sent")


class Line:
    """A connection as the hub sees it."""

    def __init__(self, number: int, encoding: Encoding = MSGPACK) -> None:
        self.id = number
        self.encoding = encoding
        self.outbox = Outbox(encoding, 1 << 20, Flusher(), Wire())
        self.closed: CloseCode | None = None

    def close(self, code: CloseCode) -> None:
        self.closed = code

    def got(self) -> bytes:
        data = self.outbox.next_bytes()
        self.outbox.sent(data, len(data))
        self.outbox.idle()
        return bytes(data)


def said(body: str) -> RoomMessage:
    return RoomMessage(room="r", offset=1, user="u", name="n", body=body, at=0)


def frames(*bodies: str, encoding: Encoding = MSGPACK) -> bytes:
    return b"".join(encoding.frame(said(body)) for body in bodies)


def who(number: int) -> Identity:
    return Identity(f"s{number}", f"u{number}", f"n{number}")


def asks(connection: int) -> Resume:
    return Resume(who(1), connection, epoch=1, offset=0)


def hub(*lines: Line, topic: str = "room:r") -> Topics:
    topics = Topics()
    for line in lines:
        topics.attach(who(line.id), line)
        assert topics.subscribe(topic, who(line.id), line.id)
    return topics


def test_a_push_is_the_same_bytes_for_everyone_of_an_encoding() -> None:
    lines = [Line(1), Line(2, JSON), Line(3)]
    topics = hub(*lines)
    topics.publish("room:r", said("a"))
    topics.publish("room:r", said("b"))
    assert lines[0].got() == lines[2].got() == frames("a", "b")
    assert lines[1].got() == frames("a", "b", encoding=JSON)
    assert (topics.published, topics.delivered) == (2, 6)


def test_nobody_hears_of_a_topic_that_they_are_not_on() -> None:
    here, there = Line(1), Line(2)
    topics = hub(here)
    topics.attach(who(2), there)
    topics.publish("room:r", said("a"))
    topics.publish("room:empty", said("b"))
    assert there.got() == b""
    assert [listener.who.session for listener in topics.members("room:r")] == ["s1"]


def test_of_states_only_the_newest_waits_and_events_keep_their_place() -> None:
    line = Line(1)
    topics = hub(line, topic="match:m")
    event = MatchEvent(match="m", offset=1, kind="scored")
    topics.publish_state("match:m", said("state 1"))
    topics.publish("match:m", event)
    topics.publish_state("match:m", said("state 2"))
    assert line.got() == MSGPACK.frame(event) + frames("state 2")


def test_each_user_can_get_a_state_of_their_own() -> None:
    lines = [Line(1), Line(2)]
    topics = hub(*lines, topic="match:m")
    topics.publish_states("match:m", said)
    assert [line.got() for line in lines] == [frames("u1"), frames("u2")]


def test_what_cannot_be_encoded_reaches_nobody() -> None:
    lines = [Line(1), Line(2, JSON)]
    topics = hub(*lines)
    with pytest.raises(EncodeError):
        topics.publish("room:r", MatchEvent(match="m", offset=1, kind="k", data=object()))
    assert [line.got() for line in lines] == [b"", b""]


def test_a_new_connection_gets_nothing_before_its_topic_subscribes_it_again() -> None:
    older, newer = Line(1), Line(2)
    topics = hub(older)
    topics.attach(who(1), newer)
    topics.publish("room:r", said("meanwhile"))
    assert topics.subscribe("room:r", who(1), newer.id)
    topics.publish("room:r", said("after"))
    assert (older.got(), newer.got()) == (b"", frames("after"))


def test_a_connection_that_was_taken_over_can_neither_subscribe_nor_be_sent_to() -> None:
    older, newer = Line(1), Line(2)
    topics = hub(older)
    topics.attach(who(1), newer)
    assert not topics.subscribe("room:r", who(1), older.id)
    topics.recover("room:r", asks(older.id), said("late"))
    assert not topics.detach("s1", older.id)
    assert topics.is_current("s1", newer.id)
    assert topics.recover("room:r", asks(newer.id), said("yours"))
    assert (older.got(), newer.got()) == (b"", frames("yours"))


def test_a_session_without_a_connection_stays_a_member() -> None:
    line = Line(1)
    topics = hub(line)
    assert topics.detach("s1", line.id)
    topics.publish("room:r", said("a"))
    assert line.got() == b""
    assert [listener.who.user for listener in topics.members("room:r")] == ["u1"]
    assert topics.link("s1") is None
    assert list(topics.sessions) == ["s1"]


def test_the_owner_of_a_topic_still_counts_a_session_that_is_over() -> None:
    line = Line(1)
    topics = hub(line)
    topics.end_session("s1")
    assert list(topics.sessions) == []
    assert len(topics.members("room:r")) == 1
    assert topics.unsubscribe("room:r", "s1")
    assert not topics.unsubscribe("room:r", "s1")
    assert topics.members("room:r") == []
    topics.end_session("s1")


def test_one_member_is_told_if_it_is_subscribed() -> None:
    line, other, newer = Line(1), Line(2), Line(3)
    topics = hub(line, other)
    topics.publish_one("room:r", "s1", said("alone"))
    assert line.got() == frames("alone")
    topics.attach(who(1), newer)  # its client has yet to say where it stands
    topics.publish_one("room:r", "s1", said("late"))
    topics.publish_one("room:r", "nobody", said("late"))
    topics.publish_one("room:none", "s2", said("late"))
    assert (line.got(), other.got(), newer.got()) == (b"", b"", b"")


def test_a_dissolved_topic_has_no_members() -> None:
    lines = [Line(1), Line(2)]
    topics = hub(*lines)
    assert [listener.who.session for listener in topics.dissolve("room:r")] == ["s1", "s2"]
    topics.publish("room:r", said("a"))
    assert [line.got() for line in lines] == [b"", b""]
    assert topics.dissolve("room:r") == []
