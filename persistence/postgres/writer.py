"""The thread that writes events."""

from __future__ import annotations

import itertools
import re
import struct
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, Final, LiteralString

import psycopg
from psycopg import pq, sql

from persistence.batching import BatchingActor
from persistence.errors import RowRefused, StoreError
from persistence.postgres import arrays
from persistence.postgres.connection import PostgresLink
from persistence.requests import Activate, Append, Ping, StoreRequest
from persistence.rows import EventRow
from persistence.settings import PostgresSettings

Incarnation = tuple[str, str, int]

# A batch is seven arrays, one for each column: one parameter list, and so one prepared statement,
# for any number of rows.
_INCOMING = sql.SQL("""
    incoming AS MATERIALIZED (
        SELECT kind COLLATE "C" AS kind, key COLLATE "C" AS key, seq, epoch, type, payload, at_us
        FROM unnest(
            %b::text[], %b::text[], %b::int8[], %b::int8[], %b::text[], %b::bytea[], %b::int8[]
        ) AS n (kind, key, seq, epoch, type, payload, at_us)
    )
""")
# Share locks, so that nodes append at the same time, but an activation waits until the append has
# committed, or is seen by it: a row that changed while we waited for its lock is read again as it
# is then, whatever our snapshot says (READ COMMITTED). MATERIALIZED keeps the comparison out of
# the part that locks: pushed in there it would pass over the very rows that have to be held. Always
# in the order of names, as the activations too: so they never wait for one another in a circle.
_HELD = sql.SQL("""
    held AS MATERIALIZED (
        SELECT mine.kind, mine.key, mine.epoch, newest.epoch AS newest_epoch
        FROM (SELECT DISTINCT kind, key, epoch FROM incoming ORDER BY kind, key, epoch) AS mine
        CROSS JOIN LATERAL (
            SELECT epoch FROM incarnations AS i
            WHERE i.kind = mine.kind AND i.key = mine.key FOR SHARE
        ) AS newest
    )
""")


def _statement(text: LiteralString) -> str:
    return sql.SQL(text).format(incoming=_INCOMING, held=_HELD).as_string()


# All or nothing in one statement, which is the whole transaction. The condition is one for all
# rows, so every lock is held before the first row goes in; and a seq that is taken, even by a row
# which our snapshot does not show, ends it with UniqueViolation and no row written.
_APPEND = _statement("""
    WITH {incoming}, {held}
    INSERT INTO events (kind, key, seq, epoch, type, payload, at_us)
    SELECT kind, key, seq, epoch, type, payload, at_us FROM incoming
    WHERE NOT EXISTS (SELECT FROM held WHERE newest_epoch > epoch)
    ORDER BY kind, key, seq
""")
# The planner knows nothing of an array and could choose to read all of `incarnations` or `events`
# beside it; a nested loop over their primary keys is right at any size. And one plan for all
# batches: to plan anew takes 0.16 ms, half of what a single row costs in all.
_PLANS = """
    SET plan_cache_mode = force_generic_plan;
    SET enable_seqscan = off;
    SET enable_hashjoin = off;
    SET enable_mergejoin = off;
    SET jit = off
"""
# The same under a name, with its parameters as PostgreSQL numbers them.
_NAME: Final = b"greenroom_append"
_COLUMNS: Final[Sequence[tuple[str, Callable[[Sequence[Any]], bytes]]]] = (
    ("text[]", arrays.of_text),
    ("text[]", arrays.of_text),
    ("int8[]", arrays.of_int8),
    ("int8[]", arrays.of_int8),
    ("text[]", arrays.of_text),
    ("bytea[]", arrays.of_bytea),
    ("int8[]", arrays.of_int8),
)
_BINARY: Final = [pq.Format.BINARY] * len(_COLUMNS)


def _prepare() -> str:
    types = ", ".join(name for name, _ in _COLUMNS)
    numbers = itertools.count(1)
    return f"PREPARE {_NAME.decode()} ({types}) AS " + re.sub(
        "%b", lambda _: f"${next(numbers)}", _APPEND
    )


_OVERTAKEN = _statement("""
    WITH {incoming}, {held} SELECT kind, key, epoch FROM held WHERE newest_epoch > epoch
""")
_INSERT = _statement("""
    WITH {incoming}
    INSERT INTO events (kind, key, seq, epoch, type, payload, at_us)
    SELECT kind, key, seq, epoch, type, payload, at_us FROM incoming ORDER BY kind, key, seq
    ON CONFLICT DO NOTHING
""")
_BEATEN = _statement("""
    WITH {incoming}
    SELECT DISTINCT kind, key, mine.epoch FROM incoming AS mine
    CROSS JOIN LATERAL (
        SELECT epoch FROM events AS e
        WHERE e.kind = mine.kind AND e.key = mine.key AND e.seq = mine.seq
    ) AS there
    WHERE there.epoch <> mine.epoch
""")
_ACTIVATE = """
    INSERT INTO incarnations AS i (kind, key, epoch)
    SELECT * FROM unnest(%s::text[], %s::text[], %s::bigint[]) AS n (kind, key, times)
    ORDER BY kind COLLATE "C", key COLLATE "C"
    ON CONFLICT (kind, key) DO UPDATE SET epoch = i.epoch + excluded.epoch
    RETURNING kind, key, epoch
"""


