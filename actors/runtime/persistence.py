"""PersistentActor: an actor whose state outlives a crash of the actor, the process, the machine."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Final

import msgspec

from .actor import Actor
from .checks import check_seconds
from .commit_queue import Writer
from .durability import Durability
from .errors import Fenced, NoStores
from .future import Future
from .handlers import handles
from .reasons import Reason
from .runtime_hooks import NO_HOOKS, RuntimeHooks

_encode = msgspec.msgpack.Encoder().encode


class TakeSnapshot(msgspec.Struct, frozen=True):
    """A persistent actor's timer to itself."""


TAKE_SNAPSHOT: Final = TakeSnapshot()


def event_name(event_type: type[msgspec.Struct]) -> str:
    """Return what an event type is called in the log: its tag if it has a string tag, or its name.

    Renaming a class therefore needs `tag="OldName"`.
    """
    tag = event_type.__struct_config__.tag
    return tag if isinstance(tag, str) else event_type.__name__


class PersistentActor(Actor):
    """An actor whose state is its events, with snapshots as the fast way back.

    A handler decides, and returns what `persist` gives it; `apply` alone changes the state::

        class Counter(PersistentActor):
            events = (Added,)

            @handles(Add)
            def add(self, message: Add) -> Future[int]:
                return self.persist(Added(message.amount), reply=self.total + message.amount)

            def apply(self, event: Added) -> None:
                self.total += event.amount

            def snapshot(self) -> int:
                return self.total

            def restore(self, state: int, schema: int) -> None:
                self.total = state

    The answer goes out once the event is committed; the mailbox does not wait for it.

    An instance is made, gets its state back (`restore`, then `apply` for each event), and starts:
    `on_start` is the one hook in which to act on that state, before the first message. What the
    incarnation before had on its way is settled by then, and `persist` may be called.

    Class attributes:
        schema_version: of what `snapshot` returns. A snapshot with a newer one is ignored.
        events: every type that `persist` may be given and the log may hold.
        snapshot_interval_s: seconds between snapshots while something changed.
        replay_last: without a snapshot, only so many of the last events are replayed; None: all.
        checkpoint: of the events, the one that holds the whole state. Without a snapshot, the last
            one and what came after it is replayed. It is for an actor whose log grows for ever and
            whose state does not, and who persists one now and then.
        looks_first: without a log it takes no epoch at its start, and leaves nothing in the store
            unless it has something to say: before its first event it must `await activate()`.
        needs_snapshot: recovery waits for a snapshot store that is away, since there is state that
            no event holds (see `mark_dirty`). Otherwise it goes on with events alone.

    Attributes:
        seq: of the last event applied; in `apply`, of that event.
        epoch: this incarnation's number, from 1, never used twice for a (kind, key); 0 as long as
            one that `looks_first` has not been activated.
        event_epoch: in `apply`, the epoch that wrote the event.
        snapshot_ignored: in recovery, why the snapshot that was there could not be used. An actor
            with state that no event holds has then lost it, and must say so. None: it was used, or
            there was none.
    """

    schema_version: ClassVar[int] = 1
    events: ClassVar[tuple[type[msgspec.Struct], ...]] = ()
    snapshot_interval_s: ClassVar[float] = 5.0
    replay_last: ClassVar[int | None] = None
    checkpoint: ClassVar[type[msgspec.Struct] | None] = None
    looks_first: ClassVar[bool] = False
    needs_snapshot: ClassVar[bool] = False

    event_names: ClassVar[Mapping[type, str]] = {}
    event_decoders: ClassVar[dict[str, msgspec.msgpack.Decoder[Any]]] = {}

    seq: int = 0
    epoch: int = 0
    event_epoch: int = 0
    snapshot_ignored: str | None = None

    _has_snapshot: ClassVar[bool] = False
    _writer: Writer | None = None
    _durability: Durability | None = None
    _dirty = False
    _state_outside_events = False
    _apply_failed = False

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls.event_names = {event_type: event_name(event_type) for event_type in cls.events}
        cls.event_decoders = {
            name: msgspec.msgpack.Decoder(event_type)
            for event_type, name in cls.event_names.items()
        }
        check_seconds(f"{cls.__name__}.snapshot_interval_s", cls.snapshot_interval_s)
        cls._has_snapshot = cls.snapshot is not PersistentActor.snapshot
        if len(cls.event_decoders) < len(cls.event_names):
            raise TypeError(f"{cls.__name__}: two event types have the same name in the log")

    # What a persistent actor says about itself.

    def apply(self, event: Any) -> None:
        """Change the state by an event, without I/O, clock or chance. Nothing else changes the
        state.

        Called by `persist` and by recovery. If it raises, the event is not queued and the actor
        fails: an event that cannot be applied must not reach the log.
        """
        raise NotImplementedError(f"{type(self).__name__} has events, and no apply()")

    def snapshot(self) -> Any:
        """Return the state as something msgpack can hold. Without this method: events alone."""
        raise NotImplementedError

    def restore(self, state: Any, schema: int) -> None:
        """Take over a state, decoded to builtins, that `snapshot` of that schema version returned.

        Called on a new instance. Older versions are for this method to read. If it raises, the
        snapshot is ignored and another new instance replays the events.
        """
        raise NotImplementedError(f"{type(self).__name__} has snapshot(), and no restore()")

    def state_is_sound(self) -> bool:
        """Whether a snapshot may be taken of what a failure left behind.

        By default yes if only `apply` changes the state, that is if `mark_dirty` was never called:
        a handler that broke half-way has then changed nothing. After `apply` itself raised it is
        not asked.
        """
        return not self._state_outside_events

    # What it may do.

    @property
    def committed(self) -> int:
        """The seq up to which the log is durable, as far as is known."""
        return self.seq if self._writer is None else self._writer.committed

    async def activate(self) -> None:
        """Take over the log, if this actor `looks_first` and has not yet.

        A handler must await it before the first event, and before it shows others anything that
        stands for one: until the epoch is in the store, another incarnation may have the same.

        Raises:
            Fenced: another incarnation was first. This one ends. The next message, such as this one
                sent again, reaches an incarnation that has read what is there now.
        """
        if self._writer is not None:
            return
        if self._durability is None:
            raise RuntimeError("activate() by an actor that has not recovered, or has ended")
        epoch = await self._durability.activate(self)
        if epoch > 1:
            self._placed.abandon()
            raise Fenced("another incarnation took the log first; nothing was applied")
        self.epoch = epoch
        self._own_log(self._durability)

    def persist(self, event: msgspec.Struct, reply: Any = None) -> Future[Any]:
        """Apply an event now and queue it for the next commit.

        It stays, also if the handler raises after that: others may have been told of it by then, or
        it may be in the store. The next instance finds it in its state. Whoever may refuse, or
        fail, does so before.

        Returns a future that resolves to `reply` once the event is durable. It fails with Fenced
        if another incarnation owns the log, and with JournalClosed if the system stopped first.

        Raises:
            StoreBusy: too much waits for the store; nothing was applied.
            Fenced: this incarnation has lost the log; nothing was applied.
            TypeError: the event's type is not among `events`, or it cannot be encoded: an int
                beyond 64 bits, say, or half a surrogate pair. Nothing was applied.
            RuntimeError: called by an incarnation that has ended, or by `apply`.
        """
        name = self.event_names.get(type(event))
        if name is None:
            raise TypeError(f"{type(event).__name__} is not among {type(self).__name__}.events")
        writer, durability = self._writer, self._durability
        if writer is None or durability is None:
            raise RuntimeError(
                "persist() by an actor that has not recovered, has ended, or is to activate() first"
            )
        try:
            payload = _encode(event)
        except (
            Exception
        ) as error:  # TypeError, OverflowError, UnicodeEncodeError, RecursionError, ...
            raise TypeError(f"{name} cannot be encoded: {error}") from error
        journal = durability.journal
        journal.admit(writer, len(payload))
        before = writer.queued
        self.seq = before + 1
        try:
            self.apply(event)
        except BaseException:
            self._apply_failed = True
            raise
        if writer.queued != before:
            raise RuntimeError("apply() must not persist")
        if not self._dirty:
            self._become_dirty()
        return journal.append(writer, name, payload, reply)

    def check_capacity(self, event: msgspec.Struct) -> None:
        """Raise now what `persist` would for want of room, before anything acts on the event.

        Raises:
            StoreBusy: too much waits for the store.
            Fenced: this incarnation has lost the log.
            RuntimeError: called by an incarnation that has not recovered, or has ended.
        """
        writer, durability = self._writer, self._durability
        if writer is None or durability is None:
            raise RuntimeError("check_capacity() by an actor that has not recovered, or has ended")
        durability.journal.admit(writer, len(_encode(event)))

    def mark_dirty(self) -> None:
        """Say that state changed which no event holds: it is to be in the next snapshot.

        Such state is lost by a crash up to `snapshot_interval_s`.
        """
        self._state_outside_events = True
        if not self._dirty:
            self._become_dirty()

    def discard_snapshot(self) -> None:
        """Delete the snapshot and take none on the way out: there will be no more of this actor.

        Its events stay.
        """
        self._dirty = False
        if self._durability is not None and self._durability.snapshotter is not None:
            self._durability.snapshotter.discard(self.actor_ref.kind, self.actor_ref.key)

    # The runtime's side.

    @property
    def actor_hooks(self) -> RuntimeHooks:
        return NO_HOOKS._replace(recover=self._recover, leave=self._leave, killed=self._release_log)

    async def _recover(self) -> None:
        durability = self.system.durability
        if durability is None:
            raise NoStores(
                f"{type(self).__name__} is persistent and this system has no stores: "
                "ActorSystem(events=...)"
            )
        recovered, replayed = await durability.recover(self, self._placed.replace_actor)
        self._begin(recovered, durability, replayed)

    @staticmethod
    def _begin(recovered: PersistentActor, durability: Durability, replayed: int) -> None:
        """Let the instance that was recovered, this one or another, write from here on."""
        recovered._durability = durability
        if recovered.epoch:
            recovered._own_log(durability)
        if replayed:  # so that the next recovery need not replay them again
            recovered._become_dirty()

    def _own_log(self, durability: Durability) -> None:
        cell = self._placed
        self._writer = durability.journal.open(
            cell.kind, cell.key, epoch=self.epoch, seq=self.seq, on_fenced=cell.abandon
        )
        self.event_epoch = self.epoch

    def _leave(self, reason: Reason) -> None:
        writer, durability = self._writer, self._durability
        if writer is None or durability is None:
            return
        sound = reason != "failed" or (not self._apply_failed and self.state_is_sound())
        try:
            if self._dirty and sound:
                self._take_snapshot()
        finally:
            self._writer = None  # whatever this instance still does, the log is not its any more
            durability.journal.release(writer)

    def _release_log(self) -> None:
        if self._writer is not None and self._durability is not None:
            self._durability.journal.release(self._writer)
            self._writer = None

    def _become_dirty(self) -> None:
        self._dirty = True
        durability = self._durability
        if durability is not None and durability.snapshotter is not None and self._has_snapshot:
            # Spread, or a thousand actors that came up together would be written together.
            delay_s = self.snapshot_interval_s * (1.0 - 0.5 * durability.rng.random())
            self.start_timer(delay_s, TAKE_SNAPSHOT)

    @handles(TakeSnapshot)
    def _on_take_snapshot(self, _message: TakeSnapshot) -> None:
        if self._dirty:
            self._take_snapshot()

    def _take_snapshot(self) -> None:
        self._dirty = False
        writer, durability = self._writer, self._durability
        if writer is None or durability is None or writer.fenced:
            return
        snapshotter = durability.snapshotter
        if snapshotter is None or not self._has_snapshot:
            return
        try:
            payload = _encode(self.snapshot())
        except (
            BaseException
        ):  # a mistake in snapshot(): the log has everything, so the actor goes on
            durability.unsnapshotable += 1
            self.log.exception("snapshot_failed", seq=self.seq)
            return
        kind, key, schema = writer.kind, writer.key, self.schema_version
        snapshotter.offer((kind, key, self.seq, self.epoch, schema, payload), writer)
