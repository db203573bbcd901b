from __future__ import annotations

from typing import Any

import msgspec
import pytest
import trio
import trio.testing
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.edge.failures import Refused
from actors.matches.rules.record import STARTS
from examples.arena import Arena
from examples.tictactoe import TicTacToe
from protocol.errors import MATCH_ENDED, REJECTED, SEQ_TOO_OLD
from protocol.messages.match import InputTaken, MatchEnded, MatchRecovered, MatchStatePush
from tests.actors.games import Counting, FaultyTurns, Hands, Ledger
from tests.actors.table import Stores, refused, seated, table, two_players

pytestmark = pytest.mark.usefixtures("layout")

Step = st.one_of(
    st.tuples(st.sampled_from(["ada", "bob"]), st.integers(-9, 9)),
    st.tuples(st.sampled_from(["stop", "kill", "kill, snapshots lost", "wait"]), st.just(0)),
)


@settings(max_examples=60, deadline=None)
@given(st.lists(Step, max_size=25))
def test_whatever_was_acknowledged_is_there_after_any_ends_of_the_server(
    steps: list[tuple[str, int]],
) -> None:
    async def play() -> None:
        stores, left, sums, seq, match = Stores(), list(steps), {"ada": 0, "bob": 0}, 0, ""
        while True:
            async with table(FaultyTurns, stores=stores) as one:
                if not match:
                    match = await one.create("faulty_turns")
                    players = await seated(one, match, "ada", "bob")
                else:
                    players = [one.player("ada"), one.player("bob")]
                    for player in players:
                        await player.resume(match, 1, 2)
                        (recovered,) = player.got(MatchRecovered)
                        assert recovered.recovered
                        assert recovered.state["sums"] == sums
                        assert recovered.tick == seq
                while left and left[0][0] in {"ada", "bob", "wait"}:
                    what, value = left.pop(0)
                    if what == "wait":
                        await trio.sleep(7)
                        continue
                    seq += 1
                    sums[what] += value
                    assert (await players[what == "bob"].input(match, seq, value)).tick == seq
                    assert players[0].state["sums"] == sums
                if not left:
                    return
                end, _ = left.pop(0)
                if end != "stop":
                    stores = stores.as_after_a_kill(snapshots=end == "kill")

    trio.run(play, clock=trio.testing.MockClock(autojump_threshold=0))


@pytest.mark.parametrize("end", ["stop", "kill", "kill, snapshots lost"])
async def test_a_match_in_turns_comes_back_exactly(
    autojump_clock: trio.testing.MockClock, end: str
) -> None:
    stores = Stores()
    async with table(TicTacToe, stores=stores) as one:
        match, ada, bob = await two_players(one, "tictactoe")
        await ada.input(match, 1, {"cell": 4})
        taken = await bob.input(match, 1, {"cell": 0})
        if end != "stop":
            stores = stores.as_after_a_kill(snapshots=end == "kill")
    async with table(TicTacToe, stores=stores) as two:
        ada, bob = two.player("ada"), two.player("bob")
        await bob.resume(match, 1, 1)
        await ada.resume(match, 1, 2)
        (recovered,) = bob.got(MatchRecovered)
        assert recovered.recovered
        assert [(event.kind, event.player) for event in recovered.events] == [("joined", "bob")]
        assert (recovered.epoch, recovered.offset, recovered.tick) == (2, 2, 2)
        assert recovered.state["board"] == "O...X...."
        assert recovered.acks == {"ada": 1, "bob": 1}
        assert ada.got(MatchRecovered)[0].events == []
        assert await bob.input(match, 1, {"cell": 0}) == taken
        await refused(SEQ_TOO_OLD, bob.input(match, 1, {"cell": 8}))
        for seq, (player, cell) in enumerate([(ada, 2), (bob, 1), (ada, 6)], start=2):
            await player.input(match, seq, {"cell": cell})
        assert bob.got(MatchEnded)[0].result["winner"] == "ada"


@pytest.mark.parametrize("end", ["stop", "kill, snapshots lost"])
async def test_what_was_refused_before_an_end_of_the_server_is_never_acknowledged_after_it(
    autojump_clock: trio.testing.MockClock, end: str
) -> None:
    stores = Stores()
    async with table(TicTacToe, stores=stores) as one:
        match, ada, bob = await two_players(one, "tictactoe")
        await ada.input(match, 1, {"cell": 4})
        with pytest.raises(Refused):
            await ada.input(match, 2, {"cell": 2})  # it is not her turn
        await bob.input(match, 1, {"cell": 0})
        await ada.input(match, 3, {"cell": 2})
        if end != "stop":
            stores = stores.as_after_a_kill(snapshots=False)
    async with table(TicTacToe, stores=stores) as two:
        ada = two.player("ada")
        await ada.resume(match, 1, 2)
        with pytest.raises(Refused) as caught:
            await ada.input(match, 2, {"cell": 2})
        assert caught.value.error == (REJECTED if end == "stop" else SEQ_TOO_OLD)
        assert await ada.input(match, 3, {"cell": 2}) == InputTaken(3, durable=True)


