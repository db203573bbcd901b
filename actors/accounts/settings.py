"""Settings of accounts. Times are in seconds."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from actors.quantities import Count, PositiveSeconds


class AccountSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Accounts and their tokens."""

    access_valid_s: PositiveSeconds = 600.0
    """How long an access token is valid."""
    refresh_valid_s: PositiveSeconds = 60 * 86_400.0
    """How long a refresh token is valid, and so how long a sign-in lasts without being used."""
    key_every_s: PositiveSeconds = 7 * 86_400.0
    """How often a new key begins to sign access tokens. Tokens of the key before stay valid."""
    owner_secret_s: PositiveSeconds = 86_400.0
    """How long the one-time secret is valid by which an account becomes that of an owner."""
    look_every_s: Annotated[float, Meta(gt=0, le=1)] = 0.5
    """How often a node looks which sign-ins have ended on another node."""
    identities: Annotated[int, Meta(ge=1, le=1000)] = 20
    """Ways into one account."""
    guest_void_s: PositiveSeconds = 30 * 86_400.0
    """How long the tokens of a guest are refused after that way was taken: as long as
    `sessions.token_valid_s`."""
    sign_ins: Count = 20
    """How many sign-ins one account may have."""
    sign_ins_full: Literal["end_oldest", "refuse_new"] = "end_oldest"
    """Which sign-in gives way to that: the one that was not used for longest, or the new one."""
    username_least: Count = 3
    """How many characters a username has at least."""
    username_most: Annotated[int, Meta(ge=1, le=64)] = 32
    """How many characters a username may have."""
    reserved_names: tuple[str, ...] = ()
    """Usernames that nobody may have, beside those of actors/accounts/rules/usernames.py."""
    avatar_url_characters: Annotated[int, Meta(ge=1, le=2048)] = 512
    """How long the address of an avatar may be."""
    metadata_bytes: Annotated[int, Meta(ge=2, le=65_536)] = 4096
    """How long the public metadata of an account may be, and how long the private ones."""
    read_batch: Count = 100
    """How many accounts one account.read may ask for."""
    list_limit: Count = 100
    """How many accounts one account.search may ask for."""
    provider_timeout_s: PositiveSeconds = 5.0
    """How long a provider of identities may take to say who somebody is."""
    provider_answer_bytes: Annotated[int, Meta(ge=1024, le=16_777_216)] = 262_144
    """How long an answer of such a provider may be."""
    provider_requests: Annotated[int, Meta(ge=1, le=10_000)] = 32
    """Requests to providers that a node has under way; more of them wait."""
    provider_waiting: Annotated[int, Meta(ge=1, le=100_000)] = 256
    """Sign-ins that wait for providers at once, on each node; more are answered busy."""
    flow_valid_s: PositiveSeconds = 600.0
    """How long a sign-in by a provider may take, from its begin to its end."""
