"""Recovery of a persistent actor's state, from a snapshot and later events or from events alone."""

from __future__ import annotations

import math
import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Protocol, TypeVar

import msgspec
import trio

from .panic import shown
from .read_budget import ReadBudget
from .ref import ActorRef
from .restart import Backoff
from .stores import EventRow, EventStore, SnapshotRow, is_permanent

if TYPE_CHECKING:
    import structlog

T = TypeVar("T")

PAGE_ROWS = 1_000
"""How many rows are read at once, at most.

It takes a few ms to decode and apply them, and then other tasks have their turn.
"""


class RecoveryFailed(Exception):  # noqa: N818 - the end state's name
    """The log cannot be replayed. No event is skipped: the actor fails until the log is mended.

    Attributes:
        kind, key: the actor's name.
        seq: the number of the event.
        why: what is wrong with it.
    """

    def __init__(self, kind: str, key: str, seq: int, why: str) -> None:
        super().__init__(f"{kind}/{key} cannot be recovered: event {seq} {why}")
        self.kind = kind
        self.key = key
        self.seq = seq
        self.why = why


class UnreadableEvent(RecoveryFailed):
    """An event in the log has an unknown type, or its bytes cannot be decoded as that type."""


class LogGap(RecoveryFailed):
    """An event is missing in the log."""


def check_snapshot(
    snapshot: SnapshotRow, first: EventRow | None, schema_version: int
) -> str | None:
    """Return why a snapshot must not be used, or None if it may be used.

    Arguments:
        snapshot: the snapshot's row.
        first: the first row of the log with a seq of at least the snapshot's, if there is one.
        schema_version: the newest version that the actor's code can read.
    """
    _, _, seq, epoch, schema, _ = snapshot
    if schema > schema_version:
        return f"its schema version {schema} is newer than {schema_version}"
    if seq and (first is None or first[2] != seq):
        return f"it is ahead of the log: there is no event {seq}"
    if seq and first is not None and first[3] > epoch:
        return f"event {seq} was written by epoch {first[3]}, after the snapshot's {epoch}"
    return None


def decode_event(row: EventRow, decoders: dict[str, msgspec.msgpack.Decoder[Any]]) -> Any:
    """Return the event of a row.

    Raises:
        UnreadableEvent: its type is unknown, or its bytes cannot be decoded as that type.
    """
    kind, key, seq, _, name, payload, _ = row
    decoder = decoders.get(name)
    if decoder is None:
        raise UnreadableEvent(kind, key, seq, f"is of the type {name!r}, which is not declared")
    try:
        return decoder.decode(payload)
    except msgspec.DecodeError as error:  # ValidationError included
        raise UnreadableEvent(kind, key, seq, f"({name}) cannot be decoded: {error}") from error


class Sources(NamedTuple):
    """Where a recovery reads from, and how long it waits.

    Attributes:
        events: the event store.
        load: returns the newest snapshot of (kind, key), or None if there is none. Without a
            snapshot store, `load` itself is None.
        backoff: the pause between attempts at a store that is away.
        rng: for the jitter of the back-off.
        timeout_s: how long one read may take, in seconds.
        budget: limits the memory of all recoveries together.
    """

    events: EventStore
    load: Callable[[str, str], Awaitable[SnapshotRow | None]] | None
    backoff: Backoff
    rng: random.Random
    timeout_s: float
    budget: ReadBudget


class Recoverable(Protocol):
    """An actor, as its recovery sees it: see `PersistentActor`."""

    schema_version: ClassVar[int]
    replay_last: ClassVar[int | None]
    checkpoint: ClassVar[type[msgspec.Struct] | None]
    looks_first: ClassVar[bool]
    needs_snapshot: ClassVar[bool]
    event_names: ClassVar[Mapping[type, str]]
    event_decoders: ClassVar[dict[str, msgspec.msgpack.Decoder[Any]]]
    seq: int
    epoch: int
    event_epoch: int
    snapshot_ignored: str | None

    @property
    def actor_ref(self) -> ActorRef:
        """See `Actor.actor_ref`."""

    @property
    def log(self) -> Any:
        """See `Actor.log`."""

    def apply(self, event: Any) -> None:
        """See `PersistentActor.apply`."""

    def restore(self, state: Any, schema: int) -> None:
        """See `PersistentActor.restore`."""


