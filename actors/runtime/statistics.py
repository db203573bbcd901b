"""What a system counts."""

from __future__ import annotations

from typing import NamedTuple


class Statistics(NamedTuple):
    """Counts of a system since its start; `actors` and `workers` are those of now."""

    actors: int
    handled: int
    restarts: int
    dead_letters: int
    quarantined: int
    slow_handlers: int
    workers: int
    refused: int
    dropped: int
