"""Opening, resuming and ending a session; ping."""

from __future__ import annotations

from typing import Annotated, Final

import msgspec
from msgspec import Meta

from protocol.errors import (
    ACCOUNT_CLOSED,
    BAD_TOKEN,
    BANNED,
    SESSION_OPEN,
    SIGNED_OUT,
    TOKEN_EXPIRED,
    TOO_MANY_SESSIONS,
)
from protocol.messages.envelope import Name, Position, Push, Request
from protocol.messages.op import Area, Op
from protocol.roles import ANYONE, PLAYER

Token = Annotated[str, Meta(min_length=1, max_length=1024)]
TopicName = Annotated[str, Meta(pattern=r"^(room|match|user):[A-Za-z0-9_.:\-]{1,64}\Z")]


class SessionOpen(Request, frozen=True, kw_only=True, tag="session.open", gc=False):
    """Open a session as a guest called `name`, or with an access token as the token's user.

    Answered with `SessionOpened`.
    """

    name: Name
    token: Token | None = None


class SessionResume(Request, frozen=True, kw_only=True, tag="session.resume", gc=False):
    """Go on with a session, by its token, from `positions` (topic -> position).

    Answered with `SessionOpened`. After that comes one `room.recovered`, `match.recovered`,
    `inbox.recovered` or `topic.lost` for each topic that was named. If the session has expired, a
    new one of the same user is opened.
    """

    token: Token
    positions: Annotated[dict[TopicName, Position], Meta(max_length=1024)] = msgspec.field(
        default_factory=dict
    )
    access: Token | None = None


class SessionRenew(Request, frozen=True, kw_only=True, tag="session.renew", gc=False):
    """Go on with a new access token of the session's user. Answered with `SessionRenewed`."""

    access: Token


class SessionClose(Request, frozen=True, kw_only=True, tag="session.close", gc=False):
    """End the session. It leaves every room, and then the server closes the connection.

    The user's places in matches are kept for a while, as after any end of a session. A client that
    wants to give a place up sends `match.leave` first.
    """


class Ping(Request, frozen=True, kw_only=True, tag="ping", gc=False):
    """Measure the round trip.

    Answered with `Pong`. (WebSocket's own ping keeps connections alive.)
    """


class SessionOpened(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """The session: who the client is, the token to resume with, and limits that it should know."""

    session: str
    user: str
    name: str
    token: str
    resumed: bool
    """Whether this is the session from before. After a resume, a new one is of the same user."""
    resume_within_s: float
    """How long the session outlives its connection, in seconds."""
    keepalive_s: float
    """The interval of the server's pings, in seconds.

    A client that gets nothing for three times as long should reconnect.
    """
    max_message_bytes: int
    expires: int | None = None
    """When the access token runs out, in milliseconds since 1970, UTC; None: a guest has none."""


class SessionRenewed(msgspec.Struct, frozen=True, gc=False):
    """The session goes on until `expires`, in milliseconds since 1970, UTC."""

    token: str
    """The token to resume with from now on."""
    expires: int


class Pong(msgspec.Struct, frozen=True, gc=False):
    """The server's wall clock in milliseconds since 1970, UTC."""

    time: int


class TopicLost(Push, frozen=True, kw_only=True, tag="topic.lost", gc=False):
    """The session is not in this topic any more.

    `code` says why; it is a code of the table of errors.
    """

    topic: str
    code: str


class SessionExpiring(Push, frozen=True, kw_only=True, tag="session.expiring", gc=False):
    """The access token has run out. Without a new one (`session.renew`) the connection is closed.

    `grace_s` says in how many seconds.
    """

    grace_s: float


_ACCESS: Final = (BAD_TOKEN, TOKEN_EXPIRED, SIGNED_OUT, BANNED, ACCOUNT_CLOSED)

AREA: Final = Area(
    ops=(
        Op(
            request=SessionOpen,
            role=ANYONE,
            live=True,
            answer=SessionOpened,
            errors=(SESSION_OPEN, TOO_MANY_SESSIONS, *_ACCESS),
        ),
        Op(
            request=SessionResume,
            role=ANYONE,
            live=True,
            answer=SessionOpened,
            errors=(SESSION_OPEN, TOO_MANY_SESSIONS, *_ACCESS),
        ),
        Op(
            request=SessionRenew,
            role=PLAYER,
            live=True,
            answer=SessionRenewed,
            errors=_ACCESS,
            repeat="harmless",
        ),
        Op(request=SessionClose, role=PLAYER, live=True),
        Op(request=Ping, role=PLAYER, answer=Pong, repeat="harmless"),
    ),
    pushes=(TopicLost, SessionExpiring),
)
