"""The rows that cross into and out of the stores: plain tuples with names."""

from __future__ import annotations

from typing import NamedTuple


class EventRow(NamedTuple):
    """One event of one actor. Any tuple of this shape is taken wherever a row is asked for.

    `seq` counts the actor's events from 1; `epoch` is the incarnation that wrote it; `type` names
    the event's type and `payload` is its encoding, opaque here; `at_us` is microseconds since
    1970, UTC.
    """

    kind: str
    key: str
    seq: int
    epoch: int
    type: str
    payload: bytes
    at_us: int


class SnapshotRow(NamedTuple):
    """One actor's state, true up to and including event `seq`, taken by incarnation `epoch`.

    `schema` is the version of `payload`'s layout, which is the actor's own matter.
    """

    kind: str
    key: str
    seq: int
    epoch: int
    schema: int
    payload: bytes


EventTuple = tuple[str, str, int, int, str, bytes, int]
SnapshotTuple = tuple[str, str, int, int, int, bytes]
