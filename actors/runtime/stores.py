"""What the runtime asks of a database: two Protocols, and rows that are plain tuples.

Plain tuples, so that a store and the runtime need not import one another, and because an event
costs one of them: a NamedTuple takes five times as long to build.
"""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from typing import Protocol, TypeAlias

EventRow: TypeAlias = tuple[str, str, int, int, str, bytes, int]
"""kind, key, seq, epoch, type, payload (msgpack of the event), at_us (unix time in µs, UTC)."""

SnapshotRow: TypeAlias = tuple[str, str, int, int, int, bytes]
"""kind, key, seq, epoch, schema version, payload (msgpack); true up to and including seq."""


class EventStore(Protocol):
    """The truth: an append-only log for each (kind, key), in one durable database.

    An exception that a method raises means "this did not work, or nobody knows; try again". One
    with a true attribute `permanent` means that such a row or name can never be stored, and that
    none of the batch was.
    """

    def append(self, rows: Sequence[EventRow]) -> Awaitable[Sequence[tuple[str, str]]]:
        """Write a batch in one transaction and return the (kind, key)s that are fenced.

        An async function will do; one that returns an `actors.Future` and raises nothing itself
        saves two switches of tasks for each batch.

        Fenced: another incarnation holds one of the seqs, or a higher epoch has been activated.
        None of a fenced actor's rows in this batch is written; everyone else's are. Rows that are
        there already with the same epoch count as written, so that a batch can be sent again when
        the answer to it was lost.
        """
        ...

    async def activate(self, kind: str, key: str) -> int:
        """Begin an incarnation: a durable counter goes up by one and is its epoch (>= 1)."""
        ...

    async def epoch(self, kind: str, key: str) -> int:
        """Return the newest epoch, 0 if nothing was ever activated under this name."""
        ...

    async def read(
        self, kind: str, key: str, *, after: int, limit: int, max_bytes: int | None = None
    ) -> Sequence[EventRow]:
        """Return up to `limit` rows with seq > after, ascending.

        The row with which the payloads reach `max_bytes` together is the last; it may exceed them.
        """
        ...

    async def read_before(
        self, kind: str, key: str, *, before: int, limit: int, max_bytes: int | None = None
    ) -> Sequence[EventRow]:
        """Return the last `limit` rows with seq < before, ascending; before=0 means the newest.

        `max_bytes` as in `read`, from the newest down.
        """
        ...

    async def last_seq(self, kind: str, key: str) -> int:
        """Return the newest seq, 0 if there is no event."""
        ...


class SnapshotStore(Protocol):
    """The fast way back. Losing it costs time, never an acknowledged event."""

    async def save(self, rows: Sequence[SnapshotRow]) -> None:
        """Keep these; what is older by (epoch, seq) never overwrites what is newer.

        An equal (epoch, seq) does overwrite: state may change without an event.
        """
        ...

    async def load(self, kind: str, key: str) -> SnapshotRow | None:
        """Return the newest snapshot, None if there is none."""
        ...

    async def delete(self, kind: str, key: str) -> None:
        """Forget the snapshot; no error if there is none."""
        ...


def is_permanent(error: Exception) -> bool:
    """Whether a store says, by a true attribute `permanent`, that trying again is useless."""
    return bool(getattr(error, "permanent", False))
