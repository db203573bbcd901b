"""Tunes Python's garbage collector: young objects are collected often, all objects hardly ever.

By default CPython walks over all tracked objects each time that their number has grown by a
quarter, and everything stops meanwhile: some 10 ms for each thousand joined sessions. At 7,000
acknowledged sends a second such walks took a quarter of all time.

A node frees nearly everything by reference counts. Only ended actors are left to the collector,
since their refs point back to them. So objects that survive a few collections are frozen: moved out
of the collector's sight, which costs nothing. They are collected only when the number of objects
frozen since the last full collection is as large as the number that it left.
"""

from __future__ import annotations

import gc
from time import perf_counter
from types import TracebackType
from typing import Final

import structlog
import trio

YOUNG: Final = 10_000
"""How many objects are allocated between two collections of the young ones. Such a collection takes
0.5 ms at most; Python's default of 700 would make fourteen times as many."""
YOUNG_TURNS: Final = 4
"""How many collections of young objects come before one of their survivors, Python's middle
generation. That one takes 2 ms as a rule, and 12 to 18 ms while thousands of players join at once,
whose sessions all survive."""
FULL_AFTER: Final = 1_000_000
"""The least number of frozen objects (about 300 MB) that makes a full collection worth its pause.
"""
EVERY_S: Final = 1.0
"""The pause between two turns."""

_NEVER = 1 << 30

log = structlog.get_logger("actors.node.garbage")


class Garbage:
    """Takes over the process's garbage collector while it is entered; `run` is its task.

    Attributes:
        full_collections: how many full collections there were.
        longest_s: the longest pause of a full collection, in seconds.
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
        """Take turns until cancelled."""
        while True:
            await trio.sleep(EVERY_S)
            self.turn()

    def turn(self) -> None:
        """Freeze the survivors, if there are any; collect all objects if many were frozen."""
        survived = gc.get_count()[2]  # collections of the middle generation
        if not survived:
            return
        self._frozen += survived * YOUNG * YOUNG_TURNS
        gc.freeze()
        if self._frozen > max(FULL_AFTER, self._kept):
            self.collect()

    def collect(self) -> None:
        """Make a full collection, in one pause."""
        began = perf_counter()
        gc.unfreeze()
        found = gc.collect()
        gc.freeze()
        self._kept, self._frozen = gc.get_freeze_count(), 0
        took_s = perf_counter() - began
        self.full_collections += 1
        self.longest_s = max(self.longest_s, took_s)
        log.info("garbage collected", found=found, kept=self._kept, ms=round(took_s * 1000, 1))
