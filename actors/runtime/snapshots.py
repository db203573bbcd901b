"""`Snapshotter`: writes the snapshots of all actors of a node to their store, in batches."""

from __future__ import annotations

import random
from dataclasses import dataclass
from functools import partial
from typing import Final, NamedTuple

import structlog
import trio

from .checks import check_count, check_seconds, check_type
from .commit_queue import Which, Writer, everyone
from .panic import ends_task, presentable, shown
from .restart import Backoff
from .stores import SnapshotRow, SnapshotStore

RETRIES: Final = Backoff(first_s=0.05, factor=2.0, max_s=0.5, jitter=0.25)


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotSettings:
    """Bounds and times of the snapshotter.

    Attributes:
        max_rows, max_bytes: how much may wait for the store; at most one snapshot an actor waits.
            Beyond that the oldest snapshot is dropped and counted, and its actor's next recovery
            takes longer.
        max_batch_rows, max_batch_bytes: how much one save may hold. It always holds at least one
            row.
        save_timeout_s: how long one save, or one load, may take, in seconds.
        backoff: the pause between attempts while the store is away.
        flush_s: how long a stopping system waits for the snapshots that are left, in seconds.

    Raises ValueError or TypeError for a setting that makes no sense.
    """

    max_rows: int = 100_000
    max_bytes: int = 128 * 1024 * 1024
    max_batch_rows: int = 500
    max_batch_bytes: int = 4 * 1024 * 1024
    save_timeout_s: float = 10.0
    backoff: Backoff = RETRIES
    flush_s: float = 5.0

    def __post_init__(self) -> None:
        for name in ("max_rows", "max_bytes", "max_batch_rows", "max_batch_bytes"):
            check_count(name, getattr(self, name), least=1)
        check_seconds("save_timeout_s", self.save_timeout_s, above_zero=True)
        check_type("backoff", self.backoff, Backoff)
        check_seconds("flush_s", self.flush_s)


@dataclass(slots=True)
class SnapshotStatistics:
    """Counts of a snapshotter since its start.

    Attributes:
        saved, deleted: snapshots that were written to the store, or deleted from it.
        retries: saves that failed and were tried again.
        dropped: snapshots that were dropped because too much waited.
        waiting_rows, waiting_bytes: what waits now.
    """

    saved: int = 0
    deleted: int = 0
    retries: int = 0
    dropped: int = 0
    waiting_rows: int = 0
    waiting_bytes: int = 0


class PendingSnapshot(NamedTuple):
    """An actor's newest snapshot that is not in the store yet; a `row` of None is a deletion.

    `writer` is the writer of the incarnation that took the snapshot.
    """

    row: SnapshotRow | None
    writer: Writer | None = None

    @property
    def size(self) -> int:
        """The size of the payload, in bytes."""
        return 0 if self.row is None else len(self.row[5])


