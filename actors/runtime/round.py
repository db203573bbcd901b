"""A round of a supervisor: it ends some children in reverse order, then starts some in order."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

import trio

from .cell import Cell
from .child import Child
from .shutdown import halt_one, stop_one


class Round:
    """Ends and starts children in a task of its own, so that the supervisor goes on meanwhile.

    If another child fails during the round, the supervisor cancels the round and begins another
    one, which also does what was left of this one.

    Arguments:
        halting: the children that end before any starts, in the order of their specs. Their cells
            stay, except those of temporary children, which end for good.
        starting: the children that start, in the same order. Each starts when the one before has
            started. One that runs already is left alone.
        delay_s: how long to wait between ending and starting, in seconds.
        start: starts a child and returns its cell, or None if it runs already.
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
        """Take no further step. An actor that was asked to end or start by now still does so."""
        self._scope.cancel()

    @trio.lowlevel.enable_ki_protection  # a Ctrl-C is for the main task
    async def run(self, over: Callable[[Round, Exception | None], None]) -> None:
        """Take all steps, then call `over` with this round and the exception that `start` raised,
        if any.

        A round that was cancelled does not call `over`. A child that fails to start is no error
        here, as the child itself reports it to the supervisor.
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
                # Awaiting a future that is done does not notice a cancellation.
                await trio.lowlevel.checkpoint_if_cancelled()
            self.halting.pop()
        await trio.sleep(self._delay_s)
        while self.starting:
            cell = self._start(self.starting.pop(0))
            if cell is not None:
                await cell.when_started()
                await trio.lowlevel.checkpoint_if_cancelled()


class RoundOver(NamedTuple):
    """Tells a supervisor that a round of it is done, or failed with an error."""

    round: Round
    error: Exception | None
