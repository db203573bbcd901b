"""A client's position on a topic, and how each push changes it. Pure functions.

The durable pushes of a topic are numbered from 1 without holes. A position is the number of the
last push that was taken, and the epoch that gave it this number. From the position alone one can
tell a duplicate push, a hole, and the new pushes of a recovery.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Literal, Protocol, TypeVar

import msgspec

from protocol.messages.envelope import Position
from protocol.messages.inbox import Entry
from protocol.messages.match import MatchEnded, MatchEvent
from protocol.messages.room import Message


class Numbered(Protocol):
    """A durable push, which has an offset on its topic."""

    @property
    def offset(self) -> int: ...


T = TypeVar("T", bound=Numbered)


class Gap(msgspec.Struct, frozen=True, gc=False):
    """The pushes with the offsets `first` to `last` were not yielded, or were taken back.

    `cause`:
    - `away`: the client missed more while it was disconnected than the server keeps at hand. The
      history of a room or an inbox still has it. (If the room also crashed in that time, some of
      the pushes yielded last may be void, and no gap says so.)
    - `behind`: this program read more slowly than pushes came, and the oldest were dropped.
    - `void`: a crash took back pushes that were not durable yet. The pushes yielded with these
      offsets do not exist any more, and other pushes get these offsets. `first` is the lowest void
      offset that is known; after a break a few before it may be void as well.
    - `hole`: the server left these offsets out, which it never should.
    """

    cause: Literal["away", "behind", "void", "hole"]
    first: int
    last: int


def take(at: Position, offset: int) -> tuple[Position, Gap | None] | None:
    """Take one durable push.

    Returns the new position and the gap before the push, if there is one; None: the push was taken
    before.
    """
    if offset <= at.offset:
        return None
    hole = Gap("hole", at.offset + 1, offset - 1) if offset > at.offset + 1 else None
    return Position(at.epoch, offset), hole


def after_restart(at: Position, epoch: int, offset: int) -> tuple[Position, Gap | None]:
    """Go on from the position of the topic's actor after its restart.

    Returns the new position, and the gap to yield, if there is one.
    """
    gap: Gap | None = None
    if offset < at.offset:
        gap = Gap("void", offset + 1, at.offset)
    elif offset > at.offset:
        gap = Gap("hole", at.offset + 1, offset)
    return Position(epoch, offset), gap


def recover(
    at: Position,
    now: Position,
    pushes: Sequence[T],
    *,
    recovered: bool,
    seen: Collection[T] = (),
) -> tuple[Position, list[T | Gap]]:
    """Apply the answer to a resume of the topic.

    Arguments:
        at: the position before the resume.
        now: the position in the answer.
        pushes: the pushes in the answer, oldest first.
        recovered: whether `pushes` are all that was missed.
        seen: the last pushes taken before, to tell a repeated push from a rewritten one.

    Returns the new position, and the values to yield: the new pushes, and before them at most one
    `Gap` for pushes that are not known.
    """
    if recovered:
        fresh = [push for push in pushes if push.offset > at.offset]
        first = fresh[0].offset if fresh else now.offset + 1
        missed = Gap("hole", at.offset + 1, first - 1) if first > at.offset + 1 else None
        return now, [missed, *fresh] if missed is not None else list(fresh)
    first = pushes[0].offset if pushes else now.offset + 1
    if first > at.offset + 1:
        return now, [Gap("away", at.offset + 1, first - 1), *pushes]
    # The server has everything after our position and still said `recovered: false`, so the
    # position is void. Its pushes up to our offset may be those we took, or new ones.
    fresh = [push for push in pushes if push not in seen]
    if at.offset == 0 or any(push.offset == at.offset and push in seen for push in pushes):
        # We took nothing yet; or the push at our offset is the one we took, so no push before it
        # was rewritten, and none is missing.
        return now, list(fresh)
    rewritten = [push.offset for push in fresh if push.offset <= at.offset]
    lowest = min([*rewritten, now.offset + 1, at.offset])
    return now, [Gap("void", lowest, at.offset), *fresh]


def widen(gap: Gap | None, dropped: object) -> Gap | None:
    """Return the gap for everything dropped so far and `dropped`; None: none of it was durable.

    A gap that is dropped is merged into it whatever its cause was, as the reader missed it too.
    """
    if isinstance(dropped, Gap):
        first, last = dropped.first, dropped.last
    elif isinstance(dropped, Message | MatchEvent | MatchEnded | Entry):
        first = last = dropped.offset
    else:
        return gap
    if gap is None:
        return Gap("behind", first, last)
    return Gap("behind", min(gap.first, first), max(gap.last, last))
