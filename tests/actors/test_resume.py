"""Sessions that outlive their connections: coming back, taking over, ending."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock

from actors.chat.settings import RoomSettings
from actors.edge.topic_messages import RemovedFromTopic
from actors.runtime.memory import MemoryEventStore, MemorySnapshotStore
from protocol.codec import JSON
from protocol.errors import (
    NORMAL,
    SESSION_FAILED,
    TAKEN_OVER,
)
from protocol.messages.envelope import Ok, Position
from protocol.messages.room import RoomLeft, RoomMessage, RoomRecovered, RoomSend
from protocol.messages.session import SessionClose, SessionResume, TopicLost
from tests.actors.players import (
    at,
    in_room,
    open_house,
    sessions,
    token_of,
    unlimited,
)

pytestmark = pytest.mark.usefixtures("layout")


async def test_a_client_that_comes_back_gets_exactly_what_it_missed(
    autojump_clock: MockClock,
) -> None:
    async with open_house() as house:
        ada, state = await in_room(house, "ada")
        bob, _ = await in_room(house, "bob")
        await bob.ask(RoomSend(room="lobby", body="seen"))
        (seen,) = ada.got(RoomMessage)
        ada.leave()
        for body in ("missed 1", "missed 2"):
            await bob.ask(RoomSend(room="lobby", body=body))
        again = house.connect()
        opened = await again.resume(
            token_of(ada), {"room:lobby": Position(epoch=state.epoch, offset=seen.offset)}
        )
        assert opened.resumed
        assert opened.user == ada.opened.user if ada.opened else False
        await bob.ask(RoomSend(room="lobby", body="live"))
        await again.settle()
        (recovered,) = again.got(RoomRecovered)
        assert recovered.recovered
        assert [message.body for message in recovered.messages] == ["missed 1", "missed 2"]
        assert [push.body for push in again.got(RoomMessage)] == ["live"]
        await bob.settle()
        assert bob.got(RoomLeft) == []


async def test_the_answer_to_a_resume_comes_before_what_was_missed(
    autojump_clock: MockClock,
) -> None:
    async with open_house() as house:
        ada, state = await in_room(house, "ada")
        ada.leave()
        again = house.connect(JSON)
        again.tell(SessionResume(ref=1, token=token_of(ada), positions={"room:lobby": at(state)}))
        await trio.testing.wait_all_tasks_blocked()
        data = bytes(again.client.outbox.next_bytes())
        assert data.index(b'"op":"ok"') < data.index(b'"op":"room.recovered"')


async def test_a_newer_connection_takes_over_and_the_older_one_is_closed(
    autojump_clock: MockClock,
) -> None:
    async with open_house() as house:
        ada, state = await in_room(house, "ada")
        bob, _ = await in_room(house, "bob")
        again = house.connect()
        opened = await again.resume(token_of(ada), {"room:lobby": at(state)})
        assert opened.resumed
        await ada.settle()
        assert ada.closed == TAKEN_OVER
        ada.handler.disconnected(TAKEN_OVER, "")
        await trio.sleep(100)  # the older one's end is not the session's
        await bob.ask(RoomSend(room="lobby", body="hello"))
        await again.settle()
        assert [push.body for push in again.got(RoomMessage)] == ["hello"]
        assert len(sessions(house)) == 2
        assert house.gateway.taken_over == 1


async def test_an_answer_goes_to_the_connection_that_asked(autojump_clock: MockClock) -> None:
    events = MemoryEventStore()
    async with open_house(events=events) as house:
        ada, state = await in_room(house, "ada")
        events.delay_s = 1.0
        ada.tell(RoomSend(ref=7, room="lobby", body="x"))
        await ada.settle()
        ada.leave()
        again = house.connect()
        await again.resume(token_of(ada), {"room:lobby": at(state)})
        again.tell(RoomSend(ref=7, room="lobby", body="y"))  # refs start anew
        reply = await again.replied(7)
        assert isinstance(reply, Ok)
        assert reply.data["offset"] == 2
        await trio.sleep(5)
        await again.settle()
        assert again.replies == []


async def test_a_topic_that_a_resume_does_not_name_is_left(autojump_clock: MockClock) -> None:
    async with open_house() as house:
        ada, _ = await in_room(house, "ada")
        bob, _ = await in_room(house, "bob")
        ada.leave()
        again = house.connect()
        await again.resume(token_of(ada))
        await bob.settle()
        assert [push.member.name for push in bob.got(RoomLeft)] == ["ada"]
        assert await again.refused(RoomSend(room="lobby", body="x")) == "not_joined"


async def test_a_resume_can_name_only_so_many_topics(autojump_clock: MockClock) -> None:
    async with open_house(sessions=unlimited(topics=2)) as house:
        ada, state = await in_room(house, "ada")
        ada.leave()
        again = house.connect()
        await again.resume(
            token_of(ada), {topic: at(state) for topic in ("room:lobby", "room:b", "room:c")}
        )
        await again.settle()
        assert [(push.topic, push.code) for push in again.got(TopicLost)] == [
            ("room:c", "too_many_topics")
        ]
        assert len(again.got(RoomRecovered)) == 2


async def test_a_topic_that_cannot_be_resumed_is_named_with_the_reason(
    autojump_clock: MockClock,
) -> None:
    async with open_house(rooms=RoomSettings(members=1)) as house:
        ada, state = await in_room(house, "ada")
        await ada.ask(SessionClose())
        await in_room(house, "bob")
        again = house.connect()
        await again.resume(
            token_of(ada), {"room:lobby": at(state), "match:m1": Position(epoch=1, offset=0)}
        )
        await again.settle()
        assert {(push.topic, push.code) for push in again.got(TopicLost)} == {
            ("room:lobby", "room_full"),
            ("match:m1", "unknown_match"),
        }
        assert await again.refused(RoomSend(room="lobby", body="x")) == "not_joined"


async def test_a_session_ends_when_nobody_comes_back_in_time(autojump_clock: MockClock) -> None:
    async with open_house(sessions=unlimited(resume_within_s=30)) as house:
        ada, state = await in_room(house, "ada")
        bob, _ = await in_room(house, "bob")
        ada.leave()
        await trio.sleep(29)
        await bob.settle()
        assert bob.got(RoomLeft) == []
        await trio.sleep(2)
        await bob.settle()
        assert [push.member.name for push in bob.got(RoomLeft)] == ["ada"]
        assert len(sessions(house)) == 1
        again = house.connect()
        opened = await again.resume(token_of(ada), {"room:lobby": at(state)})
        assert not opened.resumed
        assert ada.opened is not None
        assert (opened.user, opened.name) == (ada.opened.user, "ada")
        await again.settle()
        assert again.got(RoomRecovered)[0].recovered


async def test_each_break_starts_the_time_anew(autojump_clock: MockClock) -> None:
    async with open_house(sessions=unlimited(resume_within_s=30)) as house:
        player = await house.player("ada")
        for _ in range(4):
            player.leave()
            await trio.sleep(20)
            token = token_of(player)
            player = house.connect()
            assert (await player.resume(token)).resumed
            await trio.sleep(20)


async def test_with_no_time_to_resume_a_session_ends_with_its_connection(
    autojump_clock: MockClock,
) -> None:
    async with open_house(sessions=unlimited(resume_within_s=0)) as house:
        ada = await house.player("ada")
        ada.leave()
        await trio.sleep(0.01)
        assert sessions(house) == []
        assert list(house.topics.sessions) == []


async def test_closing_leaves_everything_and_closes_the_connection(
    autojump_clock: MockClock,
) -> None:
    async with open_house() as house:
        ada, _ = await in_room(house, "ada")
        bob, _ = await in_room(house, "bob")
        assert await ada.ask(SessionClose()) is None
        await ada.settle()
        assert ada.closed == NORMAL
        await bob.settle()
        assert [push.member.name for push in bob.got(RoomLeft)] == ["ada"]
        assert len(sessions(house)) == 1


async def test_a_session_that_crashes_closes_its_connection_and_resumes(
    autojump_clock: MockClock,
) -> None:
    async with open_house() as house:
        ada, state = await in_room(house, "ada")
        bob, _ = await in_room(house, "bob")
        assert ada.opened is not None
        poison = RemovedFromTopic(topic=["not hashable"])  # type: ignore[arg-type]  # that is the point
        house.system.ref("session", ada.opened.session).tell(poison)
        await ada.settle()
        assert ada.closed == SESSION_FAILED
        ada.handler.disconnected(SESSION_FAILED, "")
        await bob.ask(RoomSend(room="lobby", body="meanwhile"))
        assert bob.closed is None
        again = house.connect()
        opened = await again.resume(token_of(ada), {"room:lobby": at(state)})
        assert not opened.resumed
        assert opened.user == ada.opened.user
        await again.settle()
        (recovered,) = again.got(RoomRecovered)
        assert recovered.recovered
        assert [message.body for message in recovered.messages] == ["meanwhile"]


async def test_a_resume_works_though_the_process_is_another_one(
    autojump_clock: MockClock,
) -> None:
    events, snapshots = MemoryEventStore(), MemorySnapshotStore()
    async with open_house(events=events, snapshots=snapshots) as house:
        ada, state = await in_room(house, "ada")
        bob, _ = await in_room(house, "bob")
        ada.leave()
        await bob.ask(RoomSend(room="lobby", body="missed"))
    async with open_house(events=events, snapshots=snapshots) as house:
        again = house.connect()
        opened = await again.resume(token_of(ada), {"room:lobby": at(state)})
        assert not opened.resumed
        await again.settle()
        (recovered,) = again.got(RoomRecovered)
        assert (recovered.recovered, recovered.epoch) == (True, 2)
        assert [message.body for message in recovered.messages] == ["missed"]


async def test_too_much_to_tell_is_not_told_in_part(autojump_clock: MockClock) -> None:
    async with open_house(rooms=RoomSettings(answer_bytes=50)) as house:
        ada, state = await in_room(house, "ada")
        bob, _ = await in_room(house, "bob")
        ada.leave()
        for _ in range(6):
            await bob.ask(RoomSend(room="lobby", body="ten bytes."))
        again = house.connect()
        await again.resume(token_of(ada), {"room:lobby": at(state)})
        await again.settle()
        (there,) = again.got(RoomRecovered)
        assert not there.recovered
        assert [message.offset for message in there.messages] == [2, 3, 4, 5, 6]
