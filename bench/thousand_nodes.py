"""A thousand nodes: what moves when one joins or dies, how even slots are, what heartbeats cost.

    python -m bench.thousand_nodes
    python -m bench.thousand_nodes --nodes 100 --lease 2 --json nodes.json

Membership and placement are the real rules (actors/cluster/rules), without the nodes. Heartbeats
and reports are sent to a Valkey and a PostgreSQL that this starts, one after the other, with a
register of so many nodes; the CPU of each, times how many a second there are, is what the cluster
costs them.
"""

from __future__ import annotations

import argparse
import random
import statistics
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import msgspec

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent.parent))

from actors.cluster.rules.answers import Beaten
from actors.cluster.rules.lease import Timing
from actors.cluster.rules.member import Member
from actors.cluster.rules.rendezvous import Rendezvous
from actors.cluster.rules.slots import SLOTS, slots_of_pool
from actors.cluster.rules.view import Descriptor, Node, View
from bench import machine
from bench.folder import temporary_data
from persistence import PostgresSettings, RedisSettings
from persistence.embedded import EmbeddedServers
from persistence.nodes import AdmitNode, BeginGeneration, Heartbeat, ReportNode
from persistence.postgres import migrate
from persistence.postgres.nodes import RegisterWorker
from persistence.redis.nodes import NodeWorker

ASKED: Final = 3000
"""So many heartbeats, and so many reports, are sent to be measured."""
DIE: Final = 20
"""So many nodes die at the same moment."""


class NodesRow(msgspec.Struct, frozen=True):
    """A figure: of what, how much, in which unit."""

    what: str
    value: float
    unit: str


