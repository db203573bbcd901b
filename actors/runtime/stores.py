"""What the runtime needs of a database: the Protocols of two stores, and the shapes of their rows.

Rows are plain tuples. So a store and the runtime need not import one another, and each event takes
the time for one tuple only; a NamedTuple takes five times as long to make.
"""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from typing import Protocol, TypeAlias

EventRow: TypeAlias = tuple[str, str, int, int, str, bytes, int]
"""kind, key, seq, epoch, type, payload (msgpack of the event), at_us (unix time in µs, UTC)."""

SnapshotRow: TypeAlias = tuple[str, str, int, int, int, bytes]
"""kind, key, seq, epoch, schema version, payload (msgpack of the state after event `seq`)."""


class EventStore(Protocol):
    """An append-only log of events for each (kind, key), in one durable database.

    An exception of a method means that the call failed, or that its outcome is unknown; the runtime
    tries again. An exception whose attribute `permanent` is true means that a row or name of the
    call can never be stored, and that nothing of the call was.
    """

    def append(self, rows: Sequence[EventRow]) -> Awaitable[Sequence[tuple[str, str]]]:
        """Write a batch in one transaction, and return the (kind, key)s that are fenced.

        An actor is fenced if another incarnation has written one of its seqs, or if a higher epoch
        has been activated. None of a fenced actor's rows in this batch is written; all rows of
        other actors are. Rows that are there already with the same epoch count as written, so that
        a batch can be sent again if the answer to it was lost.

        This may be an async function. A function that returns an `actors.Future`, and raises
        nothing itself, saves two task switches for each batch.
        """
        ...

    async def activate(self, kind: str, key: str) -> int:
        """Begin an incarnation: count a durable counter up by one, and return it as the epoch (>=
        1).
        """
        ...

    async def epoch(self, kind: str, key: str) -> int:
        """Return the newest epoch, or 0 if there was never an incarnation of this name."""
        ...

    async def read(
        self, kind: str, key: str, *, after: int, limit: int, max_bytes: int | None = None
    ) -> Sequence[EventRow]:
        """Return up to `limit` rows with seq > after, in ascending order.

        The last row is the one with which the payloads together reach `max_bytes`, or exceed it.
        """
        ...

    async def read_before(
        self, kind: str, key: str, *, before: int, limit: int, max_bytes: int | None = None
    ) -> Sequence[EventRow]:
        """Return the last `limit` rows with seq < before, in ascending order.

        With `before=0` these are the newest rows. `max_bytes` is as in `read`, counted from the
        newest row down.
        """
        ...

    async def last_seq(self, kind: str, key: str) -> int:
        """Return the newest seq, or 0 if there is no event."""
        ...


class SnapshotStore(Protocol):
    """Snapshots, which make recovery faster. Losing them costs time, but no acknowledged event."""

    async def save(self, rows: Sequence[SnapshotRow]) -> None:
        """Store these rows, each unless the store has one of that name with a higher (epoch, seq).

        A row with an equal (epoch, seq) replaces the stored one, since state may change without an
        event.
        """
        ...

    async def load(self, kind: str, key: str) -> SnapshotRow | None:
        """Return the newest snapshot, or None if there is none."""
        ...

    async def delete(self, kind: str, key: str) -> None:
        """Delete the snapshot. It is no error if there is none."""
        ...


def is_permanent(error: Exception) -> bool:
    """Return whether a store's error says, by a true attribute `permanent`, that a retry is
    useless.
    """
    return bool(getattr(error, "permanent", False))
