"""The standing of accounts: whether their users may be here, and what they may do as staff."""

from __future__ import annotations

from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta

from protocol.errors import FORBIDDEN, NO_ACCOUNT, OUT_OF_RANGE
from protocol.messages.envelope import Request
from protocol.messages.op import Op
from protocol.roles import MODERATOR, OWNER, PLAYER, SUPPORT, VIEWER

_UserId = Annotated[str, Meta(pattern=r"^[^\x00-\x1f\x7f]{1,128}\Z")]
_Role = Annotated[str, Meta(pattern=r"^[a-z][a-z0-9_]{0,31}\Z")]
FOR_EVER_MS: Final = 253_402_300_799_000
"""The end of the year 9999: a ban until then has no end."""
_Until = Annotated[int, Meta(ge=0, le=FOR_EVER_MS)]


class AccountBan(Request, frozen=True, kw_only=True, tag="account.ban", gc=False):
    """Ban a user until a time, in milliseconds since 1970, UTC; null: for ever.

    The user is told the reason. Answered with `AccountStanding`.
    """

    user: _UserId
    reason: Annotated[
        str, Meta(min_length=1, max_length=256, pattern=r"^[^\x00-\x1f\x7f]{1,256}\Z")
    ]
    until: _Until | None = None


class AccountUnban(Request, frozen=True, kw_only=True, tag="account.unban", gc=False):
    """Lift a ban. Answered with `AccountStanding`."""

    user: _UserId


class AccountClose(Request, frozen=True, kw_only=True, tag="account.close", gc=False):
    """Close one's own account. Nobody signs in to it until staff opens it again."""


class AccountReopen(Request, frozen=True, kw_only=True, tag="account.reopen", gc=False):
    """Open an account that its user has closed. Answered with `AccountStanding`."""

    user: _UserId


class AccountStandingGet(Request, frozen=True, kw_only=True, tag="account.standing", gc=False):
    """Look at the standing of an account. Answered with `AccountStanding`."""

    user: _UserId


class AccountGrant(Request, frozen=True, kw_only=True, tag="account.grant", gc=False):
    """Give a user a role. Answered with `AccountStanding`."""

    user: _UserId
    role: _Role


class AccountRevoke(Request, frozen=True, kw_only=True, tag="account.revoke", gc=False):
    """Take a role from a user, whose sign-ins end. Answered with `AccountStanding`."""

    user: _UserId
    role: _Role


class AccountStanding(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Whether a user may be here, and the roles of staff that they have.

    `until` is the end of the ban, in milliseconds since 1970, UTC; null: there is none, or no end.
    """

    user: str
    state: Literal["active", "banned", "closed"]
    until: int | None = None
    reason: str = ""
    roles: list[str] = []


OPS: Final = (
    Op(
        request=AccountBan,
        role=MODERATOR,
        answer=AccountStanding,
        errors=(FORBIDDEN, OUT_OF_RANGE),
        repeat="harmless",
        sheddable=True,
        cost=10,
    ),
    Op(
        request=AccountUnban,
        role=MODERATOR,
        answer=AccountStanding,
        errors=(FORBIDDEN,),
        repeat="harmless",
        sheddable=True,
        cost=10,
    ),
    Op(
        request=AccountClose,
        role=PLAYER,
        errors=(NO_ACCOUNT, FORBIDDEN),
        repeat="harmless",
        sheddable=True,
        cost=10,
    ),
    Op(
        request=AccountReopen,
        role=SUPPORT,
        answer=AccountStanding,
        errors=(NO_ACCOUNT, FORBIDDEN),
        repeat="harmless",
        sheddable=True,
        cost=10,
    ),
    Op(
        request=AccountStandingGet,
        role=VIEWER,
        answer=AccountStanding,
        errors=(NO_ACCOUNT,),
        repeat="harmless",
        sheddable=True,
        cost=2,
    ),
    Op(
        request=AccountGrant,
        role=OWNER,
        answer=AccountStanding,
        errors=(NO_ACCOUNT,),
        repeat="harmless",
        sheddable=True,
        cost=10,
    ),
    Op(
        request=AccountRevoke,
        role=OWNER,
        answer=AccountStanding,
        errors=(NO_ACCOUNT, FORBIDDEN),
        repeat="harmless",
        sheddable=True,
        cost=10,
    ),
)
