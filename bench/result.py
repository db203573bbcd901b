"""What came of a run of one server, and what a reader must know before believing it."""

from __future__ import annotations

import math

import msgspec

from bench.scenario import Plan

SATURATED = 0.98
"""Of the intended events a second; below it latencies are those of a growing queue."""
GENERATOR_BUSY = 85.0
"""Per cent of a core; above it the generator may be what is slow."""
CROWDED = 5.0
"""Per cent of the time that a server had to wait for its core; above it the report says so."""
GENERATOR_LATE_MS = 5.0
LONG_WAIT_MS = 5.0
"""Of a second; above it, and above p99.9, the report says that the tail may be others'."""


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """How a plan is run, which the generators need not know."""

    url: str = ""
    """A server that runs already; empty: one is started."""
    peer_url: str = ""
    """The same for the peer it is measured beside."""
    core: int = 0
    realtime: bool = False
    """Server and load at real-time priority while it is measured."""
    generators: int = 1
    settings: list[str] = []
    """Further settings of the server that is started."""


class Measure(msgspec.Struct, frozen=True, kw_only=True):
    """One series of events of a run."""

    expected: int
    done: int
    per_s: float
    latency_ms: dict[str, float]
    histogram: dict[int, int]


class Sample(msgspec.Struct, frozen=True):
    """How it stood at one moment of the measured time."""

    at_s: float
    p99_ms: float
    """Of the second before, of the generator that saw the worst."""
    cpu_s: float = 0.0
    rss_mib: float = 0.0
    files: int = 0


class ServerResult(msgspec.Struct, kw_only=True):
    """What one server did under the load. Latencies from the intended time, in milliseconds."""

    server: str
    event: str
    intended: float | None
    """Events a second that the schedule brought."""
    settings: list[str]
    """Of the server, beyond its defaults."""
    clients: int
    ready_s: float
    measures: dict[str, Measure]
    errors: dict[str, int]
    cpu_us: float | None = None
    """Server CPU an event; None where the server is not ours to look at."""
    kernel_us: float | None = None
    cpu_percent: float | None = None
    waited_percent: float | None = None
    """Of the time, when it wanted its core and other programs had it; near 0 on a quiet machine."""
    most_waited_ms: float = 0.0
    """Of the worst second, the same; of server or load, whoever waited longer."""
    rss_mib: float | None = None
    rest_mib: float | None = None
    """Before the clients came."""
    realtime: bool = False
    generator_percent: float = 0.0
    """CPU of the busiest generator."""
    late_ms: dict[str, float] = {}
    gauges: dict[str, float] = {}
    extras: dict[str, float] = {}
    samples: list[Sample] = []
    notes: list[str] = []

    @property
    def main(self) -> Measure:
        """Of the event that the scenario is about."""
        nothing = Measure(expected=0, done=0, per_s=0.0, latency_ms={}, histogram={})
        return self.measures.get(self.event, nothing)

    @property
    def kib_a_client(self) -> float | None:
        if self.rss_mib is None or self.rest_mib is None or not self.clients:
            return None
        return (self.rss_mib - self.rest_mib) * 1024 / self.clients


def notes(plan: Plan, outcome: ServerResult) -> list[str]:
    """What a reader must know before believing the figures."""
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
    """Whether it did not keep up with the schedule."""
    intended = plan.intended()
    return intended is not None and outcome.main.per_s < SATURATED * intended
