"""What came of a run of one server, and what a reader must know before believing it."""

from __future__ import annotations

import math

import msgspec

from bench.scenario import Plan

SATURATED = 0.98
"""Share of the intended events. A server that reaches less is saturated: its queue grows."""
GENERATOR_BUSY = 85.0
"""Per cent of a core. A generator that uses more may be the bottleneck."""
CROWDED = 5.0
"""Per cent of the time. The report says so if a server waited longer for its core."""
GENERATOR_LATE_MS = 5.0
"""The report says so if the p99 of a generator's own delays is above this."""
LONG_WAIT_MS = 5.0
"""Milliseconds within one second that a process waited while other programs had its core.

If a wait is longer than this and than p99.9, the report says that others may have caused the tail.
"""


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """How a plan is run: the part of the command line that the generators need not know."""

    url: str = ""
    """Address of a server that already runs; empty: one is started."""
    peer_url: str = ""
    """Address of the peer's server, if it already runs; empty: one is started."""
    core: int = 0
    """Core that the server is pinned to; one that does not exist (-1): it is not pinned."""
    realtime: bool = False
    """Whether server and load have real-time priority while the server is measured."""
    generators: int = 1
    """Processes that make the load."""
    settings: list[str] = []
    """Settings for the server that is started, each as `section.key=value`."""


class Measure(msgspec.Struct, frozen=True, kw_only=True):
    """One series of events of a run."""

    expected: int
    """Events that the schedule placed within the measured time."""
    done: int
    """Those of the expected events that ended."""
    per_s: float
    """Events that ended within the measured time, a second."""
    latency_ms: dict[str, float]
    """`p50`, `p90`, `p99`, `p99.9` and `max` -> milliseconds; empty if nothing ended."""
    histogram: dict[int, int]
    """Bucket of `bench.histogram` -> count."""


class Sample(msgspec.Struct, frozen=True):
    """The state of a run at one moment of the measured time."""

    at_s: float
    """Seconds since the measured time began."""
    p99_ms: float
    """p99 latency in the second before, as the generator with the highest saw it."""
    cpu_s: float = 0.0
    """CPU seconds of the server processes since they started."""
    rss_mib: float = 0.0
    """Resident memory of the server processes."""
    files: int = 0
    """Open files of the server processes."""


class ServerResult(msgspec.Struct, kw_only=True):
    """What one server did under the load. Latencies count from the intended time of an event."""

    server: str
    event: str
    intended: float | None
    """Events a second that the plan asks for; None: it names no rate."""
    settings: list[str]
    """Settings that the server was started with, beyond its defaults."""
    clients: int
    ready_s: float
    """Seconds until all clients were in place."""
    measures: dict[str, Measure]
    """Name of a series -> what it counted."""
    errors: dict[str, int]
    """What went wrong -> how often."""
    cpu_us: float | None = None
    """Server CPU for one event, in microseconds; None: the bench did not start the server."""
    kernel_us: float | None = None
    """The part of `cpu_us` that was spent in system calls."""
    cpu_percent: float | None = None
    """Server CPU during the measured time, all nodes together, in per cent of one core."""
    parts_percent: dict[str, float] = {}
    """The CPU of each part, in per cent of one core: `server`, or `parent` and `node 1` and so on,
    and each store that the server has started."""
    waited_percent: float | None = None
    """Per cent of the time that the server waited while other programs had its core.

    On a quiet machine it is near 0.
    """
    most_waited_ms: float = 0.0
    """The longest such wait within one second, of a server or a generator."""
    rss_mib: float | None = None
    """Resident memory of the server processes after the measured time."""
    rest_mib: float | None = None
    """Resident memory of the server processes before the first client came."""
    realtime: bool = False
    generator_percent: float = 0.0
    """CPU of the busiest generator, in per cent of a core."""
    late_ms: dict[str, float] = {}
    """Percentile -> how long after its scheduled time a generator began an event."""
    gauges: dict[str, float] = {}
    """Name -> value, summed over the generators."""
    extras: dict[str, float] = {}
    """Further columns of the table: heading -> figure."""
    samples: list[Sample] = []
    notes: list[str] = []
    """What a reader must know before believing the figures."""

    @property
    def main(self) -> Measure:
        """The measure of the event that the scenario is about."""
        nothing = Measure(expected=0, done=0, per_s=0.0, latency_ms={}, histogram={})
        return self.measures.get(self.event, nothing)

    @property
    def kib_a_client(self) -> float | None:
        if self.rss_mib is None or self.rest_mib is None or not self.clients:
            return None
        return (self.rss_mib - self.rest_mib) * 1024 / self.clients


def notes(plan: Plan, outcome: ServerResult) -> list[str]:
    """Return what a reader must know before believing the figures."""
    found = []
    intended = plan.intended()
    if saturated(plan, outcome):
        found.append(
            f"saturated: {outcome.main.per_s:,.0f}/s of {intended:,.0f}/s intended; latencies are"
            " those of a growing queue"
        )
    if outcome.generator_percent > GENERATOR_BUSY:
        found.append(
            f"the load generator used {outcome.generator_percent:.0f} % of a core and may be the"
            " limit; use more --generators, or more cores"
        )
    elif outcome.late_ms.get("p99", 0.0) > GENERATOR_LATE_MS:
        found.append(
            f"the load generator was late itself: p99 {outcome.late_ms['p99']:.1f} ms, which is in"
            " the latencies"
        )
    if (outcome.waited_percent or 0) > CROWDED:
        found.append(
            f"the server waited {outcome.waited_percent:.0f} % of the time for its core, which"
            " others used: latencies and rates are worse than on a quiet machine"
        )
    elif outcome.most_waited_ms > max(LONG_WAIT_MS, outcome.main.latency_ms.get("p99.9", math.inf)):
        found.append(
            f"other programs had a core of server or load for {outcome.most_waited_ms:.0f} ms of a"
            " second: the tail may be theirs"
            + ("" if outcome.realtime else "; --realtime keeps them off")
        )
    if outcome.realtime:
        who = "the load" if outcome.cpu_us is None else "server and load"
        found.append(f"{who} had real-time priority while it was measured")
    missing = outcome.main.expected - outcome.main.done
    if missing > 0:
        found.append(f"{missing:,} {outcome.event} never came")
    if outcome.errors:
        found.append("errors: " + ", ".join(f"{n:,} {code}" for code, n in outcome.errors.items()))
    if outcome.settings:
        found.append("server started with " + " ".join(f"--set {one}" for one in outcome.settings))
    return found


def saturated(plan: Plan, outcome: ServerResult) -> bool:
    """Whether the server did not keep up with the intended rate."""
    intended = plan.intended()
    return intended is not None and outcome.main.per_s < SATURATED * intended
