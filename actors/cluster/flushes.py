"""The order of messages to a slot whose holder has changed.

What this node has sent to the old holder goes on from there to the new one. What it would send to
the new one now could be there before. So it waits until a flush has gone the long way, behind the
others, and the new holder says so: a millisecond or two, and no message comes before an earlier
one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple


class _Open(NamedTuple):
    slots: frozenset[int]
    nodes: tuple[str, str]  # the old holder, and the new one
    at_s: float


class Flushes:
    """Flushes that are under way, by the numbers under which they come back."""

    def __init__(self) -> None:
        self._open: dict[int, _Open] = {}
        self._number = 0

    def begin(self, slots: Iterable[int], old: str, new: str, now_s: float) -> int:
        """Return the number of a new one."""
        self._number += 1
        self._open[self._number] = _Open(frozenset(slots), (old, new), now_s)
        return self._number

    def done(self, number: int) -> frozenset[int]:
        """Return the slots of a flush that is back; none if it was given up meanwhile."""
        flush = self._open.pop(number, None)
        return frozenset() if flush is None else flush.slots

    def give_up(self, node: str) -> Iterator[frozenset[int]]:
        """Give up those that go by a node: it is dead, or has lost messages."""
        for number, flush in list(self._open.items()):
            if node in flush.nodes:
                yield self.done(number)

    def older_than(self, at_s: float) -> Iterator[frozenset[int]]:
        """Give up those that were begun before this time."""
        for number, flush in list(self._open.items()):
            if flush.at_s < at_s:
                yield self.done(number)
