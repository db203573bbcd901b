from __future__ import annotations

from typing import Any

import pytest
import trio
import trio.testing

from actors.edge.identity import Identity
from actors.edge.topic_messages import Leave, Resumed
from actors.matches.messages import Input, Repeat
from actors.matches.rules.game import Game
from actors.runtime.errors import MailboxFull, StoreBusy
from examples.arena import Arena
from examples.tictactoe import TicTacToe
from protocol.errors import (
    BAD_INPUT,
    MATCH_ENDED,
    MATCH_FULL,
    NOT_JOINED,
    REJECTED,
    SEQ_TOO_OLD,
    UNAVAILABLE,
    UNKNOWN_MATCH,
)
from protocol.messages.match import (
    InputTaken,
    MatchEnded,
    MatchEvent,
    MatchRecovered,
    MatchStatePush,
)
from tests.actors.games import Counting, Hands
from tests.actors.table import SMALL, refused, settled, table, two_players

pytestmark = pytest.mark.usefixtures("layout")

# --- a match in turns --------------------------------------------------------------------------


async def test_two_players_play_to_the_end(autojump_clock: trio.testing.MockClock) -> None:
    async with table(TicTacToe) as one:
        match, ada, bob = await two_players(one, "tictactoe")
        for seq, (player, cell) in enumerate(
            [(ada, 0), (bob, 3), (ada, 1), (bob, 4), (ada, 2)], start=1
        ):
            assert await player.input(match, seq, {"cell": cell}) == InputTaken(seq, durable=True)
        for player in (ada, bob):
            assert player.state["board"] == "XXXOO...."
            assert player.seen.pushes[-1] == MatchEnded(
                match=match, offset=3, result={"winner": "ada", "line": [0, 1, 2], "by": "line"}
            )
        assert one.log(match) == ["Created", "Joined", "Joined", *["Moved"] * 5, "Ended"]
        await refused(MATCH_ENDED, one.player("cyd").join(match))
        await refused(MATCH_ENDED, ada.input(match, 9, {"cell": 8}))
        assert [gone.topic for gone in await ada.told_gone()] == [f"match:{match}"]


