"""Where a client stands on a topic, and what that makes of the next push. Pure functions.

The durable pushes of a topic are numbered without holes from 1; a position is the last number
that was taken, and the epoch it was given in. From these alone follow: what is a duplicate, what
was skipped, and what a recovery brings that is new.
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
    """A durable push: it has its place on the topic."""

    @property
    def offset(self) -> int: ...


T = TypeVar("T", bound=Numbered)


class Gap(msgspec.Struct, frozen=True, gc=False):
    """The iterator had to skip: what bears the offsets `first` to `last` was not yielded.

    `cause`:
    - `away`: more was missed while disconnected than the server keeps at hand. The history of
      a room or an inbox still has it. (If a room crashed meanwhile, the last yielded before may be
      `void` unseen.)
    - `behind`: this program read slower than the topic went, and the oldest were dropped.
    - `void`: a crash took back what was pushed and not yet durable. What was yielded under these
      offsets does not exist; they are given again. `first` is the lowest that is known: after a
      break a few before it may be void too, where the server did not send them.
    - `hole`: the server left these out. It should never.
    """

    cause: Literal["away", "behind", "void", "hole"]
    first: int
    last: int


def take(at: Position, offset: int) -> tuple[Position, Gap | None] | None:
    """Take one durable push. Returns the new position and what is missing before the push, or
    None if it has been taken before.
    """
    if offset <= at.offset:
        return None
    hole = Gap("hole", at.offset + 1, offset - 1) if offset > at.offset + 1 else None
    return Position(at.epoch, offset), hole


def restart(at: Position, epoch: int, offset: int) -> tuple[Position, Gap | None]:
    """Go on from where the topic's actor came back after a crash."""
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
    """Apply what a resume answered for the topic.

    Arguments:
        at: the position that was resumed from.
        now: the position in the answer.
        pushes: what came with it, oldest first.
        recovered: whether `pushes` is all that was missed.
        seen: the last that were taken before, to tell a rewritten push from a repeated one.

    Returns the new position, and what to yield: each push that is new, with at most one `Gap`
    before them where some are not known.
    """
    if recovered:
        fresh = [push for push in pushes if push.offset > at.offset]
        first = fresh[0].offset if fresh else now.offset + 1
        missed = Gap("hole", at.offset + 1, first - 1) if first > at.offset + 1 else None
        return now, [missed, *fresh] if missed is not None else list(fresh)
    first = pushes[0].offset if pushes else now.offset + 1
    if first > at.offset + 1:
        return now, [Gap("away", at.offset + 1, first - 1), *pushes]
    # The server has everything from our position on and still could not bridge: the position is
    # void. What it names at or below our offset may be ours, or written anew under that number.
    fresh = [push for push in pushes if push not in seen]
    if at.offset == 0 or any(push.offset == at.offset and push in seen for push in pushes):
        # Nothing was taken yet; or what stands at our offset is what we took, so that nothing up
        # to there was rewritten, and `pushes` begins before it: nothing is missing.
        return now, list(fresh)
    rewritten = [push.offset for push in fresh if push.offset <= at.offset]
    lowest = min([*rewritten, now.offset + 1, at.offset])
    return now, [Gap("void", lowest, at.offset), *fresh]


def widen(gap: Gap | None, dropped: object) -> Gap | None:
    """The gap that stands for everything dropped so far and `dropped`; None: nothing durable was.

    A dropped gap is merged whatever its cause was: the reader fell behind over it.
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
