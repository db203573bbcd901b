"""The open loop: when events are due, and that waiting counts towards latency."""

from __future__ import annotations

import asyncio
import itertools
import time

from hypothesis import given
from hypothesis import strategies as st

from bench.schedule import Schedule, Ticker
from bench.tally import Tally

RATES = st.floats(0.5, 500_000)
MS = 1_000_000


@given(RATES, st.integers(1, 8), st.integers(0, 10**15))
def test_an_event_is_due_from_its_time_on_and_not_before(
    rate: float, parts: int, start_ns: int
) -> None:
    for part in range(parts):
        schedule = Schedule.of(start_ns=start_ns, rate=rate, seconds=3, part=part, parts=parts)
        for number in {0, schedule.total // 2, schedule.total - 1}:
            # One ns: the rounding of a time to whole ones.
            assert schedule.due(schedule.at_ns(number) + 1) >= number + 1
            assert schedule.due(schedule.at_ns(number) - 2) <= number


@given(RATES, st.integers(1, 8))
def test_the_parts_together_make_the_rate(rate: float, parts: int) -> None:
    parted = [
        Schedule.of(start_ns=0, rate=rate, seconds=2, part=part, parts=parts)
        for part in range(parts)
    ]
    total = sum(one.total for one in parted)
    assert abs(total - rate * 2) <= parts
    if rate * 2 > parts:
        times = sorted(one.at_ns(0) for one in parted)
        gaps = [later - earlier for earlier, later in itertools.pairwise(times)]
        assert all(abs(gap - 1e9 / rate) < 2 for gap in gaps)


def test_no_more_is_due_than_there_is() -> None:
    schedule = Schedule.of(start_ns=5, rate=10, seconds=1)
    assert schedule.due(4) == 0
    assert schedule.due(10**12) == schedule.total == 10


def test_a_ticker_wakes_for_what_is_due() -> None:
    async def woken() -> list[int]:
        schedule = Schedule.of(start_ns=time.monotonic_ns() + 5 * MS, rate=100, seconds=0.05)
        numbers: list[int] = []
        with Ticker(schedule) as ticker:
            while not numbers or numbers[-1] < schedule.total:
                await asyncio.wait_for(ticker.tick(), 10)
                numbers.append(schedule.due(time.monotonic_ns()))
        return numbers

    numbers = asyncio.run(woken())
    assert numbers == sorted(numbers)
    assert numbers[-1] == 5


def test_a_latency_counts_from_the_scheduled_time_and_only_within_the_measured_time() -> None:
    tally = Tally()
    replies = tally["replies"]
    now = time.monotonic_ns()
    tally.open(now - 1000 * MS, now + 60_000 * MS)
    for scheduled in (now - 2000 * MS, now - 500 * MS, now + 70_000 * MS):
        replies.expect(scheduled)
        replies.end(scheduled)
    counts = tally.counts().series["replies"]
    assert (counts.expected, counts.done, counts.in_window) == (1, 1, 3)
    assert replies.histogram.percentile(100) >= 500_000


def test_what_never_came_is_missing() -> None:
    tally = Tally()
    tally.open(0, 10)
    tally["deliveries"].expect(5, 100)
    tally["deliveries"].end(5)
    assert tally.missing == 99
