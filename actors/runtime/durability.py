"""`Durability`: the journal and the snapshotter of a system with stores, and recovery by them."""

from __future__ import annotations

import random
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import TypeVar

import structlog
import trio

from .checks import check_seconds, check_type
from .commit_queue import Which, everyone
from .journal import Journal
from .journal_settings import STORE_BACKOFF, JournalSettings
from .read_budget import ReadBudget, RecoverySettings
from .recovery import Recoverable, Recovery, Sources
from .snapshots import SnapshotSettings, Snapshotter
from .stores import EventStore, SnapshotStore

A = TypeVar("A", bound=Recoverable)


@dataclass(frozen=True, slots=True, kw_only=True)
class DurabilitySettings:
    """The settings of the journal, of snapshots and of recovery.

    `read_timeout_s` is how long one read from a store may take, in seconds.
    """

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
    """The journal and the snapshotter of a node, and the recovery of actors from the stores.

    Arguments:
        events: the store of events, which alone decides what happened.
        snapshots: the store of snapshots, which make recovery faster. Without it every recovery
            replays events.
        settings: see `DurabilitySettings`.
        rng: for the jitter of back-offs.
        turn: entered while the journal settles futures, so that the actors they wake run at once.

    Attributes:
        read_budget: limits the memory that recoveries use for what they read.
        recovered: how many actors have recovered since the start.
        replayed: how many events they replayed.
        unsnapshotable: how often an actor's snapshot() raised, or returned what msgpack cannot
            encode.
        unsaved: how many events and snapshots `close` could not write.
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

    async def all_settled(self, which: Which = everyone) -> None:
        """Wait until all events and snapshots that are queued now, of the actors `which` picks by
        kind and key, are in the stores, or refused.
        """
        await self.journal.all_settled(which)
        if self.snapshotter is not None:
            await self.snapshotter.all_settled(which)

    async def recover(self, actor: A, another: Callable[[], A]) -> tuple[A, int]:
        """Bring an actor to the end of its log.

        First it waits until the events of the incarnation before are settled. Then it begins a new
        epoch, which shuts out every other incarnation on any node. Only then it reads. An actor
        that `looks_first`, and whose name has no epoch yet, does not begin one and keeps epoch 0.

        Arguments:
            actor: the new instance.
            another: makes another instance, for when a snapshot that proved useless was half
                restored.

        Returns the instance that has recovered, and how many events it replayed.

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
            # A first incarnation has no state. A snapshot of its name would be one of another
            # database, and a new actor need not wait for a snapshot store that is away.
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
        """Begin the first epoch of an actor that `looks_first`, and return it.

        The epoch is above 1 if another incarnation has begun one meanwhile.
        """
        return await Recovery(actor, self._sources).activate()

    async def close(self) -> None:
        """Write what is left, within the settings' deadlines, and log what could not be written.

        It is called when every persistent actor has stopped and the stores have not.
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
