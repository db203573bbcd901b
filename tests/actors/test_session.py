"""Sessions: opening, limits, taking over, coming back, ending. No sockets; the clock is trio's."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock

from actors.messages import TopicGone
from actors.runtime.memory import MemoryEventStore, MemorySnapshotStore
from actors.settings import RoomSettings, SessionSettings
from protocol.codec import JSON, MSGPACK, Encoding
from protocol.errors import (
    FLOODING,
    NORMAL,
    OVERLOADED,
    SESSION_FAILED,
    TAKEN_OVER,
)
from protocol.messages import (
    ErrorReply,
    MatchInput,
    Ok,
    Ping,
    Pong,
    Position,
    RoomHistory,
    RoomJoin,
    RoomLeft,
    RoomMembers,
    RoomMessage,
    RoomRecovered,
    RoomSend,
    RoomState,
    SessionClose,
    SessionOpen,
    SessionResume,
    TopicLost,
)
from tests.actors.players import House, Player, open_house


def unlimited(
    *,
    resume_within_s: float = 60.0,
    topics: int = 64,
    in_flight: int = 64,
    max_sessions: int = 100_000,
    mailbox: int = 256,
) -> SessionSettings:
    return SessionSettings(
        messages_per_s=0,
        bytes_per_s=0,
        resume_within_s=resume_within_s,
        topics=topics,
        in_flight=in_flight,
        max_sessions=max_sessions,
        mailbox=mailbox,
    )


def token_of(player: Player) -> str:
    assert player.opened is not None
    return player.opened.token


def at(state: RoomState | RoomRecovered) -> Position:
    return Position(epoch=state.epoch, offset=state.offset)


async def in_room(house: House, name: str, room: str = "lobby") -> tuple[Player, RoomState]:
    player = await house.player(name)
    return player, await player.ask(RoomJoin(room=room))


def sessions(house: House) -> list[str]:
    return [ref.key for ref in house.system.actors("session")]


# --- opening -------------------------------------------------------------------------------------


@pytest.mark.parametrize("encoding", [MSGPACK, JSON])
async def test_a_guest_opens_a_session(autojump_clock: MockClock, encoding: Encoding) -> None:
    async with open_house() as house:
        player = house.connect(encoding)
        opened = await player.open("ada")
        assert opened.name == "ada"
        assert not opened.resumed
        assert (opened.resume_within_s, opened.keepalive_s) == (60.0, 20.0)
        pong: Pong = await player.ask(Ping())
        assert pong.time > 1_600_000_000_000


async def test_without_a_session_nothing_else_is_answered(autojump_clock: MockClock) -> None:
    async with open_house() as house:
        player = house.connect()
        for request in (Ping(), RoomJoin(room="lobby"), SessionClose()):
            assert await player.refused(request) == "no_session"
        await player.open("ada")
        assert await player.ask(Ping())


async def test_a_connection_has_one_session(autojump_clock: MockClock) -> None:
    async with open_house() as house:
        player = await house.player("ada")
        assert await player.refused(SessionOpen(name="bob")) == "session_open"
        assert await player.refused(SessionResume(token=token_of(player))) == "session_open"
        assert len(sessions(house)) == 1


async def test_a_token_of_nobodys_is_refused_and_a_session_may_still_be_opened(
    autojump_clock: MockClock,
) -> None:
    async with open_house() as house:
        player = house.connect()
        assert await player.refused(SessionResume(token="x" * 100)) == "bad_token"
        await player.open("ada")


async def test_there_are_only_so_many_sessions(autojump_clock: MockClock) -> None:
    async with open_house(sessions=unlimited(max_sessions=1)) as house:
        await house.player("ada")
        player = house.connect()
        player.tell(SessionOpen(ref=1, name="bob"))
        await player.settle()
        assert player.closed == OVERLOADED


# --- requests ------------------------------------------------------------------------------------


async def test_a_ref_in_flight_cannot_be_used_twice(autojump_clock: MockClock) -> None:
    events = MemoryEventStore()
    async with open_house(events=events) as house:
        ada, _ = await in_room(house, "ada")
        events.delay_s = 1.0
        ada.tell(RoomSend(ref=7, room="lobby", body="first"))
        ada.tell(RoomSend(ref=7, room="lobby", body="second"))
        ada.tell(Ping(ref=7))
        await ada.settle()
        assert [reply.code for reply in ada.replies if isinstance(reply, ErrorReply)] == [
            "ref_in_use",
            "ref_in_use",
        ]
        ada.replies.clear()
        assert isinstance(await ada.replied(7), Ok)
        ada.tell(Ping(ref=7))  # free again
        assert isinstance(await ada.replied(7), Ok)
        assert [row[2] for row in events.rows("room", "lobby")] == [1]


async def test_only_so_many_requests_are_answered_at_once(autojump_clock: MockClock) -> None:
    events = MemoryEventStore()
    async with open_house(events=events, sessions=unlimited(in_flight=3)) as house:
        ada, _ = await in_room(house, "ada")
        events.delay_s = 1.0
        for ref in range(10, 14):
            ada.tell(RoomSend(ref=ref, room="lobby", body="x"))
        refused = await ada.replied(13)
        assert isinstance(refused, ErrorReply)
        assert (refused.code, refused.retry) == ("too_many_requests", True)
        for ref in range(10, 13):
            assert isinstance(await ada.replied(ref), Ok)


async def test_without_a_ref_a_request_acts_and_is_not_answered(
    autojump_clock: MockClock,
) -> None:
    async with open_house() as house:
        ada, _ = await in_room(house, "ada")
        for request in (
            Ping(),
            RoomSend(room="lobby", body="x"),
            RoomSend(room="elsewhere", body="x"),
            RoomJoin(room="library"),
            RoomHistory(room="lobby", limit=10_000),
        ):
            ada.tell(request)
        await trio.sleep(10)
        await ada.settle()
        assert ada.replies == []
        assert [push.body for push in ada.got(RoomMessage)] == ["x"]
        assert (await ada.ask(RoomMembers(room="library"))).members_total == 1


async def test_requests_of_one_read_are_handled_in_order(autojump_clock: MockClock) -> None:
    async with open_house() as house:
        ada = house.connect()
        ada.tell(SessionOpen(ref=1, name="ada"))
        ada.tell(RoomJoin(ref=2, room="lobby"))
        ada.tell(RoomSend(ref=3, room="lobby", body="hello"))
        ada.tell(RoomHistory(ref=4, room="lobby"))
        assert [type(await ada.replied(ref)) for ref in (1, 2, 3, 4)] == [Ok] * 4


async def test_a_session_is_in_only_so_many_topics(autojump_clock: MockClock) -> None:
    async with open_house(sessions=unlimited(topics=2)) as house:
        ada, _ = await in_room(house, "ada", "one")
        await ada.ask(RoomJoin(room="two"))
        assert await ada.refused(RoomJoin(room="three")) == "too_many_topics"
        await ada.ask(RoomJoin(room="two"))
        assert [ref.key for ref in house.system.actors("room")] == ["one", "two"]


async def test_a_join_that_was_refused_takes_no_place(autojump_clock: MockClock) -> None:
    async with open_house(sessions=unlimited(topics=1), rooms=RoomSettings(members=1)) as house:
        await in_room(house, "ada", "full")
        bob = await house.player("bob")
        assert await bob.refused(RoomJoin(room="full")) == "room_full"
        assert (await bob.ask(RoomJoin(room="other"))).members_total == 1


async def test_input_for_a_match_one_is_not_in_is_refused(autojump_clock: MockClock) -> None:
    async with open_house() as house:
        ada = await house.player("ada")
        assert await ada.refused(MatchInput(match="m1", seq=1, input={})) == "not_joined"


async def test_a_client_whose_session_is_full_is_not_read_from(
    autojump_clock: MockClock,
) -> None:
    async with open_house(sessions=unlimited(mailbox=4)) as house:
        ada = await house.player("ada")
        held_back = None
        sent = 0
        while held_back is None:
            sent += 1
            held_back = ada.handler.received(Ping(ref=1000 + sent))
        assert sent == 5
        await held_back
        await ada.settle()
        assert [reply.ref for reply in ada.replies] == [1000 + n for n in range(1, sent + 1)]


# --- rate limits ---------------------------------------------------------------------------------


async def test_too_fast_is_an_error_and_a_pause_heals_it(autojump_clock: MockClock) -> None:
    settings = SessionSettings(messages_per_s=10, messages_burst=5)
    async with open_house(sessions=settings) as house:
        ada = await house.player("ada")
        for ref in range(100, 110):
            ada.tell(Ping(ref=ref))
        await ada.settle()
        codes = [reply.code for reply in ada.replies if isinstance(reply, ErrorReply)]
        assert set(codes) == {"rate_limited"}
        assert len(codes) == 6
        await trio.sleep(1)
        assert await ada.ask(Ping())
        assert ada.closed is None
        assert house.gateway.rate_limited == 6


async def test_too_many_bytes_are_too_fast_as_well(autojump_clock: MockClock) -> None:
    settings = SessionSettings(bytes_per_s=1000, bytes_burst=2000)
    async with open_house(sessions=settings) as house:
        ada = await house.player("ada")
        ada.tell(Ping(ref=1), size=1500)
        ada.tell(Ping(ref=2), size=1500)
        assert isinstance(await ada.replied(1), Ok)
        refused = await ada.replied(2)
        assert isinstance(refused, ErrorReply)
        assert (refused.code, refused.retry) == ("rate_limited", True)


@pytest.mark.parametrize("garbage", [False, True])
async def test_whoever_floods_is_closed_and_others_notice_nothing(
    autojump_clock: MockClock, garbage: bool
) -> None:
    settings = SessionSettings(messages_per_s=100, messages_burst=200, flooding_s=5)
    async with open_house(sessions=settings) as house:
        ada, bob = await house.player("ada"), await house.player("bob")
        for number in range(10_000):
            if garbage:
                ada.garble(number)
            else:
                ada.tell(Ping(ref=number))
            if number % 100 == 0:
                await trio.sleep(0.1)
                await ada.settle()
                if ada.closed is not None:
                    break
        assert ada.closed == FLOODING
        assert 500 < number < 2000
        assert house.gateway.flooded == 1
        assert await bob.ask(Ping())


async def test_a_new_connection_does_not_reset_the_limits(autojump_clock: MockClock) -> None:
    settings = SessionSettings(messages_per_s=1, messages_burst=3)
    async with open_house(sessions=settings) as house:
        ada = await house.player("ada")
        ada.tell(Ping())
        ada.tell(Ping())
        ada.leave()
        again = house.connect()
        await again.resume(token_of(ada))
        assert await again.refused(Ping()) == "rate_limited"


async def test_what_cannot_be_decoded_is_answered_with_its_ref(
    autojump_clock: MockClock,
) -> None:
    async with open_house() as house:
        ada = await house.player("ada")
        ada.garble(9, "no `room`")
        ada.garble(None)
        await ada.settle()
        assert [(reply.ref, reply.code) for reply in ada.replies] == [  # type: ignore[union-attr]  # both are errors
            (9, "bad_message"),
            (None, "bad_message"),
        ]


# --- coming back ---------------------------------------------------------------------------------


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
        data = bytes(again.client.outbox.take())
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
            ("match:m1", "unavailable"),  # this node runs no matches
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
        poison = TopicGone(topic=["not hashable"], code="x")  # type: ignore[arg-type]  # that is the point
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