async def test_those_who_are_there_hear_of_who_comes_and_the_comer_gets_the_state(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with table(TicTacToe) as one:
        match = await one.create("tictactoe")
        ada, bob = one.player("ada"), one.player("bob")
        first = await ada.join(match)
        second = await bob.join(match)
        assert (first.players, first.offset) == (["ada"], 1)
        assert (second.players, second.offset) == (["ada", "bob"], 2)
        assert second.names == {"ada": "Ada", "bob": "Bob"}
        assert ada.got(MatchEvent) == [
            MatchEvent(match=match, offset=2, kind="joined", player="bob", data={"name": "Bob"})
        ]
        assert ada.state["turn"] == "ada"
        assert bob.seen.pushes == []


async def test_joining_twice_is_harmless(autojump_clock: trio.testing.MockClock) -> None:
    async with table(TicTacToe) as one:
        match, ada, _bob = await two_players(one, "tictactoe")
        again = await ada.join(match)
        assert again.players == ["ada", "bob"]
        assert one.log(match) == ["Created", "Joined", "Joined"]
        await ada.input(match, 1, {"cell": 0})
        assert len(ada.got(MatchStatePush)) == 2


async def test_a_join_on_a_connection_that_is_gone_keeps_the_place_and_says_so(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with table(TicTacToe) as one:
        match = await one.create("tictactoe")
        ada = one.player("ada")
        gone = ada.seen
        ada.reconnect()
        ada.seen, now = gone, ada.seen
        if ada.is_near:
            await refused(UNAVAILABLE, ada.join(match))
        else:  # its node knows, and does not let it hear the match
            await ada.join(match)
        assert gone.pushes == now.pushes == []
        ada.seen = now
        assert (await ada.join(match)).players == ["ada"]
        assert one.log(match) == ["Created", "Joined"]


async def test_what_cannot_be_done_is_refused_by_name(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with table(TicTacToe, Counting) as one:
        match = await one.create("tictactoe")
        ada, bob, cyd = (one.player(user) for user in ("ada", "bob", "cyd"))
        await ada.join(match)
        await refused(REJECTED, ada.input(match, 1, {"cell": 0}), "waits for players")
        await bob.join(match)
        await refused(MATCH_FULL, cyd.join(match))
        await refused(NOT_JOINED, cyd.input(match, 1, {"cell": 0}))
        await refused(NOT_JOINED, cyd.resume(match, 1, 0))
        await refused(REJECTED, bob.input(match, 1, {"cell": 0}), "not your turn")
        wrongs: list[Any] = [{"cell": 9}, {"cell": "0"}, {}, {"cell": 0, "more": 1}, None, [0]]
        for seq, wrong in enumerate(wrongs, start=2):
            await refused(BAD_INPUT, ada.input(match, seq, wrong), "input: ")
        await refused(REJECTED, one.player("eve").join(await one.create("counting")), "not you")
        assert (await ada.input(match, 8, {"cell": 0})).tick == 1


async def test_an_unknown_match_is_refused_and_does_not_stay(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with table(TicTacToe) as one:
        ada = one.player("ada")
        await refused(UNKNOWN_MATCH, ada.join("tictactoe-none"))
        await refused(UNKNOWN_MATCH, ada.resume("chess-none", 1, 1))
        await refused(UNKNOWN_MATCH, ada.input("none", 1, 1))
        await ada.leave("none")
        await trio.sleep(11)
        assert list(one.system.actors("match")) == []


async def test_a_repeated_input_is_answered_as_the_first_time_and_acts_once(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with table(TicTacToe) as one:
        match, ada, bob = await two_players(one, "tictactoe")
        first = await ada.input(match, 5, {"cell": 0})
        await bob.input(match, 1, {"cell": 1})
        assert await ada.input(match, 5, {"cell": 0}) == first
        second = await ada.input(match, 6, {"cell": 2})
        assert await ada.input(match, 5, {"cell": 0}) == first
        assert await ada.input(match, 6, {"cell": 2}) == second
        assert ada.state["board"] == "XOX......"
        assert ada.got(MatchStatePush)[-1].acks == {"ada": 6, "bob": 1}
        assert (await ada.join(match)).acks == {"ada": 6, "bob": 1}


async def test_what_was_refused_is_refused_again_also_after_a_later_input_was_taken(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with table(TicTacToe) as one:
        match, ada, bob = await two_players(one, "tictactoe")
        await ada.input(match, 1, {"cell": 0})
        await refused(REJECTED, ada.input(match, 2, {"cell": 4}), "not your turn")
        await refused(BAD_INPUT, bob.input(match, 1, {"cell": 9}))
        await bob.input(match, 2, {"cell": 1})
        # By now the rules would allow it; but it was answered, and its sender may have moved on.
        await refused(REJECTED, ada.input(match, 2, {"cell": 4}))
        assert await ada.input(match, 3, {"cell": 2}) == InputTaken(3, durable=True)
        await refused(REJECTED, ada.input(match, 2, {"cell": 4}))
        await refused(BAD_INPUT, bob.input(match, 1, {"cell": 9}))
        assert ada.state["board"] == "XOX......"
        assert ada.got(MatchStatePush)[-1].acks == {"ada": 3, "bob": 2}


@pytest.mark.parametrize("game", [TicTacToe, Counting])
async def test_an_input_that_was_passed_over_is_never_acknowledged(
    autojump_clock: trio.testing.MockClock, game: type[Game]
) -> None:
    async with table(game) as one:
        match, ada, bob = await two_players(one, game.name)
        value: Any = {"cell": 0} if game is TicTacToe else 1
        first = await ada.input(match, 10, value)
        await refused(SEQ_TOO_OLD, ada.input(match, 4, value))
        last = await bob.input(match, 2**53 - 1, {"cell": 1} if game is TicTacToe else 1)
        assert last.tick >= first.tick
        for seq in (1, 2**53 - 2):
            await refused(SEQ_TOO_OLD, bob.input(match, seq, value), "above 9007199254740991")
        if game is TicTacToe:
            assert one.log(match).count("Moved") == 2


async def test_another_input_under_a_seq_that_was_used_is_never_acknowledged(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with table(Counting) as one:
        match, ada, bob = await two_players(one, "counting")
        phone = one.player("ada", "phone")
        await phone.join(match)
        taken = await ada.input(match, 1, 5)
        await refused(SEQ_TOO_OLD, phone.input(match, 1, 7), "above 1")
        assert await phone.input(match, 1, 5) == taken  # it cannot be told apart, and has acted
        await phone.input(match, 2, 7)
        await trio.sleep(0.1)
        assert bob.state["sums"] == {"ada": 12, "bob": 0}


@pytest.mark.parametrize("game", [TicTacToe, Counting])
async def test_as_many_answers_are_remembered_as_the_settings_say(
    autojump_clock: trio.testing.MockClock, game: type[Game]
) -> None:
    async with table(game, answers=3) as one:
        match, ada, _bob = await two_players(one, game.name)
        first: Any = {"cell": 0} if game is TicTacToe else 5
        taken = await ada.input(match, 1, first)
        for seq in (2, 3):
            await refused(
                REJECTED if game is Counting else BAD_INPUT, ada.input(match, seq, "nonsense")
            )
        assert await ada.input(match, 1, first) == taken
        await refused(REJECTED if game is Counting else BAD_INPUT, ada.input(match, 4, "nonsense"))
        await refused(SEQ_TOO_OLD, ada.input(match, 1, first))
        await trio.sleep(0.1)
        assert ada.got(MatchStatePush)[-1].acks["ada"] >= (4 if game is Counting else 1)


async def test_what_kept_an_input_from_the_game_leaves_its_seq_free(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with table(TicTacToe, durability=SMALL) as one:
        match, ada, bob = await two_players(one, "tictactoe")
        one.stores.events.away = True
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ada.input, match, 1, {"cell": 0})
            await settled()
            nursery.start_soon(bob.input, match, 1, {"cell": 1})
            await settled()
            with pytest.raises(StoreBusy):
                await ada.input(match, 2, {"cell": 2})
            one.stores.events.away = False
        assert (await ada.input(match, 2, {"cell": 2})).tick == 3


async def test_the_input_that_ended_a_match_is_answered_as_the_first_time(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with table(TicTacToe) as one:
        match, ada, bob = await two_players(one, "tictactoe")
        other = one.player("ada", "phone")
        for seq, (player, cell) in enumerate([(ada, 0), (bob, 3), (ada, 1), (bob, 4)], start=1):
            await player.input(match, seq, {"cell": cell})
        # Not joined by this session: it could have been answered, but nothing here may act.
        third = Repeat(other.who, 3, {"cell": 1})
        await refused(NOT_JOINED, other.ask(match, third))
        one.stores.events.away = True
        winning = one.match(match).ask(Input(ada.who, 5, {"cell": 2}))
        again = one.match(match).ask(Input(ada.who, 5, {"cell": 2}))
        await trio.sleep(1)
        assert ada.got(MatchEnded)
        assert not again.done  # an answer means durable, also the second one
        one.stores.events.away = False
        first = InputTaken(5, durable=True)
        assert await winning == await again == first
        await trio.sleep(3600)  # it has left memory
        assert await other.ask(match, Repeat(other.who, 5, {"cell": 2})) == first
        assert await other.ask(match, third) == InputTaken(3, durable=True)
        await refused(SEQ_TOO_OLD, other.ask(match, Repeat(other.who, 2, {"cell": 1})))
        await refused(MATCH_ENDED, other.ask(match, Repeat(other.who, 6, {"cell": 7})))


async def test_an_acknowledged_input_is_durable_and_pushes_do_not_wait(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with table(TicTacToe) as one:
        match, ada, bob = await two_players(one, "tictactoe")
        one.stores.events.away = True
        async with trio.open_nursery() as nursery:
            answers: list[InputTaken] = []

            async def ask() -> None:
                answers.append(await ada.input(match, 1, {"cell": 0}))

            nursery.start_soon(ask)
            nursery.start_soon(ask)
            await trio.sleep(2)
            assert bob.state["board"] == "X........"
            assert answers == []
            assert "Moved" not in one.log(match)
            one.stores.events.away = False
        assert answers == [InputTaken(1, durable=True)] * 2
        assert one.log(match).count("Moved") == 1


async def test_who_leaves_is_told_so_and_the_others_hear_it(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with table(TicTacToe) as one:
        match, ada, bob = await two_players(one, "tictactoe")
        await one.player("cyd").leave(match)
        await ada.leave(match)
        assert ada.events == [(2, "joined", "bob")]
        assert bob.events == [(3, "left", "ada")]
        assert bob.got(MatchEnded)[0].result["by"] == "forfeit"
        await ada.leave(match)


async def test_each_player_sees_only_what_is_for_them(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with table(Hands) as one:
        match, ada, bob = await two_players(one, "hands")
        assert await ada.input(match, 1, 5) == InputTaken(1, durable=False)
        assert (ada.state, bob.state) == ({"mine": 5}, {"mine": 0})
        assert (await bob.join(match)).state == {"mine": 0}


# --- a match with ticks ------------------------------------------------------------------------


async def test_ticks_are_exact_over_minutes(autojump_clock: trio.testing.MockClock) -> None:
    async with table(Counting) as one:
        match = await one.create("counting")
        ada = one.player("ada")
        await trio.sleep(3.21)
        await ada.join(match)
        await trio.sleep(180.01)
        states = ada.got(MatchStatePush)
        assert [state.tick for state in states] == list(range(1, 180 * 20 + 1))
        assert states[-1].state["ticks"] == 180 * 20
        assert one.host.counters.ticks_skipped == 0


async def test_after_a_stall_a_few_ticks_are_caught_up_and_the_rest_given_up(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with table(Counting, catch_up_ticks=5) as one:
        match = await one.create("counting")
        ada = one.player("ada")
        await ada.join(match)
        await trio.sleep(0.51)
        autojump_clock.jump(2.0)
        await settled()
        assert ada.got(MatchStatePush)[-1].tick == 10 + 5
        assert one.host.counters.ticks_skipped == 35
        await trio.sleep(1)
        assert ada.got(MatchStatePush)[-1].tick == 10 + 5 + 20


async def test_no_tick_is_run_after_the_last_one_also_when_catching_up(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with table(Counting, catch_up_ticks=5) as one:
        match = await one.create("counting", until=12)
        ada = one.player("ada")
        await ada.join(match)
        await trio.sleep(0.51)
        autojump_clock.jump(2.0)
        await settled()
        assert ada.got(MatchStatePush)[-1].tick == 12
        assert ada.seen.pushes[-1] == MatchEnded(match=match, offset=2, result="time is up")
        assert one.host.counters.ticks == 12


async def test_an_input_acts_at_the_tick_it_was_promised_for(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with table(Counting) as one:
        match, ada, bob = await two_players(one, "counting")
        await trio.sleep(0.51)
        taken = await ada.input(match, 3, 7)
        assert taken == InputTaken(11, durable=False)
        assert await ada.input(match, 3, 7) == taken
        await trio.sleep(0.1)
        first = next(push for push in bob.got(MatchStatePush) if push.acks == {"ada": 3})
        assert first.tick == 11
        assert first.state["sums"] == {"ada": 7, "bob": 0}


async def test_the_game_stands_still_while_nobody_is_there(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with table(Counting) as one:
        match = await one.create("counting")
        ada = one.player("ada")
        await trio.sleep(5)
        await ada.join(match)
        await trio.sleep(1.01)
        await ada.vanish()
        await trio.sleep(30)
        ada.connect()
        assert (await ada.join(match)).tick == 20
        await trio.sleep(1.01)
        assert ada.got(MatchStatePush)[-1].tick in {40, 41}


async def test_what_the_game_says_reaches_everyone_in_order_with_offsets(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with table(Counting) as one:
        match, ada, bob = await two_players(one, "counting")
        for seq in range(1, 4):
            await ada.input(match, seq, {"say": seq})
        await ada.input(match, 4, {"end": "done"})
        await trio.sleep(0.2)
        assert bob.events == [(offset, "said", "ada") for offset in (3, 4, 5)]
        assert bob.seen.pushes[-1] == MatchEnded(match=match, offset=6, result="done")
        assert bob.got(MatchStatePush)[-1].offset == 5


async def test_of_an_ended_match_only_the_log_is_kept(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with table(Counting) as one:
        match, ada, _ = await two_players(one, "counting")
        await trio.sleep(5)
        assert one.stores.snapshots is not None
        assert ("match", match) in one.stores.snapshots.rows
        await ada.input(match, 1, {"end": "done"})
        await trio.sleep(30)
        assert ("match", match) not in one.stores.snapshots.rows
        assert list(one.system.actors("match")) == []
        assert one.topics.members(f"match:{match}") == []


async def test_a_match_ends_whose_mailbox_is_full_when_its_end_is_durable(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with table(TicTacToe, mailbox=2) as one:
        match, ada, bob = await two_players(one, "tictactoe")
        for seq, (player, cell) in enumerate([(ada, 0), (bob, 3), (ada, 1), (bob, 4)], start=1):
            await player.input(match, seq, {"cell": cell})

        def crowd(_: object) -> None:
            """Comes with the answer to the last move, just before the end is known to be stored."""
            one.match(match).tell(Leave(Identity("nobody", "nobody", "Nobody")))
            one.match(match).tell(Leave(Identity("nobody", "nobody", "Nobody")))
            with pytest.raises(MailboxFull):
                one.match(match).tell(Leave(Identity("nobody", "nobody", "Nobody")))

        last = one.match(match).ask(Input(ada.who, 5, {"cell": 2}))
        last.on_done(crowd)
        assert await last == InputTaken(5, durable=True)
        await trio.sleep(30)
        assert list(one.system.actors("match")) == []
        assert await one.listed() == []


async def test_the_arena_plays_with_eight(autojump_clock: trio.testing.MockClock) -> None:
    async with table(Arena) as one:
        match = await one.create("arena", goal=3)
        players = [one.player(f"p{number}") for number in range(8)]
        for player in players:
            await player.join(match)
        await refused(MATCH_FULL, one.player("late").join(match))
        await trio.sleep(0.1)
        for seq in range(1, 200):
            if players[0].got(MatchEnded):
                break
            state = players[0].state
            for number, player in enumerate(players):
                x, y, _ = state["bodies"][player.user]
                orb_x, orb_y = state["orbs"][number % 5]
                far = max(abs(orb_x - x), abs(orb_y - y), 1)
                aim = {"x": (orb_x - x) / far, "y": (orb_y - y) / far}
                await player.input(match, seq, aim)
            await trio.sleep(0.25)
        ended = players[0].got(MatchEnded)[0]
        assert ended.result["points"][ended.result["winner"]] == 3
        assert all(player.got(MatchEnded) == [ended] for player in players)


# --- who is away -------------------------------------------------------------------------------


async def test_a_place_is_kept_for_a_while_and_then_given_up(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with table(Counting, rejoin_within_s=10) as one:
        match, ada, bob = await two_players(one, "counting")
        await bob.vanish()
        await trio.sleep(9)
        bob.connect()
        assert (await bob.join(match)).players == ["ada", "bob"]
        await trio.sleep(20)
        await bob.vanish()
        await trio.sleep(10.1)
        assert ada.events[-1] == (3, "left", "bob")
        bob.connect()
        assert (await bob.join(match)).offset == 4


async def test_a_second_session_of_the_same_user_keeps_the_place(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with table(Counting, rejoin_within_s=1) as one:
        match = await one.create("counting")
        desk, phone = one.player("ada"), one.player("ada", device="phone")
        await desk.join(match)
        await phone.join(match)
        await desk.vanish()
        await trio.sleep(5)
        assert phone.got(MatchStatePush)[-1].state["sums"] == {"ada": 0}
        assert one.log(match) == ["Created", "Joined"]


async def test_a_match_that_everyone_abandoned_ends(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with table(Counting, rejoin_within_s=500, abandon_after_s=60) as one:
        empty = await one.create("counting")
        match, ada, bob = await two_players(one, "counting")
        await trio.sleep(50)
        await ada.vanish()
        await bob.vanish()
        await trio.sleep(20)
        assert [match.match for match in await one.listed()] == [match]
        assert one.log(empty) == ["Created", "Ended"]
        await trio.sleep(60)
        assert await one.listed() == []
        await trio.sleep(60)
        assert list(one.system.actors("match")) == []


# --- resuming ----------------------------------------------------------------------------------


async def test_a_resumed_player_gets_exactly_what_was_missed(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with table(Counting) as one:
        match, ada, bob = await two_players(one, "counting")
        state = await bob.join(match)
        for seq in range(1, 4):
            await ada.input(match, seq, {"say": seq})
            await trio.sleep(0.1)
        bob.reconnect()
        await bob.resume(match, state.epoch, state.offset + 1)
        (recovered,) = bob.got(MatchRecovered)
        assert recovered.recovered
        assert [(event.offset, event.data) for event in recovered.events] == [(4, 2), (5, 3)]
        assert (recovered.offset, recovered.players) == (5, ["ada", "bob"])
        assert recovered.acks == {"ada": 3}
        await trio.sleep(0.1)
        assert bob.got(MatchStatePush)


async def test_a_player_whose_outbox_has_no_room_hears_nothing_until_it_asks_again(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with table(Counting) as one:
        match, ada, bob = await two_players(one, "counting")
        bob.reconnect()
        bob.seen.room_bytes = 10
        heard = len(bob.seen.pushes)
        assert await bob.resume(match, 1, 1) is Resumed.LATER
        await ada.input(match, 1, 2)
        await bob.input(match, 1, 3)  # it is a player all the same
        await trio.sleep(1.0)
        assert len(bob.seen.pushes) == heard
        bob.seen.room_bytes = 1_000_000
        assert await bob.resume(match, 1, 1) is Resumed.MEMBER
        (recovered,) = bob.got(MatchRecovered)
        assert recovered.recovered
        assert recovered.state["sums"] == {"ada": 2, "bob": 3}
        await trio.sleep(0.1)
        assert bob.got(MatchStatePush)


@pytest.mark.parametrize(("epoch", "offset"), [(1, 99), (2, 1), (2**60, 0), (-(2**60), 99)])
async def test_a_position_that_is_none_is_not_recovered_from(
    autojump_clock: trio.testing.MockClock, epoch: int, offset: int
) -> None:
    async with table(Counting) as one:
        match, ada, _ = await two_players(one, "counting")
        ada.reconnect()
        await ada.resume(match, epoch, offset)
        (recovered,) = ada.got(MatchRecovered)
        assert not recovered.recovered
        assert recovered.events == []
        assert recovered.state["sums"] == {"ada": 0, "bob": 0}


async def test_who_missed_more_than_is_kept_gets_the_state(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with table(Counting, recent_events=4) as one:
        match, ada, bob = await two_players(one, "counting")
        for seq in range(1, 6):
            await ada.input(match, seq, {"say": seq})
            await trio.sleep(0.1)
        for offset, recovered in ((2, False), (3, True)):
            bob.reconnect()
            await bob.resume(match, 1, offset)
            assert bob.got(MatchRecovered)[-1].recovered == recovered


async def test_who_missed_more_than_a_client_could_take_at_once_gets_the_state(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with table(Counting, value_bytes=1000) as one:
        match, ada, bob = await two_players(one, "counting")
        position = (ada.got(MatchEvent) or bob.got(MatchEvent))[-1].offset
        for seq in range(1, 4):
            await ada.input(match, seq, {"say": "x" * 400})
            await trio.sleep(0.1)
        for since, recovered in ((position, False), (position + 2, True)):
            bob.reconnect()
            await bob.resume(match, 1, since)
            assert bob.got(MatchRecovered)[-1].recovered is recovered


@pytest.mark.parametrize("later_s", [1.0, 100.0])
async def test_who_was_away_at_the_end_is_told_of_it(
    autojump_clock: trio.testing.MockClock, later_s: float
) -> None:
    async with table(Counting) as one:
        match, ada, bob = await two_players(one, "counting")
        await ada.input(match, 1, {"say": "bye"})
        await ada.input(match, 2, {"end": 42})
        await trio.sleep(later_s)
        bob.reconnect()
        await bob.resume(match, 1, 2)
        recovered, ended = bob.seen.pushes
        assert recovered.recovered
        assert recovered.offset == 3
        assert [event.data for event in recovered.events] == ["bye"]
        assert recovered.state == {"ticks": 1, "sums": {"ada": 0, "bob": 0}}
        assert ended == MatchEnded(match=match, offset=4, result=42)
        bob.reconnect()
        await bob.resume(match, 1, 4)
        assert [type(push) for push in bob.seen.pushes] == [MatchRecovered]
