from __future__ import annotations

from functools import partial
from typing import Any

import msgspec
import pytest
import trio
import trio.testing

from actors.edge.failures import MOST_RETRIES, Refused
from actors.edge.identity import Identity
from actors.edge.topics import Topics
from actors.matches.directory import WAKE_AT_ONCE
from actors.matches.host import MatchHost
from actors.matches.messages import DIRECTORY, Create, MatchReport
from actors.matches.rules.register import Stock
from actors.runtime.errors import AskTimeout, StoreBusy
from actors.runtime.stores import EventRow
from examples.arena import Arena
from examples.tictactoe import TicTacToe
from protocol.errors import (
    BAD_INPUT,
    INTERNAL,
    OUT_OF_RANGE,
    REJECTED,
    TOO_LONG,
    TOO_MANY_MATCHES,
    UNAVAILABLE,
    UNKNOWN_GAME,
)
from tests.actors.games import Counting
from tests.actors.table import SMALL, Stores, Table, refused, settled, table

HOST = Identity("", "host", "Host")


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
    async with table(Arena, Counting, max_matches=2, params_bytes=40) as one:
        await refused(UNKNOWN_GAME, one.create("chess"))
        await refused(TOO_LONG, one.create("counting", note="x" * 40), "at most 40 bytes")
        await refused(BAD_INPUT, one.create("arena", goal=0), "params: ")
        await refused(BAD_INPUT, one.create("arena", gaol=5), "params: ")
        await refused(REJECTED, one.create("counting", refuse=True), "not with these")
        await refused(INTERNAL, one.create("counting", crash=True))
        assert one.host.counters.crashes == 1
        await trio.sleep(1)
        assert await one.listed() == []
        await one.create("arena", goal=5)
        await one.create("arena")
        await refused(TOO_MANY_MATCHES, one.create("arena"))


