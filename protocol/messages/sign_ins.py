"""Sign-ins of an account: the devices that are signed in, listed and ended."""

from __future__ import annotations

from typing import Annotated, Final

import msgspec
from msgspec import Meta

from protocol.errors import FORBIDDEN
from protocol.messages.envelope import Request
from protocol.messages.op import Op
from protocol.roles import PLAYER

_SignInId = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_\-]{1,64}\Z")]


class AccountSessions(Request, frozen=True, kw_only=True, tag="account.sessions", gc=False):
    """List the sign-ins of one's own account, the last used first. Answered with `SignIns`."""


class AccountEndSession(Request, frozen=True, kw_only=True, tag="account.end_session", gc=False):
    """End a sign-in of one's own account. It is no error if there is none.

    Answered with `SignInsEnded`.
    """

    sign_in: _SignInId


class AccountEndSessions(Request, frozen=True, kw_only=True, tag="account.end_sessions", gc=False):
    """End all sign-ins of one's own account; `others`: all but that of whoever asks.

    Answered with `SignInsEnded`.
    """

    others: bool = False


class SignInEntry(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A sign-in: a device on which the user is signed in.

    `label` is what the device calls itself. Times are in milliseconds since 1970, UTC. `current`:
    it is the one that asks.
    """

    sign_in: str
    label: str
    created: int
    used: int
    expires: int
    current: bool


class SignIns(msgspec.Struct, frozen=True, gc=False):
    """The sign-ins of an account, the last used first."""

    sessions: list[SignInEntry]


class SignInsEnded(msgspec.Struct, frozen=True, gc=False):
    """How many sign-ins have ended."""

    ended: int


OPS: Final = (
    Op(
        request=AccountSessions,
        role=PLAYER,
        answer=SignIns,
        repeat="harmless",
        sheddable=True,
        cost=2,
    ),
    Op(
        request=AccountEndSession,
        role=PLAYER,
        answer=SignInsEnded,
        errors=(FORBIDDEN,),
        repeat="harmless",
        cost=5,
    ),
    Op(
        request=AccountEndSessions,
        role=PLAYER,
        answer=SignInsEnded,
        errors=(FORBIDDEN,),
        repeat="harmless",
        cost=5,
    ),
)
