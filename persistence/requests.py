"""What the store actors can be asked. The facades in events.py and snapshots.py send these."""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from typing import Any, Protocol

import msgspec

from persistence.rows import EventRow, SnapshotRow


class Asked(Protocol):
    """Anything one can ask and await: in the server, the ref of a supervised ThreadingActor."""

    def ask(self, message: Any, *, timeout: float | None = ...) -> Awaitable[Any]:
        """Send a message; the awaitable gives the reply, or raises what the actor raised."""


class StoreRequest(msgspec.Struct, frozen=True, gc=False):
    """The base of all: what a bounded inbox counts and a batching actor may take together."""


class AppendEvents(StoreRequest, frozen=True, gc=False):
    """Write events. Reply: the (kind, key)s that were fenced."""

    rows: Sequence[EventRow]


class Activate(StoreRequest, frozen=True, gc=False):
    """Begin an incarnation. Reply: its epoch."""

    kind: str
    key: str


class Epoch(StoreRequest, frozen=True, gc=False):
    """The newest epoch of an actor. Reply: it, or 0 if there was no incarnation."""

    kind: str
    key: str


class ReadEvents(StoreRequest, frozen=True, gc=False):
    """The first `limit` events with seq > `after`. Reply: rows, ascending."""

    kind: str
    key: str
    after: int
    limit: int
    max_bytes: int | None = None
    """The row with which the payloads reach so many bytes together is the last; None: no bound."""


class ReadEventsBefore(StoreRequest, frozen=True, gc=False):
    """The last `limit` events with seq < `before` (0: the newest). Reply: rows, ascending."""

    kind: str
    key: str
    before: int
    limit: int
    max_bytes: int | None = None


class LastSeq(StoreRequest, frozen=True, gc=False):
    """The seq of an actor's newest event. Reply: it, or 0 if there is none."""

    kind: str
    key: str


class SaveSnapshots(StoreRequest, frozen=True, gc=False):
    """Keep snapshots, unless newer ones are there. Reply: None."""

    rows: Sequence[SnapshotRow]


class LoadSnapshot(StoreRequest, frozen=True, gc=False):
    """One actor's snapshot. Reply: a row or None."""

    kind: str
    key: str


class DeleteSnapshot(StoreRequest, frozen=True, gc=False):
    """Forget one actor's snapshot. Reply: None."""

    kind: str
    key: str


class FindSnapshots(StoreRequest, frozen=True, gc=False):
    """Of the next snapshots of a kind, those that contain `mark`. Reply: `FoundSnapshots`.

    `cursor`: of the reply before; 0 to begin.
    """

    kind: str
    mark: bytes
    cursor: int


class FoundSnapshots(msgspec.Struct, frozen=True, gc=False):
    """Keys of actors, and where to go on; 0: there are no more. A key may come twice."""

    keys: Sequence[str]
    cursor: int


class Increment(StoreRequest, frozen=True, gc=False):
    """Add to a counter. Reply: counts of this window and the one before, ms into this one."""

    name: str
    amount: int
    window_ms: int


class StoreCheck(StoreRequest, frozen=True, gc=False):
    """Does the store answer? Reply: None."""


class Step(msgspec.Struct, frozen=True, gc=False):
    """What a keeper has done: up to which name (None: there are no more), and how much went."""

    reached: str | None
    deleted: int


class TrimLogs(StoreRequest, frozen=True, gc=False):
    """Delete old events of the next `names` names of a kind, `most` of them. Reply: a `Step`.

    What is beyond the last `kept` of a name goes, and what was written before `before_us`; never
    the newest.
    """

    kind: str
    after: str
    names: int
    kept: int
    before_us: int
    most: int


class DropEnded(StoreRequest, frozen=True, gc=False):
    """Delete all of those of the next `names` names whose last event is a `last_type` written
    before `before_us`. Reply: a `Step`.
    """

    kind: str
    last_type: str
    after: str
    names: int
    before_us: int


class FindMarked(StoreRequest, frozen=True, gc=False):
    """Of the next `most` events of a kind, behind a place, those whose payload contains `mark`, and
    none once `max_bytes` of payload have come together. Reply: `Marked`.
    """

    kind: str
    mark: bytes
    after: tuple[str, int]
    most: int
    max_bytes: int


class Marked(msgspec.Struct, frozen=True, gc=False):
    """Events in the order of (key, seq), and up to where was looked; None: there are no more."""

    rows: Sequence[EventRow]
    reached: tuple[str, int] | None


class RewriteEvents(StoreRequest, frozen=True, gc=False):
    """Give these events their payloads, in place; those that are gone stay away. Reply: how many.

    For what must not be kept: to all else an event is unchangeable.
    """

    rows: Sequence[EventRow]
