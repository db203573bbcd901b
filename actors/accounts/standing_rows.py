"""The commands that ban users, close accounts, and give and take roles."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

import msgspec

from actors.accounts.access import ALL, Ending
from actors.accounts.endings import end_all, end_sign_ins, forgive
from actors.accounts.identities import SERVICE, lock_user, refuse_for_staff
from actors.edge.failures import Refused
from persistence.audit import AuditEntry
from persistence.commands import CommandKind, Transaction
from persistence.queries import QueryKind, ReadTransaction
from protocol.errors import FORBIDDEN, NO_ACCOUNT, OUT_OF_RANGE
from protocol.messages.standing import FOR_EVER_MS, AccountStanding
from protocol.roles import OWNER, STAFF, with_included


class BanUser(msgspec.Struct, frozen=True, kw_only=True):
    """Bans a user, who need not have an account. Answer: `StandingChanged`.

    Attributes:
        user, until, reason: see `AccountBan`.
        by: who asks, for the audit log.
        roles: the roles of whoever asks.
        void_s: how long a token of the user can be valid.
    """

    user: str
    until: int | None
    reason: str
    by: str
    roles: Sequence[str]
    void_s: float


class UnbanUser(msgspec.Struct, frozen=True, kw_only=True):
    """Lifts a ban. Answer: `StandingChanged`."""

    user: str
    by: str
    roles: Sequence[str]


class CloseAccount(msgspec.Struct, frozen=True, kw_only=True):
    """Closes an account. Answer: `StandingChanged`."""

    user: str
    by: str
    void_s: float


class ReopenAccount(msgspec.Struct, frozen=True, kw_only=True):
    """Opens an account again. Answer: `StandingChanged`."""

    user: str
    by: str
    roles: Sequence[str]


class ChangeRole(msgspec.Struct, frozen=True, kw_only=True):
    """Gives a role, or takes it and ends the sign-ins. Answer: `StandingChanged`."""

    user: str
    role: str
    given: bool
    by: str
    void_s: float


class StandingChanged(msgspec.Struct, frozen=True):
    """How an account stands now, and which sessions end."""

    standing: AccountStanding
    endings: list[Ending]


class ReadStanding(msgspec.Struct, frozen=True):
    """Reads how an account stands. Answer: `AccountStanding`; None: there is no account."""

    user: str


_STANDING: Final = """
    SELECT closed_at IS NOT NULL, (extract(epoch FROM banned_until) * 1000)::bigint, ban_reason,
           coalesce(banned_until > now(), false), roles
    FROM accounts WHERE user_id = %s
