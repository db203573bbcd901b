"""Several nodes in one process, on one real Valkey, with slots that are split among them."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import NamedTuple

from actors import ActorRef, ActorSystem, Kind
from actors.cluster.cluster import Cluster
from actors.cluster.fixed import FixedPlace
from actors.cluster.rules.slots import slot_of
from persistence import RedisSettings
from persistence.settings import BusSettings

from .sample import Narrow, Tally, Tight

KINDS = (
    Kind("tally", Tally, placement="hashed"),
    Kind("narrow", Narrow, placement="hashed"),
    Kind("tight", Tight, placement="hashed"),
    Kind("single", Tally, placement="one"),
    Kind("desk", Tally, placement="node"),
)


class NodeUnderTest(NamedTuple):
    """One node of a cluster."""

    id: str
    system: ActorSystem
    cluster: Cluster
    place: FixedPlace

    def keys(self, kind: str) -> Iterator[str]:
        """Keys of actors of a hashed kind that are on this node."""
        return (
            key
            for key in map(str, itertools.count())
            if self.place.holder(slot_of(kind, key)) == self.id
        )

    def key(self, kind: str = "tally") -> str:
        """A key of an actor that is on this node."""
        return next(self.keys(kind))

    def ref_to(self, other: NodeUnderTest, kind: str = "tally") -> ActorRef:
        """A ref of this node to an actor on another."""
        return self.system.ref(kind, other.key(kind))


@asynccontextmanager
async def open_node(
    redis: RedisSettings,
    place: FixedPlace,
    bus: BusSettings | None = None,
    kinds: Sequence[Kind] = KINDS,
) -> AsyncIterator[NodeUnderTest]:
    """Open the node of this place."""
    cluster = Cluster(place, redis, bus or BusSettings(block_s=0.02))
    async with ActorSystem(place.me, cluster=cluster) as system:
        for kind in kinds:
            system.register(kind)
        yield NodeUnderTest(place.me, system, cluster, place)


@asynccontextmanager
async def open_nodes(
    redis: RedisSettings,
    unique: str,
    names: str = "ab",
    *,
    bus: BusSettings | None = None,
    kinds: Sequence[Kind] = KINDS,
) -> AsyncIterator[list[NodeUnderTest]]:
    """Open a node for each letter of `names`."""
    ids = [f"{unique}{name}.1" for name in names]
    async with AsyncExitStack() as stack:
        yield [
            await stack.enter_async_context(open_node(redis, FixedPlace(node, ids), bus, kinds))
            for node in ids
        ]
