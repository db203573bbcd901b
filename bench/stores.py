"""The stores by themselves: events, snapshots and commands a second, on embedded servers.

    python -m bench.stores                                    batches of 1, 50 and 500, 2 s each
    python -m bench.stores --json                             the same as JSON
    python -m bench.stores --only transfers --workers 1 --realtime

One batch is in flight at a time, as with a node's journal. The next one is sent when the last has
committed, so a player's acknowledgement waits as long as a batch takes. The last two columns are
CPU time for one row of a batch, in this process and in the stores. On a machine with other work
they say more than the other columns.
"""

from __future__ import annotations

import argparse
import itertools
import os
import random
import secrets
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
from pykka import ActorRef

from bench import machine
from bench.child import check_realtime, make_realtime
from bench.folder import temporary_data
from bench.wallets import KINDS, Transfer, TransferAll, TransferRefused, open_wallets
from persistence import PostgresSettings, RedisSettings
from persistence.commands import CommandTable, CommandWorker, Execute
from persistence.embedded import EmbeddedServers
from persistence.postgres import EventReader, EventWriter, migrate
from persistence.redis import SnapshotWorker
from persistence.requests import Activate, AppendEvents, LoadSnapshot, ReadEvents, SaveSnapshots

ASK_TIMEOUT_S = 30.0
READ_ROWS = 100
WALLETS = 10_000
PAIRS = 100_000
"""Pairs of wallets, drawn before the measurement."""
INBOX_HOLDS = 1000
"""Calls at once for which the inbox of a worker surely has room."""


class StoreRow(msgspec.Struct, frozen=True):
    """One figure of the table. Latencies are those of a whole batch, in milliseconds.

    `cpu_us` and `stores_cpu_us` are the CPU time for one row of a batch: in this process, both the
    asking and the working thread, and in the processes of the stores.
    """

    what: str
    batch: int
    per_s: float
    p50_ms: float
    p99_ms: float
    batches: int
    cpu_us: float
    stores_cpu_us: float


