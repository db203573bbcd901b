"""One server under one load: start it, pin it, put the clients in place, measure, stop it."""

from __future__ import annotations

import os
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial

import msgspec

from bench import peers
from bench.child import ChildServer, make_realtime, waited_s
from bench.crew import Crew
from bench.family import ProcessUsage, total
from bench.folder import temporary_data
from bench.histogram import LatencyHistogram, merged
from bench.result import Measure, Options, Sample, ServerResult, notes
from bench.scenario import GeneratorOrder, Plan, Scenario
from bench.tally import Counts

SETTLE_S = 0.5
READY_TIMEOUT_S = 900.0
MOST_SAMPLES = 600


def progress(text: str) -> None:
    """Write a line to stderr, so that stdout has the table alone."""
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


def serve_command(settings: Sequence[str]) -> list[str]:
    """Return the command of a server as shipped, on free ports, that logs only warnings."""
    own = ("listen.port=0", "http.port=0", "api.port=0", "server.drain_s=0", "log.level=warning")
    command = ["server.py", "serve"]
    for setting in (*own, *settings):
        command += ["--set", setting]
    return command


@contextmanager
def greenroom(settings: Sequence[str], core: int | None) -> Iterator[ChildServer]:
    """Run the server as shipped, on embedded stores in a folder of its own."""
    with temporary_data() as data:
        command = serve_command([f"server.data_dir={data}", *settings])
        with ChildServer(command, core=core) as server:
            yield server


def cores(wanted: int) -> tuple[int | None, set[int]]:
    """Return the server's core and the cores left for the load.

    The server's core is None if this process may not use the one that is wanted. If no other core
    is left, the load shares the server's.
    """
    allowed = os.sched_getaffinity(0)
    core = wanted if wanted in allowed else None
    return core, (allowed - {core}) or allowed


