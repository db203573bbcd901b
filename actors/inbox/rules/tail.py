"""`Tail`: the last entries of an inbox, which are held in memory.

An entry is committed before it comes here, so a crash never takes back an entry that a client has
seen. Therefore an offset alone is a position in an inbox, without an epoch.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from itertools import islice
from typing import Any, NamedTuple


class TailEntry(NamedTuple):
    """An entry. `at` is in milliseconds since 1970, UTC; `size` is its payload's size in bytes."""

    offset: int
    type: str
    payload: Any
    at: int
    size: int


class Page(NamedTuple):
    """Entries, the oldest first. `more` says whether there are older ones."""

    items: Sequence[TailEntry]
    more: bool


class Tail:
    """The last entries of an inbox, in memory.

    Arguments:
        newest: the offset of the last entry; 0 if there was none yet.
        items: the last entries, without a gap; empty if all were deleted.
        recent: how many entries are held at most. A resume can repeat so many.
        max_bytes: how many bytes of payloads are held at most; the last entry is held whatever its
            size.
    """

    def __init__(
        self, newest: int, items: Sequence[TailEntry] = (), *, recent: int, max_bytes: int
    ) -> None:
        self.newest = newest
        self._recent = recent
        self._max_bytes = max_bytes
        self._held: deque[TailEntry] = deque()
        self._bytes = 0
        for item in items:
            self._hold(item)

    @property
    def held_after(self) -> int:
        """The offset after which memory holds every entry."""
        return self.newest - len(self._held)

    def append(self, item: TailEntry) -> None:
        """Add the next entry."""
        assert item.offset == self.newest + 1, "entries have no gap"
        self.newest = item.offset
        self._hold(item)

    def last(self, limit: int, max_bytes: float = math.inf) -> list[TailEntry]:
        """Return the newest entries, the oldest first, within both limits."""
        found = self._slice(max(self.held_after, self.newest - limit), self.newest)
        first = len(found)
        while first and found[first - 1].size <= max_bytes:
            first -= 1
            max_bytes -= found[first].size
        return found[first:]

    def since(self, offset: int) -> list[TailEntry] | None:
        """Return all entries after a client's position, in order.

        Returns None if memory does not hold all of them, or if there is no such position.
        """
        if not self.held_after <= offset <= self.newest:
            return None
        return self._slice(offset, self.newest)

    def page(self, before: int, limit: int) -> Page | None:
        """Return the `limit` entries before an offset, or None if memory does not hold them.

        0, and an offset beyond the end, stand for the end.
        """
        end = before - 1 if 0 < before <= self.newest else self.newest
        first = max(0, end - limit)
        # Memory must hold one entry more, to tell whether there is an older one.
        if self.held_after > max(0, first - 1):
            return None
        return Page(self._slice(first, end), more=first > 0)

    def _hold(self, item: TailEntry) -> None:
        held = self._held
        held.append(item)
        self._bytes += item.size
        while len(held) > self._recent or (self._bytes > self._max_bytes and len(held) > 1):
            self._bytes -= held.popleft().size

    def _slice(self, after: int, end: int) -> list[TailEntry]:
        base = self.held_after
        return list(islice(self._held, after - base, end - base))


def unread(newest: int, read: int) -> int:
    """Return how many entries came after the last that was read, including deleted ones."""
    return max(0, newest - read)
