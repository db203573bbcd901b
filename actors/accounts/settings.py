"""Settings of accounts. Times are in seconds."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from actors.quantities import PositiveSeconds


class AccountSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Accounts and their tokens."""

    access_valid_s: PositiveSeconds = 600.0
    """How long an access token is valid."""
    refresh_valid_s: PositiveSeconds = 60 * 86_400.0
    """How long a refresh token is valid, and so how long a sign-in lasts without being used."""
    key_every_s: PositiveSeconds = 7 * 86_400.0
    """How often the key that signs access tokens is replaced. Tokens of the last one stay valid."""
    owner_secret_s: PositiveSeconds = 86_400.0
    """How long the one-time secret is valid by which an account becomes that of an owner."""
    look_every_s: Annotated[float, Meta(gt=0, le=1)] = 0.5
    """How often a node looks which sign-ins have ended on another node."""
    identities: Annotated[int, Meta(ge=1, le=1000)] = 20
    """Ways into one account."""
    guest_void_s: PositiveSeconds = 30 * 86_400.0
    """How long the tokens of a guest are refused after that way was taken: as long as
    `sessions.token_valid_s`."""
