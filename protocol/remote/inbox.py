"""The inbox of the session's user: entries from the server, the same on all devices."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from protocol.messages.envelope import Position, Request
from protocol.messages.inbox import (
    Entry,
    InboxEntry,
    InboxHistory,
    InboxJoin,
    InboxLeave,
    InboxMark,
    InboxMarked,
    InboxPage,
    InboxRead,
    InboxRecovered,
    InboxState,
)
from protocol.remote.calls import Caller
from protocol.remote.positions import Gap
from protocol.remote.topic import Topic

REMEMBERED = 64
"""How many entries are kept to recognize repeated ones after a break."""

InboxPush = InboxEntry | InboxMarked | InboxRecovered


class Inbox(Topic[Entry]):
    """The inbox of the session's user. `async for` yields each new entry once, in order.

    After a break of the connection iteration goes on where it stopped. If entries had to be
    skipped, a `Gap` stands in their place, and `history` may have them.

        async for entry in inbox:
            if isinstance(entry, Gap): ...

    `backlog` has the last entries before the join. `unread` is the number of entries that the user
    has not marked as read, on any device.
    """

    def __init__(self, caller: Caller, state: InboxState, buffer: int) -> None:
        position = Position(state.epoch, state.offset)
        super().__init__(caller, position, buffer, seen=state.entries, remembered=REMEMBERED)
        self.user = state.user
        self.backlog: Sequence[Entry] = tuple(state.entries)
        """The last entries before the join, oldest first."""
        self.read = state.read
        """The offset up to which the user has read the inbox, on any device."""

    def __repr__(self) -> str:
        return f"<Inbox of {self.user} at {self.position.offset}, {self.unread} unread>"

    @property
    def topic(self) -> str:
        """The topic of the inbox, as positions name it."""
        return f"user:{self.user}"

    @property
    def unread(self) -> int:
        """Entries received that are not marked as read."""
        return max(0, self.position.offset - self.read)

    async def history(self, *, before: int = 0, limit: int = 50) -> InboxPage:
        """Return the `limit` entries before offset `before`, oldest first; 0: the newest.

        Raises:
            RequestFailed, RequestTimedOut, Disconnected.
        """
        request = InboxHistory(before=before, limit=limit)
        return await self._caller.request_in(self.topic, request, InboxPage)

    async def mark_read(self, offset: int | None = None) -> InboxMark:
        """Mark every entry up to this offset as read; None: up to the last one received.

        Raises:
            RequestFailed, RequestTimedOut, Disconnected.
        """
        request = InboxRead(offset=self.position.offset if offset is None else offset)
        mark = await self._caller.request_in(self.topic, request, InboxMark)
        self.read = max(self.read, mark.read)
        return mark

    async def leave(self) -> None:
        """Leave the inbox, in this session. Iteration ends after the entries that have come.

        Raises:
            RequestFailed, RequestTimedOut, Disconnected: as of `Room.leave`.
        """
        await self._caller.leave(self.topic, InboxLeave())

    def __aiter__(self) -> Inbox:
        return self

    async def __anext__(self) -> Entry | Gap:
        return await self.feed.next()

    # --- for the session ---------------------------------------------------------------------

    def join_request(self) -> Request:
        """Return the request that joins again after the topic was lost."""
        return InboxJoin()

    def pushed(self, push: InboxPush) -> None:
        """Take a push of this inbox."""
        if isinstance(push, InboxEntry):
            if self._take(push.offset):
                self._yield(Entry(push.offset, push.type, push.payload, push.at))
        elif isinstance(push, InboxMarked):
            self.read = max(self.read, push.read)
        else:
            self.read = max(self.read, push.read)
            now = Position(push.epoch, push.offset)
            self._recover(now, push.entries, recovered=push.recovered)

    def rejoined(self, data: Any) -> None:
        """Take the answer to a join of the inbox after the topic was lost."""
        state = msgspec.convert(data, InboxState)
        now = Position(state.epoch, state.offset)
        bridged = now.epoch == self.position.epoch and (
            now.offset - len(state.entries) <= self.position.offset <= now.offset
        )
        self.read = max(self.read, state.read)
        self._recover(now, state.entries, recovered=bridged)
