"""Who holds each slot, as far as one node knows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

GENERATION_BITS: Final = 32
"""An epoch is the generation of Valkey's data, followed by so many bits for the number of the
change in that generation. So epochs never go back, even when Valkey has lost its data."""


def generation_of(epoch: int) -> int:
    """Return the generation of Valkey's data that an epoch belongs to."""
    return epoch >> GENERATION_BITS


class Held(NamedTuple):
    """A slot, its epoch, and its holder since then; None: the holder has given it up."""

    slot: int
    epoch: int
    holder: str | None


class SlotTable:
    """The holder and the epoch of each slot. News may come late, twice, or in any order.

    Attributes:
        me: the id of this node.
        mine: the slots that this node holds.
    """

    def __init__(self, me: str) -> None:
        self.me = me
        self.mine: set[int] = set()
        self._holders: dict[int, str | None] = {}
        self._epochs: dict[int, int] = {}

    def holder(self, slot: int) -> str | None:
        """Return who holds a slot; None: nobody that this node knows of."""
        return self._holders.get(slot)

    def epoch(self, slot: int) -> int:
        """Return the epoch of a slot; 0: nobody is known to have held it."""
        return self._epochs.get(slot, 0)

    def older_than(self, generation: int) -> set[int]:
        """Return what this node holds by a claim from before this generation."""
        base, epochs = generation << GENERATION_BITS, self._epochs
        return {slot for slot in self.mine if epochs[slot] < base}

    def learn(self, news: Iterable[Held]) -> Iterator[tuple[Held, str | None]]:
        """Take the news that the table does not have yet; yields each with the holder before."""
        for held in news:
            slot, epoch, holder = held
            if epoch <= self._epochs.get(slot, 0):
                continue
            before = self._holders.get(slot)
            self._holders[slot], self._epochs[slot] = holder, epoch
            if holder == self.me:
                self.mine.add(slot)
            else:
                self.mine.discard(slot)
            if holder != before:
                yield held, before

    def forget(self, slots: Iterable[int]) -> None:
        """This node no longer holds these slots, whatever other nodes know."""
        for slot in slots:
            if self._holders.get(slot) == self.me:
                self._holders[slot] = None
                self.mine.discard(slot)
