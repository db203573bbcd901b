from __future__ import annotations

import math
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from actors.matches.rules.ticks import EARLY, Spread, TickSchedule

Rates = st.sampled_from([0.5, 1.0, 3.0, 20.0, 30.0, 60.0, 128.0])
Starts = st.floats(0, 1e7)
Waits = st.lists(st.floats(0, 0.4), max_size=200)


@given(Rates, Starts, Waits)
def test_ticks_follow_the_clock_however_unevenly_they_are_asked_for(
    hz: float, start_s: float, waits: list[float]
) -> None:
    schedule, now, ran = TickSchedule(hz, start_s), start_s, 0
    for wait in waits:
        now += wait
        due, schedule = schedule.take(now, at_most=1_000_000)
        assert due.skipped == 0
        ran += due.run
        assert ran == max(0, math.floor((now - start_s) * hz + EARLY))


@given(Rates, Starts, Waits, st.integers(1, 5))
def test_catching_up_is_bounded_and_what_is_given_up_is_counted(
    hz: float, start_s: float, waits: list[float], at_most: int
) -> None:
    schedule, now, ran, skipped = TickSchedule(hz, start_s), start_s, 0, 0
    for wait in waits:
        now += wait
        due, schedule = schedule.take(now, at_most=at_most)
        assert 0 <= due.run <= at_most
        assert due.skipped == 0 or due.run == at_most
        ran, skipped = ran + due.run, skipped + due.skipped
        assert ran + skipped == schedule.settled
        assert schedule.next_s() > now - EARLY / hz


@given(Rates, Starts, st.integers(1, 100_000))
def test_a_timer_set_for_the_next_tick_finds_it_due(hz: float, start_s: float, ticks: int) -> None:
    schedule = TickSchedule(hz, start_s, settled=ticks)
    due, later = schedule.take(schedule.next_s(), at_most=5)
    assert due.run == 1
    assert later.settled == ticks + 1


def test_a_clock_that_goes_back_runs_nothing_twice() -> None:
    schedule = TickSchedule(10.0, 0.0)
    _, schedule = schedule.take(1.0, at_most=100)
    due, schedule = schedule.take(0.5, at_most=100)
    assert due.run == 0
    due, schedule = schedule.take(1.1, at_most=100)
    assert due.run == 1


@given(Starts, Rates, st.integers(1, 300))
def test_matches_that_begin_together_are_spread_over_the_interval(
    now: float, hz: float, matches: int
) -> None:
    interval_s = 1 / hz
    spread = Spread()
    starts = sorted(spread.start(now, interval_s) for _ in range(matches))
    rounding_s = 1e-6
    assert now - interval_s - rounding_s <= starts[0] <= starts[-1] <= now + rounding_s
    around = [*starts, starts[0] + interval_s]
    widest = max(later - sooner for sooner, later in pairwise(around))
    # Of all sequences this one comes nearest to even: no gap is beyond 1 + 2 / sqrt(5) shares.
    assert widest <= 1.9 * interval_s / matches + rounding_s
