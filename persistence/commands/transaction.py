"""What a command's function has of the database."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any, Final, LiteralString, NamedTuple

import psycopg

from persistence.postgres.arrays import check_text, columns, of_bytea, of_text
from persistence.postgres.libpq import Statement, together, values_of
from persistence.schedules.transaction import TransactionSchedules
from persistence.settings import ScheduleSettings

Parameters = Sequence[Any] | Mapping[str, Any]


_EMIT: Final = b"SELECT emit_events($1, $2, $3, $4)"
_PUSH: Final = b"SELECT pushed_user, pushed_offset FROM push_entries($1, $2, $3)"


class Pushed(NamedTuple):
    """A user's inbox has entries up to this offset now."""

    user: str
    offset: int


class Rows:
    """What a statement found. Waits for PostgreSQL when something of it is asked for, or never."""

    __slots__ = ("_cursor", "_pipeline")

    def __init__(
        self, cursor: psycopg.Cursor[tuple[Any, ...]], pipeline: psycopg.Pipeline | None
    ) -> None:
        self._cursor = cursor
        self._pipeline = pipeline

    def __iter__(self) -> Iterator[tuple[Any, ...]]:
        return iter(self._cursor)

    def fetchone(self) -> tuple[Any, ...] | None:
        """The next row; None: there are no more."""
        return self._cursor.fetchone()

    def fetchall(self) -> list[tuple[Any, ...]]:
        """All rows that are left."""
        return self._cursor.fetchall()

    @property
    def rowcount(self) -> int:
        """How many rows were found or changed."""
        if self._cursor.rowcount < 0 and self._pipeline is not None:
            self._pipeline.sync()
        return self._cursor.rowcount


class Transaction:
    """A transaction that is open, in which many commands may run one after the other.

    Plain names are those of the server's schema. Lock rows in one order in all commands; insert a
    row that may be missing before it is locked. `emit` and `push` are written with the rest, at the
    end.

    A statement whose rows nobody looks at is not waited for; it goes to PostgreSQL with the next.
    If it fails, all is done again, one by one, so that its own command hears of it.
    """

    def __init__(self, connection: psycopg.Connection, schedules: ScheduleSettings) -> None:
        self._connection = connection
        self._pipeline: psycopg.Pipeline | None = None
        self._schedules = schedules
        self.earliest_us: int | None = None
        """When the first of the schedules that were set or moved is due; None: there are none."""
        self.wrote = False
        """Whether a command that refuses now has to be rolled back."""
        self._emitted: list[tuple[str, str, str, bytes]] = []
        self._pushed: list[tuple[str, str, bytes]] = []

    def read(self, query: LiteralString, parameters: Parameters = ()) -> Rows:
        """Run a query that changes nothing. It may lock rows (`FOR UPDATE`)."""
        return Rows(self._connection.execute(query, parameters), self._pipeline)

    def write(self, statement: LiteralString, parameters: Parameters = ()) -> Rows:
        """Run a statement that may change something."""
        self.wrote = True
        return Rows(self._connection.execute(statement, parameters), self._pipeline)

    @property
    def schedules(self) -> TransactionSchedules:
        """Sets, moves and cancels durable schedules, at once, in this transaction."""
        return TransactionSchedules(self, self._schedules)

    def emit(self, kind: str, key: str, type_: str, payload: bytes) -> None:
        """Write an event of (kind, key) into the log. Raises `RowRefused`: a name is no TEXT."""
        check_text(kind, key, type_)
        self._emitted.append((kind, key, type_, payload))

    def push(self, user: str, type_: str, payload: bytes) -> None:
        """Put an entry into a user's inbox. Raises `RowRefused`: a name is no TEXT."""
        check_text(user, type_)
        self._pushed.append((user, type_, payload))

    @contextmanager
    def pipelined(self) -> Iterator[None]:
        """Do not wait for statements whose rows nobody looks at, before the end of the block.

        Raises psycopg.Error: one of them failed. In the block another statement may raise it.
        """
        with self._connection.pipeline() as pipeline:
            self._pipeline = pipeline
            try:
                yield
                pipeline.sync()
            except BaseException:
                with suppress(psycopg.Error):  # of what goes down with the one that failed
                    pipeline.sync()
                raise
            finally:
                self._pipeline = None

    def mark(self) -> tuple[int, int]:
        """Where emitted events and pushes stand, for `back_to`."""
        self.wrote = False
        return len(self._emitted), len(self._pushed)

    def back_to(self, mark: tuple[int, int]) -> None:
        """Forget what was emitted and pushed since then."""
        del self._emitted[mark[0] :], self._pushed[mark[1] :]

    def finish(self) -> list[Pushed]:
        """Write what was pushed. Called by the frame, when all commands have run."""
        if not self._pushed:
            return []
        users, types, payloads = columns(self._pushed)
        call = Statement(_PUSH, (of_text(users), of_text(types), of_bytea(payloads)))
        (found,) = together(self._connection, [call])
        return [
            Pushed(user.decode(), int.from_bytes(offset, "big"))
            for user, offset in values_of(found)
        ]

    def last_statements(self) -> Sequence[Statement]:
        """What writes the events that were emitted; for the frame, to run before the commit."""
        if not self._emitted:
            return ()
        kinds, keys, types, payloads = columns(self._emitted)
        return (Statement(_EMIT, (*map(of_text, (kinds, keys, types)), of_bytea(payloads))),)
