"""What the stores answer to a member, and what a member tells the rest of its node."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from actors.cluster.rules.slot_table import Held


class Beaten(NamedTuple):
    """Valkey's answer to a heartbeat.

    Attributes:
        generation: of its data; 0: it has none yet, after a flush, a restart or a failover.
        view: the version of the newest view that somebody has announced.
        calm_s: for how long it has heard from nodes without a gap. A gap means that its clock was
            moved, or that it was away.
        missing: those of the watched nodes whose heartbeats are over.
        left_s: how long the last heartbeats of the watched nodes still hold, at most.
        news: changes of slots, the oldest first.
        heard: the number of the last of these changes; the next heartbeat asks for those after it.
        more: whether there are more changes.
    """

    generation: int
    view: int = 0
    calm_s: float = 0.0
    missing: Sequence[str] = ()
    left_s: float = 0.0
    news: Sequence[Held] = ()
    heard: int = 0
    more: bool = False


class Reported(NamedTuple):
    """The register's answer to a report.

    Attributes:
        buried: why this node was buried; None: it was not.
        excused: whether this node may go on for another lease without Valkey.
        view: the version of the present view.
    """

    buried: str | None = None
    excused: bool = False
    view: int = 0


class NodeUp(NamedTuple):
    """A node has joined."""

    node: str


class NodeDown(NamedTuple):
    """A node was buried, or has left. Nothing of it will ever be heard again."""

    node: str


class Taken(NamedTuple):
    """This node holds these slots from now on."""

    slots: frozenset[int]


class Moved(NamedTuple):
    """The holder of these slots has changed, and it is not this node."""

    slots: frozenset[int]


class Ended(NamedTuple):
    """This node is no longer a member, and never will be one again: it must stop at once."""

    why: str


Event = NodeUp | NodeDown | Taken | Moved | Ended
