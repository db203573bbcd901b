"""What an actor costs, beside a Pykka ThreadingActor in the same run.

    python -m bench.actors
    python -m bench.actors --scale 0.1 --json actors.json

CPU time of the whole process (both threads, where there are two), not wall time: that is what a
core has less of for others, and it does not depend on who else is on the machine. Each figure is
the best of `--repeat` rounds, in which the two take turns. Memory is what the process grows by, in
a process of its own, and counts stacks of threads as far as they are touched.
"""

from __future__ import annotations

import argparse
import gc
import os
import platform
import subprocess
import sys
from collections.abc import Awaitable, Callable
from importlib.metadata import version
from pathlib import Path
from time import process_time
from typing import Any, Final

import msgspec
import pykka
import trio

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent.parent))

import actors
from actors.runtime.system import ActorSystem

WINDOW: Final = 1000
"""Messages told before the teller waits for them: both mailboxes hold as many."""
RING: Final = 20
"""Actors that a message hops around among."""

BARS: Final = {"tell": 0.25, "ask": 0.25}
"""The most that ours may cost, as a share of a ThreadingActor's."""
MEMORY_BAR_KIB: Final = 6.0


class Row(msgspec.Struct, frozen=True):
    """One line of the table: cost of one operation, and the share of Pykka's that it is."""

    what: str
    unit: str
    ours: float
    pykka: float | None
    ratio: float | None
    bar: float | None


class Report(msgspec.Struct, frozen=True):
    """What `--json` writes."""

    python: str
    trio: str
    pykka: str
    cpu: str
    repeat: int
    scale: float
    rows: list[Row]


# --- the actors ----------------------------------------------------------------------------------


class Tick(msgspec.Struct, frozen=True, gc=False):
    """What is told and asked."""


class Hop(msgspec.Struct, frozen=True, gc=False):
    """A message with so many hops to go."""

    left: int


TICK: Final = Tick()


class Ours(actors.Actor):
    """Handles by type, as an embedder would write it."""

    mailbox = actors.MailboxSpec(capacity=100_000)

    def __init__(self) -> None:
        super().__init__()
        self.count = 0
        self.next: Any = None
        self.arrived: actors.Future[None] | None = None

    @actors.handles(Tick)
    def tick(self, message: Tick) -> int:  # noqa: ARG002 -- the type says it all
        self.count += 1
        return self.count

    @actors.handles(Hop)
    def hop(self, message: Hop) -> None:
        if message.left:
            self.next.tell(Hop(message.left - 1))
        elif self.arrived is not None:
            self.arrived.set()

    @actors.handles(list)
    def join_ring(self, message: list[Any]) -> None:
        self.next, self.arrived = message

    @actors.handles(float)
    async def wait(self, message: float) -> float:
        return message


class Pykkas(pykka.ThreadingActor):
    """The same in Pykka, where `on_receive` tells messages apart."""

    use_daemon_thread = True

    def __init__(self) -> None:
        super().__init__()
        self.count = 0
        self.next: Any = None
        self.arrived: Any = None

    def on_receive(self, message: Any) -> Any:
        if isinstance(message, Tick):
            self.count += 1
            return self.count
        if isinstance(message, Hop):
            if message.left:
                self.next.tell(Hop(message.left - 1))
            else:
                self.arrived.set()
        elif isinstance(message, list):
            self.next, self.arrived = message
        return None


# --- the operations: each returns CPU seconds for `n` of them ------------------------------------


