"""Two nodes on one Valkey: what a message between them costs, and how long it takes.

    python -m bench.cluster
    python -m bench.cluster --seconds 5 --json cluster.json

One process sends and another one receives. The CPU of a message is that of both processes with all
their threads, and of Valkey. It does not depend on who else is on the machine, as latencies do: for
those take a machine that has nothing else to do, or --realtime.
"""

from __future__ import annotations

import argparse
import math
import os
import secrets
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import msgspec
import trio

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent.parent))

import actors
from actors.cluster.cluster import Cluster
from actors.cluster.fixed import FixedPlace
from bench import machine
from bench.child import ROOT, check_realtime, make_realtime
from bench.folder import temporary_data
from bench.histogram import LatencyHistogram
from persistence import RedisSettings
from persistence.embedded import EmbeddedServers
from persistence.redis.lines import open_line
from persistence.settings import BusSettings

ABREAST: Final = 100
"""So many are asked at once, and so many bytes a message has."""
MOST_WAITING: Final = 4_000_000
"""A sender that bunches waits while more bytes than this are under way."""
VALKEY: Final = "Valkey"


class Note(msgspec.Struct, frozen=True, gc=False):
    """A message of about a hundred bytes. `at_us`: when it was sent, on the machine's clock."""

    at_us: int
    body: str


class EchoRequest(msgspec.Struct, frozen=True, gc=False):
    """Answered with the body."""

    body: str


class Collect(msgspec.Struct, frozen=True, gc=False):
    """Answered with how many notes have come since the last time, and how long they took."""


class Collected(msgspec.Struct, frozen=True):
    """What a sink has taken: how many notes, and how long they were on their way."""

    count: int
    took_us: dict[int, int]


