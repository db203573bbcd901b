"""The event store as trio code sees it."""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from typing import cast

from persistence.errors import StoreUnavailable
from persistence.requests import (
    Activate,
    AppendEvents,
    Asked,
    Epoch,
    LastSeq,
    ReadEvents,
    ReadEventsBefore,
    StoreCheck,
)
from persistence.rows import EventRow

_SEQ = 2  # where a row has its seq


class EventStore:
    """Events in PostgreSQL: the truth about every persistent actor.

    `writer` answers for an `EventWriter`, `reader` for an `EventReader` on the primary; `history`,
    if there is one, for an `EventReader` on a read replica. Every call has `timeout_s` seconds,
    after which whatever the `ask` of those raises comes out here. All may raise `StoreUnavailable`.
    """

    def __init__(
        self, writer: Asked, reader: Asked, history: Asked | None = None, *, timeout_s: float = 10.0
    ) -> None:
        self._writer = writer
        self._reader = reader
        self._history = history
        self._timeout_s = timeout_s

    def append(self, rows: Sequence[EventRow]) -> Awaitable[Sequence[tuple[str, str]]]:
        """Write events of any number of actors in one transaction; done when it has committed.

        What comes of it are the (kind, key)s that were fenced: another incarnation holds one of
        these seqs, or a later one has been activated. None of their rows was written; all others
        were. Rows that are there already, with the same epoch, are no error, so a call may be
        repeated.
        """
        return self._writer.ask(AppendEvents(rows), timeout=self._timeout_s)

    async def activate(self, kind: str, key: str) -> int:
        """Begin an incarnation of an actor and return its epoch, 1 for the first.

        Once this has returned, no row of an earlier incarnation can be written any more: what a
        `read` then finds is all there will be.
        Raises `RowRefused` if the database cannot hold such a name.
        """
        epoch = await self._writer.ask(Activate(kind, key), timeout=self._timeout_s)
        return cast("int", epoch)

    async def epoch(self, kind: str, key: str) -> int:
        """The newest epoch of an actor; 0 if it was never activated."""
        epoch = await self._reader.ask(Epoch(kind, key), timeout=self._timeout_s)
        return cast("int", epoch)

    async def read(
        self, kind: str, key: str, *, after: int, limit: int, max_bytes: int | None = None
    ) -> list[EventRow]:
        """The first `limit` events with seq > `after`, ascending, from the primary.

        The event with which the payloads reach `max_bytes` together is the last; it may exceed
        them.
        """
        request = ReadEvents(kind, key, after, limit, max_bytes)
        rows = await self._reader.ask(request, timeout=self._timeout_s)
        return cast("list[EventRow]", rows)

    async def read_before(
        self, kind: str, key: str, *, before: int, limit: int, max_bytes: int | None = None
    ) -> list[EventRow]:
        """The last `limit` events with seq < `before` (0: the newest), ascending.

        `max_bytes` as in `read`, from the newest down. A replica is asked only for what lies before
        a known event, and believed only if its answer reaches up to that event: one that lags would
        leave a silent gap.
        """
        request = ReadEventsBefore(kind, key, before, limit, max_bytes)
        if self._history is not None and before > 1:
            try:
                rows = cast(
                    "list[EventRow]", await self._history.ask(request, timeout=self._timeout_s)
                )
            except StoreUnavailable:
                rows = []
            if rows and rows[-1][_SEQ] == before - 1:
                return rows
        return cast("list[EventRow]", await self._reader.ask(request, timeout=self._timeout_s))

    async def last_seq(self, kind: str, key: str) -> int:
        """The seq of an actor's newest event; 0 if it has none."""
        seq = await self._reader.ask(LastSeq(kind, key), timeout=self._timeout_s)
        return cast("int", seq)

    async def ping(self) -> None:
        """Return if events can be written and read now."""
        await self._writer.ask(StoreCheck(), timeout=self._timeout_s)
        await self._reader.ask(StoreCheck(), timeout=self._timeout_s)
