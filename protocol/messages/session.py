"""Opening, resuming and ending a session; ping."""

from __future__ import annotations

from typing import Annotated, Final

import msgspec
from msgspec import Meta

from protocol.errors import BAD_TOKEN, SESSION_OPEN, TOO_MANY_SESSIONS
from protocol.messages.envelope import Name, Position, Push, Request
from protocol.messages.op import Area, Op
from protocol.roles import ANYONE, PLAYER

Token = Annotated[str, Meta(min_length=1, max_length=1024)]
TopicName = Annotated[str, Meta(pattern=r"^(room|match|user):[A-Za-z0-9_.:\-]{1,64}\Z")]


class SessionOpen(Request, frozen=True, kw_only=True, tag="session.open", gc=False):
    """Open a session as a guest called `name`. Answered with `SessionOpened`."""

    name: Name


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


class SessionClose(Request, frozen=True, kw_only=True, tag="session.close", gc=False):
    """End the session. It leaves every room, and then the server closes the connection.

    The user's places in matches are kept for a while, as after any end of a session. A client that
    wants to give a place up sends `match.leave` first.
    """


class Ping(Request, frozen=True, kw_only=True, tag="ping", gc=False):
    """Measure the round trip.

    Answered with `Pong`. (WebSocket's own ping keeps connections alive.)
    """


class SessionOpened(msgspec.Struct, frozen=True, gc=False):
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


class Pong(msgspec.Struct, frozen=True, gc=False):
    """The server's wall clock in milliseconds since 1970, UTC."""

    time: int


class TopicLost(Push, frozen=True, kw_only=True, tag="topic.lost", gc=False):
    """The session is not in this topic any more.

    `code` says why; it is a code of the table of errors.
    """

    topic: str
    code: str


AREA: Final = Area(
    ops=(
        Op(
            request=SessionOpen,
            role=ANYONE,
            live=True,
            answer=SessionOpened,
            errors=(SESSION_OPEN, TOO_MANY_SESSIONS),
        ),
        Op(
            request=SessionResume,
            role=ANYONE,
            live=True,
            answer=SessionOpened,
            errors=(BAD_TOKEN, SESSION_OPEN, TOO_MANY_SESSIONS),
        ),
        Op(request=SessionClose, role=PLAYER, live=True),
        Op(request=Ping, role=PLAYER, answer=Pong, repeat="harmless"),
    ),
    pushes=(TopicLost,),
)
