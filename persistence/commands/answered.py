"""Which commands were answered before: the rows that make a retry harmless."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

import psycopg

from persistence.postgres.arrays import columns

_LOOK_UP: Final = """
    SELECT a.service, a.user_id, a.key, a.request_hash, a.answer
    FROM unnest(%s::text[], %s::text[], %s::text[]) AS n (service, user_id, key)
    JOIN answered_commands AS a USING (service, user_id, key)
"""
_REMEMBER: Final = """
    INSERT INTO answered_commands (service, user_id, key, request_hash, answer)
    SELECT * FROM unnest(%b::text[], %b::text[], %b::text[], %b::bytea[], %b::bytea[])
"""
_FORGET: Final = """
    DELETE FROM answered_commands WHERE ctid = ANY(ARRAY(
        SELECT ctid FROM answered_commands
        WHERE at < now() - make_interval(secs => %s) ORDER BY at LIMIT %s
    ))
"""


class Name(NamedTuple):
    """What a key is remembered by."""

    service: str
    user: str
    key: str


class Answered(NamedTuple):
    """The first command with this name, and what it was answered."""

    request_hash: bytes
    answer: bytes


def look_up(connection: psycopg.Connection, names: Sequence[Name]) -> dict[Name, Answered]:
    """Those of `names` that were answered before."""
    if not names:
        return {}
    rows = connection.execute(_LOOK_UP, columns(names))
    return {Name(row[0], row[1], row[2]): Answered(row[3], row[4]) for row in rows}


def remember(connection: psycopg.Connection, answered: Mapping[Name, Answered]) -> None:
    """Keep answers. In the order of their names, so that two of these never wait in a circle.

    Raises psycopg.errors.UniqueViolation: another worker has answered one of them meanwhile.
    """
    if answered:
        rows = [(*name, *answer) for name, answer in sorted(answered.items())]
        connection.execute(_REMEMBER, columns(rows))


def forget(connection: psycopg.Connection, *, older_than_s: float, limit: int) -> int:
    """Drop at most `limit` of the oldest answers; returns how many."""
    return connection.execute(_FORGET, (older_than_s, limit)).rowcount
