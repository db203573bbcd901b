"""Chat rooms: join, leave, send, history, members, and the pushes of a room's topic."""

from __future__ import annotations

from collections.abc import Collection
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from protocol.errors import (
    NOT_JOINED,
    OUT_OF_RANGE,
    ROOM_FULL,
    TOO_LONG,
    TOO_MANY_TOPICS,
    UNKNOWN_ROOM,
)
from protocol.messages.envelope import Ident, Key, Push, Request
from protocol.messages.op import Area, Op
from protocol.roles import PLAYER

Body = Annotated[str, Meta(min_length=1, max_length=65_536)]
"""Chat text. A server's configuration usually has a lower limit."""


class RoomJoin(Request, frozen=True, kw_only=True, tag="room.join", gc=False):
    """Join a room. The first member creates it. Answered with `RoomState`."""

    room: Ident


class RoomLeave(Request, frozen=True, kw_only=True, tag="room.leave", gc=False):
    """Leave a room. It is no error if the session has not joined it."""

    room: Ident


class RoomSend(Request, frozen=True, kw_only=True, tag="room.send", gc=False):
    """Send a message to a joined room. Answered with `Sent`, once the message is durable."""

    room: Ident
    body: Body
    key: Key | None = None


class RoomHistory(Request, frozen=True, kw_only=True, tag="room.history", gc=False):
    """Ask for the `limit` messages before offset `before` (0: the newest).

    Answered with `History`.
    """

    room: Ident
    before: Annotated[int, Meta(ge=0)] = 0
    limit: Annotated[int, Meta(ge=1)] = 50


class RoomMembers(Request, frozen=True, kw_only=True, tag="room.members", gc=False):
    """Ask who is in a joined room. Answered with `Members`."""

    room: Ident


class Member(msgspec.Struct, frozen=True, gc=False):
    """A user in a room. A user with several sessions there is one member."""

    user: str
    name: str


class Message(msgspec.Struct, frozen=True, gc=False):
    """A chat message.

    `offset` is its place in the room; `at` is in milliseconds since 1970, UTC. `user`, `name` and
    `body` are empty if the message was erased, or if the reader has blocked its user.
    """

    offset: int
    user: str
    name: str
    body: str
    at: int

    @property
    def erased(self) -> bool:
        """Whether its user was erased or is blocked, and with the user what the message said."""
        return not self.user

    def without(self, users: Collection[str]) -> Message:
        """Return it, or what is left of it if it is of one of these users: its place and time."""
        return self if self.user not in users else Message(self.offset, "", "", "", self.at)


def _others(members: list[Member], users: Collection[str]) -> list[Member]:
    return [member for member in members if member.user not in users]


class RoomState(msgspec.Struct, frozen=True, gc=False):
    """The state of a room: its position, its first members, how many there are, the last
    messages.
    """

    room: str
    epoch: int
    offset: int
    members: list[Member]
    members_total: int
    messages: list[Message]
    """The oldest first. The offset of the last one is `offset`."""

    def without(self, users: Collection[str]) -> RoomState:
        """Return it without what is of these users."""
        return msgspec.structs.replace(
            self,
            members=_others(self.members, users),
            messages=[message.without(users) for message in self.messages],
        )


class Sent(msgspec.Struct, frozen=True, gc=False):
    """The message is durable at this offset."""

    offset: int
    at: int


class History(msgspec.Struct, frozen=True, gc=False):
    """Messages, the oldest first. `more` says whether there are older ones."""

    messages: list[Message]
    more: bool

    def without(self, users: Collection[str]) -> History:
        """Return it without what is of these users."""
        return History([message.without(users) for message in self.messages], self.more)


class Members(msgspec.Struct, frozen=True, gc=False):
    """The first of `members_total` members, in the order in which they joined."""

    members: list[Member]
    members_total: int

    def without(self, users: Collection[str]) -> Members:
        """Return it without these users."""
        return Members(_others(self.members, users), self.members_total)


