"""Placement: which slots should be with which of the living nodes."""

from __future__ import annotations

from collections.abc import Mapping

from actors.cluster.rules.rendezvous import Rendezvous
from actors.cluster.rules.slots import pool_of, slots_of_pool
from actors.cluster.rules.view import Node


class Placement:
    """The desired holder of each slot of each pool, kept while nodes join and go.

    Arguments:
        name: the name of this node.

    Attributes:
        wished: the slots that this node should hold.
    """

    def __init__(self, name: str) -> None:
        self.wished: set[int] = set()
        self._name = name
        self._pools: dict[int, Rendezvous] = {}
        self._ids: Mapping[str, str] = {}  # name -> id

    def desired(self, slot: int) -> str | None:
        """Return the id of the node that should hold a slot; None: there is no node for it."""
        pool = self._pools.get(pool_of(slot))
        name = None if pool is None else pool.desired(slot)
        return None if name is None else self._ids.get(name)

    def update(self, nodes: Mapping[str, Node]) -> None:
        """Take the living nodes. For a thousand new ones it takes a second or more."""
        self._ids = {node.descriptor.name: node.id for node in nodes.values()}
        for pool in {pool for node in nodes.values() for pool in node.descriptor.hosted}:
            if pool not in self._pools:
                self._pools[pool] = Rendezvous(slots_of_pool(pool))
        for pool, desired in self._pools.items():
            hosts = {
                node.descriptor.name: node.descriptor.weight
                for node in nodes.values()
                if node.hosts(pool)
            }
            for slot in desired.update(hosts):
                if desired.desired(slot) == self._name:
                    self.wished.add(slot)
                else:
                    self.wished.discard(slot)
