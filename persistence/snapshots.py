"""The snapshot store as trio code sees it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from persistence.requests import Asked, DeleteSnapshot, LoadSnapshot, SaveSnapshots, StoreCheck
from persistence.rows import SnapshotRow


class SnapshotStore:
    """Snapshots in Redis or Valkey: the fast way back, never the only one.

    `worker` answers for a `SnapshotWorker`. Every call has `timeout_s` seconds, after which
    whatever its `ask` raises comes out here. All may raise `StoreUnavailable`.
    """

    def __init__(self, worker: Asked, *, timeout_s: float = 10.0) -> None:
        self._worker = worker
        self._timeout_s = timeout_s

    async def save(self, rows: Sequence[SnapshotRow]) -> None:
        """Keep snapshots. One with an older (epoch, seq) never replaces a newer one."""
        await self._worker.ask(SaveSnapshots(rows), timeout=self._timeout_s)

    async def load(self, kind: str, key: str) -> SnapshotRow | None:
        """One actor's snapshot, or None if there is none (or none that can be read)."""
        row = await self._worker.ask(LoadSnapshot(kind, key), timeout=self._timeout_s)
        return cast("SnapshotRow | None", row)

    async def delete(self, kind: str, key: str) -> None:
        """Forget one actor's snapshot; harmless if there is none."""
        await self._worker.ask(DeleteSnapshot(kind, key), timeout=self._timeout_s)

    async def ping(self) -> None:
        """Return if the store answers now."""
        await self._worker.ask(StoreCheck(), timeout=self._timeout_s)
