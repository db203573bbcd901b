"""Deleting old events, and what old ones must not hold any longer, as trio code sees it."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from typing import Any, Final, cast

from persistence.requests import (
    Asked,
    DropEnded,
    FindMarked,
    FindSnapshots,
    FoundSnapshots,
    Marked,
    RewriteEvents,
    TrimLogs,
)
from persistence.rows import EventRow

LOOK_AT: Final = 2_000
"""How many events one step of a search looks at. It takes PostgreSQL some 5 ms, or 50 ms if the
events are not in memory."""
FIND_BYTES: Final = 262_144
"""A step finds no more once it has so many bytes of payload: they are decoded in one go."""


class Keeping:
    """Deletes what is to be kept no longer, step by step. `keeper` answers for an `EventKeeper`,
    `snapshots` for a `SnapshotWorker`.

    What comes of each call may be awaited; or raises `StoreUnavailable`, or what the `ask` raises
    after `timeout_s`. Of a deletion that is a `Step`.
    """

    def __init__(self, keeper: Asked, snapshots: Asked, *, timeout_s: float = 30.0) -> None:
        self._keeper = keeper
        self._snapshots = snapshots
        self._timeout_s = timeout_s

    def trim_logs(
        self, kind: str, *, after: str, names: int, kept: int, before_us: int, most: int
    ) -> Any:
        """Delete the oldest events of the next `names` names; see `TrimLogs`."""
        request = TrimLogs(kind, after, names, kept, before_us, most)
        return self._keeper.ask(request, timeout=self._timeout_s)

    def drop_ended(
        self, kind: str, last_type: str, *, after: str, names: int, before_us: int
    ) -> Any:
        """Delete those that have ended; see `DropEnded`."""
        request = DropEnded(kind, last_type, after, names, before_us)
        return self._keeper.ask(request, timeout=self._timeout_s)

    async def marked(self, kind: str, mark: bytes) -> AsyncGenerator[Sequence[EventRow], None]:
        """Yield all events of a kind whose payload contains `mark`, in pages, by key and seq.

        It looks at every event of the kind, a bounded step at a time. An event that is written
        meanwhile may be found or not.
        """
        after: tuple[str, int] | None = ("", 0)
        while after is not None:
            request = FindMarked(kind, mark, after, LOOK_AT, FIND_BYTES)
            found = cast("Marked", await self._keeper.ask(request, timeout=self._timeout_s))
            if found.rows:
                yield found.rows
            after = found.reached

    def rewrite(self, rows: Sequence[EventRow]) -> Any:
        """Give events other payloads, in place; see `RewriteEvents`."""
        return self._keeper.ask(RewriteEvents(rows), timeout=self._timeout_s)

    async def marked_snapshots(self, kind: str, mark: bytes) -> AsyncGenerator[str, None]:
        """Yield the keys of all actors of a kind whose snapshot contains `mark`; some maybe twice.

        A snapshot that is written meanwhile may be found or not.
        """
        cursor = -1
        while cursor:
            request = FindSnapshots(kind, mark, max(0, cursor))
            reply = await self._snapshots.ask(request, timeout=self._timeout_s)
            found = cast("FoundSnapshots", reply)
            for key in found.keys:
                yield key
            cursor = found.cursor
