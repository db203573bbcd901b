"""What those who look after a node do with an actor that it is caught in."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from actors.runtime.running_page import RunningBlock
from persistence import StoreUnavailable
from persistence.postgres.held import HangCount


def is_running(pid: int) -> bool:
    """Whether a process runs or could run.

    One that is stopped, waits for a disk, or has ended, is not caught in what it has begun.
    """
    try:
        state = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0]
    except (OSError, IndexError):
        return False
    return state in "RS"


def log_held(log: Any, node: str, block: RunningBlock, count: HangCount) -> None:
    """Log that a node is caught in an actor, which is held now."""
    log.error(
        "a node is caught in an actor",
        node=node,
        kind=block.kind,
        key=block.key,
        hangs=count.hangs,
        held_s=round(count.held_s),
        why="no node starts this actor before that time",
    )


def log_not_held(log: Any, block: RunningBlock, error: StoreUnavailable) -> None:
    """Log that an actor cannot be held."""
    log.warning("cannot hold an actor", kind=block.kind, key=block.key, why=str(error))
