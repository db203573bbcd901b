"""A user's messages can be exported completely, and erased wherever they are kept."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import psycopg
import pytest
import trio

from actors.chat.posts import PostsOfUsers
from actors.chat.room import Room
from actors.chat.settings import RoomSettings
from actors.runtime.loop_cell import LoopCell
from actors.traces import NotErased
from persistence import PostgresSettings, RedisSettings
from persistence.keeping import Keeping
from persistence.postgres import EventKeeper, migrate
from protocol.messages.envelope import Position
from protocol.messages.room import (
    History,
    Message,
    RoomHistory,
    RoomJoin,
    RoomLeave,
    RoomRecovered,
    RoomSend,
    RoomState,
    Sent,
)
from tests.actors.served import Caller, Served, serve, until
from tests.conftest import Stores
from tests.searching import holding

WORDS = "the words that nobody is to read again"
NAME = "ada of the name"


@pytest.fixture
def own(stores: Stores, unique: str) -> tuple[PostgresSettings, RedisSettings]:
    """Stores with nothing in them."""
    postgres = PostgresSettings(url=stores.postgres_url, schema=unique)
    migrate(postgres)
    return postgres, RedisSettings(url=stores.redis_url, prefix=f"{unique}:")


Own = tuple[PostgresSettings, RedisSettings]


@asynccontextmanager
async def node(own: Own, rooms: RoomSettings | None = None) -> AsyncIterator[Served]:
    async with serve(*own, rooms=rooms) as served:
        yield served


def posts_of(served: Served, own: Own) -> PostsOfUsers:
    keeper = served.system.start(EventKeeper, own[0])
    return PostsOfUsers(served.system, Keeping(keeper, served.system.ref("stores", "snapshots")))


async def say(caller: Caller, room: str, *bodies: str, key: str | None = None) -> None:
    for body in bodies:
        await caller.ask(RoomSend(room=room, body=body, key=key))


async def page(caller: Caller, room: str) -> list[Message]:
    history: History = await caller.ask(RoomHistory(room=room, limit=200))
    return history.messages


async def gone(served: Served, room: str) -> None:
    """Wait until a room has left memory."""
    await until(lambda: served.system.lookup("room", room) is None)


async def test_what_a_user_said_is_exported_by_room_and_offset(own: Own) -> None:
    async with node(own) as served, served.guest(NAME) as ada, served.guest("bob") as bob:
        posts = posts_of(served, own)
        for caller in (ada, bob):
            for room in ("lobby", "attic"):
                await caller.ask(RoomJoin(room=room))
        await say(bob, "lobby", f"not hers, though it names {ada.user}")
        await say(ada, "lobby", "one", "two")
        await say(bob, "attic", "his")
        await say(ada, "attic", "three")
        found = await posts.export(ada.user)
        assert [(one["room"], one["offset"], one["body"]) for one in found] == [
            ("attic", 2, "three"),
            ("lobby", 2, "one"),
            ("lobby", 3, "two"),
        ]
        assert {one["name"] for one in found} == {NAME}
        assert [one["at"] for one in found] == [
            one.at for room in ("attic", "lobby") for one in await page(ada, room)
            if one.user == ada.user
        ]  # fmt: skip
        assert await posts.export("nobody") == []


async def test_an_export_of_many_messages_comes_in_pages(
    own: Own, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("persistence.keeping.LOOK_AT", 3)
    async with node(own) as served, served.guest(NAME) as ada, served.guest("bob") as bob:
        posts = posts_of(served, own)
        for room in ("a", "b", "c"):
            for caller in (ada, bob):
                await caller.ask(RoomJoin(room=room))
            for number in range(4):
                await say(ada, room, f"{number}")
                await say(bob, room, "his")
        assert [(one["room"], one["offset"]) for one in await posts.export(ada.user)] == [
            (room, offset) for room in ("a", "b", "c") for offset in (1, 3, 5, 7)
        ]
        await posts.erase(ada.user)
        assert await posts.export(ada.user) == []
        assert len(await posts.export(bob.user)) == 12


async def test_an_erased_user_is_nowhere(own: Own) -> None:
    """In a room with members, one with nobody in it, one that left memory with a snapshot; said
    before and after other messages, with keys and without."""
    settings = RoomSettings(idle_after_s=0.05, snapshot_interval_s=0.01)
    async with node(own, settings) as served, served.guest("bob") as bob:
        posts = posts_of(served, own)
        await bob.ask(RoomJoin(room="full"))
        async with served.guest(NAME) as ada:
            user = ada.user
            for room in ("full", "left", "stored"):
                await ada.ask(RoomJoin(room=room))
                await say(ada, room, f"{WORDS} in {room}")
                await say(ada, room, f"{WORDS} by key", key="her-own-key")
            await say(bob, "full", "his own")
            for room in ("left", "stored"):
                await ada.ask(RoomLeave(room=room))
                await gone(served, room)
            await bob.ask(RoomJoin(room="left"))
        assert served.system.lookup("room", "stored") is None
        await until(lambda: holding(WORDS, *own).get("snapshot:room") == 3)
        assert holding(WORDS, *own)["events"] == 6
        await posts.erase(user)
        for word in (WORDS, NAME, user, "her-own-key"):
            assert holding(word, *own) == {}, word
        assert holding("his own", *own)["events"] == 1
        instance = served.system.lookup("room", "full")
        assert instance is not None
        room = instance.actor_or_none()
        assert isinstance(room, Room)
        assert WORDS not in repr(room.snapshot())
        assert user not in repr(room.snapshot())


async def test_members_see_an_empty_message_in_its_place(own: Own) -> None:
    async with node(own) as served:
        async with served.guest("bob") as bob, served.guest(NAME) as ada:
            await bob.ask(RoomJoin(room="lobby"))
            await ada.ask(RoomJoin(room="lobby"))
            await say(bob, "lobby", "before")
            await say(ada, "lobby", WORDS)
            await say(bob, "lobby", "after")
            said = await page(bob, "lobby")
            await posts_of(served, own).erase(ada.user)
            shown = [said[0], Message(2, "", "", "", said[1].at), said[2]]
            assert await page(bob, "lobby") == shown
            token = bob.token
        async with served.guest("cyd") as cyd:
            state: RoomState = await cyd.ask(RoomJoin(room="lobby"))
            assert (state.offset, state.messages) == (3, shown)
        async with served.caller() as again:
            await again.resume(token, lobby=Position(1, 1))
            recovered = await again.push(RoomRecovered)
            assert (recovered.recovered, recovered.messages) == (True, shown[1:])
            sent: Sent = await again.ask(RoomSend(room="lobby", body="and on"))
            assert sent.offset == 4


@pytest.mark.parametrize("snapshots", [True, False])
async def test_a_room_comes_back_with_the_empty_message(own: Own, snapshots: bool) -> None:
    async with node(own) as served, served.guest("bob") as bob, served.guest(NAME) as ada:
        for caller in (bob, ada):
            await caller.ask(RoomJoin(room="lobby"))
            await say(caller, "lobby", "hello")
        await posts_of(served, own).erase(ada.user)
    postgres, redis = own
    if not snapshots:
        redis = RedisSettings(url=redis.url, prefix=f"{redis.prefix}empty:")
    async with node((postgres, redis)) as served, served.guest("cyd") as cyd:
        state: RoomState = await cyd.ask(RoomJoin(room="lobby"))
        assert [(one.offset, one.user, one.body) for one in state.messages] == [
            (1, bob.user, "hello"),
            (2, "", ""),
        ]
        assert (state.epoch, state.offset) == (2, 2)
        await say(cyd, "lobby", "hi")


async def test_words_that_the_log_has_forgotten_go_out_of_memory_and_snapshots_too(
    own: Own,
) -> None:
    """Rooms show what they have in memory, though the log keeps fewer messages."""
    async with node(own) as served, served.guest("bob") as bob, served.guest(NAME) as ada:
        posts = posts_of(served, own)
        for room in ("here", "away"):
            for caller in (ada, bob):
                await caller.ask(RoomJoin(room=room))
                await say(caller, room, WORDS if caller is ada else "his")
        user = ada.user
    async with node(own) as served, served.guest("cyd") as cyd:
        posts = posts_of(served, own)
        await cyd.ask(RoomJoin(room="here"))
        keeper = served.system.start(EventKeeper, own[0])
        keeping = Keeping(keeper, served.system.ref("stores", "snapshots"))
        await keeping.trim_logs("room", after="", names=10, kept=1, before_us=0, most=100)
        assert holding(WORDS, *own) == {"snapshot:room": 2}
        assert [one.body for one in await page(cyd, "here")] == [WORDS, "his"]
        await posts.erase(user)
        assert holding(user, *own) == {}
        assert [one.body for one in await page(cyd, "here")] == ["", "his"]


async def test_what_waits_for_its_commit_is_erased_as_well(own: Own) -> None:
    async with node(own) as served, served.guest("bob") as bob, served.guest(NAME) as ada:
        posts = posts_of(served, own)
        for caller in (ada, bob):
            await caller.ask(RoomJoin(room="lobby"))
        await say(bob, "lobby", "his")
        erased = trio.Event()

        async def erase() -> None:
            await posts.erase(ada.user)
            erased.set()

        writer = served.system.journal.writers["room", "lobby"]
        with psycopg.connect(own[0].url) as other:
            other.execute(f"LOCK TABLE {own[0].schema}.events IN SHARE MODE")
            for number in range(50):
                await ada.tell(RoomSend(room="lobby", body=WORDS, key=f"{number}"))
            await until(lambda: writer.queued == 51)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(erase)
                await until(lambda: writer.awaited or erased.is_set())
                other.rollback()
        assert holding(WORDS, *own) == {}
        assert [one.body for one in await page(bob, "lobby")] == ["his"] + [""] * 50


async def test_rooms_go_on_while_a_user_is_erased(own: Own) -> None:
    """Everyone else's messages keep their places, whenever they come."""
    settings = RoomSettings(idle_after_s=0.01, snapshot_interval_s=0.01)
    async with node(own, settings) as served, served.guest(NAME) as ada:
        posts = posts_of(served, own)
        rooms = [f"r{number}" for number in range(6)]
        for room in rooms:
            await ada.ask(RoomJoin(room=room))
            await say(ada, room, WORDS)
            await ada.ask(RoomLeave(room=room))
        said: dict[str, dict[int, str]] = {room: {} for room in rooms}

        async def come_and_go(number: int) -> None:
            async with served.guest(f"bob{number}") as bob:
                for turn in range(12):
                    room = rooms[(turn + number) % len(rooms)]
                    await bob.ask(RoomJoin(room=room))
                    sent: Sent = await bob.ask(RoomSend(room=room, body=f"{number} {turn}"))
                    said[room][sent.offset] = f"{number} {turn}"
                    await bob.ask(RoomLeave(room=room))

        async with trio.open_nursery() as nursery:
            for number in range(3):
                nursery.start_soon(come_and_go, number)
            nursery.start_soon(posts.erase, ada.user)
        for word in (WORDS, ada.user):
            assert holding(word, *own) == {}, word
        async with served.guest("cyd") as cyd:
            for room in rooms:
                await cyd.ask(RoomJoin(room=room))
                shown = {one.offset: one.body for one in await page(cyd, room)}
                assert shown == {1: "", **said[room]}


