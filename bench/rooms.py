"""Fan-out: messages to rooms of N members at a rate, and what a delivery costs the server.

    python -m bench.rooms                       20,000 deliveries/s to rooms of 100
    python -m bench.rooms --rate 80000          where a plain trio-websocket broadcaster gives up

Starts the server as shipped (acks after commit, history in PostgreSQL) as a child on the loopback,
and then, under the same load, a plain trio-websocket broadcaster, which stores nothing. One after
the other, each pinned to one core; the load comes from processes of its own. Open loop: a latency
counts from the time the schedule gives, see bench/load.py.
"""

from __future__ import annotations

import argparse
import math
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import msgspec

from bench.child import ROOT, ChildServer
from bench.load import Load, Result

PERCENTILES = (50.0, 90.0, 99.0, 99.9, 100.0)
LATENCIES = ("p50", "p90", "p99", "p99.9", "max")
COLUMNS = {
    "deliveries/s": 14, "p50 ms": 10, "p90": 10, "p99": 10, "p99.9": 10, "max": 10,
    "CPU us each": 13, "in kernel": 11, "CPU %": 7, "RSS MiB": 9, "lost": 9,
}  # fmt: skip
"""Head -> width."""
SETTLE_S = 0.5
SATURATED = 0.98  # of the intended deliveries a second; below it the latencies say little


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """The figures of one server under the load. Latencies in milliseconds."""

    server: str
    deliveries: int
    lost: int
    deliveries_s: float
    latency_ms: dict[str, float]
    ack_ms: dict[str, float]
    cpu_us_a_delivery: float
    kernel_us_a_delivery: float
    """The part of it that is system calls, mostly send()."""
    cpu_percent: float
    rss_mib: float
    generator_cpu_percent: float
    saturated: bool
    errors: dict[str, int]


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.rooms",
        description=(__doc__ or "").partition("\n\n    ")[0],
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )

    def bounded(kind: type, low: float, high: float) -> Callable[[str], float]:
        def parse(text: str) -> float:
            value = kind(text)
            if not low <= value <= high:
                raise argparse.ArgumentTypeError(f"must be from {low:,} to {high:,}")
            return float(value) if kind is float else value

        parse.__name__ = kind.__name__
        return parse

    add = parser.add_argument
    add("--rate", type=bounded(int, 1, 1_000_000), default=20_000, help="deliveries a second")
    add("--members", type=bounded(int, 1, 5_000), default=100, help="members of a room")
    add("--rooms", type=bounded(int, 1, 1_000), default=4, help="rooms")
    add("--body", type=bounded(int, 24, 60_000), default=100, help="bytes of a message's text")
    add("--seconds", type=bounded(float, 1, 600), default=10.0, help="measured seconds")
    add("--warmup", type=bounded(float, 0, 60), default=2.0, help="seconds before that")
    add("--generators", type=bounded(int, 1, 16), default=1, help="processes that make the load")
    add("--core", type=int, default=0, help="core the servers are pinned to; -1: not pinned")
    add("--no-baseline", action="store_true", help="leave the trio-websocket broadcaster out")
    add("--json", type=Path, metavar="FILE", help="write the JSON there instead of printing it")
    return parser.parse_args()


def percentiles(counts: Counter[int]) -> dict[str, float]:
    """Return the percentiles of a histogram of microseconds, in milliseconds."""
    total, seen, found = counts.total(), 0, {}
    wanted = list(PERCENTILES)
    for value, count in sorted(counts.items()):
        seen += count
        while wanted and seen >= total * wanted[0] / 100:
            found["max" if wanted[0] == 100 else f"p{wanted[0]:g}"] = value / 1000
            wanted.pop(0)
    return found


class Generator:
    """One process of the load, spoken to in lines of JSON."""

    def __init__(self, load: Load, cores: set[int]) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "bench.load"],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        os.sched_setaffinity(self.process.pid, cores)
        self.say(msgspec.json.encode(load).decode())

    def say(self, line: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    def hear(self) -> bytes:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"the load generator ended with code {self.process.wait()}")
        return line.encode()

    def result(self, progress: Callable[[int], None]) -> Result:
        while True:
            line = self.hear()
            if not line.startswith(b'{"delivered"'):
                return msgspec.json.decode(line, type=Result)
            progress(msgspec.json.decode(line)["delivered"])

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                pipe.close()


def loads(options: argparse.Namespace, url: str, *, greenroom: bool) -> list[Load]:
    """Deal the rooms out to the generators; a room is one generator's."""
    rooms = [f"bench-{number}" for number in range(options.rooms)]
    shares = [rooms[n :: options.generators] for n in range(min(options.generators, len(rooms)))]
    messages_s = options.rate / options.members
    return [
        Load(
            url=url,
            greenroom=greenroom,
            rooms=share,
            members=options.members,
            messages_s=messages_s * len(share) / len(rooms),
            body_bytes=options.body,
            warmup_s=options.warmup,
            measured_s=options.seconds,
        )
        for share in shares
    ]


