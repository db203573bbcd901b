"""The view: which nodes live, and what each of them says of itself."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final
from zlib import crc32

import msgspec

from actors.cluster.rules.labels import pools_of, serves

WATCHERS: Final = 3
"""How many nodes watch each node. So watching costs a node the same, however many nodes there are.
If the three watchers die with the node, the next one on the ring finds all four."""

_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")


VERSION: Final = 1
"""The version of what nodes say to one another. It grows with each change that nodes of the version
before do not understand."""
UNDERSTOOD: Final = 1
"""The oldest version that this one understands."""


class Descriptor(msgspec.Struct, frozen=True, kw_only=True):
    """What a node says of itself when it joins. Unknown fields of a newer node are ignored.

    Attributes:
        name: the name in the configuration, unique among living nodes.
        weight: the share of slots that it gets, relative to others; 0: none.
        labels: what it is for; see `labels`.
        kept: the label that each kind is kept to, if any. All nodes say the same.
        kinds: the kinds of placed actors that it knows; empty: it does not say which.
        pools: the pools whose slots it may hold; empty: it is not ready to hold any; None: those of
            its labels.
        version: the version of what nodes say to one another.
        understood: the oldest version of other nodes that it understands.
        release: the version of the program, for people.
        address: an address for people, e.g. of its HTTP.
    """

    name: str
    weight: float = 1.0
    labels: tuple[str, ...] = ()
    kept: Mapping[str, str] = {}
    kinds: tuple[str, ...] = ()
    pools: tuple[int, ...] | None = None
    version: int = VERSION
    understood: int = UNDERSTOOD
    release: str = ""
    address: str = ""

    @property
    def hosted(self) -> tuple[int, ...]:
        """The pools whose slots it may hold."""
        return pools_of(self.labels) if self.pools is None else self.pools


def understand(one: Descriptor, other: Descriptor) -> bool:
    """Whether two nodes can live in one cluster."""
    return one.version >= other.understood and other.version >= one.understood


class Node(msgspec.Struct, frozen=True, kw_only=True):
    """A living node.

    Attributes:
        id: the node id, `<name>.<incarnation>`. It is never used again.
        generation: the generation of Valkey's data in which it has claimed all that it holds.
        leaving: whether it is about to stop, and gives up all that it holds.
        renewed_s: how long before the view was read the register last excused it, or Valkey last
            answered it as far as it has reported.
    """

    id: str
    descriptor: Descriptor
    generation: int = 0
    leaving: bool = False
    renewed_s: float = math.inf

    def hosts(self, pool: int) -> bool:
        """Whether slots of this pool may be brought to it."""
        return self.stays and pool in self.descriptor.hosted

    @property
    def stays(self) -> bool:
        """Whether anything may be brought to it, now or as soon as it is ready."""
        return not self.leaving and self.descriptor.weight > 0


class View(msgspec.Struct, frozen=True):
    """The living nodes by their ids.

    Attributes:
        version: grows with each change of the view.
        nodes: the living nodes.
        newest: the highest incarnation that was ever admitted.
        held: actors that no node may start, and for how many more seconds.
    """

    version: int = 0
    nodes: Mapping[str, Node] = {}
    newest: int = 0
    held: Mapping[tuple[str, str], float] = {}

    def __contains__(self, node: Any) -> bool:
        return node in self.nodes

    def serves(self, label: str) -> bool:
        """Whether there is a node for what is kept to this label; "": for what is kept to none."""
        return any(
            node.stays and serves(node.descriptor.labels, label) for node in self.nodes.values()
        )

    def buried(self, node: str) -> bool:
        """Whether a node is dead, rather than newer than this view."""
        return node not in self.nodes and incarnation_of(node) <= self.newest

    def watched_by(self, me: str) -> Sequence[str]:
        """Return the nodes that `me` watches: the next ones after it on the ring of all nodes."""
        ring = sorted(self.nodes.keys() | {me}, key=_place_on_ring)
        at = ring.index(me) + 1
        behind = [*ring[at:], *ring[: at - 1]]
        return behind[:WATCHERS]


def node_id(name: str, incarnation: int) -> str:
    """Return the id of a node. Raises ValueError if the name is not allowed for a node."""
    if not _NAME.fullmatch(name):
        raise ValueError(f"a node's name has 1 to 64 letters, digits, '-' and '_', unlike {name!r}")
    return f"{name}.{incarnation}"


def name_of_node(node: str) -> str:
    """Return the name in a node id."""
    return node.partition(".")[0]


def incarnation_of(node: str) -> int:
    """Return the incarnation in a node id."""
    return int(node.partition(".")[2])


def _place_on_ring(node: str) -> tuple[int, str]:
    # By a hash, so that neighbours are seldom processes of one machine, which die together.
    return crc32(node.encode()), node
