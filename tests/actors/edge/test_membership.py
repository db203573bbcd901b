"""Who is in a topic: its owner, the hub, the session and the client agree."""

from __future__ import annotations

from collections.abc import Container
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from actors.chat.messages import room_topic
from actors.edge.topic_messages import Resume
from actors.runtime.errors import AskTimeout
from actors.runtime.future import Future
from actors.runtime.memory import MemoryEventStore
from actors.runtime.ref import ActorRef
from protocol.errors import SESSION_ENDED
from protocol.messages.envelope import ErrorReply, Ok, Position
from protocol.messages.match import (
    MatchCreate,
    MatchEvent,
    MatchInput,
    MatchJoin,
    MatchLeave,
    MatchState,
    MatchStatePush,
)
from protocol.messages.room import (
    RoomJoin,
    RoomJoined,
    RoomLeave,
    RoomLeft,
    RoomMembers,
    RoomMessage,
    RoomRecovered,
    RoomSend,
)
from protocol.messages.session import SessionClose, SessionResume, TopicLost
from tests.actors.players import (
    House,
    Player,
    at,
    in_room,
    joined,
    open_house,
    token_of,
    unlimited,
)
from tests.actors.table import SMALL

pytestmark = pytest.mark.usefixtures("layout")

LOBBY = room_topic("lobby")


def session_of(player: Player) -> str:
    assert player.opened is not None
    return player.opened.session


def views(house: House, player: Player, topic: str) -> tuple[bool, bool, str]:
    """Whether the player's session is in a topic, as the owner, the hub and the session see it."""
    session = session_of(player)
    kind, _, key = topic.partition(":")
    owner = house.instance(kind, key)
    members: Container[str] = ()  # of an empty room that wrote nothing, and so is not in memory
    if owner is not None:
        members = owner.sessions
    places = house.instance("session", session).memberships.stages()
    in_hub = house.topics.is_member(topic, session)
    assert house.nodes.is_member(topic, session) is in_hub
    return session in members, in_hub, places.get(topic, "out")


IN = (True, True, "joined")
OUT = (False, False, "out")


# --- leaves --------------------------------------------------------------------------------------


async def test_a_leave_that_a_busy_room_refused_can_be_asked_for_again(
    autojump_clock: MockClock,
) -> None:
    async with open_house() as house:
        ada, bob = await joined(house, "ada"), await joined(house, "bob")
        with house.no_room_at("room", "lobby"):
            assert await ada.refused(RoomLeave(room="lobby")) == "busy"
        assert views(house, ada, LOBBY) == IN
        await bob.ask(RoomSend(room="lobby", body="still there?"))
        await ada.ask(RoomSend(room="lobby", body="yes"))
        await ada.ask(RoomLeave(room="lobby"))
        await bob.settle()
        assert [push.member.name for push in bob.got(RoomLeft)] == ["ada"]
        assert views(house, ada, LOBBY) == OUT
        assert await ada.refused(RoomSend(room="lobby", body="x")) == "not_joined"


async def test_a_leave_that_a_match_had_no_room_to_store_can_be_asked_for_again(
    autojump_clock: MockClock,
) -> None:
    events = MemoryEventStore()
    async with open_house(events=events, durability=SMALL) as house:
        ada, bob, match = await at_a_table(house)
        events.away = True
        for seq, (player, cell) in enumerate([(ada, 0), (bob, 3)], start=1):
            player.tell(MatchInput(match=match, seq=seq, input={"cell": cell}))
            await player.settle()
        assert await ada.refused(MatchLeave(match=match)) == "unavailable"
        assert views(house, ada, f"match:{match}") == IN
        events.away = False
        await trio.sleep(10)
        await bob.settle()
        assert "left" not in [push.kind for push in bob.got(MatchEvent)]
        await ada.ask(MatchLeave(match=match))
        await bob.settle()
        assert [push.kind for push in bob.got(MatchEvent)] == ["left"]