class EventWriter(BatchingActor):
    """Writes what has queued up, from however many callers, in one transaction.

    One per node. A batch is one statement over arrays and so one round trip: 0.3 ms for one row,
    0.8 for 50, 5 for 500 (bench/stores.py), of which this process works 0.06, 0.16 and 1 ms. COPY
    into a temporary table, then the lock and the INSERT, took 0.7 to 1.0, 1.4 to 1.7 and 5.9 to
    6.5.
    """

    def __init__(self, settings: PostgresSettings) -> None:
        super().__init__(capacity=settings.inbox_messages)
        self.batch_weight = settings.batch_rows
        self._link = PostgresLink(settings, setup=f"{_PLANS}; {_prepare()}")

    def on_stop(self) -> None:
        self._link.close()

    def on_failure(self, *_: Any) -> None:
        self._link.close()

    def weigh(self, request: StoreRequest) -> int:
        return max(1, len(request.rows)) if isinstance(request, Append) else 1

    def answer(self, requests: Sequence[StoreRequest]) -> Sequence[Any]:
        """Appends first, then activations: all were in flight together, so any order is true."""
        groups: dict[type[StoreRequest], list[Any]] = {}
        for request in requests:
            groups.setdefault(type(request), []).append(request)
        answers: dict[int, Any] = {}
        for kind, work in (
            (Append, self._append),
            (Activate, self._activate),
            (Ping, self._ping),
        ):
            if kind in groups:
                group = groups[kind]
                answers.update(zip(map(id, group), _attempt(work, group), strict=True))
        return [
            answers[id(request)]
            if id(request) in answers
            else RowRefused(f"not for a writer: {request}")
            for request in requests
        ]

    def _append(self, requests: Sequence[Append]) -> Sequence[Any]:
        rows = [row for request in requests for row in request.rows]
        fenced = self._link.run(lambda connection: append(connection, rows)) if rows else set()
        if not fenced:
            return [[] for _ in requests]
        return [
            list(
                {
                    (row[0], row[1]): None
                    for row in request.rows
                    if (row[0], row[1], row[3]) in fenced
                }
            )
            for request in requests
        ]

    def _activate(self, requests: Sequence[Activate]) -> Sequence[Any]:
        times = Counter((request.kind, request.key) for request in requests)
        kinds, keys = zip(*times, strict=True)
        arguments = (list(kinds), list(keys), list(times.values()))
        newest = {
            (kind, key): epoch
            for kind, key, epoch in self._link.run(
                lambda connection: connection.execute(_ACTIVATE, arguments).fetchall()
            )
        }
        epochs: list[int] = []
        for request in requests:
            name = (request.kind, request.key)
            times[name] -= 1
            epochs.append(newest[name] - times[name])
        return epochs

    def _ping(self, requests: Sequence[Ping]) -> Sequence[Any]:
        self._link.run(lambda connection: connection.execute("SELECT 1"))
        return [None] * len(requests)


def append(connection: psycopg.Connection, rows: Sequence[EventRow]) -> set[Incarnation]:
    """Write `rows` in one transaction, but none of an incarnation that has been overtaken.

    Returns the overtaken: a later one is activated, or another holds one of its seqs.
    """
    if _append_at_once(connection, rows):
        return set()
    try:
        if connection.execute(_APPEND, _columns(rows)).rowcount == len(rows):
            return set()
    except psycopg.errors.UniqueViolation:
        pass
    # Nothing was written. Some are there already, sent again or another incarnation's, or some are
    # overtaken: find out whose, and write the others.
    fenced: set[Incarnation] = set()
    while True:
        accepted = [row for row in rows if (row[0], row[1], row[3]) not in fenced]
        if not accepted:
            return fenced
        with connection.transaction():
            found = _write(connection, _columns(accepted), len(accepted))
            if not found:
                return fenced
            # Some of theirs may be in by now. Starting over costs a few round trips, and only in
            # this rare case; a savepoint would cost one every time.
            fenced |= found
            raise psycopg.Rollback


def _append_at_once(connection: psycopg.Connection, rows: Sequence[EventRow]) -> bool:
    """Write `rows`; False: nothing is known to be written, and psycopg's own way will say why.

    One call of libpq, with the GIL released. psycopg's `execute`, which finds a type for each value
    and waits in Python, takes three times as much of this process for one row, twice for 500.
    """
    try:
        columns = [
            encode(column) for (_, encode), column in zip(_COLUMNS, _columns(rows), strict=True)
        ]
    except (UnicodeEncodeError, struct.error):
        return False
    result = connection.pgconn.exec_prepared(_NAME, columns, _BINARY)
    return result.status == pq.ExecStatus.COMMAND_OK and result.command_tuples == len(rows)


def _columns(rows: Sequence[EventRow]) -> list[list[Any]]:
    return [list(column) for column in zip(*rows, strict=True)]


def _write(connection: psycopg.Connection, columns: list[list[Any]], rows: int) -> set[Incarnation]:
    found = connection.execute(_OVERTAKEN, columns).fetchall()
    if not found and connection.execute(_INSERT, columns).rowcount < rows:
        # Something was there: either these same rows, sent again, or another incarnation's.
        found = connection.execute(_BEATEN, columns).fetchall()
    return {(kind, key, epoch) for kind, key, epoch in found}


def _attempt(work: Any, requests: Sequence[Any]) -> Sequence[Any]:
    """Do all at once; if a value among them is refused, each by itself, so that only it fails."""
    try:
        return work(requests)  # type: ignore[no-any-return]  # the three signatures have no common type
    except RowRefused as error:
        if len(requests) == 1:
            return [error]
        return [_attempt(work, [request])[0] for request in requests]
    except StoreError as error:
        return [error] * len(requests)
