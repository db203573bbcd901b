"""The times at which ticks are due.

They are computed from the start, so that delays do not add up.
"""

from __future__ import annotations

import math
from typing import Final, NamedTuple

import msgspec

EARLY: Final = 1e-3
"""How early a tick may come, as a part of an interval.

A timer set for exactly `start + k / hz` may read a clock that is a rounding error before it.
Without this, the tick would wait for a whole interval.
"""


class TicksDue(NamedTuple):
    """How many ticks to run now, and how many are skipped because too many were due."""

    run: int
    skipped: int


GOLDEN: Final = (math.sqrt(5) - 1) / 2


class Spread:
    """Spreads the ticks of a node's matches over the interval between two ticks.

    Matches that begin at the same moment would tick at the same moments for as long as they last.
    With a hundred of them and 0.25 ms a tick, the last would be 25 ms late each time, and then the
    node would idle. Multiples of the golden ratio, modulo 1, put each new match into one of the
    widest gaps that are left (Knuth, TAOCP 3, 6.4, on Fibonacci hashing).
    """

    def __init__(self) -> None:
        self._phase = 0.0

    def start(self, now_s: float, interval_s: float) -> float:
        """Return the `TickSchedule.start_s` of the next match, in the interval that ends now."""
        self._phase = (self._phase + GOLDEN) % 1.0
        ago_s = (now_s - self._phase * interval_s) % interval_s
        return now_s - ago_s


class TickSchedule(msgspec.Struct, frozen=True):
    """A schedule in which tick `k` (from 1) is due at `start_s + k / hz`, however late others ran.

    It is a value: `take` returns the next schedule and does not change this one.

    Attributes:
        hz: ticks a second.
        start_s: the time of the start, in seconds of the caller's clock.
        settled: how many ticks have run or were skipped.
    """

    hz: float
    start_s: float
    settled: int = 0

    def next_s(self) -> float:
        """Return when the next tick is due, in seconds of the caller's clock."""
        return self.start_s + (self.settled + 1) / self.hz

    def take(self, now_s: float, *, at_most: int) -> tuple[TicksDue, TickSchedule]:
        """Return the ticks that are due at `now_s`, and the schedule after them.

        At most `at_most` (>= 1) are run, and the others are skipped. So a match that is late after
        a stall loses some time once, instead of falling further and further behind (the "spiral of
        death": Fiedler, "Fix your timestep!", 2004). Whole intervals are skipped, so later ticks
        are due as before.
        """
        passed = math.floor((now_s - self.start_s) * self.hz + EARLY)
        due = max(0, passed - self.settled)
        run = min(due, at_most)
        return TicksDue(run, due - run), TickSchedule(self.hz, self.start_s, self.settled + due)
