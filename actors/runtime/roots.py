"""Groups that are no kind of actor, but have a place in the order in which a system stops."""

from __future__ import annotations

from .cell import Cell, Host
from .cluster import Cluster
from .durability import Durability
from .kinds import Group


class DrainGroup(Group):
    """Holds no actors. When its turn to stop comes, the journal and snapshots are written out."""

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
    """Holds one supervisor at the root. When that gives up for good, the system fails."""

    def give_up(self, cell: Cell, error: BaseException) -> None:
        super().give_up(cell, error)
        self.system.fail(error)
