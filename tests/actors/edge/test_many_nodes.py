"""Topics with members on several nodes: what crosses, who moves, and what is lost on the way."""

from __future__ import annotations

from typing import Any

import pytest
import trio
import trio.testing
from trio.testing import MockClock

from actors.edge import strangers
from actors.edge.hub_messages import Dismissed, Gone, NewIncarnation, Publish, Subscribe
from actors.edge.topic_messages import Resume
from actors.runtime.errors import AskTimeout
from actors.runtime.future import Future
from actors.runtime.memory import MemoryEventStore
from actors.runtime.ref import ActorRef
from protocol.errors import PART_LOST, TAKEN_OVER
from protocol.messages.envelope import ErrorReply, Ok, Position
from protocol.messages.match import (
    MatchCreate,
    MatchEvent,
    MatchInput,
    MatchJoin,
    MatchLeave,
    MatchRecovered,
    MatchRestarted,
    MatchStatePush,
)
from protocol.messages.room import (
    Members,
    RoomHistory,
    RoomJoin,
    RoomJoined,
    RoomLeave,
    RoomLeft,
    RoomMembers,
    RoomMessage,
    RoomRecovered,
    RoomRestarted,
    RoomSend,
    RoomState,
)
from protocol.messages.session import TopicLost
from tests.actors.edge.test_membership import session_of
from tests.actors.nodes import OTHERS, OWNERS
from tests.actors.players import Player, bodies, joined, open_house, sessions, token_of

pytestmark = pytest.mark.usefixtures("two_nodes")


def offsets(player: Player) -> list[int]:
    return [push.offset for push in player.got(RoomMessage)]


def missed(player: Player) -> list[str]:
    """Return the messages that the player had missed, and got in its recovery."""
    (recovered,) = player.got(RoomRecovered)
    assert recovered.recovered
    return [message.body for message in recovered.messages]


def lobby(epoch: int, offset: int) -> dict[str, Position]:
    return {"room:lobby": Position(epoch=epoch, offset=offset)}


# --- what crosses ---------------------------------------------------------------------------------


async def test_a_message_crosses_once_for_a_node_however_many_members_it_has(
    autojump_clock: MockClock,
) -> None:
    async with open_house() as house:
        near = await joined(house, "ada", node=OWNERS)
        far = [await joined(house, f"bob{number}", node=OTHERS) for number in range(5)]
        await near.ask(RoomSend(room="lobby", body="one"))
        house.nodes.crossed.clear()
        for number in range(3):
            await near.ask(RoomSend(room="lobby", body=f"{number}"))
        assert house.nodes.crossed == {Publish: 3}
        for player in far:
            await player.settle()
            assert bodies(player) == ["one", "0", "1", "2"]


async def test_nothing_crosses_for_members_without_a_connection(autojump_clock: MockClock) -> None:
    async with open_house() as house:
        near, far = await joined(house, "ada", node=OWNERS), await joined(house, "bob", node=OTHERS)
        await near.ask(RoomSend(room="lobby", body="one"))
        house.nodes.crossed.clear()
        far.leave()
        await near.settle()
        await near.ask(RoomSend(room="lobby", body="two"))
        assert house.nodes.crossed == {Gone: 1}
        again = house.connect(node=OTHERS)
        assert (await again.resume(token_of(far), lobby(1, 1))).resumed
        await again.settle()
        assert missed(again) == ["two"]
        await near.ask(RoomSend(room="lobby", body="three"))
        await again.settle()
        assert bodies(again) == ["three"]


async def test_a_session_that_ends_on_its_node_leaves_its_rooms_on_others(
    autojump_clock: MockClock,
) -> None:
    async with open_house() as house:
        near, far = await joined(house, "ada", node=OWNERS), await joined(house, "bob", node=OTHERS)
        far.leave()
        await trio.sleep(61)
        await near.settle()
        assert [push.member.name for push in near.got(RoomLeft)] == ["bob"]
        assert not house.nodes.is_member("room:lobby", session_of(far))
        assert [one.who.session for one in house.topics.members("room:lobby")] == [session_of(near)]


# --- a session on another node --------------------------------------------------------------------


