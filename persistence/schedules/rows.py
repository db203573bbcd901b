"""Due schedules as a scheduler gets them, and their outcome."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple


class Claimed(NamedTuple):
    """A schedule that the asker alone delivers, until the claim lapses.

    `id` is the same at each attempt; a schedule that is set again or moved gets another one.
    `due_us`: microseconds since 1970, UTC. `attempt` counts from 1.
    """

    kind: str
    key: str
    name: str
    id: int
    due_us: int
    attempt: int
    payload: bytes


class Claim(NamedTuple):
    """The answer to a claim.

    Attributes:
        rows: the schedules that were claimed.
        now_us: the time by the clock that decides what is due.
        later_us: when the next of the other schedules is due; None: there are no others. If it is
            not later than `now_us`, there was no room for a due schedule, or another transaction
            has locked its row.
    """

    rows: Sequence[Claimed]
    now_us: int
    later_us: int | None


class Settled(NamedTuple):
    """The outcome of a claimed schedule: it is done (None), or it is tried again in `wait_us`.

    `kept`: this attempt does not count.
    """

    claimed: Claimed
    wait_us: int | None = None
    kept: bool = False
