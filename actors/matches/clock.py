"""The clock of a match, which makes it tick at fixed intervals."""

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

    It stands still until it is told to run. A match has it stand still before its start, while no
    player is there, and at its end.

    Arguments:
        match: the match, which gets the timer.
        tick_hz: ticks a second. 0: the game has no ticks, and the clock never runs.
        catch_up: after a stall at most so many ticks are run at once, and the others are skipped.
        spread: spreads the first ticks of a node's matches over the interval.
        counters: counts the ticks, those that were skipped and those that took too long.
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

    def start(self, now_s: float) -> None:
        """Start the clock, if it stands still and the game has ticks."""
        if self._schedule is not None or not self._tick_hz:
            return
        interval_s = 1 / self._tick_hz
        self._schedule = TickSchedule(self._tick_hz, self._spread.start(now_s, interval_s))
        first_s = self._schedule.next_s() - now_s
        self._match.start_ticks(interval_s, Tick(self._match.epoch), first_s=first_s, name="tick")

    def stand_still(self) -> None:
        """Stop the clock. No time passes for the game until the clock runs again."""
        if self._schedule is not None:
            self._schedule = None
            self._match.cancel_timer("tick")

    def take_due(self, now_s: float) -> int:
        """Return how many ticks to run now. Ticks beyond `catch_up` are skipped and counted."""
        if self._schedule is None:
            return 0
        due, self._schedule = self._schedule.take(now_s, at_most=self._catch_up)
        self._counters.ticks_skipped += due.skipped
        return due.run

    def note_tick(self, took_s: float) -> None:
        """Count a tick that took so many seconds."""
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