@pytest.mark.parametrize("end", ["stop", "kill"])
async def test_a_match_with_ticks_goes_on_where_it_stood(
    autojump_clock: trio.testing.MockClock, end: str
) -> None:
    stores = Stores()
    async with table(Arena, stores=stores) as one:
        match, ada, _ = await two_players(one, "arena")
        await ada.input(match, 1, {"x": 1, "y": 0.5})
        await trio.sleep(10.01)
        before = ada.got(MatchStatePush)[-1]
        if end == "kill":
            stores = stores.as_after_a_kill()
    async with table(Arena, stores=stores) as two:
        await trio.sleep(30)  # nobody is back yet
        ada = two.player("ada")
        await ada.resume(match, 1, 2)
        (recovered,) = ada.got(MatchRecovered)
        assert recovered.recovered
        assert recovered.players == ["ada", "bob"]
        assert recovered.acks == {"ada": 1}
        if end == "stop":
            assert recovered.tick == before.tick == 200
            assert recovered.state == before.state
        else:
            assert 180 <= recovered.tick <= 200
        await trio.sleep(1.01)
        after = ada.got(MatchStatePush)[-1]
        assert after.tick == recovered.tick + 20


async def test_players_who_do_not_come_back_after_a_start_leave(
    autojump_clock: trio.testing.MockClock,
) -> None:
    stores = Stores()
    async with table(Counting, stores=stores) as one:
        match = await one.create("counting")
        await seated(one, match, "ada", "bob")
    async with table(Counting, stores=stores, rejoin_within_s=20, abandon_after_s=50) as two:
        ada = two.player("ada")
        await ada.resume(match, 1, 2)
        await trio.sleep(21)
        assert ada.events == [(3, "left", "bob")]
        await ada.vanish()
        await trio.sleep(60)
        assert two.log(match)[-1] == "Ended"
        assert await two.listed() == []


@pytest.mark.parametrize("snapshots", [True, False])
async def test_durable_inputs_of_a_game_with_ticks_come_back_at_their_ticks(
    autojump_clock: trio.testing.MockClock, snapshots: bool
) -> None:
    stores = Stores()
    async with table(Ledger, stores=stores) as one:
        match, ada, bob = await two_players(one, "ledger")
        for seq in range(1, 10):
            await trio.sleep(0.17)
            await ada.input(match, seq, seq)
            await bob.input(match, seq, -seq)
        last = await bob.input(match, 10, 0)
        await trio.sleep(0.06)
        state = next(push for push in ada.got(MatchStatePush) if push.tick == last.tick)
        killed = stores.as_after_a_kill(snapshots=snapshots)
    async with table(Ledger, stores=killed) as two:
        ada = two.player("ada")
        await ada.resume(match, 1, 2)
        if not snapshots:
            (recovered,) = ada.got(MatchRecovered)
            assert recovered.tick == last.tick - 1
        await trio.sleep(0.06)
        again = next(push for push in ada.got(MatchStatePush) if push.tick == last.tick)
        assert again.state == state.state
        assert again.acks == state.acks == {"ada": 9, "bob": 10}


async def test_without_snapshots_a_match_with_ticks_begins_again_with_its_players(
    autojump_clock: trio.testing.MockClock,
) -> None:
    stores = Stores(snapshots=False)
    async with table(Counting, stores=stores) as one:
        match, ada, _ = await two_players(one, "counting")
        await ada.input(match, 1, 7)
        await ada.input(match, 2, {"say": "hello"})
        await trio.sleep(5.01)
    async with table(Counting, stores=stores) as two:
        ada = two.player("ada")
        await ada.resume(match, 1, 1)
        (recovered,) = ada.got(MatchRecovered)
        assert [event.kind for event in recovered.events] == ["joined", "said"]
        assert recovered.state == {"ticks": 0, "sums": {"ada": 0, "bob": 0}}
        assert recovered.tick == 1  # never behind an event that clients have seen


async def test_a_match_waits_for_its_snapshot_only_if_it_needs_it(
    autojump_clock: trio.testing.MockClock,
) -> None:
    stores = Stores()
    async with table(Counting, TicTacToe, stores=stores) as one:
        ticks, turns = await one.create("counting"), await one.create("tictactoe")
        ada, _ = await seated(one, ticks, "ada", "bob")
        await ada.join(turns)
        await trio.sleep(3.01)
    assert stores.snapshots is not None
    stores.snapshots.away = True
    async with table(Counting, TicTacToe, stores=stores) as two:
        ada = two.player("ada")
        await ada.resume(turns, 1, 1)
        assert ada.got(MatchRecovered)[0].state["marks"] == {"ada": "X"}
        with trio.move_on_after(3):
            await ada.resume(ticks, 1, 2)
        assert len(ada.got(MatchRecovered)) == 1
        stores.snapshots.away = False
        await trio.sleep(3)
        recovered = ada.got(MatchRecovered)[1]
        assert (recovered.recovered, recovered.tick) == (True, 60)


