"""`Transaction`: what the function of a command can do in the database."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any, Final, LiteralString, NamedTuple

import msgspec
import psycopg

from persistence import audit
from persistence.postgres.arrays import check_text, columns, of_bytea, of_text
from persistence.postgres.libpq import Statement, together, values_of
from persistence.schedules.transaction import TransactionSchedules
from persistence.settings import ScheduleSettings

Parameters = Sequence[Any] | Mapping[str, Any]


_EMIT: Final = b"SELECT emit_events($1, $2, $3, $4)"
_PUSH: Final = b"SELECT pushed_user, pushed_offset FROM push_entries($1, $2, $3)"
_ANNOUNCE: Final = b"SELECT announce_events($1, $2)"


class Pushed(NamedTuple):
    """Says that a user's inbox has entries up to this offset now."""

    user: str
    offset: int


class Rows:
    """The rows that a statement found.

    PostgreSQL is waited for only if something of them is used.
    """

    __slots__ = ("_cursor", "_pipeline")

    def __init__(
        self, cursor: psycopg.Cursor[tuple[Any, ...]], pipeline: psycopg.Pipeline | None
    ) -> None:
        self._cursor = cursor
        self._pipeline = pipeline

    def __iter__(self) -> Iterator[tuple[Any, ...]]:
        return iter(self._cursor)

    def fetchone(self) -> tuple[Any, ...] | None:
        """Return the next row, or None if there are no more."""
        return self._cursor.fetchone()

    def fetchall(self) -> list[tuple[Any, ...]]:
        """Return all rows that are left."""
        return self._cursor.fetchall()

    @property
    def rowcount(self) -> int:
        """How many rows were found or changed."""
        if self._cursor.rowcount < 0 and self._pipeline is not None:
            self._pipeline.sync()
        return self._cursor.rowcount


class Transaction:
    """An open transaction, in which many commands may run one after the other.

    Names of tables without a schema are those of the server's schema. Lock rows in the same order
    in all commands, and insert a row that may be missing before you lock it. Events of `emit`,
    entries of `push` and `record`, and what is announced, are written at the end of it.

    A statement whose rows are not used is not waited for; it goes to PostgreSQL together with the
    next one. If it fails, the commands are done again one by one, so that the error goes to the
    right asker.
    """

    def __init__(self, connection: psycopg.Connection, schedules: ScheduleSettings) -> None:
        self._connection = connection
        self._pipeline: psycopg.Pipeline | None = None
        self._schedules = schedules
        self.earliest_us: int | None = None
        """When the first schedule that was set or moved is due, in microseconds; None: there is
        none."""
        self.wrote = False
        """Whether the present command has written, so that a refusal must be rolled back."""
        self._emitted: list[tuple[str, str, str, bytes]] = []
        self._pushed: list[tuple[str, str, bytes]] = []
        self._recorded: list[audit.AuditEntry] = []
        self._announced: list[tuple[str, str]] = []

    def read(self, query: LiteralString, parameters: Parameters = ()) -> Rows:
        """Run a query that changes nothing. It may lock rows (`FOR UPDATE`)."""
        return Rows(self._connection.execute(query, parameters), self._pipeline)

    def write(self, statement: LiteralString, parameters: Parameters = ()) -> Rows:
        """Run a statement that may change something."""
        self.wrote = True
        return Rows(self._connection.execute(statement, parameters), self._pipeline)

    @property
    def schedules(self) -> TransactionSchedules:
        """Sets, moves and cancels durable schedules in this transaction."""
        return TransactionSchedules(self, self._schedules)

    def emit(self, kind: str, key: str, type_: str, payload: bytes) -> None:
        """Write an event of (kind, key) into the log.

        Raises `RowRefused` if PostgreSQL cannot hold one of the names.
        """
        check_text(kind, key, type_)
        self._emitted.append((kind, key, type_, payload))

    def push(self, user: str, type_: str, payload: bytes) -> None:
        """Put an entry into a user's inbox.

        Raises `RowRefused` if PostgreSQL cannot hold one of the names.
        """
        check_text(user, type_)
        self._pushed.append((user, type_, payload))

    def record(self, entry: audit.AuditEntry) -> None:
        """Write an entry of the audit log, if the transaction commits.

        A command that refuses leaves none; see `actors.audit_trail` for those.
        """
        self._recorded.append(entry)

    def announce(self, type_: str, data: Mapping[str, Any]) -> None:
        """Tell webhooks of an event, if the transaction commits.

        `type_` is one of `Service.announces`; `data` are plain values, which name users by their
        ids alone. Raises what msgspec raises for data that cannot be JSON.
        """
        self._announced.append((type_, msgspec.json.encode(data).decode()))

    @contextmanager
    def pipelined(self) -> Iterator[None]:
        """Do not wait, inside the block, for statements whose rows are not used.

        Raises psycopg.Error if one of them failed: at the end of the block, or in another
        statement.
        """
        with self._connection.pipeline() as pipeline:
            self._pipeline = pipeline
            try:
                yield
                pipeline.sync()
            except BaseException:
                with suppress(psycopg.Error):  # errors of the statements after the one that failed
                    pipeline.sync()
                raise
            finally:
                self._pipeline = None

    def mark(self) -> Sequence[int]:
        """Return how much is to be written at the end so far, for `back_to`."""
        self.wrote = False
        return [len(waiting) for waiting in self._waiting()]

    def back_to(self, mark: Sequence[int]) -> None:
        """Drop the events, pushes, audit entries and announcements since `mark`."""
        for waiting, length in zip(self._waiting(), mark, strict=True):
            del waiting[length:]

    def _waiting(self) -> Sequence[list[Any]]:
        return self._emitted, self._pushed, self._recorded, self._announced

    def finish(self) -> list[Pushed]:
        """Write the pushes. The worker calls this when all commands have run."""
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
        """Return the statements that write events, audit entries and announcements.

        The worker runs them before the commit.
        """
        found: list[Statement] = []
        if self._emitted:
            kinds, keys, types, payloads = columns(self._emitted)
            names = map(of_text, (kinds, keys, types))
            found.append(Statement(_EMIT, (*names, of_bytea(payloads))))
        if self._recorded:
            found.append(audit.statement(self._recorded))
        if self._announced:
            found.append(Statement(_ANNOUNCE, [of_text(one) for one in columns(self._announced)]))
        return found
