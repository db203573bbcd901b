"""A long day: `mixed` for an hour or for days, watching for what grows.

    python -m bench.soak                         an hour
    python -m bench.soak --seconds 86400 --rate 500

Every so often it is noted what the server holds (resident memory, open files) and how the latencies
were. What counts in the end is the middle of the last quarter beside that of the second one, by
which everything that fills up once has filled up. The picture shows the whole time.
"""

from __future__ import annotations

import statistics
from typing import Annotated

from msgspec import Meta

from bench.command import main
from bench.mixed import Mixed, MixedLoad
from bench.result import ServerResult
from bench.scenario import Scenario


class Soak(Mixed, frozen=True, kw_only=True):
    """The same day, longer."""

    seconds: Annotated[float, Meta(ge=2, le=604_800, description="measured seconds")] = 3600.0
    warmup: Annotated[float, Meta(ge=0, le=3600, description="seconds before")] = 60.0
    rate: Annotated[float, Meta(ge=0.1, le=1_000_000, description="actions a second")] = 300.0


def growth(values: list[float]) -> float:
    """How much the median of the last quarter is above that of the second one."""
    quarter = len(values) // 4
    if not quarter:
        return 0.0
    return statistics.median(values[-quarter:]) - statistics.median(values[quarter : 2 * quarter])


def extras(plan: Soak, outcome: ServerResult) -> dict[str, float]:
    """What grew, an hour: half of the time lies between the middles of the two quarters."""
    hours = plan.seconds / 2 / 3600
    samples = outcome.samples
    return {
        "RSS MiB more an hour": growth([sample.rss_mib for sample in samples]) / hours,
        "files more an hour": growth([float(sample.files) for sample in samples]) / hours,
        "p99 ms more an hour": growth([sample.p99_ms for sample in samples]) / hours,
    }


SCENARIO = Scenario(plan=Soak, load=MixedLoad, event="actions", extras=extras)

if __name__ == "__main__":
    main("soak")