async def test_a_room_that_cannot_forget_is_named_and_the_others_do(own: Own) -> None:
    async with node(own) as served, served.guest("bob") as bob, served.guest(NAME) as ada:
        posts = posts_of(served, own)
        for room in ("broken", "whole"):
            for caller in (ada, bob):
                await caller.ask(RoomJoin(room=room))
                await say(caller, room, WORDS if caller is ada else "his")
        cell = served.system.lookup("room", "broken")
        assert isinstance(cell, LoopCell)
        capacity, cell.mailbox.capacity = cell.mailbox.capacity, 0
        with pytest.raises(NotErased, match="1 of kind room could not forget the user: broken"):
            await posts.erase(ada.user)
        assert [one.body for one in await page(bob, "whole")] == ["", "his"]
        cell.mailbox.capacity = capacity
        await posts.erase(ada.user)
        assert [one.body for one in await page(bob, "broken")] == ["", "his"]
        assert holding(WORDS, *own) == {}


async def test_an_erased_user_who_comes_back_is_somebody_new_to_the_room(own: Own) -> None:
    async with node(own) as served, served.guest(NAME) as ada:
        posts = posts_of(served, own)
        await ada.ask(RoomJoin(room="lobby"))
        await say(ada, "lobby", "one", key="k")
        await posts.erase(ada.user)
        sent: Sent = await ada.ask(RoomSend(room="lobby", body="one", key="k"))
        assert sent.offset == 2
        assert [one["offset"] for one in await posts.export(ada.user)] == [2]
        await posts.erase(ada.user)
        assert [one.body for one in await page(ada, "lobby")] == ["", ""]