async def test_private_states_come_back(autojump_clock: trio.testing.MockClock) -> None:
    stores = Stores()
    async with table(Hands, stores=stores) as one:
        match, ada, _ = await two_players(one, "hands")
        await ada.input(match, 1, 7)
    async with table(Hands, stores=stores) as two:
        ada, bob = two.player("ada"), two.player("bob")
        await ada.resume(match, 1, 2)
        await bob.resume(match, 1, 2)
        assert ada.got(MatchRecovered)[0].state == {"mine": 7}
        assert bob.got(MatchRecovered)[0].state == {"mine": 0}


async def test_events_that_were_pushed_and_lost_make_a_position_void(
    autojump_clock: trio.testing.MockClock,
) -> None:
    stores = Stores()
    async with table(Counting, stores=stores) as one:
        match = await one.create("counting")
        (ada,) = await seated(one, match, "ada")
        stores.events.away = True
        await ada.input(match, 1, {"say": "lost"})
        await trio.sleep(0.06)
        assert ada.events == [(2, "said", "ada")]
        killed = stores.as_after_a_kill()
        stores.events.away = False
    killed.events.away = False
    async with table(Counting, stores=killed) as two:
        ada = two.player("ada")
        await ada.resume(match, 1, 2)
        assert not ada.got(MatchRecovered)[-1].recovered
        await ada.input(match, 2, {"say": "another"})
        await trio.sleep(0.06)
        ada.reconnect()
        await ada.resume(match, 1, 2)
        assert not ada.got(MatchRecovered)[-1].recovered
        ada.reconnect()
        await ada.resume(match, 1, 1)
        (recovered,) = ada.got(MatchRecovered)
        assert recovered.recovered
        assert [event.data for event in recovered.events] == ["another"]


async def test_a_match_survives_many_starts(autojump_clock: trio.testing.MockClock) -> None:
    stores = Stores()
    async with table(TicTacToe, stores=stores) as one:
        match = await one.create("tictactoe")
        await seated(one, match, "ada", "bob")
    for number in range(STARTS):
        async with table(TicTacToe, stores=stores) as again:
            ada = again.player("ada")
            await ada.resume(match, 1, 2)
            (recovered,) = ada.got(MatchRecovered)
            assert recovered.recovered
            assert recovered.epoch == number + 2
            stores = stores.as_after_a_kill()


async def test_a_torn_snapshot_is_passed_over(autojump_clock: trio.testing.MockClock) -> None:
    stores = Stores()
    async with table(TicTacToe, stores=stores) as one:
        match, ada, _ = await two_players(one, "tictactoe")
        await ada.input(match, 1, {"cell": 4})
    assert stores.snapshots is not None
    row = stores.snapshots.rows["match", match]
    state = msgspec.msgpack.decode(row[5])
    state["game"] = b"\xc1"
    torn: Any = (*row[:5], msgspec.msgpack.encode(state))
    stores.snapshots.rows["match", match] = torn
    async with table(TicTacToe, stores=stores) as two:
        ada = two.player("ada")
        await ada.resume(match, 1, 2)
        assert ada.got(MatchRecovered)[0].state["board"] == "....X...."


async def test_a_match_whose_game_is_gone_ends_as_failed(
    autojump_clock: trio.testing.MockClock,
) -> None:
    stores = Stores()
    async with table(TicTacToe, stores=stores) as one:
        match = await one.create("tictactoe")
        await seated(one, match, "ada", "bob")
    async with table(Counting, stores=stores) as two:
        await trio.sleep(1)
        assert two.log(match)[-1] == "Ended"
        assert two.host.counters.failed == 1
        await refused(MATCH_ENDED, two.player("ada").join(match))


async def test_an_end_that_was_decided_and_lost_is_decided_again(
    autojump_clock: trio.testing.MockClock,
) -> None:
    stores = Stores()
    async with table(TicTacToe, stores=stores) as one:
        match, ada, bob = await two_players(one, "tictactoe")
        entry = stores.rows.running[match]
        for seq, (player, cell) in enumerate(
            [(ada, 0), (bob, 3), (ada, 1), (bob, 4), (ada, 2)], start=1
        ):
            await player.input(match, seq, {"cell": cell})
        await trio.sleep(0.1)
        assert match not in stores.rows.running
        killed = stores.as_after_a_kill(snapshots=False)
        killed.rows.running[match] = entry
        last = killed.events.rows("match", match)[-1]
        assert last[4] == "Ended"
        killed.events.delete("match", match, last[2])
    async with table(TicTacToe, stores=killed) as two:
        await trio.sleep(1)
        assert two.log(match)[-1] == "Ended"
        bob = two.player("bob")
        await bob.resume(match, 1, 2)
        assert bob.got(MatchEnded)[0].result["winner"] == "ada"
