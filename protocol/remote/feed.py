"""A feed: the pushes of a topic that the program has not read yet, in a bounded queue.

A slow program must not stop the client from reading its socket. The replies come over the same
connection, so a program that sends within its reading loop would wait for itself. So a full feed
drops its oldest items, and puts a value in their place that says so.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Generic, TypeVar

import trio

T = TypeVar("T")
G = TypeVar("G")


class Feed(Generic[T, G]):
    """A bounded queue that is read by `async for`.

    A full feed drops its oldest items and counts them. One value of type `G`, which is read next,
    stands for all of them. Each item goes to one of several readers.

    Arguments:
        capacity: the most items that wait.
        stand_in: makes the value that stands for dropped items, from the value so far and the next
            dropped item. It returns None if no value is needed.
    """

    def __init__(self, capacity: int, stand_in: Callable[[G | None, T | G], G | None]) -> None:
        self.capacity = capacity
        self.dropped = 0
        """How many items were dropped because the reader was behind."""
        self.conflated = 0
        """How many items were replaced by a newer one of their slot."""
        self._stand_in = stand_in
        self._missing: G | None = None
        self._items: OrderedDict[int, tuple[T | G, str | None]] = OrderedDict()
        self._slots: dict[str, int] = {}
        self._next = 0
        self._readers = trio.lowlevel.ParkingLot()
        self._closed = False
        self._error: Exception | None = None

    def __len__(self) -> int:
        return len(self._items)

    def put(self, item: T | G, *, slot: str | None = None) -> None:
        """Append an item. With `slot`, an older item of the slot that still waits is dropped."""
        if self._closed:
            return
        if slot is not None:
            older = self._slots.get(slot)
            if older is not None and self._items.pop(older, None) is not None:
                self.conflated += 1
            self._slots[slot] = self._next
        self._items[self._next] = (item, slot)
        self._next += 1
        if len(self._items) > self.capacity:
            _, (oldest, _) = self._items.popitem(last=False)
            self.dropped += 1
            self._missing = self._stand_in(self._missing, oldest)
        self._readers.unpark()

    def close(self, error: Exception | None = None) -> None:
        """End the feed. Items that wait are still read; then iteration ends, or raises `error`."""
        if not self._closed:
            self._closed = True
            self._error = error
            self._readers.unpark_all()

    async def next(self) -> T | G:
        """Return the next item. Raises `StopAsyncIteration` at the end, or the error of `close`."""
        await trio.lowlevel.checkpoint()
        while True:
            if self._missing is not None:
                missing, self._missing = self._missing, None
                return missing
            if self._items:
                return self._items.popitem(last=False)[1][0]
            if self._closed:
                if self._error is not None:
                    raise self._error
                raise StopAsyncIteration
            await self._readers.park()

    def __aiter__(self) -> Feed[T, G]:
        return self

    async def __anext__(self) -> T | G:
        return await self.next()
