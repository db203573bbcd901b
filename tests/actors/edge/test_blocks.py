"""Nothing of a blocked user reaches the blocker, on whichever nodes the two and the room are."""

from __future__ import annotations

from collections.abc import Collection

import pytest
import trio
from trio.testing import MockClock

from actors.chat.settings import RoomSettings
from actors.edge.blocks import Blocks
from actors.runtime.future import Future
from persistence import StoreUnavailable
from protocol.codec import JSON, MSGPACK
from protocol.errors import SESSION_FAILED
from protocol.messages.envelope import Position
from protocol.messages.room import (
    History,
    Members,
    RoomHistory,
    RoomJoin,
    RoomJoined,
    RoomLeave,
    RoomLeft,
    RoomMembers,
    RoomMessage,
    RoomPresence,
    RoomRecovered,
    RoomRestarted,
    RoomSend,
    RoomState,
)
from protocol.messages.session import SessionResume
from tests.actors.edge.test_hot_path import counted
from tests.actors.nodes import OTHERS, OWNERS
from tests.actors.players import House, Player, open_house, token_of


def user_of(player: Player) -> str:
    assert player.opened is not None
    return player.opened.user


def block(house: House, player: Player, other: Player, *, blocks: bool = True) -> None:
    """Have a user block another one, or block that one no longer."""
    for node in house.nodes:
        node.topics.blocks.change(user_of(player), user_of(other), blocks=blocks)


async def said(player: Player) -> list[tuple[int, str, str]]:
    """Return offset, name and body of the messages that have come."""
    await player.settle()
    return [(push.offset, push.name, push.body) for push in player.got(RoomMessage)]


async def in_lobby(house: House, *names: str) -> list[Player]:
    players = [await house.player(name) for name in names]
    for player in players:
        await player.ask(RoomJoin(room="lobby"))
    return players


async def say(player: Player, *bodies: str) -> None:
    for body in bodies:
        await player.ask(RoomSend(room="lobby", body=body))


@pytest.mark.usefixtures("layout")
async def test_messages_of_a_blocked_user_come_empty_and_keep_their_place(
    autojump_clock: MockClock,
) -> None:
    async with open_house() as house:
        ada, bob, cyd = await in_lobby(house, "ada", "bob", "cyd")
        await say(bob, "one")
        block(house, ada, bob)
        await say(bob, "two")
        await say(cyd, "three")
        assert await said(ada) == [(1, "bob", "one"), (2, "", ""), (3, "cyd", "three")]
        everything = [(1, "bob", "one"), (2, "bob", "two"), (3, "cyd", "three")]
        assert await said(bob) == everything
        assert await said(cyd) == everything
        block(house, ada, bob, blocks=False)
        await say(bob, "four")
        assert await said(ada) == [(4, "bob", "four")]


@pytest.mark.usefixtures("layout")
async def test_members_with_both_encodings_are_told_apart(autojump_clock: MockClock) -> None:
    async with open_house() as house:
        (bob,) = await in_lobby(house, "bob")
        pairs = []
        for number, encoding in enumerate([MSGPACK, JSON, MSGPACK, JSON]):
            player = await house.player(f"p{number}", encoding)
            await player.ask(RoomJoin(room="lobby"))
            pairs.append((player, number < 2))
        for player, blocks in pairs:
            if blocks:
                block(house, player, bob)
        await say(bob, "hi")
        for player, blocks in pairs:
            assert await said(player) == [(1, "", "") if blocks else (1, "bob", "hi")]


@pytest.mark.usefixtures("layout")
async def test_no_answer_names_a_blocked_user(autojump_clock: MockClock) -> None:
    async with open_house() as house:
        ada, bob = await in_lobby(house, "ada", "bob")
        await say(bob, "one")
        await say(ada, "two")
        block(house, ada, bob)
        state: RoomState = await ada.ask(RoomJoin(room="lobby"))
        assert [member.name for member in state.members] == ["ada"]
        assert [(one.name, one.body) for one in state.messages] == [("", ""), ("ada", "two")]
        assert (state.members_total, state.offset) == (2, 2)
        history: History = await ada.ask(RoomHistory(room="lobby"))
        assert [(one.user, one.body) for one in history.messages] == [
            ("", ""),
            (user_of(ada), "two"),
        ]
        members: Members = await ada.ask(RoomMembers(room="lobby"))
        assert [member.name for member in members.members] == ["ada"]
        whole: RoomState = await bob.ask(RoomJoin(room="lobby"))
        assert [one.body for one in whole.messages] == ["one", "two"]


