"""Several nodes beside one: what a delivery and an echo cost when clients are spread over nodes.

    python -m bench.nodes --realtime --repeat 3
    python -m bench.nodes --nodes 1 2 --rate 20000 --json nodes.json

Servers of 1, 2 and 4 nodes get the same load, in turns: members of rooms who take turns to speak,
then sessions that send pings. Members of a room are on all nodes, since the port spreads clients
evenly. All nodes are pinned to one core, so what counts is CPU and not the time that it takes. What
a server at rest uses, with the sessions joined, is the part that does not grow with the load.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent.parent))

from bench import echo, rooms, stage
from bench.child import ChildServer, check_realtime, make_realtime
from bench.report import aligned, number
from bench.result import Options, ServerResult, saturated
from bench.scenario import Plan, Scenario

REST_RATE: Final = 1.0
"""Deliveries a second of a server at rest."""
STORES: Final = ("Valkey", "PostgreSQL")


class NodeCosts(msgspec.Struct, frozen=True):
    """What a server of so many nodes used in one run. Per cent are those of one core."""

    nodes: int
    delivery_us: float
    echo_us: float
    rest_percent: float
    parts_percent: dict[str, float]
    """While the rooms talk: `server`, or `parent` and `node 1` and so on, and each store."""
    late: list[str]
    """The loads that the server did not keep up with."""


def loads(given: argparse.Namespace) -> tuple[rooms.Rooms, rooms.Rooms, echo.EchoPlan]:
    """Return the plans of a server at rest, of rooms and of pings."""
    talk = rooms.Rooms(
        rate=given.rate, rooms=given.rooms, members=given.members, seconds=given.seconds
    )
    rest = msgspec.structs.replace(talk, rate=REST_RATE)
    return rest, talk, echo.EchoPlan(rate=given.echo_rate, seconds=given.seconds)


def run(count: int, given: argparse.Namespace) -> NodeCosts:
    """Start a server of so many nodes, and put it under each load."""
    plans = loads(given)
    settings = dict.fromkeys(need for plan in plans for need in plan.needs())
    core, _ = stage.cores(0)
    stage.progress(f"{count} nodes")
    with stage.greenroom([f"server.nodes={count}", *settings, *given.set], core) as server:
        if given.realtime:  # the stores too: what waits for Valkey would be gathered meanwhile
            for pids in server.family().stores.values():
                for pid in pids:
                    make_realtime(pid)
        rest = load(rooms.SCENARIO, "rooms", plans[0], server, given)
        talk = load(rooms.SCENARIO, "rooms", plans[1], server, given)
        pings = load(echo.SCENARIO, "echo", plans[2], server, given)
    return NodeCosts(
        count,
        talk.cpu_us or 0.0,
        pings.cpu_us or 0.0,
        rest.cpu_percent or 0.0,
        talk.parts_percent,
        [one.event for one, plan in ((talk, plans[1]), (pings, plans[2])) if saturated(plan, one)],
    )


def load(
    scenario: Scenario, name: str, plan: Plan, server: ChildServer, given: argparse.Namespace
) -> ServerResult:
    """Put the server under a load."""
    options = Options(realtime=given.realtime)
    return stage.load(
        scenario, f"bench.{name}", plan, options,
        name=name, driver="", urls=[server.url], servers=[server],
    )  # fmt: skip


def medians(rows: Sequence[NodeCosts]) -> NodeCosts:
    """Return the medians of several runs with the same number of nodes."""
    return NodeCosts(
        rows[0].nodes,
        statistics.median(row.delivery_us for row in rows),
        statistics.median(row.echo_us for row in rows),
        statistics.median(row.rest_percent for row in rows),
        {
            name: statistics.median(row.parts_percent.get(name, 0.0) for row in rows)
            for name in rows[0].parts_percent
        },
        sorted({each for row in rows for each in row.late}),
    )


def table(rows: Sequence[NodeCosts]) -> str:
    """The report for people: medians, and ratios to the first line."""
    lines = [
        ["nodes", "us a delivery", "times", "us an echo", "times", "at rest %", "parent %",
         "each node %", *(f"{store} %" for store in STORES)]
    ]  # fmt: skip
    first = rows[0]
    for row in rows:
        parts = row.parts_percent
        each = [used for name, used in parts.items() if name.startswith(("node", "server"))]
        lines.append([
            str(row.nodes),
            number(row.delivery_us), number(row.delivery_us / first.delivery_us),
            number(row.echo_us), number(row.echo_us / first.echo_us),
            number(row.rest_percent), number(parts.get("parent")),
            number(statistics.fmean(each), 1),
            *(number(parts.get(store), 1) for store in STORES),
        ])  # fmt: skip
    late = [f"{row.nodes} nodes did not keep up: {', '.join(row.late)}" for row in rows if row.late]
    return "\n".join([*aligned(lines), *late])


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.nodes",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--nodes", type=int, nargs="+", default=[1, 2, 4], help="how many nodes (1 2 4)")
    add("--rooms", type=int, default=15, help="rooms (15)")
    add("--members", type=int, default=100, help="members of a room (100)")
    add("--rate", type=float, default=50_000.0, help="deliveries a second (50,000)")
    add("--echo-rate", type=float, default=8_000.0, help="pings a second (8,000)")
    add("--seconds", type=float, default=5.0, help="how long each figure takes (5)")
    add("--repeat", type=int, default=1, help="runs with each number of nodes, in turns (1)")
    add("--set", action="append", default=[], metavar="SECTION.KEY=VALUE", help="a setting")
    add("--json", type=Path, metavar="FILE", help="write the figures of all runs there as well")
    add("--realtime", action="store_true",
        help="let no ordinary program take the cores while it is measured")  # fmt: skip
    given = parser.parse_args()
    if min(given.nodes) < 1 or given.repeat < 1 or given.seconds <= 0:
        parser.error("--nodes, --repeat and --seconds are above 0")
    if given.realtime:
        check_realtime()
    runs = [run(count, given) for _ in range(given.repeat) for count in given.nodes]
    print(table([medians([row for row in runs if row.nodes == count]) for count in given.nodes]))
    if given.json is not None:
        given.json.write_bytes(msgspec.json.format(msgspec.json.encode(runs)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
