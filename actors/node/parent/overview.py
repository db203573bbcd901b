"""What a parent says about its nodes: to operators, to probes, and to Prometheus."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Final, Literal

import msgspec
import trio

from actors.node.census import kept_lines
from actors.node.log_writer import LogWriter
from actors.node.parent.keeper import NodeKeeper, NodeState, wrong
from actors.node.printing import aligned
from protocol.http.application import Check, Readiness, readiness
from protocol.http.metrics import Reading, counter, gauge

LOOK_TIMEOUT_S: Final = 0.7
"""A node that takes longer to answer is not ready. Probes wait longer than this for the parent."""
SILENT_PULSES: Final = 3
"""A node of which so many pulses in a row are missing is shown as silent. Its process is frozen, or
its loop stands still; others may hold its slots by now."""

RowState = NodeState | Literal["silent"]


class NodeRow(msgspec.Struct, frozen=True):
    """One node.

    Attributes:
        state: what it does; `silent`: `SILENT_PULSES` are missing.
        for_s: how long the node has been in its state. A silent one: since its last pulse.
        pid: the id of its process; 0: there is none.
        slots: how many of the cluster's 16,384 slots it holds.
        restarts: how often it was started again.
        version: the version of Greenroom that it runs; "": it is not up.
        last: how its last process ended; "": none has.
    """

    name: str
    state: RowState
    for_s: float
    pid: int
    connections: int
    sessions: int
    actors: int
    slots: int
    restarts: int
    version: str
    last: str
    labels: tuple[str, ...] = ()


class Overview(msgspec.Struct, frozen=True, tag="overview"):
    """All nodes of a server, in order.

    `kept`: the label that each kind is kept to, if these nodes are all of their cluster.
    `everywhere`: lines on the nodes of all machines; none if there are no others, and none of an
    older server.
    """

    version: str
    nodes: tuple[NodeRow, ...]
    kept: dict[str, str] = {}
    everywhere: tuple[str, ...] = ()


def row(keeper: NodeKeeper) -> NodeRow:
    """Return what is known of a node. The numbers are those of its last pulse."""
    process = keeper.process
    last = "" if keeper.last is None else str(keeper.last)
    for_s = trio.current_time() - keeper.since
    if process is None:
        none = (0, 0, 0, 0, 0)
        return NodeRow(
            keeper.name, keeper.state, for_s, *none, keeper.restarts, "", last, keeper.labels
        )
    pulse = process.pulse
    state: RowState = keeper.state
    if state == "up" and process.silent_s > SILENT_PULSES * process.pulse_s:
        state, for_s = "silent", process.silent_s
    return NodeRow(
        keeper.name,
        state,
        for_s,
        process.pid,
        pulse.connections,
        pulse.sessions,
        pulse.actors,
        pulse.slots,
        keeper.restarts,
        process.version,
        last,
        keeper.labels,
    )


async def readiness_of_all(keepers: Sequence[NodeKeeper], *, draining: bool) -> Readiness:
    """Say whether a server is ready: it is if at least one node is.

    Nodes that are not ready only degrade it, because clients come to no node that is not up.
    """
    ready: set[str] = set()

    async def look(keeper: NodeKeeper) -> str | None:
        found = None
        if keeper.state in ("up", "draining"):
            with trio.move_on_after(LOOK_TIMEOUT_S):
                found = await keeper.look()
            if found is None:
                return f"no answer within {LOOK_TIMEOUT_S:g} s"
        if found is None:
            return keeper.state
        if found.ready:
            ready.add(keeper.name)
        return wrong(found) or None

    checks: dict[str, Check] = {one.name: partial(look, one) for one in keepers}
    found = await readiness(checks, may_fail=checks)
    text = "draining" if draining else "ok" if ready else "none is ready"
    return Readiness(
        ready=text == "ok",
        degraded=text == "ok" and found.degraded,
        checks={"nodes": text, **found.checks},
    )


def readings_of_parent(
    keepers: Sequence[NodeKeeper], log: LogWriter, caught: Callable[[], int]
) -> Iterator[Reading]:
    """Yield the parent's own readings. Each node has more, on its own port."""
    rows = list(map(row, keepers))
    up = sum(one.state == "up" for one in rows)
    yield gauge("nodes", "Nodes that there should be.", len(keepers))
    yield gauge("nodes_up", "Nodes that serve clients.", up)
    for keeper in keepers:
        text = "Times that a node was started again."
        yield counter("node_restarts", text, keeper.restarts, node=keeper.name)
    for one in rows:
        text = "Open connections, as the node said last."
        yield gauge("node_connections", text, one.connections, node=one.name)
    text = "Times that a node was caught in the code of an actor, which was held then."
    yield counter("node_actors_caught", text, caught())
    yield counter("log_lines_dropped", "Lines that the log had no room for.", log.dropped)


def overview_table(found: Overview) -> Iterator[str]:
    """Yield the lines that show an overview to people."""
    up = sum(node.state == "up" for node in found.nodes)
    yield f"greenroom {found.version}: {up} of {len(found.nodes)} nodes up"
    head = ("node", "state", "for", "pid", "connections", "sessions", "actors", "slots",
            "labels", "restarts", "version", "last end")  # fmt: skip
    cells = [
        head,
        *(
            (
                node.name,
                node.state,
                f"{node.for_s:.0f} s",
                str(node.pid or "-"),
                *_numbers(node),
                " ".join(node.labels) or "-",
                str(node.restarts),
                node.version or "-",
                node.last or "-",
            )
            for node in found.nodes
        ),
    ]
    yield from aligned(cells)
    yield from kept_lines(
        found.kept, {node.name: node.labels for node in found.nodes if node.state == "up"}
    )
    yield from found.everywhere


def _numbers(node: NodeRow) -> tuple[str, ...]:
    """Return how much there is on a node; nobody knows that of a silent one."""
    if node.state == "silent":
        return ("-",) * 4
    return str(node.connections), str(node.sessions), str(node.actors), str(node.slots)
