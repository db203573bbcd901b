"""The identities of an account: the ways into it. Each is of one account at most.

An identity is (provider, subject), and a row has the hash of the subject. Providers are "guest",
"device", "custom", and those of the configuration; an issuer of OpenID Connect is kept by its
address, since its name in the configuration may change. Another part of the service that has a way
of its own keeps an identity for it too, by `put_identity` in its own transaction; then nobody else
has it, and the last way is never taken away. Such a command takes the locks `identity_locks`.

A guest's way is the token of a session that was opened without an account. It runs out, so it is
never the only one that is left; and once it was taken away, it does not come back.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from typing import Final, Protocol

import msgspec

from actors.accounts.access import GUESTS, Ending
from actors.edge.failures import Refused
from persistence.audit import AuditEntry
from persistence.commands import CommandKind, Transaction
from persistence.queries import QueryKind, ReadTransaction
from protocol.errors import (
    FORBIDDEN,
    IDENTITY_TAKEN,
    LAST_WAY,
    QUOTA_EXCEEDED,
    STATE_USED,
    UNKNOWN_IDENTITY,
)
from protocol.messages.identities import AccountIdentity, AccountIdentityList

SERVICE: Final = "accounts"
GUEST: Final = "guest"
DEVICE: Final = "device"
CUSTOM: Final = "custom"
_ID_BYTES: Final = 8


class LinkIdentity(msgspec.Struct, frozen=True):
    """Adds an identity to the account of a user. Answer: `AccountIdentity`.

    Attributes:
        user: the user who gets the identity.
        name: the name of the account, if it has to be made for a guest.
        guest: whether a guest's session asks, and not an account.
        provider, subject: the identity.
        most: how many an account may have.
        by: who asks, for the audit log.
        flow, flow_until: the sign-in at a provider that proved it, see `use_flow`; empty: none did.
    """

    user: str
    name: str
    guest: bool
    provider: str
    subject: bytes
    most: int
    by: str
    flow: bytes = b""
    flow_until: float = 0.0


class UnlinkIdentity(msgspec.Struct, frozen=True):
    """Takes an identity from an account. Answer: `Unlinked`.

    If it is the way of a guest, the guest's tokens are refused for `void_s` seconds.
    """

    user: str
    provider: str
    id: str
    void_s: float
    by: str


class Unlinked(msgspec.Struct, frozen=True):
    """The answer to `UnlinkIdentity`: an ending of the guest's sessions, if that way was taken."""

    endings: list[Ending]


class ListIdentities(msgspec.Struct, frozen=True):
    """Reads the identities of a user, the oldest first. Answer: `AccountIdentityList`."""

    user: str


def hash_of(text: str) -> bytes:
    """Return the hash that is kept of a subject or a secret: who reads the rows cannot use it.

    Secrets, such as tokens, codes and the ids of devices, are random, so a plain hash is enough.
    """
    return hashlib.sha256(text.encode()).digest()


class OfUser(Protocol):
    """A command on the rows of one user."""

    @property
    def user(self) -> str: ...


def lock_user(command: OfUser) -> Iterable[str]:
    """Return the lock of a command on the rows of one user."""
    return (f"{SERVICE}:{command.user}",)


def identity_locks(user: str, provider: str, subject: bytes) -> Iterable[str]:
    """Return the locks of a command that changes an identity of a user."""
    return (f"{SERVICE}:{user}", f"{SERVICE}:{provider}:{subject.hex()}")


def ensure_account(tx: Transaction, user: str, name: str) -> bool:
    """Make the account of a user if there is none. Returns whether it was made."""
    made = tx.write(
        "INSERT INTO accounts (user_id, name, created_at, seen_at) VALUES (%s, %s, now(), now())"
        " ON CONFLICT DO NOTHING RETURNING user_id",
        (user, name),
    ).fetchone()
    if made is not None:
        tx.announce("account.created", {"user": user})
    return made is not None


def user_of(tx: Transaction, provider: str, subject: bytes) -> str | None:
    """Return the user who has an identity; None: nobody has it."""
    row = tx.read(
        "SELECT user_id FROM account_identities WHERE provider = %s AND subject = %s",
        (provider, subject),
    ).fetchone()
    return None if row is None else str(row[0])


def use_flow(tx: Transaction, flow: bytes, until: float) -> None:
    """Note that a sign-in at a provider was used. The note is kept until the sign-in runs out.

    `until` is that time, in seconds since 1970. Raises Refused: STATE_USED if it was used before.
    """
    if flow:
        used = tx.write(
            "INSERT INTO account_used_flows VALUES (%s, to_timestamp(%s))"
            " ON CONFLICT DO NOTHING RETURNING id",
            (flow, until),
        )
        if used.fetchone() is None:
            raise Refused(STATE_USED)


