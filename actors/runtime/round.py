"""A walk along a supervisor's children: some end, right to left, then some start, left to right."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

import trio

from .cell import Cell
from .child import Child
from .shutdown import halt_one, stop_one


class Round:
    """Does in a task of its own what takes time, so that the supervisor hears of others meanwhile.

    What comes up during the round is for the supervisor to judge: it cancels this round, and begins
    another one that does what this one left undone.

    Args:
        halting: who ends before anyone starts, in start order; a child that is never restarted ends
            for good
        starting: who starts, in start order, each once the one before it has started, unless it
            runs already
        delay_s: how long to wait in between, in seconds
        start: makes a child's first instance, or its next one, and returns the cell

    """

    __slots__ = ("_delay_s", "_scope", "_start", "halting", "starting")

    def __init__(
        self,
        halting: Iterable[Child],
        starting: Iterable[Child],
        delay_s: float,
        start: Callable[[Child], Cell | None],
    ) -> None:
        self.halting = list(halting)
        self.starting = list(starting)
        self._delay_s = delay_s
        self._start = start
        self._scope = trio.CancelScope()

    def cancel(self) -> None:
        """Go no step further. What the present step asked of an actor, it still does."""
        self._scope.cancel()

    @trio.lowlevel.enable_ki_protection  # a Ctrl-C is for the main task
    async def run(self, over: Callable[[Round, Exception | None], None]) -> None:
        """Go to the end, then call `over`, also with what `start` raised; not if it is cancelled.

        A child that does not start is no error here: the supervisor hears of it from the child.
        """
        error: Exception | None = None
        try:
            with self._scope:
                await self._walk()
        except Exception as raised:
            error = raised
        if not self._scope.cancel_called:
            over(self, error)

    async def _walk(self) -> None:
        await trio.lowlevel.checkpoint_if_cancelled()
        while self.halting:
            cell = self.halting[-1].cell
            if cell is not None and cell.alive:
                await (stop_one(cell) if cell.policy.restart == "temporary" else halt_one(cell))
                # A wait for what is there already has not looked.
                await trio.lowlevel.checkpoint_if_cancelled()
            self.halting.pop()
        await trio.sleep(self._delay_s)
        while self.starting:
            cell = self._start(self.starting.pop(0))
            if cell is not None:
                await cell.when_started()
                await trio.lowlevel.checkpoint_if_cancelled()


class RoundOver(NamedTuple):
    """To a supervisor: a round of its own is done, or could not start a child."""

    round: Round
    error: Exception | None