async def test_a_leave_of_an_earlier_connection_does_not_tell_the_present_client_that_it_is_out(
    autojump_clock: MockClock,
) -> None:
    events = MemoryEventStore()
    async with open_house(events=events, durability=SMALL) as house:
        ada, bob, match = await at_a_table(house)
        topic = f"match:{match}"
        events.away = True
        bob.tell(MatchLeave(ref=77, match=match))
        await bob.settle()
        ada.tell(MatchInput(match=match, seq=1, input={"cell": 0}))
        await ada.settle()
        bob.leave()
        again = house.connect()
        positions = {topic: Position(epoch=1, offset=0)}
        again.tell(SessionResume(token=token_of(bob), positions=positions))
        again.tell(MatchJoin(ref=79, match=match))  # which cannot be stored now
        assert isinstance(await again.replied(79), ErrorReply)
        events.away = False
        await trio.sleep(10)
        assert views(house, bob, topic) == OUT
        assert [push.code for push in again.got(TopicLost)] == ["not_joined"]


async def test_a_leave_that_nobody_is_told_the_end_of_is_not_forgotten(
    autojump_clock: MockClock,
) -> None:
    async with open_house() as house:
        ada, bob = await joined(house, "ada"), await joined(house, "bob")
        with house.no_room_at("room", "lobby"):
            ada.tell(RoomLeave(room="lobby"))
            await trio.sleep(8)
            assert await ada.refused(RoomSend(room="lobby", body="x")) == "not_joined"
        await trio.sleep(6)
        await bob.settle()
        assert [push.member.name for push in bob.got(RoomLeft)] == ["ada"]
        assert views(house, ada, LOBBY) == OUT


async def test_a_leave_that_met_its_deadline_is_seen_to(autojump_clock: MockClock) -> None:
    events = MemoryEventStore()
    async with open_house(events=events) as house:
        ada, bob, match = await at_a_table(house)
        topic = f"match:{match}"
        events.away = True
        assert await ada.refused(MatchLeave(match=match)) == "timeout"
        assert house.instance("session", session_of(ada)).memberships.stages() == {topic: "leaving"}
        events.away = False
        await trio.sleep(5)
        await bob.settle()
        assert [push.kind for push in bob.got(MatchEvent)] == ["left"]
        assert views(house, ada, topic) == OUT
        await ada.settle()
        assert [push.code for push in ada.got(TopicLost)] == ["not_joined"]


@pytest.mark.parametrize("away_s", [0.0, 20.0])
async def test_a_topic_that_a_resume_leaves_is_left_though_its_room_is_busy(
    autojump_clock: MockClock, away_s: float
) -> None:
    async with open_house(sessions=unlimited(topics=2)) as house:
        ada, bob = await joined(house, "ada"), await joined(house, "bob")
        await ada.ask(RoomJoin(room="library"))
        ada.leave()
        with house.no_room_at("room", "lobby"):
            again = house.connect()
            await again.resume(token_of(ada), {"room:library": Position(1, 0)})
            await trio.sleep(away_s)
            assert await again.refused(RoomSend(room="lobby", body="x")) == "not_joined"
            await again.ask(RoomJoin(room="garden"))  # one that is left takes no place
        await trio.sleep(6)
        await bob.settle()
        assert [push.member.name for push in bob.got(RoomLeft)] == ["ada"]
        assert views(house, again, LOBBY) == OUT


async def test_what_is_left_late_and_joined_again_meanwhile_is_not_left(
    autojump_clock: MockClock,
) -> None:
    async with open_house() as house:
        ada = await joined(house, "ada")
        with house.no_room_at("room", "lobby"):
            ada.tell(RoomLeave(room="lobby"))
            await trio.sleep(1)
        await ada.ask(RoomJoin(room="lobby"))
        await trio.sleep(30)
        assert views(house, ada, LOBBY) == IN


async def test_a_session_that_ends_leaves_though_its_room_is_busy(
    autojump_clock: MockClock,
) -> None:
    async with open_house() as house:
        ada, bob = await joined(house, "ada"), await joined(house, "bob")
        with house.no_room_at("room", "lobby"):
            await ada.ask(SessionClose())
            await bob.settle()
            assert [push.member.name for push in bob.got(RoomLeft)] == ["ada"]


# --- joins ---------------------------------------------------------------------------------------


