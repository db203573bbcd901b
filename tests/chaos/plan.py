"""What a run breaks and in which order, drawn from a seed."""

from __future__ import annotations

import random
from collections import Counter
from typing import Any, NamedTuple

from tests.chaos.faults import AWAY, FAULTS, KILL, NODE_FAULTS, Fault, draw

PAUSE_S = (0.3, 1.5)
"""The pause between two faults is drawn evenly from this range."""
LAST = 6
"""How many faults at the end leave the server up, so that it is checked after several of them."""


class Step(NamedTuple):
    """One fault, with random numbers of its own, and a pause after it."""

    fault: Fault
    seed: int
    pause_s: float

    def rng(self) -> random.Random:
        """The random numbers of this fault, the same in every run of the plan."""
        return random.Random(self.seed)


class Plan(NamedTuple):
    """What to play and what to break."""

    seed: int
    steps: list[Step]
    senders: int = 24
    rooms: int = 6
    known_rooms: int = 0
    nodes: int = 1
    """Of the server."""
    resume_within_s: float = 10.0
    """`sessions.resume_within_s` of the server. It is short, so that sessions also expire."""

    def faults(self) -> dict[str, int]:
        """The number of faults by name."""
        return dict(sorted(Counter(step.fault.name for step in self.steps).items()))


def steps_of(rng: random.Random, faults: list[Fault]) -> list[Step]:
    """Draw random seeds and pauses for faults."""
    return [Step(fault, rng.getrandbits(64), rng.uniform(*PAUSE_S)) for fault in faults]


def draw_plan(
    seed: int,
    *,
    faults: int,
    kills: int = 0,
    away: int = 0,
    only: str = "",
    known_rooms: int = 0,
    nodes: int = 1,
) -> Plan:
    """Draw a plan.

    Args:
        faults: how many are drawn by weight.
        kills: how many SIGKILLs of the server are added.
        away: how often PostgreSQL is gone for 30 s.
        only: draw from the faults whose names contain this.
        nodes: how many nodes the server has; with several, other faults are drawn.

    Raises:
        ValueError: no fault's name contains `only`.
    """
    rng = random.Random(seed)
    every = FAULTS if nodes == 1 else NODE_FAULTS
    chosen = [fault for fault in every if only in fault.name]
    if not chosen:
        raise ValueError(f"no fault is called like {only!r}")
    gentle = [fault for fault in chosen if not fault.ends_server]
    mixed = [draw(rng, chosen) for _ in range(faults)] + [KILL] * kills + [AWAY] * away
    rng.shuffle(mixed)
    last = [draw(rng, gentle) for _ in range(min(LAST, faults))] if gentle else []
    return Plan(seed, steps_of(rng, mixed + last), known_rooms=known_rooms, nodes=nodes)


def chosen_plan(seed: int, *names: str, **fields: Any) -> Plan:
    """Return the plan of these faults, in this order; `fields` are the plan's."""
    by_name = {fault.name: fault for fault in (*FAULTS, *NODE_FAULTS, AWAY)}
    return Plan(seed, steps_of(random.Random(seed), [by_name[name] for name in names]), **fields)
