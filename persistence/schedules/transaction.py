"""The interface to schedules for commands: changes are part of the command's transaction."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, LiteralString, Protocol

from persistence.errors import TooManySchedules
from persistence.schedules.calls import CANCEL, MOVE, SET, request_columns
from persistence.schedules.requests import to_cancel, to_move, to_set
from persistence.settings import ScheduleSettings


class Writes(Protocol):
    """The part of a transaction that schedules use.

    After the commit the scheduler is told `earliest_us`, the earliest due time that was set.
    """

    earliest_us: int | None

    def write(self, statement: LiteralString, parameters: Sequence[Any] = ()) -> Any:
        """Run a statement that may change something; returns a cursor."""


class TransactionSchedules:
    """Sets, moves and cancels schedules. The changes are seen once the transaction has committed.

    It locks the rows that it touches, like any statement. All commands should lock rows in one
    order.
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
        """Set a schedule for the actor (kind, key), in place of one of the same name.

        Arguments:
            kind: the kind of the actor that gets a `Fired`.
            key: the key of the actor.
            name: the name of the schedule; an actor has at most one schedule of a name.
            payload: bytes for the actor's handler.
            at_us: the due time, in microseconds since 1970, UTC; a time that is past is due at
                once.
            after_s: in place of `at_us`, seconds from now by PostgreSQL's clock.

        Returns the `id` that the `Fired` will have.

        Raises:
            TooManySchedules: the actor has as many as it may.
            RowRefused: a name or the payload is too long.
            ValueError: both times or none are given, or a time is out of range.
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
        """Give a schedule another time; returns its new id; None: there is no such schedule.

        A schedule that is being delivered right now comes with its old id, and then again. Raises
        `RowRefused` and ValueError like `set`.
        """
        request = to_move(kind, key, name, at_us=at_us, after_s=after_s)
        rows = self._transaction.write(MOVE, [*request_columns([request]), None]).fetchall()
        for _, _, due_us in rows:
            self._heard(due_us)
            return request.id
        return None

    def cancel(self, kind: str, key: str, name: str, *, id: int | None = None) -> bool:  # noqa: A002
        """Delete a schedule; returns whether it was there.

        A schedule that is being delivered right now still comes.

        With the `id` of a `Fired`, only the schedule with this id is deleted. That succeeds once,
        however often the `Fired` comes. So a command that acts only if it succeeds acts once.
        """
        request = to_cancel(kind, key, name, id)
        rows = self._transaction.write(CANCEL, request_columns([request])).fetchall()
        return bool(rows)

    def _heard(self, due_us: int) -> None:
        earliest_us = self._transaction.earliest_us
        self._transaction.earliest_us = due_us if earliest_us is None else min(earliest_us, due_us)
