"""Which node an actor is on, as far as this one knows."""

from __future__ import annotations

from collections.abc import Iterable

import pykka

from actors.cluster.bus import Bus
from actors.cluster.place import Place
from actors.cluster.rules.labels import pool_of_label
from actors.cluster.rules.slots import slot_of, slot_of_kind
from actors.cluster.ways import HoldingWay, NodeWay, Way
from actors.runtime.kinds import Kind

Where = int | str
"""What decides where an actor is: its slot, or the node that its key begins with."""


class Routes:
    """The table from slots to ways. A look-up costs a checksum and two reads of dicts.

    Arguments:
        place: who holds what.
        bus: the lanes to other nodes.
        waiting: the way to slots that nobody holds.
        behind: the way to slots to whose old holder items of this node may still be under way.
    """

    def __init__(self, place: Place, bus: Bus, waiting: HoldingWay, behind: HoldingWay) -> None:
        self._place = place
        self._bus = bus
        self.waiting = waiting
        self.behind = behind
        self._links: dict[str, NodeWay] = {}
        self._table: dict[Where, Way | None] = {}  # None: this node
        self._pools: dict[str, int] = {}  # by the kinds that are kept to a label

    def is_dead(self, node: str) -> bool:
        """Whether a node is dead for good. A node that is newer than the view is not."""
        try:
            return self._place.view().buried(node)
        except ValueError:  # this is not the id of a node
            return True

    def link(self, node: str) -> NodeWay | None:
        """The link to a node; None: it is dead, or there never was one."""
        link = self._links.get(node)
        if link is None:
            if self.is_dead(node):
                return None
            link = self._links[node] = NodeWay(self._bus, node)
        return link

    def keep(self, kind: str, label: str) -> None:
        """Keep a kind to the nodes with a label."""
        self._pools[kind] = pool_of_label(label)

    def where(self, kind: Kind, key: str) -> Where:
        """What decides where an actor is."""
        if kind.placement == "node":
            return key.partition("/")[0]
        pool = self._pools.get(kind.name, 0)
        if kind.placement == "hashed":
            return slot_of(kind.name, key, pool)
        return slot_of_kind(kind.name, pool)

    def way(self, where: Where) -> Way | None:
        """The way to an actor; None: it is on this node.

        Raises ActorDeadError if it is on another one by its key, and that is dead.
        """
        try:
            return self._table[where]
        except KeyError:
            return self._resolve(where)

    def epoch(self, where: Where) -> int:
        """The epoch of the newest claim of a slot that this node knows; 0: there is none."""
        return self._place.epoch(where) if isinstance(where, int) else 0

    def leads(self, where: Where, way: Way) -> bool:
        """Whether this still is the way."""
        return self._table.get(where) is way

    def link_before(self, slot: int) -> NodeWay | None:
        """The link to the last known holder of a slot: something may still be under way there."""
        way = self._table.get(slot)
        return way if isinstance(way, NodeWay) and way.alive else None

    def _resolve(self, where: Where) -> Way | None:
        holder = self._place.holder(where) if isinstance(where, int) else where
        way: Way | None
        if holder == self._place.me:
            way = None
        else:
            way = self.link(holder) if holder else None
            if way is None and isinstance(where, str):
                raise pykka.ActorDeadError(f"node {where!r} is not there")
            way = way or self.waiting
        self._table[where] = way
        return way

    def hold_back(self, slots: Iterable[int]) -> None:
        """Let what is for these slots wait: they are being handed over."""
        self._table.update(dict.fromkeys(slots, self.waiting))

    def line_up(self, slots: Iterable[int]) -> None:
        """Let what this node sends to these slots wait behind what it has sent to the old holder.

        What other nodes send here for them waits only if this node holds the slots now.
        """
        self._table.update(dict.fromkeys(slots, self.behind))

    def way_of_others(self, where: Where) -> Way | None:
        """`way` for what comes from other nodes."""
        way = self.way(where)
        if way is not self.behind:
            return way
        holder = self._place.holder(where) if isinstance(where, int) else None
        link = self.link(holder) if holder and holder != self._place.me else None
        return link or self.waiting

    def look_again(self, slots: Iterable[int]) -> None:
        """The holder of these slots has changed."""
        for slot in slots:
            self._table.pop(slot, None)

    def node_down(self, node: str) -> None:
        """The node is dead; what is for its slots waits until others hold them."""
        link = self._links.pop(node, None)
        if link is not None:
            link.alive = False
            for where in [where for where, way in self._table.items() if way is link]:
                if isinstance(where, int):
                    self._table[where] = self.waiting
                else:
                    del self._table[where]

    def sever(self) -> None:
        """This node is no longer a member: no way leads anywhere."""
        for link in self._links.values():
            link.alive = False
        self._table.clear()