def main() -> None:
    """Measure, print, and write what is asked for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--nodes", type=int, default=1000, help="how many; default 1000")
    parser.add_argument("--lease", type=float, default=4.0, help="seconds; default 4, at least 1.5")
    parser.add_argument("--seed", type=int, default=1, help="of which nodes die; default 1")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    options = parser.parse_args()
    if options.nodes < 2:
        parser.error("--nodes is at least 2")
    if options.lease < 1.5:
        parser.error("--lease is at least 1.5")
    timing = Timing(options.lease)
    rows = [
        *placement(options.nodes),
        *membership(options.nodes, random.Random(options.seed), timing),
        *traffic(options.nodes, timing),
    ]
    for row in rows:
        sys.stdout.write(f"{row.what:<68}{row.value:>12,.2f} {row.unit}\n")
    if options.json is not None:
        options.json.write_bytes(msgspec.json.encode(rows))


# --- placement ------------------------------------------------------------------------------------


def placement(count: int) -> list[NodesRow]:
    """How even the slots are by weight, and what moves; every fifth node has double weight."""
    weights = {f"n{n}": 2.0 if n % 5 == 0 else 1.0 for n in range(count)}
    desired = Rendezvous(slots_of_pool(0))
    rows = [
        NodesRow("CPU of the first placement, on each node", _ms(desired.update, weights), "ms")
    ]
    fair = SLOTS / sum(weights.values())
    held = Counter(map(desired.desired, slots_of_pool(0)))
    shares = [held[name] / (fair * weight) for name, weight in weights.items()]
    rows += [
        NodesRow("slots of a node of weight 1, were they even", fair, "slots"),
        NodesRow("the least, of what its weight gives it", min(shares) * 100, "%"),
        NodesRow("the most", max(shares) * 100, "%"),
        NodesRow("standard deviation", statistics.pstdev(shares) * 100, "%"),
    ]
    moved: set[int] = set()

    def change(nodes: dict[str, float]) -> None:
        moved.clear()
        moved.update(desired.update(nodes))

    before = list(map(desired.desired, slots_of_pool(0)))
    cpu_ms = _ms(change, weights | {"new": 1.0})
    after = list(map(desired.desired, slots_of_pool(0)))
    others = sum(now not in (was, "new") for was, now in zip(before, after, strict=True))
    rows += [
        NodesRow("a node joins: slots that move", len(moved), "slots"),
        NodesRow("of these, between other nodes", others, "slots"),
        NodesRow("CPU of it, on each node", cpu_ms, "ms"),
    ]
    cpu_ms = _ms(change, weights)
    rows += [
        NodesRow("it dies: slots that move", len(moved), "slots"),
        NodesRow("nodes that get them", len({desired.desired(slot) for slot in moved}), "nodes"),
        NodesRow("CPU of it, on each node", cpu_ms, "ms"),
    ]
    back = list(map(desired.desired, slots_of_pool(0)))
    rows.append(
        NodesRow(
            "slots that are elsewhere than before it came",
            sum(was != now for was, now in zip(before, back, strict=True)),
            "slots",
        )
    )
    return rows


# --- membership -----------------------------------------------------------------------------------


def membership(count: int, rng: random.Random, timing: Timing) -> list[NodesRow]:
    """What a member computes, and how many heartbeats it takes to bury many who die together."""
    nodes = {
        f"n{n}.{n}": Node(id=f"n{n}.{n}", descriptor=Descriptor(name=f"n{n}"), generation=1)
        for n in range(1, count + 1)
    }
    view = View(1, nodes, count)
    me = f"n{count // 2}.{count // 2}"
    member = Member(me, timing, 0.0, 1)
    member.beaten(0.0, 0.0, Beaten(1))
    rows = [NodesRow("CPU of the first view, on each node", _ms(member.viewed, 0.0, view), "ms")]
    rows.append(NodesRow("CPU of whom to watch, at each heartbeat", _ms(member.watched), "ms"))
    dead = set(rng.sample([node for node in nodes if node != me], min(DIE, count - 1)))
    left, rounds = dict(nodes), 0
    while dead & left.keys():
        watched: set[str] = set()
        present = View(2 + rounds, left, count)
        for node in left:
            if node not in dead:
                watched.update(present.watched_by(node))
        for node in dead & watched:
            left.pop(node, None)
        rounds += 1
    rows.append(NodesRow(f"{len(dead)} die at once: heartbeats until all are buried", rounds, ""))
    gone = View(9, left, count)
    rows.append(NodesRow("CPU of that view, on each node", _ms(member.viewed, 0.1, gone), "ms"))
    return rows


# --- traffic --------------------------------------------------------------------------------------


def traffic(count: int, timing: Timing) -> list[NodesRow]:
    """What heartbeats and reports cost the stores."""
    with (
        temporary_data() as folder,
        EmbeddedServers(folder) as servers,
    ):
        redis = RedisSettings(url=servers.redis_url)
        postgres = PostgresSettings(url=servers.postgres_url)
        migrate(postgres)
        valkey = NodeWorker.start(redis, timeout_s=60.0)
        register = RegisterWorker.start(postgres)
        try:
            beat_us = _valkey_us(valkey, servers.pids["Valkey"], count, timing)
            report_us, reports_per_s = _register_us(register, servers.pids["PostgreSQL"], count)
        finally:
            valkey.stop()
            register.stop()
    beats_per_s, node_reports_per_s = count / timing.beat_s, count / timing.report_s
    return [
        NodesRow("heartbeats of all nodes", beats_per_s, "a second"),
        NodesRow("CPU of Valkey for one", beat_us, "us"),
        NodesRow("of a core of Valkey, for all", beats_per_s * beat_us / 1e4, "%"),
        NodesRow("reports of all nodes", node_reports_per_s, "a second"),
        NodesRow("CPU of PostgreSQL for one", report_us, "us"),
        NodesRow("of a core of PostgreSQL, for all", node_reports_per_s * report_us / 1e4, "%"),
        NodesRow(
            "reports that one connection carries, one after the other", reports_per_s, "a second"
        ),
    ]


def _valkey_us(valkey: Any, pid: int, count: int, timing: Timing) -> float:
    valkey.ask(BeginGeneration(1, "c"))
    lease_ms, gap_ms = round(timing.lease_s * 1000), round(timing.gap_s * 1000)

    def beats(number: int) -> None:
        for n in range(number):
            node, behind = n % count, [f"n{(n + more) % count}.1" for more in (1, 2, 3)]
            valkey.ask(Heartbeat(f"n{node}.1", lease_ms, gap_ms, 1 << 32, behind, "c"))

    beats(max(count, 100))
    before_s = machine.cpu_s(pid)
    beats(ASKED)
    return (machine.cpu_s(pid) - before_s) / ASKED * 1e6


def _register_us(register: Any, pid: int, count: int) -> tuple[float, float]:
    for n in range(count):
        register.ask(AdmitNode(f"n{n}", 1, b"{}", "{}"))
    before_s, began = machine.cpu_s(pid), time.perf_counter()
    for n in range(ASKED):
        node = n % count
        register.ask(ReportNode(f"n{node}.{node + 1}", 1, 0.1, False, 2.0, True))
    took_s = time.perf_counter() - began
    return (machine.cpu_s(pid) - before_s) / ASKED * 1e6, ASKED / took_s


def _ms(function: Callable[..., Any], *arguments: Any) -> float:
    began = time.process_time()
    function(*arguments)
    return (time.process_time() - began) * 1000


if __name__ == "__main__":
    main()
