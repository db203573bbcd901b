"""Rendezvous hashing: which node a slot should be with.

Each node draws a number for each slot, from a hash of both; the highest one wins. So a node that
joins takes slots from all others, a node that goes leaves its own to all others, and no other slot
moves. Weights as in "Weighted rendezvous hashing" (Schindelhauer and Schomaker, 2005; Resch, 2015).
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Collection, Iterable, Mapping, Sequence
from hashlib import shake_128
from struct import Struct
from typing import Final

_BLOCK: Final = 64
"""A hash gives the numbers of so many slots."""
_SCALE: Final = 2.0**-64
_UNPACK: Final = Struct(f"<{_BLOCK}Q").unpack


class Rendezvous:
    """The desired holders of a range of slots, kept while nodes join and go.

    A node is hashed by its name, not by its id: after a restart it gets the same slots again.

    Attributes:
        nodes: names and weights of the nodes.
    """

    def __init__(self, slots: range) -> None:
        self.nodes: dict[str, float] = {}
        self._slots = slots
        self._best: list[str | None] = [None] * len(slots)
        self._scores = array("d", [math.inf]) * len(slots)

    def desired(self, slot: int) -> str | None:
        """Return the name of the node that a slot should be with; None: there is no node."""
        return self._best[slot - self._slots.start]

    def update(self, nodes: Mapping[str, float]) -> set[int]:
        """Take the present nodes, by names and weights above 0; returns the slots that move."""
        gone = {name for name, weight in self.nodes.items() if nodes.get(name) != weight}
        new = {name: weight for name, weight in nodes.items() if self.nodes.get(name) != weight}
        moved: dict[int, str | None] = {}
        if gone:
            lost = [at for at, name in enumerate(self._best) if name in gone]
            for at in lost:
                moved[at] = self._best[at]
                self._best[at], self._scores[at] = None, math.inf
            for name in gone:
                del self.nodes[name]
            for name, weight in self.nodes.items():
                self._enter(name, weight, lost, moved)
        everywhere = range(len(self._slots))
        for name, weight in new.items():
            self._enter(name, weight, everywhere, moved)
        self.nodes.update(new)
        start = self._slots.start
        return {start + at for at, was in moved.items() if self._best[at] != was}

    def _enter(
        self, name: str, weight: float, places: Collection[int], moved: dict[int, str | None]
    ) -> None:
        best, scores = self._best, self._scores
        for at, score in zip(places, self._scores_of(name, weight, places), strict=True):
            # On a tie the name decides, so that all nodes agree.
            if score < scores[at] or (score == scores[at] and name < (best[at] or "")):
                moved.setdefault(at, best[at])
                best[at], scores[at] = name, score

    def _scores_of(self, name: str, weight: float, places: Collection[int]) -> Iterable[float]:
        """The lower the better: exponentially distributed with the weight as the rate."""
        log, start = math.log, self._slots.start
        blocks: dict[int, Sequence[int]] = {}
        for at in places:
            block, index = divmod(start + at, _BLOCK)
            numbers = blocks.get(block)
            if numbers is None:
                numbers = blocks[block] = _numbers(name, block)
            yield -log((numbers[index] + 0.5) * _SCALE) / weight


def _numbers(name: str, block: int) -> Sequence[int]:
    """Return a number of 64 bits for each slot of a block."""
    return _UNPACK(shake_128(f"{name}/{block}".encode()).digest(8 * _BLOCK))
