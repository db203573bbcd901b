"""What an actor costs, beside a Pykka ThreadingActor in the same run.

    python -m bench.actors
    python -m bench.actors --scale 0.1 --json actors.json

Figures are CPU time of the whole process, of both threads where there are two. Unlike wall time, it
does not depend on what else the machine does. Each figure is the best of `--repeat` rounds, in
which ours and Pykka take turns. Memory is how much a fresh process grows for each actor. Of a
thread's stack it counts only the part that was used.
"""

from __future__ import annotations

import argparse
import gc
import math
import os
import platform
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Final

import msgspec
import pykka
import trio

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent.parent))

import actors
from bench import machine
from bench.actor_operations import KNOCK, OPERATIONS, WINDOW, Ours, Pykkas, spawn_pykka

BARS: Final = {"tell": 0.25, "ask": 0.25}
"""The most that an operation of ours may cost, as a share of its cost with a ThreadingActor."""
MEMORY_BAR_KIB: Final = 6.0
"""The most memory that an idle actor of ours may take."""


class OperationRow(msgspec.Struct, frozen=True):
    """One line of the table: the cost of an operation, and its ratio to Pykka's."""

    what: str
    unit: str
    ours: float
    pykka: float | None
    ratio: float | None
    bar: float | None


class ActorsReport(msgspec.Struct, frozen=True):
    """What `--json` writes."""

    python: str
    trio: str
    pykka: str
    cpu: str
    repeat: int
    scale: float
    rows: list[OperationRow]


async def measure(repeat: int, scale: float) -> list[OperationRow]:
    """Run every operation `repeat` times and keep the best."""
    rows = []
    async with actors.ActorSystem("bench", default_timeout_s=math.inf) as system:
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
            rows.append(OperationRow(what, "us", best_ours * 1e6, pykka_us, ratio, BARS.get(what)))
    return rows


# --- memory --------------------------------------------------------------------------------------


def resident_kib() -> float:
    """Return the resident memory of this process, in KiB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGESIZE") / 1024


def memory_of_ours(n: int) -> float:
    """Return KiB for an idle actor that has handled a message, its ref and mailbox included."""

    async def grow() -> float:
        async with actors.ActorSystem(default_timeout_s=math.inf) as system:
            await system.start(Ours).ask(KNOCK)
            gc.collect()
            before = resident_kib()
            refs = [system.start(Ours) for _ in range(n)]
            for ref in refs:
                await ref.ask(KNOCK)
            gc.collect()
            return (resident_kib() - before) / n

    return trio.run(grow)


def memory_of_pykka(n: int) -> float:
    """Return KiB for an idle ThreadingActor that has handled a message."""
    Pykkas.start().ask(KNOCK)
    gc.collect()
    before = resident_kib()
    refs = [Pykkas.start() for _ in range(n)]
    for ref in refs:
        ref.ask(KNOCK)
    gc.collect()
    grown = (resident_kib() - before) / n
    pykka.ActorRegistry.stop_all()
    return grown


def memory() -> OperationRow:
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
    return OperationRow("memory an idle actor", "KiB", ours, threaded, ours / threaded, None)


# --- the report ----------------------------------------------------------------------------------


def table(report: ActorsReport) -> str:
    """Return the report as text."""
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


def missed(report: ActorsReport) -> list[str]:
    """Return the names of the lines that cost more than their bar allows."""
    late = [row.what for row in report.rows if row.bar and row.ratio and row.ratio > row.bar]
    heavy = [row.what for row in report.rows if row.unit == "KiB" and row.ours > MEMORY_BAR_KIB]
    return late + heavy


def main() -> int:
    """Run the command line; exit status 1 says that something costs more than its bar allows."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.actors",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--repeat", type=int, default=5, help="rounds, of which the best counts (5)"
    )
    parser.add_argument(
        "--scale", type=float, default=1.0, help="share of the usual number of operations (1.0)"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there as JSON")
    parser.add_argument("--memory-of", choices=("ours", "pykka"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.memory_of == "ours":
        print(memory_of_ours(20_000))
        return 0
    if options.memory_of == "pykka":
        print(memory_of_pykka(500))
        return 0
    rows = trio.run(measure, options.repeat, options.scale)
    report = ActorsReport(
        python=platform.python_version(),
        trio=version("trio"),
        pykka=version("pykka"),
        cpu=machine.cpu(),
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
