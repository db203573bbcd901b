"""The answers to commands with keys.

They are kept as rows, so that a retry gets the first answer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final, NamedTuple

import psycopg

from persistence.errors import RowRefused
from persistence.postgres.arrays import check_text, columns, of_bytea, of_int8, of_text
from persistence.postgres.libpq import Statement, values_of

if TYPE_CHECKING:
    from psycopg.pq.abc import PGresult

_BEGIN: Final = b"SELECT place, request_hash, answer FROM begin_commands($1, $2, $3, $4)"
_REMEMBER: Final = b"SELECT remember_answers($1, $2, $3, $4, $5, $6, $7)"
_FORGET: Final = """
    DELETE FROM answered_commands WHERE ctid = ANY(ARRAY(
        SELECT ctid FROM answered_commands
        WHERE at < now() - make_interval(secs => %s) ORDER BY at LIMIT %s
        FOR UPDATE SKIP LOCKED -- another worker's
    ))
"""
_NAME_CHARACTERS: Final = 600
"""The most characters of a service, a user and a key together.

At four bytes each they fit into an index.
"""
_FORGET_WORKERS: Final = """
    DELETE FROM command_workers WHERE at < now() - make_interval(secs => %s)
"""


class CommandName(NamedTuple):
    """The name under which an answer is kept."""

    service: str
    user: str
    key: str

    def check(self) -> None:
        """Raise `RowRefused` if PostgreSQL cannot hold the name, since that would fail a whole
        batch.
        """
        check_text(*self)
        if sum(map(len, self)) > _NAME_CHARACTERS:
            raise RowRefused(f"key and user of a command: at most {_NAME_CHARACTERS} characters")


class Ticket(NamedTuple):
    """Identifies a transaction by the name of its worker and an even number that grows.

    An odd number in the database says that the transaction before it will never commit.
    """

    worker: str
    number: int

    def next(self) -> Ticket:
        """Return the ticket of the worker's next transaction."""
        return Ticket(self.worker, self.number + 2)


class Answered(NamedTuple):
    """The answer to the first command with a name, and the hash of that command."""

    request_hash: bytes
    answer: bytes


def opening_statement(locks: Sequence[int], names: Sequence[CommandName]) -> Statement | None:
    """Return the statement that takes locks, in the order given, and looks names up.

    Its result is for `answered_before`. Returns None if there is nothing to lock or look up.
    """
    if not locks and not names:
        return None
    return Statement(_BEGIN, (of_int8(locks), *map(of_text, columns(names) or ((), (), ()))))


def answered_before(found: PGresult, names: Sequence[CommandName]) -> dict[CommandName, Answered]:
    """Return the answers to those `names` that were answered before.

    `found` is the result of `opening_statement`.
    """
    return {
        names[int.from_bytes(place, "big") - 1]: Answered(request_hash, answer)
        for place, request_hash, answer in values_of(found)
    }


def remember(ticket: Ticket, answered: Mapping[CommandName, Answered]) -> Statement:
    """Return the statement that keeps answers, and the ticket if the transaction has written
    something.

    It keeps the answers in the order of their names, so that two such statements never deadlock. It
    fails with a UniqueViolation if another worker has answered one of the names meanwhile.
    """
    rows = sorted((*name, *answer) for name, answer in answered.items())
    services, users, keys, hashes, answers = columns(rows) or ((), (), (), (), ())
    return Statement(
        _REMEMBER,
        (
            ticket.worker.encode(),
            ticket.number.to_bytes(8, "big"),
            *map(of_text, (services, users, keys)),
            *map(of_bytea, (hashes, answers)),
        ),
    )


def has_committed(connection: psycopg.Connection, ticket: Ticket) -> bool:
    """Return whether a worker's last transaction has committed.

    It runs in a transaction of the caller, and waits for one that is still running. If the answer
    is no, that transaction can never commit once the caller's has.
    """
    found = connection.execute("SELECT has_committed(%s, %s)", ticket).fetchone()
    assert found is not None, "a function returns a row"
    return bool(found[0])


def forget(connection: psycopg.Connection, *, older_than_s: float, limit: int) -> int:
    """Delete at most `limit` answers that are older than `older_than_s` seconds, and return how
    many.

    The rows of workers that have not been heard of for as long are deleted as well.
    """
    connection.execute(_FORGET_WORKERS, (older_than_s,))
    return connection.execute(_FORGET, (older_than_s, limit)).rowcount