class Sink(actors.Actor):
    """Takes notes."""

    mailbox = actors.MailboxSpec(capacity=1_000_000)

    def __init__(self, _key: str) -> None:
        super().__init__()
        self._took = LatencyHistogram()

    @actors.handles(Note)
    def note(self, message: Note) -> None:
        self._took.record(time.monotonic_ns() // 1000 - message.at_us)

    @actors.handles(EchoRequest)
    def ping(self, message: EchoRequest) -> str:
        return message.body

    @actors.handles(Collect)
    def collect(self, message: Collect) -> Collected:  # noqa: ARG002 -- it is a question
        took, self._took = self._took, LatencyHistogram()
        return Collected(took.total, took.sparse())


class ClusterRow(msgspec.Struct, frozen=True):
    """One line of the table. `sender_us` and so on: CPU of one message."""

    what: str
    per_s: float
    p50_ms: float
    p99_ms: float
    sender_us: float
    receiver_us: float
    valkey_us: float

    @property
    def a_core_s(self) -> float:
        """How many messages a second one core carries, if it does all that the two nodes do."""
        return 1e6 / (self.sender_us + self.receiver_us)


@asynccontextmanager
async def node(
    redis: RedisSettings, me: str, nodes: list[str]
) -> AsyncIterator[tuple[actors.ActorSystem, Cluster]]:
    """A node and its part of the cluster; all actors are on the second one."""
    cluster = Cluster(FixedPlace(me, nodes, nodes[1:]), redis, BusSettings())
    async with actors.ActorSystem(me, cluster=cluster, default_timeout_s=60.0) as system:
        system.register(actors.Kind("sink", Sink, placement="hashed"))
        system.register(actors.Kind("near", Sink))
        yield system, cluster


async def receive(redis: RedisSettings, me: str, nodes: list[str]) -> None:
    """The other process: until its standard input ends."""
    async with node(redis, me, nodes):
        await trio.to_thread.run_sync(sys.stdin.read)


# --- what is measured ----------------------------------------------------------------------------


class WayMeter:
    """Measures one way of sending after the other.

    Arguments:
        seconds: how long each takes.
        ref: the actor in the other process.
        waiting: how many bytes are under way to it.
        receiver, valkey: the ids of the other processes.
    """

    def __init__(
        self,
        seconds: float,
        ref: actors.ActorRef,
        waiting: Callable[[], int],
        *,
        receiver: int,
        valkey: int,
    ) -> None:
        self.ref = ref
        self.waiting = waiting
        self._seconds = seconds
        self._receiver = receiver
        self._valkey = valkey

    async def measure(
        self, what: str, send: Callable[[float], Awaitable[LatencyHistogram | None]]
    ) -> ClusterRow:
        """Have `send` send until the time that it is given, and look at what came of it."""
        await self.ref.ask(Collect())
        before = self._used()
        begun = time.monotonic()
        took = await send(begun + self._seconds)
        collected = await self.ref.ask(Collect())
        elapsed = time.monotonic() - begun
        used = [now - then for now, then in zip(self._used(), before, strict=True)]
        took = took or LatencyHistogram(collected.took_us)
        each = [seconds / took.total * 1e6 for seconds in used]
        latencies = took.percentiles_ms()
        return ClusterRow(what, took.total / elapsed, latencies["p50"], latencies["p99"], *each)

    def _used(self) -> tuple[float, float, float]:
        return time.process_time(), machine.cpu_s(self._receiver), machine.cpu_s(self._valkey)

    def pinged(self, redis: RedisSettings, until: float) -> LatencyHistogram:
        """What the store takes to do nothing, beside which a hop is to be seen."""
        took, connection = LatencyHistogram(), open_line(redis)
        while time.monotonic() < until:
            begun = time.perf_counter_ns()
            connection.execute(("PING",))
            took.record((time.perf_counter_ns() - begun) // 1000)
        connection.close()
        return took

    async def paced(self, per_s: float, until: float) -> None:
        """So many a second, one by one as they are due."""
        tell, begun, sent = self.ref.tell, time.monotonic(), 0
        while (now := time.monotonic()) < until:
            while sent < (now - begun) * per_s:
                tell(Note(time.monotonic_ns() // 1000, BODY))
                sent += 1
            await trio.sleep(0.0003)

    async def bunched(self, bunch: int, until: float) -> None:
        """As many as go, so many between two passes of the loop."""
        tell = self.ref.tell
        while time.monotonic() < until:
            for _ in range(bunch):
                tell(Note(time.monotonic_ns() // 1000, BODY))
            await trio.lowlevel.checkpoint()
            while self.waiting() > MOST_WAITING:
                await trio.sleep(0.001)

    async def singly(self, until: float) -> None:
        """The next one once the last one has left: one in an entry."""
        while time.monotonic() < until:
            self.ref.tell(Note(time.monotonic_ns() // 1000, BODY))
            while self.waiting():
                await trio.lowlevel.checkpoint()

    async def asked(self, abreast: int, until: float) -> LatencyHistogram:
        """Questions, so many under way at a time."""
        took = LatencyHistogram()
        while time.monotonic() < until:
            begun = time.perf_counter_ns()
            for answer in [self.ref.ask(EchoRequest(BODY)) for _ in range(abreast)]:
                await answer
                took.record((time.perf_counter_ns() - begun) // 1000)
        return took


BODY: Final = "x" * 85


async def figures(seconds: float, servers: EmbeddedServers) -> list[ClusterRow]:
    """Start the other process, and measure."""
    redis = RedisSettings(url=servers.redis_url)
    run = secrets.token_hex(4)
    nodes = [f"{run}a.1", f"{run}b.1"]
    command = [sys.executable, "-m", "bench.cluster", "--receive", nodes[1], "--nodes", *nodes]
    child = subprocess.Popen(
        [*command, "--redis", servers.redis_url], cwd=ROOT, stdin=subprocess.PIPE
    )
    try:
        async with node(redis, nodes[0], nodes) as (system, cluster):
            ref = system.ref("sink", "1")
            await ref.ask(Collect())
            lane = cluster.bus.lane(nodes[1])
            valkey = servers.pids[VALKEY]
            meter = WayMeter(
                seconds, ref, lambda: lane.waiting_bytes, receiver=child.pid, valkey=valkey
            )

            async def ping(until: float) -> LatencyHistogram:
                return await trio.to_thread.run_sync(meter.pinged, redis, until)

            return [
                await meter.measure("PING of Valkey", ping),
                await meter.measure("100/s", lambda until: meter.paced(100, until)),
                await meter.measure("10,000/s", lambda until: meter.paced(10_000, until)),
                await meter.measure("one an entry", meter.singly),
                await meter.measure("bunches of 100", lambda until: meter.bunched(100, until)),
                await meter.measure("bunches of 1000", lambda until: meter.bunched(1000, until)),
                await meter.measure("ask, one", lambda until: meter.asked(1, until)),
                await meter.measure("ask, 100", lambda until: meter.asked(ABREAST, until)),
            ]
    finally:
        assert child.stdin is not None
        child.stdin.close()
        child.wait(timeout=30)


def table(rows: list[ClusterRow]) -> str:
    """The report for people."""
    lines = [
        f"{'CPU us of one message':>64}",
        f"{'':18}{'per s':>10}{'p50 ms':>9}{'p99 ms':>9}{'sender':>9}{'receiver':>9}{'Valkey':>9}"
        f"{'a core, per s':>15}",
    ]
    lines += [
        f"{row.what:18}{row.per_s:10,.0f}{row.p50_ms:9.3f}{row.p99_ms:9.3f}{row.sender_us:9.2f}"
        f"{row.receiver_us:9.2f}{row.valkey_us:9.2f}{row.a_core_s:15,.0f}"
        for row in rows
    ]
    return "\n".join(lines)


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.cluster",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--seconds", type=float, default=3.0, help="how long each figure takes (3)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there as well")
    parser.add_argument(
        "--realtime", action="store_true", help="let no ordinary program take the cores"
    )
    parser.add_argument("--receive", help=argparse.SUPPRESS)
    parser.add_argument("--nodes", nargs="+", help=argparse.SUPPRESS)
    parser.add_argument("--redis", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.receive:
        trio.run(receive, RedisSettings(url=options.redis), options.receive, options.nodes)
        return 0
    if not 0 < options.seconds < math.inf:
        parser.error("--seconds is above 0")
    if options.realtime:
        check_realtime()
        make_realtime(os.getpid())  # and all that is started from here
    with temporary_data() as folder, EmbeddedServers(folder / "data") as servers:
        rows = trio.run(figures, options.seconds, servers)
    print(table(rows))
    if options.json is not None:
        options.json.write_bytes(msgspec.json.format(msgspec.json.encode(rows)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
