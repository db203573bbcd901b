"""Rooms that crash, rest, or lose their store: what members notice, and that nothing is lost."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock

from actors.runtime.memory import MemoryEventStore, MemorySnapshotStore
from protocol.messages.envelope import Position
from protocol.messages.room import (
    RoomJoin,
    RoomLeave,
    RoomLeft,
    RoomMembers,
    RoomRecovered,
    RoomRestarted,
    RoomSend,
    RoomState,
    Sent,
)
from protocol.messages.session import SessionClose, TopicLost
from tests.actors.players import bodies, joined, open_house, token_of

pytestmark = pytest.mark.usefixtures("layout")


async def test_a_crash_is_told_to_the_members_and_to_nobody_else(
    autojump_clock: MockClock,
) -> None:
    async with open_house(snapshots=MemorySnapshotStore()) as house:
        ada, bob = await joined(house, "ada"), await joined(house, "bob")
        cyd = await joined(house, "cyd", "library")
        await ada.ask(RoomSend(room="lobby", body="before", key="k"))
        house.break_room("lobby")
        await trio.sleep(1)
        for player in (ada, bob):
            await player.settle()
            assert player.got(RoomRestarted) == [RoomRestarted(room="lobby", epoch=2, offset=1)]
        sent: Sent = await bob.ask(RoomSend(room="lobby", body="after"))
        assert sent.offset == 2
        assert bodies(ada) == ["before", "after"]
        assert (await ada.ask(RoomSend(room="lobby", body="before", key="k"))).offset == 1
        await cyd.settle()
        assert cyd.pushes == []
        assert (await cyd.ask(RoomMembers(room="library"))).members_total == 1


async def test_whoever_leaves_while_a_room_is_down_is_missed_when_it_is_back(
    autojump_clock: MockClock,
) -> None:
    events = MemoryEventStore()
    async with open_house(events=events) as house:
        ada, bob = await joined(house, "ada"), await joined(house, "bob")
        await ada.settle()
        events.away = True
        house.break_room("lobby")
        await trio.sleep(0.1)
        await bob.ask(SessionClose())
        await trio.sleep(1)
        assert ada.got(RoomLeft) == []
        events.away = False
        await trio.sleep(5)
        await ada.settle()
        assert [push.member.name for push in ada.got(RoomLeft)] == ["bob"]
        assert (await ada.ask(RoomMembers(room="lobby"))).members_total == 1


async def test_a_room_that_keeps_crashing_is_given_up_and_its_members_are_told(
    autojump_clock: MockClock,
) -> None:
    async with open_house() as house:
        ada = await joined(house, "ada")
        cyd = await joined(house, "cyd", "library")
        while not ada.got(TopicLost):
            house.break_room("lobby")
            await trio.sleep(0.5)
        assert await ada.refused(RoomSend(room="lobby", body="x")) == "not_joined"
        assert await ada.refused(RoomJoin(room="lobby")) == "failed"
        assert (await cyd.ask(RoomSend(room="library", body="fine here"))).offset == 1
        await trio.sleep(31)
        assert (await ada.ask(RoomJoin(room="lobby"))).members_total == 1


async def test_messages_that_a_crash_took_back_make_a_position_void(
    autojump_clock: MockClock,
) -> None:
    events = MemoryEventStore()
    async with open_house(events=events) as house:
        ada, bob = await joined(house, "ada"), await joined(house, "bob")
        await ada.ask(RoomSend(room="lobby", body="durable"))
        events.away = True
        ada.tell(RoomSend(ref=77, room="lobby", body="lost"))
        await ada.settle()
        await bob.settle()
        assert bodies(bob) == ["durable", "lost"]
        assert ada.replies == []
        tokens = (token_of(ada), token_of(bob))
    # The journal has given up waiting for the store: as if the process had been killed.
    events.away = False
    async with open_house(events=events) as house:
        ada, bob = house.connect(), house.connect()
        await ada.resume(tokens[0], {"room:lobby": Position(epoch=1, offset=1)})
        await ada.settle()
        (there,) = ada.got(RoomRecovered)
        assert (there.recovered, there.epoch, there.offset, there.messages) == (True, 2, 1, [])
        await ada.ask(RoomSend(room="lobby", body="new"))
        await bob.resume(tokens[1], {"room:lobby": Position(epoch=1, offset=2)})
        await bob.settle()
        (there,) = bob.got(RoomRecovered)
        assert not there.recovered
        assert [message.body for message in there.messages] == ["durable", "new"]


async def test_an_empty_idle_room_leaves_memory_and_comes_back_as_it_was(
    autojump_clock: MockClock,
) -> None:
    async with open_house(snapshots=MemorySnapshotStore()) as house:
        ada = await joined(house, "ada")
        await ada.ask(RoomSend(room="lobby", body="hello"))
        await trio.sleep(2000)
        assert [ref.key for ref in house.system.actors("room")] == ["lobby"]
        await ada.ask(RoomLeave(room="lobby"))
        await trio.sleep(2000)
        assert list(house.system.actors("room")) == []
        state: RoomState = await ada.ask(RoomJoin(room="lobby"))
        assert (state.epoch, state.offset, state.messages[0].body) == (2, 1, "hello")
        assert ada.got(RoomRestarted) == []


async def test_a_store_that_is_away_delays_answers_and_loses_none(
    autojump_clock: MockClock,
) -> None:
    events = MemoryEventStore()
    async with open_house(events=events) as house:
        ada = await joined(house, "ada")
        events.away = True
        for ref in range(100, 110):
            ada.tell(RoomSend(ref=ref, room="lobby", body=f"{ref}", key=f"{ref}"))
        await trio.sleep(3)
        await ada.settle()
        assert ada.replies == []
        events.away = False
        replies = [await ada.replied(ref) for ref in range(100, 110)]
        assert [reply.data["offset"] for reply in replies] == list(range(1, 11))  # type: ignore[union-attr]  # an error has none, and fails


async def test_an_answer_that_takes_too_long_is_a_timeout_and_its_retry_acts_once(
    autojump_clock: MockClock,
) -> None:
    events = MemoryEventStore()
    async with open_house(events=events) as house:
        ada = await joined(house, "ada")
        events.away = True
        assert await ada.refused(RoomSend(room="lobby", body="x", key="k")) == "timeout"
        events.away = False
        sent: Sent = await ada.ask(RoomSend(room="lobby", body="x", key="k"))
        assert sent.offset == 1
        assert len(events.rows("room", "lobby")) == 1