class Snapshotter:
    """Keeps the newest snapshot of each actor until its events are committed and the store has it.

    A snapshot is offered with its actor's writer. It is not saved before the journal has committed
    the event up to which it is true: a snapshot ahead of the log would bring back events that never
    happened. Until the store has the snapshot, `latest` returns it, so that an actor that starts
    again while the store is away loses nothing. A newer snapshot replaces an older one that waits,
    so that each actor has at most one. Used in the home thread only.
    """

    def __init__(
        self,
        store: SnapshotStore,
        settings: SnapshotSettings | None = None,
        *,
        rng: random.Random | None = None,
    ) -> None:
        self.store = store
        self.settings = settings or SnapshotSettings()
        self._rng = rng or random.Random()
        self._log = structlog.get_logger("actors.snapshots")
        self._held: dict[tuple[str, str], PendingSnapshot] = {}
        self._ready: dict[tuple[str, str], PendingSnapshot] = {}
        self._awaited: set[Writer] = set()  # writers that will call back; each has one callback
        self._bytes = 0
        self._limit = self.settings.max_batch_rows
        self._counts = SnapshotStatistics()
        self._asleep = False
        self._alarm = trio.lowlevel.ParkingLot()
        self._changed = trio.Event()

    def offer(self, row: SnapshotRow, writer: Writer) -> None:
        """Take a snapshot in place of an older one. It is saved once its seq is committed."""
        self._hold((row[0], row[1]), PendingSnapshot(row, writer))
        if writer not in self._awaited:
            self._settle(writer)

    def discard(self, kind: str, key: str) -> None:
        """Delete the snapshot of an actor that will not start again."""
        name = (kind, key)
        held = PendingSnapshot(None)
        self._hold(name, held)
        self._make_ready(name, held)

    def latest(self, kind: str, key: str) -> PendingSnapshot | None:
        """Return a snapshot that is newer than the store's; None if the store has the newest."""
        return self._held.get((kind, key))

    async def load(self, kind: str, key: str) -> SnapshotRow | None:
        """Return the newest snapshot, or None. It may be one that is not in the store yet.

        Raises what the store raises, and trio.TooSlowError after `save_timeout_s`.
        """
        held = self.latest(kind, key)
        if held is not None:
            return held.row
        with trio.fail_after(self.settings.save_timeout_s):
            return await self.store.load(kind, key)

    async def run(self) -> None:
        """Save batch after batch, until cancelled."""
        attempt = 0
        task = trio.lowlevel.current_task()
        while True:
            batch = self._take()
            if not batch:
                await self._sleep()
                continue
            try:
                with trio.fail_after(self.settings.save_timeout_s):
                    await self._save(batch)
            except BaseException as error:  # whatever a store raises, try again
                if ends_task(error, task):
                    raise
                attempt += 1
                await self._back_off(attempt, batch, presentable(error))
                continue
            if attempt:
                self._log.info("snapshot_store_is_back", attempts=attempt)
                attempt = 0
            self._done(batch)

    async def flush(self) -> None:
        """Wait until no snapshot is left. The journal must have been drained before."""
        while self._held:
            await self._changed.wait()

    async def all_settled(self, which: Which = everyone) -> None:
        """Wait until every snapshot that is held now, of the actors `which` picks, is in the store,
        or a newer one is.
        """
        for name, held in [each for each in self._held.items() if which(*each[0])]:
            while self._held.get(name) is held:
                await self._changed.wait()

    def statistics(self) -> SnapshotStatistics:
        """Return the counts. The snapshotter goes on changing the record that it returns."""
        self._counts.waiting_rows = len(self._held)
        self._counts.waiting_bytes = self._bytes
        return self._counts

    def _hold(self, name: tuple[str, str], held: PendingSnapshot) -> None:
        self._release(name)
        self._held[name] = held
        self._bytes += held.size
        while len(self._held) > self.settings.max_rows or (
            self._bytes > self.settings.max_bytes and len(self._held) > 1
        ):
            oldest = next(iter(self._held))
            self._release(oldest)
            if self._counts.dropped % 1000 == 0:
                self._log.warning(
                    "snapshot_dropped",
                    kind=oldest[0],
                    key=oldest[1],
                    dropped=self._counts.dropped + 1,
                )
            self._counts.dropped += 1
            self._note_change()

    def _release(self, name: tuple[str, str]) -> None:
        held = self._held.pop(name, None)
        if held is not None:
            self._bytes -= held.size
            self._ready.pop(name, None)

    def _settle(self, writer: Writer) -> None:
        """Pass a writer's snapshot on if its events are committed; if not, look again when they
        are.
        """
        name = (writer.kind, writer.key)
        held = self._held.get(name)
        if held is None or held.row is None or held.writer is not writer:
            return  # another snapshot has replaced it
        seq = held.row[2]
        if writer.fenced:
            self._release(name)  # the snapshot may hold events that are not in the log
            self._note_change()
        elif writer.committed >= seq:
            self._make_ready(name, held)
        else:
            self._awaited.add(writer)
            writer.when_committed(seq, partial(self._look_again, writer))

    def _look_again(self, writer: Writer) -> None:
        self._awaited.discard(writer)
        self._settle(writer)

    def _make_ready(self, name: tuple[str, str], held: PendingSnapshot) -> None:
        self._ready[name] = held
        if self._asleep:
            self._asleep = False
            self._alarm.unpark()

    def _take(self) -> list[tuple[tuple[str, str], PendingSnapshot]]:
        batch: list[tuple[tuple[str, str], PendingSnapshot]] = []
        room = self.settings.max_batch_bytes
        for name, held in self._ready.items():
            room -= held.size
            if len(batch) == self._limit or (room < 0 and batch):
                break
            batch.append((name, held))
        for name, _ in batch:
            del self._ready[name]
        return batch

    async def _save(self, batch: list[tuple[tuple[str, str], PendingSnapshot]]) -> None:
        rows = [held.row for _, held in batch if held.row is not None]
        if rows:
            await self.store.save(rows)
        for (kind, key), held in batch:
            if held.row is None:
                await self.store.delete(kind, key)

    def _done(self, batch: list[tuple[tuple[str, str], PendingSnapshot]]) -> None:
        self._limit = min(self.settings.max_batch_rows, self._limit * 2)
        for name, held in batch:
            if held.row is None:
                self._counts.deleted += 1
            else:
                self._counts.saved += 1
            if self._held.get(name) is held:
                self._release(name)
        self._note_change()

    async def _back_off(
        self, attempt: int, batch: list[tuple[tuple[str, str], PendingSnapshot]], error: Exception
    ) -> None:
        self._counts.retries += 1
        # The batch goes to the end of the line, and the next one is half as large. So a snapshot
        # that the store can never take is alone in its batch in the end, and delays no other. The
        # order between actors does not matter.
        self._limit = max(1, len(batch) // 2)
        for name, held in batch:
            if self._held.get(name) is held:
                self._ready[name] = held
        delay_s = self.settings.backoff.delay_s(attempt + 1, self._rng)
        self._log.warning(
            "snapshot_store_failed",
            error=shown(error),
            attempt=attempt,
            retry_in_s=round(delay_s, 3),
            first="/".join(batch[0][0]),
            waiting=len(self._held),
        )
        await trio.sleep(delay_s)

    def _note_change(self) -> None:
        self._changed.set()
        self._changed = trio.Event()

    async def _sleep(self) -> None:
        self._asleep = True
        try:
            await self._alarm.park()
        finally:
            self._asleep = False
