"""The thread that reads and writes schedules."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from itertools import groupby
from typing import Any, Final

import psycopg

from persistence.batching import each_alone
from persistence.errors import RowRefused, TooManySchedules
from persistence.postgres.actor import PostgresActor
from persistence.postgres.connection import qualified
from persistence.requests import StoreCheck, StoreRequest
from persistence.schedules import calls
from persistence.schedules.requests import (
    CancelSchedule,
    ClaimSchedules,
    MoveSchedule,
    SetSchedule,
    SettleSchedules,
)
from persistence.schedules.rows import Claim, Claimed
from persistence.settings import PostgresSettings, ScheduleSettings

_SCHEMA: Final = ("FROM ", "FROM {schema}.", 1)


class ScheduleWorker(PostgresActor):
    """Sets, moves, cancels, claims and settles schedules, on a connection of its own.

    It handles requests in order; neighbours of one type share a call and a commit.

    Arguments:
        settings: the address of the database.
        schedules: the limits of schedules.
        clock: returns microseconds since 1970, for tests; None: PostgreSQL's clock, which all nodes
            share.
    """

    batch_weight = 500

    def __init__(
        self,
        settings: PostgresSettings,
        schedules: ScheduleSettings,
        *,
        clock: Callable[[], int] | None = None,
    ) -> None:
        super().__init__(settings)
        self._most = schedules.of_target
        self._clock: Callable[[], int | None] = clock or (lambda: None)
        self._set = qualified(settings, calls.SET.replace(*_SCHEMA))
        self._move = qualified(settings, calls.MOVE.replace(*_SCHEMA))
        self._cancel = qualified(settings, calls.CANCEL.replace(*_SCHEMA))
        self._claim = qualified(settings, calls.CLAIM.replace(*_SCHEMA))
        self._settle = qualified(settings, calls.SETTLE.replace(*_SCHEMA))

    def answer(self, requests: Sequence[StoreRequest]) -> Sequence[Any]:
        answers: list[Any] = []
        for _, neighbours in groupby(requests, type):
            answers += each_alone(self._run, list(neighbours))
        return answers

    def _run(self, requests: Sequence[StoreRequest]) -> Sequence[Any]:
        return self._link.run(lambda connection: self._do(connection, requests))

    def _do(self, connection: psycopg.Connection, requests: Sequence[Any]) -> Sequence[Any]:
        """Run requests of one type, in one call if the function takes many."""
        match requests[0]:
            case SetSchedule():
                return _in_order_of_names(partial(self._set_all, connection), requests)
            case MoveSchedule():
                return _in_order_of_names(partial(self._move_all, connection), requests)
            case CancelSchedule():
                return _in_order_of_names(partial(self._cancel_all, connection), requests)
            case ClaimSchedules():
                return [self._claim_due(connection, request) for request in requests]
            case SettleSchedules():
                return [self._settle_all(connection, request) for request in requests]
            case StoreCheck():
                connection.execute("SELECT 1")
                return [None] * len(requests)
        raise RowRefused(f"not for a worker of schedules: {requests[0]}")

    def _set_all(
        self, connection: psycopg.Connection, requests: Sequence[SetSchedule]
    ) -> Sequence[Any]:
        rows = connection.execute(
            self._set, [*calls.request_columns(requests), self._most, self._clock()]
        ).fetchall()
        return [
            TooManySchedules(request.kind, request.key, self._most) if id_ is None else due_us
            for request, (_, id_, due_us) in zip(requests, rows, strict=True)
        ]

    def _move_all(
        self, connection: psycopg.Connection, requests: Sequence[MoveSchedule]
    ) -> Sequence[int | None]:
        rows = connection.execute(
            self._move, [*calls.request_columns(requests), self._clock()]
        ).fetchall()
        moved: dict[int, int] = {place: due_us for place, _, due_us in rows}
        return [moved.get(place) for place in range(1, len(requests) + 1)]

    def _cancel_all(
        self, connection: psycopg.Connection, requests: Sequence[CancelSchedule]
    ) -> Sequence[bool]:
        rows = connection.execute(self._cancel, calls.request_columns(requests)).fetchall()
        there = {place for (place,) in rows}
        return [place in there for place in range(1, len(requests) + 1)]

    def _claim_due(self, connection: psycopg.Connection, request: ClaimSchedules) -> Claim:
        cursor = connection.cursor(binary=True)
        cursor.execute(self._claim, (request.room, request.claim_us, self._clock()))
        *rows, (*_, now_us, later_us) = cursor.fetchall()
        found = sorted((Claimed(*row[:7]) for row in rows), key=lambda row: row.due_us)
        return Claim(found, now_us, later_us)

    def _settle_all(
        self, connection: psycopg.Connection, request: SettleSchedules
    ) -> Sequence[Any]:
        if not request.settled:
            return []
        parameters = [*calls.settled_columns(request.settled), self._clock()]
        rows = connection.execute(self._settle, parameters).fetchall()
        return [request.settled[place - 1] for (place,) in rows]


def _in_order_of_names(
    call: Callable[[Sequence[Any]], Sequence[Any]], requests: Sequence[Any]
) -> Sequence[Any]:
    """Call with the requests sorted by name, so that two workers never deadlock.

    Requests of one name keep their order.
    """
    order = sorted(
        range(len(requests)), key=lambda n: (requests[n].kind, requests[n].key, requests[n].name)
    )
    answers: list[Any] = [None] * len(requests)
    for place, answer in zip(order, call([requests[n] for n in order]), strict=True):
        answers[place] = answer
    return answers
