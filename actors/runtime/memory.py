"""Stores in memory: for an embedder's tests, and for actors whose log need not outlive the process.

They keep the promises of the Protocols in `stores` (transactions, fencing, idempotent appends), and
can be told to fail in the ways in which real stores do. A test simulates a restart by opening a
second system with the stores of the first.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from itertools import islice

import trio

from .stores import EventRow, SnapshotRow


class StoreAway(Exception):  # noqa: N818 - a state, as in trio.ClosedResourceError
    """A store in memory raises this when it was told to fail."""


class Faults:
    """How a store in memory misbehaves. The attributes can be set at any time.

    Attributes:
        away: whether every call raises StoreAway.
        fail_next: how many of the next writing calls raise StoreAway and write nothing.
        lose_next: how many of the next writing calls write and then raise, as if the answer got
            lost.
        delay_s: how long every call takes, in seconds.
    """

    def __init__(self) -> None:
        self.away = False
        self.fail_next = 0
        self.lose_next = 0
        self.delay_s = 0.0

    async def _before(self, *, write: bool = False) -> None:
        await trio.sleep(self.delay_s)
        if self.away:
            raise StoreAway("away")
        if write and self.fail_next:
            self.fail_next -= 1
            raise StoreAway("failed, nothing written")

    def _after(self) -> None:
        if self.lose_next:
            self.lose_next -= 1
            raise StoreAway("written, but the answer was lost")


class MemoryEventStore(Faults):
    """An EventStore in memory.

    Attributes:
        epochs: the newest epoch by (kind, key).
        batches: the number of rows of each append that wrote.
    """

    def __init__(self) -> None:
        super().__init__()
        self.epochs: defaultdict[tuple[str, str], int] = defaultdict(int)
        self.batches: list[int] = []
        self._logs: defaultdict[tuple[str, str], dict[int, EventRow]] = defaultdict(dict)

    def rows(self, kind: str, key: str) -> list[EventRow]:
        """Return an actor's whole log, ascending."""
        return [row for _, row in sorted(self._logs[kind, key].items())]

    def put(self, row: EventRow) -> None:
        """Write a row without any check, as an administrator could in a database."""
        self._logs[row[0], row[1]][row[2]] = row

    def delete(self, kind: str, key: str, *seqs: int) -> None:
        """Delete the rows with these seqs from an actor's log; without `seqs`, all of them."""
        log = self._logs[kind, key]
        for seq in seqs or list(log):
            del log[seq]

    def count(self) -> int:
        """Return how many rows the store holds."""
        return sum(map(len, self._logs.values()))

    async def append(self, rows: Sequence[EventRow]) -> Sequence[tuple[str, str]]:
        await self._before(write=True)
        fenced = {(row[0], row[1]) for row in rows if self._is_fenced(row)}
        for row in rows:
            if (row[0], row[1]) not in fenced:
                self._logs[row[0], row[1]].setdefault(row[2], row)
        self.batches.append(len(rows))
        self._after()
        return sorted(fenced)

    async def activate(self, kind: str, key: str) -> int:
        await self._before(write=True)
        self.epochs[kind, key] += 1
        self._after()
        return self.epochs[kind, key]

    async def epoch(self, kind: str, key: str) -> int:
        await self._before()
        return self.epochs.get((kind, key), 0)

    async def read(
        self, kind: str, key: str, *, after: int, limit: int, max_bytes: int | None = None
    ) -> Sequence[EventRow]:
        await self._before()
        rows = (row for row in self.rows(kind, key) if row[2] > after)
        return _page(rows, limit, max_bytes)

    async def read_before(
        self, kind: str, key: str, *, before: int, limit: int, max_bytes: int | None = None
    ) -> Sequence[EventRow]:
        await self._before()
        rows = (row for row in reversed(self.rows(kind, key)) if not before or row[2] < before)
        return _page(rows, limit, max_bytes)[::-1]

    async def last_seq(self, kind: str, key: str) -> int:
        await self._before()
        return max(self._logs[kind, key], default=0)

    def _is_fenced(self, row: EventRow) -> bool:
        kind, key, seq, epoch = row[:4]
        there = self._logs[kind, key].get(seq)
        return self.epochs[kind, key] > epoch or (there is not None and there[3] != epoch)


def _page(rows: Iterable[EventRow], limit: int, max_bytes: int | None) -> list[EventRow]:
    page: list[EventRow] = []
    room = math.inf if max_bytes is None else max_bytes
    for row in islice(rows, limit):
        page.append(row)
        room -= len(row[5])
        if room <= 0:
            break
    return page


class MemorySnapshotStore(Faults):
    """A SnapshotStore in memory.

    Attributes:
        rows: the newest row by (kind, key); a test may put a torn one there.
    """

    def __init__(self) -> None:
        super().__init__()
        self.rows: dict[tuple[str, str], SnapshotRow] = {}

    async def save(self, rows: Sequence[SnapshotRow]) -> None:
        await self._before(write=True)
        for row in rows:
            old = self.rows.get((row[0], row[1]))
            if old is None or (old[3], old[2]) <= (row[3], row[2]):
                self.rows[row[0], row[1]] = row
        self._after()

    async def load(self, kind: str, key: str) -> SnapshotRow | None:
        await self._before()
        return self.rows.get((kind, key))

    async def delete(self, kind: str, key: str) -> None:
        await self._before(write=True)
        self.rows.pop((kind, key), None)
        self._after()
