"""The node-wide snapshotter: snapshots of all actors go to their store together."""

from __future__ import annotations

import random
from dataclasses import dataclass
from functools import partial
from typing import Final, NamedTuple

import structlog
import trio

from .checks import check_count, check_seconds, check_type
from .commit_queue import Writer
from .panic import ends_task, presentable, shown
from .restart import Backoff
from .stores import SnapshotRow, SnapshotStore

RETRIES: Final = Backoff(first_s=0.05, factor=2.0, max_s=0.5, jitter=0.25)


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotSettings:
    """Bounds and times of the snapshotter.

    Attributes:
        max_rows, max_bytes: what may wait for the store, at most one row an actor; past it the
            oldest is dropped and counted, which costs its actor a longer recovery.
        max_batch_rows, max_batch_bytes: one save, at least one row.
        save_timeout_s: how long one save may take before it is tried again.
        backoff: between attempts while the store is away. Soon after it is back, what was offered
            meanwhile is in it.
        flush_s: how long a stopping system waits for what is left.

    Raises ValueError or TypeError for what makes no sense.
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
    """Counts since the start, and what waits now."""

    saved: int = 0
    deleted: int = 0
    retries: int = 0
    dropped: int = 0
    waiting_rows: int = 0
    waiting_bytes: int = 0


class Held(NamedTuple):
    """An actor's newest snapshot, which is not in the store yet; without a row, a deletion.

    `writer` is that of the incarnation that took it.
    """

    row: SnapshotRow | None
    writer: Writer | None = None

    @property
    def size(self) -> int:
        """Payload bytes."""
        return 0 if self.row is None else len(self.row[5])


class Snapshotter:
    """Keeps the newest snapshot of each actor until it is committed, then until it is stored.

    A snapshot is handed in with its actor's writer and goes nowhere before the journal has
    committed the seq up to which it is true: a snapshot ahead of the log would bring back events
    that never happened. Until the store has it, `latest` answers for it, so that an actor that is
    woken again before the store came back loses nothing. A newer one takes the place of an older
    one wherever that waits: however long a store is away, an actor holds one. Home thread only.
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
        self._held: dict[tuple[str, str], Held] = {}
        self._ready: dict[tuple[str, str], Held] = {}
        self._awaited: set[Writer] = set()  # which call back; once, however many snapshots wait
        self._bytes = 0
        self._limit = self.settings.max_batch_rows
        self._counts = SnapshotStatistics()
        self._asleep = False
        self._alarm = trio.lowlevel.ParkingLot()
        self._changed = trio.Event()

    def offer(self, row: SnapshotRow, writer: Writer) -> None:
        """Keep a snapshot in place of an older one; it is saved once its seq is committed."""
        self._hold((row[0], row[1]), Held(row, writer))
        if writer not in self._awaited:
            self._settle(writer)

    def discard(self, kind: str, key: str) -> None:
        """Delete what is stored for an actor: its life is over."""
        name = (kind, key)
        held = Held(None)
        self._hold(name, held)
        self._make_ready(name, held)

    def latest(self, kind: str, key: str) -> Held | None:
        """Return what is newer than the store, None if the store has the newest."""
        return self._held.get((kind, key))

    async def load(self, kind: str, key: str) -> SnapshotRow | None:
        """Return the newest snapshot, be it in the store yet or not; whatever the store raises."""
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
            except BaseException as error:  # whatever a store raises means: try again
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
        """Wait until nothing is left; the journal has drained, so all of it can be saved."""
        while self._held:
            await self._changed.wait()

    def statistics(self) -> SnapshotStatistics:
        """Return the counts; the record is the snapshotter's own and goes on changing."""
        self._counts.waiting_rows = len(self._held)
        self._counts.waiting_bytes = self._bytes
        return self._counts

    def _hold(self, name: tuple[str, str], held: Held) -> None:
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

    def _release(self, name: tuple[str, str]) -> None:
        held = self._held.pop(name, None)
        if held is not None:
            self._bytes -= held.size
            self._ready.pop(name, None)

    def _settle(self, writer: Writer) -> None:
        """See whether the snapshot of a writer may go now, and have it seen to again if not."""
        name = (writer.kind, writer.key)
        held = self._held.get(name)
        if held is None or held.row is None or held.writer is not writer:
            return  # another took its place
        seq = held.row[2]
        if writer.fenced:
            self._release(name)  # it may hold events that are not in the log
            self._note_change()
        elif writer.committed >= seq:
            self._make_ready(name, held)
        else:
            self._awaited.add(writer)
            writer.when_committed(seq, partial(self._look_again, writer))

    def _look_again(self, writer: Writer) -> None:
        self._awaited.discard(writer)
        self._settle(writer)

    def _make_ready(self, name: tuple[str, str], held: Held) -> None:
        self._ready[name] = held
        if self._asleep:
            self._asleep = False
            self._alarm.unpark()

    def _take(self) -> list[tuple[tuple[str, str], Held]]:
        batch: list[tuple[tuple[str, str], Held]] = []
        room = self.settings.max_batch_bytes
        for name, held in self._ready.items():
            room -= held.size
            if len(batch) == self._limit or (room < 0 and batch):
                break
            batch.append((name, held))
        for name, _ in batch:
            del self._ready[name]
        return batch

    async def _save(self, batch: list[tuple[tuple[str, str], Held]]) -> None:
        rows = [held.row for _, held in batch if held.row is not None]
        if rows:
            await self.store.save(rows)
        for (kind, key), held in batch:
            if held.row is None:
                await self.store.delete(kind, key)

    def _done(self, batch: list[tuple[tuple[str, str], Held]]) -> None:
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
        self, attempt: int, batch: list[tuple[tuple[str, str], Held]], error: Exception
    ) -> None:
        self._counts.retries += 1
        # To the end of the line, and fewer at a time: a row that the store will never take comes
        # to be alone and holds up nobody. Between actors there is no order to keep.
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