async def test_a_second_join_that_is_refused_leaves_a_member_a_member(
    autojump_clock: MockClock,
) -> None:
    async with open_house() as house:
        ada, bob = await joined(house, "ada"), await joined(house, "bob")
        with house.no_room_at("room", "lobby"):
            assert await ada.refused(RoomJoin(room="lobby")) == "busy"
        assert views(house, ada, LOBBY) == IN
        await ada.ask(RoomSend(room="lobby", body="here"))
        await ada.ask(RoomLeave(room="lobby"))
        await bob.ask(RoomSend(room="lobby", body="gone"))
        await ada.settle()
        assert [push.body for push in ada.got(RoomMessage)] == ["here"]


async def test_a_join_that_met_its_deadline_makes_no_member(autojump_clock: MockClock) -> None:
    events = MemoryEventStore()
    async with open_house(events=events) as house:
        ada = await house.player("ada")
        events.away = True
        assert await ada.refused(RoomJoin(room="lobby")) == "timeout"
        events.away = False
        await trio.sleep(30)
        await ada.settle()
        assert ada.pushes == []
        bob = await joined(house, "bob")
        assert (await bob.ask(RoomMembers(room="lobby"))).members_total == 1
        assert house.instance("session", session_of(ada)).memberships.stages() == {}


async def test_a_join_that_met_its_deadline_is_pushed_nothing_when_its_room_comes_back(
    autojump_clock: MockClock,
) -> None:
    events = MemoryEventStore()
    async with open_house(events=events) as house:
        ada, bob = await house.player("ada"), await house.player("bob")
        events.away = True
        ada.tell(RoomJoin(ref=91, room="lobby"))
        await trio.sleep(1)
        bob.tell(RoomJoin(ref=92, room="lobby"))
        await trio.sleep(4.5)  # ada was told, bob not yet
        events.away = False
        assert isinstance(await bob.replied(92), Ok)
        assert ada.pushes == []
        await trio.sleep(30)
        await ada.settle()
        assert ada.pushes == []
        assert bob.got(RoomJoined) == []


async def test_a_join_of_a_match_that_met_its_deadline_is_pushed_nothing_after(
    autojump_clock: MockClock,
) -> None:
    events = MemoryEventStore()
    async with open_house(events=events) as house:
        ada, bob = await house.player("ada"), await house.player("bob")
        match = (await ada.ask(MatchCreate(game="tictactoe"))).match
        events.away = True
        ada.tell(MatchJoin(ref=91, match=match))
        await trio.sleep(1)
        bob.tell(MatchJoin(ref=92, match=match))
        await trio.sleep(4.5)
        events.away = False
        assert isinstance(await bob.replied(92), Ok)
        await trio.sleep(30)
        await ada.settle()
        assert ada.pushes == []


@pytest.mark.parametrize("again", [False, True])
async def test_a_leave_right_behind_a_join_of_a_match_cancels_it(
    autojump_clock: MockClock, again: bool
) -> None:
    events = MemoryEventStore()
    async with open_house(events=events) as house:
        ada = await house.player("ada")
        match = (await ada.ask(MatchCreate(game="tictactoe"))).match
        events.delay_s = 0.5
        ada.tell(MatchJoin(ref=91, match=match))
        ada.tell(MatchLeave(ref=92, match=match))
        if again:
            ada.tell(MatchJoin(ref=93, match=match))
        cancelled = await ada.replied(91)
        assert isinstance(cancelled, ErrorReply)
        assert (cancelled.code, cancelled.retry) == ("not_joined", False)
        assert isinstance(await ada.replied(92), Ok)
        if again:
            assert isinstance(await ada.replied(93), Ok)
        topic = f"match:{match}"
        assert views(house, ada, topic) == (IN if again else OUT)
        kinds = [row[4] for row in events.rows("match", match)]
        assert kinds == ["Created", "Joined", "Left", "Joined"][: 4 if again else 3]
        ada.pushes.clear()
        bob = await house.player("bob")
        state: MatchState = await bob.ask(MatchJoin(match=match))
        assert len(state.players) == (2 if again else 1)
        await ada.settle()
        assert bool(ada.got(MatchStatePush)) is again


