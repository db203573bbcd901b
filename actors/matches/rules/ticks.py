"""When ticks are due: arithmetic on a fixed grid, so that lateness never adds up to drift."""

from __future__ import annotations

import math
from typing import Final, NamedTuple

import msgspec

EARLY: Final = 1e-3
"""How much of an interval a tick may come early. A timer set for exactly `start + k / hz` reads a
clock that rounding left a hair before it; without this the tick would wait a whole interval."""


class TicksDue(NamedTuple):
    """How many ticks to run now, and how many are given up because too many were due."""

    run: int
    skipped: int


GOLDEN: Final = (math.sqrt(5) - 1) / 2


class Spread:
    """Gives each match its place within the interval between two ticks.

    Matches that begin together, at the top of an hour, would tick together for as long as they
    last: a hundred that take 0.25 ms each make the last of them 25 ms late, while the node sleeps
    for the other half of the interval. Multiples of the golden ratio, modulo 1, put each newcomer
    into one of the widest gaps that are left (Knuth, TAOCP 3, 6.4, on Fibonacci hashing).
    """

    def __init__(self) -> None:
        self._phase = 0.0

    def start(self, now_s: float, interval_s: float) -> float:
        """The `TickSchedule.start_s` of the next match: within the interval that ends now."""
        self._phase = (self._phase + GOLDEN) % 1.0
        ago_s = (now_s - self._phase * interval_s) % interval_s
        return now_s - ago_s


class TickSchedule(msgspec.Struct, frozen=True):
    """Tick `k` (from 1) is due at `start_s + k / hz`, however late earlier ones ran.

    `start_s`: seconds on the caller's clock. `settled`: ticks that ran or were given up.
    A value: `take` returns the schedule after it and leaves this one as it is.
    """

    hz: float
    start_s: float
    settled: int = 0

    def next_s(self) -> float:
        """When the next tick is due, in seconds on the caller's clock."""
        return self.start_s + (self.settled + 1) / self.hz

    def take(self, now_s: float, *, at_most: int) -> tuple[TicksDue, TickSchedule]:
        """The ticks due at `now_s`, at most `at_most` of them (>= 1).

        After a stall longer than `at_most` intervals the rest is given up, so that a late match
        slows down once instead of running ever further behind ("spiral of death": Fiedler, "Fix
        your timestep!", 2004). What is given up are whole intervals: the grid stays.
        """
        passed = math.floor((now_s - self.start_s) * self.hz + EARLY)
        due = max(0, passed - self.settled)
        run = min(due, at_most)
        return TicksDue(run, due - run), TickSchedule(self.hz, self.start_s, self.settled + due)
