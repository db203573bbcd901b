"""The end of an inbox as a value: which entries memory holds, and what a resume gets.

An entry is in the table before it is here, so no crash takes an entry back that a client has seen.
That is why an offset alone is a position, without an epoch.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from itertools import islice
from typing import Any, NamedTuple


class Item(NamedTuple):
    """An entry. `at`: milliseconds since 1970, UTC. `size`: of its payload, in bytes."""

    offset: int
    type: str
    payload: Any
    at: int
    size: int


class Page(NamedTuple):
    """Entries, oldest first. `more`: there are older ones."""

    items: Sequence[Item]
    more: bool


class Tail:
    """The last entries of an inbox, in memory.

    Arguments:
        newest: the offset of the last one; 0: there was none yet.
        items: the last ones, without a gap; none: all that there were are deleted.
        recent: so many are held at most, which a resume can bridge.
        max_bytes: and so many bytes of their payloads; one at least, however long it is.
    """

    def __init__(
        self, newest: int, items: Sequence[Item] = (), *, recent: int, max_bytes: int
    ) -> None:
        self.newest = newest
        self._recent = recent
        self._max_bytes = max_bytes
        self._held: deque[Item] = deque()
        self._bytes = 0
        for item in items:
            self._hold(item)

    @property
    def held_after(self) -> int:
        """Memory holds every entry after this offset."""
        return self.newest - len(self._held)

    def append(self, item: Item) -> None:
        """Add the next entry."""
        assert item.offset == self.newest + 1, "entries have no gap"
        self.newest = item.offset
        self._hold(item)

    def last(self, limit: int, max_bytes: float = math.inf) -> list[Item]:
        """The newest entries, oldest first: so many at most, and so many bytes of payloads."""
        found = self._slice(max(self.held_after, self.newest - limit), self.newest)
        first = len(found)
        while first and found[first - 1].size <= max_bytes:
            first -= 1
            max_bytes -= found[first].size
        return found[first:]

    def since(self, offset: int) -> list[Item] | None:
        """Every entry after a client's position, in order. None: they cannot be told, as memory
        does not reach back so far, or there is no such position (yet).
        """
        if not self.held_after <= offset <= self.newest:
            return None
        return self._slice(offset, self.newest)

    def page(self, before: int, limit: int) -> Page | None:
        """The `limit` entries before an offset; 0 or one beyond the end: the newest. None: memory
        does not reach back so far.
        """
        end = before - 1 if 0 < before <= self.newest else self.newest
        first = max(0, end - limit)
        # One more than is wanted has to be here, or that there is an older one is a guess.
        if self.held_after > max(0, first - 1):
            return None
        return Page(self._slice(first, end), more=first > 0)

    def _hold(self, item: Item) -> None:
        held = self._held
        held.append(item)
        self._bytes += item.size
        while len(held) > self._recent or (self._bytes > self._max_bytes and len(held) > 1):
            self._bytes -= held.popleft().size

    def _slice(self, after: int, end: int) -> list[Item]:
        base = self.held_after
        return list(islice(self._held, after - base, end - base))


def unread(newest: int, read: int) -> int:
    """How many entries have come that were not marked as read, kept or not."""
    return max(0, newest - read)
