"""The commands and queries of e-mail and passwords."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

import msgspec

from actors.accounts.access import ALL, Ending
from actors.accounts.endings import end_sign_ins
from actors.accounts.identities import SERVICE, identity_locks, lock_user, user_of
from actors.accounts.known_devices import know_device
from actors.accounts.mail.rows import queue_mail
from actors.accounts.rows import Let, SignIn, sign_in
from actors.accounts.second_factor.rows import Factor, takes
from actors.accounts.second_factor.tickets import has_second_factor
from actors.edge.failures import Refused
from persistence.audit import AuditEntry
from persistence.commands import CommandKind, Transaction
from persistence.queries import QueryKind, ReadTransaction
from protocol.errors import BAD_CREDENTIALS, QUOTA_EXCEEDED, SECOND_FACTOR

EMAIL: Final = "email"
"""The provider of these identities; the subject is the folded address."""
SIGN_UP: Final = "sign_up"
RESET: Final = "reset"


class AskForCode(msgspec.Struct, frozen=True):
    """Keeps a ticket and has a code sent by mail. Whether it is sent does not show.

    Attributes:
        purpose: SIGN_UP or RESET.
        ticket: the hash of the ticket.
        subject, email: the address, hashed in its folded form, and as it was given.
        user, name, guest, password: of a sign-up: the user of an account that is made, its name,
            whether it is of a guest's session, and the hash of its password.
        valid_s: for how long.
        letters: so many go to one address in that time.
    """

    purpose: str
    ticket: bytes
    subject: bytes
    email: str
    user: str
    name: str
    guest: bool
    password: str
    valid_s: float
    letters: int


class FindCode(msgspec.Struct, frozen=True):
    """Reads what a ticket is for. Answer: `TicketPurpose`, or None."""

    purpose: str
    ticket: bytes


class TicketPurpose(msgspec.Struct, frozen=True):
    """What a ticket is for. `user` is empty if a reset was asked for an address of nobody."""

    user: str
    subject: bytes
    email: str
    name: str
    guest: bool


class ShowCode(msgspec.Struct, frozen=True):
    """A code that is shown, with its ticket's hash and what `FindCode` has read.

    Attributes:
        tries: how often it may be tried.
    """

    ticket: bytes
    code: bytes
    user: str
    subject: bytes
    tries: int


class ConfirmSignUp(msgspec.Struct, frozen=True):
    """Makes the account of a sign-up, and signs in. Answer: `Proved`."""

    shown: ShowCode
    sign_in: SignIn
    device: bytes
    devices: int


class ResetPassword(msgspec.Struct, frozen=True):
    """Puts another password in place, and ends all sign-ins. Answer: `Proved`."""

    shown: ShowCode
    hash: str
    factor: Factor | None
    void_s: float
    notice_s: float


class Proved(msgspec.Struct, frozen=True):
    """What a code has brought. `right`: whether it was; a wrong one counts, so it is no refusal."""

    right: bool
    let: Let | None = None
    endings: list[Ending] = []


class SignInByPassword(msgspec.Struct, frozen=True):
    """Signs in, if the password is still the one that was verified. Answer: `Let`.

    Attributes:
        sign_in: the sign-in.
        verified: the hash that the password was verified against.
        better: the hash to keep instead; None: the same.
        device: the hash of the device's token; `devices` are kept.
    """

    sign_in: SignIn
    verified: str
    better: str | None
    device: bytes
    devices: int


class ChangePassword(msgspec.Struct, frozen=True):
    """Puts another password in place, and ends all other sign-ins. Answer: `Proved`."""

    user: str
    verified: str
    hash: str
    factor: Factor | None
    keep: str
    void_s: float
    notice_s: float


class FindPassword(msgspec.Struct, frozen=True):
    """Reads the password of an address, and whether a device is known.

    Answer: `PasswordRow`, or None.
    """

    subject: bytes
    device: bytes


class FindPasswordOf(msgspec.Struct, frozen=True):
    """Reads the password of a user, likewise."""

    user: str
    device: bytes


class PasswordRow(msgspec.Struct, frozen=True):
    """A password: whose, its hash, its address, and whether the device was used before."""

    user: str
    hash: str
    email: str
    known: bool


class ErasePassword(msgspec.Struct, frozen=True):
    """Deletes what is kept of a user's mail. The rest goes with the account."""

    user: str


class ExportPassword(msgspec.Struct, frozen=True):
    """Reads what is known of a user. Answer: a list of plain values."""

    user: str