"""


def _ban(tx: Transaction, command: BanUser) -> StandingChanged:
    user, until = command.user, command.until
    _check_below(tx, user, command.roles)
    ends_ms = FOR_EVER_MS if until is None else until
    past = tx.read("SELECT to_timestamp(%s / 1000.0) <= now()", (ends_ms,)).fetchone()
    if past is not None and past[0]:
        raise Refused(OUT_OF_RANGE, "until: the time has passed")
    tx.write(
        "UPDATE accounts SET banned_until = to_timestamp(%s / 1000.0), ban_reason = %s"
        " WHERE user_id = %s",
        (ends_ms, command.reason, user),
    )
    ending = end_all(tx, user, "banned", command.void_s, ends=ends_ms / 1000, reason=command.reason)
    tx.record(
        AuditEntry(what="account.banned", who=command.by, on_whom=user, details={"until": until})
    )
    tx.announce("account.banned", {"user": user})
    standing = _standing(tx, user) or AccountStanding(
        user=user, state="banned", until=until, reason=command.reason
    )
    return StandingChanged(standing, [ending])


def _unban(tx: Transaction, command: UnbanUser) -> StandingChanged:
    user = command.user
    _check_below(tx, user, command.roles)
    tx.write("UPDATE accounts SET banned_until = NULL, ban_reason = '' WHERE user_id = %s", (user,))
    standing = _standing(tx, user) or AccountStanding(user=user, state="active")
    endings = [] if standing.state == "closed" else forgive(tx, user)
    tx.record(AuditEntry(what="account.unbanned", who=command.by, on_whom=user))
    tx.announce("account.unbanned", {"user": user})
    return StandingChanged(standing, endings)


def _close(tx: Transaction, command: CloseAccount) -> StandingChanged:
    user = command.user
    refuse_for_staff(tx, user, command.by)
    standing = _there(tx, user)
    if OWNER in standing.roles:
        _check_not_last_owner(tx, user)
    tx.write(
        "UPDATE accounts SET closed_at = coalesce(closed_at, now()) WHERE user_id = %s", (user,)
    )
    ending = end_all(tx, user, "closed", command.void_s)
    tx.record(AuditEntry(what="account.closed", who=command.by, on_whom=user))
    tx.announce("account.closed", {"user": user})
    return StandingChanged(_there(tx, user), [ending])


def _reopen(tx: Transaction, command: ReopenAccount) -> StandingChanged:
    user = command.user
    _there(tx, user)
    _check_below(tx, user, command.roles)
    tx.write("UPDATE accounts SET closed_at = NULL WHERE user_id = %s", (user,))
    standing = _there(tx, user)
    endings = [] if standing.state == "banned" else forgive(tx, user)
    tx.record(AuditEntry(what="account.reopened", who=command.by, on_whom=user))
    return StandingChanged(standing, endings)


def _change_role(tx: Transaction, command: ChangeRole) -> StandingChanged:
    user, role = command.user, command.role
    had = _there(tx, user)
    if (role in had.roles) == command.given:
        return StandingChanged(had, [])
    endings: list[Ending] = []
    if command.given:
        tx.write("UPDATE accounts SET roles = roles || %s WHERE user_id = %s", ([role], user))
    else:
        if role == OWNER:
            _check_not_last_owner(tx, user)
        tx.write(
            "UPDATE accounts SET roles = array_remove(roles, %s) WHERE user_id = %s", (role, user)
        )
        # Access tokens have the roles.
        endings = end_sign_ins(
            tx, user, ALL, void_s=command.void_s, why="role taken", by=command.by
        )
    what = "role.given" if command.given else "role.taken"
    tx.record(AuditEntry(what=what, who=command.by, on_whom=user, details={"role": role}))
    return StandingChanged(_there(tx, user), endings)


def _read(reading: ReadTransaction, query: ReadStanding) -> AccountStanding | None:
    return _standing(reading, query.user)


def _standing(tx: Transaction | ReadTransaction, user: str) -> AccountStanding | None:
    row = tx.read(_STANDING, (user,)).fetchone()
    if row is None:
        return None
    closed, until, reason, banned, roles = row
    if closed:
        return AccountStanding(user=user, state="closed", roles=list(roles))
    if not banned:
        return AccountStanding(user=user, state="active", roles=list(roles))
    end = None if until >= FOR_EVER_MS else until
    return AccountStanding(user=user, state="banned", until=end, reason=reason, roles=list(roles))


def _there(tx: Transaction, user: str) -> AccountStanding:
    """Lock an account, and return how it stands. Raises Refused: there is none."""
    tx.read("SELECT FROM accounts WHERE user_id = %s FOR UPDATE", (user,))
    found = _standing(tx, user)
    if found is None:
        raise Refused(NO_ACCOUNT)
    return found


def _check_below(tx: Transaction, user: str, roles: Sequence[str]) -> None:
    """Raise Refused if a user has a role of staff that whoever asks has not."""
    row = tx.read("SELECT roles FROM accounts WHERE user_id = %s FOR UPDATE", (user,)).fetchone()
    theirs = with_included(() if row is None else row[0]) & set(STAFF)
    if not theirs <= set(roles):
        raise Refused(FORBIDDEN, "they have a role that you have not")


def _check_not_last_owner(tx: Transaction, user: str) -> None:
    row = tx.read(
        "SELECT FROM accounts WHERE %s = ANY(roles) AND user_id <> %s AND closed_at IS NULL"
        " LIMIT 1",
        (OWNER, user),
    ).fetchone()
    if row is None:
        raise Refused(FORBIDDEN, "the last owner stays")


def _lock_owners(command: CloseAccount | ChangeRole) -> Iterable[str]:
    return (*lock_user(command), f"{SERVICE}:owner")


def _kind(
    name: str,
    command: type[msgspec.Struct],
    locks: Callable[[Any], Iterable[str]],
    run: Callable[[Transaction, Any], StandingChanged],
) -> CommandKind:
    return CommandKind(
        service=SERVICE, name=name, command=command, answer=StandingChanged, locks=locks, run=run
    )


COMMANDS: Final = (
    _kind("ban", BanUser, lock_user, _ban),
    _kind("unban", UnbanUser, lock_user, _unban),
    _kind("close", CloseAccount, _lock_owners, _close),
    _kind("reopen", ReopenAccount, lock_user, _reopen),
    _kind("role", ChangeRole, _lock_owners, _change_role),
)
QUERIES: Final = (QueryKind(ReadStanding, _read),)
