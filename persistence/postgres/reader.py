"""The thread that reads events."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, Final

import psycopg

from persistence.batching import each_alone, in_groups
from persistence.errors import RowRefused
from persistence.postgres.actor import PostgresActor
from persistence.postgres.connection import qualified
from persistence.requests import (
    Epoch,
    LastSeq,
    ReadEvents,
    ReadEventsBefore,
    StoreCheck,
    StoreRequest,
)
from persistence.rows import EventRow
from persistence.settings import PostgresSettings

_READ_AFTER: Final = (
    "SELECT * FROM {schema}.read_after(%b::text[], %b::text[], %b::int8[], %b::int8[], %b::int8[])"
)
_READ_BEFORE: Final = (
    "SELECT * FROM {schema}.read_before(%b::text[], %b::text[], %b::int8[], %b::int8[], %b::int8[])"
)
_LAST_SEQS: Final = "SELECT * FROM {schema}.last_seqs(%b::text[], %b::text[])"
_EPOCHS: Final = "SELECT * FROM {schema}.epochs(%b::text[], %b::text[])"
_BEYOND_ALL: Final = 2**63 - 1


class EventReader(PostgresActor):
    """Reads events. Requests of one type that have queued up share a call (see 0002_calls.sql).

    It has a connection of its own, so that recovering actors do not wait behind a large append.

    Arguments:
        settings: the address of the database, and how it is used.
        url: the address of a read replica, to use in place of `settings.url`.
    """

    # A batch is smaller than the inbox, because all its answers are in memory at once.
    batch_weight = 128

    def __init__(self, settings: PostgresSettings, *, url: str | None = None) -> None:
        super().__init__(settings, url=url)
        self._after = qualified(settings, _READ_AFTER)
        self._before = qualified(settings, _READ_BEFORE)
        self._last = qualified(settings, _LAST_SEQS)
        self._epochs = qualified(settings, _EPOCHS)

    def answer(self, requests: Sequence[StoreRequest]) -> Sequence[Any]:
        return each_alone(
            lambda some: self._link.run(lambda connection: self._read(connection, some)), requests
        )

    def _read(self, connection: psycopg.Connection, requests: Sequence[StoreRequest]) -> list[Any]:
        return in_groups(requests, type, partial(self._ask, connection))

    def _ask(
        self, connection: psycopg.Connection, kind: type[StoreRequest], requests: Sequence[Any]
    ) -> Sequence[Any]:
        """Answer requests of one type with one call."""
        if kind is StoreCheck:
            connection.execute("SELECT 1")
            return [None] * len(requests)
        cursor = connection.cursor(binary=True)
        names = [[one.kind for one in requests], [one.key for one in requests]]
        if kind is LastSeq or kind is Epoch:
            call = self._last if kind is LastSeq else self._epochs
            newest: dict[int, int] = dict(cursor.execute(call, names).fetchall())
            return [newest.get(place, 0) for place in range(1, len(requests) + 1)]
        if kind is ReadEvents:
            call, edges = self._after, [one.after for one in requests]
        elif kind is ReadEventsBefore:
            call, edges = self._before, [one.before or _BEYOND_ALL for one in requests]
        else:
            raise RowRefused(f"not for a reader: {requests[0]}")
        limits = [one.limit for one in requests]
        room = [_BEYOND_ALL if one.max_bytes is None else one.max_bytes for one in requests]
        pages: list[list[EventRow]] = [[] for _ in requests]
        for place, *event in cursor.execute(call, [*names, edges, limits, room]):
            one = requests[place - 1]
            pages[place - 1].append((one.kind, one.key, *event))
        return pages if kind is ReadEvents else [page[::-1] for page in pages]
