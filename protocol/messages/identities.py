"""The ways into an account: what else its player can sign in with, added and taken away."""

from __future__ import annotations

from typing import Annotated, Final

import msgspec
from msgspec import Meta

from protocol.errors import (
    BAD_ID_TOKEN,
    BAD_PROOF,
    BAD_STATE,
    FORBIDDEN,
    ID_TOKEN_EXPIRED,
    IDENTITY_TAKEN,
    LAST_WAY,
    PROVIDER_AWAY,
    PROVIDER_FAILED,
    QUOTA_EXCEEDED,
    STATE_USED,
    UNKNOWN_IDENTITY,
    UNKNOWN_PROVIDER,
)
from protocol.messages.envelope import Request
from protocol.messages.op import Op
from protocol.roles import PLAYER

ProviderName = Annotated[str, Meta(pattern=r"^[a-z][a-z0-9_\-]{0,31}\Z")]
ProofText = Annotated[str, Meta(min_length=1, max_length=8192)]
FlowText = Annotated[str, Meta(max_length=2048)]
IdentityId = Annotated[str, Meta(pattern=r"^[0-9a-f]{16}\Z")]


PROVIDED: Final = (
    UNKNOWN_PROVIDER, PROVIDER_AWAY, PROVIDER_FAILED, BAD_PROOF, BAD_STATE, STATE_USED,
    BAD_ID_TOKEN, ID_TOKEN_EXPIRED,
)  # fmt: skip
"""Errors of what a provider says of a proof."""


class AccountLink(Request, frozen=True, kw_only=True, tag="account.link", gc=False):
    """Add a way into the account of the user who asks. Answered with `AccountIdentity`.

    A guest becomes an account by it, and keeps the user id with all that belongs to it.
    """

    provider: ProviderName
    proof: ProofText
    code: bool = False
    state: FlowText = ""
    secret: FlowText = ""


class AccountUnlink(Request, frozen=True, kw_only=True, tag="account.unlink", gc=False):
    """Take a way into the account away. The last one stays."""

    provider: Annotated[str, Meta(min_length=1, max_length=512)]
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
        errors=(IDENTITY_TAKEN, QUOTA_EXCEEDED, FORBIDDEN, *PROVIDED),
        cost=20,
    ),
    Op(
        request=AccountUnlink,
        role=PLAYER,
        errors=(UNKNOWN_IDENTITY, LAST_WAY, FORBIDDEN),
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
