"""Raising the rate until a server no longer keeps up, to find the highest rate that it sustains.

Each step is a run of its own, on a fresh server unless --url names one. The server keeps up with a
step if at least 98 % of the intended events came in the measured time, none is missing, and p99 is
not above a limit. Each step raises the rate by a factor. After the first step that fails, one more
between the last two rates shows the limit more finely.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

from bench.result import GENERATOR_BUSY, ServerResult

FACTOR = 1.5
MAX_STEPS = 24
P99_MS = 100.0


def kept_up(outcome: ServerResult, rate: float, p99_ms: float = P99_MS) -> bool:
    """Whether the server kept up with that rate."""
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
    """Yield (rate, result) of each step, up to the first that fails and one below it.

    Arguments:
        run: measures at a given rate.
        first: rate of the first step, in events a second.
        factor: how much each step raises the rate.
        p99_ms: the highest p99 latency with which a step counts as sustained.
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
    """Return the highest rate that the server kept up with; 0 if there is none."""
    return max((rate for rate, outcome in steps if kept_up(outcome, rate, p99_ms)), default=0.0)


def held_by_generator(steps: list[tuple[float, ServerResult]]) -> bool:
    """Whether the load generator, not the server, may have ended the climb."""
    return any(outcome.generator_percent > GENERATOR_BUSY for _, outcome in steps)
