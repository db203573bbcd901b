"""A room's log as a value: the order, the recent messages, retries, and the answer to a resume.

Nothing here waits or stores. The actor appends each message under the offset that the event log
gave it. After a crash the log is rebuilt from what was durable: `restore`, then `append` again.

**Positions.** A client's position is (epoch, offset): it has read everything up to that offset, as
the incarnation with that epoch wrote it. When a room crashes, some offsets may have been pushed but
not stored; the next incarnation gives them to other messages. So the log notes which epoch wrote
each offset. A position is void if its offset was written by an epoch newer than its own, or not at
all. Epochs never decrease along the log, so this one offset decides for all before it. (Centrifugo
keeps one epoch for a whole stream, so all positions are lost when it changes. With an epoch for
each offset, clients of a crashed room can recover.)
"""

from __future__ import annotations

from collections import deque
from itertools import islice
from typing import NamedTuple

import msgspec


class Posted(msgspec.Struct, frozen=True, gc=False, omit_defaults=True, tag="room.posted"):
    """The event of a room: a message. Its offset is its seq in the event log.

    `at`: milliseconds since 1970, UTC. `key`: the client's idempotency key.
    """

    user: str
    name: str
    body: str
    at: int
    key: str | None = None

    def erased(self) -> Posted:
        """Return what stays of the message once its user is erased: its place and its time."""
        return Posted("", "", "", self.at)


class LoggedPost(NamedTuple):
    """A message with its offset."""

    offset: int
    posted: Posted


class HistoryPage(NamedTuple):
    """A page of history: the part that is in memory, and the part that only the event log has."""

    held: list[LoggedPost]
    older: int
    """How many messages of the event log belong to the page, the last ones before `before`."""
    before: int


class LogState(msgspec.Struct, frozen=True, gc=False):
    """A log as a snapshot keeps it."""

    offset: int
    recent: list[Posted]
    spans: list[tuple[int, int]]
    keys: list[tuple[str, str, int, int]]


class RoomLog:
    """The end of a room's log.

    Arguments:
        recent: how many messages are held. A resume gets all it missed if it missed no more.
        keys: how many keyed messages are remembered. After a recovery without a snapshot these are
            at least the keyed ones among the messages that were replayed.
    """

    def __init__(self, recent: int, keys: int) -> None:
        self.offset = 0
        """The offset of the last message; 0: there is none."""
        self.epoch = 0
        """The epoch of the present incarnation. The room sets it before it appends."""
        self._recent: deque[Posted] = deque(maxlen=recent)
        self._spans: deque[tuple[int, int]] = deque()  # (first offset, the epoch that wrote it)
        self._keys: dict[tuple[str, str], tuple[int, int]] = {}
        self._key_order: deque[tuple[str, str]] = deque()
        self._key_limit = keys

    @property
    def held_after(self) -> int:
        """The offset after which memory holds every message."""
        return self.offset - len(self._recent)

    def append(self, offset: int, epoch: int, posted: Posted) -> None:
        """Add the next message. A gap before it means that a recovery left older ones out."""
        if offset != self.offset + 1:
            self._recent.clear()
            self._spans.clear()
        self.offset = offset
        self._recent.append(posted)
        spans = self._spans
        if not spans or spans[-1][1] != epoch:
            spans.append((offset, epoch))
        # The oldest position that a client can recover from is `held_after`, so keep its epoch.
        while len(spans) > 1 and spans[1][0] <= self.offset - len(self._recent):
            spans.popleft()
        if posted.key is not None:
            self._remember((posted.user, posted.key), offset, posted.at)

    def earlier(self, user: str, key: str) -> tuple[int, int] | None:
        """Return the (offset, at) of this user's message with this key; None: there is none."""
        return self._keys.get((user, key))

    def last(self, limit: int, max_bytes: int) -> list[LoggedPost]:
        """Return the newest messages, oldest first: at most `limit`, and `max_bytes` of bodies."""
        return newest(self._slice(self.held_after, self.offset), limit, max_bytes)

    def since(self, epoch: int, offset: int, max_bytes: int) -> list[LoggedPost] | None:
        """Return every message after a client's position, in order.

        Returns None if the position is void, if it is older than what memory holds, or if the
        messages have more than `max_bytes` of bodies.
        """
        if epoch > self.epoch or not self.held_after <= offset <= self.offset:
            return None
        agreed = self.agreed(epoch)
        if agreed is None or offset > agreed:
            return None
        missed = self._slice(offset, self.offset)
        if sum(len(entry.posted.body.encode()) for entry in missed) > max_bytes:
            return None
        return missed

    def agreed(self, epoch: int) -> int | None:
        """Return the last offset up to which the log is what the incarnation `epoch` pushed.

        An incarnation has read everything that older ones wrote. Newer ones have overwritten what
        it pushed but could not store. Returns None if that offset is no longer in memory.
        """
        after = self.offset
        for first, writer in reversed(self._spans):
            if writer <= epoch:
                return after
            after = first - 1
        return 0 if after == 0 else None

    def page(self, before: int, limit: int, max_bytes: int) -> HistoryPage:
        """Return the `limit` messages before an offset. 0, or one beyond the end: the newest."""
        end = self.offset if not 0 < before <= self.offset else before - 1
        first = max(0, end - limit)
        wanted = self._slice(max(first, self.held_after), end)
        held = newest(wanted, limit, max_bytes)
        start = held[0].offset - 1 if held else end
        older = 0 if len(held) < len(wanted) else start - first
        return HistoryPage(held, older, start + 1)

    def forget(self, user: str) -> bool:
        """Erase a user's messages and keys; returns whether there were any. Offsets stay."""
        said = any(posted.user == user for posted in self._recent)
        if said:
            kept = (one.erased() if one.user == user else one for one in self._recent)
            self._recent = deque(kept, self._recent.maxlen)
        keys = [who for who in self._key_order if who[0] == user]
        for who in keys:
            del self._keys[who]
            self._key_order.remove(who)
        return said or bool(keys)

    def dump(self) -> LogState:
        """Return the state for a snapshot, a copy that later changes do not touch."""
        return LogState(
            self.offset,
            list(self._recent),
            list(self._spans),
            [(*who, *self._keys[who]) for who in self._key_order],
        )

    def restore(self, state: LogState) -> None:
        """Take over the log of a snapshot, within this log's own limits."""
        self.offset = state.offset
        self._recent.clear()
        self._recent.extend(state.recent)
        self._spans = deque(state.spans)
        self._keys.clear()
        self._key_order.clear()
        for user, key, offset, at in state.keys:
            self._remember((user, key), offset, at)

    def _remember(self, who: tuple[str, str], offset: int, at: int) -> None:
        if who not in self._keys:
            if len(self._key_order) >= self._key_limit:
                del self._keys[self._key_order.popleft()]
            self._key_order.append(who)
        self._keys[who] = (offset, at)

    def _slice(self, after: int, end: int) -> list[LoggedPost]:
        """Return the entries after `after` up to and including `end`; memory holds them."""
        base = self.held_after
        part = islice(self._recent, max(0, after - base), max(0, end - base))
        return [
            LoggedPost(offset, posted) for offset, posted in enumerate(part, max(after, base) + 1)
        ]


def newest(entries: list[LoggedPost], limit: int, max_bytes: int) -> list[LoggedPost]:
    """Return the last entries within both limits, but at least one, however long it is."""
    taken = 0
    for entry in reversed(entries[-limit:] if limit else ()):
        max_bytes -= len(entry.posted.body.encode())
        if max_bytes < 0 and taken:
            break
        taken += 1
    return entries[len(entries) - taken :]
