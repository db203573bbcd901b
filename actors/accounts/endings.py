"""Ends sign-ins, and what a user has here as a whole, in the transaction of a command.

Every node reads the rows of account_endings in rounds, and ends the sessions that they name.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from actors.accounts.access import ALL, Ending, ban_refusal
from actors.accounts.identities import GUEST
from actors.edge.failures import Refused
from persistence.audit import AuditEntry
from persistence.commands import Transaction
from protocol.errors import ACCOUNT_CLOSED, SIGN_INS_FULL


class SignInCapacity(NamedTuple):
    """How many sign-ins an account may have.

    `new_gives_way`: a new one beyond that is refused, instead of ending the oldest, whose access
    tokens are then void for `void_s` seconds.
    """

    most: int
    new_gives_way: bool
    void_s: float


_END: Final = """
    INSERT INTO account_endings (user_id, sign_in, why, until, changed_at, ends_at, reason)
    VALUES (
        %(user)s, %(sign_in)s, %(why)s,
        least(now() + make_interval(secs => %(void_s)s), to_timestamp(%(ends)s)),
        clock_timestamp(), to_timestamp(%(ends)s), %(reason)s
    )
    ON CONFLICT (user_id, sign_in) DO UPDATE
    SET why = excluded.why, until = excluded.until, changed_at = excluded.changed_at,
        ends_at = excluded.ends_at, reason = excluded.reason
    RETURNING extract(epoch FROM until)::float8
"""


def end_sign_ins(
    tx: Transaction,
    user: str,
    sign_in: str,
    *,
    void_s: float,
    why: str,
    kept: str = "",
    by: str = "",
    address: str = "",
) -> list[Ending]:
    """End a sign-in of a user; ALL: each but the one that is kept.

    Their access tokens are void for `void_s` seconds. `why`, `by` and `address` are for the audit
    log; `by` is empty if the user asks.
    """
    gone = tx.write(
        "UPDATE account_sign_ins SET ended = 'signed_out', label = ''"
        " WHERE user_id = %s AND %s IN (id, %s) AND id <> %s AND ended IS NULL RETURNING id",
        (user, sign_in, ALL, kept),
    ).fetchall()
    endings = []
    for (one,) in gone:
        endings.append(_ending(tx, user, one, "signed_out", void_s=void_s))
        tx.record(
            AuditEntry(
                what="account.signed_out",
                who=by or user,
                on_whom=user if by not in ("", user) else "",
                address=address,
                details={"sign_in": one, "why": why},
            )
        )
    return endings


def make_room(tx: Transaction, user: str, capacity: SignInCapacity) -> list[Ending]:
    """Have an account take one more sign-in: the one that was not used for longest gives way.

    The row of the account must be locked, so that two sign-ins do not count the same.

    Raises Refused: SIGN_INS_FULL, if the new one gives way.
    """
    present = tx.read(
        "SELECT id FROM account_sign_ins"
        " WHERE user_id = %s AND ended IS NULL AND expires_at > now() ORDER BY used_at, id",
        (user,),
    ).fetchall()
    over = len(present) + 1 - capacity.most
    if over > 0 and capacity.new_gives_way:
        raise Refused(SIGN_INS_FULL)
    endings: list[Ending] = []
    for (one,) in present[: max(0, over)]:
        endings += end_sign_ins(tx, user, one, void_s=capacity.void_s, why="too many")
    return endings


def end_all(
    tx: Transaction, user: str, why: str, void_s: float, *, ends: float | None = None,
    reason: str = "",
) -> Ending:  # fmt: skip
    """End all sessions of a user, guest's ones too, and refuse all tokens for `void_s` seconds.

    Refresh tokens end with them, so that a copy is worth nothing when the user may be here again.
    Only an account that has no other way in keeps them: a guest who is banned for a day would
    otherwise never come back. They are refused for as long as the account is out.

    Arguments:
        tx: the transaction.
        user: whose.
        why: a key of `WHY`.
        void_s: how long a token can be valid.
        ends: when a ban is over, in seconds since 1970; None: it is no ban.
        reason: why the user is banned.
    """
    tx.write(
        """
        UPDATE account_sign_ins SET ended = 'signed_out', label = ''
        WHERE user_id = %s AND ended IS NULL AND EXISTS (
            SELECT FROM account_identities WHERE user_id = %s AND provider <> %s
        )
        """,
        (user, user, GUEST),
    )
    return _ending(tx, user, ALL, why, void_s=void_s, ends=ends, reason=reason)


def forgive(tx: Transaction, user: str) -> list[Ending]:
    """Take back what `end_all` did to tokens and sessions that are new by now."""
    rows = tx.write(
        "UPDATE account_endings SET until = to_timestamp(0), changed_at = clock_timestamp()"
        " WHERE user_id = %s AND sign_in = %s RETURNING why",
        (user, ALL),
    )
    return [Ending(user, ALL, why, 0.0) for (why,) in rows]


def refuse_if_out(tx: Transaction, user: str) -> None:
    """Raise Refused if an account is closed or banned, by the clock of the database."""
    row = tx.read(
        "SELECT closed_at IS NOT NULL, extract(epoch FROM banned_until)::float8, ban_reason,"
        " extract(epoch FROM banned_until - now())::float8 FROM accounts WHERE user_id = %s",
        (user,),
    ).fetchone()
    if row is None:
        return
    closed, ends, reason, left_s = row
    if closed:
        raise Refused(ACCOUNT_CLOSED)
    if left_s is not None and left_s > 0:
        raise ban_refusal(ends, reason, left_s)


def _ending(
    tx: Transaction,
    user: str,
    sign_in: str,
    why: str,
    *,
    void_s: float,
    ends: float | None = None,
    reason: str = "",
) -> Ending:
    row = tx.write(
        _END,
        {
            "user": user, "sign_in": sign_in, "why": why, "void_s": void_s, "ends": ends,
            "reason": reason,
        },
    ).fetchone()  # fmt: skip
    assert row is not None
    return Ending(user, sign_in, why, row[0], ends or 0.0, reason)
