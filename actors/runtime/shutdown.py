"""Stops or halts actors, and waits for them within their deadlines."""

from __future__ import annotations

from collections.abc import Sequence

import structlog
import trio

from .cell import GRACE_S, Cell
from .reasons import Reason

_log = structlog.get_logger("actors")


async def stop_one(cell: Cell, reason: Reason = "stopped") -> None:
    """Stop a cell, and wait until it has ended."""
    await stop_together([cell], reason)


async def stop_together(cells: Sequence[Cell], reason: Reason = "stopped") -> None:
    """Ask all cells to stop, in this order, and wait until all have ended, each by its deadline."""
    for ended in [cell.stop(reason) for cell in cells]:
        await ended


async def halt_one(cell: Cell) -> None:
    """End the instance and keep the cell.

    It is cancelled if it takes longer than its policy allows.
    """
    halted = cell.halt()
    with trio.move_on_after(cell.shutdown_s):
        await halted
    if not halted.done:
        _log.warning("cancelled_after_deadline", kind=cell.kind, key=cell.key, s=cell.shutdown_s)
        cell.cancel()
        with trio.move_on_after(GRACE_S):
            await halted
        if not halted.done:
            cell.end("killed")
