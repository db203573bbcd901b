"""The commands and queries of profiles: what users tell of themselves, and their usernames."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

import msgspec

from actors.accounts.identities import SERVICE, lock_user
from actors.accounts.rules.usernames import Username
from actors.edge.failures import Refused
from persistence.audit import AuditEntry
from persistence.commands import CommandKind, Transaction
from persistence.postgres.arrays import TextArray
from persistence.queries import QueryKind, ReadTransaction
from protocol.errors import NAME_TAKEN, NO_ACCOUNT, VERSION_CONFLICT
from protocol.messages.profile import Account, Profile


class UpdateProfile(msgspec.Struct, frozen=True, kw_only=True):
    """Changes an account. Answer: `Account`. What is None stays.

    `version`: only if the account has it. `by`: who asks, for the audit log.
    """

    user: str
    version: int | None
    username: Username | None
    name: str | None
    avatar_url: str | None
    language: str | None
    time_zone: str | None
    public_metadata: str | None
    private_metadata: str | None
    by: str


class ReadAccount(msgspec.Struct, frozen=True):
    """Reads the account of a user. Answer: `Account`; None: there is none."""

    user: str


class ReadProfiles(msgspec.Struct, frozen=True):
    """Reads what others may see of users. Answer: a list of `Profile`, in this order."""

    users: Sequence[str]


class SearchProfiles(msgspec.Struct, frozen=True):
    """Lists accounts whose folded username begins with `prefix`, after the username `after`.

    Answer: a list of (folded username, `Profile`), at most `limit`.
    """

    prefix: str
    after: str
    limit: int


_ACCOUNT: Final = """
    SELECT user_id, username, name, avatar_url, language, time_zone, public_metadata,
           private_metadata, roles, version, (extract(epoch FROM created_at) * 1000)::bigint,
           (extract(epoch FROM seen_at) * 1000)::bigint
    FROM accounts WHERE user_id = %s
"""
_UPDATE: Final = """
    UPDATE accounts SET
        name = coalesce(%(name)s, name),
        avatar_url = coalesce(%(avatar_url)s, avatar_url),
        language = coalesce(%(language)s, language),
        time_zone = coalesce(%(time_zone)s, time_zone),
        public_metadata = coalesce(%(public_metadata)s, public_metadata),
        private_metadata = coalesce(%(private_metadata)s, private_metadata),
        version = version + 1
    WHERE user_id = %(user)s
"""
_PROFILES: Final = """
    SELECT user_id, username, name, avatar_url, public_metadata,
           (extract(epoch FROM created_at) * 1000)::bigint
    FROM accounts WHERE user_id = ANY(%b::text[])
"""
# A text above all that begin with the prefix is the prefix with the last code point behind it.
_SEARCH: Final = """
    SELECT username_folded, user_id, username, name, avatar_url, public_metadata,
           (extract(epoch FROM created_at) * 1000)::bigint
    FROM accounts
    WHERE username_folded >= %(prefix)s AND username_folded < %(beyond)s
    AND username_folded > %(after)s
    ORDER BY username_folded LIMIT %(limit)s
"""


_FIELDS: Final = (
    "name", "avatar_url", "language", "time_zone", "public_metadata", "private_metadata",
)  # fmt: skip


def claim(tx: Transaction, user: str, name: Username) -> None:
    """Take a username for a user, whose account is there, in place of the one it has.

    Raises Refused: another account has it, or one that looks like it.
    """
    tx.write("DELETE FROM account_names WHERE user_id = %s", (user,))
    taken = tx.write(
        "INSERT INTO account_names SELECT unnest(%b::text[]), %s ON CONFLICT DO NOTHING",
        (TextArray(list(name.keys)), user),
    )
    if taken.rowcount < len(name.keys):
        raise Refused(NAME_TAKEN)
    tx.write(
        "UPDATE accounts SET username = %s, username_folded = %s WHERE user_id = %s",
        (name.shown, name.folded, user),
    )


def locks_of(name: Username | None) -> Iterable[str]:
    """Return the locks that a command needs to take a username."""
    return () if name is None else (f"{SERVICE}:name:{key}" for key in name.keys)


def account_of(row: Sequence[Any]) -> Account:
    """Return the account of a row."""
    (
        user, username, name, avatar_url, language, time_zone, public, private, roles, version,
        created, seen,
    ) = row  # fmt: skip
    return Account(
        user=user, username=username, name=name, avatar_url=avatar_url, language=language,
        time_zone=time_zone, public_metadata=public, private_metadata=private, roles=list(roles),
        version=version, created=created, seen=seen,
    )  # fmt: skip


def _profile(row: Sequence[Any]) -> Profile:
    user, username, name, avatar_url, metadata, created = row
    return Profile(
        user=user, username=username, name=name, avatar_url=avatar_url, metadata=metadata,
        created=created,
    )  # fmt: skip


def _update(tx: Transaction, command: UpdateProfile) -> Account:
    user = command.user
    row = tx.read("SELECT version FROM accounts WHERE user_id = %s FOR UPDATE", (user,)).fetchone()
    if row is None:
        raise Refused(NO_ACCOUNT)
    if command.version not in (None, row[0]):
        raise Refused(VERSION_CONFLICT, f"the account has version {row[0]}")
    if command.username is not None:
        claim(tx, user, command.username)
    given = {field: getattr(command, field) for field in _FIELDS}
    tx.write(_UPDATE, {**given, "user": user})
    changed = [field for field in ("username", *_FIELDS) if getattr(command, field) is not None]
    tx.record(
        AuditEntry(
            what="account.updated", who=command.by, as_whom="" if command.by == user else user,
            on_whom=user, details={"fields": changed},
        )
    )  # fmt: skip
    row = tx.read(_ACCOUNT, (user,)).fetchone()
    assert row is not None
    return account_of(row)


def read_account(reading: ReadTransaction, query: ReadAccount) -> Account | None:
    """Read the account of a user; None: there is none."""
    row = reading.read(_ACCOUNT, (query.user,)).fetchone()
    return None if row is None else account_of(row)


def _profiles(reading: ReadTransaction, query: ReadProfiles) -> list[Profile]:
    rows = reading.read(_PROFILES, (TextArray(list(query.users)),))
    found = {profile.user: profile for profile in map(_profile, rows)}
    return [found[user] for user in dict.fromkeys(query.users) if user in found]


def _search(reading: ReadTransaction, query: SearchProfiles) -> list[tuple[str, Profile]]:
    prefix = query.prefix
    rows = reading.read(
        _SEARCH,
        {
            "prefix": prefix,
            "beyond": f"{prefix}\U0010ffff",
            "after": query.after,
            "limit": query.limit,
        },
    )
    return [(row[0], _profile(row[1:])) for row in rows]


def _lock(command: UpdateProfile) -> Iterable[str]:
    return (*lock_user(command), *locks_of(command.username))


COMMANDS: Final = (
    CommandKind(
        service=SERVICE, name="update", command=UpdateProfile, answer=Account, locks=_lock,
        run=_update,
    ),
)  # fmt: skip
QUERIES: Final = (
    QueryKind(ReadAccount, read_account),
    QueryKind(ReadProfiles, _profiles),
    QueryKind(SearchProfiles, _search),
)
