"""A user's inbox: entries for one user, which all sessions of the user get, now or later."""

from __future__ import annotations

from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta

from protocol.errors import NOT_JOINED, OUT_OF_RANGE, TOO_MANY_TOPICS
from protocol.messages.envelope import Push, Request
from protocol.messages.op import Area, Op
from protocol.roles import PLAYER

EPOCH: Final = 1
"""The epoch of every position in an inbox.

An entry is pushed after it is durable, so no crash makes an offset void, and incarnations need not
be told apart.
"""


class InboxJoin(Request, frozen=True, kw_only=True, tag="inbox.join", gc=False):
    """Join the inbox of the session's own user. Answered with `InboxState`."""


class InboxLeave(Request, frozen=True, kw_only=True, tag="inbox.leave", gc=False):
    """Leave the inbox with this session. It is no error if the session has not joined it."""


class InboxHistory(Request, frozen=True, kw_only=True, tag="inbox.history", gc=False):
    """Ask for the `limit` entries before offset `before` (0: the newest).

    Answered with `InboxPage`.
    """

    before: Annotated[int, Meta(ge=0)] = 0
    limit: Annotated[int, Meta(ge=1)] = 50


class InboxRead(Request, frozen=True, kw_only=True, tag="inbox.read", gc=False):
    """Mark every entry up to this offset as read. The mark never moves back.

    Answered with `InboxMark`, once it is durable.
    """

    offset: Annotated[int, Meta(ge=0)]


class Entry(msgspec.Struct, frozen=True, gc=False):
    """An entry of an inbox. `at` is in milliseconds since 1970, UTC."""

    offset: int
    type: str
    payload: Any
    at: int


class InboxState(msgspec.Struct, frozen=True, gc=False):
    """The state of an inbox: its position, what is read, and the last entries."""

    user: str
    epoch: int
    offset: int
    read: int
    unread: int
    entries: list[Entry]
    """The oldest first. The offset of the last one is `offset`."""


class InboxPage(msgspec.Struct, frozen=True, gc=False):
    """Entries, the oldest first, and the state of the inbox.

    `more` says if there are older ones.
    """

    epoch: int
    offset: int
    read: int
    unread: int
    entries: list[Entry]
    more: bool


class InboxMark(msgspec.Struct, frozen=True, gc=False):
    """The offset up to which the user has read, and the state of the inbox."""

    epoch: int
    offset: int
    read: int
    unread: int


class InboxEntry(Push, frozen=True, kw_only=True, tag="inbox.entry", gc=False):
    """An entry was put into the inbox, and is durable. Its offset is now the topic's."""

    user: str
    offset: int
    type: str
    payload: Any
    at: int


class InboxMarked(Push, frozen=True, kw_only=True, tag="inbox.marked", gc=False):
    """The user has read up to `read`, on this device or another.

    This push is volatile; its `offset` is that of the durable push before it.
    """

    user: str
    offset: int
    read: int
    unread: int


class InboxRecovered(Push, frozen=True, kw_only=True, tag="inbox.recovered", gc=False):
    """The state of the inbox after a resume.

    If `recovered` is true, `entries` has exactly the entries that were missed, in order. If it is
    false, too many were missed, and `entries` has the last ones, from which the client starts
    afresh.
    """

    user: str
    recovered: bool
    epoch: int
    offset: int
    read: int
    unread: int
    entries: list[Entry]


AREA: Final = Area(
    ops=(
        Op(
            request=InboxJoin,
            role=PLAYER,
            live=True,
            answer=InboxState,
            errors=(TOO_MANY_TOPICS,),
            repeat="harmless",
            cost=2,
        ),
        Op(request=InboxLeave, role=PLAYER, live=True, repeat="harmless"),
        Op(
            request=InboxHistory,
            role=PLAYER,
            live=True,
            answer=InboxPage,
            errors=(NOT_JOINED, OUT_OF_RANGE),
            repeat="harmless",
            sheddable=True,
            cost=2,
        ),
        Op(
            request=InboxRead,
            role=PLAYER,
            live=True,
            answer=InboxMark,
            errors=(NOT_JOINED,),
            repeat="harmless",
            sheddable=True,
            cost=2,
        ),
    ),
    pushes=(InboxEntry, InboxMarked, InboxRecovered),
)
