"""The order of messages to a slot whose holder has changed.

The old holder sends on to the new one what this node had sent to it before. A message that this
node sends to the new holder directly could overtake those. So this node keeps new messages back,
and sends a flush to the old holder, which sends it on behind the earlier messages. The new messages
follow when the new holder says that the flush has arrived: a millisecond or two later.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple


class _Open(NamedTuple):
    slots: frozenset[int]
    nodes: tuple[str, str]  # the old holder, and the new one
    at_s: float


class Flushes:
    """Flushes that are under way. Each has a number, under which the new holder answers."""

    def __init__(self) -> None:
        self._open: dict[int, _Open] = {}
        self._number = 0

    def __len__(self) -> int:
        return len(self._open)

    def begin(self, slots: Iterable[int], old: str, new: str, now_s: float) -> int:
        """Return the number of a new flush."""
        self._number += 1
        self._open[self._number] = _Open(frozenset(slots), (old, new), now_s)
        return self._number

    def done(self, number: int) -> frozenset[int]:
        """Return the slots of a flush that is back; none if it was given up meanwhile."""
        flush = self._open.pop(number, None)
        return frozenset() if flush is None else flush.slots

    def give_up(self, node: str) -> Iterator[frozenset[int]]:
        """Give up the flushes that go through a node, which is dead or has lost messages."""
        for number, flush in list(self._open.items()):
            if node in flush.nodes:
                yield self.done(number)

    def older_than(self, at_s: float) -> Iterator[frozenset[int]]:
        """Give up the flushes that were begun before this time."""
        for number, flush in list(self._open.items()):
            if flush.at_s < at_s:
                yield self.done(number)
