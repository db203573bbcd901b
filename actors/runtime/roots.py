"""Places in the order of stopping that are not a kind."""

from __future__ import annotations

from .cell import Cell, Host
from .cluster import Cluster
from .durability import Durability
from .kinds import Group


class DrainGroup(Group):
    """Holds no actors. It marks when, in the order of stopping, the stores get what is left."""

    def __init__(self, system: Host, durability: Durability) -> None:
        super().__init__(system, "durability/")
        self._durability = durability

    async def stop(self) -> None:
        self.closed = True
        await self._durability.close()


class ClusterGroup(Group):
    """Holds no actors. It marks when, in the order of stopping, the node leaves its cluster."""

    def __init__(self, system: Host, cluster: Cluster) -> None:
        super().__init__(system, "cluster/")
        self._cluster = cluster

    async def stop(self) -> None:
        self.closed = True
        await self._cluster.close()


class RootGroup(Group):
    """One supervisor at the root: when that gives up for good, so does the system."""

    def give_up(self, cell: Cell, error: BaseException) -> None:
        super().give_up(cell, error)
        self.system.fail(error)