@contextmanager
def confined(to: set[int]) -> Iterator[None]:
    """Keep this process off the server's core, since it looks at the others every second."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, to)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


class Usages:
    """Sums up what the server processes use."""

    def __init__(self, servers: Sequence[ChildServer]) -> None:
        self.servers = servers

    def now(self) -> ProcessUsage | None:
        """Return the use so far, None if the bench did not start the server."""
        if not self.servers:
            return None
        return total(server.usage() for server in self.servers)

    def parts_s(self) -> dict[str, float]:
        """Return the CPU seconds of each part so far: of a server, its nodes and its stores."""
        found: dict[str, float] = {}
        for server in self.servers:
            for name, used in server.family().parts().items():
                found[name] = found.get(name, 0.0) + used.cpu_s
        return found


class Waits:
    """How long processes had to wait while other programs had their cores."""

    def __init__(self, pids: Sequence[int]) -> None:
        self.most_ms = 0.0
        """The longest wait of one process within one second."""
        self._first = {pid: waited_s(pid) for pid in pids}
        self._before = dict(self._first)
        self.from_s = self._looked_at = time.monotonic()
        """Monotonic time since which waits are counted."""

    def look(self) -> None:
        """Count the waits since the last look; to be called about once a second."""
        now = time.monotonic()
        for pid, before in self._before.items():
            after = self._before[pid] = waited_s(pid)
            self.most_ms = max(self.most_ms, 1000 * (after - before) / (now - self._looked_at))
        self._looked_at = now

    def percent(self, pids: Sequence[int]) -> float:
        """Return the longest wait among these processes, in per cent of the time up to now.

        The time ends with the last `look`.
        """
        waited = max(self._before[pid] - self._first[pid] for pid in pids)
        return max(0.0, waited) / (self._looked_at - self.from_s) * 100


def measure(
    scenario: Scenario, module: str, plan: Plan, options: Options, peer: str
) -> ServerResult:
    """Run the load against Greenroom (`peer` is empty) or against a peer."""
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
) -> ServerResult:
    """Run the load against servers that already listen; generators take `urls` in turn.

    `servers` are those of them that the bench started, whose CPU and memory it can see.
    """
    _, others = cores(options.core)
    usages = Usages(servers)
    rest = usages.now()
    began = time.monotonic()
    orders = generator_orders(module, driver, plan, urls, options.generators)
    with confined(others), Crew(orders, others, partial(tell_done, name)) as crew:
        clients = crew.wait_ready(READY_TIMEOUT_S)
        ready_s = time.monotonic() - began
        if clients:
            progress(f"{name}: {clients:,} clients in place after {ready_s:.1f} s")
        pids = [one.pid for one in (*[server.process for server in servers], *crew.processes)]
        if options.realtime:
            nodes = [pid for server in servers for pid in server.family().nodes]
            for pid in (*pids, *nodes):
                make_realtime(pid)
        warm_up(crew, plan)
        before, parts_s = usages.now(), usages.parts_s()
        waits = Waits(pids)
        samples = list(sampled(scenario, plan, crew, usages, waits))
        after, parts_after_s = usages.now(), usages.parts_s()
        seconds = time.monotonic() - waits.from_s
        counts = crew.results(timeout_s=plan.seconds + 60.0)
    outcome = ServerResult(
        server=name,
        event=scenario.event,
        intended=plan.intended(),
        settings=list(settings),
        clients=round(sum(one.gauges.get("clients", 0) for one in counts)) or clients,
        ready_s=ready_s,
        # The generators count within the planned time, but `seconds` may be a little longer.
        measures=measures(counts, min(seconds, plan.seconds)),
        errors=dict(sum((Counter(one.errors) for one in counts), Counter())),
        most_waited_ms=waits.most_ms,
        realtime=options.realtime,
        generator_percent=max(one.cpu_s for one in counts) / (plan.warmup + seconds) * 100,
        late_ms=merged(one.late for one in counts).percentiles_ms(),
        gauges=gauges(counts),
        samples=samples,
    )
    if rest and before and after:
        tell_usage(outcome, rest, before, after, seconds)
        outcome.parts_percent = {
            name: (used - parts_s.get(name, 0.0)) / seconds * 100
            for name, used in parts_after_s.items()
        }
        outcome.waited_percent = waits.percent([server.process.pid for server in servers])
    outcome.extras = scenario.extras(plan, outcome)
    outcome.notes = notes(plan, outcome)
    return outcome


def generator_orders(
    module: str, driver: str, plan: Plan, urls: Sequence[str], generators: int
) -> list[GeneratorOrder]:
    """Return what each generator is to do: one at least for each URL."""
    encoded = msgspec.Raw(msgspec.json.encode(plan))
    parts = max(generators, len(urls))
    return [
        GeneratorOrder(module, driver, urls[part % len(urls)], part, parts, encoded)
        for part in range(parts)
    ]


def tell_done(name: str, done: dict[str, int]) -> None:
    """Tell the user what the generators have done so far while they put clients in place."""
    if any(done.values()):
        progress(f"{name}: " + ", ".join(f"{n:,} {what}" for what, n in done.items() if n))


def warm_up(crew: Crew, plan: Plan) -> None:
    """Start the load, and wait for the beginning of the measured time."""
    start = time.monotonic() + SETTLE_S
    crew.start(round(start * 1e9))
    crew.listen_for(start + plan.warmup - time.monotonic())


def tell_usage(
    outcome: ServerResult,
    rest: ProcessUsage,
    before: ProcessUsage,
    after: ProcessUsage,
    seconds: float,
) -> None:
    """Fill in the server's CPU and memory.

    Arguments:
        outcome: where the figures go.
        rest: the use before the first client came.
        before: the use at the beginning of the measured time.
        after: the use at its end.
        seconds: how long the measured time was.
    """
    used = after.cpu_s - before.cpu_s
    kernel = after.kernel_s - before.kernel_s
    events = outcome.main.per_s * seconds
    outcome.cpu_percent = used / seconds * 100
    outcome.cpu_us = used / events * 1e6 if events else None
    outcome.kernel_us = kernel / events * 1e6 if events else None
    outcome.rss_mib, outcome.rest_mib = after.rss_bytes / 2**20, rest.rss_bytes / 2**20


def sampled(
    scenario: Scenario, plan: Plan, crew: Crew, usages: Usages, waits: Waits
) -> Iterator[Sample]:
    """Wait for the end of the measured time; meanwhile yield a sample every second or more."""
    from_s = waits.from_s
    end_s = from_s + plan.seconds
    every_s = max(1.0, plan.seconds / MOST_SAMPLES)
    while (left_s := end_s - time.monotonic()) > 0:
        if scenario.until_over:
            crew.wait_over(min(every_s, left_s))
        else:
            crew.listen_for(min(every_s, left_s))
        at_s, p99_ms = time.monotonic() - from_s, max(crew.p99_ms.values(), default=0.0)
        waits.look()
        used = usages.now()
        if used is None:
            yield Sample(at_s, p99_ms)
        else:
            yield Sample(at_s, p99_ms, used.cpu_s, used.rss_bytes / 2**20, used.files)
        if scenario.until_over and crew.all_over:
            return


def measures(counts: Sequence[Counts], seconds: float) -> dict[str, Measure]:
    """Merge what the processes counted, by the name of the series."""
    found: dict[str, Measure] = {}
    for name in sorted({name for one in counts for name in one.series}):
        parts = [one.series[name] for one in counts if name in one.series]
        histogram: LatencyHistogram = merged(part.latencies for part in parts)
        found[name] = Measure(
            expected=sum(part.expected for part in parts),
            done=sum(part.done for part in parts),
            per_s=sum(part.in_window for part in parts) / seconds,
            latency_ms=histogram.percentiles_ms(),
            histogram=histogram.sparse(),
        )
    return found


def gauges(counts: Sequence[Counts]) -> dict[str, float]:
    """Return the sum of each gauge over all processes."""
    total: dict[str, float] = {}
    for one in counts:
        for name, value in one.gauges.items():
            total[name] = total.get(name, 0.0) + value
    return total
