"""Which commands were answered before: the rows that make a retry harmless."""

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
"""Of a service, a user and a key together: with four bytes each they fit into an index."""
_FORGET_WORKERS: Final = """
    DELETE FROM command_workers WHERE at < now() - make_interval(secs => %s)
"""


class Name(NamedTuple):
    """What a key is remembered by."""

    service: str
    user: str
    key: str

    def check(self) -> None:
        """Raises `RowRefused`: PostgreSQL cannot hold it, which would fail a whole batch."""
        check_text(*self)
        if sum(map(len, self)) > _NAME_CHARACTERS:
            raise RowRefused(f"key and user of a command: at most {_NAME_CHARACTERS} characters")


class Ticket(NamedTuple):
    """What a transaction is known by: its worker's name, and an even number that only grows."""

    worker: str
    number: int

    def next(self) -> Ticket:
        """Of the worker's next transaction. The odd numbers say that one will never commit."""
        return Ticket(self.worker, self.number + 2)


class Answered(NamedTuple):
    """The first command with this name, and what it was answered."""

    request_hash: bytes
    answer: bytes


def begin(locks: Sequence[int], names: Sequence[Name]) -> Statement | None:
    """The call that takes locks, in the order given, and looks names up; for `answered_before`."""
    if not locks and not names:
        return None
    return Statement(_BEGIN, (of_int8(locks), *map(of_text, columns(names) or ((), (), ()))))


def answered_before(found: PGresult, names: Sequence[Name]) -> dict[Name, Answered]:
    """Those of `names` that were answered before, from what `begin` came to."""
    return {
        names[int.from_bytes(place, "big") - 1]: Answered(request_hash, answer)
        for place, request_hash, answer in values_of(found)
    }


def remember(ticket: Ticket, answered: Mapping[Name, Answered]) -> Statement:
    """The call that keeps answers, and the ticket, if the transaction has written something.

    In the order of their names, so that two of these never wait in a circle. It fails with a
    UniqueViolation if another worker has answered one of them meanwhile.
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
    """Whether a worker's last transaction has committed; in a transaction of the caller's.

    Waits for one that is still under way. One that has not committed never will, once this has.
    """
    found = connection.execute("SELECT has_committed(%s, %s)", ticket).fetchone()
    assert found is not None, "a function returns a row"
    return bool(found[0])


def forget(connection: psycopg.Connection, *, older_than_s: float, limit: int) -> int:
    """Drop at most `limit` of the oldest answers; returns how many.

    And all that workers have left that were last heard of so long ago.
    """
    connection.execute(_FORGET_WORKERS, (older_than_s,))
    return connection.execute(_FORGET, (older_than_s, limit)).rowcount
