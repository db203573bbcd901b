"""A client that requests more than its outbox holds gets all of it, as fast as it reads."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio
from trio.testing import MockClock

from actors.edge.settings import SessionSettings
from persistence import PostgresSettings, RedisSettings
from protocol.client import ClientSettings, connect
from protocol.codec import JSON, MSGPACK, Encoding
from protocol.errors import TAKEN_OVER
from protocol.messages.envelope import ErrorReply, Ok, Position
from protocol.messages.room import (
    Message,
    RoomHistory,
    RoomJoin,
    RoomLeave,
    RoomMessage,
    RoomRecovered,
    RoomSend,
)
from protocol.messages.session import Ping, SessionResume, TopicLost
from tests.actors.players import House, Player, open_house, token_of
from tests.actors.served import Caller, Served, serve
from tests.protocol.cutting import way_to
from tests.protocol.scripted import take

pytestmark = pytest.mark.usefixtures("layout")

FREE = SessionSettings(
    messages_per_s=0.0,
    bytes_per_s=0.0,
    in_flight=10_000,
    in_flight_all=100_000,
    mailbox=10_000,
    activations_burst=10_000,
)
START = Position(epoch=1, offset=0)


@asynccontextmanager
async def served(postgres: PostgresSettings, redis: RedisSettings) -> AsyncIterator[Served]:
    async with serve(postgres, redis, sessions=FREE) as here:
        yield here


async def talked_in(here: Served, rooms: list[str], messages: int, body: str) -> None:
    """Say so many messages in each of the rooms."""
    async with here.guest("writer") as writer:
        for room in rooms:
            await writer.ask(RoomJoin(room=room))
            for _ in range(messages - 1):
                await writer.tell(RoomSend(room=room, body=body))
            await writer.ask(RoomSend(room=room, body=body))


async def pushed(caller: Caller, count: int) -> list[RoomRecovered]:
    return [await caller.push(RoomRecovered) for _ in range(count)]


@pytest.mark.parametrize("encoding", [MSGPACK, JSON], ids=["msgpack", "json"])
@pytest.mark.parametrize(
    ("rooms", "messages", "body"),
    [(64, 128, "x" * 1_000), (10, 32, "\x01" * 4_000)],
    ids=["64 rooms", "what JSON makes six times as long"],
)
async def test_a_client_that_missed_far_more_than_its_outbox_holds_resumes_completely(
    postgres: PostgresSettings,
    redis: RedisSettings,
    unique: str,
    encoding: Encoding,
    rooms: int,
    messages: int,
    body: str,
) -> None:
    names = [f"{unique}-{number}" for number in range(rooms)]
    async with served(postgres, redis) as here:
        await talked_in(here, names, messages, body)
        async with here.guest("ada", encoding) as ada:
            token = ada.token
        async with here.caller(encoding) as again:
            await again.resume(token, **dict.fromkeys(names, START))
            recovered = await pushed(again, rooms)
            assert sorted(one.room for one in recovered) == sorted(names)
            assert all(one.recovered and len(one.messages) == messages for one in recovered)
            # And it hears each of them from there on.
            for name in names:
                await again.ask(RoomSend(room=name, body="live"))
            live = [await again.push(RoomMessage) for _ in names]
            assert sorted((push.room, push.offset) for push in live) == sorted(
                (name, messages + 1) for name in names
            )


async def test_what_a_client_does_before_it_was_told_all_it_missed_finds_it_a_member(
    postgres: PostgresSettings, redis: RedisSettings, unique: str
) -> None:
    names = [f"{unique}-{number}" for number in range(20)]
    async with served(postgres, redis) as here:
        await talked_in(here, names, 32, "x" * 4_000)
        async with here.guest("ada") as ada:
            token = ada.token
        async with here.caller() as again:
            positions = {f"room:{name}": START for name in names}
            await again.tell(SessionResume(ref=1, token=token, positions=positions))
            for ref, name in enumerate(names, 2):
                await again.tell(RoomSend(ref=ref, room=name, body="early"))
            replies = [await again.reply() for _ in range(len(names) + 1)]
            assert all(isinstance(reply, Ok) for reply in replies), replies
            said = {
                one.room: [message.body for message in one.messages]
                for one in await pushed(again, len(names))
            }
            for push in [push for push in again.pushes if isinstance(push, RoomMessage)]:
                said[push.room].append(push.body)
            while sum(bodies.count("early") for bodies in said.values()) < len(names):
                push = await again.push(RoomMessage)
                said[push.room].append(push.body)
            assert said == {name: ["x" * 4_000] * 32 + ["early"] for name in names}


@pytest.mark.parametrize("encoding", [MSGPACK, JSON], ids=["msgpack", "json"])
async def test_all_pages_of_history_that_are_asked_for_at_once_are_answered(
    postgres: PostgresSettings, redis: RedisSettings, unique: str, encoding: Encoding
) -> None:
    async with served(postgres, redis) as here:
        await talked_in(here, [unique], 32, "\x01" * 4_000)
        async with here.guest("ada", encoding) as ada:
            await ada.ask(RoomJoin(room=unique))
            for ref in range(1000, 1064):
                await ada.tell(RoomHistory(ref=ref, room=unique, limit=32))
            await ada.tell(Ping(ref=2000))
            replies = [await ada.reply() for _ in range(65)]
            assert sorted(reply.ref or 0 for reply in replies) == [*range(1000, 1064), 2000]
            pages = [reply.data for reply in replies if isinstance(reply, Ok) and reply.ref != 2000]
            assert [len(page["messages"]) for page in pages] == [32] * 64


async def test_joins_of_many_rooms_with_long_messages_at_once_are_all_answered(
    postgres: PostgresSettings, redis: RedisSettings, unique: str
) -> None:
    names = [f"{unique}-{number}" for number in range(64)]
    async with served(postgres, redis) as here:
        await talked_in(here, names, 32, "\x01" * 4_000)
        async with here.guest("ada", JSON) as ada:
            for ref, name in enumerate(names, 1000):
                await ada.tell(RoomJoin(ref=ref, room=name))
            replies = [await ada.reply() for _ in names]
            assert [reply for reply in replies if isinstance(reply, ErrorReply)] == []
            await ada.ask(RoomJoin(room=names[0]))  # it still is connected


async def test_the_client_library_comes_back_to_more_than_an_outbox_holds(
    postgres: PostgresSettings, redis: RedisSettings, unique: str
) -> None:
    names = [f"{unique}-{number}" for number in range(30)]
    async with served(postgres, redis) as here, way_to(here.port) as way:
        settings = ClientSettings(buffer=10_000)
        async with connect(way.url, name="ada", settings=settings) as session:
            rooms = [await session.join(name) for name in names]
            kept, way.port = way.port, 1  # nobody is there for a while
            way.cut()
            await talked_in(here, names, 32, "x" * 4_000)
            way.port = kept
            for room in rooms:
                missed = await take(room, 32)
                assert [isinstance(one, Message) and len(one.body) for one in missed] == [4000] * 32
            assert way.connections == 1


# --- where nothing is read until the test says so -------------------------------------------------


async def full(house: House, rooms: int) -> tuple[Player, list[str]]:
    """Return a player who resumed, and has yet to read more than an outbox holds."""
    writer = await house.player("writer")
    names = [f"r{number}" for number in range(rooms)]
    for name in names:
        await writer.ask(RoomJoin(room=name))
        for _ in range(32):
            await writer.ask(RoomSend(room=name, body="x" * 4_000))
    ada = await house.player("ada")
    ada.leave()
    again = house.connect()
    positions = {f"room:{name}": START for name in names}
    again.tell(SessionResume(ref=100, token=token_of(ada), positions=positions))
    await trio.testing.wait_all_tasks_blocked()
    return again, names


async def test_what_nobody_reads_is_not_built_and_does_not_fill_the_outbox(
    autojump_clock: MockClock,
) -> None:
    async with open_house() as house:
        ada, names = await full(house, 20)
        assert ada.client.outbox.queued_bytes <= 1_048_576 // 2
        assert not ada.client.connection.closed
        seen: set[str] = set()
        while len(seen) < len(names):
            before = len(seen)
            await ada.settle()
            seen |= {push.room for push in ada.got(RoomRecovered)}
            assert len(seen) > before
        await ada.settle()
        assert ada.got(RoomRecovered) == []


@pytest.mark.parametrize("ref", [101, None])
async def test_a_room_that_is_left_before_it_was_told_of_is_not_come_back_to(
    autojump_clock: MockClock, ref: int | None
) -> None:
    async with open_house() as house:
        ada, names = await full(house, 10)
        ada.tell(RoomLeave(ref=ref, room=names[-1]))
        for _ in range(10):
            await ada.settle()
        assert {push.room for push in ada.got(RoomRecovered)} == set(names[:-1])
        assert await ada.refused(RoomSend(room=names[-1], body="hi")) == "not_joined"


async def test_a_room_that_fails_before_it_was_told_of_is_lost(autojump_clock: MockClock) -> None:
    async with open_house() as house:
        ada, names = await full(house, 10)
        for _ in range(10):  # more than a restart policy bears
            house.break_room(names[-1])
            await trio.testing.wait_all_tasks_blocked()
        await trio.sleep(1)
        for _ in range(10):
            await ada.settle()
        answered = [push.room for push in ada.got(RoomRecovered)]
        lost = [push.topic for push in ada.got(TopicLost)]
        assert sorted(answered) == sorted(names[:-1])
        assert lost == [f"room:{names[-1]}"]


async def test_a_newer_connection_is_told_all_that_the_older_one_had_no_room_for(
    autojump_clock: MockClock,
) -> None:
    async with open_house() as house:
        ada, names = await full(house, 10)
        token = next(reply.data for reply in await _replies(ada) if isinstance(reply, Ok))["token"]
        newer = house.connect()
        positions = {f"room:{name}": START for name in names}
        await newer.resume(token, positions)
        for _ in range(10):
            await newer.settle()
        assert sorted(push.room for push in newer.got(RoomRecovered)) == sorted(names)
        await ada.settle()
        assert ada.closed == TAKEN_OVER


async def _replies(player: Player) -> list[Ok | ErrorReply]:
    await player.settle()
    return player.replies