@pytest.mark.usefixtures("layout")
async def test_the_coming_and_going_of_a_blocked_user_is_not_told(
    autojump_clock: MockClock,
) -> None:
    async with open_house() as house:
        ada, bob = await in_lobby(house, "ada", "bob")
        block(house, ada, bob)
        ada.got(RoomJoined)
        (cyd,) = await in_lobby(house, "cyd")
        await bob.ask(RoomLeave(room="lobby"))
        await bob.ask(RoomJoin(room="lobby"))
        await ada.settle()
        await cyd.settle()
        assert [push.member.name for push in ada.got(RoomJoined)] == ["cyd"]
        assert ada.got(RoomLeft) == []
        assert [push.member.name for push in cyd.got(RoomLeft)] == ["bob"]
        assert [push.member.name for push in cyd.got(RoomJoined)] == ["bob"]


@pytest.mark.usefixtures("layout")
async def test_nor_is_it_told_in_a_big_room_where_many_are_told_together(
    autojump_clock: MockClock,
) -> None:
    async with open_house(rooms=RoomSettings(presence_each=1)) as house:
        ada, bob, cyd = await in_lobby(house, "ada", "bob", "cyd")
        block(house, ada, bob)
        await trio.sleep(3)  # on the mock clock: all that is gathered has been told
        for player in (ada, cyd):
            player.got(RoomPresence)
        dan = await house.player("dan")
        await dan.ask(RoomJoin(room="lobby"))
        await bob.ask(RoomLeave(room="lobby"))
        await trio.sleep(3)
        told = []
        for player in (ada, cyd):
            await player.settle()
            pushes = player.got(RoomPresence)
            assert pushes[-1].members_total == 3
            named = [member for push in pushes for member in (*push.joined, *push.left)]
            told.append({member.name for member in named})
        assert told == [{"dan"}, {"bob", "dan"}]


@pytest.mark.usefixtures("layout")
async def test_what_a_client_missed_has_nothing_of_a_blocked_user(
    autojump_clock: MockClock,
) -> None:
    async with open_house() as house:
        ada, bob = await in_lobby(house, "ada", "bob")
        block(house, ada, bob)
        ada.leave()
        await say(bob, "one", "two")
        again = house.connect()
        opened = await again.resume(token_of(ada), {"room:lobby": Position(1, 0)})
        assert opened.resumed
        await again.settle()
        (recovered,) = again.got(RoomRecovered)
        assert [(one.offset, one.name, one.body) for one in recovered.messages] == [
            (1, "", ""),
            (2, "", ""),
        ]
        assert [member.name for member in recovered.members] == ["ada"]


@pytest.mark.usefixtures("layout")
async def test_a_room_that_restarts_shows_nothing_of_a_blocked_user(
    autojump_clock: MockClock,
) -> None:
    async with open_house() as house:
        ada, bob = await in_lobby(house, "ada", "bob")
        block(house, ada, bob)
        await say(bob, "one")
        assert await said(ada) == [(1, "", "")]
        house.break_room("lobby")
        await ada.settle()
        assert [push.offset for push in ada.got(RoomRestarted)] == [1]
        await say(bob, "two")
        assert await said(ada) == [(2, "", "")]


@pytest.mark.usefixtures("two_nodes")
async def test_a_new_session_of_a_blocked_user_on_another_node_changes_nothing(
    autojump_clock: MockClock,
) -> None:
    async with open_house() as house:
        near = await house.player("ada", node=OWNERS)
        far = await house.player("ada too", node=OTHERS)
        bob = await house.player("bob", node=OWNERS)
        for player in (near, far, bob):
            await player.ask(RoomJoin(room="lobby"))
        block(house, near, bob)
        block(house, far, bob)
        await say(bob, "here")
        second = house.connect(node=OTHERS)
        await second.resume(house.token(bob))
        await second.ask(RoomJoin(room="lobby"))
        await say(second, "there")
        for player in (near, far):
            assert await said(player) == [(1, "", ""), (2, "", "")]


@pytest.mark.usefixtures("two_nodes")
async def test_a_room_that_moves_to_another_node_still_shows_nothing(
    autojump_clock: MockClock,
) -> None:
    async with open_house() as house:
        near = await house.player("ada", node=OWNERS)
        far = await house.player("cyd", node=OTHERS)
        bob = await house.player("bob", node=OTHERS)
        for player in (near, far, bob):
            await player.ask(RoomJoin(room="lobby"))
        block(house, near, bob)
        block(house, far, bob)
        await say(bob, "one")
        await house.hand_over("room", "lobby", OTHERS)
        await say(bob, "two")
        for player in (near, far):
            found = await said(player)
            assert found[0] == (1, "", "")
            assert found[-1] == (2, "", "")
            assert {body for _, _, body in found} == {""}


