"""Schedules that are due, and what became of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple


class Claimed(NamedTuple):
    """A schedule that is ours to deliver until the claim lapses.

    `id` is of this setting: the same at each attempt, another once it is set again or moved.
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
    """What a look at the table found.

    `now_us`: what the clock said that decides. `later_us`: when the first of those that were not
    claimed now is to be looked at; None: there are no others. If that is not later than `now_us`,
    more was due than had room, or somebody works on a row that is due.
    """

    rows: Sequence[Claimed]
    now_us: int
    later_us: int | None


class Settled(NamedTuple):
    """What became of one: over, or to be tried again in `wait_us`.

    `kept`: this attempt does not count.
    """

    claimed: Claimed
    wait_us: int | None = None
    kept: bool = False
