"""Decides which events go into the next commit. The waiting is left to the journal."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection
from itertools import islice
from typing import Generic, NamedTuple, TypeAlias, TypeVar

from .stores import EventRow

T = TypeVar("T")

Which: TypeAlias = Callable[[str, str], bool]
"""Picks actors by kind and key."""


def everyone(_kind: str, _key: str) -> bool:
    """Pick every actor."""
    return True


ROW_OVERHEAD_BYTES = 512
"""Bytes that are counted for a waiting event beside its payload.

Its tuples, strings and future take about 480.
"""


class Writer:
    """The position of one incarnation in the journal.

    `queued` is the seq of its last event in the queue, and `committed` that of its last durable
    event. The events between the two are on their way to the store. A fenced writer has lost its
    log to another incarnation: no event of it is on its way, and no other will be queued.
    """

    __slots__ = ("_waiters", "committed", "epoch", "fenced", "key", "kind", "on_fenced", "queued")

    def __init__(
        self,
        kind: str,
        key: str,
        *,
        epoch: int,
        seq: int,
        on_fenced: Callable[[], None] | None = None,
    ) -> None:
        self.kind = kind
        self.key = key
        self.epoch = epoch
        self.queued = seq
        self.committed = seq
        self.fenced = False
        self.on_fenced = on_fenced
        self._waiters: list[tuple[int, Callable[[], None]]] | None = None

    @property
    def settled(self) -> bool:
        """Whether nothing is on its way."""
        return self.committed == self.queued

    @property
    def awaited(self) -> bool:
        """Whether somebody waits for an event to be durable."""
        return self._waiters is not None

    def when_committed(self, seq: int, callback: Callable[[], None]) -> None:
        """Call back once `seq` is durable or the writer is fenced; at once if it is so already."""
        if self.fenced or self.committed >= seq:
            callback()
        elif self._waiters is None:
            self._waiters = [(seq, callback)]
        else:
            self._waiters.append((seq, callback))

    def ready(self) -> list[Callable[[], None]]:
        """Take out the callbacks that are due: those whose seq is durable, or all of a fenced
        writer.
        """
        waiters = self._waiters
        if waiters is None:
            return []
        due = [callback for seq, callback in waiters if self.fenced or seq <= self.committed]
        self._waiters = [
            waiter for waiter in waiters if not self.fenced and waiter[0] > self.committed
        ] or None
        return due


# An event that is not durable yet: its row, its size in bytes, its writer, and the ticket that its
# owner gets back once it is durable. It is a plain tuple because a NamedTuple costs another 0.2 µs
# an event.
Waiting: TypeAlias = tuple[EventRow, int, Writer, T]


class CommitOutcome(NamedTuple, Generic[T]):
    """What became of one batch: tickets in the order in which their events were queued, and
    writers.

    Attributes:
        durable: tickets of the events that are in the store.
        refused: tickets of the events of fenced writers, which are not.
        fenced: writers that this commit found to have lost their logs.
        advanced: writers that have events among the durable ones.
    """

    durable: list[T]
    refused: list[T]
    fenced: list[Writer]
    advanced: list[Writer]


class CommitQueue(Generic[T]):
    """A bounded queue of events with at most one batch of them on its way.

    `next_batch` hands one out; `commit` or `retry` must follow before the next. A retried batch
    goes back to the front of the queue, so the order survives any number of failures. The next
    batch is half as large: a store that times out on a large transaction may manage a smaller one,
    and an event that no store can take is alone in its batch in the end, where it can be named.
    Each success doubles the size again.

    Arguments:
        max_events, max_bytes: how much may wait, the batch on its way included. If nothing else
            waits, an event of any size is taken.
        max_batch_events, max_batch_bytes: how much one transaction may hold. It always holds at
            least one event.
    """

    __slots__ = (
        "_in_flight",
        "_limit",
        "_max_batch_bytes",
        "_max_batch_events",
        "_max_bytes",
        "_max_events",
        "_queue",
        "bytes",
        "events",
    )

    def __init__(
        self, *, max_events: int, max_bytes: int, max_batch_events: int, max_batch_bytes: int
    ) -> None:
        self._max_events = max_events
        self._max_bytes = max_bytes
        self._max_batch_events = max_batch_events
        self._max_batch_bytes = max_batch_bytes
        self._limit = max_batch_events
        self._queue: deque[Waiting[T]] = deque()
        self._in_flight: list[Waiting[T]] = []
        self.events = 0
        self.bytes = 0

    def has_room(self, payload_bytes: int) -> bool:
        """Whether an event with a payload of that size may be added now."""
        events = self.events
        return not events or (
            events < self._max_events
            and self.bytes + payload_bytes + ROW_OVERHEAD_BYTES <= self._max_bytes
        )

    def add(self, row: EventRow, writer: Writer, ticket: T) -> None:
        """Queue an event. The caller has checked `has_room`, and that the writer is not fenced."""
        size = len(row[5]) + ROW_OVERHEAD_BYTES
        self._queue.append((row, size, writer, ticket))
        writer.queued = row[2]
        self.events += 1
        self.bytes += size

    def next_batch(self) -> list[EventRow]:
        """Take the next batch; empty if nothing waits."""
        assert not self._in_flight, "the last batch is still on its way"
        queue = self._queue
        room = self._max_batch_bytes
        count = 0
        for _, size, _, _ in islice(queue, self._limit):
            room -= size
            if room < 0 and count:
                break
            count += 1
        self._in_flight = [queue.popleft() for _ in range(count)]
        return [row for row, _, _, _ in self._in_flight]

    def retry(self) -> None:
        """Put the batch back to the front, since it failed or its outcome is unknown."""
        batch = self._in_flight
        self._in_flight = []
        self._queue.extendleft(reversed(batch))
        self._limit = max(1, len(batch) // 2)

    def commit(self, fenced: Collection[tuple[str, str]]) -> CommitOutcome[T]:
        """Settle the batch. All its events are durable except those of the `fenced` (kind, key)s.

        Events of a fenced writer that still wait in the queue are refused as well.
        """
        batch = self._in_flight
        self._in_flight = []
        self._limit = min(self._max_batch_events, self._limit * 2)
        lost = self._fence(batch, fenced) if fenced else []
        durable: list[T] = []
        refused: list[T] = []
        advanced: dict[Writer, None] = {}
        for row, size, writer, ticket in batch:
            self.bytes -= size
            if writer.fenced:
                refused.append(ticket)
            else:
                writer.committed = row[2]
                advanced[writer] = None
                durable.append(ticket)
        self.events -= len(batch)
        if lost:
            refused += self._drop(lambda writer: writer.fenced)
        return CommitOutcome(durable, refused, lost, list(advanced))

    def clear(self) -> list[T]:
        """Give up all events that wait, and return their tickets.

        This is the end of the journal.
        """
        self.retry()
        return self._drop(lambda _: True)

    def _fence(self, batch: list[Waiting[T]], fenced: Collection[tuple[str, str]]) -> list[Writer]:
        names = set(fenced)
        lost = {w: None for _, _, w, _ in batch if (w.kind, w.key) in names}
        for writer in lost:
            writer.fenced = True
            writer.queued = writer.committed
        return list(lost)

    def _drop(self, lost: Callable[[Writer], bool]) -> list[T]:
        dropped = [waiting for waiting in self._queue if lost(waiting[2])]
        self._queue = deque(waiting for waiting in self._queue if not lost(waiting[2]))
        self.events -= len(dropped)
        self.bytes -= sum(size for _, size, _, _ in dropped)
        return [ticket for _, _, _, ticket in dropped]