# --- whom a user has blocked is known before anything comes ---------------------------------------


async def test_a_session_is_served_once_it_is_known_whom_its_user_has_blocked(
    autojump_clock: MockClock,
) -> None:
    async with open_house() as house:
        (bob,) = await in_lobby(house, "bob")
        await say(bob, "one")
        asked: list[tuple[str, Future[Collection[str]]]] = []

        def source(user: str) -> Future[Collection[str]]:
            asked.append((user, Future()))
            return asked[-1][1]

        house.topics.blocks.source = source
        ada = house.connect()
        token = house.context.tokens.issue("one that is over", "ada", "ada")
        ada.tell(SessionResume(token=token, ref=1))
        ada.tell(RoomJoin(room="lobby", ref=2))
        await ada.settle()
        assert ada.replies == []
        ((user, answer),) = asked
        assert user == "ada"
        answer.set([user_of(bob)])
        await ada.replied(1)
        joined = await ada.replied(2)
        assert [one["body"] for one in joined.data["messages"]] == [""]  # type: ignore[union-attr]
        (new,) = await in_lobby(house, "a guest, whose id has just been made")
        assert len(asked) == 1
        assert user_of(new)


async def test_a_session_whose_blocks_cannot_be_read_ends_and_the_client_tries_again(
    autojump_clock: MockClock,
) -> None:
    async with open_house() as house:
        answers: list[Future[Collection[str]]] = []

        def source(_: str) -> Future[Collection[str]]:
            answers.append(Future())
            return answers[-1]

        house.topics.blocks.source = source
        token = house.context.tokens.issue("one that is over", "ada", "ada")
        ada = house.connect()
        ada.tell(SessionResume(token=token, ref=1))
        await ada.settle()
        answers[0].set_exception(StoreUnavailable("postgres", "away"))
        await ada.settle()
        assert [reply.code for reply in ada.replies] == ["unavailable"]  # type: ignore[union-attr]
        assert ada.closed == SESSION_FAILED
        again = house.connect()
        again.tell(SessionResume(token=token, ref=1))
        await again.settle()
        answers[1].set([])
        assert (await again.replied(1)).ref == 1


async def test_a_block_made_while_blocks_are_read_is_not_lost() -> None:
    blocks = Blocks()
    answers: list[Future[Collection[str]]] = []

    def source(_: str) -> Future[Collection[str]]:
        answers.append(Future())
        return answers[-1]

    blocks.source = source
    known = blocks.come("ada")
    blocks.change("ada", "bob", blocks=True)
    assert known.users == {"bob"}
    answers[0].set([])  # read before the block
    assert known.users == {"bob"}
    assert known.loading is not None
    answers[1].set(["bob"])
    assert known.users == {"bob"}
    assert known.loading is None
    blocks.reload(["ada", "cyd"])
    answers[2].set_exception(StoreUnavailable("postgres", "away"))
    assert known.users == {"bob"}
    blocks.reload([])
    answers[3].set([])
    assert known.users == frozenset()
    assert blocks.blockers == {}
    blocks.go("ada")
    assert blocks.of("ada") == frozenset()


# --- what it costs --------------------------------------------------------------------------------


async def test_a_push_is_encoded_once_for_those_who_get_it_and_once_for_those_who_do_not(
    autojump_clock: MockClock,
) -> None:
    async with open_house() as house:
        (bob,) = await in_lobby(house, "bob")
        others = await in_lobby(house, *(f"p{number}" for number in range(20)))
        push = RoomMessage(room="lobby", offset=9, user=user_of(bob), name="bob", body="x", at=1)

        def encoded() -> tuple[int, int]:
            house.topics.publish("room:lobby", push, author=push.user)  # fills what is kept
            with counted() as calls:
                house.topics.publish("room:lobby", push, author=push.user)
            return calls["codec.py:frame"], calls.total()

        once, without_blocks = encoded()
        assert once == 1
        for other in others[:10]:
            block(house, other, bob)
        twice, with_blocks = encoded()
        assert twice == 2
        block(house, others[0], others[1])
        for other in others[:10]:
            block(house, other, bob, blocks=False)
        assert encoded() == (once, without_blocks)  # others' blocks cost nothing
        assert with_blocks - without_blocks < 12
