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
from actors.matches.host import MatchHost
from actors.matches.messages import RollCall
from actors.matches.waker import SWEEP_S, WAKE_AT_ONCE, WAKER, Wake
from actors.runtime.errors import AskTimeout, StoreBusy
from actors.runtime.system import ActorSystem
from examples.arena import Arena
from examples.tictactoe import TicTacToe
from persistence import StoreUnavailable
from protocol.errors import (
    BAD_INPUT,
    INTERNAL,
    OUT_OF_RANGE,
    REJECTED,
    TOO_LONG,
    TOO_MANY_MATCHES,
    UNKNOWN_GAME,
)
from protocol.messages.match import MatchCreate
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
        assert one.stores.rows.running == {}
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
        assert list(one.stores.rows.running) == [joined]
        assert one.stores.rows.keys == {}
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
        assert len(await two.listed(limit=100)) == len(names) - 1
        await trio.sleep(1)
        awake = {ref.key for ref in two.system.actors("match")}
        assert awake == set(names[1:])


async def test_a_match_that_was_entered_and_not_made_is_made_by_the_next_start(
    autojump_clock: trio.testing.MockClock,
) -> None:
    stores = Stores()
    async with table(Counting, stores=stores) as one:
        killed = await entered_and_killed(one, note="kept")
    async with table(Counting, stores=killed) as two:
        await trio.sleep(1)
        (match,) = [match.match for match in await two.listed()]
        assert two.log(match) == ["Created"]
        created = two.stores.events.rows("match", match)[0][5]
        assert msgspec.msgpack.decode(created)["params"] == {"note": "kept"}
        assert await two.create("counting", key="k", note="kept") == match
        await two.player("ada").join(match)


