"""The commands and queries of accounts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

import msgspec

from actors.accounts.access import ALL, WHY, Ending
from actors.accounts.endings import SignInCapacity, end_sign_ins, make_room, refuse_if_out
from actors.accounts.identities import (
    GUEST,
    SERVICE,
    ensure_account,
    hash_of,
    identity_locks,
    lock_user,
    put_identity,
    refuse_for_staff,
    use_flow,
    user_of,
)
from actors.accounts.profile_rows import ReadAccount, claim, locks_of, read_account
from actors.accounts.rules.usernames import Username
from actors.accounts.second_factor.tickets import has_second_factor, put_ticket
from actors.edge.failures import Refused
from persistence.audit import AuditEntry
from persistence.commands import CommandKind, Transaction
from persistence.queries import QueryKind, ReadTransaction
from protocol.errors import BAD_TOKEN

OVERLAP_S: Final = 60
"""How far back a node looks again in each round. A transaction takes at most 30 s, so an ending
that was written before a look and committed after it is found by a later one."""


class SignIn(msgspec.Struct, frozen=True):
    """Signs a device in, and makes the account if there is none yet. Answer: `Let`.

    Attributes:
        user: the user id of the account, if it has to be made.
        name: its name then.
        provider, subject: the identity by which an account is found. A guest has none: `provider`
            is empty.
        sign_in: the id of the sign-in.
        label: the name of the device, for lists of sign-ins.
        refresh: the hash of the refresh token.
        valid_s: how long the refresh token is valid, in seconds.
        guest: whether `user` comes from the token of a guest's session. That session then stays a
            way into the account, if it is made.
        flow, flow_until: see `use_flow`.
        username: the username of the account, if it has to be made; None: none yet.
        address: the network address of the device.
        capacity: how many sign-ins the account may have; None: any number.
    """

    user: str
    name: str
    provider: str
    subject: bytes
    sign_in: str
    label: str
    refresh: bytes
    valid_s: float
    guest: bool = False
    username: Username | None = None
    flow: bytes = b""
    flow_until: float = 0.0
    address: str = ""
    capacity: SignInCapacity | None = None


class Refresh(msgspec.Struct, frozen=True):
    """Replaces a refresh token with a new one. Both are given by their hashes. Answer: `Let`.

    If the token was used before, its sign-in ends instead. Nodes then refuse the access tokens of
    that sign-in for `void_s` seconds, after which all of them have run out.
    """

    hash: bytes
    new: bytes
    valid_s: float
    void_s: float
    address: str = ""


class EndSignIns(msgspec.Struct, frozen=True):
    """Ends one sign-in of a user, or `ALL` but the one that is kept. Answer: `Endings`.

    `by`: who asks, for the audit log.
    """

    user: str
    sign_in: str
    void_s: float
    by: str
    address: str = ""
    kept: str = ""


class EraseAccount(msgspec.Struct, frozen=True):
    """Deletes the account of a user, and ends all sign-ins. Answer: `Endings`."""

    user: str
    void_s: float


class RotateKeys(msgspec.Struct, frozen=True):
    """Adds this key if the newest one is older than `every_s` seconds.

    It also drops each key that a newer one replaced more than `keep_s` seconds ago, since no token
    that it has signed is valid any more.
    """

    id: str
    secret: bytes
    every_s: float
    keep_s: float


class Let(msgspec.Struct, frozen=True):
    """The answer to `SignIn` and `Refresh`: who has signed in.

    Attributes:
        user, name, roles: of the account.
        sign_in: the id of the sign-in.
        reused: whether the refresh token had been used before, so that the sign-in has ended.
        created: whether the account is new.
        waits: the account asks for a second factor first; there is no sign-in yet.
    """

    user: str
    name: str
    roles: tuple[str, ...]
    sign_in: str
    reused: bool = False
    created: bool = False
    endings: tuple[Ending, ...] = ()
    """The sign-ins that have given way."""
    waits: bool = False


class Endings(msgspec.Struct, frozen=True):
    """The sign-ins that ended."""

    endings: list[Ending]


class Lookup(msgspec.Struct, frozen=True):
    """Reads the keys, and the endings since a time (seconds since 1970). Answer: `AccessNews`."""

    since: float


class AccessNews(msgspec.Struct, frozen=True):
    """The answer to `Lookup`.

    Attributes:
        keys: (id, secret, age in seconds) of each key, the newest first.
        endings: the endings since the time that was asked for.
        now: the database's time, in seconds since 1970.
    """

    keys: list[tuple[str, bytes, float]]
    endings: list[Ending]
    now: float


class SignInRow(msgspec.Struct, frozen=True):
    """A sign-in. Times are in milliseconds since 1970, UTC."""

    id: str
    label: str
    created: int
    used: int
    expires: int


class ListSignIns(msgspec.Struct, frozen=True):
    """Reads the sign-ins of a user, the last used first."""

    user: str


class ExportAccount(msgspec.Struct, frozen=True):
    """Reads all that is kept of a user."""

    user: str


def sign_in(tx: Transaction, command: SignIn) -> Let:
    """Sign a device in, or have it wait for the second factor of the account.

    Then the refresh token is the ticket with which the second factor is shown.
    """
    use_flow(tx, command.flow, command.flow_until)
    user = command.user
    if command.provider:
        user = user_of(tx, command.provider, command.subject) or user
    created = ensure_account(tx, user, command.name)
    refuse_if_out(tx, user)
    if created and command.guest:
        put_identity(tx, user, GUEST, hash_of(user))
    if created and command.username is not None:
        claim(tx, user, command.username)
    if command.provider:
        put_identity(tx, user, command.provider, command.subject)
    if not created and has_second_factor(tx, user):
        put_ticket(tx, user, command.refresh, command.label)
        return Let(user, "", (), "", waits=True)
    return sign_in_at_last(tx, user, command, created=created)


def sign_in_at_last(tx: Transaction, user: str, command: SignIn, *, created: bool = False) -> Let:
    """Sign a device in, once all is shown that the account asks for."""
    row = tx.write(
        "UPDATE accounts SET seen_at = now() WHERE user_id = %s RETURNING name, roles", (user,)
    ).fetchone()
    assert row is not None
    endings = () if command.capacity is None else tuple(make_room(tx, user, command.capacity))
    tx.write(
        "INSERT INTO account_sign_ins"
        " VALUES (%s, %s, %s, now(), now(), now() + make_interval(secs => %s), NULL)",
        (command.sign_in, user, command.label, command.valid_s),
    )
    tx.write(
        "INSERT INTO account_refresh_tokens VALUES (%s, %s, NULL)",
        (command.refresh, command.sign_in),
    )
    way = command.provider or GUEST
    tx.record(
        AuditEntry(
            what="account.signed_in",
            who=user,
            address=command.address,
            details={"way": way, "sign_in": command.sign_in, "created": created},
        )
    )
    roles = tuple(row[1])
    return Let(user, row[0], roles, command.sign_in, created=created, endings=endings)


def _refresh(tx: Transaction, command: Refresh) -> Let:
    row = tx.read(
        """
        SELECT a.user_id, a.name, a.roles, s.id
        FROM account_refresh_tokens AS t
        JOIN account_sign_ins AS s ON s.id = t.sign_in
        JOIN accounts AS a USING (user_id)
        WHERE t.hash = %s AND s.expires_at > now()
        FOR UPDATE OF s
        """,
        (command.hash,),
    ).fetchone()
    if row is None:
        raise Refused(BAD_TOKEN)
    user, name, roles, sign_in = row
    # Of two who show the same token at once, the second has waited here for the lock that the first
    # one held. So whether the token was used is read again.
    now = tx.read(
        """
        SELECT t.used_at IS NOT NULL, s.ended
        FROM account_refresh_tokens AS t JOIN account_sign_ins AS s ON s.id = t.sign_in
        WHERE t.hash = %s
        """,
        (command.hash,),
    ).fetchone()
    if now is None:
        raise Refused(BAD_TOKEN)
    refuse_if_out(tx, user)
    used, ended = now
    if ended is not None:
        raise Refused(WHY[ended][0])
    if used:
        end_sign_ins(
            tx, user, sign_in, void_s=command.void_s, why="reused", address=command.address
        )
        return Let(user, name, tuple(roles), sign_in, reused=True)
    tx.write("UPDATE account_refresh_tokens SET used_at = now() WHERE hash = %s", (command.hash,))
    tx.write("INSERT INTO account_refresh_tokens VALUES (%s, %s, NULL)", (command.new, sign_in))
    tx.write(
        "UPDATE account_sign_ins SET used_at = now(),"
        " expires_at = now() + make_interval(secs => %s) WHERE id = %s",
        (command.valid_s, sign_in),
    )
    return Let(user, name, tuple(roles), sign_in)


def _end_sign_ins(tx: Transaction, command: EndSignIns) -> Endings:
    refuse_for_staff(tx, command.user, command.by)
    return Endings(
        end_sign_ins(
            tx,
            command.user,
            command.sign_in,
            void_s=command.void_s,
            why="asked",
            kept=command.kept,
            by=command.by,
            address=command.address,
        )
    )


def _erase(tx: Transaction, command: EraseAccount) -> Endings:
    endings = end_sign_ins(tx, command.user, ALL, void_s=command.void_s, why="erased")
    gone = tx.write("DELETE FROM accounts WHERE user_id = %s RETURNING 1", (command.user,))
    if gone.fetchone() is not None:
        tx.announce("account.erased", {"user": command.user})
        tx.record(AuditEntry(what="account.erased", on_whom=command.user))
    return Endings(endings)


def _rotate(tx: Transaction, command: RotateKeys) -> None:
    tx.write(
        """
        INSERT INTO account_keys
        SELECT %s, %s, now() WHERE NOT EXISTS (
            SELECT FROM account_keys WHERE created_at > now() - make_interval(secs => %s)
        )
        """,
        (command.id, command.secret, command.every_s),
    )
    # A key signs until a newer one does, and the last token that it signed is valid for a while
    # after that.
    tx.write(
        """
        DELETE FROM account_keys AS k WHERE EXISTS (
            SELECT FROM account_keys AS n
            WHERE n.created_at > k.created_at
            AND n.created_at < now() - make_interval(secs => %s)
        )
        """,
        (command.keep_s,),
    )
    tx.write("DELETE FROM account_endings WHERE until < now() - interval '1 hour'")
    tx.write("DELETE FROM account_sign_ins WHERE expires_at < now()")
    tx.write("DELETE FROM account_used_flows WHERE until < now() - interval '1 hour'")


def _look(reading: ReadTransaction, query: Lookup) -> AccessNews:
    keys = reading.read(
        "SELECT id, secret, extract(epoch FROM now() - created_at)::float8"
        " FROM account_keys ORDER BY created_at DESC, id"
    ).fetchall()
    endings = reading.read(
        "SELECT user_id, sign_in, why, extract(epoch FROM until)::float8,"
        " coalesce(extract(epoch FROM ends_at), 0)::float8, reason FROM account_endings"
        " WHERE changed_at > to_timestamp(%s)",
        (query.since,),
    ).fetchall()
    row = reading.read("SELECT extract(epoch FROM now())::float8").fetchone()
    assert row is not None
    return AccessNews(
        [(key, bytes(secret), age) for key, secret, age in keys],
        [Ending(*one) for one in endings],
        row[0],
    )


def _list(reading: ReadTransaction, query: ListSignIns) -> list[SignInRow]:
    rows = reading.read(
        """
        SELECT id, label, (extract(epoch FROM created_at) * 1000)::bigint,
               (extract(epoch FROM used_at) * 1000)::bigint,
               (extract(epoch FROM expires_at) * 1000)::bigint
        FROM account_sign_ins WHERE user_id = %s AND ended IS NULL AND expires_at > now()
        ORDER BY used_at DESC
        """,
        (query.user,),
    )
    return [SignInRow(*row) for row in rows]


def _export(reading: ReadTransaction, query: ExportAccount) -> list[dict[str, Any]]:
    account = read_account(reading, ReadAccount(query.user))
    if account is None:
        return []
    ways = reading.read(
        "SELECT provider FROM account_identities WHERE user_id = %s", (query.user,)
    ).fetchall()
    sign_ins = _list(reading, ListSignIns(query.user))
    return [
        {
            **msgspec.structs.asdict(account),
            "ways": [way for (way,) in ways],
            "sign_ins": [msgspec.structs.asdict(one) for one in sign_ins],
        }
    ]


def _lock(command: SignIn) -> Iterable[str]:
    return (
        *identity_locks(command.user, command.provider, command.subject),
        *locks_of(command.username),
    )


def _lock_token(command: Refresh) -> Iterable[str]:
    return (f"{SERVICE}:token:{command.hash.hex()}",)


def _lock_keys(_: RotateKeys) -> Iterable[str]:
    return (f"{SERVICE}:keys",)


COMMANDS: Final[Sequence[CommandKind]] = (
    CommandKind(
        service=SERVICE, name="sign in", command=SignIn, answer=Let, locks=_lock, run=sign_in
    ),
    CommandKind(
        service=SERVICE, name="refresh", command=Refresh, answer=Let, locks=_lock_token,
        run=_refresh,
    ),
    CommandKind(
        service=SERVICE, name="end", command=EndSignIns, answer=Endings, locks=lock_user,
        run=_end_sign_ins,
    ),
    CommandKind(
        service=SERVICE, name="erase", command=EraseAccount, answer=Endings, locks=lock_user,
        run=_erase,
    ),
    CommandKind(
        service=SERVICE, name="rotate", command=RotateKeys, locks=_lock_keys, run=_rotate
    ),
)  # fmt: skip
QUERIES: Final = (
    QueryKind(Lookup, _look),
    QueryKind(ListSignIns, _list),
    QueryKind(ExportAccount, _export),
)
