"""Durable schedules: the cost of a million that wait, and how late and how fast they fire.

    python -m bench.waiting                    a million rows, about half a minute
    python -m bench.waiting --waiting 10000    fewer
    python -m bench.waiting --json             the same as JSON

The scheduler, its targets and the store's thread run in this process. PostgreSQL is embedded and
runs on the same machine, so that its clock is this process's.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial

import msgspec
import trio

from actors.node.scheduler import Bell, Fired, ScheduleCounters, scheduler_spec
from actors.runtime.actor import Actor
from actors.runtime.child import ChildSpec
from actors.runtime.handlers import handles
from actors.runtime.kinds import Kind
from actors.runtime.system import ActorSystem
from bench.folder import temporary_data
from persistence import PostgresSettings, ScheduleSettings
from persistence.embedded import EmbeddedServers
from persistence.postgres import migrate
from persistence.postgres.connection import connect, transaction
from persistence.schedules import ScheduleStore, ScheduleWorker

TARGETS = 10_000
LOOKS = 200
YEAR_US = 365 * 86_400 * 1_000_000
_FILL = """
    INSERT INTO schedules (kind, key, name, id, due_us, next_us, payload)
    SELECT 'target', (n %% %s)::text, n::text, n, at_us, at_us, %s
    FROM generate_series(1, %s) AS n, LATERAL (SELECT %s + n::bigint * %s AS at_us) AS due
"""


class Figure(msgspec.Struct, frozen=True):
    """One line of the table."""

    what: str
    value: float
    unit: str


def arguments() -> argparse.Namespace:
    """Return what the command line asks for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--waiting", type=int, default=1_000_000, help="rows due in a year")
    parser.add_argument("--due", type=int, default=2000, help="rows due during the measurement")
    parser.add_argument("--overdue", type=int, default=20_000, help="rows due long ago")
    parser.add_argument("--seconds", type=float, default=10.0, help="how long each figure takes")
    parser.add_argument("--payload", type=int, default=100, help="bytes in a row's payload")
    parser.add_argument("--json", action="store_true", help="JSON instead of a table")
    return parser.parse_args()


class LateArrivals:
    """Collects how late each schedule fired, in milliseconds."""

    def __init__(self) -> None:
        self.late_ms: list[float] = []
        self._wanted = 0
        self._all = trio.Event()

    def add(self, due_us: int) -> None:
        self.late_ms.append((now_us() - due_us) / 1e3)
        if len(self.late_ms) >= self._wanted:
            self._all.set()

    async def wait(self, count: int) -> Sequence[float]:
        """Wait until `count` have fired; return how late they were, ascending, and forget them."""
        self._wanted = count
        if len(self.late_ms) < count:
            self._all = trio.Event()
            await self._all.wait()
        late_ms, self.late_ms = sorted(self.late_ms), []
        return late_ms


class Receiver(Actor):
    """The target of the schedules."""

    def __init__(self, arrivals: LateArrivals) -> None:
        super().__init__()
        self._arrivals = arrivals

    @handles(Fired)
    def fired(self, message: Fired) -> None:
        self._arrivals.add(message.due_us)


def now_us() -> int:
    """Return the time in microseconds, as PostgreSQL's clock shows it too."""
    return time.time_ns() // 1000


def fill(postgres: PostgresSettings, rows: int, payload: int, first_us: int, apart_us: int) -> None:
    """Insert schedules into the table directly, which is not measured.

    The first is due at `first_us`, each other `apart_us` after the last.
    """
    with connect(postgres) as connection, transaction(connection, postgres):
        connection.execute(_FILL, (TARGETS, bytes(payload), rows, first_us, apart_us))
    with connect(postgres) as connection:
        connection.execute(f"VACUUM ANALYZE {postgres.schema}.schedules")


def quantile(values: Sequence[float], share: float) -> float:
    """Return a quantile of values in ascending order."""
    return round(values[min(len(values) - 1, int(len(values) * share))], 3)


