"""Rendezvous hashing: which node a slot should be with.

Each node draws a number for each slot, from a hash of both; the highest number wins. So a node that
joins takes slots from all others, a node that goes leaves its slots to all others, and no other
slot moves. Weights as in "Weighted rendezvous hashing" (Schindelhauer and Schomaker, 2005; Resch,
2015).
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Mapping, Sequence
from hashlib import shake_128
from itertools import compress
from operator import gt
from struct import Struct
from typing import Final

_BLOCK: Final = 64
"""One hash gives the numbers of this many slots."""
_TOP: Final = 2.0**64
_UNPACK: Final = Struct(f"<{_BLOCK}Q").unpack
_MANY: Final = 256
"""If more slots than this must be drawn for, drawing for all is cheaper: 1 ms a node, against 3 us
a slot."""
_SAFE: Final = 1.0 - 1e-9
"""Numbers are first compared with slightly less than what would win; only then are scores exact."""


class Rendezvous:
    """The desired holders of a range of slots, kept while nodes join and go.

    A node is hashed by its name, not by its id: after a restart it gets the same slots again. The
    score of a number is exponentially distributed with the weight as its rate; the lowest wins.

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
            self._fill(lost, moved)
        for weight in sorted(set(new.values())):
            names = [name for name, of_it in new.items() if of_it == weight]
            self._enter(names, weight, moved)
        self.nodes.update(new)
        start = self._slots.start
        return {start + at for at, was in moved.items() if self._best[at] != was}

    def _fill(self, places: Sequence[int], moved: dict[int, str | None]) -> None:
        """Have all nodes draw for these slots."""
        if len(places) > _MANY:
            for name, weight in self.nodes.items():
                numbers = _numbers(name, self._slots)
                for at in places:
                    self._offer(at, name, _score(numbers[at], weight), moved)
            return
        start = self._slots.start
        drawn = [(at, *divmod(start + at, _BLOCK)) for at in places]
        for name, weight in self.nodes.items():
            for at, block, index in drawn:
                eight = _digest(name, block)[8 * index : 8 * index + 8]
                self._offer(at, name, _score(int.from_bytes(eight, "little"), weight), moved)

    def _enter(self, names: Sequence[str], weight: float, moved: dict[int, str | None]) -> None:
        """Have nodes of one weight draw for all places: 1 ms for a node."""
        places = range(len(self._slots))
        # What a number must exceed to win. Comparing with it is cheap, and rules most numbers out.
        needed = [math.exp(-score * weight) * _TOP * _SAFE for score in self._scores]
        for name in names:
            numbers = _numbers(name, self._slots)
            for at in list(compress(places, map(gt, numbers, needed))):
                score = _score(numbers[at], weight)
                if self._offer(at, name, score, moved):
                    needed[at] = math.exp(-score * weight) * _TOP * _SAFE

    def _offer(self, at: int, name: str, score: float, moved: dict[int, str | None]) -> bool:
        best, scores = self._best, self._scores
        # On a tie the name decides, so that all nodes agree.
        if score > scores[at] or (score == scores[at] and name > (best[at] or "")):
            return False
        moved.setdefault(at, best[at])
        best[at], scores[at] = name, score
        return True


def _score(number: int, weight: float) -> float:
    return -math.log((number + 0.5) / _TOP) / weight


def _numbers(name: str, slots: range) -> Sequence[int]:
    """Return the numbers that a node draws for these slots."""
    first, last = slots.start // _BLOCK, (slots.stop - 1) // _BLOCK
    numbers: list[int] = []
    for block in range(first, last + 1):
        numbers += _UNPACK(_digest(name, block))
    before = slots.start - first * _BLOCK
    return numbers[before : before + len(slots)]


def _digest(name: str, block: int) -> bytes:
    return shake_128(f"{name}/{block}".encode()).digest(8 * _BLOCK)
