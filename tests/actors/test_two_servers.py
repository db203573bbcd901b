"""Two servers on one PostgreSQL and Valkey, as in a deploy, or when a frozen one wakes up.

Each has clients in the same room or match. The server that appends last owns the log. The other's
incarnation is fenced, and its clients must end up with what the log holds.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio
from trio.testing import MockClock

from actors.chat.settings import RoomSettings
from actors.edge.failures import Refused
from actors.matches.rules.game import Game
from actors.runtime.errors import Fenced
from actors.runtime.memory import MemoryEventStore, MemorySnapshotStore
from examples.tictactoe import TicTacToe
from persistence import PostgresSettings, RedisSettings
from protocol.client import Gap, RequestFailed, connect
from protocol.messages.envelope import Position
from protocol.messages.match import (
    MatchCreate,
    MatchEnded,
    Matches,
    MatchEvent,
    MatchJoin,
    MatchList,
    MatchRestarted,
)
from protocol.messages.room import RoomJoin, RoomMessage, RoomRecovered, RoomRestarted, RoomSend
from tests.actors import players
from tests.actors.games import Hands
from tests.actors.match_rows import MatchRows
from tests.actors.players import House, bodies, joined, open_house
from tests.actors.served import serve
from tests.actors.table import Player, Stores, Table, settled, table

# --- a room ---------------------------------------------------------------------------------------


@asynccontextmanager
async def two_houses(
    rooms: RoomSettings | None = None,
) -> AsyncIterator[tuple[House, House]]:
    events, snapshots, rows = MemoryEventStore(), MemorySnapshotStore(), MatchRows()
    async with (
        open_house(events=events, snapshots=snapshots, rows=rows, rooms=rooms) as one,
        open_house(events=events, snapshots=snapshots, rows=rows, rooms=rooms) as two,
    ):
        yield one, two


async def said_elsewhere(house: House, *said: str) -> None:
    player = await joined(house, "bob")
    for body in said:
        await player.ask(RoomSend(room="lobby", body=body))


def offsets(player: players.Player) -> list[tuple[int, str]]:
    return [(push.offset, push.body) for push in player.got(RoomMessage)]


async def test_what_a_replaced_server_pushed_in_vain_is_taken_back_and_what_came_instead_is_pushed(
    postgres: PostgresSettings, redis: RedisSettings, unique: str
) -> None:
    async with (
        serve(postgres, redis) as one,
        serve(postgres, redis) as two,
        one.guest("ada") as ada,
        two.guest("bob") as bob,
    ):
        await ada.ask(RoomJoin(room=unique))
        await ada.ask(RoomSend(room=unique, body="a1"))
        await bob.ask(RoomJoin(room=unique))
        await bob.ask(RoomSend(room=unique, body="b2"))
        assert await ada.refused(RoomSend(room=unique, body="a3")) == "unavailable"
        assert [(await ada.push(RoomMessage)).body for _ in range(2)] == ["a1", "a3"]
        # Nobody says anything to the room here, and it comes back all the same.
        assert await ada.push(RoomRestarted) == RoomRestarted(room=unique, epoch=3, offset=1)
        came = await ada.push(RoomMessage)
        assert (came.offset, came.body) == (2, "b2")
        assert (await ada.ask(RoomSend(room=unique, body="a4"))).offset == 3
        assert await bob.refused(RoomSend(room=unique, body="b5")) == "unavailable"
        assert await bob.push(RoomRestarted) == RoomRestarted(room=unique, epoch=4, offset=2)


async def test_the_python_client_of_a_replaced_server_ends_up_with_what_the_log_holds(
    postgres: PostgresSettings, redis: RedisSettings, unique: str
) -> None:
    async with serve(postgres, redis) as one, serve(postgres, redis) as two:
        url = f"ws://127.0.0.1:{one.port}/ws"
        async with connect(url, name="ada") as session, two.guest("bob") as bob:
            room = await session.join(unique)
            await room.send("a1")
            await bob.ask(RoomJoin(room=unique))
            await bob.ask(RoomSend(room=unique, body="b2"))
            with pytest.raises(RequestFailed, match="unavailable"):
                await room.send("a3")
            await room.send("a4")
            seen: list[str | Gap] = []
            with trio.fail_after(20):
                while len(seen) < 5:
                    update = await anext(room)
                    seen.append(update if isinstance(update, Gap) else update.body)
            assert seen == ["a1", "a3", Gap("void", 2, 2), "b2", "a4"]
            assert room.position == Position(3, 3)


async def test_two_incarnations_elsewhere_are_not_too_many(autojump_clock: MockClock) -> None:
    async with two_houses() as (one, two):
        ada = await joined(one, "ada")
        await ada.ask(RoomSend(room="lobby", body="a1"))
        await said_elsewhere(two, "b2")
        two.break_room("lobby")
        await trio.sleep(1)
        await said_elsewhere(two, "b3")
        assert await ada.refused(RoomSend(room="lobby", body="a")) == "unavailable"
        await trio.sleep(1)
        await ada.settle()
        assert ada.got(RoomRestarted) == [RoomRestarted(room="lobby", epoch=4, offset=1)]
        assert offsets(ada) == [(1, "a1"), (2, "a"), (2, "b2"), (3, "b3")]


async def test_an_incarnation_that_broke_before_it_said_a_word_is_not_the_one_clients_know(
    autojump_clock: MockClock,
) -> None:
    async with two_houses() as (one, two):
        ada = await joined(one, "ada")
        await ada.ask(RoomSend(room="lobby", body="a1"))
        await said_elsewhere(two, "b2")
        # It takes an epoch, and is killed before it has read the log.
        events = one.system.durability
        assert events is not None
        store = events.journal.store
        assert isinstance(store, MemoryEventStore)
        assert await store.activate("room", "lobby") == 3
        assert await ada.refused(RoomSend(room="lobby", body="a")) == "unavailable"
        await trio.sleep(1)
        await ada.settle()
        assert ada.got(RoomRestarted) == [RoomRestarted(room="lobby", epoch=4, offset=1)]
        assert offsets(ada)[-1] == (2, "b2")


async def test_more_than_memory_holds_is_a_state_to_start_from(autojump_clock: MockClock) -> None:
    async with two_houses(RoomSettings(recent=2, joined_messages=2)) as (one, two):
        ada = await joined(one, "ada")
        await ada.ask(RoomSend(room="lobby", body="a1"))
        await said_elsewhere(two, "b2", "b3", "b4")
        assert await ada.refused(RoomSend(room="lobby", body="a")) == "unavailable"
        await trio.sleep(1)
        await ada.settle()
        assert ada.got(RoomRestarted) == []
        (there,) = ada.got(RoomRecovered)
        assert (there.recovered, there.epoch, there.offset) == (False, 3, 4)
        assert [message.body for message in there.messages] == ["b3", "b4"]
        assert (await ada.ask(RoomSend(room="lobby", body="a5"))).offset == 5
        assert bodies(ada)[-1] == "a5"


# --- the directory of matches ---------------------------------------------------------------------


async def test_two_servers_have_one_directory(autojump_clock: MockClock) -> None:
    async with two_houses() as (one, two):
        ada, bob = await one.player("ada"), await two.player("bob")
        first = (await ada.ask(MatchCreate(game="tictactoe", key="k"))).match
        other = (await bob.ask(MatchCreate(game="tictactoe"))).match
        for player in (ada, bob):
            listed: Matches = await player.ask(MatchList())
            assert [match.match for match in listed.matches] == [other, first]
        await ada.ask(MatchJoin(match=first))
        await trio.sleep(1)
        listed = await bob.ask(MatchList())
        assert {match.match: match.players for match in listed.matches} == {first: 1, other: 0}


# --- a match --------------------------------------------------------------------------------------


@asynccontextmanager
async def two_tables(game: type[Game]) -> AsyncIterator[tuple[Table, Table, str, Player]]:
    """Open a match on two servers: ada joined it on the first, and the second took it over."""
    stores = Stores()
    async with table(game, stores=stores) as one:
        match = await one.create(game.name)
        ada = one.player("ada")
        await ada.join(match)
        async with table(game, stores=stores) as two:
            await settled()
            yield one, two, match, ada


async def test_players_of_a_replaced_server_are_told_what_happened_elsewhere(
    autojump_clock: MockClock,
) -> None:
    async with two_tables(Hands) as (one, two, match, ada):
        await two.player("bob").join(match)
        with pytest.raises(Fenced):
            await one.player("cyd").join(match)
        await trio.sleep(1)
        (restarted,) = ada.got(MatchRestarted)
        assert (restarted.epoch, restarted.offset) == (3, 1)
        assert [push.player for push in ada.got(MatchEvent)] == ["cyd", "bob"]
        assert [push.offset for push in ada.got(MatchEvent)] == [2, 2]


async def test_players_of_a_replaced_server_are_told_that_the_match_ended_elsewhere(
    autojump_clock: MockClock,
) -> None:
    async with two_tables(TicTacToe) as (one, two, match, ada):
        bob = two.player("bob")
        await bob.join(match)
        await bob.leave(match)  # which ends it
        assert two.log(match)[-1] == "Ended"
        with pytest.raises((Fenced, Refused)):
            await one.player("cyd").join(match)
        await trio.sleep(1)
        (ended,) = ada.got(MatchEnded)
        assert ended.offset == len(two.log(match)) - 1
        (restarted,) = ada.got(MatchRestarted)
        assert restarted.offset == 1
        assert [push.offset for push in ada.got(MatchEvent)][-2:] == [2, 3]
