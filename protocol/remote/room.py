"""A chat room, for one of its members."""

from __future__ import annotations

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
    RoomPresence,
    RoomRecovered,
    RoomRestarted,
    RoomSend,
    RoomState,
    Sent,
)
from protocol.remote.calls import Caller, key_or_new
from protocol.remote.positions import Gap
from protocol.remote.topic import Topic

REMEMBERED = 256
"""How many messages are kept to tell a repeated message from a rewritten one after a crash of the
room. The server keeps fewer in memory (128 by default), and sends no more than those."""

RoomUpdate = Message | RoomJoined | RoomLeft | RoomPresence | Gap
RoomPush = RoomMessage | RoomJoined | RoomLeft | RoomPresence | RoomRecovered | RoomRestarted


class Room(Topic[Message | RoomJoined | RoomLeft | RoomPresence]):
    """A room that the session has joined. `async for` yields each message once, in order.

    After a break of the connection iteration goes on where it stopped. If messages had to be
    skipped, a `Gap` stands in their place, and `history` may have them.

        async for message in room:
            if isinstance(message, Gap): ...

    `backlog` has the last messages before the join. `members` has the present members, and
    `updates()` also yields who comes and goes; in a big room that is a `RoomPresence` now and then.
    """

    def __init__(self, caller: Caller, state: RoomState, buffer: int) -> None:
        position = Position(state.epoch, state.offset)
        super().__init__(caller, position, buffer, seen=state.messages, remembered=REMEMBERED)
        self.name = state.room
        self.backlog: Sequence[Message] = tuple(state.messages)
        """The last messages before the join, oldest first."""
        self.members_total = state.members_total
        """The number of users in the room. `members` may have only those who came first."""
        self._members = {member.user: member for member in state.members}

    def __repr__(self) -> str:
        return f"<Room {self.name} at {self.position.offset}, {self.members_total} members>"

    @property
    def topic(self) -> str:
        """The room as a topic of the protocol."""
        return f"room:{self.name}"

    @property
    def members(self) -> list[Member]:
        """The members in the order they came, kept up to date by pushes."""
        return list(self._members.values())

    async def send(self, body: str, *, key: str | None = "") -> Sent:
        """Send a message; return its offset and time once it is durable.

        Arguments:
            body: the text.
            key: the idempotency key. By default one is made, so that the message is sent again
                after a break and is in the room once. None: no key, and it is never sent twice.

        Raises:
            RequestFailed, RequestTimedOut, ConnectionLost, Disconnected.
        """
        request = RoomSend(room=self.name, body=body, key=key_or_new(key))
        return await self._caller.request_in(self.topic, request, Sent)

    async def history(self, *, before: int = 0, limit: int = 50) -> History:
        """Return the `limit` messages before offset `before`, oldest first; 0: the newest.

        Raises:
            RequestFailed, RequestTimedOut, Disconnected.
        """
        request = RoomHistory(room=self.name, before=before, limit=limit)
        return await self._caller.request_in(self.topic, request, History)

    async def refresh_members(self) -> list[Member]:
        """Ask the server for the members. It names those who came first (100 by default)."""
        members = await self._caller.request_in(self.topic, RoomMembers(room=self.name), Members)
        self._set_members(members.members, members.members_total)
        return self.members

    async def leave(self) -> None:
        """Leave the room. Iteration ends after the messages that have come.

        Raises:
            RequestFailed: the session is still in the room, and may leave again. If the server was
                not sure and the leave has acted after all, iteration ends with `TopicGone`.
            RequestTimedOut: the answer still counts when it comes. That is so as well if this is
                cancelled.
            Disconnected.
        """
        await self._caller.leave(self.topic, RoomLeave(room=self.name))

    def updates(self) -> AsyncIterator[RoomUpdate]:
        """Yield messages, and who comes and goes, in order.

        It reads from the same feed as `async for` on the room, so an update goes to one of them.
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
        """Return the request that joins again after the topic was lost."""
        return RoomJoin(room=self.name)

    def pushed(self, push: RoomPush) -> None:
        """Take a push of this room."""
        if isinstance(push, RoomMessage):
            if self._take(push.offset):
                self._yield(Message(push.offset, push.user, push.name, push.body, push.at))
        elif isinstance(push, RoomJoined):
            if push.member.user not in self._members:
                self._members[push.member.user] = push.member
                self.members_total += 1
            self.feed.put(push)
        elif isinstance(push, RoomLeft):
            self._members.pop(push.member.user, None)
            self.members_total = max(len(self._members), self.members_total - 1)
            self.feed.put(push)
        elif isinstance(push, RoomPresence):
            for member in push.left:
                self._members.pop(member.user, None)
            for member in push.joined:
                self._members.setdefault(member.user, member)
            self.members_total = push.members_total
            self.feed.put(push)
        elif isinstance(push, RoomRestarted):
            self._restart(push.epoch, push.offset)
        else:
            now = Position(push.epoch, push.offset)
            self._recover(now, push.messages, recovered=push.recovered)
            self._set_members(push.members, push.members_total)

    def rejoined(self, data: Any) -> None:
        """Take the answer to a join of the room after the topic was lost."""
        state = msgspec.convert(data, RoomState)
        now = Position(state.epoch, state.offset)
        # The answer does not say what was missed: nothing, if its messages reach our position.
        bridged = now.epoch == self.position.epoch and now.offset - len(state.messages) <= (
            self.position.offset
        )
        self._recover(now, state.messages, recovered=bridged)
        self._set_members(state.members, state.members_total)

    def _set_members(self, members: list[Member], total: int) -> None:
        self._members = {member.user: member for member in members}
        self.members_total = total