class Recovery:
    """One recovery of one actor. `activate` must first have shut out every earlier incarnation.

    The recovery waits for an event store that is away. Messages to the actor wait in its bounded
    mailbox meanwhile, and every ask has a deadline. It waits for a snapshot store only if the actor
    says that it has state which no event holds (`needs_snapshot`). The bytes it reads count in the
    budget until `let_go`.

    Attributes:
        replayed: how many events were replayed.
        snapshot_seq: the seq of the snapshot that was used, if one was.
        ignored: why a snapshot that was there was not used.
        spoilt: whether the actor is half restored and must not be used.
    """

    def __init__(self, actor: Recoverable, sources: Sources) -> None:
        self._actor = actor
        self._sources = sources
        self._kind = actor.actor_ref.kind
        self._key = actor.actor_ref.key
        self._log: structlog.stdlib.BoundLogger = actor.log
        self.replayed = 0
        self.snapshot_seq: int | None = None
        self.ignored: str | None = None
        self.spoilt = False
        self._budget = sources.budget
        self._page = 0  # bytes that are reserved for a page of events
        self._snapshot_bytes = 0

    async def activate(self) -> int:
        """Begin the incarnation, and return its epoch."""
        return await self._until_it_works(
            lambda: self._sources.events.activate(self._kind, self._key)
        )

    async def known(self) -> bool:
        """Return whether the actor ever had an incarnation."""
        events, kind, key = self._sources.events, self._kind, self._key
        return await self._until_it_works(lambda: events.epoch(kind, key)) > 0

    def let_go(self) -> None:
        """Give the reserved bytes back to the budget, when what was read is not needed any more."""
        self._budget.give_back(self._page + self._snapshot_bytes)
        self._page = self._snapshot_bytes = 0

    async def from_snapshot(self) -> bool:
        """Restore the snapshot, and replay the events after it.

        Returns False if no snapshot could be used. If there was one, `ignored` and the log say why.
        If `spoilt` is set, the actor is half restored and must not be used.
        """
        snapshot = await self._load()
        if snapshot is None:
            return False
        seq, schema, payload = snapshot[2], snapshot[4], snapshot[5]
        rows = await self._read(after=max(0, seq - 1))
        why = check_snapshot(snapshot, rows[0] if rows else None, self._actor.schema_version)
        if why is None:
            try:
                self._actor.restore(msgspec.msgpack.decode(payload), schema)
            except BaseException as error:  # the bytes are damaged, or restore() refuses the state
                why = f"it cannot be restored: {shown(error)}"
                self.spoilt = True
        if why is not None:
            self.ignored = why
            self._log.warning("snapshot_ignored", seq=seq, reason=why)
            return False
        self.snapshot_seq = self._actor.seq = seq
        await self._replay(rows[1:] if seq else rows, more=self._is_full(rows))
        return True

    async def from_events(self) -> None:
        """Replay the log, or only its end if the actor has `replay_last` or a `checkpoint`."""
        actor, events, kind, key = self._actor, self._sources.events, self._kind, self._key
        if actor.replay_last is not None:
            newest = await self._until_it_works(lambda: events.last_seq(kind, key))
            actor.seq = max(0, newest - actor.replay_last)
        elif actor.checkpoint is not None:
            actor.seq = max(0, await self._find_last(actor.checkpoint) - 1)
        rows = await self._read(after=actor.seq)
        if rows and actor.replay_last is not None:
            actor.seq = rows[0][2] - 1  # retention may have deleted some of the last events, too
        await self._replay(rows, more=self._is_full(rows))

    async def _find_last(self, event_type: type[msgspec.Struct]) -> int:
        """Return the seq of the last event of a type, or 0 if there is none.

        It reads the log backwards, page by page, and keeps no page.
        """
        name = self._actor.event_names[event_type]
        events, kind, key, before = self._sources.events, self._kind, self._key, 0
        while True:
            await self._set_aside()
            rows = await self._until_it_works(
                partial(
                    events.read_before,
                    kind,
                    key,
                    before=before,
                    limit=PAGE_ROWS,
                    max_bytes=self._page,
                )
            )
            for row in reversed(rows):
                if row[4] == name:
                    return row[2]
            if not rows or rows[0][2] <= 1:
                return 0
            before = rows[0][2]

    async def _replay(self, rows: Sequence[EventRow], *, more: bool) -> None:
        actor, decoders = self._actor, self._actor.event_decoders
        while True:
            for row in rows:
                seq = row[2]
                if seq != actor.seq + 1:
                    raise LogGap(self._kind, self._key, actor.seq + 1, "is missing")
                event = decode_event(row, decoders)
                actor.seq, actor.event_epoch = seq, row[3]
                try:
                    actor.apply(event)
                except BaseException as error:
                    why = f"({row[4]}) cannot be applied: {shown(error)}"
                    raise RecoveryFailed(self._kind, self._key, seq, why) from error
            self.replayed += len(rows)
            if not more:
                return
            rows = await self._read(after=actor.seq)
            more = self._is_full(rows)

    async def _read(self, *, after: int) -> Sequence[EventRow]:
        await self._set_aside()
        events, kind, key, page = self._sources.events, self._kind, self._key, self._page
        return await self._until_it_works(
            lambda: events.read(kind, key, after=after, limit=PAGE_ROWS, max_bytes=page)
        )

    def _is_full(self, rows: Sequence[EventRow]) -> bool:
        """Return whether a page reached a limit, so that there may be more events."""
        return len(rows) == PAGE_ROWS or sum(len(row[5]) for row in rows) >= self._page

    async def _set_aside(self) -> None:
        """Wait for room for a page. A recovery keeps its page, and never waits for a second one."""
        if not self._page:
            self._page = await self._budget.take_page()

    async def _load(self) -> SnapshotRow | None:
        load = self._sources.load
        if load is None:
            return None

        async def load_within_budget() -> SnapshotRow | None:
            await self._set_aside()
            try:
                with trio.fail_after(self._sources.timeout_s):
                    found = await load(self._kind, self._key)
            except BaseException:
                self.let_go()  # other recoveries may need no snapshot
                raise
            if found is not None:
                self._snapshot_bytes = len(found[5])
                self._budget.add(self._snapshot_bytes)
            return found

        if self._actor.needs_snapshot:
            return await self._until_it_works(load_within_budget, timeout_s=math.inf)
        try:
            return await load_within_budget()
        except Exception as error:  # whatever a store raises, the snapshot cannot be had now
            self._log.warning("snapshot_unavailable", error=shown(error))
            return None

    async def _until_it_works(
        self, call: Callable[[], Awaitable[T]], *, timeout_s: float | None = None
    ) -> T:
        attempt = 0
        while True:
            try:
                with trio.fail_after(self._sources.timeout_s if timeout_s is None else timeout_s):
                    return await call()
            except Exception as error:  # whatever a store raises, try again
                if is_permanent(error):
                    raise
                if attempt % 10 == 0:
                    self._log.warning("recovery_waits", error=shown(error), attempt=attempt + 1)
            attempt += 1
            await trio.sleep(self._sources.backoff.delay_s(attempt + 1, self._sources.rng))
