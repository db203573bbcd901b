"""A long day: `mixed` for an hour or for days, watching for what grows.

    python -m bench.soak                         an hour
    python -m bench.soak --seconds 86400 --rate 500

The bench samples the server's resident memory, its open files and the latencies all the time.
Growth is the median of the last quarter less that of the second quarter: by then, everything that
fills only once is full. The picture shows the whole time.
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
    """The load of `mixed`, for longer and at a lower rate."""

    seconds: Annotated[float, Meta(ge=2, le=604_800, description="seconds measured")] = 3600.0
    warmup: Annotated[
        float, Meta(ge=0, le=3600, description="seconds of load before the measurement")
    ] = 60.0
    rate: Annotated[float, Meta(ge=0.1, le=1_000_000, description="actions a second")] = 300.0


def growth(values: list[float]) -> float:
    """Return the median of the last quarter less that of the second; 0 for under 4 values."""
    quarter = len(values) // 4
    if not quarter:
        return 0.0
    return statistics.median(values[-quarter:]) - statistics.median(values[quarter : 2 * quarter])


def extras(plan: Soak, outcome: ServerResult) -> dict[str, float]:
    """Return what grew in an hour.

    Half of the measured time lies between the middles of the two quarters.
    """
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
