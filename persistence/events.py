"""`EventStore`: the event store, for trio code."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
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

_SEQ = 2  # the index of the seq in a row


class EventStore:
    """Events in PostgreSQL, which decide the state of every persistent actor.

    All methods may raise `StoreUnavailable`, and the error of an `ask` that takes longer than
    `timeout_s`.

    Arguments:
        writer: the ref of an `EventWriter`.
        reader: the ref of an `EventReader` on the primary.
        history: the ref of an `EventReader` on a read replica, if there is one.
        fresh: says whether that replica is not too far behind.
        timeout_s: how long a call may take, in seconds.

    Attributes:
        from_replica: how many reads a replica has answered.
        not_from_replica: how many the primary has answered in its place: it was too far behind, or
            did not answer.
    """

    def __init__(
        self,
        writer: Asked,
        reader: Asked,
        history: Asked | None = None,
        *,
        fresh: Callable[[], bool] = lambda: True,
        timeout_s: float = 10.0,
    ) -> None:
        self._writer = writer
        self._reader = reader
        self._history = history
        self._fresh = fresh
        self.from_replica = 0
        self.not_from_replica = 0
        self._timeout_s = timeout_s

    def append(self, rows: Sequence[EventRow]) -> Awaitable[Sequence[tuple[str, str]]]:
        """Write events of any number of actors in one transaction, and wait for its commit.

        Returns the (kind, key)s that are fenced: another incarnation has written one of the seqs,
        or a later one has been activated. None of their rows was written; all rows of others were.
        Rows that are there already with the same epoch are no error, so a call may be repeated.
        """
        return self._writer.ask(AppendEvents(rows), timeout=self._timeout_s)

    async def activate(self, kind: str, key: str) -> int:
        """Begin an incarnation of an actor, and return its epoch; the first is 1.

        Once this has returned, no event of an earlier incarnation can be written any more. A later
        `read` finds all of them. Raises `RowRefused` if the database cannot hold such a name.
        """
        epoch = await self._writer.ask(Activate(kind, key), timeout=self._timeout_s)
        return cast("int", epoch)

    async def epoch(self, kind: str, key: str) -> int:
        """Return the newest epoch of an actor, or 0 if it was never activated."""
        epoch = await self._reader.ask(Epoch(kind, key), timeout=self._timeout_s)
        return cast("int", epoch)

    async def read(
        self, kind: str, key: str, *, after: int, limit: int, max_bytes: int | None = None
    ) -> list[EventRow]:
        """Return the first `limit` events with seq > `after`, ascending, from the primary.

        The last event is the one with which the payloads together reach `max_bytes`, or exceed it.
        """
        request = ReadEvents(kind, key, after, limit, max_bytes)
        rows = await self._reader.ask(request, timeout=self._timeout_s)
        return cast("list[EventRow]", rows)

    async def read_before(
        self, kind: str, key: str, *, before: int, limit: int, max_bytes: int | None = None
    ) -> list[EventRow]:
        """Return the last `limit` events with seq < `before` (0: the newest), ascending.

        `max_bytes` is as in `read`, counted from the newest event down. A replica is asked only for
        events before a known one, and its answer is used only if it reaches up to that one: a
        replica that lags behind would leave a silent gap. One that is too far behind is not asked,
        for it may have what was deleted since.
        """
        request = ReadEventsBefore(kind, key, before, limit, max_bytes)
        if self._history is not None and before > 1:
            rows: list[EventRow] = []
            if self._fresh():
                with suppress(StoreUnavailable):
                    rows = await self._history.ask(request, timeout=self._timeout_s)
            if rows and rows[-1][_SEQ] == before - 1:
                self.from_replica += 1
                return rows
            self.not_from_replica += 1
        return cast("list[EventRow]", await self._reader.ask(request, timeout=self._timeout_s))

    async def last_seq(self, kind: str, key: str) -> int:
        """Return the seq of an actor's newest event, or 0 if it has none."""
        seq = await self._reader.ask(LastSeq(kind, key), timeout=self._timeout_s)
        return cast("int", seq)

    async def ping(self) -> None:
        """Return if events can be written and read now."""
        await self._writer.ask(StoreCheck(), timeout=self._timeout_s)
        await self._reader.ask(StoreCheck(), timeout=self._timeout_s)
