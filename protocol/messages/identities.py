"""The ways into an account: what else its player can sign in with, added and taken away."""

from __future__ import annotations

from typing import Annotated, Final

import msgspec
from msgspec import Meta

from protocol.errors import (
    FORBIDDEN,
    IDENTITY_TAKEN,
    LAST_WAY,
    QUOTA_EXCEEDED,
    UNKNOWN_IDENTITY,
    UNKNOWN_PROVIDER,
)
from protocol.messages.envelope import Request
from protocol.messages.op import Op
from protocol.roles import PLAYER

ProviderName = Annotated[str, Meta(pattern=r"^[a-z][a-z0-9_\-]{0,31}\Z")]
Proof = Annotated[str, Meta(min_length=1, max_length=8192)]
IdentityId = Annotated[str, Meta(pattern=r"^[0-9a-f]{16}\Z")]


class AccountLink(Request, frozen=True, kw_only=True, tag="account.link", gc=False):
    """Add a way into the account of the user who asks. Answered with `AccountIdentity`.

    A guest becomes an account by it, and keeps the user id with all that belongs to it.
    """

    provider: ProviderName
    proof: Proof


class AccountUnlink(Request, frozen=True, kw_only=True, tag="account.unlink", gc=False):
    """Take a way into the account away. The last one stays."""

    provider: ProviderName
    id: IdentityId


class AccountIdentities(Request, frozen=True, kw_only=True, tag="account.identities", gc=False):
    """List the ways into the account. Answered with `AccountIdentityList`."""


class AccountIdentity(msgspec.Struct, frozen=True, gc=False):
    """A way into an account. `linked` is in milliseconds since 1970, UTC."""

    provider: str
    id: str
    linked: int


class AccountIdentityList(msgspec.Struct, frozen=True, gc=False):
    """The ways into an account, the oldest first."""

    identities: list[AccountIdentity]


OPS: Final = (
    Op(
        request=AccountLink,
        role=PLAYER,
        answer=AccountIdentity,
        errors=(UNKNOWN_PROVIDER, IDENTITY_TAKEN, QUOTA_EXCEEDED, FORBIDDEN),
        repeat="harmless",
        cost=20,
    ),
    Op(
        request=AccountUnlink,
        role=PLAYER,
        errors=(UNKNOWN_IDENTITY, LAST_WAY),
        repeat="acts again",
        cost=5,
    ),
    Op(
        request=AccountIdentities,
        role=PLAYER,
        answer=AccountIdentityList,
        repeat="harmless",
        sheddable=True,
    ),
)