def arguments() -> argparse.Namespace:
    """Return what the command line asks for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--batch", type=int, nargs="+", default=[1, 50, 500], help="rows in a batch"
    )
    parser.add_argument("--seconds", type=float, default=2.0, help="how long each figure takes")
    parser.add_argument("--payload", type=int, default=200, help="bytes of an event")
    parser.add_argument("--state", type=int, default=2000, help="bytes of a snapshot")
    parser.add_argument("--actors", type=int, default=5000, help="actors that share the rows")
    parser.add_argument(
        "--workers",
        type=int,
        default=2,
        help="workers for commands, each with its own connection (2)",
    )
    parser.add_argument("--only", default="", help="measure only rows whose name begins with this")
    parser.add_argument(
        "--realtime",
        action="store_true",
        help="give this process and the stores real-time priority; for short runs on a machine"
        " with other work; needs root",
    )
    parser.add_argument("--json", action="store_true", help="JSON instead of a table")
    parser.add_argument("--data", type=Path, help="data directory to use and to keep")
    return parser.parse_args()


def ask(refs: Sequence[ActorRef[Any]], *messages: Any) -> None:
    """Ask the refs in turn, one message each, and wait for all answers."""
    turns = itertools.cycle(refs)
    for first in range(0, len(messages), INBOX_HOLDS):
        some = messages[first : first + INBOX_HOLDS]
        for future in [next(turns).ask(message, block=False) for message in some]:
            future.get(timeout=ASK_TIMEOUT_S)


class StoreMeter:
    """Measures one operation after the other, those whose name begins with `only`."""

    def __init__(self, seconds: float, only: str, servers: EmbeddedServers) -> None:
        self._seconds = seconds
        self._only = only
        self._servers = servers

    def measure(self, what: str, batch: int, work: Callable[[], Any]) -> Iterator[StoreRow]:
        """Call `work`, which does `batch` operations, again and again; yield one row."""
        if not what.startswith(self._only):
            return
        work()
        took: list[float] = []
        cpu_s, stores_cpu_s = self._used()
        begun = time.perf_counter()
        while (start := time.perf_counter()) < begun + self._seconds:
            work()
            took.append(time.perf_counter() - start)
        elapsed = time.perf_counter() - begun
        cpu_s, stores_cpu_s = (
            now - then for now, then in zip(self._used(), (cpu_s, stores_cpu_s), strict=True)
        )
        count = batch * len(took)
        took.sort()
        yield StoreRow(
            what,
            batch,
            round(count / elapsed),
            round(took[len(took) // 2] * 1e3, 3),
            round(took[len(took) * 99 // 100] * 1e3, 3),
            len(took),
            round(cpu_s / count * 1e6, 1),
            round(stores_cpu_s / count * 1e6, 1),
        )

    def _used(self) -> tuple[float, float]:
        return time.process_time(), sum(map(machine.cpu_s, self._servers.pids.values()))


def figures(options: argparse.Namespace, servers: EmbeddedServers) -> Iterator[StoreRow]:
    """Measure one operation after the other; yield each row as soon as it is there."""
    postgres = PostgresSettings(url=servers.postgres_url)
    redis = RedisSettings(url=servers.redis_url)
    migrate(postgres)
    kind = secrets.token_hex(4)
    payload, state = bytes(options.payload), bytes(options.state)
    writer: ActorRef[Any] = EventWriter.start(postgres)
    reader: ActorRef[Any] = EventReader.start(postgres)
    worker: ActorRef[Any] = SnapshotWorker.start(redis)
    meter = StoreMeter(options.seconds, options.only, servers)

    ask([writer], *(Activate(kind, str(n)) for n in range(options.actors)))
    written = 0

    def append() -> None:
        nonlocal written
        rows = [
            (kind, str(n % options.actors), n // options.actors + 1, 1, "posted", payload, n)
            for n in range(written, written + batch)
        ]
        written += batch
        ask([writer], AppendEvents(rows))

    def save() -> None:
        nonlocal written
        written += batch
        rows = [
            (kind, str(n % options.actors), n, 1, 1, state) for n in range(written, written + batch)
        ]
        ask([worker], SaveSnapshots(rows))

    def numbered(make: Callable[[str], Any]) -> list[Any]:
        return [make(str(n % options.actors)) for n in range(batch)]

    for batch in options.batch:
        yield from meter.measure("events appended", batch, append)
    for batch in options.batch:
        activations = numbered(lambda key: Activate(kind + "x", key))
        yield from meter.measure("activations", batch, lambda: ask([writer], *activations))  # noqa: B023
    for batch in options.batch:
        reads = numbered(lambda key: ReadEvents(kind, key, 0, READ_ROWS))
        yield from meter.measure("actors read", batch, lambda: ask([reader], *reads))  # noqa: B023
    for batch in options.batch:
        yield from meter.measure("snapshots saved", batch, save)
    for batch in options.batch:
        loads = numbered(lambda key: LoadSnapshot(kind, key))
        yield from meter.measure("snapshots loaded", batch, lambda: ask([worker], *loads))  # noqa: B023
    for ref in (writer, reader, worker):
        ref.stop()
    yield from transfers(options, postgres, meter)


def transfers(
    options: argparse.Namespace, postgres: PostgresSettings, meter: StoreMeter
) -> Iterator[StoreRow]:
    """Measure commands with a key: each locks two wallets, changes both and adds two entries."""
    owners = [str(n) for n in range(WALLETS)]
    open_wallets(postgres, owners, 10**9)
    table = CommandTable(KINDS, refusals=(TransferRefused,))
    dice = random.Random(1)
    pairs = itertools.cycle([dice.sample(owners, 2) for _ in range(PAIRS)])
    forms: tuple[tuple[str, type[Transfer], int], ...] = (
        ("transfers", Transfer, 100),
        ("transfers, arrays", TransferAll, 500),
    )
    for what, form, most in forms:
        workers: list[ActorRef[Any]] = [
            CommandWorker.start(postgres, table, batch=most) for _ in range(options.workers)
        ]

        def request(number: int, form: type[Transfer]) -> Execute:
            source, target = next(pairs)
            expires_at = time.monotonic() + ASK_TIMEOUT_S
            key = secrets.token_hex(8)
            return Execute(form(source, target, 1), owners[number % WALLETS], key, expires_at)

        def transfer(batch: int, form: type[Transfer], workers: list[ActorRef[Any]]) -> None:
            ask(workers, *(request(number, form) for number in range(batch)))

        for batch in options.batch:
            work = partial(transfer, batch, form, workers)
            yield from meter.measure(what, batch, work)
        for ref in workers:
            ref.stop()


def main() -> int:
    """Run the bench and print its figures; return the exit status."""
    options = arguments()
    if options.realtime:
        check_realtime()
        make_realtime(os.getpid())  # and the stores, which are started from here
    with (
        temporary_data() as folder,
        EmbeddedServers(options.data or folder / "data") as servers,
    ):
        rows = []
        if not options.json:
            print(
                f"{'':18}{'batch':>7}{'per s':>10}{'p50 ms':>9}{'p99 ms':>9}"
                f"{'CPU us':>9}{'stores us':>11}"
            )
        for row in figures(options, servers):
            rows.append(row)
            if not options.json:
                print(
                    f"{row.what:18}{row.batch:7}{row.per_s:10,.0f}"
                    f"{row.p50_ms:9.2f}{row.p99_ms:9.2f}{row.cpu_us:9.1f}{row.stores_cpu_us:11.1f}",
                    flush=True,
                )
    if options.json:
        print(msgspec.json.format(msgspec.json.encode(rows)).decode())
    return 0


if __name__ == "__main__":
    sys.exit(main())
