from __future__ import annotations

from typing import Any

import pytest
import trio
import trio.testing

from actors.directory import WAKE_AT_ONCE
from actors.failures import Refused
from actors.matches.host import MatchHost
from actors.matches.referee import GameCrashed
from actors.messages import DIRECTORY
from actors.runtime.errors import StoreBusy
from actors.topics import Topics
from examples.arena import Arena
from examples.tictactoe import TicTacToe
from protocol.errors import (
    BAD_INPUT,
    OUT_OF_RANGE,
    REJECTED,
    TOO_MANY_MATCHES,
    UNKNOWN_GAME,
    ErrorCode,
)
from tests.actors.games import Counting
from tests.actors.table import SMALL, Stores, table


async def refused(error: ErrorCode, asking: Any, detail: str = "") -> None:
    with pytest.raises(Refused) as caught:
        await asking
    assert caught.value.error == error
    assert detail in caught.value.detail


async def test_running_matches_are_listed_newest_first_with_their_players(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with table(TicTacToe, Arena) as one:
        names = []
        for game in ("tictactoe", "arena", "tictactoe"):
            names.append(await one.create(game))
            await trio.sleep(1)
        await one.player("ada").join(names[1])
        await one.player("bob").join(names[1])
        listed = await one.listed()
        assert [match.match for match in listed] == names[::-1]
        assert (listed[1].game, listed[1].players, listed[1].max_players) == ("arena", 2, 8)
        # Two seconds between them, and what a commit may wait for its turn.
        assert 2000 <= listed[0].created - listed[2].created < 2050
        assert [match.match for match in await one.listed("tictactoe")] == [names[2], names[0]]
        assert [match.match for match in await one.listed(limit=1)] == [names[2]]
        assert await one.listed("chess") == []
        await refused(OUT_OF_RANGE, one.listed(limit=101), "at most 100")


async def test_what_cannot_be_created_is_refused_by_name(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with table(Arena, Counting, max_matches=2) as one:
        await refused(UNKNOWN_GAME, one.create("chess"))
        await refused(BAD_INPUT, one.create("arena", goal=0), "params: ")
        await refused(BAD_INPUT, one.create("arena", gaol=5), "params: ")
        await refused(REJECTED, one.create("counting", refuse=True), "not with these")
        with pytest.raises(GameCrashed):
            await one.create("counting", crash=True)
        await trio.sleep(1)
        assert await one.listed() == []
        await one.create("arena", goal=5)
        await one.create("arena")
        await refused(TOO_MANY_MATCHES, one.create("arena"))


async def test_an_end_makes_room_for_another_match(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with table(Counting, max_matches=1) as one:
        match = await one.create("counting")
        ada = one.player("ada")
        await ada.join(match)
        await ada.input(match, 1, {"end": True})
        await trio.sleep(0.1)
        assert await one.listed() == []
        await one.create("counting")


async def test_a_create_with_the_same_key_acts_once_for_each_user(
    autojump_clock: trio.testing.MockClock,
) -> None:
    stores = Stores()
    async with table(Counting, stores=stores) as one:
        first = await one.create("counting", key="k")
        assert await one.create("counting", key="k") == first
        other = await one.create("counting", key="other")
        assert other != first
    async with table(Counting, stores=stores.as_after_a_kill(snapshots=False)) as two:
        assert await two.create("counting", key="k") == first
        assert len(await two.listed()) == 2


async def test_two_creates_at_once_with_one_key_are_answered_alike_after_the_commit(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with table(Counting) as one:
        await one.create("counting")
        one.stores.events.away = True
        made: list[str] = []

        async def create() -> None:
            made.append(await one.create("counting", key="k"))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(create)
            nursery.start_soon(create)
            await trio.sleep(2)
            assert made == []
            one.stores.events.away = False
        assert made[0] == made[1]
        assert len(await one.listed()) == 2


async def test_ended_matches_and_their_keys_are_forgotten_after_a_while(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with table(Counting, remember_ended_s=100, abandon_after_s=10) as one:
        match = await one.create("counting", key="k")
        await trio.sleep(90)
        assert await one.create("counting", key="k") == match
        await trio.sleep(60)
        assert await one.create("counting", key="k") != match


@pytest.mark.parametrize("snapshots", [True, False])
async def test_a_start_wakes_every_match_that_ran_and_no_other(
    autojump_clock: trio.testing.MockClock, snapshots: bool
) -> None:
    stores = Stores()
    async with table(Counting, stores=stores) as one:
        names = [await one.create("counting") for _ in range(2 * WAKE_AT_ONCE + 1)]
        ada = one.player("ada")
        await ada.join(names[0])
        await ada.input(names[0], 1, {"end": True})
        await trio.sleep(0.1)
        if not snapshots:
            stores = stores.as_after_a_kill(snapshots=False)
    async with table(Counting, stores=stores, abandon_after_s=500) as two:
        one_by_one = two.system.ref(*DIRECTORY)
        assert len(await two.listed(limit=100)) == len(names) - 1
        await trio.sleep(1)
        awake = {ref.key for ref in two.system.actors("match")}
        assert awake == set(names[1:])
        assert one_by_one.is_alive()


async def test_a_match_that_was_announced_and_never_made_is_made_by_the_next_start(
    autojump_clock: trio.testing.MockClock,
) -> None:
    stores = Stores()
    async with table(Counting, stores=stores) as one:
        match = await one.create("counting")
        killed = stores.as_after_a_kill()
        killed.events._logs["match", match].clear()
    async with table(Counting, stores=killed) as two:
        await two.listed()
        await trio.sleep(1)
        assert two.log(match) == ["Created"]
        assert (await two.player("ada").join(match)).players == ["ada"]


async def test_an_end_that_the_directory_did_not_hear_of_is_found_by_the_next_start(
    autojump_clock: trio.testing.MockClock,
) -> None:
    stores = Stores()
    async with table(Counting, stores=stores) as one:
        match = await one.create("counting")
        ada = one.player("ada")
        await ada.join(match)
        await ada.input(match, 1, {"end": True})
        await trio.sleep(0.1)
        killed = stores.as_after_a_kill(snapshots=False)
        rows = killed.events.rows(*DIRECTORY)
        assert rows[-1][4] == "match.closed"
        del killed.events._logs[DIRECTORY][rows[-1][2]]
    async with table(Counting, stores=killed) as two:
        assert len(await two.listed()) == 1
        await trio.sleep(1)
        assert await two.listed() == []


async def test_a_full_store_refuses_to_create_and_nothing_is_left_behind(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with table(Counting, durability=SMALL) as one:
        await one.listed()
        one.stores.events.away = True
        async with trio.open_nursery() as nursery:
            nursery.start_soon(one.create, "counting")
            nursery.start_soon(one.create, "counting")
            await trio.sleep(0.1)
            with pytest.raises(StoreBusy):
                await one.create("counting")
            one.stores.events.away = False
        assert len(await one.listed()) == 2


def test_a_name_that_could_not_be_in_a_match_name_is_refused() -> None:
    for name in ("", "a-b", "a b", "x" * 49, "ä"):
        with pytest.raises(ValueError, match="game"):
            MatchHost({name: Counting}, Topics())
    host = MatchHost({"x" * 48: Counting}, Topics())
    name = host.name_match("x" * 48)
    assert len(name) <= 64
    assert host.game_of(name) is Counting
