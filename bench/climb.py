"""Raising the rate until a server no longer keeps up: the most it sustains, and what waiting costs.

Each step is a run of its own on a fresh server. A step is kept up with when the events that came in
the measured time are at least 98 % of those intended, none is missing, and p99 is below a limit.
The rate grows by a factor; where it first fails, one step in between shows the edge more finely.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

from bench.result import GENERATOR_BUSY, ServerResult

FACTOR = 1.5
MAX_STEPS = 24
P99_MS = 100.0


def kept_up(outcome: ServerResult, rate: float, p99_ms: float = P99_MS) -> bool:
    """Whether a step counts as sustained."""
    main = outcome.main
    return (
        main.per_s >= 0.98 * rate
        and main.done >= main.expected
        and main.latency_ms.get("p99", math.inf) <= p99_ms
    )


def climb(
    run: Callable[[float], ServerResult],
    first: float,
    *,
    factor: float = FACTOR,
    p99_ms: float = P99_MS,
) -> Iterator[tuple[float, ServerResult]]:
    """Yield (rate, what came of it) of each step, up to the first that is not kept up with.

    Arguments:
        run: measures at a rate.
        first: events a second to begin with.
        factor: between two steps.
        p99_ms: the latency beyond which it counts as too slow.
    """
    rate = good = first
    for _ in range(MAX_STEPS):
        outcome = run(rate)
        yield rate, outcome
        if not kept_up(outcome, rate, p99_ms):
            break
        good, rate = rate, rate * factor
    if good < rate:
        edge = math.sqrt(good * rate)
        yield edge, run(edge)


def sustained(steps: list[tuple[float, ServerResult]], p99_ms: float = P99_MS) -> float:
    """The highest rate that was kept up with; 0 if none was."""
    return max((rate for rate, outcome in steps if kept_up(outcome, rate, p99_ms)), default=0.0)


def held_by_generator(steps: list[tuple[float, ServerResult]]) -> bool:
    """Whether the load, not the server, may be what ended the climb."""
    return any(outcome.generator_percent > GENERATOR_BUSY for _, outcome in steps)
