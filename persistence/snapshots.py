"""`SnapshotStore`: the snapshot store, for trio code."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from persistence.requests import Asked, DeleteSnapshot, LoadSnapshot, SaveSnapshots, StoreCheck
from persistence.rows import SnapshotRow


class SnapshotStore:
    """Snapshots in Redis or Valkey. They make recovery faster.

    All methods may raise `StoreUnavailable`, and the error of an `ask` that takes longer than
    `timeout_s`.

    Arguments:
        worker: the ref of a `SnapshotWorker`.
        timeout_s: how long a call may take, in seconds.
    """

    def __init__(self, worker: Asked, *, timeout_s: float = 10.0) -> None:
        self._worker = worker
        self._timeout_s = timeout_s

    async def save(self, rows: Sequence[SnapshotRow]) -> None:
        """Save snapshots. One with a lower (epoch, seq) never replaces another."""
        await self._worker.ask(SaveSnapshots(rows), timeout=self._timeout_s)

    async def load(self, kind: str, key: str) -> SnapshotRow | None:
        """Return an actor's snapshot, or None if there is none, or none that can be read."""
        row = await self._worker.ask(LoadSnapshot(kind, key), timeout=self._timeout_s)
        return cast("SnapshotRow | None", row)

    async def delete(self, kind: str, key: str) -> None:
        """Delete an actor's snapshot. It is no error if there is none."""
        await self._worker.ask(DeleteSnapshot(kind, key), timeout=self._timeout_s)

    async def ping(self) -> None:
        """Return if the store answers now."""
        await self._worker.ask(StoreCheck(), timeout=self._timeout_s)
