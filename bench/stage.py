"""One server under one load: start it, pin it, put the clients in place, measure, stop it."""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import msgspec

from bench import machine, peers
from bench.child import ChildServer, Usage
from bench.crew import Crew
from bench.histogram import Histogram, merged
from bench.scenario import Order, Plan, Scenario
from bench.tally import Counts

SETTLE_S = 0.5
READY_TIMEOUT_S = 900.0
SATURATED = 0.98
"""Of the intended events a second; below it latencies are those of a growing queue."""
GENERATOR_BUSY = 85.0
"""Per cent of a core; above it the generator may be what is slow."""
CROWDED = 5.0
"""Per cent of the time that a server had to wait for its core; above it the report says so."""
GENERATOR_LATE_MS = 5.0
MOST_SAMPLES = 600


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """How a plan is run, which the generators need not know."""

    url: str = ""
    """A server that runs already; empty: one is started."""
    peer_url: str = ""
    """The same for the peer it is measured beside."""
    core: int = 0
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


class Outcome(msgspec.Struct, kw_only=True):
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
    """Of the time, when it wanted its core and others had it. On a quiet machine near 0."""
    rss_mib: float | None = None
    rest_mib: float | None = None
    """Before the clients came."""
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


def progress(text: str) -> None:
    """Tell whoever waits, beside the table."""
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


@contextmanager
def greenroom(settings: Sequence[str], core: int | None) -> Iterator[ChildServer]:
    """Run the server as shipped, on embedded stores in a folder of its own."""
    with tempfile.TemporaryDirectory(prefix="greenroom-bench-", ignore_cleanup_errors=True) as data:
        # TemporaryDirectory is closed to others, and root's PostgreSQL runs as nobody if it can.
        Path(data).chmod(0o711)
        command = ["server.py", "serve"]
        own = ("listen.port=0", "http.port=0", "server.drain_s=0", "log.level=warning")
        for setting in (f"server.data_dir={data}", *own, *settings):
            command += ["--set", setting]
        with ChildServer(command, core=core) as server:
            yield server


def cores(wanted: int) -> tuple[int | None, set[int]]:
    """Return the server's core, if it may have it, and those left for the load."""
    allowed = os.sched_getaffinity(0)
    core = wanted if wanted in allowed else None
    return core, (allowed - {core}) or allowed


class Usages:
    """What the server processes used, summed; nothing for a server elsewhere."""

    def __init__(self, servers: Sequence[ChildServer]) -> None:
        self.servers = servers

    def now(self) -> Usage | None:
        if not self.servers:
            return None
        used = [server.usage() for server in self.servers]
        return Usage(
            sum(one.cpu_s for one in used),
            sum(one.kernel_s for one in used),
            sum(one.rss_bytes for one in used),
            sum(one.files for one in used),
            max(one.waited_s for one in used),
        )


def measure(scenario: Scenario, module: str, plan: Plan, options: Options, peer: str) -> Outcome:
    """Run the load against Greenroom (`peer` empty) or a peer."""
    settings = [] if peer else [*plan.needs(), *options.settings]
    core, _ = cores(options.core)
    name = peer or "greenroom"
    driver = peers.PEERS[peer] if peer else ""
    url = options.peer_url if peer else options.url
    if url:
        return load(scenario, module, plan, options, name=name, driver=driver, urls=[url])
    progress(f"{name}: starting" + "".join(f" --set {one}" for one in settings))
    with peers.serving(peer, core) if peer else greenroom(settings, core) as server:
        return load(
            scenario, module, plan, options, name=name, driver=driver, urls=[server.url],
            servers=[server], settings=settings,
        )  # fmt: skip