async def test_a_client_that_resumes_on_another_node_gets_what_it_missed_and_is_there_once(
    autojump_clock: MockClock,
) -> None:
    async with open_house() as house:
        near, far = await joined(house, "ada", node=OWNERS), await joined(house, "bob", node=OTHERS)
        await near.ask(RoomSend(room="lobby", body="one"))
        await far.settle()
        assert offsets(far) == [1]
        again = house.connect(node=OWNERS)  # the other connection has broken, and nobody knows
        opened = await again.resume(token_of(far), lobby(1, 1))
        assert not opened.resumed
        assert opened.user == (far.opened and far.opened.user)
        await near.ask(RoomSend(room="lobby", body="two"))
        await again.settle()
        await far.settle()
        assert far.closed == TAKEN_OVER
        assert session_of(far) not in sessions(house)
        (recovered,) = again.got(RoomRecovered)
        assert recovered.recovered
        assert bodies(again) == ["two"]
        found: Members = await near.ask(RoomMembers(room="lobby"))
        assert [member.name for member in found.members] == ["ada", "bob"]


async def test_a_place_in_a_match_goes_with_its_player_to_another_node(
    autojump_clock: MockClock,
) -> None:
    async with open_house() as house:
        ada, bob = await house.player("ada", node=OWNERS), await house.player("bob", node=OTHERS)
        match = (await ada.ask(MatchCreate(game="tictactoe"))).match
        for player in (ada, bob):
            await player.ask(MatchJoin(match=match))
        again = house.connect(node=OWNERS)
        await again.resume(token_of(bob), {f"match:{match}": Position(epoch=1, offset=2)})
        await trio.sleep(100)  # beyond the time for which a place is kept
        await ada.ask(MatchInput(match=match, seq=1, input={"cell": 0}))
        await again.ask(MatchInput(match=match, seq=1, input={"cell": 3}))
        assert [push.recovered for push in again.got(MatchRecovered)] == [True]
        assert again.got(MatchStatePush)
        await ada.settle()
        assert "left" not in [push.kind for push in ada.got(MatchEvent)]


# --- a node that is gone, or that missed something ------------------------------------------------


async def test_members_of_a_dead_nodes_rooms_reconnect_and_miss_nothing(
    autojump_clock: MockClock,
) -> None:
    async with open_house() as house:
        near = await joined(house, "ada", node=OWNERS)
        far = [await joined(house, f"bob{number}", node=OTHERS) for number in range(20)]
        idle = await house.player("cyd", node=OTHERS)
        await near.ask(RoomSend(room="lobby", body="one"))
        remote = house.nodes.named(OTHERS).remote
        assert remote is not None
        remote.node_down(OWNERS)
        closed_after = []
        for _ in range(11):
            await trio.sleep(0.1)
            for player in far:
                player.take()
            closed_after.append(sum(player.closed == PART_LOST for player in far))
        assert 0 < closed_after[4] < closed_after[-1] == 20  # not all at once
        await idle.settle()
        assert idle.closed is None
        await near.ask(RoomSend(room="lobby", body="two"))
        for player in far:
            player.handler.disconnected(PART_LOST.code, "")
            again = house.connect(node=OTHERS)
            await again.resume(token_of(player), lobby(1, 1))
            await again.settle()
            assert missed(again) == ["two"]


async def test_a_node_that_took_no_more_messages_has_its_clients_resume(
    autojump_clock: MockClock,
) -> None:
    async with open_house() as house:
        near, far = await joined(house, "ada", node=OWNERS), await joined(house, "bob", node=OTHERS)
        cyd = await house.player("cyd", node=OTHERS)
        await near.ask(RoomSend(room="lobby", body="one"))
        await far.settle()
        with house.no_room_at("hub", OTHERS):
            await near.ask(RoomSend(room="lobby", body="two"))
            assert await cyd.refused(RoomJoin(room="lobby")) == "unavailable"
        await near.ask(RoomSend(room="lobby", body="three"))
        await trio.sleep(2)
        await far.settle()
        assert far.closed == PART_LOST
        assert offsets(far) == [1]
        hubs = house.topics.hubs
        assert hubs is not None
        assert hubs.lapses == 1
        far.handler.disconnected(PART_LOST.code, "")
        again = house.connect(node=OTHERS)
        await again.resume(token_of(far), lobby(1, 1))
        await again.settle()
        (recovered,) = again.got(RoomRecovered)
        assert recovered.recovered
        assert [message.offset for message in recovered.messages] == [2, 3]
        await cyd.ask(RoomJoin(room="lobby"))
        await near.ask(RoomSend(room="lobby", body="four"))
        for player in (again, cyd):
            await player.settle()
            assert bodies(player) == ["four"]


