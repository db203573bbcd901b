"""The commands and queries of second factors."""

from __future__ import annotations

from typing import Final

import msgspec

from actors.accounts.endings import refuse_if_out
from actors.accounts.identities import SERVICE, lock_user
from actors.accounts.known_devices import know_device
from actors.accounts.mail.letters import plain_code
from actors.accounts.mail.rows import queue_mail
from actors.accounts.rows import Let, SignIn, sign_in_at_last
from actors.accounts.second_factor.codes import is_totp, recovery_hash, step_of
from actors.edge.failures import Refused
from persistence.audit import AuditEntry
from persistence.commands import CommandKind, Transaction
from persistence.queries import QueryKind, ReadTransaction
from protocol.errors import NOT_FOUND, SECOND_FACTOR_ON


class Factor(msgspec.Struct, frozen=True):
    """A second factor that is shown: a code of the authenticator, or a recovery code.

    Attributes:
        code: the code of the authenticator; empty: a recovery code is shown.
        recovery: the hash of the recovery code.
    """

    code: str
    recovery: bytes


class BeginSecondFactor(msgspec.Struct, frozen=True):
    """Keeps a secret that is not in use until a code of it is shown."""

    user: str
    secret: str


class ConfirmSecondFactor(msgspec.Struct, frozen=True):
    """Puts the secret in use. Answer: `FactorChecked`.

    Attributes:
        recovery: the hashes of the recovery codes.
    """

    user: str
    code: str
    recovery: list[bytes]
    notice_s: float


class RemoveSecondFactor(msgspec.Struct, frozen=True):
    """Takes the second factor away, if it is shown. Answer: `FactorChecked`."""

    user: str
    factor: Factor
    notice_s: float


class RenewRecoveryCodes(msgspec.Struct, frozen=True):
    """Puts other recovery codes in place, if the factor is shown. Answer: `FactorChecked`."""

    user: str
    factor: Factor
    recovery: list[bytes]


class ShowSecondFactor(msgspec.Struct, frozen=True):
    """Goes on with a sign-in that waits for the second factor. Answer: `FactorChecked`.

    Attributes:
        ticket: the hash of the ticket.
        user: whose it is, as `FindTicket` has read.
        tries: how often a factor may be shown for it.
        valid_s: for how long.
        sign_in: the sign-in; its label is that of the ticket.
        device: the hash of the device's token; `devices` are kept.
    """

    ticket: bytes
    user: str
    factor: Factor
    tries: int
    valid_s: float
    sign_in: SignIn
    device: bytes
    devices: int


class FactorChecked(msgspec.Struct, frozen=True):
    """Whether the factor was right. A wrong one counts, so it is no refusal."""

    right: bool
    let: Let | None = None


class FindTicket(msgspec.Struct, frozen=True):
    """Reads what waits by a ticket, and whether a device is known. Answer: `TicketRow`, or None."""

    ticket: bytes
    device: bytes
    valid_s: float


class TicketRow(msgspec.Struct, frozen=True):
    """A sign-in that waits."""

    user: str
    label: str
    known: bool


class ReadSecondFactor(msgspec.Struct, frozen=True):
    """Reads the state of a user's second factor. Answer: `FactorState`."""

    user: str


class FactorState(msgspec.Struct, frozen=True):
    """Whether there is a second factor, and how many recovery codes are left."""

    on: bool
    recovery_codes: int


def factor_of(code: str) -> Factor:
    """Return what is shown, from what people have typed."""
    plain = plain_code(code)
    return Factor(plain if is_totp(plain) else "", recovery_hash(code))


def takes(tx: Transaction, user: str, factor: Factor) -> bool:
    """Use up a factor that is shown. Returns whether it was right; each code is right once."""
    row = tx.read(
        "SELECT secret, last_step, extract(epoch FROM now())::float8 FROM account_second_factors"
        " WHERE user_id = %s AND confirmed FOR UPDATE",
        (user,),
    ).fetchone()
    if row is None:
        return False
    if not factor.code:
        used = tx.write(
            "DELETE FROM account_recovery_codes WHERE user_id = %s AND hash = %s RETURNING 1",
            (user, factor.recovery),
        )
        return used.fetchone() is not None
    step = step_of(row[0], factor.code, row[2], row[1])
    if step is None:
        return False
    tx.write("UPDATE account_second_factors SET last_step = %s WHERE user_id = %s", (step, user))
    return True


def _begin(tx: Transaction, command: BeginSecondFactor) -> None:
    row = tx.write(
        "INSERT INTO account_second_factors VALUES (%s, %s, 0, false)"
        " ON CONFLICT (user_id) DO UPDATE SET secret = excluded.secret, last_step = 0"
        " WHERE NOT account_second_factors.confirmed RETURNING 1",
        (command.user, command.secret),
    ).fetchone()
    if row is None:
        raise Refused(SECOND_FACTOR_ON)


