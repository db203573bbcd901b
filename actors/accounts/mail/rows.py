"""The queue of mail: rows that wait in PostgreSQL, and the codes that some of them carry.

A letter is queued in the transaction of what it tells of. So it is sent if and only if that is
committed, even if the server dies at once. A node takes letters for a while (a lease); if it dies,
another one takes them after that. So a letter can go out twice, with the same Message-ID, but is
not lost before it expires.

A code is made when its letter is taken, and only its hash is written. So nothing in the database,
its log or its backups can be shown as a code.
"""

from __future__ import annotations

import secrets
from typing import Final

import msgspec

from actors.accounts.identities import SERVICE
from persistence.commands import CommandKind, Transaction


class TakeMail(msgspec.Struct, frozen=True):
    """Takes letters that are due, at most one for each code. Answer: `LettersTaken`.

    Attributes:
        codes: hashes of new codes in their plain form; the n-th is for the n-th letter, if that has
            a code.
        lease_s: no other node takes them for so long.
    """

    codes: list[bytes]
    lease_s: float


class DueLetter(msgspec.Struct, frozen=True):
    """A letter that was taken.

    Attributes:
        id: its id.
        recipient: the address.
        letter: its name in LETTERS.
        coded: whether it carries the code of its place.
        tries: how often it was taken, this time included.
        left_s: for how long it may be tried.
    """

    id: str
    recipient: str
    letter: str
    coded: bool
    tries: int
    left_s: float


class LettersTaken(msgspec.Struct, frozen=True):
    """The letters that were taken, and how many had expired."""

    letters: list[DueLetter]
    expired: int


class LettersSettled(msgspec.Struct, frozen=True):
    """Says what became of letters.

    Attributes:
        done: those that need not be tried again.
        again: those that are to be tried again, and in how many seconds.
    """

    done: list[str]
    again: list[tuple[str, float]]


def queue_mail(
    tx: Transaction,
    user: str,
    recipient: str,
    letter: str,
    valid_s: float,
    *,
    ticket: bytes | None = None,
) -> None:
    """Have a letter sent, if the transaction commits.

    Arguments:
        tx: the transaction.
        user: whose letter it is, for whoever erases the user.
        recipient: the address.
        letter: its name in LETTERS.
        valid_s: for how long it may be tried.
        ticket: the row of account_codes whose code it carries; None: it carries none.
    """
    tx.write(
        "INSERT INTO account_mails (id, user_id, recipient, letter, ticket, due_at, expires_at)"
        " VALUES (%s, %s, %s, %s, %s, now(), now() + make_interval(secs => %s))",
        (secrets.token_hex(12), user, recipient, letter, ticket, valid_s),
    )


def _take(tx: Transaction, command: TakeMail) -> LettersTaken:
    expired = tx.write("DELETE FROM account_mails WHERE expires_at <= now()").rowcount
    rows = tx.write(
        """
        UPDATE account_mails SET tries = tries + 1, due_at = now() + make_interval(secs => %s)
        WHERE id IN (
            SELECT id FROM account_mails WHERE due_at <= now()
            ORDER BY due_at LIMIT %s FOR UPDATE SKIP LOCKED
        )
        RETURNING id, recipient, letter, ticket, tries,
                  extract(epoch FROM expires_at - now())::float8
        """,
        (command.lease_s, len(command.codes)),
    ).fetchall()
    for row, code in zip(rows, command.codes, strict=False):
        if row[3] is not None:
            tx.write("UPDATE account_codes SET code = %s WHERE ticket = %s", (code, row[3]))
    letters = [
        DueLetter(id_, recipient, letter, ticket is not None, tries, left_s)
        for id_, recipient, letter, ticket, tries, left_s in rows
    ]
    return LettersTaken(letters, expired)


def _posted(tx: Transaction, command: LettersSettled) -> None:
    tx.write("DELETE FROM account_mails WHERE id = ANY(%s)", (command.done,))
    for id_, in_s in command.again:
        tx.write(
            "UPDATE account_mails SET due_at = now() + make_interval(secs => %s) WHERE id = %s",
            (in_s, id_),
        )


COMMANDS: Final = (
    CommandKind(
        service=SERVICE, name="take mail", command=TakeMail, answer=LettersTaken, run=_take
    ),
    CommandKind(service=SERVICE, name="posted", command=LettersSettled, run=_posted),
)