class RoomMessage(Push, frozen=True, kw_only=True, tag="room.message", gc=False):
    """A message was sent to the room. Its offset is now the topic's.

    `user`, `name` and `body` are empty if the reader has blocked its user.
    """

    room: str
    offset: int
    user: str
    name: str
    body: str
    at: int

    def without(self, users: Collection[str]) -> RoomMessage:
        """Return it, or what is left of it if it is of one of these users: its place and time."""
        if self.user not in users:
            return self
        return msgspec.structs.replace(self, user="", name="", body="")


class RoomJoined(Push, frozen=True, kw_only=True, tag="room.joined", gc=False):
    """A user joined. This push is volatile; its `offset` is that of the durable push before it."""

    room: str
    offset: int
    member: Member

    def without(self, users: Collection[str]) -> RoomJoined | None:
        """Return it, or None if it is of one of these users."""
        return None if self.member.user in users else self


class RoomLeft(Push, frozen=True, kw_only=True, tag="room.left", gc=False):
    """A user left. This push is volatile; its `offset` is that of the durable push before it."""

    room: str
    offset: int
    member: Member

    def without(self, users: Collection[str]) -> RoomLeft | None:
        """Return it, or None if it is of one of these users."""
        return None if self.member.user in users else self


class RoomPresence(Push, frozen=True, kw_only=True, tag="room.presence", gc=False):
    """In a big room: who has joined and left since the last such push.

    It comes in place of `room.joined` and `room.left`. Take out those who left first, then add
    those who joined: a client may know of some already, and may be one of them. If `named` is
    false, too many have come and gone, or the room is too big, and nobody is named. `members_total`
    is always right. This push is volatile; its `offset` is that of the durable push before it.
    """

    room: str
    offset: int
    named: bool
    joined: list[Member]
    left: list[Member]
    members_total: int

    def without(self, users: Collection[str]) -> RoomPresence:
        """Return it without these users."""
        return msgspec.structs.replace(
            self, joined=_others(self.joined, users), left=_others(self.left, users)
        )


class RoomRecovered(Push, frozen=True, kw_only=True, tag="room.recovered", gc=False):
    """The state of the room after a resume.

    If `recovered` is true, `messages` has exactly the messages that were missed, in order. If it is
    false, the position was too old or void, and `messages` has the last ones, from which the client
    starts afresh.
    """

    room: str
    recovered: bool
    epoch: int
    offset: int
    members: list[Member]
    members_total: int
    messages: list[Message]

    def without(self, users: Collection[str]) -> RoomRecovered:
        """Return it without what is of these users."""
        return msgspec.structs.replace(
            self,
            members=_others(self.members, users),
            messages=[message.without(users) for message in self.messages],
        )


class RoomRestarted(Push, frozen=True, kw_only=True, tag="room.restarted", gc=False):
    """The room crashed and has restarted.

    Its members are still joined, and this is the new position.

    `offset` may be lower than that of earlier pushes. Messages that were pushed and not yet durable
    are gone; their senders have got no `ok`.
    """

    room: str
    epoch: int
    offset: int


AREA: Final = Area(
    ops=(
        Op(
            request=RoomJoin,
            role=PLAYER,
            live=True,
            answer=RoomState,
            errors=(ROOM_FULL, TOO_MANY_TOPICS, UNKNOWN_ROOM),
            repeat="harmless",
            cost=2,
        ),
        Op(request=RoomLeave, role=PLAYER, live=True, repeat="harmless"),
        Op(
            request=RoomSend,
            role=PLAYER,
            live=True,
            answer=Sent,
            errors=(NOT_JOINED, TOO_LONG),
            repeat="by key",
            sheddable=True,
        ),
        Op(
            request=RoomHistory,
            role=PLAYER,
            live=True,
            answer=History,
            errors=(NOT_JOINED, OUT_OF_RANGE),
            repeat="harmless",
            sheddable=True,
            cost=2,
        ),
        Op(
            request=RoomMembers,
            role=PLAYER,
            live=True,
            answer=Members,
            errors=(NOT_JOINED,),
            repeat="harmless",
            sheddable=True,
            cost=2,
        ),
    ),
    pushes=(RoomMessage, RoomJoined, RoomLeft, RoomPresence, RoomRecovered, RoomRestarted),
)