async def test_a_resume_whose_answer_is_lost_after_its_pushes_came_is_the_clients_to_repeat(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_house() as house:
        near, far = await joined(house, "ada", node=OWNERS), await joined(house, "bob", node=OTHERS)
        far.leave()
        await near.ask(RoomSend(room="lobby", body="one"))
        ask, lost = ActorRef.ask, list[Future[Any]]()

        def lose_the_answer(ref: ActorRef, message: Any, **options: Any) -> Any:
            done = ask(ref, message, **options)
            if not isinstance(message, Resume) or lost:
                return done
            lost.append(Future())
            error = AskTimeout("room/lobby", "Resume", 30.0)
            done.when_done(lambda _: lost[0].settle_quietly(error=error))
            return lost[0]

        monkeypatch.setattr(ActorRef, "ask", lose_the_answer)
        again = house.connect(node=OTHERS)
        await again.resume(token_of(far), lobby(1, 0))
        await again.settle()
        assert missed(again) == ["one"]
        assert again.closed == PART_LOST
        again.handler.disconnected(PART_LOST.code, "")
        await near.ask(RoomSend(room="lobby", body="two"))
        last = house.connect(node=OTHERS)
        await last.resume(token_of(far), lobby(1, 1))
        await last.settle()
        assert missed(last) == ["two"]


@pytest.mark.parametrize("node", [OTHERS, OWNERS])
async def test_what_an_owner_pushes_for_a_resume_that_was_given_up_is_not_pushed(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch, node: str
) -> None:
    async with open_house() as house:
        near, far = await joined(house, "ada", node=OWNERS), await joined(house, "bob", node=node)
        far.leave()
        await near.ask(RoomSend(room="lobby", body="one"))
        ask, late = ActorRef.ask, list[Resume]()

        def give_up_at_once(ref: ActorRef, message: Any, **options: Any) -> Any:
            if not isinstance(message, Resume):
                return ask(ref, message, **options)
            late.append(message)
            if len(late) == 2:
                ask(ref, late[0], **options)
                return ask(ref, message, **options)
            answer: Future[Any] = Future()
            answer.settle_quietly(error=AskTimeout("room/lobby", "Resume", 30.0))
            return answer

        monkeypatch.setattr(ActorRef, "ask", give_up_at_once)
        again = house.connect(node=node)
        await again.resume(token_of(far), lobby(1, 0))
        await again.settle()
        assert len(late) == 2
        assert missed(again) == ["one"]
        await near.ask(RoomSend(room="lobby", body="two"))
        await again.settle()
        assert bodies(again) == ["two"]
        assert again.closed is None


async def test_an_owner_that_was_succeeded_takes_no_members_from_its_successor(
    autojump_clock: MockClock,
) -> None:
    async with open_house() as house:
        near, far = await joined(house, "ada", node=OWNERS), await joined(house, "bob", node=OTHERS)
        await near.ask(RoomSend(room="lobby", body="one"))
        remote = house.nodes.named(OTHERS).remote
        assert remote is not None
        await far.settle()
        session = session_of(far)
        audience = remote.audience(NewIncarnation(OWNERS, "room:lobby", 0))
        assert audience is not None
        connection = audience.live[session].id
        older = Subscribe("c.1", "room:lobby", session, connection, 1, audience.epoch - 1)
        remote.subscribe(older)
        await near.ask(RoomSend(room="lobby", body="two"))
        await far.settle()
        assert bodies(far) == ["one", "two"]


async def test_what_comes_behind_a_push_has_its_turn_once_the_push_is_in_the_outbox(
    autojump_clock: MockClock,
) -> None:
    async with open_house() as house:
        ada = await joined(house, "ada", node=OTHERS)
        there = house.nodes.named(OTHERS).topics.hubs
        assert there is not None
        push = RoomMessage(room="lobby", offset=1, user="u", name="n", body="one", at=0)
        house.topics.publish("room:lobby", push)
        found: list[list[str]] = []
        there.in_turn(lambda: found.append(bodies(ada)))
        assert not found
        await ada.settle()
        assert found == [["one"]]


async def test_a_room_that_fails_for_good_lets_its_members_on_all_nodes_go(
    autojump_clock: MockClock,
) -> None:
    async with open_house() as house:
        players = [await joined(house, name, node=node) for name, node in PAIR]
        for _ in range(4):
            house.break_room("lobby")
            await trio.sleep(0.5)
        for player in players:
            await player.settle()
            assert [push.code for push in player.got(TopicLost)] == ["failed"]
            assert not house.nodes.is_member("room:lobby", session_of(player))
            stages = house.instance("session", session_of(player)).memberships.stages()
            assert stages == {}


# --- an owner that moves --------------------------------------------------------------------------

PAIR = (("ada", OWNERS), ("bob", OTHERS))


@pytest.mark.parametrize("said", [0, 3], ids=["an empty room", "a room"])
async def test_a_room_that_moves_takes_its_members_along_and_each_message_comes_once(
    autojump_clock: MockClock, said: int
) -> None:
    async with open_house() as house:
        players = [await joined(house, name, node=node) for name, node in PAIR]
        assert len(players[0].got(RoomJoined)) == 1
        for number in range(said):
            await players[0].ask(RoomSend(room="lobby", body=f"{number}"))
        await house.hand_over("room", "lobby", OTHERS)
        for player in players:
            await player.settle()
        for sender in players:
            await sender.ask(RoomSend(room="lobby", body="after"))
        for player in players:
            await player.settle()
            assert offsets(player) == list(range(1, said + 3))
            (restarted,) = player.got(RoomRestarted)
            assert restarted.offset == said
            assert player.closed is None
            assert not player.got(RoomJoined)
            assert not player.got(RoomLeft)
        found: Members = await players[0].ask(RoomMembers(room="lobby"))
        assert {member.name for member in found.members} == {"ada", "bob"}
        assert house.topics.members("room:lobby") == []
        await players[0].ask(RoomLeave(room="lobby"))
        await players[1].settle()
        assert [push.member.name for push in players[1].got(RoomLeft)] == ["ada"]


async def test_a_room_moves_there_and_back(autojump_clock: MockClock) -> None:
    async with open_house() as house:
        players = [await joined(house, name, node=node) for name, node in PAIR]
        for number, to in enumerate([OTHERS, OWNERS, OTHERS, OWNERS], start=1):
            await players[number % 2].ask(RoomSend(room="lobby", body=f"{number}"))
            await house.hand_over("room", "lobby", to)
            await players[0].settle()
        await players[0].ask(RoomSend(room="lobby", body="last"))
        for player in players:
            await player.settle()
            assert offsets(player) == [1, 2, 3, 4, 5]
            assert [push.offset for push in player.got(RoomRestarted)] == [1, 2, 3, 4]


async def test_a_member_that_is_away_while_its_room_moves_is_a_member_still(
    autojump_clock: MockClock,
) -> None:
    async with open_house() as house:
        ada, bob = [await joined(house, name, node=node) for name, node in PAIR]
        await ada.ask(RoomSend(room="lobby", body="one"))
        for player in (ada, bob):
            player.leave()
        await trio.testing.wait_all_tasks_blocked()
        await house.hand_over("room", "lobby", OTHERS)
        cyd = await house.player("cyd", node=OWNERS)
        state: RoomState = await cyd.ask(RoomJoin(room="lobby"))
        assert {member.name for member in state.members} == {"ada", "bob", "cyd"}
        await cyd.ask(RoomSend(room="lobby", body="two"))
        for player, node in ((ada, OWNERS), (bob, OTHERS)):
            again = house.connect(node=node)
            assert (await again.resume(token_of(player), lobby(1, 1))).resumed
            await again.settle()
            assert missed(again) == ["two"]


@pytest.mark.parametrize("node", [OWNERS, OTHERS])
async def test_a_member_whose_new_connection_was_not_taken_in_is_pushed_nothing_by_the_next_owner(
    autojump_clock: MockClock, node: str
) -> None:
    async with open_house() as house:
        ada = await joined(house, "ada", node=node)
        await ada.ask(RoomSend(room="lobby", body="one"))
        ada.leave()
        again = house.connect(node=node)
        with house.no_room_at("room", "lobby"):  # so that it does not hear of her return yet
            await again.resume(token_of(ada), lobby(1, 0))
            await again.settle()
            assert [push.code for push in again.got(TopicLost)] == ["busy"]
            await house.hand_over("room", "lobby", OTHERS)
        cyd = await joined(house, "cyd", node=node)
        await cyd.ask(RoomSend(room="lobby", body="two"))
        await again.settle()
        assert not again.got(RoomMessage)
        await trio.sleep(60)  # it asks again
        await again.ask(RoomJoin(room="lobby"))
        await cyd.ask(RoomSend(room="lobby", body="three"))
        await again.settle()
        assert bodies(again) == ["three"]


async def test_members_whom_the_owner_does_not_adopt_reconnect(autojump_clock: MockClock) -> None:
    events = MemoryEventStore()
    async with open_house(events=events) as house:
        players = [await joined(house, name, node=node) for name, node in PAIR]
        await players[0].ask(RoomSend(room="lobby", body="one"))
        events.away = True
        await house.hand_over("room", "lobby", OTHERS)
        await trio.sleep(20)
        for player in players:
            player.take()
            assert player.closed == PART_LOST


async def test_a_match_that_moves_goes_on_with_its_players(autojump_clock: MockClock) -> None:
    async with open_house() as house:
        ada, bob = [await house.player(name, node=node) for name, node in PAIR]
        match = (await ada.ask(MatchCreate(game="tictactoe"))).match
        for player in (ada, bob):
            await player.ask(MatchJoin(match=match))
        await ada.ask(MatchInput(match=match, seq=1, input={"cell": 0}))
        await house.hand_over("match", match, OTHERS)
        for player in (ada, bob):
            await player.settle()
            (restarted,) = player.got(MatchRestarted)
            assert restarted.state["board"][0] != ""
            player.got(MatchStatePush)
        await trio.sleep(100)  # beyond the time for which a place is kept
        await bob.ask(MatchInput(match=match, seq=1, input={"cell": 3}))
        for player in (ada, bob):
            await player.settle()
            assert len(player.got(MatchStatePush)) == 1
        await ada.ask(MatchLeave(match=match))
        await bob.settle()
        assert [push.kind for push in bob.got(MatchEvent)][-1] == "left"


# --- what comes to an owner before its members are named ------------------------------------------


async def test_what_a_member_asks_of_a_room_that_has_just_moved_is_answered_once_it_is_named(
    autojump_clock: MockClock,
) -> None:
    async with open_house() as house:
        ada, bob = [await joined(house, name, node=node) for name, node in PAIR]
        await ada.ask(RoomSend(room="lobby", body="one"))
        tell_hubs = await house.move("room", "lobby", OTHERS)
        ada.tell(RoomSend(room="lobby", body="two", ref=101))
        ada.tell(RoomHistory(room="lobby", limit=10, ref=102))
        bob.tell(RoomMembers(room="lobby", ref=103))
        bob.tell(RoomSend(room="lobby", body="three", ref=104))
        bob.tell(RoomLeave(room="lobby", ref=105))
        await ada.settle()
        assert not ada.replies
        tell_hubs()
        for player, refs in ((ada, (101, 102)), (bob, (103, 104, 105))):
            for ref in refs:
                assert isinstance(await player.replied(ref), Ok)
        said = bodies(ada)
        assert (said[0], sorted(said[1:])) == ("one", ["three", "two"])
        found: Members = await ada.ask(RoomMembers(room="lobby"))
        assert [member.name for member in found.members] == ["ada"]


async def test_a_session_that_is_not_named_is_no_member_after_a_while(
    autojump_clock: MockClock,
) -> None:
    async with open_house() as house:
        ada, bob = [await joined(house, name, node=node) for name, node in PAIR]
        await house.move("room", "lobby", OTHERS)  # and no hub hears of it
        began = trio.current_time()
        assert await ada.refused(RoomSend(room="lobby", body="one")) == "not_joined"
        assert await bob.refused(RoomMembers(room="lobby")) == "not_joined"
        assert trio.current_time() == pytest.approx(began + strangers.WAIT_S, abs=0.1)


async def test_one_that_resumes_is_known_without_being_named(autojump_clock: MockClock) -> None:
    async with open_house() as house:
        ada = await joined(house, "ada", node=OTHERS)
        await house.move("room", "lobby", OTHERS)
        ada.tell(RoomSend(room="lobby", body="one", key="k", ref=101))
        await ada.settle()
        ada.leave()
        again = house.connect(node=OTHERS)
        await again.resume(token_of(ada), lobby(1, 0))
        await again.settle()
        assert bodies(again) == ["one"]


@pytest.mark.parametrize("limit", ["MOST", "MOST_BYTES"])
async def test_what_has_no_room_to_wait_for_members_may_be_sent_again(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch, limit: str
) -> None:
    monkeypatch.setattr(strangers, limit, {"MOST": 2, "MOST_BYTES": 400}[limit])
    async with open_house() as house:
        ada = await joined(house, "ada", node=OTHERS)
        tell_hubs = await house.move("room", "lobby", OTHERS)
        for ref in range(101, 104):
            ada.tell(RoomSend(room="lobby", body="x" * 100, ref=ref))
        refused = await ada.replied(103)
        assert isinstance(refused, ErrorReply)
        assert (refused.code, refused.retry_in_s) == ("busy", strangers.AGAIN_S)
        tell_hubs()
        for ref in (101, 102):
            assert isinstance(await ada.replied(ref), Ok)
        await ada.ask(RoomSend(room="lobby", body="again"))


async def test_a_players_requests_wait_for_its_match_to_know_it(autojump_clock: MockClock) -> None:
    async with open_house() as house:
        ada, bob = [await house.player(name, node=node) for name, node in PAIR]
        match = (await ada.ask(MatchCreate(game="tictactoe"))).match
        for player in (ada, bob):
            await player.ask(MatchJoin(match=match))
        tell_hubs = await house.move("match", match, OTHERS)
        await ada.ask(MatchInput(match=match, seq=1, input={"cell": 0}))  # it knows her place
        ada.tell(MatchLeave(match=match, ref=101))
        await ada.settle()
        assert not ada.replies
        tell_hubs()
        assert isinstance(await ada.replied(101), Ok)
        await bob.settle()
        assert [push.kind for push in bob.got(MatchEvent)][-1] == "left"
        assert not ada.got(TopicLost)


async def test_a_member_that_leaves_and_comes_again_while_its_room_moves_is_in(
    autojump_clock: MockClock,
) -> None:
    async with open_house() as house:
        ada, bob = [await joined(house, name, node=node) for name, node in PAIR]
        tell_hubs = await house.move("room", "lobby", OTHERS)
        ada.tell(RoomLeave(room="lobby", ref=101))
        ada.tell(RoomJoin(room="lobby", ref=102))
        await ada.settle()
        assert not ada.replies
        tell_hubs()
        for ref in (101, 102):
            assert isinstance(await ada.replied(ref), Ok)
        await bob.ask(RoomSend(room="lobby", body="one"))
        await ada.settle()
        assert bodies(ada) == ["one"]


async def test_a_member_that_has_come_and_gone_before_it_is_named_is_out(
    autojump_clock: MockClock,
) -> None:
    async with open_house() as house:
        ada, bob = [await joined(house, name, node=node) for name, node in PAIR]
        tell_hubs = await house.move("room", "lobby", OTHERS)
        await ada.ask(RoomJoin(room="lobby"))
        await ada.ask(RoomLeave(room="lobby"))
        tell_hubs()
        await ada.settle()
        found: Members = await bob.ask(RoomMembers(room="lobby"))
        assert [member.name for member in found.members] == ["bob"]
        assert await ada.refused(RoomSend(room="lobby", body="one")) == "not_joined"


async def test_a_session_that_its_match_removes_hears_of_it_from_its_hub_behind_the_answers(
    autojump_clock: MockClock,
) -> None:
    async with open_house() as house:
        ada = await house.player("ada", node=OWNERS)
        match = (await ada.ask(MatchCreate(game="tictactoe"))).match
        phone = house.connect(node=OTHERS)
        await phone.resume(house.token(ada))
        for player in (ada, phone):
            await player.ask(MatchJoin(match=match))
        house.nodes.crossed.clear()
        await ada.ask(MatchLeave(match=match))  # with all sessions of the user
        await phone.settle()
        assert house.nodes.crossed[Dismissed] == 1
        assert house.instance("session", session_of(phone)).memberships.stages() == {}
