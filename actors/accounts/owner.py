"""The first owner. There is no default account: a one-time secret makes an account an owner's.

The server prints the secret when it starts for the first time, and the command `owner` makes
another one. Whoever can read what the server prints, or run commands on its machine, is its owner
anyway.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Iterator, Sequence
from datetime import timedelta
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from actors.accounts.identities import SERVICE, hash_of
from actors.accounts.settings import AccountSettings
from actors.edge.api.api_route import ApiCall, ApiRoute
from actors.edge.failures import Refused
from actors.facts import Facts
from actors.service import ServiceSettings, ToolKit, Tools
from persistence import PostgresSettings
from persistence.audit import AuditEntry
from persistence.commands import CommandKind, Transaction
from persistence.postgres.connection import run_once
from protocol.errors import BAD_TOKEN, FORBIDDEN
from protocol.roles import OWNER, PLAYER

PREFIX: Final = "gro_"


class OfferOwner(msgspec.Struct, frozen=True):
    """Keeps the hash of a new secret, in place of an older one."""

    hash: bytes
    valid_s: float


class ClaimOwner(msgspec.Struct, frozen=True):
    """Makes a user an owner, by the hash of the secret. Refused with BAD_TOKEN or FORBIDDEN."""

    user: str
    hash: bytes
    address: str


class OwnerClaim(msgspec.Struct, frozen=True, kw_only=True):
    """The secret that the server, or the command `owner`, has printed."""

    secret: Annotated[str, Meta(min_length=1, max_length=128)]


def greeting(postgres: PostgresSettings, settings: ServiceSettings) -> Iterable[str]:
    """Return what the server prints if this database has never had a secret. It blocks.

    Raises StoreUnavailable.
    """
    secret = _new_secret()
    valid_s = settings.section(SERVICE, AccountSettings).owner_secret_s
    made = run_once(
        postgres,
        "INSERT INTO {schema}.owner_secrets (hash, expires_at)"
        " VALUES (%s, now() + make_interval(secs => %s)) ON CONFLICT DO NOTHING RETURNING 1",
        (hash_of(secret), valid_s),
    )
    if not made:
        return ()
    return (
        f"no account is an owner yet: sign in, and send the secret {secret} to POST /v1/owner;"
        f" it is valid for {_shown(valid_s)}, and python server.py owner makes another",
    )


def owner_tools(kit: ToolKit) -> Tools:
    """Return the tool of the command line."""
    valid_s = kit.settings.section(SERVICE, AccountSettings).owner_secret_s
    return {"owner": _Offer(kit.facts, valid_s)}


class _Offer:
    """Makes a secret, and returns the lines to print."""

    def __init__(self, facts: Facts, valid_s: float) -> None:
        self._facts = facts
        self._valid_s = valid_s

    async def __call__(self) -> Iterator[str]:
        secret = _new_secret()
        await self._facts.execute(OfferOwner(hash_of(secret), self._valid_s), user="")
        return iter([secret])


class OwnerDesk:
    """Answers the route by which an account becomes that of an owner."""

    def __init__(self, facts: Facts) -> None:
        self._facts = facts

    def routes(self) -> Sequence[ApiRoute]:
        """Return its routes of the HTTP API."""
        return (
            ApiRoute(
                method="POST",
                path="/v1/owner",
                role=PLAYER,
                scope="account.claim_owner",
                summary="Become an owner by a one-time secret. New tokens, of a refresh, have the"
                " role.",
                handle=self._claim,
                body=OwnerClaim,
                errors=(BAD_TOKEN, FORBIDDEN),
            ),
        )

    async def _claim(self, call: ApiCall) -> None:
        who = call.who
        assert who is not None
        if who.key or not who.sign_in:
            raise Refused(FORBIDDEN, "sign in first: an account becomes the owner's")
        claim = ClaimOwner(who.user, hash_of(call.body.secret), call.peer)
        await self._facts.execute(claim, user=who.user)


def _offer(tx: Transaction, command: OfferOwner) -> None:
    tx.write(
        "INSERT INTO owner_secrets (hash, expires_at)"
        " VALUES (%s, now() + make_interval(secs => %s))"
        " ON CONFLICT (newest) DO UPDATE"
        " SET hash = excluded.hash, expires_at = excluded.expires_at, used_by = NULL",
        (command.hash, command.valid_s),
    )
    tx.record(AuditEntry(what="owner.secret_made"))


def _claim(tx: Transaction, command: ClaimOwner) -> None:
    user = command.user
    row = tx.read(
        "SELECT used_by FROM owner_secrets WHERE hash = %s"
        " AND (used_by = %s OR used_by IS NULL AND expires_at > now()) FOR UPDATE",
        (command.hash, user),
    ).fetchone()
    if row is None:
        raise Refused(BAD_TOKEN, "no such secret, or it was used, or its time is over")
    if tx.read("SELECT FROM accounts WHERE user_id = %s FOR UPDATE", (user,)).fetchone() is None:
        raise Refused(FORBIDDEN, "sign in first: an account becomes the owner's")
    if row[0] == user:
        return  # a retry
    tx.write("UPDATE owner_secrets SET used_by = %s", (user,))
    tx.write(
        "UPDATE accounts SET roles = array_append(array_remove(roles, %s), %s) WHERE user_id = %s",
        (OWNER, OWNER, user),
    )
    details = {"role": OWNER, "by": "one-time secret"}
    address = command.address
    tx.record(
        AuditEntry(what="role.given", who=user, address=address, on_whom=user, details=details)
    )


def _lock(_: OfferOwner | ClaimOwner) -> Iterable[str]:
    return (f"{SERVICE}:owner",)


COMMANDS: Final = (
    CommandKind(service=SERVICE, name="offer owner", command=OfferOwner, locks=_lock, run=_offer),
    CommandKind(service=SERVICE, name="claim owner", command=ClaimOwner, locks=_lock, run=_claim),
)


def _new_secret() -> str:
    """Return a secret of 256 random bits."""
    return PREFIX + secrets.token_urlsafe(32)


def _shown(seconds: float) -> str:
    return str(timedelta(seconds=round(seconds)))
