"""One blocking connection to PostgreSQL, opened again after it was lost.

The URL may be that of a pooler which gives each transaction to another session of the database
(PgBouncer's `pool_mode = transaction`). Its clients share these sessions, with the settings that
each of them leaves there. So no code here relies on a setting of a session or changes one.
Statements name their schema, or call functions with a search_path of their own. A transaction sets
what it needs for itself alone.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, Final, LiteralString, TypeVar

import psycopg
from psycopg import errors, sql
from psycopg.pq import TransactionStatus

from persistence.errors import RowRefused, StoreUnavailable
from persistence.postgres import arrays
from persistence.postgres.libpq import Statement, together
from persistence.reconnect import Reconnect
from persistence.settings import PostgresSettings

if TYPE_CHECKING:
    from psycopg.pq.abc import PGresult

T = TypeVar("T")

STORE = "postgresql"

LOST: Final = (psycopg.OperationalError, psycopg.InterfaceError)
"""Errors such as a deadlock, a shutdown or a lost connection, after which a second attempt may
work."""

# Errors that a bad value causes, on either side of the connection: a NUL character, half a
# surrogate pair, a number beyond 64 bits, a row of another shape.
_REFUSED = (psycopg.DataError, psycopg.IntegrityError, TypeError, ValueError, OverflowError)


def connect(settings: PostgresSettings, *, url: str | None = None) -> psycopg.Connection:
    """Open an autocommit connection.

    Arguments:
        settings: the address of the database, and how it is used.
        url: an address to use in place of `settings.url`.

    Raises:
        StoreUnavailable: the connection cannot be opened.
    """
    connection: psycopg.Connection | None = None
    try:
        connection = psycopg.connect(
            settings.url if url is None else url,
            autocommit=True,
            prepare_threshold=None,
            connect_timeout=max(2, round(settings.connect_timeout_s)),
            application_name="greenroom",
            # Linux notices within seconds that the peer has vanished; others ignore these.
            keepalives_idle=10,
            keepalives_interval=5,
            keepalives_count=3,
            tcp_user_timeout=20_000,
        )
        connection.isolation_level = psycopg.IsolationLevel.READ_COMMITTED
        connection.read_only = False
        arrays.register(connection)
        # The session is ours alone if it has the process id that the login was answered with; a
        # pooler answers with one that it made up. Our own session may have prepared statements and
        # a timeout.
        ours = connection.execute(
            "SELECT set_config('statement_timeout', %s, false) WHERE pg_backend_pid() = %s",
            (_timeout_ms(settings), connection.info.backend_pid),
        ).fetchone()
        if ours:
            connection.prepare_threshold = 2
    except psycopg.Error as error:
        if connection is not None:
            connection.close()
            raise unavailable(error) from None
        failure = unavailable(error)
        if isinstance(error, psycopg.ProgrammingError):
            # The URL is wrong, and libpq quotes it in the message, password included.
            raise StoreUnavailable(STORE, re.sub('".*"', '"..."', failure.reason)) from None
        raise failure from None
    return connection


def session_is_ours(connection: psycopg.Connection) -> bool:
    """Whether a statement that is prepared now can be executed later, by this client alone."""
    return connection.prepare_threshold is not None


def qualified(settings: PostgresSettings, text: LiteralString) -> sql.Composed:
    """Return SQL with `{schema}` replaced by the schema of our tables."""
    return sql.SQL(text).format(schema=sql.Identifier(settings.schema))


class Bracket:
    """Statements that share a round trip with the begin or the commit of a transaction.

    Attributes:
        first: the result of the first statement, if there was one.
        last: statements to run right before the commit.
    """

    def __init__(self, first: PGresult) -> None:
        self.first = first
        self.last: Sequence[Statement] = ()


@contextmanager
def transaction(
    connection: psycopg.Connection,
    settings: PostgresSettings,
    first: Statement | None = None,
    *,
    read_only: bool = False,
) -> Iterator[Bracket]:
    """Open a transaction that finds plain names in our schema and has a durable commit.

    It takes two round trips; psycopg's own, with these settings, takes four. It cannot be inside
    another transaction.

    Arguments:
        connection: the connection.
        settings: the schema and the timeout.
        first: a statement that is sent together with the begin.
        read_only: whether it may write nothing, as on a replica.

    Raises:
        psycopg.OperationalError: the connection is lost, and it is not known whether the
            transaction has committed.
        psycopg.InternalError: a statement failed, but the block swallowed its error.
    """
    begin = _begin(settings.schema, _timeout_ms(settings), read_only)
    try:
        bracket = Bracket(together(connection, begin if first is None else [*begin, first])[-1])
        yield bracket
        *_, commit = together(connection, [*bracket.last, _COMMIT])
    except BaseException:
        if not connection.closed and connection.info.transaction_status != TransactionStatus.IDLE:
            with suppress(psycopg.Error):
                # psycopg's own rollback also forgets prepared statements, which may have failed.
                connection.execute("ROLLBACK")
        raise
    if commit.command_status != _COMMIT.text:
        raise errors.InFailedSqlTransaction("what a failed statement had ended was to be committed")


_COMMIT: Final = Statement(b"COMMIT")


@functools.cache
def _begin(schema: str, timeout_ms: str, read_only: bool) -> Sequence[Statement]:
    """Return the statements that begin a transaction.

    A commit is durable whatever the server's default is: `synchronous_commit` is raised from `off`
    to `on`. The other values (local, remote_write, remote_apply) are left as the operator chose.
    """
    search_path = sql.SQL("{schema}, pg_temp").format(schema=sql.Identifier(schema)).as_bytes()
    return (
        Statement(
            b"BEGIN ISOLATION LEVEL READ COMMITTED "
            + (b"READ ONLY" if read_only else b"READ WRITE")
        ),
        Statement(b"SET LOCAL synchronous_commit TO DEFAULT"),
        Statement(
            b"SELECT set_config('search_path', $1, true),"
            b" set_config('statement_timeout', $2, true),"
            b" set_config('synchronous_commit', CASE current_setting('synchronous_commit')"
            b" WHEN 'off' THEN 'on' ELSE current_setting('synchronous_commit') END, true)",
            (search_path, timeout_ms.encode()),
        ),
    )


def _timeout_ms(settings: PostgresSettings) -> str:
    return str(round(settings.statement_timeout_s * 1000))


def unavailable(error: psycopg.Error) -> StoreUnavailable:
    """Return the error for a failure of PostgreSQL, with the reason in one line."""
    lines = [line.strip() for line in str(error).splitlines()]
    reason = "; ".join(line for line in lines if line)
    return StoreUnavailable(STORE, reason or type(error).__name__)


class PostgresLink:
    """A connection for one thread, opened when it is first needed and again after it was lost.

    Arguments:
        settings: the address of the database, and the pauses between attempts.
        url: an address to use in place of `settings.url`.
    """

    def __init__(self, settings: PostgresSettings, *, url: str | None = None) -> None:
        self._settings = settings
        self._url = url
        self._connection: psycopg.Connection | None = None
        self._reconnect = Reconnect(settings.first_retry_s, settings.max_retry_s)

    def run(self, work: Callable[[psycopg.Connection], T]) -> T:
        """Do `work` on the connection; if the connection was lost, do it again on a new one.

        So nobody notices a restart of PostgreSQL between two calls. `work` must be safe to repeat.

        Raises:
            StoreUnavailable: PostgreSQL does not answer, or fails.
            RowRefused: PostgreSQL cannot hold a value.
        """
        reused = self._connection is not None
        try:
            try:
                return work(self.opened())
            except LOST:
                self.close()
                if not reused:
                    raise
                return work(self.opened())
        except _REFUSED as error:
            raise RowRefused(" ".join(str(error).split())) from None
        except psycopg.Error as error:
            self.close()
            failure = unavailable(error)
            self._reconnect.failed(failure.reason)
            raise failure from None

    def opened(self) -> psycopg.Connection:
        """Return the open connection, for work that must not be done twice, as `run` may.

        Raises:
            StoreUnavailable: the connection cannot be opened.
        """
        if self._connection is None:
            if self._reconnect.waiting:
                raise StoreUnavailable(STORE, self._reconnect.reason)
            try:
                self._connection = connect(self._settings, url=self._url)
            except StoreUnavailable as error:
                self._reconnect.failed(error.reason)
                raise
            self._reconnect.succeeded()
        return self._connection

    def close(self) -> None:
        """Close the connection; the next `run` opens another."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def run_once(
    settings: PostgresSettings, text: LiteralString, parameters: Sequence[Any] | None = None
) -> list[tuple[Any, ...]]:
    """Return the rows of one statement, by a connection of its own. It blocks.

    Arguments:
        settings: the address of the database.
        text: the statement, for `qualified`.
        parameters: its parameters; None: it has none.

    Raises:
        StoreUnavailable: PostgreSQL does not answer, or fails.
        RowRefused: PostgreSQL cannot hold a value.
    """
    statement = qualified(settings, text)
    link = PostgresLink(settings)
    try:
        return link.run(lambda connection: connection.execute(statement, parameters).fetchall())
    finally:
        link.close()
