"""When Python looks for cyclic garbage: in what is young often, in all there is hardly ever.

CPython walks over everything that it tracks once a quarter more has been allocated, and stops the
world for it, some 10 ms for each thousand joined sessions. At 7,000 acknowledged sends a second
such walks took a quarter of all time. Nearly all that a node frees, it frees by reference count;
what is left are ended actors, which their refs point back to. So what outlives its youth is frozen
(moved out of the collector's sight, which costs nothing), and looked at only when as much has been
frozen since the last time as there was then.
"""

from __future__ import annotations

import gc
from time import perf_counter
from types import TracebackType
from typing import Final

import structlog
import trio

YOUNG: Final = 10_000
"""Objects allocated and not freed between two looks at them: 0.5 ms at most, where Python's default
of 700 looks fourteen times as often."""
YOUNG_TURNS: Final = 4
"""Looks at the young until the survivors of all of them are looked at: 2 ms as a rule, 12 to 18
while thousands of players join at once, whose sessions all survive."""
FULL_AFTER: Final = 1_000_000
"""Objects frozen before a look at all of them can be worth its pause; about 300 MB."""
EVERY_S: Final = 1.0

_NEVER = 1 << 30

log = structlog.get_logger("actors.node.garbage")


class Garbage:
    """Takes over the collector of the process while entered; `run` is its task.

    Counters: `full_collections`, and `longest_s`, the longest pause of one.
    """

    def __init__(self) -> None:
        self.full_collections = 0
        self.longest_s = 0.0
        self._kept = 0  # objects that the last full collection left
        self._frozen = 0  # objects frozen since
        self._before = gc.get_threshold()

    def __enter__(self) -> Garbage:
        gc.collect()
        gc.freeze()
        gc.set_threshold(YOUNG, YOUNG_TURNS, _NEVER)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        gc.set_threshold(*self._before)
        gc.unfreeze()

    async def run(self) -> None:
        """Freeze and, rarely, collect; until cancelled."""
        while True:
            await trio.sleep(EVERY_S)
            self.turn()

    def turn(self) -> None:
        """Freeze what has survived, if anything has; collect all if that has become much."""
        survived = gc.get_count()[2]  # looks at `YOUNG_TURNS` lots of young objects
        if not survived:
            return
        self._frozen += survived * YOUNG * YOUNG_TURNS
        gc.freeze()
        if self._frozen > max(FULL_AFTER, self._kept):
            self.collect()

    def collect(self) -> None:
        """Find all cyclic garbage there is, in one pause."""
        began = perf_counter()
        gc.unfreeze()
        found = gc.collect()
        gc.freeze()
        self._kept, self._frozen = gc.get_freeze_count(), 0
        took_s = perf_counter() - began
        self.full_collections += 1
        self.longest_s = max(self.longest_s, took_s)
        log.info("garbage collected", found=found, kept=self._kept, ms=round(took_s * 1000, 1))
