"""Schedules as a command sets, moves and cancels them: with its own transaction, or not at all."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, LiteralString, Protocol

from persistence.errors import TooManySchedules
from persistence.schedules.calls import CANCEL, MOVE, SET, request_columns
from persistence.schedules.requests import to_cancel, to_move, to_set
from persistence.settings import ScheduleSettings


class Writes(Protocol):
    """What it needs of a transaction: the scheduler hears of `earliest_us` after the commit."""

    earliest_us: int | None

    def write(self, statement: LiteralString, parameters: Sequence[Any] = ()) -> Any:
        """Run a statement that may change something; returns a cursor."""


class TransactionSchedules:
    """The schedules of `Transaction.schedules`. What it does is seen once that has committed.

    It locks the rows it touches, like any statement: one order for all commands.
    """

    def __init__(self, transaction: Writes, settings: ScheduleSettings) -> None:
        self._transaction = transaction
        self._settings = settings

    def set(
        self,
        kind: str,
        key: str,
        name: str,
        payload: bytes = b"",
        *,
        at_us: int | None = None,
        after_s: float | None = None,
    ) -> int:
        """Have (kind, key) told at a time, in place of what it had under this name.

        Arguments:
            kind: of the actor that gets a `Fired`.
            key: which of them.
            name: of at most one schedule of this actor.
            payload: for its handler, opaque here.
            at_us: when, in microseconds since 1970, UTC; what is past is due at once.
            after_s: or in how many seconds from now, by PostgreSQL's clock.

        Returns the `id` that the `Fired` will have.

        Raises:
            TooManySchedules: the actor has as many as it may.
            RowRefused: a name or the payload is too long.
            ValueError: not one time, or none that there is.
        """
        request = to_set(
            self._settings, kind, key, name, payload=payload, at_us=at_us, after_s=after_s
        )
        most = self._settings.of_target
        rows = self._transaction.write(SET, [*request_columns([request]), most, None]).fetchall()
        ((_, id_, due_us),) = rows
        if id_ is None:
            raise TooManySchedules(kind, key, most)
        self._heard(due_us)
        return request.id

    def move(
        self,
        kind: str,
        key: str,
        name: str,
        *,
        at_us: int | None = None,
        after_s: float | None = None,
    ) -> int | None:
        """Give a schedule another time; returns its new id, None if there is no such schedule.

        One that is being delivered at this moment still comes, with its old id, and comes again.
        Raises `RowRefused` and ValueError as `set`.
        """
        request = to_move(kind, key, name, at_us=at_us, after_s=after_s)
        rows = self._transaction.write(MOVE, [*request_columns([request]), None]).fetchall()
        for _, _, due_us in rows:
            self._heard(due_us)
            return request.id
        return None

    def cancel(self, kind: str, key: str, name: str, *, id: int | None = None) -> bool:  # noqa: A002
        """Take a schedule out; returns whether it was there.

        One that is being delivered at this moment still comes.

        With the `id` of a `Fired`: only that one. That succeeds once, however often the `Fired`
        comes, so what the command does if it succeeds is done once.
        """
        request = to_cancel(kind, key, name, id)
        rows = self._transaction.write(CANCEL, request_columns([request])).fetchall()
        return bool(rows)

    def _heard(self, due_us: int) -> None:
        earliest_us = self._transaction.earliest_us
        self._transaction.earliest_us = due_us if earliest_us is None else min(earliest_us, due_us)
