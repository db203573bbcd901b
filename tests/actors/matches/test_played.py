"""What matches know of a user can be exported, and made anonymous without harm to the game."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock

from actors.matches.played import MatchesOfUsers
from actors.matches.rules.record import Joined, Left, Record
from actors.traces import NotErased
from examples.arena import Arena
from examples.tictactoe import TicTacToe
from persistence.keeping import Keeping
from persistence.requests import (
    FindMarked,
    FindSnapshots,
    FoundSnapshots,
    Marked,
    RewriteEvents,
)
from protocol.messages.match import MatchEnded, MatchRecovered
from tests.actors.games import FaultyTurns
from tests.actors.table import Stores, Table, seated, table


class InMemory:
    """Answers for a keeper and for a worker of snapshots, on the stores of a table."""

    def __init__(self, stores: Stores) -> None:
        self._stores = stores

    async def ask(self, message: Any, *, timeout: float | None = None) -> Any:
        events, snapshots = self._stores.events, self._stores.snapshots
        match message:
            case FindMarked(kind, mark, _, _, _):
                names = [name for name in events.epochs if name[0] == kind]
                rows = [row for name in sorted(names) for row in events.rows(*name)]
                return Marked([row for row in rows if mark in row[5]], None)
            case RewriteEvents(rows):
                for row in rows:
                    events.put(row)
                return len(rows)
            case FindSnapshots(kind, mark, _):
                assert snapshots is not None
                held = snapshots.rows.items()
                keys = [name[1] for name, row in held if name[0] == kind and mark in row[5]]
                return FoundSnapshots(keys, 0)
        raise AssertionError(message)


def matches_of(one: Table) -> MatchesOfUsers:
    worker = InMemory(one.stores)
    return MatchesOfUsers(one.system, Keeping(worker, worker), one.stores.rows)


def stored(stores: Stores) -> str:
    """Everything that the stores hold of matches."""
    assert stores.snapshots is not None
    rows = [row for name in stores.events.epochs for row in stores.events.rows(*name)]
    return repr(rows) + repr(stores.snapshots.rows)


async def test_what_a_user_did_in_matches_is_exported(autojump_clock: MockClock) -> None:
    async with table(TicTacToe) as one:
        match = await one.create("tictactoe", user="ada", address="203.0.113.7")
        ada, bob = await seated(one, match, "ada", "bob")
        await ada.input(match, 1, {"cell": 4})
        await bob.input(match, 1, {"cell": 0})
        created = (await matches_of(one).export("ada"))[0]
        assert (created["what"], created["match"], created["game"], created["address"]) == (
            "created", match, "tictactoe", "203.0.113.7",
        )  # fmt: skip
        await ada.leave(match)
        await trio.sleep(1)
        found = await matches_of(one).export("ada")
        assert [(row["match"], row["what"]) for row in found] == [
            (match, "joined"),
            (match, "moved"),
            (match, "left"),
        ]
        assert found[0]["name"] == "Ada"
        assert found[1]["input"] == {"cell": 4}
        assert all(row["at"] > 0 for row in found)
        assert msgspec.json.encode(found)
        assert [row["what"] for row in await matches_of(one).export("bob")] == ["joined", "moved"]
        assert await matches_of(one).export("nobody") == []


@pytest.mark.parametrize("game", [TicTacToe, Arena])
async def test_a_name_is_nowhere_once_it_is_erased_and_the_game_goes_on(
    autojump_clock: MockClock, game: type[TicTacToe | Arena]
) -> None:
    stores = Stores()
    async with table(game, stores=stores) as one:
        match = await one.create(game.name)
        ada, bob = await seated(one, match, "ada", "bob")
        if game is TicTacToe:
            await ada.input(match, 1, {"cell": 4})
        assert "Ada" in stored(stores)
        await matches_of(one).erase("ada")
        assert "Ada" not in stored(stores)
        assert "Bob" in stored(stores)
        late = one.player("bob", "phone")
        await late.resume(match, 1, 0)
        (recovered,) = late.got(MatchRecovered)
        assert recovered.names == {"ada": "", "bob": "Bob"}
        joins = {one.player: one.data for one in recovered.events if one.kind == "joined"}
        assert joins == {"ada": {"name": ""}, "bob": {"name": "Bob"}}
        if game is TicTacToe:
            await bob.input(match, 1, {"cell": 0})
    for left in (stores, stores.as_after_a_kill(snapshots=game is Arena)):
        async with table(game, stores=left) as one:
            bob = one.player("bob")
            await bob.resume(match, 1, 0)
            (recovered,) = bob.got(MatchRecovered)
            assert recovered.recovered
            assert recovered.names == {"ada": "", "bob": "Bob"}
            if game is TicTacToe:
                assert recovered.state["board"] == "O...X...."
                assert (await one.player("ada").resume(match, 1, 0)) is not None
        assert "Ada" not in stored(left)


async def test_an_ended_match_loses_the_name_and_keeps_its_end(
    autojump_clock: MockClock,
) -> None:
    stores = Stores()
    async with table(TicTacToe, stores=stores) as one:
        match = await one.create("tictactoe")
        ada, bob = await seated(one, match, "ada", "bob")
        await ada.leave(match)
        (ended,) = bob.got(MatchEnded)
        await matches_of(one).erase("ada")
        assert "Ada" not in stored(stores)
    async with table(TicTacToe, stores=stores) as one:
        bob = one.player("bob")
        await bob.resume(match, 1, 2)
        assert bob.got(MatchEnded) == [ended]
        assert stores.snapshots is not None
        assert ("match", match) not in stores.snapshots.rows


async def test_a_match_whose_game_has_no_snapshot_is_named(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(FaultyTurns, "at_tick", 0)
    stores = Stores()
    async with table(FaultyTurns, stores=stores) as one:
        match = await one.create("faulty_turns")
        await seated(one, match, "ada", "bob")
        await trio.sleep(7)
        monkeypatch.setattr(FaultyTurns, "wrong", "snapshot")
        monkeypatch.setattr(FaultyTurns, "times", 1)
        with pytest.raises(NotErased, match=match):
            await matches_of(one).erase("ada")
        await matches_of(one).erase("ada")
        assert "Ada" not in stored(stores)


@given(st.lists(st.tuples(st.sampled_from(["ada", "bob"]), st.booleans()), max_size=12))
def test_a_record_without_a_name_is_the_same_otherwise(steps: list[tuple[str, bool]]) -> None:
    record, nameless = Record(keep=5), Record(keep=5)
    for tick, (player, joins) in enumerate(steps):
        named: Joined | Left = Left(player, tick)
        blank: Joined | Left = named
        if joins:
            named = Joined(player, player.title(), tick)
            blank = Joined(player, "" if player == "ada" else "Bob", tick)
        record.apply(named, 1)
        nameless.apply(blank, 1)
    held = "Ada" in repr(record)
    assert record.forget_name("ada") is held
    assert record == nameless
    assert not record.forget_name("ada")
