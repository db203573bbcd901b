"""A user's inbox: what the server has for one user, whichever session is there, or none."""

from __future__ import annotations

from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta

from protocol.errors import NOT_JOINED, OUT_OF_RANGE, TOO_MANY_TOPICS
from protocol.messages.envelope import Push, Request
from protocol.messages.op import Area, Op

EPOCH: Final = 1
"""Of every position in an inbox. An entry is pushed after it is durable, so that no crash makes an
offset void, and there is no incarnation to tell from another."""


class InboxJoin(Request, frozen=True, kw_only=True, tag="inbox.join", gc=False):
    """Join the inbox of the session's own user. Answered with `InboxState`."""


class InboxLeave(Request, frozen=True, kw_only=True, tag="inbox.leave", gc=False):
    """Leave it, with this session. Leaving it when one is not in it is harmless."""


class InboxHistory(Request, frozen=True, kw_only=True, tag="inbox.history", gc=False):
    """The `limit` entries before offset `before` (0: the newest). Answered with `InboxPage`."""

    before: Annotated[int, Meta(ge=0)] = 0
    limit: Annotated[int, Meta(ge=1)] = 50


class InboxRead(Request, frozen=True, kw_only=True, tag="inbox.read", gc=False):
    """The user has read every entry up to this offset. Answered with `InboxMark`, once that is
    durable. The mark never moves back.
    """

    offset: Annotated[int, Meta(ge=0)]


class Entry(msgspec.Struct, frozen=True, gc=False):
    """What was put into an inbox, at its place. `at`: milliseconds since 1970, UTC."""

    offset: int
    type: str
    payload: Any
    at: int


class InboxState(msgspec.Struct, frozen=True, gc=False):
    """Where an inbox stands: position, what is read, the last entries."""

    user: str
    epoch: int
    offset: int
    read: int
    unread: int
    entries: list[Entry]
    """Oldest first; the last one's offset is `offset`."""


class InboxPage(msgspec.Struct, frozen=True, gc=False):
    """Entries, oldest first, and where the inbox stands. `more`: there are older ones."""

    epoch: int
    offset: int
    read: int
    unread: int
    entries: list[Entry]
    more: bool


class InboxMark(msgspec.Struct, frozen=True, gc=False):
    """Up to where the user has read, and where the inbox stands."""

    epoch: int
    offset: int
    read: int
    unread: int


class InboxEntry(Push, frozen=True, kw_only=True, tag="inbox.entry", gc=False):
    """Something was put into the inbox; the topic's offset is now this one's. It is durable."""

    user: str
    offset: int
    type: str
    payload: Any
    at: int


class InboxMarked(Push, frozen=True, kw_only=True, tag="inbox.marked", gc=False):
    """The user has read up to `read`, on this device or on another. Volatile: bears the offset it
    came after.
    """

    user: str
    offset: int
    read: int
    unread: int


class InboxRecovered(Push, frozen=True, kw_only=True, tag="inbox.recovered", gc=False):
    """After a resume: where the inbox stands now.

    `recovered` true: `entries` is all that was missed, in order, and nothing else was. False: too
    much was; `entries` are the last ones, a state to start from.
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
            answer=InboxState,
            errors=(TOO_MANY_TOPICS,),
            repeat="harmless",
            cost=2,
        ),
        Op(request=InboxLeave, repeat="harmless"),
        Op(
            request=InboxHistory,
            answer=InboxPage,
            errors=(NOT_JOINED, OUT_OF_RANGE),
            repeat="harmless",
            sheddable=True,
            cost=2,
        ),
        Op(
            request=InboxRead,
            answer=InboxMark,
            errors=(NOT_JOINED,),
            repeat="harmless",
            sheddable=True,
            cost=2,
        ),
    ),
    pushes=(InboxEntry, InboxMarked, InboxRecovered),
)