async def test_what_its_game_will_not_have_leaves_nothing_behind(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with table(Arena, Counting) as one:
        for number in range(3):
            await refused(REJECTED, one.create("counting", key="k", refuse=True, number=number))
            await refused(BAD_INPUT, one.create("arena", goal=0))
            await refused(INTERNAL, one.create("counting", crash=True))
        await trio.sleep(0.1)
        assert list(one.system.actors("match")) == []
        assert one.stores.events.count() == 0
        assert one.stores.snapshots is not None
        assert one.stores.snapshots.rows == {}
        await one.create("counting", key="k")  # what was refused has not used the key up


async def test_one_user_cannot_have_every_match(autojump_clock: trio.testing.MockClock) -> None:
    stores = Stores()
    async with table(Counting, stores=stores, max_matches=5, max_matches_of_user=2) as one:
        first = await one.create("counting", user="ada")
        stores.events.away = True
        async with trio.open_nursery() as nursery:
            nursery.start_soon(partial(one.create, "counting", user="ada"))
            await settled()
            # What is being made counts.
            await refused(TOO_MANY_MATCHES, one.create("counting", user="ada"), "2 of this user")
            stores.events.away = False
        await one.create("counting", user="bob")
        ada = one.player("ada")
        await ada.join(first)
        await ada.input(first, 1, {"end": True})
        await trio.sleep(0.1)
        await one.create("counting", user="ada")
    async with table(Counting, stores=stores, max_matches_of_user=2) as two:
        await refused(TOO_MANY_MATCHES, two.create("counting", user="ada"))
        await two.create("counting", user="bob")


async def test_clients_of_one_address_cannot_have_every_match(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with table(Counting, max_matches_of_address=3, unjoined_after_s=15) as one:
        made = [
            await one.create("counting", user=f"guest-{number}", address="203.0.113.7")
            for number in range(3)
        ]
        await one.player("ada").join(made[0])
        await trio.sleep(5)
        with pytest.raises(Refused, match="3 that clients of this address") as caught:
            await one.create("counting", user="guest-9", address="203.0.113.7")
        assert caught.value.error == TOO_MANY_MATCHES
        again_s = caught.value.retry_in_s
        assert again_s == pytest.approx(10, abs=0.1)  # those that were joined may go on
        assert again_s is not None
        await one.create("counting", user="bob", address="198.51.100.9")
        await one.create("counting", user="cyd")  # the machine's own
        await trio.sleep(again_s + 1)
        await one.create("counting", user="guest-9", address="203.0.113.7")
        assert made[0] in {match.match for match in await one.listed()}


async def test_what_was_not_made_takes_nothing_of_its_address(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with table(Counting, max_matches_of_address=1) as one:
        for _ in range(3):
            await refused(REJECTED, one.create("counting", address="a", refuse=True))
        await one.create("counting", address="a")
        await refused(TOO_MANY_MATCHES, one.create("counting", address="a"))


async def test_a_match_that_nobody_joins_ends_soon_and_writes_its_creation_and_end_alone(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with table(Counting, max_matches=2, unjoined_after_s=15, abandon_after_s=120) as one:
        empty, joined = await one.create("counting"), await one.create("counting")
        ada = one.player("ada")
        await ada.join(joined)
        await ada.vanish()
        with pytest.raises(Refused) as caught:
            await one.create("counting")
        assert caught.value.retry_in_s == pytest.approx(15, abs=0.1)
        await trio.sleep(16)
        assert [match.match for match in await one.listed()] == [joined]
        assert one.log(empty) == ["Created", "Ended"]
        assert [row[4] for row in one.stores.events.rows(*DIRECTORY)] == [
            "match.opened",
            "match.opened",
            "match.closed",
        ]
        await one.create("counting")


async def test_an_end_makes_room_for_another_match(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with table(Counting, max_matches=1) as one:
        await come_and_go(one, 1)
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
        names = [
            await one.create("counting", user=f"host-{number}")
            for number in range(2 * WAKE_AT_ONCE + 1)
        ]
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


async def test_a_match_that_was_made_and_never_announced_is_nobodys_and_does_not_run(
    autojump_clock: trio.testing.MockClock,
) -> None:
    stores = Stores()
    async with table(Counting, stores=stores) as one:
        match = await one.create("counting", key="k")
        killed = stores.as_after_a_kill()
        killed.events.delete(*DIRECTORY)
    async with table(Counting, stores=killed) as two:
        assert await two.listed() == []
        assert await two.create("counting", key="k") != match
        await trio.sleep(1)
        assert match not in {ref.key for ref in two.system.actors("match")}


async def test_a_listed_match_whose_log_is_gone_is_listed_no_more(
    autojump_clock: trio.testing.MockClock,
) -> None:
    stores = Stores()
    async with table(Counting, stores=stores) as one:
        match = await one.create("counting")
        killed = stores.as_after_a_kill()
        killed.events.delete("match", match)
    async with table(Counting, stores=killed) as two:
        assert len(await two.listed()) == 1
        await trio.sleep(1)
        assert await two.listed() == []
        await trio.sleep(30)
        assert list(two.system.actors("match")) == []


async def test_an_end_that_the_directory_did_not_hear_of_is_found_by_the_next_start(
    autojump_clock: trio.testing.MockClock,
) -> None:
    stores = Stores()
    async with table(Counting, stores=stores) as one:
        await come_and_go(one, 1)
        killed = stores.as_after_a_kill(snapshots=False)
        rows = killed.events.rows(*DIRECTORY)
        assert rows[-1][4] == "match.closed"
        killed.events.delete(*DIRECTORY, rows[-1][2])
    async with table(Counting, stores=killed) as two:
        assert len(await two.listed()) == 1
        await trio.sleep(1)
        assert await two.listed() == []


async def test_a_full_store_refuses_to_create_and_nothing_is_left_behind(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with table(Counting, durability=SMALL, unjoined_after_s=60) as one:
        await one.listed()
        one.stores.events.delay_s = 0.5
        made: list[str] = []
        refusals: list[StoreBusy] = []

        async def create(key: str) -> None:
            try:
                made.append(await one.create("counting", key=key))
            except StoreBusy as error:
                refusals.append(error)

        async with trio.open_nursery() as nursery:
            for number in range(5):
                nursery.start_soon(create, str(number))
        assert refusals
        one.stores.events.delay_s = 0
        await trio.sleep(20)
        assert sorted(match.match for match in await one.listed()) == sorted(made)
        assert sorted(ref.key for ref in one.system.actors("match")) == sorted(made)
        for number in range(5):
            await create(str(number))
        assert len(refusals) + len(made) == 10
        assert len(await one.listed()) == 5


async def test_a_create_that_met_its_deadline_comes_to_be_and_a_retry_is_told(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with table(Counting, max_matches=2) as one:
        await one.listed()
        one.stores.events.away = True
        for _ in range(2):
            with pytest.raises(AskTimeout):
                await one.create("counting", key="k")
        with pytest.raises(AskTimeout):
            await one.create("counting")
        await refused(TOO_MANY_MATCHES, one.create("counting"))  # those are on their way
        one.stores.events.away = False
        match = await one.create("counting", key="k")
        await trio.sleep(6)
        assert len(await one.listed()) == 2
        assert match in {listed.match for listed in await one.listed()}


async def test_retries_of_one_create_do_not_pile_up_while_the_store_is_away(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with table(Counting) as one:
        await one.listed()
        one.stores.events.away = True
        directory = one.system.ref(*DIRECTORY)
        tries = [directory.ask(Create(HOST, "counting", {}, "k")) for _ in range(100)]
        await settled()
        refused = [one for one in tries if one.done]
        assert 100 - MOST_RETRIES <= len(refused) < 100
        assert {type(one.exception()) for one in refused} == {StoreBusy}
        await trio.sleep(600)
        one.stores.events.away = False
        await trio.sleep(6)
        match = await one.create("counting", key="k")
        assert [listed.match for listed in await one.listed()] == [match]
        assert one.log(match) == ["Created"]


async def test_who_waits_for_a_match_is_told_when_the_directory_crashes(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with table(Counting) as one:
        await one.listed()
        one.stores.events.away = True
        waiting = one.system.ref(*DIRECTORY).ask(Create(HOST, "counting", {}))
        await settled()
        poison: Any = []
        one.system.ref(*DIRECTORY).tell(MatchReport(poison, 0))  # not hashable
        await settled()
        with pytest.raises(Refused) as caught:
            waiting.result()
        assert caught.value.error == UNAVAILABLE


# --- its log -----------------------------------------------------------------------------------


async def come_and_go(one: Table, count: int, key: str = "") -> None:
    ada = one.player("ada")
    for number in range(count):
        match = await one.create("counting", key=f"{key}{number}" if key else None)
        await ada.join(match)
        await ada.input(match, 1, {"end": True})
        await trio.sleep(0.1)


async def test_a_recovery_does_not_replay_every_match_there_ever_was(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("actors.matches.directory.STOCK_EVERY", 10)
    stores = Stores()
    async with table(Counting, stores=stores, ended_keys=5) as one:
        first = await one.create("counting", key="first")
        await come_and_go(one, 40)
        await come_and_go(one, 10, key="k")
        await one.player("bob").join(first)
    rows = stores.events.rows(*DIRECTORY)
    last = max(row[2] for row in rows if row[4] == "match.stock")
    assert len(rows) > 100
    assert len(rows) - last <= 10 + (1 + 5) // 2
    stock = msgspec.msgpack.decode(rows[last - 1][5], type=Stock)
    assert first in {opened.match for opened in stock.running}
    assert len(stock.running) <= 2  # it was taken when one had come
    assert len(stock.kept) == 5
    assert stores.snapshots is not None
    assert DIRECTORY not in stores.snapshots.rows
    for row in rows[: last - 1]:
        stores.events.put((*row[:5], b"not read any more", row[6]))
    async with table(Counting, stores=stores, ended_keys=5) as two:
        assert [match.match for match in await two.listed()] == [first]
        assert await two.create("counting", key="first") == first
        assert await two.create("counting", key="k9") != first
        assert len(await two.listed()) == 1  # k9 is known, and has ended
        await two.create("counting", key="k0")
        assert len(await two.listed()) == 2  # k0 is not one of the last five


def old_row(seq: int, name: str, **fields: Any) -> EventRow:
    payload = msgspec.msgpack.encode({"type": name, **fields})
    return (*DIRECTORY, seq, 1, name, payload, 0)


def announced(seq: int, match: str, **params: Any) -> EventRow:
    return old_row(
        seq, "match.opened", match=match, game="counting", params=params, seed=7, at=0,
        user="host", key=match,
    )  # fmt: skip


@pytest.mark.parametrize("snapshot", [True, False])
async def test_a_log_from_when_matches_were_announced_first_is_read_and_ends_in_a_stock(
    autojump_clock: trio.testing.MockClock, snapshot: bool
) -> None:
    stores = Stores()
    assert stores.snapshots is not None
    stores.events.epochs[DIRECTORY] = 1
    for row in (
        announced(1, "counting-made", note="x" * 1000),
        announced(2, "counting-refused", refuse=True),
        announced(3, "counting-ended"),
        old_row(4, "match.closed", match="counting-ended", reason="finished", at=0),
        announced(5, "counting-refused-before", refuse=True),
        old_row(6, "match.closed", match="counting-refused-before", reason="refused", at=0),
    ):
        stores.events.put(row)
    if snapshot:
        entries = [
            {"opened": msgspec.msgpack.decode(row[5]), "closed_at": closed_at}
            for row, closed_at in zip(stores.events.rows(*DIRECTORY), (None, None, 0), strict=False)
        ]
        await stores.snapshots.save([(*DIRECTORY, 4, 1, 1, msgspec.msgpack.encode(entries))])
    async with table(Counting, stores=stores) as one:
        assert len(await one.listed()) == 2
        await trio.sleep(1)
        assert [match.match for match in await one.listed()] == ["counting-made"]
        assert one.log("counting-made") == ["Created"]
        assert await one.create("counting", key="counting-ended") == "counting-ended"
        await trio.sleep(60)
        assert DIRECTORY not in stores.snapshots.rows
        names = [row[4] for row in stores.events.rows(*DIRECTORY)]
        assert names.count("match.stock") == int(snapshot)
        if snapshot:
            assert b"xxx" not in stores.events.rows(*DIRECTORY)[-1][5]


def test_a_name_that_could_not_be_in_a_match_name_is_refused() -> None:
    for name in ("", "a-b", "a b", "x" * 49, "ä"):
        with pytest.raises(ValueError, match="game"):
            MatchHost({name: Counting}, Topics(), clock_ms=lambda: 0)
    host = MatchHost({"x" * 48: Counting}, Topics(), clock_ms=lambda: 0)
    name = host.name_match("x" * 48)
    assert len(name) <= 64
    assert host.game_of(name) is Counting
