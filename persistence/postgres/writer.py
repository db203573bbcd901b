"""The thread that writes events."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import psycopg

from persistence.batching import BatchingActor
from persistence.errors import RowRefused, StoreError
from persistence.postgres.connection import PostgresLink
from persistence.requests import Activate, Append, Ping, StoreRequest
from persistence.rows import EventRow
from persistence.settings import PostgresSettings

Incarnation = tuple[str, str, int]

# The planner knows nothing of a temporary table and could choose to read all of `incarnations`
# or `events` beside it; a nested loop over their primary keys is right at any size.
_SETUP = """
    CREATE TEMPORARY TABLE incoming (
        kind text COLLATE "C", key text COLLATE "C", seq bigint, epoch bigint,
        type text, payload bytea, at_us bigint
    ) ON COMMIT DELETE ROWS;
    SET enable_seqscan = off;
    SET enable_hashjoin = off;
    SET enable_mergejoin = off;
    SET jit = off
"""
_COLUMN_TYPES = ("text", "text", "int8", "int8", "text", "bytea", "int8")
_COPY = "COPY incoming FROM STDIN (FORMAT BINARY)"

# Share locks, so that nodes append at the same time, but an activation waits until the append has
# committed, or is seen by it. MATERIALIZED keeps the comparison out of the part that locks: pushed
# in there it would pass over the very rows that have to be held. Always in the order of names, as
# the activations too: so they never wait for one another in a circle.
_HOLD = """
    WITH held AS MATERIALIZED (
        SELECT mine.kind, mine.key, mine.epoch, newest.epoch AS newest_epoch
        FROM (SELECT DISTINCT kind, key, epoch FROM incoming ORDER BY kind, key, epoch) AS mine
        CROSS JOIN LATERAL (
            SELECT epoch FROM incarnations AS i
            WHERE i.kind = mine.kind AND i.key = mine.key FOR SHARE
        ) AS newest
    )
    SELECT kind, key, epoch FROM held WHERE newest_epoch > epoch
"""
_INSERT = """
    INSERT INTO events (kind, key, seq, epoch, type, payload, at_us)
    SELECT kind, key, seq, epoch, type, payload, at_us FROM incoming ORDER BY kind, key, seq
    ON CONFLICT DO NOTHING
"""
_BEATEN = """
    SELECT DISTINCT kind, key, mine.epoch FROM incoming AS mine
    CROSS JOIN LATERAL (
        SELECT epoch FROM events AS e
        WHERE e.kind = mine.kind AND e.key = mine.key AND e.seq = mine.seq
    ) AS there
    WHERE there.epoch <> mine.epoch
"""
_ACTIVATE = """
    INSERT INTO incarnations AS i (kind, key, epoch)
    SELECT * FROM unnest(%s::text[], %s::text[], %s::bigint[]) AS n (kind, key, times)
    ORDER BY kind COLLATE "C", key COLLATE "C"
    ON CONFLICT (kind, key) DO UPDATE SET epoch = i.epoch + excluded.epoch
    RETURNING kind, key, epoch
"""


class EventWriter(BatchingActor):
    """Writes what has queued up, from however many callers, in one transaction.

    One per node: COPY into a temporary table, then one INSERT; 78,000 events/s in batches of 500
    were measured so, against 3,200 single commits (bench/stores.py).
    """

    def __init__(self, settings: PostgresSettings) -> None:
        super().__init__(capacity=settings.inbox_messages)
        self.batch_weight = settings.batch_rows
        self._link = PostgresLink(settings, setup=_SETUP)

    def on_stop(self) -> None:
        self._link.close()

    def on_failure(self, *_: Any) -> None:
        self._link.close()

    def weigh(self, request: StoreRequest) -> int:
        return max(1, len(request.rows)) if isinstance(request, Append) else 1

    def answer(self, requests: Sequence[StoreRequest]) -> Sequence[Any]:
        """Appends first, then activations: all were in flight together, so any order is true."""
        appends = [request for request in requests if isinstance(request, Append)]
        activations = [request for request in requests if isinstance(request, Activate)]
        pings = [request for request in requests if isinstance(request, Ping)]
        answers: dict[int, Any] = {}
        for group, work in (
            (appends, self._append),
            (activations, self._activate),
            (pings, self._ping),
        ):
            if group:
                answers.update(zip(map(id, group), _attempt(work, group), strict=True))
        return [
            answers.get(id(request), RowRefused(f"not for a writer: {request}"))
            for request in requests
        ]

    def _append(self, requests: Sequence[Append]) -> Sequence[Any]:
        rows = [row for request in requests for row in request.rows]
        fenced = self._link.run(lambda connection: append(connection, rows)) if rows else set()
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
    fenced: set[Incarnation] = set()
    while True:
        accepted = (
            [row for row in rows if (row[0], row[1], row[3]) not in fenced] if fenced else rows
        )
        if not accepted:
            return fenced
        with connection.transaction():
            found = _write(connection, accepted)
            if not found:
                return fenced
            # Some of theirs may be in by now. Starting over costs a round trip, and only in the
            # rare case; a savepoint would cost one every time.
            fenced |= found
            raise psycopg.Rollback


def _write(connection: psycopg.Connection, rows: Sequence[EventRow]) -> set[Incarnation]:
    with connection.cursor() as cursor:
        with cursor.copy(_COPY) as copy:
            copy.set_types(_COLUMN_TYPES)
            for row in rows:
                copy.write_row(row)
        found = cursor.execute(_HOLD).fetchall()
        if not found and cursor.execute(_INSERT).rowcount < len(rows):
            # Something was there: either these same rows, sent again, or another incarnation's.
            found = cursor.execute(_BEATEN).fetchall()
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
