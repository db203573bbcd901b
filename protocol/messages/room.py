"""Chat rooms: join, leave, send, history, members, and the pushes of a room's topic."""

from __future__ import annotations

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

Body = Annotated[str, Meta(min_length=1, max_length=65_536)]
"""Chat text. The server's own limit, usually lower, is in its config."""


class RoomJoin(Request, frozen=True, kw_only=True, tag="room.join", gc=False):
    """Join a room, which comes into being with its first member. Answered with `RoomState`."""

    room: Ident


class RoomLeave(Request, frozen=True, kw_only=True, tag="room.leave", gc=False):
    """Leave a room. Leaving a room one is not in is harmless."""

    room: Ident


class RoomSend(Request, frozen=True, kw_only=True, tag="room.send", gc=False):
    """Send to a room one has joined. Answered with `Sent`, after the message is durable."""

    room: Ident
    body: Body
    key: Key | None = None


class RoomHistory(Request, frozen=True, kw_only=True, tag="room.history", gc=False):
    """The `limit` messages before offset `before` (0: the newest). Answered with `History`."""

    room: Ident
    before: Annotated[int, Meta(ge=0)] = 0
    limit: Annotated[int, Meta(ge=1)] = 50


class RoomMembers(Request, frozen=True, kw_only=True, tag="room.members", gc=False):
    """Who is in a room one has joined. Answered with `Members`."""

    room: Ident


class Member(msgspec.Struct, frozen=True, gc=False):
    """A user in a room, once however many sessions of theirs are."""

    user: str
    name: str


class Message(msgspec.Struct, frozen=True, gc=False):
    """A chat message at its place in the room. `at`: milliseconds since 1970, UTC."""

    offset: int
    user: str
    name: str
    body: str
    at: int


class RoomState(msgspec.Struct, frozen=True, gc=False):
    """Where a room stands: position, members (the first of `members_total`), last messages."""

    room: str
    epoch: int
    offset: int
    members: list[Member]
    members_total: int
    messages: list[Message]
    """Oldest first; the last one's offset is `offset`."""


class Sent(msgspec.Struct, frozen=True, gc=False):
    """The message is durable at this offset."""

    offset: int
    at: int


class History(msgspec.Struct, frozen=True, gc=False):
    """Oldest first. `more`: there are older ones."""

    messages: list[Message]
    more: bool


class Members(msgspec.Struct, frozen=True, gc=False):
    """The first of `members_total`, in the order they came."""

    members: list[Member]
    members_total: int


class RoomMessage(Push, frozen=True, kw_only=True, tag="room.message", gc=False):
    """A message was sent; the topic's offset is now this one's."""

    room: str
    offset: int
    user: str
    name: str
    body: str
    at: int


class RoomJoined(Push, frozen=True, kw_only=True, tag="room.joined", gc=False):
    """A user came. Volatile: bears the offset it came after."""

    room: str
    offset: int
    member: Member


class RoomLeft(Push, frozen=True, kw_only=True, tag="room.left", gc=False):
    """A user left. Volatile: bears the offset it came after."""

    room: str
    offset: int
    member: Member


class RoomRecovered(Push, frozen=True, kw_only=True, tag="room.recovered", gc=False):
    """After a resume: where the room stands now.

    `recovered` true: `messages` is all that was missed, in order, and nothing else was. False: the
    position was too old or void; `messages` are the last ones, a state to start from.
    """

    room: str
    recovered: bool
    epoch: int
    offset: int
    members: list[Member]
    members_total: int
    messages: list[Message]


class RoomRestarted(Push, frozen=True, kw_only=True, tag="room.restarted", gc=False):
    """The room crashed and is back; its members are still joined. From here the position is this.

    `offset` may be lower than what was pushed: messages pushed but not yet durable are gone, and
    their senders had no `ok`.
    """

    room: str
    epoch: int
    offset: int


AREA: Final = Area(
    ops=(
        Op(
            request=RoomJoin,
            answer=RoomState,
            errors=(ROOM_FULL, TOO_MANY_TOPICS, UNKNOWN_ROOM),
            repeat="harmless",
            cost=2,
        ),
        Op(request=RoomLeave, repeat="harmless"),
        Op(
            request=RoomSend,
            answer=Sent,
            errors=(NOT_JOINED, TOO_LONG),
            repeat="by key",
            sheddable=True,
        ),
        Op(
            request=RoomHistory,
            answer=History,
            errors=(NOT_JOINED, OUT_OF_RANGE),
            repeat="harmless",
            sheddable=True,
            cost=2,
        ),
        Op(
            request=RoomMembers,
            answer=Members,
            errors=(NOT_JOINED,),
            repeat="harmless",
            sheddable=True,
            cost=2,
        ),
    ),
    pushes=(RoomMessage, RoomJoined, RoomLeft, RoomRecovered, RoomRestarted),
)
