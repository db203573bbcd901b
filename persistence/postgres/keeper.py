"""The thread that deletes events that need not be kept any longer, or changes what they hold."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import psycopg

from persistence.errors import RowRefused, StoreError
from persistence.postgres.actor import PostgresActor
from persistence.postgres.connection import qualified
from persistence.requests import (
    DropEnded,
    FindMarked,
    ForgetAnswers,
    Marked,
    RewriteEvents,
    Step,
    StoreRequest,
    TrimLogs,
)
from persistence.settings import PostgresSettings

_TRIM: Final = "SELECT * FROM {schema}.trim_logs(%s, %s, %s, %s, %s, %s)"
_DROP: Final = "SELECT * FROM {schema}.drop_ended(%s, %s, %s, %s, %s)"
_MARKED: Final = "SELECT * FROM {schema}.marked_events(%s, %b, %s, %s, %s, %s)"
_FORGET: Final = "DELETE FROM {schema}.answered_commands WHERE user_id = %s"
_REWRITE: Final = "SELECT {schema}.rewrite_events(%b::text[], %b::text[], %b::int8[], %b::bytea[])"


class EventKeeper(PostgresActor):
    """Deletes old events, and finds and changes what must not be kept, a step for each request.

    It has a connection of its own, so that no other work waits behind a step.
    """

    batch_weight = 1

    def __init__(self, settings: PostgresSettings) -> None:
        super().__init__(settings)
        self._trim = qualified(settings, _TRIM)
        self._drop = qualified(settings, _DROP)
        self._marked = qualified(settings, _MARKED)
        self._rewrite = qualified(settings, _REWRITE)
        self._forget = qualified(settings, _FORGET)

    def answer(self, requests: Sequence[StoreRequest]) -> Sequence[Any]:
        return [self._answer(request) for request in requests]

    def _answer(self, request: StoreRequest) -> Any:
        try:
            return self._link.run(lambda connection: self._do(connection, request))
        except StoreError as error:
            return error

    def _do(self, connection: psycopg.Connection, request: StoreRequest) -> Any:
        match request:
            case TrimLogs(kind, after, names, kept, before_us, most):
                step = (kind, after, names, kept, before_us, most)
                return Step(*_only(connection.execute(self._trim, step)))
            case DropEnded(kind, last_type, after, names, before_us):
                ended = (kind, last_type, after, names, before_us)
                return Step(*_only(connection.execute(self._drop, ended)))
            case ForgetAnswers(user):
                connection.execute(self._forget, (user,))
                return None
            case FindMarked():
                return self._find(connection, request)
            case RewriteEvents(rows):
                columns = [[row[place] for row in rows] for place in (0, 1, 2, 5)]
                return _only(connection.execute(self._rewrite, columns))[0]
            case _:
                raise RowRefused(f"not for a keeper: {request}")

    def _find(self, connection: psycopg.Connection, request: FindMarked) -> Marked:
        kind, where = request.kind, (*request.after, request.most, request.max_bytes)
        found = connection.execute(self._marked, (kind, request.mark, *where), binary=True)
        rows = found.fetchall()
        reached = None
        if rows and rows[-1][4] is None:  # a row without payload says where the step ended
            reached = rows.pop()[:2]
        return Marked([(kind, *row) for row in rows], reached)


def _only(cursor: psycopg.Cursor[Any]) -> tuple[Any, ...]:
    row: tuple[Any, ...] | None = cursor.fetchone()
    assert row is not None, "a function returns a row"
    return row