def load(
    scenario: Scenario,
    module: str,
    plan: Plan,
    options: Options,
    *,
    name: str,
    driver: str,
    urls: Sequence[str],
    servers: Sequence[ChildServer] = (),
    settings: Sequence[str] = (),
) -> Outcome:
    """Run the load against servers that listen; generators are dealt out over `urls`."""
    _, others = cores(options.core)
    encoded = msgspec.Raw(msgspec.json.encode(plan))
    parts = max(options.generators, len(urls))
    orders = [
        Order(module, driver, urls[part % len(urls)], part, parts, encoded) for part in range(parts)
    ]
    usages = Usages(servers)

    def told(done: dict[str, int]) -> None:
        if not any(done.values()):
            return
        progress(f"{name}: " + ", ".join(f"{n:,} {what}" for what, n in done.items() if n))

    rest, sockets = usages.now(), machine.socket_bytes()
    began = time.monotonic()
    with Crew(orders, others, told) as crew:
        clients = crew.wait_ready(READY_TIMEOUT_S)
        ready_s = time.monotonic() - began
        if clients:
            progress(f"{name}: {clients:,} clients in place after {ready_s:.1f} s")
        start = time.monotonic() + SETTLE_S
        crew.start(round(start * 1e9))
        crew.listen_for(start + plan.warmup - time.monotonic())
        before = usages.now()
        from_s = time.monotonic()
        samples = list(sampled(scenario, plan, crew, usages, from_s))
        after = usages.now()
        seconds = time.monotonic() - from_s
        sockets = machine.socket_bytes() - sockets
        counts = crew.results(timeout_s=plan.seconds + 60.0)
    outcome = Outcome(
        server=name,
        event=scenario.event,
        intended=plan.intended(),
        settings=list(settings),
        clients=round(sum(one.gauges.get("clients", 0) for one in counts)) or clients,
        ready_s=ready_s,
        measures=measures(counts, seconds),
        errors=dict(sum((Counter(one.errors) for one in counts), Counter())),
        generator_percent=max(one.cpu_s for one in counts) / (plan.warmup + seconds) * 100,
        late_ms=merged(one.late for one in counts).percentiles_ms(),
        gauges=gauges(counts),
    )
    outcome.samples = samples
    outcome.gauges["socket KiB"] = sockets / 1024
    if rest and before and after:
        used = after.cpu_s - before.cpu_s
        kernel = after.kernel_s - before.kernel_s
        events = outcome.main.per_s * seconds
        outcome.cpu_percent = used / seconds * 100
        outcome.waited_percent = (after.waited_s - before.waited_s) / seconds * 100
        outcome.cpu_us = used / events * 1e6 if events else None
        outcome.kernel_us = kernel / events * 1e6 if events else None
        outcome.rss_mib, outcome.rest_mib = after.rss_bytes / 2**20, rest.rss_bytes / 2**20
    outcome.extras = scenario.extras(plan, outcome)
    outcome.notes = notes(plan, outcome)
    return outcome


def sampled(
    scenario: Scenario, plan: Plan, crew: Crew, usages: Usages, from_s: float
) -> Iterator[Sample]:
    """Wait for the end of the measured time; yield how it stands meanwhile."""
    end_s = from_s + plan.seconds
    every_s = max(1.0, plan.seconds / MOST_SAMPLES)
    while (left_s := end_s - time.monotonic()) > 0:
        if scenario.until_over:
            crew.wait_over(min(every_s, left_s))
        else:
            crew.listen_for(min(every_s, left_s))
        at_s, p99_ms = time.monotonic() - from_s, max(crew.p99_ms.values(), default=0.0)
        used = usages.now()
        if used is None:
            yield Sample(at_s, p99_ms)
        else:
            yield Sample(at_s, p99_ms, used.cpu_s, used.rss_bytes / 2**20, used.files)
        if scenario.until_over and crew.all_over:
            return


def measures(counts: Sequence[Counts], seconds: float) -> dict[str, Measure]:
    """Put together what the processes counted."""
    found: dict[str, Measure] = {}
    for name in sorted({name for one in counts for name in one.series}):
        parts = [one.series[name] for one in counts if name in one.series]
        histogram: Histogram = merged(part.latencies for part in parts)
        found[name] = Measure(
            expected=sum(part.expected for part in parts),
            done=sum(part.done for part in parts),
            per_s=sum(part.in_window for part in parts) / seconds,
            latency_ms=histogram.percentiles_ms(),
            histogram=histogram.sparse(),
        )
    return found


def gauges(counts: Sequence[Counts]) -> dict[str, float]:
    """The sum of each gauge."""
    total: dict[str, float] = {}
    for one in counts:
        for name, value in one.gauges.items():
            total[name] = total.get(name, 0.0) + value
    return total


def notes(plan: Plan, outcome: Outcome) -> list[str]:
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
    missing = outcome.main.expected - outcome.main.done
    if missing > 0:
        found.append(f"{missing:,} {outcome.event} never came")
    if outcome.errors:
        found.append("errors: " + ", ".join(f"{n:,} {code}" for code, n in outcome.errors.items()))
    if outcome.settings:
        found.append("server started with " + " ".join(f"--set {one}" for one in outcome.settings))
    return found


def saturated(plan: Plan, outcome: Outcome) -> bool:
    """Whether it did not keep up with the schedule."""
    intended = plan.intended()
    return intended is not None and outcome.main.per_s < SATURATED * intended


Run = Callable[[Plan], Outcome]
