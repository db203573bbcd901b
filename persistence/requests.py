"""The requests to the actors of stores. `EventStore`, `SnapshotStore` and others send them."""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from typing import Any, Protocol

import msgspec

from persistence.rows import EventRow, SnapshotRow


class Asked(Protocol):
    """Something that can be asked. In a server it is the ref of a supervised ThreadingActor."""

    def ask(self, message: Any, *, timeout: float | None = ...) -> Awaitable[Any]:
        """Send a message. The awaitable gives the reply, or raises what the actor raised."""


class StoreRequest(msgspec.Struct, frozen=True, gc=False):
    """The base class of all requests. A bounded inbox counts them, and a batch consists of them."""


class AppendEvents(StoreRequest, frozen=True, gc=False):
    """Writes events. Reply: the (kind, key)s that are fenced."""

    rows: Sequence[EventRow]


class Activate(StoreRequest, frozen=True, gc=False):
    """Begins an incarnation. Reply: its epoch."""

    kind: str
    key: str


class Epoch(StoreRequest, frozen=True, gc=False):
    """Asks for the newest epoch of an actor. Reply: the epoch, or 0 if there was no incarnation."""

    kind: str
    key: str


class ReadEvents(StoreRequest, frozen=True, gc=False):
    """Asks for the first `limit` events with seq > `after`. Reply: rows, ascending."""

    kind: str
    key: str
    after: int
    limit: int
    max_bytes: int | None = None
    """The last row is the one with which the payloads together reach so many bytes; None: no
    limit."""


class ReadEventsBefore(StoreRequest, frozen=True, gc=False):
    """Asks for the last `limit` events with seq < `before` (0: the newest).

    Reply: rows, ascending.
    """

    kind: str
    key: str
    before: int
    limit: int
    max_bytes: int | None = None


class LastSeq(StoreRequest, frozen=True, gc=False):
    """Asks for the seq of an actor's newest event. Reply: the seq, or 0 if there is none."""

    kind: str
    key: str


class SaveSnapshots(StoreRequest, frozen=True, gc=False):
    """Saves snapshots, except where a newer one is stored. Reply: None."""

    rows: Sequence[SnapshotRow]


class LoadSnapshot(StoreRequest, frozen=True, gc=False):
    """Asks for an actor's snapshot. Reply: a row, or None."""

    kind: str
    key: str


class DeleteSnapshot(StoreRequest, frozen=True, gc=False):
    """Deletes an actor's snapshot. Reply: None."""

    kind: str
    key: str


class FindSnapshots(StoreRequest, frozen=True, gc=False):
    """Searches the next snapshots of a kind for those that contain `mark`. Reply: `FoundSnapshots`.

    `cursor` is the one of the reply before; 0 to begin.
    """

    kind: str
    mark: bytes
    cursor: int


class FoundSnapshots(msgspec.Struct, frozen=True, gc=False):
    """The keys of actors, and the cursor for the next request; 0: the search is over.

    The same key may be found twice.
    """

    keys: Sequence[str]
    cursor: int


class Increment(StoreRequest, frozen=True, gc=False):
    """Adds to a counter.

    Reply: (count of this window, count of the one before, ms into this one).
    """

    name: str
    amount: int
    window_ms: int


class StoreCheck(StoreRequest, frozen=True, gc=False):
    """Asks whether the store answers. Reply: None."""


class Step(msgspec.Struct, frozen=True, gc=False):
    """The result of one step of deleting old events."""

    reached: str | None
    """The last name that the step looked at; None: there are no others after it."""
    deleted: int
    """How many events were deleted."""


class TrimLogs(StoreRequest, frozen=True, gc=False):
    """Deletes old events of the next `names` actors of a kind. Reply: a `Step`.

    Events beyond an actor's last `kept`, and events from before `before_us`, are deleted; never the
    newest.
    """

    kind: str
    after: str
    """The key after which to begin, in the order of keys."""
    names: int
    kept: int
    before_us: int
    """A time in microseconds since 1970, UTC."""
    most: int
    """How many events to delete at most."""


class DropEnded(StoreRequest, frozen=True, gc=False):
    """Deletes the logs of actors that have ended, among the next `names` of a kind.

    Reply: a `Step`.

    An actor has ended if its last event is of the type `last_type`, and from before `before_us`.
    """

    kind: str
    last_type: str
    after: str
    """The key after which to begin, in the order of keys."""
    names: int
    before_us: int
    """A time in microseconds since 1970, UTC."""


class FindMarked(StoreRequest, frozen=True, gc=False):
    """Searches the next `most` events of a kind for those whose payload contains `mark`.

    Reply: `Marked`. The search ends early once it has found `max_bytes` of payload.
    """

    kind: str
    mark: bytes
    after: tuple[str, int]
    """The (key, seq) after which to begin."""
    most: int
    max_bytes: int


class Marked(msgspec.Struct, frozen=True, gc=False):
    """The events that a search has found, in the order of (key, seq)."""

    rows: Sequence[EventRow]
    reached: tuple[str, int] | None
    """The (key, seq) of the last event that was looked at; None: there are no others after it."""


class ForgetAnswers(StoreRequest, frozen=True, gc=False):
    """Delete the answers to a user's commands that bore a key. Reply: None."""

    user: str


class RewriteEvents(StoreRequest, frozen=True, gc=False):
    """Replaces the payloads of these events in place. Reply: how many were replaced.

    Events that have been deleted are not written again. This is only for data that must not be
    kept; otherwise an event never changes.
    """

    rows: Sequence[EventRow]
