"""What a system with stores has beyond one without: the journal, the snapshotter, their end."""

from __future__ import annotations

import random
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import TypeVar

import structlog
import trio

from .checks import check_seconds, check_type
from .journal import Journal
from .journal_settings import STORE_BACKOFF, JournalSettings
from .read_budget import ReadBudget, RecoverySettings
from .recovery import Recoverable, Recovery, Sources
from .snapshots import SnapshotSettings, Snapshotter
from .stores import EventStore, SnapshotStore

A = TypeVar("A", bound=Recoverable)


@dataclass(frozen=True, slots=True, kw_only=True)
class DurabilitySettings:
    """The settings of the parts; `read_timeout_s` is how long one read may take."""

    journal: JournalSettings = field(default_factory=JournalSettings)
    snapshots: SnapshotSettings = field(default_factory=SnapshotSettings)
    recovery: RecoverySettings = field(default_factory=RecoverySettings)
    read_timeout_s: float = 10.0

    def __post_init__(self) -> None:
        check_type("journal", self.journal, JournalSettings)
        check_type("snapshots", self.snapshots, SnapshotSettings)
        check_type("recovery", self.recovery, RecoverySettings)
        check_seconds("read_timeout_s", self.read_timeout_s, above_zero=True)


class Durability:
    """The journal and the snapshotter of a node, and how actors recover through them.

    Arguments:
        events: the truth.
        snapshots: the fast way back; without it every recovery replays events.
        turn: what the journal resolves futures in.

    Attributes:
        read_budget: of what recoveries read.
        recovered, replayed: how many actors, and from how many events, since the start.
        unsnapshotable: how often an actor's snapshot() raised or returned what msgpack cannot hold.
    """

    def __init__(
        self,
        events: EventStore,
        snapshots: SnapshotStore | None = None,
        settings: DurabilitySettings | None = None,
        *,
        rng: random.Random | None = None,
        turn: AbstractContextManager[None] | None = None,
    ) -> None:
        self.settings = settings = settings or DurabilitySettings()
        self.rng = rng or random.Random()
        self.journal = Journal(events, settings.journal, rng=self.rng, turn=turn)
        self.snapshotter = (
            None if snapshots is None else Snapshotter(snapshots, settings.snapshots, rng=self.rng)
        )
        self.read_budget = ReadBudget(settings.recovery)
        self.recovered = 0
        self.replayed = 0
        self.unsnapshotable = 0
        self.unsaved = 0
        """Events and snapshots that `close` could not write."""
        self._sources = Sources(
            events=events,
            load=self.snapshotter.load if self.snapshotter is not None else None,
            backoff=STORE_BACKOFF,
            rng=self.rng,
            timeout_s=settings.read_timeout_s,
            budget=self.read_budget,
        )
        self._log = structlog.get_logger("actors.durability")

    async def run(self) -> None:
        """Write to the stores until cancelled."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.journal.run)
            if self.snapshotter is not None:
                nursery.start_soon(self.snapshotter.run)

    async def recover(self, actor: A, another: Callable[[], A]) -> tuple[A, int]:
        """Bring an actor, or `another()` in its place, to where its log stands.

        Returns it, and how many events that took.

        In this order: what the incarnation before has on its way is settled; then a new epoch shuts
        out every other incarnation, on whichever node; only then is anything read. An actor that
        `looks_first` takes no epoch where there was none, and is left with epoch 0.

        Raises:
            RecoveryFailed: the log cannot be replayed.
        """
        ref = actor.actor_ref
        await self.journal.settled(ref.kind, ref.key)
        recovery = Recovery(actor, self._sources)
        if actor.looks_first and not await recovery.known():
            return actor, 0
        epoch = actor.epoch = await recovery.activate()
        try:
            # A first incarnation has nothing to come back to: what the snapshot store may hold is
            # of another database, and a new actor need not wait for a store that is away.
            if epoch == 1 or not await recovery.from_snapshot():
                ignored = recovery.ignored
                if recovery.spoilt:
                    actor = another()
                    actor.epoch = epoch
                    recovery.let_go()
                    recovery = Recovery(actor, self._sources)
                actor.snapshot_ignored = ignored
                await recovery.from_events()
        finally:
            recovery.let_go()
        self.recovered += 1
        self.replayed += recovery.replayed
        actor.log.debug(
            "recovered",
            seq=actor.seq,
            epoch=epoch,
            snapshot_seq=recovery.snapshot_seq,
            replayed=recovery.replayed,
        )
        return actor, recovery.replayed

    async def activate(self, actor: Recoverable) -> int:
        """Begin the first incarnation of an actor that has looked, or a later one if another was
        first; return its epoch.
        """
        return await Recovery(actor, self._sources).activate()

    async def close(self) -> None:
        """Write what is left, within the settings' deadlines; say what could not be.

        Every actor has stopped by then; the stores have not.
        """
        with trio.move_on_after(self.settings.journal.drain_s):
            await self.journal.drain()
        lost = self.journal.close()
        self.unsaved += lost
        if lost:
            self._log.error("events_not_committed", events=lost, acknowledged=0)
        if self.snapshotter is not None:
            with trio.move_on_after(self.settings.snapshots.flush_s):
                await self.snapshotter.flush()
            left = self.snapshotter.statistics().waiting_rows
            self.unsaved += left
            if left:
                self._log.warning("snapshots_not_saved", snapshots=left)
