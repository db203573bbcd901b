from __future__ import annotations

import weakref
from itertools import pairwise

import pytest
import structlog
import trio
import trio.testing

import actors
from actors.matches.clock import MatchClock
from actors.matches.host import MatchCounters
from actors.matches.messages import Tick
from actors.matches.rules.ticks import Spread
from actors.runtime.testing import open_system

HZ = 20.0


class Metronome(actors.Actor):
    """An actor that only has a match's clock."""

    epoch = 1

    def __init__(self, hz: float = HZ) -> None:
        super().__init__()
        self.counters = MatchCounters()
        self.clock = MatchClock(
            weakref.proxy(self), hz, catch_up=5, spread=Spread(), counters=self.counters
        )
        self.due: list[int] = []
        self.at_s: list[float] = []

    @actors.handles(Tick)
    def tick(self, _message: Tick) -> None:
        self.at_s.append(self.system.now())
        self.due.append(self.clock.take_due(self.at_s[-1]))

    @actors.handles(str)
    async def act(self, what: str) -> None:
        match what:
            case "run":
                self.clock.start(self.system.now())
            case "stand still":
                self.clock.stand_still()
            case "stall":
                await trio.sleep(2.0)

    @actors.handles(float)
    def took(self, seconds: float) -> None:
        self.clock.note_tick(seconds)


async def test_it_ticks_while_it_runs_and_being_told_twice_is_being_told_once(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with open_system() as system:
        metronome = Metronome()
        ref = system.start(lambda: metronome)
        await trio.sleep(10)
        assert metronome.due == []
        for _ in range(50):
            await ref.ask("run")
            await trio.sleep(0.02)
        assert metronome.due == [1] * 20
        gaps_s = [after - before for before, after in pairwise(metronome.at_s)]
        assert gaps_s == pytest.approx([1 / HZ] * 19)
        await ref.ask("stand still")
        await trio.sleep(10)
        await ref.ask("run")
        await trio.sleep(1.0)
        assert sum(metronome.due) == 40, "time does not pass while it stands still"
        assert metronome.counters.ticks_skipped == 0


async def test_after_a_stall_a_bounded_number_is_caught_up_and_the_rest_counted(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with open_system() as system:
        metronome = Metronome()
        ref = system.start(lambda: metronome)
        await ref.ask("run")
        await trio.sleep(0.51)
        del metronome.due[:]
        await ref.ask("stall")
        await trio.sleep(0.2)
        assert metronome.due[0] == 5
        assert set(metronome.due[1:]) == {1}
        assert metronome.counters.ticks_skipped == 35


async def test_a_game_in_turns_has_no_ticks(autojump_clock: trio.testing.MockClock) -> None:
    async with open_system() as system:
        metronome = Metronome(hz=0.0)
        ref = system.start(lambda: metronome)
        await ref.ask("run")
        await trio.sleep(10)
        await ref.ask("stand still")
        assert metronome.due == []


@pytest.mark.parametrize(("late", "lines"), [(1, 1), (2, 2), (3, 2), (8, 4), (9, 4)])
async def test_a_tick_over_its_budget_is_counted_and_every_doubling_is_logged(
    late: int, lines: int, autojump_clock: trio.testing.MockClock
) -> None:
    async with open_system() as system:
        metronome = Metronome()
        ref = system.start(lambda: metronome)
        with structlog.testing.capture_logs() as logs:
            for _ in range(late):
                await ref.ask(1.5 / HZ)
            await ref.ask(0.5 / HZ)
        counters = metronome.counters
        assert (counters.ticks, counters.ticks_over_budget) == (late + 1, late)
        assert [line["event"] for line in logs].count("tick_over_budget") == lines
