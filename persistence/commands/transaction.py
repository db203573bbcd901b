"""What a command's function has of the database."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, LiteralString, NamedTuple

import psycopg

from persistence.postgres.arrays import columns
from persistence.schedules.transaction import TransactionSchedules
from persistence.settings import ScheduleSettings

Rows = psycopg.Cursor[tuple[Any, ...]]
Parameters = Sequence[Any] | Mapping[str, Any]


class Pushed(NamedTuple):
    """A user's inbox has entries up to this offset now."""

    user: str
    offset: int


class Transaction:
    """A transaction that is open, in which many commands may run one after the other.

    Plain names are those of the server's schema. Lock rows in one order in all commands; insert a
    row that may be missing before it is locked. `emit` and `push` are written with the rest, at the
    end.
    """

    def __init__(self, connection: psycopg.Connection, schedules: ScheduleSettings) -> None:
        self._connection = connection
        self._schedules = schedules
        self.earliest_us: int | None = None
        """When the first of the schedules that were set or moved is due; None: there are none."""
        self.wrote = False
        """Whether a command that refuses now has to be rolled back."""
        self._emitted: list[tuple[str, str, str, bytes]] = []
        self._pushed: list[tuple[str, str, bytes]] = []

    def read(self, query: LiteralString, parameters: Parameters = ()) -> Rows:
        """Run a query that changes nothing. It may lock rows (`FOR UPDATE`)."""
        return self._connection.execute(query, parameters)

    def write(self, statement: LiteralString, parameters: Parameters = ()) -> Rows:
        """Run a statement that may change something."""
        self.wrote = True
        return self._connection.execute(statement, parameters)

    @property
    def schedules(self) -> TransactionSchedules:
        """Sets, moves and cancels durable schedules, at once, in this transaction."""
        return TransactionSchedules(self, self._schedules)

    def emit(self, kind: str, key: str, type_: str, payload: bytes) -> None:
        """Write an event of (kind, key) into the log."""
        self._emitted.append((kind, key, type_, payload))

    def push(self, user: str, type_: str, payload: bytes) -> None:
        """Put an entry into a user's inbox."""
        self._pushed.append((user, type_, payload))

    def mark(self) -> tuple[int, int]:
        """Where emitted events and pushes stand, for `back_to`."""
        self.wrote = False
        return len(self._emitted), len(self._pushed)

    def back_to(self, mark: tuple[int, int]) -> None:
        """Forget what was emitted and pushed since then."""
        del self._emitted[mark[0] :], self._pushed[mark[1] :]

    def finish(self) -> list[Pushed]:
        """Write what was emitted and pushed. Called by the frame, before the commit."""
        if self._emitted:
            self._connection.execute("SELECT emit_events(%s, %s, %s, %s)", columns(self._emitted))
        if not self._pushed:
            return []
        rows = self._connection.execute(
            "SELECT * FROM push_entries(%s, %s, %s)", columns(self._pushed)
        )
        return [Pushed(user, offset) for user, offset in rows]