@asynccontextmanager
async def house(
    postgres: PostgresSettings,
    settings: ScheduleSettings,
    arrivals: LateArrivals,
    counters: ScheduleCounters,
) -> AsyncIterator[tuple[ActorSystem, ScheduleStore, ChildSpec]]:
    """Run a system with targets; yield it, its store of schedules and the scheduler's spec."""
    bell = Bell()
    async with ActorSystem("bench") as system:
        worker = partial(ScheduleWorker, postgres, settings)
        await system.supervise([ChildSpec(id="schedules", factory=worker)], key="stores").started()
        schedules = ScheduleStore(system.ref("stores", "schedules"), settings, bell.ring)
        system.register(Kind("target", lambda _: Receiver(arrivals)))
        yield system, schedules, scheduler_spec(schedules, settings, bell, counters)


async def figures(options: argparse.Namespace, postgres: PostgresSettings) -> AsyncIterator[Figure]:
    """Measure one figure after the other; yield each as soon as it is there."""
    overdue = min(options.overdue, options.waiting)
    settings = ScheduleSettings(of_target=options.waiting + options.due)
    fill(postgres, options.waiting, options.payload, now_us() + YEAR_US, 1000)
    arrivals, counters = LateArrivals(), ScheduleCounters()
    async with house(postgres, settings, arrivals, counters) as (system, schedules, spec):
        await system.supervise([spec], key="scheduler").started()

        yield Figure("rows that wait", options.waiting, "")
        looks, cpu_s = counters.looks, time.process_time()
        await trio.sleep(options.seconds)
        cpu_s = time.process_time() - cpu_s
        yield Figure("CPU of waiting", round(cpu_s / options.seconds * 1e6), "us a second")
        yield Figure(
            "looks while waiting", round((counters.looks - looks) / options.seconds, 2), "/s"
        )

        took_ms: list[float] = []
        for _ in range(LOOKS):
            start = time.perf_counter()
            await schedules.claim(settings.in_flight, claim_s=1.0)
            took_ms.append((time.perf_counter() - start) * 1e3)
        yield Figure("a look, p50", quantile(sorted(took_ms), 0.5), "ms")
        yield Figure("a look, p99", quantile(sorted(took_ms), 0.99), "ms")

        dice = random.Random(1)
        first_us, span_us = now_us() + 2_000_000, round(options.seconds * 1e6)
        start = time.perf_counter()
        async with trio.open_nursery() as nursery:
            for n in range(options.due):
                at_us = first_us + dice.randrange(span_us)
                key, name = str(n % TARGETS), f"due {n}"
                nursery.start_soon(partial(schedules.set, "target", key, name, at_us=at_us))
        yield Figure("set", round(options.due / (time.perf_counter() - start)), "/s")
        late_ms = await arrivals.wait(options.due)
        yield Figure("late, least", quantile(late_ms, 0.0), "ms")
        yield Figure("late, p50", quantile(late_ms, 0.5), "ms")
        yield Figure("late, p99", quantile(late_ms, 0.99), "ms")
        yield Figure("late, most", quantile(late_ms, 1.0), "ms")

    with connect(postgres) as connection:
        connection.execute(
            f"UPDATE {postgres.schema}.schedules SET due_us = id, next_us = id WHERE id <= %s",
            (overdue,),
        )
    async with house(postgres, settings, arrivals, counters) as (system, _, spec):
        start = time.perf_counter()
        system.supervise([spec], key="scheduler")
        await arrivals.wait(overdue)
        took_s = time.perf_counter() - start
        yield Figure("overdue at a start", round(overdue / took_s), "/s")


async def measure(options: argparse.Namespace, postgres: PostgresSettings) -> list[Figure]:
    """Return all figures, and print each as soon as it is there."""
    found = []
    async for figure in figures(options, postgres):
        found.append(figure)
        if not options.json:
            print(f"{figure.what:24}{figure.value:14,} {figure.unit}", flush=True)
    return found


def main() -> int:
    """Run the bench and print its figures; return the exit status."""
    options = arguments()
    with temporary_data() as folder, EmbeddedServers(folder / "data", redis=False) as servers:
        postgres = PostgresSettings(url=servers.postgres_url, statement_timeout_s=600.0)
        migrate(postgres)
        found = trio.run(measure, options, postgres)
    if options.json:
        print(msgspec.json.format(msgspec.json.encode(found)).decode())
    return 0


if __name__ == "__main__":
    sys.exit(main())
