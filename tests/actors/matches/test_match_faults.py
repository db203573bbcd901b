from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any, ClassVar

import msgspec
import pytest
import structlog
import trio
import trio.testing

from actors.edge.failures import Refused
from actors.edge.topic_messages import Join
from actors.matches.referee import GameCrashed
from actors.runtime.errors import Quarantined, StoreBusy
from protocol.errors import MATCH_ENDED, UNAVAILABLE
from protocol.messages.match import MatchEnded, MatchRestarted, MatchStatePush
from tests.actors.games import STUCK_S, Counting, Faulty, FaultyTurns, stay_in_c
from tests.actors.table import SMALL, refused, settled, table, two_players

pytestmark = pytest.mark.usefixtures("layout")

EVERY_FAULT = [
    *["tick", "exit", "hang", "stuck", "talk", "babble", "shout", "view", "panorama", "snapshot"],
]


CALL_LIMIT_S = 0.5
"""The limit of a call. A healthy call takes microseconds, but may wait far longer on a busy
machine."""


@pytest.fixture(autouse=True)
def well_behaved() -> Iterator[None]:
    """Reset the faults, which are set on the class so that a restart does not change them."""
    yield
    go_wrong("", 0)


def go_wrong(what: str, times: int, at_tick: int = 30) -> None:
    for game in (Faulty, FaultyTurns):
        game.wrong, game.times, game.at_tick = what, times, at_tick


@pytest.mark.parametrize("fault", EVERY_FAULT)
async def test_a_game_that_goes_wrong_once_restarts_and_only_its_match_notices(
    autojump_clock: trio.testing.MockClock, fault: str
) -> None:
    go_wrong(fault, 1)
    async with table(Faulty, Counting, call_limit_s=CALL_LIMIT_S) as one:
        match, ada, bob = await two_players(one, "faulty")
        _other, cyd, _dan = await two_players(one, "counting")
        await ada.input(match, 1, 7)
        await trio.sleep(5)
        (restarted,) = bob.got(MatchRestarted)
        assert (restarted.match, restarted.epoch, restarted.offset) == (match, 2, 2)
        assert 0 < restarted.tick < 60
        assert restarted.state["sums"] == {"ada": 7, "bob": 0}
        assert bob.got(MatchStatePush)[-1].tick > restarted.tick + 20
        assert (await ada.input(match, 2, 3)).tick > restarted.tick
        assert one.host.counters.crashes == 1
        assert one.log(match).count("Crashed") == 1
        states = cyd.got(MatchStatePush)
        assert [state.tick for state in states] == list(range(len(states)))
        assert len(states) in {100, 101}
        assert cyd.got(MatchRestarted) == []


@pytest.mark.parametrize("fault", EVERY_FAULT)
async def test_a_game_that_keeps_going_wrong_ends_as_failed(
    autojump_clock: trio.testing.MockClock, fault: str
) -> None:
    go_wrong(fault, 1_000_000)
    async with table(Faulty, Counting, call_limit_s=CALL_LIMIT_S) as one:
        match, ada, bob = await two_players(one, "faulty")
        await two_players(one, "counting")
        await trio.sleep(15)
        for player in (ada, bob):
            (ended,) = player.got(MatchEnded)
            assert ended == MatchEnded(match=match, offset=3, result=None, failed=True)
        assert len(ada.got(MatchRestarted)) <= 2
        assert one.log(match)[-1] == "Ended"
        assert one.log(match).count("Crashed") == 3
        assert one.host.counters.failed == 1
        assert [match.game for match in await one.listed()] == ["counting"]
        await refused(MATCH_ENDED, ada.join(match))
        assert [gone.topic for gone in await bob.told_gone()] == [f"match:{match}"]


async def test_after_a_crash_the_clock_goes_on_and_the_state_is_of_the_snapshot(
    autojump_clock: trio.testing.MockClock,
) -> None:
    go_wrong("tick", 1)
    async with table(Faulty) as one:
        _match, ada, _bob = await two_players(one, "faulty")
        await trio.sleep(5)
        (restarted,) = ada.got(MatchRestarted)
        lag = restarted.tick - restarted.state["ticks"]
        assert 0 < lag <= 20  # a snapshot interval of 1 s
        states = ada.got(MatchStatePush)
        assert [push.tick for push in states] == sorted(push.tick for push in states)
        assert states[-1].tick - states[-1].state["ticks"] == lag