async def test_a_match_that_crashes_while_a_join_is_not_durable_says_so_at_once(
    autojump_clock: MockClock,
) -> None:
    events = MemoryEventStore()
    async with open_house(events=events) as house:
        ada = await house.player("ada")
        match = (await ada.ask(MatchCreate(game="tictactoe"))).match
        events.away = True
        ada.tell(MatchJoin(ref=91, match=match))
        await ada.settle()
        before = trio.current_time()
        house.system.ref("match", match).tell(RoomLeft)  # a message that no client can send
        house.instance("match", match).record.places = None  # half a change
        ada.tell(MatchJoin(ref=92, match=match))
        refused = await ada.replied(91)
        assert isinstance(refused, ErrorReply)
        assert refused.code == "unavailable"
        assert trio.current_time() - before < 1.0
        events.away = False
        await trio.sleep(30)
        await ada.ask(MatchJoin(match=match))
        assert views(house, ada, f"match:{match}") == IN


# --- resumes -------------------------------------------------------------------------------------


async def test_after_a_resume_that_a_busy_room_refused_nobody_takes_the_client_for_a_member(
    autojump_clock: MockClock,
) -> None:
    async with open_house() as house:
        ada, state = await in_room(house, "ada")
        bob, _ = await in_room(house, "bob")
        ada.leave()
        again = house.connect()
        with house.no_room_at("room", "lobby"):
            await again.resume(token_of(ada), {LOBBY: at(state)})
            await again.settle()
            assert [(push.topic, push.code) for push in again.got(TopicLost)] == [(LOBBY, "busy")]
        await trio.sleep(6)
        await bob.settle()
        assert [push.member.name for push in bob.got(RoomLeft)] == ["ada"]
        assert views(house, again, LOBBY) == OUT
        await again.ask(RoomJoin(room="lobby"))  # as the code says: retry
        await bob.settle()
        assert [push.member.name for push in bob.got(RoomJoined)] == ["ada"]
        assert views(house, again, LOBBY) == IN


async def test_a_place_in_a_match_is_kept_for_a_player_whose_resume_was_refused(
    autojump_clock: MockClock,
) -> None:
    async with open_house() as house:
        ada, bob, match = await at_a_table(house)
        topic = f"match:{match}"
        ada.leave()
        again = house.connect()
        with house.no_room_at("match", match):
            await again.resume(token_of(ada), {topic: Position(1, 2)})
            await again.settle()
            assert [push.code for push in again.got(TopicLost)] == ["busy"]
        await trio.sleep(6)
        await again.ask(MatchJoin(match=match))
        assert views(house, again, topic) == IN
        await trio.sleep(100)
        await bob.settle()
        assert "left" not in [push.kind for push in bob.got(MatchEvent)]


