"""`PersistentActor`: an actor whose state survives a crash of the actor, the process or the
machine.
"""

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
    """Sent by a persistent actor's timer to the actor itself, to take a snapshot."""


TAKE_SNAPSHOT: Final = TakeSnapshot()


def event_name(event_type: type[msgspec.Struct]) -> str:
    """Return the name of an event type in the log: its tag if that is a string, else its class
    name.

    A class that is renamed therefore needs `tag="OldName"`.
    """
    tag = event_type.__struct_config__.tag
    return tag if isinstance(tag, str) else event_type.__name__


class PersistentActor(Actor):
    """An actor whose state is the result of its events. Snapshots make its recovery faster.

    A handler decides what happens, and returns the future that `persist` gives it. Only `apply`
    changes the state::

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

    The asker gets the reply once the event is committed. Other messages are handled meanwhile.

    A new instance first recovers its state: `restore` is called with a snapshot if there is one,
    then `apply` for each later event. After that `on_start` is called, before the first message. An
    actor that acts on its recovered state does so there. The events of the incarnation before are
    settled by then, and `persist` may be called.

    Class attributes:
        schema_version: the version of what `snapshot` returns. A snapshot of a newer version is
            ignored.
        events: the types of all events that `persist` is called with and the log may hold.
        snapshot_interval_s: the time between snapshots of a state that changes, in seconds.
        replay_last: without a snapshot, only so many of the last events are replayed; None: all.
        checkpoint: the type of an event that holds the whole state. Without a snapshot, the last
            such event and those after it are replayed. This is for an actor whose log grows for
            ever while its state does not; it persists such an event now and then.
        looks_first: an actor that has no log takes no epoch when it starts, so that it leaves
            nothing in the store if it has no event to persist. It must `await activate()` before
            its first event.
        needs_snapshot: whether recovery waits for a snapshot store that is away, because there is
            state that no event holds (see `mark_dirty`). Without this, it goes on with the events
            alone.

    Attributes:
        seq: the number of the last event that was applied; in `apply`, of the present event.
        epoch: this incarnation's number, from 1. No two incarnations of a (kind, key) have the
            same. It is 0 while an actor that `looks_first` has not been activated.
        event_epoch: in `apply`, the epoch that wrote the event.
        snapshot_ignored: after recovery, why a snapshot that was there could not be used; None if
            it was used, or there was none. An actor with state that no event holds has lost that
            state then, and must tell whom it concerns.
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

    # --- methods that a subclass defines ---------------------------------------------------------

    def apply(self, event: Any) -> None:
        """Change the state by an event. Nothing else may change the state.

        It is called by `persist` and by recovery, so it must not depend on I/O, a clock or
        randomness. If it raises, the event is not queued and the actor fails: an event that cannot
        be applied must not reach the log.
        """
        raise NotImplementedError(f"{type(self).__name__} has events, and no apply()")

    def snapshot(self) -> Any:
        """Return the state as something that msgpack can encode.

        An actor without this method has no snapshots, and recovers from its events.
        """
        raise NotImplementedError

    def restore(self, state: Any, schema: int) -> None:
        """Set the state of a new instance from a snapshot.

        `state` is what `snapshot` returned, decoded to builtins (lists, dicts, ...), and `schema`
        is the `schema_version` of that time. This method must be able to read older versions. If it
        raises, the snapshot is ignored and another new instance replays the events.
        """
        raise NotImplementedError(f"{type(self).__name__} has snapshot(), and no restore()")

    def state_is_sound(self) -> bool:
        """Return whether a snapshot may be taken of the state that a failure left behind.

        By default it may if `mark_dirty` was never called. Then only `apply` changes the state, and
        a handler that failed half-way has changed nothing. After `apply` itself raised, no snapshot
        is taken and this is not asked.
        """
        return not self._state_outside_events

    # --- methods that a subclass calls -----------------------------------------------------------

    @property
    def committed(self) -> int:
        """The seq up to which the log is known to be durable."""
        return self.seq if self._writer is None else self._writer.committed

    async def activate(self) -> None:
        """Begin an epoch, if this actor `looks_first` and has none yet.

        A handler must await this before the first event, and before it shows others anything that
        stands for that event. Until the epoch is in the store, another incarnation may believe that
        it is the first as well.

        Raises:
            Fenced: another incarnation was first, and this one ends. The next message, for instance
                the same one sent again, reaches an incarnation that has read the log as it is now.
            RuntimeError: the actor has not recovered yet, or has ended.
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

        The event stays, even if the handler raises afterwards, because it may be in the store
        already, or others may know of it. The next instance has it in its state. So a handler
        should do whatever may fail, and refuse, before it calls this.

        Returns a future that is set to `reply` once the event is durable. The future fails with
        Fenced if another incarnation owns the log, with JournalClosed if the system stops first,
        and with Unstorable if the store can never hold the event.

        Raises:
            StoreBusy: too much waits for the store; nothing was applied.
            Fenced: this incarnation has lost the log; nothing was applied.
            TypeError: the event's type is not among `events`, or the event cannot be encoded; it
                may have an int beyond 64 bits, for example. Nothing was applied.
            RuntimeError: the actor has not recovered or has ended, it must `activate()` first, or
                `apply` made the call.
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
        except Exception as error:  # TypeError, OverflowError, UnicodeEncodeError, ...
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
        return journal.queue_event(writer, name, payload, reply)

    def check_capacity(self, event: msgspec.Struct) -> None:
        """Raise what `persist` would raise if the event cannot be queued, without applying it.

        Raises:
            StoreBusy: too much waits for the store.
            Fenced: this incarnation has lost the log.
            RuntimeError: the actor has not recovered yet, or has ended.
        """
        writer, durability = self._writer, self._durability
        if writer is None or durability is None:
            raise RuntimeError("check_capacity() by an actor that has not recovered, or has ended")
        durability.journal.admit(writer, len(_encode(event)))

    def mark_dirty(self) -> None:
        """Have a snapshot taken because state changed that no event holds.

        A crash loses the changes of such state in the last `snapshot_interval_s` seconds.
        """
        self._state_outside_events = True
        if not self._dirty:
            self._become_dirty()

    def renew_snapshot(self) -> bool:
        """Take a snapshot now, in place of the one that is stored and holds what must not be kept.

        Returns False if `snapshot` failed, which is logged. Without a log of its own there is
        nothing to be kept, and what may be stored under this name is deleted.
        """
        if self._writer is None:
            self.discard_snapshot()
            return True
        return self._take_snapshot()

    def discard_snapshot(self) -> None:
        """Delete the snapshot, and take none when the actor ends. Its events stay.

        This is for an actor that has come to the end of its life and will not be asked any more.
        """
        self._dirty = False
        if self._durability is not None and self._durability.snapshotter is not None:
            self._durability.snapshotter.discard(self.actor_ref.kind, self.actor_ref.key)

    # --- for the runtime -------------------------------------------------------------------------

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
        """Let the instance that has recovered, which may be another than this one, write events."""
        recovered._durability = durability
        if recovered.epoch:
            recovered._own_log(durability)
        if replayed:  # a snapshot saves the next recovery from replaying these events
            recovered._become_dirty()

    def _own_log(self, durability: Durability) -> None:
        cell = self._placed
        self._writer = durability.journal.open_writer(
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
            self._writer = None  # this instance must not write any more, whatever it still does
            durability.journal.release(writer)

    def _release_log(self) -> None:
        if self._writer is not None and self._durability is not None:
            self._durability.journal.release(self._writer)
            self._writer = None

    def _become_dirty(self) -> None:
        self._dirty = True
        durability = self._durability
        if durability is not None and durability.snapshotter is not None and self._has_snapshot:
            # The random part spreads the snapshots of a thousand actors that started together.
            delay_s = self.snapshot_interval_s * (1.0 - 0.5 * durability.rng.random())
            self.start_timer(delay_s, TAKE_SNAPSHOT)

    @handles(TakeSnapshot)
    def _on_take_snapshot(self, _message: TakeSnapshot) -> None:
        if self._dirty:
            self._take_snapshot()

    def _take_snapshot(self) -> bool:
        """Returns False if there should be one and cannot be."""
        self._dirty = False
        writer, durability = self._writer, self._durability
        if writer is None or durability is None or writer.fenced:
            return True
        snapshotter = durability.snapshotter
        if snapshotter is None or not self._has_snapshot:
            return True
        try:
            payload = _encode(self.snapshot())
        # A mistake in snapshot(); the log has all events, so the actor goes on.
        except BaseException:
            durability.unsnapshotable += 1
            self.log.exception("snapshot_failed", seq=self.seq)
            return False
        kind, key, schema = writer.kind, writer.key, self.schema_version
        snapshotter.offer((kind, key, self.seq, self.epoch, schema, payload), writer)
        return True
