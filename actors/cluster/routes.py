"""Which node an actor is on, as far as this one knows."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import pykka

from actors.cluster.bus import Bus
from actors.cluster.place import Place
from actors.cluster.rules.slots import slot_of, slot_of_kind
from actors.cluster.ways import Link, Waiting, Way
from actors.runtime.kinds import Kind

NO_SLOT: Final = -1
"""Of actors that are on a node by their key."""


class Routes:
    """The table from slots to ways. A look-up is a checksum and two looks into dicts.

    Arguments:
        place: who holds what.
        bus: the lanes to other nodes.
        waiting: the way to slots that nobody holds.
    """

    def __init__(self, place: Place, bus: Bus, waiting: Waiting) -> None:
        self._place = place
        self._bus = bus
        self.waiting = waiting
        self._links: dict[str, Link] = {}
        self._table: dict[int, Way | None] = {}  # None: this node

    def is_dead(self, node: str) -> bool:
        """Whether nothing of a node is ever heard again. One newer than the view is not dead."""
        try:
            return self._place.view().buried(node)
        except ValueError:  # no id of a node
            return True

    def link(self, node: str) -> Link | None:
        """The link to a node; None: it is dead, or there never was one."""
        link = self._links.get(node)
        if link is None:
            if self.is_dead(node):
                return None
            link = self._links[node] = Link(self._bus, node)
        return link

    def slot(self, kind: Kind, key: str) -> int:
        """The slot of an actor; NO_SLOT if its key says where it is."""
        if kind.placement == "hashed":
            return slot_of(kind.name, key)
        return slot_of_kind(kind.name) if kind.placement == "one" else NO_SLOT

    def by_key(self, name: str, key: str) -> Link | None:
        """The link to the node that the key begins with; None: it is this one.

        Raises ActorDeadError if that node is dead.
        """
        node = key.partition("/")[0]
        if node == self._place.me:
            return None
        link = self.link(node)
        if link is None:
            raise pykka.ActorDeadError(f"{name}/{key}: node {node!r} is not there")
        return link

    def by_slot(self, slot: int) -> Way | None:
        """The way to the holder of a slot; None: it is this node."""
        try:
            return self._table[slot]
        except KeyError:
            return self._resolve(slot)

    def leads(self, slot: int, way: Way) -> bool:
        """Whether the way to the slot is still this one."""
        return self._table.get(slot) is way

    def _resolve(self, slot: int) -> Way | None:
        holder = self._place.holder(slot)
        way: Way | None
        if holder == self._place.me:
            way = None
        else:
            way = (self.link(holder) if holder else None) or self.waiting
        self._table[slot] = way
        return way

    def hold_back(self, slots: Iterable[int]) -> None:
        """Let what is for these slots wait: they are being handed over."""
        for slot in slots:
            self._table[slot] = self.waiting

    def look_again(self, slots: Iterable[int]) -> None:
        """The holder of these slots has changed."""
        for slot in slots:
            self._table.pop(slot, None)

    def node_down(self, node: str) -> Link | None:
        """The node is dead; what is for its slots waits until others hold them."""
        link = self._links.pop(node, None)
        if link is not None:
            link.alive = False
            for slot in [slot for slot, way in self._table.items() if way is link]:
                self._table[slot] = self.waiting
        return link

    def sever(self) -> None:
        """This node is no member any more: nothing leads anywhere."""
        for link in self._links.values():
            link.alive = False
        self._table.clear()