async def tell_ours(system: ActorSystem, n: int) -> float:
    """Told, in windows, to one actor."""
    ref = system.start(Ours)
    await ref.ask(TICK)
    began = process_time()
    for _ in range(n // WINDOW):
        for _ in range(WINDOW):
            ref.tell(TICK)
        await ref.ask(TICK)
    spent = process_time() - began
    await ref.stop()
    return spent


def tell_pykka(n: int) -> float:
    """The same."""
    ref = Pykkas.start()
    ref.ask(TICK)
    began = process_time()
    for _ in range(n // WINDOW):
        for _ in range(WINDOW):
            ref.tell(TICK)
        ref.ask(TICK)
    spent = process_time() - began
    ref.stop()
    return spent


async def ask_ours(system: ActorSystem, n: int) -> float:
    """One after the other, of an idle actor: answered on the spot."""
    ref = system.start(Ours)
    await ref.ask(TICK)
    began = process_time()
    for _ in range(n):
        await ref.ask(TICK)
    spent = process_time() - began
    await ref.stop()
    return spent


def ask_pykka(n: int) -> float:
    """The same, which here means two switches of threads."""
    ref = Pykkas.start()
    ref.ask(TICK)
    began = process_time()
    for _ in range(n):
        ref.ask(TICK)
    spent = process_time() - began
    ref.stop()
    return spent


async def ask_queued(system: ActorSystem, n: int) -> float:
    """Behind another message, so that it cannot be answered on the spot."""
    ref, other = system.start(Ours), system.start(Ours)
    await ref.ask(TICK)
    await other.ask(TICK)
    began = process_time()
    for _ in range(n):
        other.tell(TICK)
        await ref.ask(TICK)
    spent = process_time() - began
    await ref.stop()
    await other.stop()
    return spent


async def ask_async(system: ActorSystem, n: int) -> float:
    """A handler that is `async def`, so that a worker runs it."""
    ref = system.start(Ours)
    await ref.ask(TICK)
    began = process_time()
    for _ in range(n):
        await ref.ask(1.0)
    spent = process_time() - began
    await ref.stop()
    return spent


async def hop_ours(system: ActorSystem, n: int) -> float:
    """One message that goes around a ring of actors."""
    refs = [system.start(Ours) for _ in range(RING)]
    arrived: actors.Future[None] = actors.Future()
    for index, ref in enumerate(refs):
        await ref.ask([refs[(index + 1) % RING], arrived])
    began = process_time()
    refs[0].tell(Hop(n))
    await arrived
    spent = process_time() - began
    for ref in refs:
        await ref.stop()
    return spent


def hop_pykka(n: int) -> float:
    """The same around a ring of threads."""
    refs = [Pykkas.start() for _ in range(RING)]
    arrived: pykka.ThreadingFuture[None] = pykka.ThreadingFuture()
    for index, ref in enumerate(refs):
        ref.ask([refs[(index + 1) % RING], arrived])
    began = process_time()
    refs[0].tell(Hop(n))
    arrived.get()
    spent = process_time() - began
    for ref in refs:
        ref.stop()
    return spent


async def spawn_ours(system: ActorSystem, n: int) -> float:
    """Started and asked once."""
    began = process_time()
    refs = [system.start(Ours) for _ in range(n)]
    for ref in refs:
        await ref.ask(TICK)
    spent = process_time() - began
    stopped = [ref.stop() for ref in refs]
    for each in stopped:
        await each
    return spent


def spawn_pykka(n: int) -> float:
    """The same, with as many as threads allow."""
    n = min(n, 500)  # a ThreadingActor is a thread, and registers in a list
    began = process_time()
    refs = [Pykkas.start() for _ in range(n)]
    for ref in refs:
        ref.ask(TICK)
    spent = process_time() - began
    for ref in refs:
        ref.stop()
    return spent


OursMeasure = Callable[[ActorSystem, int], Awaitable[float]]
PykkaMeasure = Callable[[int], float]

OPERATIONS: Final[list[tuple[str, int, OursMeasure, PykkaMeasure | None]]] = [
    ("tell", 200_000, tell_ours, tell_pykka),
    ("ask", 50_000, ask_ours, ask_pykka),
    ("ask, queued", 50_000, ask_queued, None),
    ("ask, async handler", 20_000, ask_async, None),
    ("hop", 100_000, hop_ours, hop_pykka),
    ("spawn", 5_000, spawn_ours, spawn_pykka),
]
"""Name, how often ours does it in a round (Pykka: a tenth), and how."""


async def measure(repeat: int, scale: float) -> list[Row]:
    """Run every operation `repeat` times and keep the best."""
    rows = []
    async with actors.ActorSystem("bench") as system:
        for what, count, ours, threaded in OPERATIONS:
            n = max(WINDOW, int(count * scale))
            m = max(WINDOW, n // 10) if threaded is not spawn_pykka else min(n, 500)
            best_ours = best_pykka = float("inf")
            for _ in range(repeat):
                gc.collect()
                best_ours = min(best_ours, await ours(system, n) / n)
                if threaded is not None:
                    best_pykka = min(best_pykka, threaded(m) / m)
            pykka_us = best_pykka * 1e6 if threaded is not None else None
            ratio = best_ours / best_pykka if threaded is not None else None
            rows.append(Row(what, "us", best_ours * 1e6, pykka_us, ratio, BARS.get(what)))
    return rows


# --- memory --------------------------------------------------------------------------------------


def resident_kib() -> float:
    """What the process holds in memory, in KiB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGESIZE") / 1024


def memory_of_ours(n: int) -> float:
    """KiB an actor that has handled a message and is idle, its ref and mailbox included."""

    async def grow() -> float:
        async with actors.ActorSystem() as system:
            await system.start(Ours).ask(TICK)
            gc.collect()
            before = resident_kib()
            refs = [system.start(Ours) for _ in range(n)]
            for ref in refs:
                await ref.ask(TICK)
            gc.collect()
            return (resident_kib() - before) / n

    return trio.run(grow)


def memory_of_pykka(n: int) -> float:
    """KiB a ThreadingActor that has handled a message and is idle."""
    Pykkas.start().ask(TICK)
    gc.collect()
    before = resident_kib()
    refs = [Pykkas.start() for _ in range(n)]
    for ref in refs:
        ref.ask(TICK)
    gc.collect()
    grown = (resident_kib() - before) / n
    pykka.ActorRegistry.stop_all()
    return grown


def memory() -> Row:
    """Measure both, each in a process that has done nothing else."""
    figures = [
        float(
            subprocess.run(
                [sys.executable, __file__, "--memory-of", whose],
                capture_output=True,
                text=True,
                check=True,
            ).stdout
        )
        for whose in ("ours", "pykka")
    ]
    ours, threaded = figures
    return Row("memory an idle actor", "KiB", ours, threaded, ours / threaded, None)


# --- telling it ----------------------------------------------------------------------------------


def table(report: Report) -> str:
    """The report for people."""
    lines = [
        f"python {report.python}, trio {report.trio}, pykka {report.pykka}, {report.cpu}",
        f"best of {report.repeat}, CPU time of the process",
        "",
        f"{'':22}{'ours':>10}{'Pykka':>10}{'':>5}{'ratio':>8}{'bar':>8}",
    ]
    for row in report.rows:
        theirs = "" if row.pykka is None else f"{row.pykka:.2f}"
        ratio = "" if row.ratio is None else f"{row.ratio:.3f}"
        bar = "" if row.bar is None else f"{row.bar:.2f}"
        lines.append(f"{row.what:22}{row.ours:>10.2f}{theirs:>10}{row.unit:>5}{ratio:>8}{bar:>8}")
    return "\n".join(lines)


def missed(report: Report) -> list[str]:
    """What costs more than its bar allows."""
    late = [row.what for row in report.rows if row.bar and row.ratio and row.ratio > row.bar]
    heavy = [row.what for row in report.rows if row.unit == "KiB" and row.ours > MEMORY_BAR_KIB]
    return late + heavy


def cpu_model() -> str:
    """What the CPU calls itself."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def main() -> int:
    """The command line. Exit status 1: a bar was missed."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.actors",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--repeat", type=int, default=5, help="rounds; the best counts (5)")
    parser.add_argument("--scale", type=float, default=1.0, help="share of the usual work (1.0)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there as well")
    parser.add_argument("--memory-of", choices=("ours", "pykka"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.memory_of == "ours":
        print(memory_of_ours(20_000))
        return 0
    if options.memory_of == "pykka":
        print(memory_of_pykka(500))
        return 0
    rows = trio.run(measure, options.repeat, options.scale)
    report = Report(
        python=platform.python_version(),
        trio=version("trio"),
        pykka=version("pykka"),
        cpu=cpu_model(),
        repeat=options.repeat,
        scale=options.scale,
        rows=[*rows, memory()],
    )
    print(table(report))
    if options.json is not None:
        options.json.write_bytes(msgspec.json.format(msgspec.json.encode(report)))
    over = missed(report)
    if over:
        print(f"\nover the bar: {', '.join(over)}")
    return 1 if over else 0


if __name__ == "__main__":
    sys.exit(main())
