"""A match whose state is only in snapshots, when none of them can be used."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
import structlog
import trio
import trio.testing

from actors.edge.topic_messages import Resumed
from protocol.errors import MATCH_ENDED
from protocol.messages.match import MatchEnded, MatchRecovered, MatchRestarted
from tests.actors.games import Counting, Faulty, Hands
from tests.actors.table import Stores, Table, refused, seated, table, two_players

pytestmark = pytest.mark.usefixtures("layout")


async def greeted(one: Table, match: str, *, after_s: float) -> None:
    """Two players join. After so many seconds one says hello, which is an event."""
    ada, _ = await seated(one, match, "ada", "bob")
    await trio.sleep(after_s)
    await ada.input(match, 1, {"say": "hello"})


def tear(stores: Stores, match: str, what: str) -> None:
    """Damage the snapshot, or delete it."""
    assert stores.snapshots is not None
    row = stores.snapshots.rows["match", match]
    state = msgspec.msgpack.decode(row[5])
    torn: Any
    match what:
        case "bytes":
            torn = (*row[:5], row[5][:-1])
        case "record":
            torn = (*row[:5], msgspec.msgpack.encode({**state, "record": 1}))
        case "game":
            torn = (*row[:5], msgspec.msgpack.encode({**state, "game": b"\xc1"}))
        case "state":
            torn = (*row[:5], msgspec.msgpack.encode({**state, "game": msgspec.msgpack.encode(1)}))
        case "version":
            torn = (*row[:4], 99, row[5])
        case _:
            del stores.snapshots.rows["match", match]
            return
    stores.snapshots.rows["match", match] = torn


async def judged_failed(two: Table, match: str, offset: int) -> None:
    """Check that the match has ended as failed, and that everyone who asks is told so."""
    assert two.log(match)[-1] == "Ended"
    assert two.host.counters.failed == 1
    assert await two.listed() == []
    assert match not in two.stores.rows.running
    ada = two.player("ada")
    assert await ada.resume(match, 1, 2) is Resumed.OVER
    assert ada.got(MatchEnded) == [MatchEnded(match=match, offset=offset, result=None, failed=True)]
    await refused(MATCH_ENDED, ada.join(match))


@pytest.mark.parametrize("torn", ["bytes", "record", "game", "state", "version"])
@pytest.mark.parametrize("game", [Counting, Hands])
async def test_a_match_whose_only_state_cannot_be_restored_ends_as_failed(
    autojump_clock: trio.testing.MockClock, game: type[Counting], torn: str
) -> None:
    stores = Stores()
    async with table(game, stores=stores) as one:
        match, ada, _ = await two_players(one, game.name)
        await ada.input(match, 1, 7)
        await trio.sleep(5)
    tear(stores, match, torn)
    with structlog.testing.capture_logs() as entries:
        async with table(game, stores=stores) as two:
            await trio.sleep(1)
            await judged_failed(two, match, offset=3)
    (why,) = [entry["reason"] for entry in entries if entry["event"] == "match_failed"]
    assert "snapshot cannot be used" in why
    async with table(game, stores=stores) as three:  # and stays so
        await trio.sleep(1)
        ada = three.player("ada")
        await ada.resume(match, 1, 2)
        assert ada.got(MatchEnded)[0].failed
        assert three.log(match).count("Ended") == 1


async def test_after_a_crash_its_players_are_told_that_the_state_is_lost(
    autojump_clock: trio.testing.MockClock,
) -> None:
    class Unrestorable(Faulty):
        def restore(self, state: Any) -> None:
            raise ValueError("not this one")

    Unrestorable.wrong, Unrestorable.times, Unrestorable.at_tick = "tick", 1, 60
    async with table(Unrestorable) as one:
        match, ada, bob = await two_players(one, "faulty")
        await trio.sleep(5)
        for player in (ada, bob):
            assert player.got(MatchRestarted) == []
            assert player.got(MatchEnded) == [
                MatchEnded(match=match, offset=3, result=None, failed=True)
            ]
            assert [gone.topic for gone in await player.told_gone()] == [f"match:{match}"]
        await judged_failed(one, match, offset=3)


async def test_a_match_whose_log_shows_that_its_snapshot_is_gone_ends_as_failed(
    autojump_clock: trio.testing.MockClock,
) -> None:
    stores = Stores()
    async with table(Counting, stores=stores) as one:
        match = await one.create("counting")
        await greeted(one, match, after_s=5)
        await trio.sleep(1)
    tear(stores, match, "gone")
    async with table(Counting, stores=stores) as two:
        await trio.sleep(1)
        await judged_failed(two, match, offset=4)


async def test_a_match_that_was_too_young_for_a_snapshot_begins_anew_from_its_creation(
    autojump_clock: trio.testing.MockClock,
) -> None:
    stores = Stores()
    async with table(Counting, stores=stores) as one:
        match = await one.create("counting")
        await greeted(one, match, after_s=0.3)
        await trio.sleep(0.06)
        killed = stores.as_after_a_kill()
        assert killed.snapshots is not None
        assert ("match", match) not in killed.snapshots.rows
    async with table(Counting, stores=killed) as two:
        ada = two.player("ada")
        await ada.resume(match, 1, 2)
        (recovered,) = ada.got(MatchRecovered)
        assert recovered.recovered
        assert recovered.players == ["ada", "bob"]
        assert recovered.state == {"ticks": 0, "sums": {"ada": 0, "bob": 0}}


async def test_a_match_that_ended_needs_no_snapshot(
    autojump_clock: trio.testing.MockClock,
) -> None:
    stores = Stores()
    async with table(Counting, stores=stores) as one:
        match = await one.create("counting", until=100)
        await seated(one, match, "ada", "bob")
        await trio.sleep(6)
    async with table(Counting, stores=stores) as two:
        ada = two.player("ada")
        await ada.resume(match, 1, 2)
        assert ada.got(MatchEnded)[0].result == "time is up"
        assert two.host.counters.failed == 0
