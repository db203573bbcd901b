"""The clock of a match, which has it tick on a fixed grid."""

from __future__ import annotations

from typing import Any, Protocol

from actors.matches.host import MatchCounters
from actors.matches.messages import Tick
from actors.matches.rules.ticks import Spread, TickSchedule


class Ticking(Protocol):
    """What the clock needs of its match."""

    epoch: int

    @property
    def log(self) -> Any:
        """A structlog logger."""

    def start_ticks(
        self,
        interval_s: float,
        message: Any,
        *,
        first_s: float | None = None,
        name: str | None = None,
    ) -> object:
        """See `Actor.start_ticks`."""

    def cancel_timer(self, timer: str) -> None:
        """See `Actor.cancel_timer`."""


class MatchClock:
    """Says how many ticks are due, and catches up after a stall within bounds.

    It stands still unless it is told to run: a game without ticks, before its start, without
    players, or at its end.

    Arguments:
        tick_hz: ticks a second; 0: none, ever.
        catch_up: after a stall at most so many ticks are run at once.
        spread: where on the grid each match of this node begins.
        counters: of ticks skipped, and of those over their budget.
    """

    def __init__(
        self,
        match: Ticking,
        tick_hz: float,
        *,
        catch_up: int,
        spread: Spread,
        counters: MatchCounters,
    ) -> None:
        self._match = match
        self._tick_hz = tick_hz
        self._catch_up = catch_up
        self._spread = spread
        self._counters = counters
        self._schedule: TickSchedule | None = None

    def run(self, now_s: float) -> None:
        """Have the match ticked from now on, if it is not and its game has ticks."""
        if self._schedule is not None or not self._tick_hz:
            return
        interval_s = 1 / self._tick_hz
        self._schedule = TickSchedule(self._tick_hz, self._spread.start(now_s, interval_s))
        first_s = self._schedule.next_s() - now_s
        self._match.start_ticks(interval_s, Tick(self._match.epoch), first_s=first_s, name="tick")

    def stand_still(self) -> None:
        """No more ticks: time does not pass until it runs again."""
        if self._schedule is not None:
            self._schedule = None
            self._match.cancel_timer("tick")

    def take_due(self, now_s: float) -> int:
        """How many ticks to run now. Those that are too many are given up, and counted."""
        if self._schedule is None:
            return 0
        due, self._schedule = self._schedule.take(now_s, at_most=self._catch_up)
        self._counters.ticks_skipped += due.skipped
        return due.run

    def note_tick(self, took_s: float) -> None:
        """A tick ran, and took so long."""
        counters = self._counters
        counters.ticks += 1
        if took_s * self._tick_hz > 1:
            counters.ticks_over_budget += 1
            if counters.ticks_over_budget.bit_count() == 1:  # the 1st, 2nd, 4th, 8th, ...
                self._match.log.warning(
                    "tick_over_budget",
                    took_s=round(took_s, 4),
                    budget_s=1 / self._tick_hz,
                    so_far=counters.ticks_over_budget,
                )