def _ask_for_code(tx: Transaction, command: AskForCode) -> None:
    owner = user_of(tx, EMAIL, command.subject)
    sign_up = command.purpose == SIGN_UP
    tx.write("DELETE FROM account_codes WHERE expires_at < now()")
    row = tx.read(
        "SELECT count(*) FROM account_codes WHERE subject = %s", (command.subject,)
    ).fetchone()
    assert row is not None
    tx.write(
        """
        INSERT INTO account_codes
            (ticket, purpose, user_id, subject, email, name, guest, password, expires_at)
        VALUES (%s, %s, %s, %s, %s, %s, %s, %s, now() + make_interval(secs => %s))
        """,
        (
            command.ticket, command.purpose, command.user if sign_up else owner or "",
            command.subject, command.email, command.name, command.guest, command.password,
            command.valid_s,
        ),
    )  # fmt: skip
    if row[0] >= command.letters:
        return
    if sign_up and owner is not None:
        queue_mail(tx, owner, command.email, "sign_up_known", command.valid_s)
    elif sign_up:
        queue_mail(tx, command.user, command.email, SIGN_UP, command.valid_s, ticket=command.ticket)
    elif owner is not None:
        queue_mail(tx, owner, command.email, RESET, command.valid_s, ticket=command.ticket)


def _is_right(tx: Transaction, shown: ShowCode, purpose: str) -> str | None:
    """Return the password hash of the row if the code is right; else count a try."""
    row = tx.write(
        "UPDATE account_codes SET tries = tries + 1 WHERE ticket = %s AND purpose = %s"
        " AND user_id = %s AND expires_at > now() AND tries < %s RETURNING code, password",
        (shown.ticket, purpose, shown.user, shown.tries),
    ).fetchone()
    if row is None or row[0] is None or bytes(row[0]) != shown.code:
        return None
    return str(row[1])


def _confirm(tx: Transaction, command: ConfirmSignUp) -> Proved:
    shown = command.shown
    password = _is_right(tx, shown, SIGN_UP)
    if password is None or user_of(tx, EMAIL, shown.subject) is not None:
        return Proved(False)
    has = tx.read(
        "SELECT email FROM account_passwords WHERE user_id = %s", (shown.user,)
    ).fetchone()
    if has is not None:
        raise Refused(QUOTA_EXCEEDED, "the account has an address already")
    email = tx.read("SELECT email FROM account_codes WHERE ticket = %s", (shown.ticket,)).fetchone()
    assert email is not None
    let = sign_in(tx, command.sign_in)
    tx.write(
        "INSERT INTO account_passwords (user_id, subject, email, hash, changed_at)"
        " VALUES (%s, %s, %s, %s, now())",
        (let.user, shown.subject, email[0], password),
    )
    if not let.waits:
        know_device(tx, let.user, command.device, command.devices)
    tx.write("DELETE FROM account_codes WHERE subject = %s", (shown.subject,))
    return Proved(True, let)


def _reset(tx: Transaction, command: ResetPassword) -> Proved:
    shown = command.shown
    if _is_right(tx, shown, RESET) is None or not _factor_shown(tx, shown.user, command.factor):
        return Proved(False)
    row = tx.write(
        "UPDATE account_passwords SET hash = %s, changed_at = now()"
        " WHERE user_id = %s AND subject = %s RETURNING email",
        (command.hash, shown.user, shown.subject),
    ).fetchone()
    if row is None:  # the address was taken from the account meanwhile
        return Proved(False)
    tx.write("DELETE FROM account_codes WHERE subject = %s", (shown.subject,))
    tx.write("DELETE FROM account_devices WHERE user_id = %s", (shown.user,))
    queue_mail(tx, shown.user, row[0], "password_changed", command.notice_s)
    tx.record(AuditEntry(what="account.password_reset", who=shown.user))
    return Proved(
        True, endings=end_sign_ins(tx, shown.user, ALL, void_s=command.void_s, why="password")
    )


def _sign_in_by_password(tx: Transaction, command: SignInByPassword) -> Let:
    row = tx.read(
        "SELECT user_id, hash FROM account_passwords WHERE subject = %s FOR UPDATE",
        (command.sign_in.subject,),
    ).fetchone()
    if row is None or row[1] != command.verified:  # it was changed meanwhile
        raise Refused(BAD_CREDENTIALS)
    if command.better is not None:
        tx.write(
            "UPDATE account_passwords SET hash = %s WHERE user_id = %s", (command.better, row[0])
        )
    let = sign_in(tx, command.sign_in)
    if let.waits:
        return let
    know_device(tx, let.user, command.device, command.devices)
    return let


def _factor_shown(tx: Transaction, user: str, factor: Factor | None) -> bool:
    """Return whether the second factor was right, or the account has none.

    Raises Refused: SECOND_FACTOR; it is to be shown. Then nothing was used up.
    """
    if not has_second_factor(tx, user):
        return True
    if factor is None:
        raise Refused(SECOND_FACTOR)
    return takes(tx, user, factor)