async def test_a_match_that_gets_past_its_crashes_goes_on(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with table(Faulty) as one:
        match, ada, _bob = await two_players(one, "faulty")
        for number in range(1, 7):
            go_wrong("tick", 1, at_tick=200 * number)
            await trio.sleep(12)
        assert one.log(match).count("Crashed") == 6
        assert ada.got(MatchEnded) == []
        assert ada.got(MatchStatePush)[-1].tick > 1200


async def test_an_input_that_crashes_the_game_is_undone_and_told_to_its_sender(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with table(FaultyTurns) as one:
        match, ada, bob = await two_players(one, "faulty_turns")
        await ada.input(match, 1, 5)
        for _ in range(2):
            with pytest.raises(GameCrashed, match="KeyError"):
                await bob.input(match, 1, "crash")
            await trio.sleep(1)
        with pytest.raises(Quarantined):  # the third is not tried, and the match lives
            await bob.input(match, 1, "crash")
        assert ada.got(MatchRestarted)[-1].state["sums"] == {"ada": 5, "bob": 0}
        await bob.input(match, 1, 3)
        assert ada.state["sums"] == {"ada": 5, "bob": 3}
        assert ada.got(MatchEnded) == []
        assert one.log(match) == [
            *["Created", "Joined", "Joined", "Moved"],
            *["Crashed", "Crashed", "Moved"],
        ]


async def test_a_game_that_crashes_when_a_join_becomes_durable_fails_its_match(
    autojump_clock: trio.testing.MockClock,
) -> None:
    with structlog.testing.capture_logs() as entries:
        async with table(FaultyTurns) as one:
            match, ada, _bob = await two_players(one, "faulty_turns")
            one.stores.events.away = True
            cyd = one.player("cyd")
            message = Join(cyd.who, cyd.seen.id)
            joining = one.match(match).ask(message)
            await settled()
            go_wrong("view", 1, at_tick=0)
            one.stores.events.away = False
            await refused(UNAVAILABLE, joining)
            await trio.sleep(1)
            assert one.host.counters.crashes == 1
            assert one.log(match)[-1] == "Crashed"
            assert len(ada.got(MatchRestarted)) == 1
            assert (await cyd.join(match)).players == ["ada", "bob", "cyd"]
    assert "callback_failed" not in {entry["event"] for entry in entries}


@pytest.mark.parametrize("move", ["stuck", "stuck and rejected"])
async def test_a_call_into_c_that_takes_too_long_is_a_crash_that_is_counted_and_named(
    autojump_clock: trio.testing.MockClock, move: str
) -> None:
    with structlog.testing.capture_logs() as entries:
        async with table(FaultyTurns, call_limit_s=CALL_LIMIT_S) as one:
            match, ada, _bob = await two_players(one, "faulty_turns")
            await ada.input(match, 1, 5)
            with pytest.raises(GameCrashed, match=r"input\(\) of game faulty_turns"):
                await ada.input(match, 2, move)
            assert one.host.counters.calls_hung == one.host.counters.crashes == 1
            assert (await ada.input(match, 3, 1)).tick == 2  # the match goes on
    (held_up,) = [entry for entry in entries if entry["event"] == "game_held_up_node"]
    assert (held_up["key"], held_up["game"], held_up["call"]) == (match, "faulty_turns", "input")
    assert held_up["seconds"] >= STUCK_S
    assert held_up["log_level"] == "error"


async def test_a_type_that_takes_long_to_judge_an_input_is_the_games_fault(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with table(Picky, call_limit_s=CALL_LIMIT_S) as one:
        match, ada, _bob = await two_players(one, "picky")
        with pytest.raises(GameCrashed, match=r"input\(\) of game picky"):
            await ada.input(match, 1, {"long": True})
        assert one.host.counters.calls_hung == 1
        assert (await ada.input(match, 2, {"long": False})).tick > 0


async def test_a_game_that_raises_what_ends_programs_ends_no_server(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with table(FaultyTurns) as one:
        match, ada, bob = await two_players(one, "faulty_turns")
        with pytest.raises(GameCrashed, match="KeyboardInterrupt"):
            await bob.input(match, 1, "interrupt")
        await ada.input(match, 1, 5)
        assert bob.state["sums"] == {"ada": 5, "bob": 0}


async def test_what_a_game_says_when_it_rejects_can_always_be_sent(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with table(FaultyTurns) as one:
        match, ada, _ = await two_players(one, "faulty_turns")
        with pytest.raises(Refused) as caught:
            await ada.input(match, 1, "mumble")
        assert caught.value.detail == "?" * 500


async def test_a_game_in_turns_that_can_never_be_shown_ends_as_failed(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with table(FaultyTurns) as one:
        match, ada, bob = await two_players(one, "faulty_turns")
        go_wrong("view", 1_000_000, at_tick=0)
        with pytest.raises(GameCrashed):
            await ada.input(match, 1, 5)
        await trio.sleep(60)
        assert bob.got(MatchEnded)[0].failed


async def test_a_match_that_is_in_its_log_goes_on_without_a_snapshot_that_cannot_be_encoded(
    autojump_clock: trio.testing.MockClock,
) -> None:
    with structlog.testing.capture_logs() as entries:
        async with table(FaultyTurns) as one:
            match, ada, bob = await two_players(one, "faulty_turns")
            go_wrong("snapshot", 1_000_000, at_tick=0)
            for seq in range(1, 10):
                await ada.input(match, seq, 5)
                await trio.sleep(10)
            assert bob.got(MatchRestarted) == []
            with pytest.raises(GameCrashed):
                await bob.input(match, 1, "crash")
            await trio.sleep(1)
            assert bob.got(MatchRestarted)[0].state["sums"] == {"ada": 45, "bob": 0}
            assert one.host.counters.crashes == 1
    assert "snapshot_failed" in {entry["event"] for entry in entries}


async def test_a_crash_while_the_store_is_away_is_survived(
    autojump_clock: trio.testing.MockClock,
) -> None:
    go_wrong("tick", 1)
    async with table(Faulty) as one:
        match, ada, _bob = await two_players(one, "faulty")
        await trio.sleep(1.2)
        one.stores.events.away = True
        await trio.sleep(5)
        assert ada.got(MatchRestarted) == []  # its log is to be read first
        one.stores.events.away = False
        await trio.sleep(3)
        assert len(ada.got(MatchRestarted)) == 1
        assert (await ada.input(match, 1, 1)).tick > 20


async def test_while_the_log_is_full_nothing_acts_and_nothing_is_lost(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with table(FaultyTurns, Counting, durability=SMALL) as one:
        turns, ada, bob = await two_players(one, "faulty_turns")
        ticks, cyd, _dan = await two_players(one, "counting")
        one.stores.events.away = True
        answers: list[Any] = []

        async def ask(seq: int) -> None:
            answers.append(await ada.input(turns, seq, 1))

        async with trio.open_nursery() as nursery:
            for seq in (1, 2):
                nursery.start_soon(ask, seq)
                await trio.sleep(0.1)
            with pytest.raises(StoreBusy):
                await bob.input(turns, 1, 1)
            with pytest.raises(StoreBusy):
                await one.player("eve2").join(ticks)
            assert bob.state["sums"] == {"ada": 2, "bob": 0}
            await cyd.input(ticks, 1, {"say": "hello"})
            await cyd.input(ticks, 2, {"end": "bye"})
            await trio.sleep(3)
            assert cyd.events[1:] == []
            assert cyd.got(MatchEnded) == []
            assert answers == []
            one.stores.events.away = False
        await trio.sleep(3)
        assert sorted(answer.tick for answer in answers) == [1, 2]
        assert [kind for _, kind, _ in cyd.events] == ["joined", "said"]
        assert cyd.got(MatchEnded)[0].result == "bye"
        assert (await bob.input(turns, 1, 1)).tick == 3
        assert bob.state["sums"] == {"ada": 2, "bob": 1}


async def test_a_tick_over_its_budget_is_counted(autojump_clock: trio.testing.MockClock) -> None:
    go_wrong("slow", 1)
    async with table(Faulty) as one:
        _match, ada, _bob = await two_players(one, "faulty")
        await trio.sleep(3)
        assert one.host.counters.ticks_over_budget >= 1  # and more where the machine itself is slow
        assert one.host.counters.crashes == 0
        assert ada.got(MatchStatePush)[-1].tick >= 59


class Choice(msgspec.Struct):
    """An input type that takes long to convert, as one with a regular expression may."""

    long: bool

    def __post_init__(self) -> None:
        if self.long:
            stay_in_c(STUCK_S)


class Picky(Counting):
    name: ClassVar[str] = "picky"
    input_type: ClassVar[Any] = Choice

    def input(self, player: str, move: Any) -> None:
        pass


class Stubborn(Counting):
    """A game whose tick never ends and catches every exception."""

    def tick(self) -> None:
        super().tick()
        while self.ticks == 30:
            with contextlib.suppress(BaseException):
                sum(range(1000))


async def test_a_game_that_swallows_its_interruption_ends_as_failed_and_is_named(
    autojump_clock: trio.testing.MockClock,
) -> None:
    with structlog.testing.capture_logs() as entries:
        async with table(Stubborn, FaultyTurns, call_limit_s=CALL_LIMIT_S) as one:
            match, ada, _bob = await two_players(one, "counting")
            other, cyd, _dan = await two_players(one, "faulty_turns")
            await trio.sleep(15)
            assert ada.got(MatchEnded)[0].failed
            assert (await cyd.input(other, 1, 5)).tick == 1
    swallowed = [entry for entry in entries if entry["event"] == "interruption_swallowed"]
    assert {(entry["kind"], entry["key"]) for entry in swallowed} <= {("match", match)}