async def test_a_retry_makes_the_match_that_was_entered_and_not_made(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with table(Counting) as one:
        killed = await entered_and_killed(one)
    killed.rows.away = True
    async with table(Counting, stores=killed) as two:
        await settled()  # the waker does not come to it
        killed.rows.away = False
        match = await two.create("counting", key="k")
        await two.player("ada").join(match)
        assert [match.match for match in await two.listed()] == [match]


async def test_a_match_that_its_game_will_not_have_any_more_is_listed_no_more(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with table(Counting) as one:
        killed = await entered_and_killed(one)
    async with table(TicTacToe, stores=killed) as two:
        await trio.sleep(1)
        assert killed.rows.running == {}
        assert killed.rows.keys == {}
        await refused(UNKNOWN_GAME, two.create("counting", key="k"))


async def entered_and_killed(one: Table, **params: Any) -> Stores:
    """Return stores as after a server that was killed between entering a match and making it."""
    one.stores.events.away = True
    with pytest.raises(AskTimeout):
        await one.create("counting", key="k", **params)
    killed = one.stores.as_after_a_kill()
    assert len(killed.rows.running) == 1
    assert killed.events.count() == 0
    killed.events.away = one.stores.events.away = False
    return killed


async def test_a_retry_is_told_its_match_though_its_game_is_gone(
    autojump_clock: trio.testing.MockClock,
) -> None:
    stores = Stores()
    async with table(Counting, stores=stores) as one:
        match = await one.create("counting", key="k")
    async with table(TicTacToe, stores=stores) as two:
        assert await two.create("counting", key="k") == match
        await refused(UNKNOWN_GAME, two.create("counting", key="other"))
        await trio.sleep(1)  # it has ended, as failed
        assert await two.create("counting", key="k") == match


async def test_a_match_that_nobody_has_heard_of_for_a_while_is_made_by_a_node_that_lives(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with table(Counting) as dead:
        killed = await entered_and_killed(dead)
    (row,) = killed.rows.running.values()
    killed.rows.running.clear()
    async with table(Counting, stores=killed) as one:
        await trio.sleep(1)
        killed.rows.running[row.entry.match] = row  # of a node that died just now
        await trio.sleep(2 * SWEEP_S)
        assert one.log(row.entry.match)[0] == "Created"


async def test_a_match_that_was_not_told_to_come_back_is_told_again(
    autojump_clock: trio.testing.MockClock,
) -> None:
    stores = Stores()
    async with table(Counting, stores=stores, unjoined_after_s=500) as one:
        match = await one.create("counting")
        await trio.sleep(2)
    stores.events.away = True
    async with table(Counting, stores=stores, mailbox=1, unjoined_after_s=500) as two:
        two.match(match).tell(RollCall())  # there is no room for another one
        await trio.sleep(SWEEP_S - 1)
        assert two.host.standing.unheard() == [match]
        stores.events.away = False
        await trio.sleep(5)
        assert two.host.standing.unheard() == []
        assert two.host.standing.players(match) == 0


async def test_a_listed_match_whose_log_is_gone_is_listed_no_more(
    autojump_clock: trio.testing.MockClock,
) -> None:
    stores = Stores()
    async with table(Counting, stores=stores) as one:
        match = await one.create("counting")
        await trio.sleep(2)  # the row says that it was made
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
        stores.rows.holds_reports = True
        await come_and_go(one, 1)
        killed = stores.as_after_a_kill(snapshots=False)
        killed.rows.holds_reports = False
    async with table(Counting, stores=killed) as two:
        assert len(await two.listed()) == 1
        await trio.sleep(1)
        assert await two.listed() == []


async def test_what_a_full_store_refuses_is_made_by_a_retry_or_a_little_later(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with table(Counting, durability=SMALL, unjoined_after_s=600) as one:
        one.stores.events.delay_s = 0.5
        made: dict[str, str] = {}
        refusals: list[StoreBusy] = []

        async def create(key: str) -> None:
            try:
                made[key] = await one.create("counting", key=key)
            except StoreBusy as error:
                refusals.append(error)

        async with trio.open_nursery() as nursery:
            for number in range(5):
                nursery.start_soon(create, str(number))
        assert refusals
        one.stores.events.delay_s = 0
        await create(next(key for key in "01234" if key not in made))
        await trio.sleep(2 * SWEEP_S)
        names = {ref.key for ref in one.system.actors("match")}
        assert len(names) == 5
        for key in "01234":
            await create(key)
        assert set(made.values()) == names == set(one.stores.rows.running)


async def test_a_create_that_met_its_deadline_comes_to_be_and_a_retry_is_told(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with table(Counting, max_matches=2) as one:
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
        one.stores.events.away = True
        request = MatchCreate(game="counting", key="k")
        tries = [one.directory.create(HOST, request) for _ in range(100)]
        await trio.sleep(1)
        refused = [one for one in tries if one.done]
        assert 100 - MOST_RETRIES <= len(refused) < 100
        assert {type(one.exception()) for one in refused} == {StoreBusy}
        await trio.sleep(600)
        one.stores.events.away = False
        await trio.sleep(6)
        match = await one.create("counting", key="k")
        assert [listed.match for listed in await one.listed()] == [match]
        assert one.log(match) == ["Created"]


async def test_without_the_rows_nothing_is_created_or_listed_and_matches_go_on(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with table(Counting) as one:
        match = await one.create("counting")
        one.stores.rows.away = True
        with pytest.raises(StoreUnavailable):
            await one.create("counting")
        with pytest.raises(StoreUnavailable):
            await one.listed()
        ada = one.player("ada")
        await ada.join(match)
        await ada.input(match, 1, {"end": True})
        await trio.sleep(5)
        assert match in one.stores.rows.running
        one.stores.rows.away = False
        await trio.sleep(1)
        assert one.stores.rows.running == {}


async def test_a_registrar_that_fails_loses_no_report(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with table(Counting) as one:
        match, other = await one.create("counting"), await one.create("counting")
        ada = one.player("ada")
        await ada.join(match)
        await one.player("bob").join(other)

        def fails(*_: object, **__: object) -> None:
            raise ZeroDivisionError

        with monkeypatch.context() as patched:
            patched.setattr(one.stores.rows, "execute", fails)
            await ada.input(match, 1, {"end": True})
            await trio.sleep(0.1)
        assert match in one.stores.rows.running
        await trio.sleep(2)
        assert match not in one.stores.rows.running
        assert one.stores.rows.running[other].players == 1


async def test_a_node_wakes_the_matches_that_are_its_own(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    stores = Stores()
    async with table(Counting, stores=stores) as one:
        names = [await one.create("counting") for _ in range(4)]
    mine = set(names[:2])
    monkeypatch.setattr(ActorSystem, "belongs_here", lambda _, _kind, match: match in mine)
    async with table(Counting, stores=stores, unjoined_after_s=500) as two:
        await trio.sleep(1)
        assert {ref.key for ref in two.system.actors("match")} == mine
        mine.add(names[2])  # as after another node has gone
        two.system.ref(WAKER, "0").tell(Wake())
        await trio.sleep(1)
        assert {ref.key for ref in two.system.actors("match")} == mine


async def test_who_lists_matches_of_the_same_node_sees_at_once_who_joined_and_which_ended(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with table(Counting) as one:
        other = await one.create("counting")
        match = await one.create("counting")
        one.stores.rows.holds_reports = True
        ada = one.player("ada")
        await ada.join(match)
        assert [(one.match, one.players) for one in await one.listed()] == [(match, 1), (other, 0)]
        assert one.stores.rows.running[match].players == 0
        await ada.input(match, 1, {"end": True})
        await trio.sleep(0.1)
        assert match in one.stores.rows.running
        assert [one.match for one in await one.listed(limit=1)] == [other]


async def test_numbers_of_players_are_written_at_a_bounded_rate(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with table(Counting, list_refresh_s=1.0) as one:
        match = await one.create("counting")
        await one.player("bob").join(match)
        ada = one.player("ada")
        await trio.sleep(1.5)
        before, began = one.stores.rows.writes, trio.current_time()
        for _ in range(1000):
            await ada.join(match)
            await ada.leave(match)
        await trio.sleep(1.5)
        assert one.stores.rows.writes - before <= trio.current_time() - began + 1
        assert one.stores.rows.running[match].players == 1
        before = one.stores.rows.writes
        await trio.sleep(60)
        assert one.stores.rows.writes == before


async def come_and_go(one: Table, count: int, key: str = "") -> None:
    ada = one.player("ada")
    for number in range(count):
        match = await one.create("counting", key=f"{key}{number}" if key else None)
        await ada.join(match)
        await ada.input(match, 1, {"end": True})
        await trio.sleep(0.1)


def test_a_name_that_could_not_be_in_a_match_name_is_refused() -> None:
    for name in ("", "a-b", "a b", "x" * 49, "ä"):
        with pytest.raises(ValueError, match="game"):
            MatchHost({name: Counting}, Topics(), clock_ms=lambda: 0)
    host = MatchHost({"x" * 48: Counting}, Topics(), clock_ms=lambda: 0)
    name = host.name_match("x" * 48)
    assert len(name) <= 64
    assert host.game_of(name) is Counting