def measure(name: str, command: list[str], options: argparse.Namespace, *, greenroom: bool) -> Row:
    """Start a server, load it, and return its figures."""
    core = options.core if options.core in os.sched_getaffinity(0) else None
    others = os.sched_getaffinity(0) - {core} or os.sched_getaffinity(0)
    progress(f"{name}: starting")
    with ChildServer(command, core=core) as server:
        began = time.monotonic()
        generators = [
            Generator(load, others) for load in loads(options, server.url, greenroom=greenroom)
        ]
        try:
            for generator in generators:
                generator.hear()
            joined = options.members * options.rooms
            progress(f"{name}: {joined} members joined in {time.monotonic() - began:.1f} s")
            start_ns = time.monotonic_ns() + round(SETTLE_S * 1e9)
            for generator in generators:
                generator.say(str(start_ns))
            time.sleep(SETTLE_S + options.warmup)
            before = server.usage()
            time.sleep(options.seconds)
            after = server.usage()
            results = [
                generator.result(lambda count: progress(f"{name}: {count:,} delivered"))
                for generator in generators
            ]
        finally:
            for generator in generators:
                generator.close()
    delivered = sum(result.delivered for result in results)
    in_window = sum(result.in_window for result in results)
    busy_s = after.cpu_s - before.cpu_s

    def per_delivery(seconds: float) -> float:
        return seconds / in_window * 1e6 if in_window else math.nan

    latencies, acks, errors = Counter[int](), Counter[int](), Counter[str]()
    for result in results:
        latencies.update(result.latencies_us)
        acks.update(result.acks_us)
        errors.update(result.errors)
    return Row(
        server=name,
        deliveries=delivered,
        lost=sum(result.sent for result in results) * options.members - delivered,
        deliveries_s=in_window / options.seconds,
        latency_ms=percentiles(latencies),
        ack_ms=percentiles(acks),
        cpu_us_a_delivery=per_delivery(busy_s),
        kernel_us_a_delivery=per_delivery(after.kernel_s - before.kernel_s),
        cpu_percent=busy_s / options.seconds * 100,
        rss_mib=after.rss_bytes / 2**20,
        generator_cpu_percent=max(result.cpu_s for result in results)
        / (options.warmup + options.seconds)
        * 100,
        saturated=in_window / options.seconds < SATURATED * options.rate,
        errors=dict(errors),
    )


def progress(text: str) -> None:
    """Tell whoever waits, beside the table."""
    sys.stderr.write(text + "\n")


def table(rows: list[Row]) -> str:
    """Return the rows for people, and under them what the first costs in parts of the last."""
    lines = [f"{'':<27}" + "".join(f"{head:>{width}}" for head, width in COLUMNS.items())]
    for row in rows:
        figures = (
            f"{row.deliveries_s:,.0f}",
            *(f"{row.latency_ms.get(key, math.nan):.2f}" for key in LATENCIES),
            f"{row.cpu_us_a_delivery:.2f}",
            f"{row.kernel_us_a_delivery:.2f}",
            f"{row.cpu_percent:.0f}",
            f"{row.rss_mib:.0f}",
            f"{row.lost:,}",
        )
        padded = zip(figures, COLUMNS.values(), strict=True)
        lines.append(f"{row.server:<27}" + "".join(f"{text:>{width}}" for text, width in padded))
    for row in rows:
        if row.ack_ms:
            acks = ", ".join(f"{key} {value:.2f}" for key, value in row.ack_ms.items())
            lines.append(f"{row.server}: ms until the ack, which says durable: {acks}")
        if row.saturated:
            lines.append(f"{row.server}: saturated, its latencies are those of a growing queue")
        if row.errors:
            lines.append(f"{row.server}: errors {row.errors}")
        if row.generator_cpu_percent > 85:
            lines.append(f"{row.server}: the load generator was busy too; use --generators 2")
    if len(rows) == 2:
        ratio = rows[1].cpu_us_a_delivery / rows[0].cpu_us_a_delivery
        lines.append(f"CPU a delivery: {rows[1].server} takes {ratio:.1f} times {rows[0].server}'s")
    return "\n".join(lines)


def main() -> None:
    """Measure, print, write."""
    options = arguments()
    progress(
        f"{options.rooms} rooms of {options.members},"
        f" {options.rate / options.members:,.0f} messages/s,"
        f" {options.rate:,} deliveries/s, bodies of {options.body} bytes, {options.seconds:g} s"
    )
    with tempfile.TemporaryDirectory(prefix="greenroom-bench-") as folder:
        serve = ["server.py", "serve"]
        for value in (
            f"server.data_dir={folder}",
            "listen.port=0",
            "http.port=0",
            "server.drain_s=0",
        ):
            serve += ["--set", value]
        rows = [measure("greenroom", serve, options, greenroom=True)]
    if not options.no_baseline:
        rows.append(
            measure(
                "trio-websocket broadcaster",
                ["-m", "bench.peers.trio_websocket"],
                options,
                greenroom=False,
            )
        )
    sys.stdout.write(table(rows) + "\n")
    report = msgspec.json.encode(
        {
            "load": {k: v for k, v in vars(options).items() if k != "json"},
            "cores": os.cpu_count(),
            "python": sys.version.split()[0],
            "rows": rows,
        }
    )
    if options.json:
        options.json.write_bytes(report + b"\n")
    else:
        sys.stdout.write(report.decode() + "\n")


if __name__ == "__main__":
    try:
        main()
    except RuntimeError as error:
        sys.exit(f"bench.rooms: {error}")