def _confirm(tx: Transaction, command: ConfirmSecondFactor) -> FactorChecked:
    row = tx.read(
        "SELECT secret, confirmed, extract(epoch FROM now())::float8 FROM account_second_factors"
        " WHERE user_id = %s FOR UPDATE",
        (command.user,),
    ).fetchone()
    if row is None:
        raise Refused(NOT_FOUND, "begin first")
    if row[1]:
        raise Refused(SECOND_FACTOR_ON)
    step = step_of(row[0], command.code, row[2], 0)
    if step is None:
        return FactorChecked(False)
    tx.write(
        "UPDATE account_second_factors SET confirmed = true, last_step = %s WHERE user_id = %s",
        (step, command.user),
    )
    _put_recovery(tx, command.user, command.recovery)
    _notice(tx, command.user, "second_factor_on", command.notice_s)
    return FactorChecked(True)


def _remove(tx: Transaction, command: RemoveSecondFactor) -> FactorChecked:
    if not takes(tx, command.user, command.factor):
        return FactorChecked(False)
    tx.write("DELETE FROM account_second_factors WHERE user_id = %s", (command.user,))
    tx.write("DELETE FROM account_tickets WHERE user_id = %s", (command.user,))
    _notice(tx, command.user, "second_factor_off", command.notice_s)
    return FactorChecked(True)


def _renew(tx: Transaction, command: RenewRecoveryCodes) -> FactorChecked:
    if not takes(tx, command.user, command.factor):
        return FactorChecked(False)
    _put_recovery(tx, command.user, command.recovery)
    tx.record(AuditEntry(what="account.recovery_codes", who=command.user))
    return FactorChecked(True)


def _show(tx: Transaction, command: ShowSecondFactor) -> FactorChecked:
    row = tx.write(
        "UPDATE account_tickets SET tries = tries + 1 WHERE ticket = %s AND user_id = %s"
        " AND created_at > now() - make_interval(secs => %s) AND tries < %s RETURNING 1",
        (command.ticket, command.user, command.valid_s, command.tries),
    ).fetchone()
    if row is None or not takes(tx, command.user, command.factor):
        return FactorChecked(False)
    tx.write("DELETE FROM account_tickets WHERE ticket = %s", (command.ticket,))
    refuse_if_out(tx, command.user)
    let = sign_in_at_last(tx, command.user, command.sign_in)
    know_device(tx, command.user, command.device, command.devices)
    details = {"with": "totp" if command.factor.code else "recovery code"}
    tx.record(AuditEntry(what="account.second_factor", who=command.user, details=details))
    return FactorChecked(True, let)


def _put_recovery(tx: Transaction, user: str, hashes: list[bytes]) -> None:
    tx.write("DELETE FROM account_recovery_codes WHERE user_id = %s", (user,))
    for one in hashes:
        tx.write("INSERT INTO account_recovery_codes VALUES (%s, %s)", (user, one))


def _notice(tx: Transaction, user: str, letter: str, notice_s: float) -> None:
    row = tx.read("SELECT email FROM account_passwords WHERE user_id = %s", (user,)).fetchone()
    if row is not None:
        queue_mail(tx, user, row[0], letter, notice_s)
    tx.record(AuditEntry(what=f"account.{letter}", who=user))


def _find_ticket(reading: ReadTransaction, query: FindTicket) -> TicketRow | None:
    row = reading.read(
        "SELECT user_id, label, EXISTS (SELECT FROM account_devices AS d"
        " WHERE d.user_id = t.user_id AND d.hash = %s) FROM account_tickets AS t"
        " WHERE ticket = %s AND created_at > now() - make_interval(secs => %s)",
        (query.device, query.ticket, query.valid_s),
    ).fetchone()
    return None if row is None else TicketRow(*row)


def _read(reading: ReadTransaction, query: ReadSecondFactor) -> FactorState:
    row = reading.read(
        "SELECT EXISTS (SELECT FROM account_second_factors WHERE user_id = %s AND confirmed),"
        " (SELECT count(*) FROM account_recovery_codes WHERE user_id = %s)",
        (query.user, query.user),
    ).fetchone()
    assert row is not None
    return FactorState(*row)


COMMANDS: Final = (
    CommandKind(
        service=SERVICE, name="begin second factor", command=BeginSecondFactor, locks=lock_user,
        run=_begin,
    ),
    CommandKind(
        service=SERVICE, name="confirm second factor", command=ConfirmSecondFactor,
        answer=FactorChecked, locks=lock_user, run=_confirm,
    ),
    CommandKind(
        service=SERVICE, name="remove second factor", command=RemoveSecondFactor,
        answer=FactorChecked, locks=lock_user, run=_remove,
    ),
    CommandKind(
        service=SERVICE, name="renew recovery codes", command=RenewRecoveryCodes,
        answer=FactorChecked, locks=lock_user, run=_renew,
    ),
    CommandKind(
        service=SERVICE, name="show second factor", command=ShowSecondFactor,
        answer=FactorChecked, locks=lock_user, run=_show,
    ),
)  # fmt: skip
QUERIES: Final = (
    QueryKind(FindTicket, _find_ticket),
    QueryKind(ReadSecondFactor, _read),
)