async def test_a_resume_whose_owner_is_lost_on_the_way_is_asked_again(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_house() as house:
        ada, bob = [await joined(house, name) for name in ("ada", "bob")]
        ada.leave()
        await bob.ask(RoomSend(room="lobby", body="one"))
        ask, lost = ActorRef.ask, list[Resume]()

        def ask_in_vain(ref: ActorRef, message: Any, **options: Any) -> Any:
            if not isinstance(message, Resume) or len(lost) == 2:
                return ask(ref, message, **options)
            lost.append(message)
            answer: Future[Any] = Future()
            answer.settle_quietly(error=AskTimeout("room/lobby", "Resume", 30.0))
            return answer

        monkeypatch.setattr(ActorRef, "ask", ask_in_vain)
        again = house.connect()
        await again.resume(token_of(ada), {LOBBY: Position(epoch=1, offset=0)})
        await again.settle()
        assert len(lost) == 2
        assert not again.got(TopicLost)
        (recovered,) = again.got(RoomRecovered)
        assert [message.body for message in recovered.messages] == ["one"]
        assert views(house, again, LOBBY) == IN


async def test_a_resume_that_met_its_deadline_is_told_once_and_leaves_nothing_behind(
    autojump_clock: MockClock,
) -> None:
    events = MemoryEventStore()
    async with open_house(events=events) as house:
        ada, state = await in_room(house, "ada")
    async with open_house(events=events) as house:
        events.away = True
        again = house.connect()
        await again.resume(token_of(ada), {LOBBY: at(state)})
        await trio.sleep(31)
        await again.settle()
        assert [push.code for push in again.got(TopicLost)] == ["timeout"]
        events.away = False
        await trio.sleep(40)
        await again.settle()
        assert again.got(TopicLost) == []
        again.got(RoomRecovered)
        assert views(house, again, LOBBY) == OUT


# --- what others end -----------------------------------------------------------------------------


async def test_when_one_device_leaves_a_match_the_other_is_told(
    autojump_clock: MockClock,
) -> None:
    async with open_house() as house:
        desk, _, match = await at_a_table(house)
        topic = f"match:{match}"
        phone = await house.second_device(desk)
        await phone.ask(MatchJoin(match=match))
        await phone.settle()
        phone.pushes.clear()
        await desk.ask(MatchLeave(match=match))
        await phone.settle()
        assert phone.opened is not None
        kinds = [type(push) for push in phone.pushes if not isinstance(push, MatchStatePush)]
        assert kinds == [MatchEvent, TopicLost]
        (left,), (lost,) = phone.got(MatchEvent), phone.got(TopicLost)
        assert (left.kind, left.player) == ("left", phone.opened.user)
        assert (lost.topic, lost.code) == (topic, "not_joined")
        for device in (desk, phone):
            device.got(MatchStatePush)
            assert views(house, device, topic) == OUT


async def test_a_place_in_a_match_is_kept_a_while_for_a_player_whose_resume_does_not_name_it(
    autojump_clock: MockClock,
) -> None:
    async with open_house() as house:
        ada, bob, match = await at_a_table(house)
        ada.leave()
        again = house.connect()
        await again.resume(token_of(ada))
        await trio.sleep(50)
        assert views(house, again, f"match:{match}") == OUT
        await bob.settle()
        assert bob.got(MatchEvent) == []
        await again.ask(MatchJoin(match=match))
        await trio.sleep(100)
        await bob.settle()
        assert bob.got(MatchEvent) == []
        again.leave()
        third = house.connect()
        await third.resume(token_of(again))
        await trio.sleep(61)
        await bob.settle()
        assert [push.kind for push in bob.got(MatchEvent)] == ["left"]


async def test_a_leave_of_a_match_that_nobody_is_told_the_end_of_gives_up_the_place(
    autojump_clock: MockClock,
) -> None:
    async with open_house() as house:
        ada, bob, match = await at_a_table(house)
        with house.no_room_at("match", match):
            ada.tell(MatchLeave(match=match))
            ada.tell(MatchLeave(match=match))
            await trio.sleep(3)
        await trio.sleep(6)
        await bob.settle()
        assert [push.kind for push in bob.got(MatchEvent)] == ["left"]
        assert views(house, ada, f"match:{match}") == OUT


async def test_a_device_that_only_parts_takes_no_other_along(autojump_clock: MockClock) -> None:
    async with open_house() as house:
        desk, bob, match = await at_a_table(house)
        topic = f"match:{match}"
        phone = await house.second_device(desk)
        await phone.ask(MatchJoin(match=match))
        phone.leave()
        again = house.connect()
        await again.resume(token_of(phone))  # does not name the match
        await again.settle()
        assert views(house, again, topic) == OUT
        assert views(house, desk, topic) == IN
        await bob.settle()
        assert "left" not in [push.kind for push in bob.got(MatchEvent)]


async def test_a_session_hears_that_its_room_has_failed_though_it_is_full_itself(
    autojump_clock: MockClock,
) -> None:
    async with open_house() as house:
        ada = await joined(house, "ada")
        with house.no_room_at("session", session_of(ada)):
            for _ in range(4):
                house.break_room("lobby")
                await trio.sleep(1)
            await ada.settle()
            assert [push.code for push in ada.got(TopicLost)] == ["failed"]
        assert house.instance("session", session_of(ada)).memberships.stages() == {}
        assert ada.closed is not SESSION_ENDED


async def at_a_table(house: House) -> tuple[Player, Player, str]:
    """Put two players into a match, and read all that they got."""
    ada, bob = await house.player("ada"), await house.player("bob")
    match = (await ada.ask(MatchCreate(game="tictactoe"))).match
    for player in (ada, bob):
        await player.ask(MatchJoin(match=match))
    for player in (ada, bob):
        await player.settle()
        player.pushes.clear()
    return ada, bob, match
