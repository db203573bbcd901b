"""The thread that reads events."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import psycopg

from persistence.batching import BatchingActor
from persistence.errors import RowRefused, StoreError
from persistence.postgres.connection import PostgresLink
from persistence.requests import LastSeq, Ping, Read, ReadBefore, StoreRequest
from persistence.settings import PostgresSettings

_READ = """
    SELECT kind, key, seq, epoch, type, payload, at_us FROM events
    WHERE kind = %s AND key = %s AND seq > %s ORDER BY seq LIMIT %s
"""
_READ_BEFORE = """
    SELECT kind, key, seq, epoch, type, payload, at_us FROM events
    WHERE kind = %s AND key = %s AND seq < %s ORDER BY seq DESC LIMIT %s
"""
_LAST_SEQ = "SELECT seq FROM events WHERE kind = %s AND key = %s ORDER BY seq DESC LIMIT 1"
_PING = "SELECT 1"
_BEYOND_ALL = 2**63 - 1


class EventReader(BatchingActor):
    """Reads in pipeline mode: what has queued up costs one round trip, not one each.

    On a connection of its own, so that recovering actors do not wait behind a large append.
    `url` stands in for `settings.url`: a read replica's.
    """

    # Answers are held in memory all at once, so fewer than an inbox holds.
    batch_weight = 128

    def __init__(self, settings: PostgresSettings, *, url: str | None = None) -> None:
        super().__init__(capacity=settings.inbox_messages)
        self._link = PostgresLink(settings, url=url)

    def on_stop(self) -> None:
        self._link.close()

    def on_failure(self, *_: Any) -> None:
        self._link.close()

    def weigh(self, request: StoreRequest) -> int:  # noqa: ARG002 - reads weigh the same
        return 1

    def answer(self, requests: Sequence[StoreRequest]) -> Sequence[Any]:
        try:
            return self._link.run(lambda connection: _read(connection, requests))
        except RowRefused as error:
            # One refused value spoils the pipeline it is in.
            if len(requests) == 1:
                return [error]
            return [self.answer([request])[0] for request in requests]
        except StoreError as error:
            return [error] * len(requests)


def _read(connection: psycopg.Connection, requests: Sequence[StoreRequest]) -> list[Any]:
    with connection.pipeline():
        cursors = [
            connection.cursor(binary=True).execute(*_statement(request)) for request in requests
        ]
        return [_result(request, cursor) for request, cursor in zip(requests, cursors, strict=True)]


def _statement(request: StoreRequest) -> tuple[str, tuple[Any, ...]]:
    match request:
        case Read(kind, key, after, limit):
            return _READ, (kind, key, after, limit)
        case ReadBefore(kind, key, before, limit):
            return _READ_BEFORE, (kind, key, before or _BEYOND_ALL, limit)
        case LastSeq(kind, key):
            return _LAST_SEQ, (kind, key)
        case Ping():
            return _PING, ()
    raise RowRefused(f"not for a reader: {request}")


def _result(request: StoreRequest, cursor: psycopg.Cursor[Any]) -> Any:
    match request:
        case Read():
            return cursor.fetchall()
        case ReadBefore():
            return cursor.fetchall()[::-1]
        case LastSeq():
            row = cursor.fetchone()
            return row[0] if row else 0
    return None