def _change(tx: Transaction, command: ChangePassword) -> Proved:
    if not _factor_shown(tx, command.user, command.factor):
        return Proved(False)
    row = tx.write(
        "UPDATE account_passwords SET hash = %s, changed_at = now()"
        " WHERE user_id = %s AND hash = %s RETURNING email",
        (command.hash, command.user, command.verified),
    ).fetchone()
    if row is None:
        return Proved(False)
    endings = end_sign_ins(
        tx, command.user, ALL, void_s=command.void_s, why="password", kept=command.keep
    )
    queue_mail(tx, command.user, row[0], "password_changed", command.notice_s)
    tx.record(AuditEntry(what="account.password_changed", who=command.user))
    return Proved(True, endings=endings)


def _erase(tx: Transaction, command: ErasePassword) -> None:
    tx.write(
        "DELETE FROM account_mails WHERE user_id = %s OR recipient IN"
        " (SELECT email FROM account_passwords WHERE user_id = %s)",
        (command.user, command.user),
    )
    tx.write(
        "DELETE FROM account_codes WHERE user_id = %s OR subject IN"
        " (SELECT subject FROM account_passwords WHERE user_id = %s)",
        (command.user, command.user),
    )


def _find_code(reading: ReadTransaction, query: FindCode) -> TicketPurpose | None:
    row = reading.read(
        "SELECT user_id, subject, email, name, guest FROM account_codes"
        " WHERE ticket = %s AND purpose = %s AND expires_at > now()",
        (query.ticket, query.purpose),
    ).fetchone()
    return None if row is None else TicketPurpose(row[0], bytes(row[1]), *row[2:])


_ROW: Final = """
    SELECT user_id, hash, email,
           EXISTS (SELECT FROM account_devices AS d WHERE d.user_id = p.user_id AND d.hash = %s)
    FROM account_passwords AS p WHERE
"""


def _find(reading: ReadTransaction, query: FindPassword) -> PasswordRow | None:
    found = "".join((_ROW, "provider = 'email' AND subject = %s"))
    row = reading.read(found, (query.device, query.subject)).fetchone()
    return None if row is None else PasswordRow(*row)


def _find_of(reading: ReadTransaction, query: FindPasswordOf) -> PasswordRow | None:
    found = "".join((_ROW, "user_id = %s"))
    row = reading.read(found, (query.device, query.user)).fetchone()
    return None if row is None else PasswordRow(*row)


def _export(reading: ReadTransaction, query: ExportPassword) -> list[dict[str, Any]]:
    rows = reading.read(
        "SELECT email, (extract(epoch FROM changed_at) * 1000)::bigint,"
        " ARRAY(SELECT (extract(epoch FROM used_at) * 1000)::bigint FROM account_devices AS d"
        " WHERE d.user_id = p.user_id) FROM account_passwords AS p WHERE p.user_id = %s",
        (query.user,),
    )
    return [
        {"email": email, "password_changed": changed, "devices_used": devices}
        for email, changed, devices in rows
    ]


def _lock_asked(command: AskForCode) -> Iterable[str]:
    return identity_locks(command.user, EMAIL, command.subject)


def _lock_shown(command: ConfirmSignUp | ResetPassword) -> Iterable[str]:
    return identity_locks(command.shown.user, EMAIL, command.shown.subject)


def _lock_sign_in(command: SignInByPassword) -> Iterable[str]:
    return identity_locks(command.sign_in.user, EMAIL, command.sign_in.subject)


COMMANDS: Final[Sequence[CommandKind]] = (
    CommandKind(
        service=SERVICE, name="ask for code", command=AskForCode, locks=_lock_asked,
        run=_ask_for_code,
    ),
    CommandKind(
        service=SERVICE, name="confirm sign-up", command=ConfirmSignUp, answer=Proved,
        locks=_lock_shown, run=_confirm,
    ),
    CommandKind(
        service=SERVICE, name="reset password", command=ResetPassword, answer=Proved,
        locks=_lock_shown, run=_reset,
    ),
    CommandKind(
        service=SERVICE, name="sign in by password", command=SignInByPassword, answer=Let,
        locks=_lock_sign_in, run=_sign_in_by_password,
    ),
    CommandKind(
        service=SERVICE, name="change password", command=ChangePassword, answer=Proved,
        locks=lock_user, run=_change,
    ),
    CommandKind(
        service=SERVICE, name="erase password", command=ErasePassword, locks=lock_user,
        run=_erase,
    ),
)  # fmt: skip
QUERIES: Final = (
    QueryKind(FindCode, _find_code),
    QueryKind(FindPassword, _find),
    QueryKind(FindPasswordOf, _find_of),
    QueryKind(ExportPassword, _export),
)
