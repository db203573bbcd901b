"""The ways that items go: to a node, or into a queue until a node is known."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple, Protocol

from actors.cluster.bus import Bus
from persistence.redis.bus import Lane


class Way(Protocol):
    """Takes items for the actors of a slot."""

    @property
    def node(self) -> str:
        """The node to which it leads; empty: to none yet."""

    def full(self) -> bool:
        """Whether messages must be refused, if they can be."""

    def carry(self, where: int | str, item: bytes, *, patient: bool = False) -> None:
        """Accept an item, even when full. One that is patient may wait a little for others."""


class NodeWay:
    """The way to another node, while it lives."""

    __slots__ = ("_bus", "_lane", "alive", "node")

    def __init__(self, bus: Bus, node: str) -> None:
        self.node = node
        self.alive = True
        self._bus = bus
        self._lane: Lane = bus.lane(node)

    def full(self) -> bool:
        return self._lane.full()

    def carry(
        self,
        where: int | str,  # noqa: ARG002 -- the node knows
        item: bytes,
        *,
        patient: bool = False,
    ) -> None:
        if self.alive:
            self._bus.send_encoded(self._lane, item, patient=patient)


class HeldItem(NamedTuple):
    """An item that waits for its slot to have a holder."""

    origin: str
    epoch: int
    hops: int
    item: bytes
    at_s: float


class HoldingWay:
    """Keeps items for slots that nobody holds: the holder was buried, or is handing them over.

    Arguments:
        me: this node, from which the items of `carry` come.
        capacity: how many items may wait before messages are refused.
        now_s: the time.
    """

    node = ""

    def __init__(self, me: str, capacity: int, now_s: float) -> None:
        self._me = me
        self._capacity = capacity
        self._held: dict[int | str, list[HeldItem]] = {}
        self.count = 0
        self.now_s = now_s
        """The time that new items are marked with. It is set about once a second."""

    def full(self) -> bool:
        return self.count >= self._capacity

    def carry(
        self,
        where: int | str,
        item: bytes,
        *,
        patient: bool = False,  # noqa: ARG002 -- all of them wait
    ) -> None:
        self.hold(where, HeldItem(self._me, 0, 0, item, self.now_s))

    def hold(self, where: int | str, held: HeldItem) -> None:
        """Keep an item, of any node."""
        self.count += 1
        self._held.setdefault(where, []).append(held)

    def take(self, where: int | str) -> list[HeldItem]:
        """Take out the items of one place, in the order in which they came."""
        held = self._held.pop(where, [])
        self.count -= len(held)
        return held

    def older_than(self, at_s: float) -> Iterator[HeldItem]:
        """Take out what was put in before this time."""
        for slot, held in list(self._held.items()):
            if held[0].at_s < at_s:
                late = [each for each in held if each.at_s < at_s]
                self.count -= len(late)
                self._held[slot] = held[len(late) :]
                if not self._held[slot]:
                    del self._held[slot]
                yield from late