def put_identity(
    tx: Transaction, user: str, provider: str, subject: bytes, *, most: int | None = None
) -> AccountIdentity:
    """Add an identity to an account that exists. If the account has it already, nothing changes.

    Raises:
        Refused: IDENTITY_TAKEN; another account has it. QUOTA_EXCEEDED; this one has `most`.
    """
    owner = user_of(tx, provider, subject)
    if owner not in (None, user):
        raise Refused(IDENTITY_TAKEN)
    if owner is None:
        row = tx.read(
            "SELECT count(*) FROM account_identities WHERE user_id = %s", (user,)
        ).fetchone()
        assert row is not None
        if most is not None and row[0] >= most:
            raise Refused(QUOTA_EXCEEDED, f"an account has {most} ways in at most")
    row = tx.write(
        "INSERT INTO account_identities (provider, subject, user_id) VALUES (%s, %s, %s)"
        " ON CONFLICT (provider, subject) DO UPDATE SET provider = excluded.provider"
        " RETURNING provider, subject, (extract(epoch FROM linked_at) * 1000)::bigint",
        (provider, subject, user),
    ).fetchone()
    assert row is not None
    return _shown(row)


def drop_identity(tx: Transaction, user: str, provider: str, id_: str) -> None:
    """Take an identity from an account.

    Raises:
        Refused: UNKNOWN_IDENTITY; the account does not have it. LAST_WAY; nothing, or only the way
            of a guest, would be left.
    """
    rows = tx.read(
        "SELECT provider, subject FROM account_identities WHERE user_id = %s FOR UPDATE", (user,)
    ).fetchall()
    found = [row for row in rows if row[0] == provider and _id_of(row[1]) == id_]
    if not found:
        raise Refused(UNKNOWN_IDENTITY)
    if not any(row[0] != GUEST for row in rows if row not in found):
        raise Refused(LAST_WAY)
    tx.write("DELETE FROM account_identities WHERE provider = %s AND subject = %s", found[0])


def refuse_for_staff(tx: Transaction, user: str, by: str) -> None:
    """Raise Refused if a key asks on behalf of a user who has a role.

    Otherwise a key could get any role, by a way of its own into such an account.
    """
    if not by.startswith("key-"):
        return
    row = tx.read("SELECT roles FROM accounts WHERE user_id = %s FOR UPDATE", (user,)).fetchone()
    if row is not None and row[0]:
        raise Refused(FORBIDDEN, "a key does not change the account of a user who has a role")


def _link(tx: Transaction, command: LinkIdentity) -> AccountIdentity:
    refuse_for_staff(tx, command.user, command.by)
    if user_of(tx, command.provider, command.subject) not in (None, command.user):
        raise Refused(IDENTITY_TAKEN)
    use_flow(tx, command.flow, command.flow_until)
    if ensure_account(tx, command.user, command.name) and command.guest:
        put_identity(tx, command.user, GUEST, hash_of(command.user))
    linked = put_identity(
        tx, command.user, command.provider, command.subject, most=command.most
    )  # fmt: skip
    tx.record(
        AuditEntry(
            what="account.linked", who=command.by, on_whom=command.user,
            details={"provider": command.provider, "id": linked.id},
        )
    )  # fmt: skip
    return linked


def _unlink(tx: Transaction, command: UnlinkIdentity) -> Unlinked:
    refuse_for_staff(tx, command.user, command.by)
    drop_identity(tx, command.user, command.provider, command.id)
    tx.record(
        AuditEntry(
            what="account.unlinked", who=command.by, on_whom=command.user,
            details={"provider": command.provider, "id": command.id},
        )
    )  # fmt: skip
    if command.provider != GUEST:
        return Unlinked([])
    row = tx.write(
        """
        INSERT INTO account_endings
        VALUES (%s, %s, 'signed_out', now() + make_interval(secs => %s), clock_timestamp())
        ON CONFLICT (user_id, sign_in) DO UPDATE
        SET until = excluded.until, changed_at = excluded.changed_at
        RETURNING extract(epoch FROM until)::float8
        """,
        (command.user, GUESTS, command.void_s),
    ).fetchone()
    assert row is not None
    return Unlinked([Ending(command.user, GUESTS, "signed_out", row[0])])


def _list(reading: ReadTransaction, query: ListIdentities) -> AccountIdentityList:
    rows = reading.read(
        "SELECT provider, subject, (extract(epoch FROM linked_at) * 1000)::bigint"
        " FROM account_identities WHERE user_id = %s ORDER BY linked_at, provider, subject",
        (query.user,),
    )
    return AccountIdentityList([_shown(row) for row in rows])


def _shown(row: Sequence[object]) -> AccountIdentity:
    provider, subject, linked = row
    assert isinstance(subject, (bytes, memoryview))
    assert isinstance(linked, int)
    return AccountIdentity(str(provider), _id_of(bytes(subject)), linked)


def _id_of(subject: bytes) -> str:
    return subject[:_ID_BYTES].hex()


def _lock_link(command: LinkIdentity) -> Iterable[str]:
    return identity_locks(command.user, command.provider, command.subject)


COMMANDS: Final = (
    CommandKind(
        service=SERVICE, name="link", command=LinkIdentity, answer=AccountIdentity,
        locks=_lock_link, run=_link,
    ),
    CommandKind(
        service=SERVICE, name="unlink", command=UnlinkIdentity, answer=Unlinked,
        locks=lock_user, run=_unlink,
    ),
)  # fmt: skip
QUERIES: Final = (QueryKind(ListIdentities, _list),)
