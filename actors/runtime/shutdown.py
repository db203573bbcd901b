"""Stopping with a deadline, and what comes after the deadline."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import structlog
import trio

from .cell import Cell
from .messages import Reason

_log = structlog.get_logger("actors")

_GRACE_S: Final = 1.0
"""How long a cancelled actor may still take in its own clean-up before it is left behind."""


async def stop_one(cell: Cell, reason: Reason = "stopped") -> None:
    """Stop a cell; cancel it if it takes longer than its policy allows."""
    await stop_together([cell], reason)


async def stop_together(cells: Sequence[Cell], reason: Reason = "stopped") -> None:
    """Ask all to stop, in this order, then wait for each up to its own deadline."""
    asked_at = trio.current_time()
    ends = [(cell, cell.stop(reason)) for cell in cells]
    for cell, ended in ends:
        with trio.CancelScope(deadline=asked_at + cell.shutdown_s):
            await ended
    late = [(cell, ended) for cell, ended in ends if not ended.done]
    for cell, _ in late:
        _log.warning("killed_after_deadline", kind=cell.kind, key=cell.key, s=cell.shutdown_s)
        cell.kill()
    with trio.move_on_after(_GRACE_S):
        for _, ended in late:
            await ended
    for cell, ended in late:
        if not ended.done:
            _log.error("left_behind", kind=cell.kind, key=cell.key)
            cell.end("killed")


async def halt_one(cell: Cell) -> None:
    """End the instance and keep the cell; cancel it if it takes longer than its policy allows."""
    halted = cell.halt()
    with trio.move_on_after(cell.shutdown_s):
        await halted
    if not halted.done:
        _log.warning("cancelled_after_deadline", kind=cell.kind, key=cell.key, s=cell.shutdown_s)
        cell.cancel()
        with trio.move_on_after(_GRACE_S):
            await halted
        if not halted.done:
            cell.end("killed")
