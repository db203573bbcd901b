"""Rooms as their members see them: order, fan-out, acknowledgement, history, who is there."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock

from actors.chat.settings import RoomSettings
from actors.runtime.memory import MemoryEventStore, MemorySnapshotStore
from protocol.codec import JSON
from protocol.messages.envelope import Ok
from protocol.messages.room import (
    History,
    Member,
    Members,
    RoomHistory,
    RoomJoin,
    RoomJoined,
    RoomLeave,
    RoomLeft,
    RoomMembers,
    RoomMessage,
    RoomPresence,
    RoomSend,
    RoomState,
    Sent,
)
from protocol.messages.session import SessionClose
from tests.actors.players import bodies, joined, open_house, token_of

pytestmark = pytest.mark.usefixtures("layout")


async def test_a_join_tells_where_the_room_stands(autojump_clock: MockClock) -> None:
    async with open_house() as house:
        ada = await joined(house, "ada")
        await ada.ask(RoomSend(room="lobby", body="one"))
        await ada.ask(RoomSend(room="lobby", body="two"))
        bob = await house.player("bob")
        state: RoomState = await bob.ask(RoomJoin(room="lobby"))
        assert (state.room, state.epoch, state.offset) == ("lobby", 1, 2)
        assert [member.name for member in state.members] == ["ada", "bob"]
        assert state.members_total == 2
        assert [(m.offset, m.name, m.body) for m in state.messages] == [
            (1, "ada", "one"),
            (2, "ada", "two"),
        ]


async def test_a_room_does_not_keep_the_answers_of_what_is_committed(
    autojump_clock: MockClock,
) -> None:
    async with open_house() as house:
        ada = await joined(house, "ada")
        for number in range(50):
            await ada.ask(RoomSend(room="lobby", body="hello", key=f"k{number}"))
        assert house.instance("room", "lobby").uncommitted == 1  # until the next one is sent


async def test_joining_twice_is_harmless(autojump_clock: MockClock) -> None:
    async with open_house() as house:
        ada = await joined(house, "ada")
        bob = await joined(house, "bob")
        again: RoomState = await bob.ask(RoomJoin(room="lobby"))
        assert again.members_total == 2
        assert len(ada.got(RoomJoined)) == 1
        await ada.ask(RoomSend(room="lobby", body="hello"))
        await bob.settle()
        assert bodies(bob) == ["hello"]


async def test_a_joiner_is_seen_by_others_and_not_by_itself(autojump_clock: MockClock) -> None:
    async with open_house() as house:
        ada = await joined(house, "ada")
        bob = await house.player("bob")
        await bob.ask(RoomJoin(room="lobby"))
        assert [push.member.name for push in ada.got(RoomJoined)] == ["bob"]
        assert bob.got(RoomJoined) == []
        await bob.ask(RoomLeave(room="lobby"))
        assert [push.member.name for push in ada.got(RoomLeft)] == ["bob"]
        assert bob.got(RoomLeft) == []


async def test_everyone_gets_every_message_in_one_order(autojump_clock: MockClock) -> None:
    async with open_house() as house:
        players = [await joined(house, name) for name in ("ada", "bob", "cyd")]
        for number in range(30):
            players[number % 3].tell(RoomSend(room="lobby", body=f"{number}"))
        seen = []
        for player in players:
            await player.settle()
            seen.append([(push.offset, push.body) for push in player.got(RoomMessage)])
        assert seen[0] == seen[1] == seen[2]
        assert [offset for offset, _ in seen[0]] == list(range(1, 31))


async def test_no_message_comes_behind_the_answer_to_a_leave(autojump_clock: MockClock) -> None:
    async with open_house() as house:
        ada, bob = await joined(house, "ada"), await joined(house, "bob")
        await ada.ask(RoomSend(room="lobby", body="the first takes an epoch"))
        await bob.settle()
        bob.heard.clear()
        for number in range(3):
            ada.tell(RoomSend(room="lobby", body=f"{number}"))
        bob.tell(RoomLeave(ref=77, room="lobby"))
        ada.tell(RoomSend(room="lobby", body="without bob"))
        await bob.replied(77)
        await bob.settle()
        assert isinstance(bob.heard[-1], Ok)
        await ada.settle()
        assert bodies(ada)[-1] == "without bob"


async def test_both_encodings_get_the_same_messages(autojump_clock: MockClock) -> None:
    async with open_house() as house:
        ada = await joined(house, "ada")
        bob = await house.player("bob", JSON)
        await bob.ask(RoomJoin(room="lobby"))
        await ada.ask(RoomSend(room="lobby", body="héllo"))
        await bob.settle()
        assert ada.got(RoomMessage) == bob.got(RoomMessage)


async def test_a_push_comes_at_once_and_the_answer_after_the_commit(
    autojump_clock: MockClock,
) -> None:
    events = MemoryEventStore()
    async with open_house(events=events) as house:
        ada, bob = await joined(house, "ada"), await joined(house, "bob")
        await ada.ask(RoomSend(room="lobby", body="the first takes an epoch before it is pushed"))
        ada.got(RoomMessage)
        bob.got(RoomMessage)
        events.delay_s = 1.0
        ada.tell(RoomSend(ref=77, room="lobby", body="hello"))
        await ada.settle()
        await bob.settle()
        assert bodies(ada) == bodies(bob) == ["hello"]
        assert ada.replies == []
        reply = await ada.replied(77)
        assert trio.current_time() >= 1.0
        assert events.rows("room", "lobby")[1][2] == 2
        assert reply.ref == 77


async def test_a_retry_with_its_key_acts_once(autojump_clock: MockClock) -> None:
    events = MemoryEventStore()
    async with open_house(events=events) as house:
        ada, bob = await joined(house, "ada"), await joined(house, "bob")
        first: Sent = await ada.ask(RoomSend(room="lobby", body="hello", key="k"))
        await trio.sleep(5)
        again: Sent = await ada.ask(RoomSend(room="lobby", body="hello", key="k"))
        assert again == first
        other: Sent = await bob.ask(RoomSend(room="lobby", body="hello", key="k"))
        assert other.offset == 2
        assert bodies(bob) == ["hello", "hello"]


async def test_a_retry_while_the_first_waits_for_its_commit_waits_too(
    autojump_clock: MockClock,
) -> None:
    events = MemoryEventStore()
    async with open_house(events=events) as house:
        ada = await joined(house, "ada")
        events.delay_s = 1.0
        for ref in (71, 72):
            ada.tell(RoomSend(ref=ref, room="lobby", body="hello", key="k"))
        await ada.settle()
        assert ada.replies == []
        first, second = await ada.replied(71), await ada.replied(72)
        assert trio.current_time() >= 1.0
        assert (first.ref, second.ref) == (71, 72)
        assert first.data == second.data  # type: ignore[union-attr]  # an error has none, and fails
        assert len(events.rows("room", "lobby")) == 1


@pytest.mark.parametrize("with_snapshots", [True, False])
async def test_keys_history_and_offsets_survive_a_restart_of_the_server(
    autojump_clock: MockClock, with_snapshots: bool
) -> None:
    events = MemoryEventStore()
    snapshots = MemorySnapshotStore() if with_snapshots else None
    async with open_house(events=events, snapshots=snapshots) as house:
        ada = await joined(house, "ada")
        first: Sent = await ada.ask(RoomSend(room="lobby", body="hello", key="k"))
        token = token_of(ada)
    async with open_house(events=events, snapshots=snapshots) as house:
        ada = house.connect()
        opened = await ada.resume(token)
        assert not opened.resumed
        state: RoomState = await ada.ask(RoomJoin(room="lobby"))
        assert (state.epoch, state.offset) == (2, 1)
        assert [message.body for message in state.messages] == ["hello"]
        again: Sent = await ada.ask(RoomSend(room="lobby", body="hello", key="k"))
        assert again == first


async def test_history_reaches_from_memory_into_the_event_log(autojump_clock: MockClock) -> None:
    settings = RoomSettings(recent=10, joined_messages=3)
    async with open_house(rooms=settings) as house:
        ada = await joined(house, "ada")
        for number in range(1, 31):
            await ada.ask(RoomSend(room="lobby", body=f"{number}"))

        async def page(before: int, limit: int) -> tuple[list[int], bool]:
            history: History = await ada.ask(RoomHistory(room="lobby", before=before, limit=limit))
            assert all(int(m.body) == m.offset for m in history.messages)
            return [message.offset for message in history.messages], history.more

        assert await page(0, 3) == ([28, 29, 30], True)
        assert await page(25, 3) == ([22, 23, 24], True)
        assert await page(25, 10) == (list(range(15, 25)), True)
        assert await page(5, 10) == ([1, 2, 3, 4], False)
        assert await page(1, 10) == ([], False)
        assert await page(0, 200) == (list(range(1, 31)), False)


async def test_a_room_answers_others_while_history_is_read(autojump_clock: MockClock) -> None:
    events = MemoryEventStore()
    async with open_house(events=events, rooms=RoomSettings(recent=2)) as house:
        ada, bob = await joined(house, "ada"), await joined(house, "bob")
        for number in range(5):
            await ada.ask(RoomSend(room="lobby", body=f"{number}"))
        events.delay_s = 2.0
        ada.tell(RoomHistory(ref=77, room="lobby", limit=5))
        start = trio.current_time()
        assert (await bob.ask(RoomMembers(room="lobby"))).members_total == 2
        assert trio.current_time() - start < 1.0
        await ada.settle()
        assert ada.replies == []
        assert (await ada.replied(77)).ref == 77


async def test_history_says_so_when_the_store_is_away(autojump_clock: MockClock) -> None:
    events = MemoryEventStore()
    async with open_house(events=events, rooms=RoomSettings(recent=2)) as house:
        ada = await joined(house, "ada")
        for number in range(5):
            await ada.ask(RoomSend(room="lobby", body=f"{number}"))
        events.away = True
        assert await ada.refused(RoomHistory(room="lobby", limit=5)) == "unavailable"
        recent: History = await ada.ask(RoomHistory(room="lobby", limit=2))
        assert [message.offset for message in recent.messages] == [4, 5]
        events.away = False
        everything: History = await ada.ask(RoomHistory(room="lobby", limit=5))
        assert [message.offset for message in everything.messages] == [1, 2, 3, 4, 5]


async def test_history_shows_no_gap_while_the_store_is_behind(autojump_clock: MockClock) -> None:
    events = MemoryEventStore()
    async with open_house(events=events, rooms=RoomSettings(recent=2)) as house:
        ada = await joined(house, "ada")
        await ada.ask(RoomSend(room="lobby", body="durable"))
        events.fail_next = 1_000_000
        for number in range(5):
            ada.tell(RoomSend(room="lobby", body=f"{number}"))
        assert await ada.refused(RoomHistory(room="lobby", limit=6)) == "unavailable"
        events.fail_next = 0


@pytest.mark.parametrize(
    ("request_", "code"),
    [
        (RoomSend(room="lobby", body="x" * 11), "too_long"),
        (RoomSend(room="lobby", body="é" * 6), "too_long"),
        (RoomHistory(room="lobby", limit=201), "out_of_range"),
        (RoomSend(room="elsewhere", body="x"), "not_joined"),
        (RoomHistory(room="elsewhere"), "not_joined"),
        (RoomMembers(room="elsewhere"), "not_joined"),
    ],
)
async def test_what_a_room_does_not_take_has_a_name(
    autojump_clock: MockClock, request_: RoomSend | RoomHistory | RoomMembers, code: str
) -> None:
    async with open_house(rooms=RoomSettings(body_bytes=10)) as house:
        ada = await joined(house, "ada")
        assert await ada.refused(request_) == code
        assert (await ada.ask(RoomSend(room="lobby", body="é" * 5))).offset == 1
        assert [ref.key for ref in house.system.actors("room")] == ["lobby"]


async def test_a_full_room_takes_no_more(autojump_clock: MockClock) -> None:
    async with open_house(rooms=RoomSettings(members=2)) as house:
        ada, _bob = await joined(house, "ada"), await joined(house, "bob")
        cyd = await house.player("cyd")
        assert await cyd.refused(RoomJoin(room="lobby")) == "room_full"
        assert await cyd.refused(RoomSend(room="lobby", body="x")) == "not_joined"
        await ada.ask(RoomLeave(room="lobby"))
        assert (await cyd.ask(RoomJoin(room="lobby"))).members_total == 2


async def test_leaving_a_room_one_is_not_in_is_harmless(autojump_clock: MockClock) -> None:
    async with open_house() as house:
        ada = await house.player("ada")
        assert await ada.ask(RoomLeave(room="lobby")) is None
        assert list(house.system.actors("room")) == []


async def test_only_the_first_members_are_listed_and_all_are_counted(
    autojump_clock: MockClock,
) -> None:
    async with open_house(rooms=RoomSettings(members_listed=2)) as house:
        ada = await joined(house, "ada")
        for name in ("bob", "cyd"):
            await joined(house, name)
        members: Members = await ada.ask(RoomMembers(room="lobby"))
        assert [member.name for member in members.members] == ["ada", "bob"]
        assert members.members_total == 3


async def test_a_user_with_two_sessions_is_one_member(autojump_clock: MockClock) -> None:
    async with open_house() as house:
        ada = await joined(house, "ada")
        watcher = await joined(house, "bob")
        assert ada.opened is not None
        token = ada.opened.token
        await ada.ask(SessionClose())
        watcher.got(RoomLeft)
        first, second = house.connect(), house.connect()
        for player in (first, second):  # the old session is over: each gets one of its own
            assert not (await player.resume(token)).resumed
            await player.ask(RoomJoin(room="lobby"))
        await watcher.settle()
        assert [push.member.user for push in watcher.got(RoomJoined)] == [ada.opened.user]
        assert (await watcher.ask(RoomMembers(room="lobby"))).members_total == 2
        await watcher.ask(RoomSend(room="lobby", body="both of you"))
        await first.settle()
        await second.settle()
        assert bodies(first) == bodies(second) == ["both of you"]
        await first.ask(SessionClose())
        await watcher.settle()
        assert watcher.got(RoomLeft) == []
        await second.ask(SessionClose())
        await watcher.settle()
        assert [push.member for push in watcher.got(RoomLeft)] == [Member(ada.opened.user, "ada")]


# --- big rooms ------------------------------------------------------------------------------------

BIG = RoomSettings(presence_each=2, presence_named=6, presence_every_s=1.0, members_listed=3)


async def test_in_a_big_room_joins_and_leaves_are_gathered_into_one_push(
    autojump_clock: MockClock,
) -> None:
    async with open_house(rooms=BIG) as house:
        ada = await joined(house, "ada")
        bob = await joined(house, "bob")
        eve, fay = [await joined(house, name) for name in ("eve", "fay")]
        await fay.ask(RoomLeave(room="lobby"))
        await bob.ask(RoomLeave(room="lobby"))
        assert [push.member.name for push in ada.got(RoomJoined)] == ["bob"], "it was small then"
        assert ada.got(RoomLeft) == []
        assert ada.got(RoomPresence) == []
        await trio.sleep(1.5)
        (push,) = ada.got(RoomPresence)
        assert push.named
        assert ([one.name for one in push.joined], [one.name for one in push.left]) == (
            ["eve"],
            ["bob"],
        )
        assert push.members_total == 2
        assert eve.got(RoomPresence) == [push]
        # It is small again, and each change is a push of its own.
        await eve.ask(RoomLeave(room="lobby"))
        assert [push.member.name for push in ada.got(RoomLeft)] == ["eve"]


async def test_in_a_very_big_room_or_if_many_come_nobody_is_named(
    autojump_clock: MockClock,
) -> None:
    async with open_house(rooms=BIG) as house:
        ada = await joined(house, "ada")
        for number in range(5):  # more than members_listed, one of which is told by itself
            await joined(house, f"p{number}")
        await trio.sleep(1.5)
        for number in range(5, 7):
            await joined(house, f"p{number}")
        await trio.sleep(1.5)
        many, big = ada.got(RoomPresence)
        assert (many.named, many.joined, many.members_total) == (False, [], 6)
        assert (big.named, big.joined, big.members_total) == (False, [], 8)


async def test_many_that_join_a_big_room_are_a_push_a_second_for_each_member(
    autojump_clock: MockClock,
) -> None:
    async with open_house(rooms=RoomSettings(presence_each=10)) as house:
        ada = await joined(house, "ada")
        for number in range(200):
            await joined(house, f"p{number}")
        await trio.sleep(1.5)
        assert len(ada.got(RoomJoined)) == 9
        *_, last = told = ada.got(RoomPresence)
        assert len(told) <= 2
        assert last.members_total == 201


async def test_a_big_room_that_crashes_says_how_many_are_there(autojump_clock: MockClock) -> None:
    async with open_house(rooms=BIG) as house:
        ada = await joined(house, "ada")
        for name in ("bob", "eve", "fay"):
            await joined(house, name)
        house.break_room("lobby")  # and with it what it has gathered
        await trio.sleep(1.5)
        assert ada.got(RoomPresence)[-1].members_total == 4
