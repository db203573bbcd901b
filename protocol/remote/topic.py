"""A topic that the session is in: the position on it, and the feed of what has come."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from typing import Generic, TypeVar

from protocol.messages.envelope import Position
from protocol.remote.calls import Caller
from protocol.remote.feed import Feed
from protocol.remote.positions import Gap, Numbered, after_restart, recover, take, widen

P = TypeVar("P", bound=Numbered)


class Topic(Generic[P]):
    """The part of `Room`, `Match` and `Inbox` that is the same: each durable push comes once.

    Arguments:
        caller: the session.
        position: where the topic stood at the join.
        buffer: how many updates wait to be read at most.
        seen: the last pushes before the join.
        remembered: how many pushes are kept to recognize repeated ones after a break.
    """

    def __init__(
        self,
        caller: Caller,
        position: Position,
        buffer: int,
        *,
        seen: Iterable[P] = (),
        remembered: int = 0,
    ) -> None:
        self.position = position
        """The position of the last push received; the iterator may be behind it."""
        self.feed: Feed[P, Gap] = Feed(buffer, widen)
        self._caller = caller
        self._seen: deque[P] = deque(seen, maxlen=remembered)

    def _take(self, offset: int) -> bool:
        """Move to a durable push, over a gap that is yielded; False: it was taken before."""
        taken = take(self.position, offset)
        if taken is None:
            return False
        self.position, hole = taken
        if hole is not None:
            self.feed.put(hole)
        return True

    def _restart(self, epoch: int, offset: int) -> None:
        """Go on from the position of the topic's actor after its restart."""
        self.position, gap = after_restart(self.position, epoch, offset)
        if gap is not None:
            self.feed.put(gap)

    def _recover(self, now: Position, pushes: Sequence[P], *, recovered: bool) -> None:
        """Take the answer to a resume, and yield what is new in it."""
        self.position, updates = recover(
            self.position, now, pushes, recovered=recovered, seen=self._seen
        )
        for update in updates:
            if isinstance(update, Gap):
                self.feed.put(update)
            else:
                self._yield(update)

    def _yield(self, push: P) -> None:
        self._seen.append(push)
        self.feed.put(push)
