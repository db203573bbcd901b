"""The thread that writes events."""

from __future__ import annotations

import hashlib
import struct
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, Final

import psycopg
from psycopg import pq

from persistence.batching import each_alone
from persistence.errors import RowRefused
from persistence.postgres import arrays
from persistence.postgres.actor import PostgresActor
from persistence.postgres.connection import qualified, session_is_ours
from persistence.requests import Activate, AppendEvents, StoreCheck, StoreRequest
from persistence.rows import EventRow
from persistence.settings import PostgresSettings

# A batch is seven arrays, one for each column, so that any number of rows has seven parameters.
_ENCODERS: Final[Sequence[Callable[[Sequence[Any]], bytes]]] = (
    arrays.of_text,
    arrays.of_text,
    arrays.of_int8,
    arrays.of_int8,
    arrays.of_text,
    arrays.of_bytea,
    arrays.of_int8,
)
_BINARY: Final = [pq.Format.BINARY] * len(_ENCODERS)
_APPEND: Final = "SELECT {schema}.append_events($1, $2, $3, $4, $5, $6, $7)"
_APPEND_APART: Final = (
    "SELECT {schema}.append_apart(%b::text[], %b::text[], %b::int8[], %b::int8[],"
    " %b::text[], %b::bytea[], %b::int8[])"
)
_ACTIVATE: Final = "SELECT * FROM {schema}.activate(%b::text[], %b::text[], %b::int8[])"


class EventWriter(PostgresActor):
    """Writes events. All requests that have queued up share a transaction.

    Each node has one. A batch is one call of a function over arrays (0002_calls.sql): one round
    trip, and a transaction that relies on no state of its session. It takes 0.3 ms for one row, 0.8
    for 50 and 5 for 500 (bench/stores.py). COPY into a temporary table, then the lock and the
    INSERT, took 0.7 to 1.0, 1.4 to 1.7 and 5.9 to 6.5 ms.
    """

    def __init__(self, settings: PostgresSettings) -> None:
        super().__init__(settings)
        self.batch_weight = settings.batch_rows
        self._append_call = AppendCall(settings)
        self._activate_call = qualified(settings, _ACTIVATE)

    def weigh(self, request: StoreRequest) -> int:
        return max(1, len(request.rows)) if isinstance(request, AppendEvents) else 1

    def answer(self, requests: Sequence[StoreRequest]) -> Sequence[Any]:
        """Answer requests: appends first, then activations, then pings.

        All were under way at the same time, so none of their askers can tell the order.
        """
        groups: dict[type[StoreRequest], list[Any]] = {}
        for request in requests:
            groups.setdefault(type(request), []).append(request)
        answers: dict[int, Any] = {}
        for kind, work in (
            (AppendEvents, self._append),
            (Activate, self._activate),
            (StoreCheck, self._ping),
        ):
            if kind in groups:
                group = groups[kind]
                answers.update(zip(map(id, group), each_alone(work, group), strict=True))
        return [
            answers[id(request)]
            if id(request) in answers
            else RowRefused(f"not for a writer: {request}")
            for request in requests
        ]

    def _append(self, requests: Sequence[AppendEvents]) -> Sequence[Any]:
        rows = [row for request in requests for row in request.rows]
        call = self._append_call
        fenced = self._link.run(lambda connection: call(connection, rows)) if rows else []
        if not fenced:
            return [[] for _ in requests]
        lost = {(rows[place - 1][0], rows[place - 1][1], rows[place - 1][3]) for place in fenced}
        return [
            list(
                {(row[0], row[1]): None for row in request.rows if (row[0], row[1], row[3]) in lost}
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
                lambda connection: connection.execute(self._activate_call, arguments).fetchall()
            )
        }
        epochs: list[int] = []
        for request in requests:
            name = (request.kind, request.key)
            times[name] -= 1
            epochs.append(newest[name] - times[name])
        return epochs

    def _ping(self, requests: Sequence[StoreCheck]) -> Sequence[Any]:
        self._link.run(lambda connection: connection.execute("SELECT 1"))
        return [None] * len(requests)


class AppendCall:
    """The call that appends rows, on any connection."""

    def __init__(self, settings: PostgresSettings) -> None:
        self._text = qualified(settings, _APPEND).as_bytes()
        self._apart = qualified(settings, _APPEND_APART)
        # The name is a hash of the text. If a pooler gives us a session of another server, that
        # server's statement, for another schema, has another name, and cannot be run by mistake.
        self._name = b"greenroom_" + hashlib.sha256(self._text).hexdigest()[:16].encode()
        self._prepared_on: psycopg.Connection | None = None

    def __call__(self, connection: psycopg.Connection, rows: Sequence[EventRow]) -> Sequence[int]:
        """Write `rows` in one transaction, except rows of incarnations that have been overtaken.

        An incarnation is overtaken if a later one is activated, or if another has written one of
        its seqs. Returns the places of its rows, from 1.
        """
        if self._at_once(connection, rows):
            return []
        # Nothing was written: a row is there already, or is of an overtaken incarnation, or has a
        # value that is refused. The slower call through psycopg tells these apart.
        found = connection.execute(self._apart, arrays.columns(rows)).fetchone()
        assert found is not None, "a function returns a row"
        places: list[int] = found[0]
        return places

    def _at_once(self, connection: psycopg.Connection, rows: Sequence[EventRow]) -> bool:
        """Write `rows`. Returns False if nothing was written, or if that is not known.

        This is one call of libpq, with the GIL released. psycopg's `execute` finds a type for each
        value and waits in Python: it takes three times as much of this process for one row, and
        twice for 500. A prepared call saves the server 0.04 ms, if the session is ours.
        """
        try:
            columns = [
                encode(column)
                for encode, column in zip(_ENCODERS, arrays.columns(rows), strict=True)
            ]
        except (UnicodeEncodeError, struct.error):
            return False
        if self._is_prepared(connection):
            result = connection.pgconn.exec_prepared(self._name, columns, _BINARY)
        else:
            result = connection.pgconn.exec_params(self._text, columns, None, _BINARY)
        return result.status == pq.ExecStatus.TUPLES_OK and result.get_value(0, 0) == (
            b"%d" % len(rows)
        )

    def _is_prepared(self, connection: psycopg.Connection) -> bool:
        if self._prepared_on is not connection and session_is_ours(connection):
            connection.pgconn.prepare(self._name, self._text)  # if it fails, so does what follows
            self._prepared_on = connection
        return self._prepared_on is connection
