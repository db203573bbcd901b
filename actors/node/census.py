"""Who is in a cluster, as its stores say: the nodes of all machines, and those that are silent."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import msgspec

from actors.cluster.rules.view import Descriptor, name_of_node
from actors.node.printing import aligned
from persistence import PostgresSettings, RedisSettings
from persistence.postgres.census import registered_nodes
from persistence.postgres.lease import Holder
from persistence.redis.census import held_slots


class CountedNode(NamedTuple):
    """A node that is not buried.

    Attributes:
        machine, pid: where it runs.
        release: Greenroom's version there; "": not known.
        version: the version of what it says to other nodes.
        slots: its share of what the cluster places, of 16,384 for each label.
        labels: what it is for.
        kept: the label that each kind is kept to, as it says.
        leaving: whether it hands over what it holds, to stop.
        age_s: how long ago it joined.
        postgres_s, valkey_s: how long ago the stores had its last word, as far as PostgreSQL knows.
    """

    id: str
    machine: str
    pid: int
    release: str
    version: int
    slots: int
    labels: tuple[str, ...]
    kept: Mapping[str, str]
    leaving: bool
    age_s: float
    postgres_s: float
    valkey_s: float


def members(redis: RedisSettings, postgres: PostgresSettings) -> list[CountedNode]:
    """Ask the stores. Blocks. Raises StoreUnavailable."""
    slots = held_slots(redis)
    found = []
    for row in registered_nodes(postgres):
        process = msgspec.json.decode(row.process, type=Holder)
        about = _descriptor(row.id, row.about)
        found.append(
            CountedNode(
                row.id,
                process.host,
                process.pid,
                about.release,
                about.version,
                slots[row.id],
                about.labels,
                about.kept,
                row.leaving,
                row.age_s,
                row.report_s,
                row.valkey_s,
            )
        )
    return found


def _descriptor(node: str, about: bytes) -> Descriptor:
    try:
        return msgspec.json.decode(about, type=Descriptor)
    except msgspec.DecodeError:  # of another version
        return Descriptor(name=name_of_node(node), version=0)


def cluster_table(found: Sequence[CountedNode], lease_s: float) -> Iterator[str]:
    """Yield the lines that show a cluster to people."""
    silent = {one.id for one in found if max(one.postgres_s, one.valkey_s) > lease_s}
    machines = len({one.machine for one in found})
    yield f"the cluster: {len(found)} nodes on {machines} machines, {len(silent)} silent"
    head = ("node", "state", "for", "machine", "pid", "slots", "version", "protocol",
            "postgresql", "valkey", "labels")  # fmt: skip
    rows = [
        (
            one.id,
            "silent" if one.id in silent else "leaving" if one.leaving else "up",
            f"{one.age_s:.0f} s",
            one.machine,
            str(one.pid),
            str(one.slots),
            one.release or "-",
            str(one.version),
            f"{one.postgres_s:.1f} s ago",
            f"{one.valkey_s:.1f} s ago",
            " ".join(one.labels) or "-",
        )
        for one in found
    ]
    yield from aligned([head, *rows])
    kept = {kind: label for one in found for kind, label in one.kept.items()}
    yield from kept_lines(kept, {one.id: one.labels for one in found if not one.leaving})


def kept_lines(kept: Mapping[str, str], nodes: Mapping[str, Sequence[str]]) -> Iterator[str]:
    """Yield the lines that show which kinds are kept to labels.

    Arguments:
        kept: the label that each kind is kept to.
        nodes: the labels of nodes that live.
    """
    for kind, label in sorted(kept.items()):
        there = [node for node, labels in nodes.items() if label in labels]
        where = ", ".join(there) or "no node has it, so they are unavailable"
        yield f"actors of the kind {kind} are kept to the label {label}: {where}"
