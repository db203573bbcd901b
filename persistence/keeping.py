"""`Keeping`: deletes old events, and finds and rewrites marked ones, for trio code."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from typing import Any, Final, cast

from persistence.requests import (
    Asked,
    DropEnded,
    FindMarked,
    FindSnapshots,
    ForgetAnswers,
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
"""A step ends once it has found so many bytes of payload, since they are decoded at once."""


class Keeping:
    """Deletes events that need not be kept any longer, and finds and rewrites those with a mark.

    Each method may raise `StoreUnavailable`, or the error of an `ask` that takes longer than
    `timeout_s`.

    Arguments:
        keeper: the ref of an `EventKeeper`.
        snapshots: the ref of a `SnapshotWorker`.
        timeout_s: how long a call may take, in seconds.
    """

    def __init__(self, keeper: Asked, snapshots: Asked, *, timeout_s: float = 30.0) -> None:
        self._keeper = keeper
        self._snapshots = snapshots
        self._timeout_s = timeout_s

    def trim_logs(
        self, kind: str, *, after: str, names: int, kept: int, before_us: int, most: int
    ) -> Any:
        """Delete old events of the next `names` actors, and return a `Step`; see `TrimLogs`."""
        request = TrimLogs(kind, after, names, kept, before_us, most)
        return self._keeper.ask(request, timeout=self._timeout_s)

    def drop_ended(
        self, kind: str, last_type: str, *, after: str, names: int, before_us: int
    ) -> Any:
        """Delete the logs of actors that have ended, and return a `Step`; see `DropEnded`."""
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

    def forget_answers(self, user: str) -> Any:
        """Forget what a user's commands with a key were answered: a retry of one acts again."""
        return self._keeper.ask(ForgetAnswers(user), timeout=self._timeout_s)

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
