"""Which commands were answered before: the rows that make a retry harmless."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

import psycopg

from persistence.errors import RowRefused
from persistence.postgres import libpq
from persistence.postgres.arrays import columns, of_bytea, of_int8, of_text

_BEGIN: Final = b"SELECT place, request_hash, answer FROM begin_commands($1, $2, $3, $4)"
_REMEMBER: Final = b"SELECT remember_answers($1, $2, $3, $4, $5, $6, $7)"
_TRUE: Final = b"\1"  # a boolean in PostgreSQL's binary format
_FORGET: Final = """
    DELETE FROM answered_commands WHERE ctid = ANY(ARRAY(
        SELECT ctid FROM answered_commands
        WHERE at < now() - make_interval(secs => %s) ORDER BY at LIMIT %s
    ))
"""
_NAME_BYTES: Final = 1024
"""Of a service, a user and a key together. An index of PostgreSQL takes 2700."""
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
        try:
            text = "\0".join(self).encode()
        except UnicodeEncodeError as error:
            raise RowRefused(f"the key of a command: {error}") from None
        if text.count(0) != len(self) - 1:
            raise RowRefused("the key of a command: NUL characters cannot be stored")
        if len(text) > _NAME_BYTES:
            raise RowRefused(f"the key of a command: at most {_NAME_BYTES} bytes with its user")


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


def begin(
    connection: psycopg.Connection, locks: Sequence[int], names: Sequence[Name]
) -> dict[Name, Answered]:
    """Take locks, in the order given; returns those of `names` that were answered before."""
    if not locks and not names:
        return {}
    parameters = [of_int8(locks), *map(of_text, columns(names) or ((), (), ()))]
    found = libpq.call(connection, _BEGIN, parameters)
    before: dict[Name, Answered] = {}
    for row in range(found.ntuples):
        place, request_hash, answer = (found.get_value(row, column) for column in range(3))
        assert place is not None, "no column of it is ever NULL"
        assert request_hash is not None
        assert answer is not None
        before[names[int.from_bytes(place, "big") - 1]] = Answered(request_hash, answer)
    return before


def remember(
    connection: psycopg.Connection, ticket: Ticket, answered: Mapping[Name, Answered]
) -> bool:
    """Keep answers, in the order of their names, so that two of these never wait in a circle.

    Returns whether there is something to commit, by which `has_committed` will know the ticket.
    Raises psycopg.errors.UniqueViolation: another worker has answered one of them meanwhile.
    """
    rows = sorted((*name, *answer) for name, answer in answered.items())
    services, users, keys, hashes, answers = columns(rows) or ((), (), (), (), ())
    parameters = [
        ticket.worker.encode(),
        ticket.number.to_bytes(8, "big"),
        *map(of_text, (services, users, keys)),
        *map(of_bytea, (hashes, answers)),
    ]
    return libpq.call(connection, _REMEMBER, parameters).get_value(0, 0) == _TRUE


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
