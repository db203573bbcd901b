"""Calls a second of the HTTP API, on one core: `POST /v1/rpc/<op>` by a back end with a key.

    python -m bench.http                        as many as 32 connections bring through
    python -m bench.http --rate 1000            a thousand a second, latencies from the time due
    python -m bench.http --op ping --op storage.write

Each connection is kept open and has one call under way. Without --rate the next one follows the
answer, which shows the most that the server answers; its latencies are those of a server at its
limit. With --rate a call is due at its time, and its latency counts from there, whether or not a
connection was free. The server is pinned to a core, the load runs on the others.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent.parent))

from bench import machine
from bench.child import ROOT, ChildServer, check_realtime, make_realtime
from bench.folder import temporary_data
from bench.histogram import LatencyHistogram

OBJECT: Final = {"collection": "saves", "key": "1"}
BODIES: Final[Mapping[str, Any]] = {
    "ping": {},
    "storage.read": {"objects": [OBJECT]},
    "storage.write": {"objects": [{**OBJECT, "value": '{"level":7,"hp":100}'}]},
}
"""What each op is called with."""


class HttpRow(msgspec.Struct, frozen=True):
    """The figures of one op. Latencies in milliseconds; `cpu_us`: of the server, for one call."""

    op: str
    per_s: float
    p50_ms: float
    p99_ms: float
    cpu_us: float
    failed: int


class HttpReport(msgspec.Struct, frozen=True):
    """What was measured."""

    about: dict[str, str]
    connections: int
    rate: float
    seconds: float
    rows: list[HttpRow]

    def lines(self) -> list[str]:
        """Return the report for people."""
        how = f"{self.rate:g}/s" if self.rate else "as many as come through"
        head = f"{'op':16}{'calls/s':>10}{'p50 ms':>9}{'p99 ms':>9}{'CPU us':>9}{'failed':>9}"
        rows = [
            f"{row.op:16}{row.per_s:>10,.0f}{row.p50_ms:>9.2f}{row.p99_ms:>9.2f}"
            f"{row.cpu_us:>9.0f}{row.failed:>9}"
            for row in self.rows
        ]
        return [f"{self.connections} connections, {how}, {self.seconds:g} s each", head, *rows]


class OpCalls:
    """The calls of one op."""

    def __init__(self, port: int, key: str, op: str, *, rate: float) -> None:
        self.port = port
        self.rate = rate
        body = json.dumps(BODIES[op]).encode()
        self.request = (
            b"POST /v1/rpc/%s HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer %s\r\n"
            b"content-type: application/json\r\ncontent-length: %d\r\n\r\n%s"
            % (op.encode(), key.encode(), len(body), body)
        )
        self.latencies = LatencyHistogram()
        self.done = self.failed = 0
        self.due = 0
        self.start = self.end = 0.0

    async def run(self, connections: int, start: float, end: float) -> None:
        """Call from `start` to `end`, on the clock of time.monotonic."""
        self.start, self.end = start, end
        await asyncio.gather(*(self._connection() for _ in range(connections)))

    async def _connection(self) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            while (due := await self._next()) is not None:
                writer.write(self.request)
                head = await reader.readuntil(b"\r\n\r\n")
                length = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0])
                await reader.readexactly(length)
                if due >= self.start:
                    self.done += 1
                    self.failed += not head.startswith(b"HTTP/1.1 200")
                    self.latencies.record(round((time.monotonic() - due) * 1e6))
        finally:
            writer.close()

    async def _next(self) -> float | None:
        """Return when the next call is due, at that time; None: there are no more."""
        now = time.monotonic()
        if not self.rate:
            return None if now >= self.end else now
        due = self.start + self.due / self.rate
        self.due += 1
        if due >= self.end:
            return None
        if due > now:
            await asyncio.sleep(due - now)
        return due


def measured(server: ChildServer, load: OpCalls, op: str, options: argparse.Namespace) -> HttpRow:
    """Return the figures of one op."""
    warm = time.monotonic() + options.warmup
    end = warm + options.seconds

    async def run() -> tuple[float, float]:
        calls = asyncio.create_task(load.run(options.connections, warm, end))
        await asyncio.sleep(warm - time.monotonic())
        before = server.usage().cpu_s
        await asyncio.sleep(end - time.monotonic())
        after = server.usage().cpu_s
        await calls
        return before, after

    before, after = asyncio.run(run())
    return HttpRow(
        op=op,
        per_s=load.done / options.seconds,
        p50_ms=load.latencies.percentile(50) / 1e3,
        p99_ms=load.latencies.percentile(99) / 1e3,
        cpu_us=(after - before) * 1e6 / max(1, load.done),
        failed=load.failed,
    )


def free_port() -> int:
    """Return a port that nobody listens on just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def new_key(settings: Sequence[str]) -> str:
    """Return a key for everything, made beside the server that runs."""
    command = [sys.executable, "server.py", "key", "create", "bench", "--scope", "*"]
    done = subprocess.run(
        [*command, "--rate", "1000000", *settings],
        cwd=ROOT, capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    return done.stdout.strip()


def report(options: argparse.Namespace) -> HttpReport:
    """Start a server, measure each op, and return the report."""
    rows = []
    with temporary_data() as folder:
        port = free_port()
        settings = [
            part
            for one in (f"server.data_dir={folder}", "listen.port=0", "http.port=0",
                        f"api.port={port}", *options.set)
            for part in ("--set", one)
        ]  # fmt: skip
        cores = sorted(os.sched_getaffinity(0))
        core = cores[-1] if len(cores) > 1 else None
        with ChildServer(["server.py", "serve", *settings], core=core) as server:
            if core is not None:
                os.sched_setaffinity(0, set(cores) - {core})
            if options.realtime:
                make_realtime(server.process.pid)
                make_realtime(os.getpid())
            key = new_key(settings)
            for op in options.op or BODIES:
                load = OpCalls(port, key, op, rate=options.rate)
                rows.append(measured(server, load, op, options))
    return HttpReport(machine.about(), options.connections, options.rate, options.seconds, rows)


def main() -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.http",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--op", action="append", choices=list(BODIES), help="repeatable; all")
    parser.add_argument("--seconds", type=float, default=5.0, help="measured seconds of each (5)")
    parser.add_argument("--warmup", type=float, default=1.0, help="seconds before that (1)")
    parser.add_argument("--connections", type=int, default=32, help="connections (32)")
    parser.add_argument("--rate", type=float, default=0.0, help="calls a second; 0: the most (0)")
    parser.add_argument("--set", action="append", default=[], metavar="SECTION.KEY=VALUE")
    parser.add_argument(
        "--realtime", action="store_true", help="give server and load real-time priority (root)"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there as JSON")
    options = parser.parse_args()
    if min(options.seconds, options.warmup, options.connections) <= 0 or options.rate < 0:
        parser.error("times and connections are above 0, a rate is not below it")
    if options.realtime:
        check_realtime()
    found = report(options)
    print("\n".join(found.lines()))
    if options.json is not None:
        options.json.write_bytes(msgspec.json.format(msgspec.json.encode(found)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
