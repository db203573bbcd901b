"""Profiles: what users tell of themselves in their accounts, and how others find them."""

from __future__ import annotations

from typing import Annotated, Final

import msgspec
from msgspec import Meta

from protocol.errors import (
    BAD_CURSOR,
    BAD_USERNAME,
    KEY_REUSED,
    NAME_RESERVED,
    NAME_TAKEN,
    NO_ACCOUNT,
    OUT_OF_RANGE,
    TOO_LONG,
    VERSION_CONFLICT,
)
from protocol.messages.envelope import MAX_REF, Key, Request
from protocol.messages.op import Op
from protocol.roles import PLAYER

AccountId = Annotated[str, Meta(pattern=r"^[^\x00-\x1f\x7f]{1,128}\Z")]
"""The id of a user, who may have an account."""
_Text = Annotated[str, Meta(max_length=64, pattern=r"^[^\x00-\x1f\x7f]*\Z")]
_Username = Annotated[str, Meta(min_length=1, max_length=64, pattern=r"^[^\x00-\x1f\x7f]{1,64}\Z")]
_Shown = Annotated[str, Meta(min_length=1, max_length=64, pattern=r"^[^\x00-\x1f\x7f]{1,64}\Z")]
_Url = Annotated[str, Meta(max_length=2048)]
_Json = Annotated[str, Meta(min_length=2, max_length=65_536)]
AccountVersion = Annotated[int, Meta(ge=1, le=MAX_REF)]
"""The version of an account. Each change of it makes it greater by one."""


class AccountGet(Request, frozen=True, kw_only=True, tag="account.get", gc=False):
    """Read one's own account. Answered with `Account`."""


class AccountRead(Request, frozen=True, kw_only=True, tag="account.read", gc=False):
    """Read what others may see of accounts, by the ids of their users. Answered with `Profiles`."""

    users: list[AccountId]


class AccountUpdate(Request, frozen=True, kw_only=True, tag="account.update", gc=False):
    """Change one's own account, all of the fields that are given or none. Answered with `Account`.

    A field that is null, or not there, stays. `avatar_url`, `language` and `time_zone` may be
    empty. `version`: change it only if this is its version; null: in any case.
    """

    version: AccountVersion | None = None
    username: _Username | None = None
    name: _Shown | None = None
    avatar_url: _Url | None = None
    language: _Text | None = None
    time_zone: _Text | None = None
    public_metadata: _Json | None = None
    private_metadata: _Json | None = None
    key: Key | None = None


class AccountSearch(Request, frozen=True, kw_only=True, tag="account.search", gc=False):
    """Find accounts whose usernames begin so, in whatever case, by username.

    Answered with `ProfilesFound`.
    """

    prefix: _Username
    limit: Annotated[int, Meta(ge=1)] = 20
    cursor: Annotated[str, Meta(min_length=1, max_length=256)] | None = None


class Account(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One's own account.

    `username` is null until one is chosen. `name` is the display name. Metadata are objects of JSON
    as text; others see the public ones. `roles` are those of staff. Times are in milliseconds since
    1970, UTC.
    """

    user: str
    username: str | None
    name: str
    avatar_url: str
    language: str
    time_zone: str
    public_metadata: str
    private_metadata: str
    roles: list[str]
    version: int
    created: int
    seen: int


class Profile(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What others may see of an account."""

    user: str
    username: str | None
    name: str
    avatar_url: str
    metadata: str
    created: int


class Profiles(msgspec.Struct, frozen=True, gc=False):
    """The accounts that there are, in the order of the request."""

    profiles: list[Profile]


class ProfilesFound(msgspec.Struct, frozen=True, gc=False):
    """A page of accounts. `cursor` is for the next page; null: this is the last one."""

    profiles: list[Profile]
    cursor: str | None = None


OPS: Final = (
    Op(
        request=AccountGet,
        role=PLAYER,
        answer=Account,
        errors=(NO_ACCOUNT,),
        repeat="harmless",
        sheddable=True,
        cost=2,
    ),
    Op(
        request=AccountRead,
        role=PLAYER,
        answer=Profiles,
        errors=(OUT_OF_RANGE,),
        repeat="harmless",
        sheddable=True,
        cost=2,
        cost_each="users",
    ),
    Op(
        request=AccountUpdate,
        role=PLAYER,
        answer=Account,
        errors=(
            NO_ACCOUNT,
            BAD_USERNAME,
            NAME_RESERVED,
            NAME_TAKEN,
            TOO_LONG,
            VERSION_CONFLICT,
            KEY_REUSED,
        ),
        repeat="by key",
        sheddable=True,
        cost=10,
    ),
    Op(
        request=AccountSearch,
        role=PLAYER,
        answer=ProfilesFound,
        errors=(OUT_OF_RANGE, BAD_CURSOR),
        repeat="harmless",
        sheddable=True,
        cost=5,
    ),
)
