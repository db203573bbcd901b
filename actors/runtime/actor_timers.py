"""The timers of one instance of an actor."""

from __future__ import annotations

import math
from typing import Any, Final

from .cell import Cell
from .checks import check_between, check_seconds
from .mailbox import Control
from .timers import Timer

SHORTEST_S: Final = 1e-6
"""The shortest interval between ticks.

A much shorter one vanishes when it is added to the clock's float: the next tick would be due now,
for ever.
"""


class ActorTimers:
    """The timers of one instance, with or without names.

    They are cancelled when the instance ends.
    """

    __slots__ = ("_cell", "_timers")

    def __init__(self, cell: Cell) -> None:
        self._cell = cell
        self._timers: dict[str | Timer, Timer] = {}

    def start(
        self, delay_s: float, message: Any, *, name: str | None, interval_s: float | None = None
    ) -> Timer:
        """See `Actor.start_timer` and `Actor.start_ticks`."""
        check_seconds("delay", delay_s)
        if interval_s is not None:
            check_seconds("interval_s", interval_s, above_zero=True)
            check_between("interval_s", interval_s, SHORTEST_S, math.inf)
        if name is not None:
            self.cancel(name)
        system = self._cell.system
        timer = Timer(
            system.timers,
            self,
            message,
            at_s=system.now() + delay_s,
            interval_s=interval_s,
            name=name,
        )
        self._timers[name or timer] = timer
        return timer

    def cancel(self, timer: Timer | str) -> None:
        """See `Actor.cancel_timer`."""
        found = self._timers.pop(timer, None)
        if (
            found is None
            and isinstance(timer, Timer)
            and self._timers.get(timer.name or "") is timer
        ):
            found = self._timers.pop(timer.name or "")
        if found is not None:
            found.cancel()

    def cancel_all(self) -> None:
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()

    def take(self, timer: Timer) -> bool:
        """Whether the timer's message, just taken out of the mailbox, is still wanted."""
        if not timer.pending:
            return False
        timer.pending = False
        if timer.done:
            self._timers.pop(timer.name or timer, None)
        return True

    def fired(self, timer: Timer) -> None:
        """Put the message of a timer whose time has come into the mailbox."""
        self._cell.control(Control(timer.message, timer))
