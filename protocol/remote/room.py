"""A chat room, as one of its members sees it."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Sequence
from typing import Any

import msgspec

from protocol.messages.envelope import Position, Request
from protocol.messages.room import (
    History,
    Member,
    Members,
    Message,
    RoomHistory,
    RoomJoin,
    RoomJoined,
    RoomLeave,
    RoomLeft,
    RoomMembers,
    RoomMessage,
    RoomRecovered,
    RoomRestarted,
    RoomSend,
    RoomState,
    Sent,
)
from protocol.remote.calls import Caller, new_key
from protocol.remote.feed import Feed
from protocol.remote.positions import Gap, recover, restart, take, widen

REMEMBERED = 256
"""Messages kept to tell a repeated one from a rewritten one after a crash of the room; more than
the server's own memory of a room (128 by default), which is all it can send."""

RoomUpdate = Message | RoomJoined | RoomLeft | Gap
RoomPush = RoomMessage | RoomJoined | RoomLeft | RoomRecovered | RoomRestarted


class Room:
    """A room one has joined. `async for` yields what is said, once each, in order.

    After a break of the connection it goes on where it stopped. Where something had to be skipped
    a `Gap` stands in its place, and `history` may have it.

        async for message in room:
            if isinstance(message, Gap): ...

    What came before the join is in `backlog`. Who comes and goes is in `members`, and in
    `updates()`.
    """

    def __init__(self, caller: Caller, state: RoomState, buffer: int) -> None:
        self.name = state.room
        self.backlog: Sequence[Message] = tuple(state.messages)
        """The last messages before the join, oldest first."""
        self.position = Position(state.epoch, state.offset)
        """What has been received, not what has been read from the iterator."""
        self.members_total = state.members_total
        """Users in the room; `members` may name only the first of them, as the server lists."""
        self.feed: Feed[Message | RoomJoined | RoomLeft, Gap] = Feed(buffer, widen)
        self._caller = caller
        self._members = {member.user: member for member in state.members}
        self._seen = deque(state.messages, maxlen=REMEMBERED)

    def __repr__(self) -> str:
        return f"<Room {self.name} at {self.position.offset}, {self.members_total} members>"

    @property
    def members(self) -> list[Member]:
        """Who is here, in the order they came. Kept current by the pushes."""
        return list(self._members.values())

    async def send(self, body: str, *, key: str | None = "") -> Sent:
        """Say something; return its place in the room once it is durable.

        Arguments:
            body: the text.
            key: the idempotency key. By default one is made, so that the message is sent again
                after a break and still stands in the room once; None: no key, never sent twice.

        Raises:
            RequestFailed, RequestTimedOut, ConnectionLost, Disconnected.
        """
        if key == "":
            key = new_key()
        return await self._caller.request(RoomSend(room=self.name, body=body, key=key), Sent)

    async def history(self, *, before: int = 0, limit: int = 50) -> History:
        """The `limit` messages before offset `before`, oldest first; 0: the newest.

        Raises:
            RequestFailed, RequestTimedOut, Disconnected.
        """
        request = RoomHistory(room=self.name, before=before, limit=limit)
        return await self._caller.request(request, History)

    async def refresh_members(self) -> list[Member]:
        """Ask the server who is here, as for a room that has more than it lists."""
        members = await self._caller.request(RoomMembers(room=self.name), Members)
        self._set_members(members.members, members.members_total)
        return self.members

    async def leave(self) -> None:
        """Leave. Then iteration ends, after what has come.

        Raises:
            RequestFailed: one is still in the room, and may leave again. Where the server did not
                know, iteration ends with `TopicGone` should the leave have acted.
            RequestTimedOut: when the answer comes, it counts; likewise if this is cancelled.
            Disconnected.
        """
        await self._caller.leave(f"room:{self.name}", RoomLeave(room=self.name))

    def updates(self) -> AsyncIterator[RoomUpdate]:
        """What is said and who comes and goes, in order. Takes from the same feed as `async for`
        on the room itself.
        """
        return self.feed

    def __aiter__(self) -> Room:
        return self

    async def __anext__(self) -> Message | Gap:
        while True:
            update = await self.feed.next()
            if isinstance(update, Message | Gap):
                return update

    # --- for the session ---------------------------------------------------------------------

    def join_request(self) -> Request:
        """What brings one back after the topic was lost."""
        return RoomJoin(room=self.name)

    def pushed(self, push: RoomPush) -> None:
        """Take a push of this room."""
        if isinstance(push, RoomMessage):
            self._said(push)
        elif isinstance(push, RoomJoined):
            if push.member.user not in self._members:
                self._members[push.member.user] = push.member
                self.members_total += 1
            self.feed.put(push)
        elif isinstance(push, RoomLeft):
            self._members.pop(push.member.user, None)
            self.members_total = max(len(self._members), self.members_total - 1)
            self.feed.put(push)
        elif isinstance(push, RoomRestarted):
            self.position, gap = restart(self.position, push.epoch, push.offset)
            if gap is not None:
                self.feed.put(gap)
        else:
            self._recovered(
                Position(push.epoch, push.offset), push.messages, recovered=push.recovered
            )
            self._set_members(push.members, push.members_total)

    def rejoined(self, data: Any) -> None:
        """Take the answer to a join of a room one had been in and lost for a while."""
        state = msgspec.convert(data, RoomState)
        now = Position(state.epoch, state.offset)
        # The answer names no gap; it is one unless the messages reach back to our position.
        bridged = now.epoch == self.position.epoch and now.offset - len(state.messages) <= (
            self.position.offset
        )
        self._recovered(now, state.messages, recovered=bridged)
        self._set_members(state.members, state.members_total)

    def _said(self, push: RoomMessage) -> None:
        taken = take(self.position, push.offset)
        if taken is None:
            return
        self.position, hole = taken
        if hole is not None:
            self.feed.put(hole)
        self._yield(Message(push.offset, push.user, push.name, push.body, push.at))

    def _recovered(self, now: Position, messages: list[Message], *, recovered: bool) -> None:
        self.position, updates = recover(
            self.position, now, messages, recovered=recovered, seen=self._seen
        )
        for update in updates:
            if isinstance(update, Gap):
                self.feed.put(update)
            else:
                self._yield(update)

    def _yield(self, message: Message) -> None:
        self._seen.append(message)
        self.feed.put(message)

    def _set_members(self, members: list[Member], total: int) -> None:
        self._members = {member.user: member for member in members}
        self.members_total = total
