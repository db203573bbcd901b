"""One blocking connection to PostgreSQL that comes back after it was lost.

What answers at the URL may be a pooler that hands every transaction to another session of the
database (PgBouncer's `pool_mode = transaction`), with what its other users left there, and which
they find again with what we leave. So nothing here relies on a session's settings, and nothing sets
them: statements name their schema, or call functions that keep a search_path of their own, and
what a transaction needs it sets for itself.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Final, LiteralString, TypeVar

import psycopg
from psycopg import errors, sql
from psycopg.pq import TransactionStatus

from persistence.errors import RowRefused, StoreUnavailable
from persistence.postgres import arrays
from persistence.postgres.libpq import Call, together
from persistence.reconnect import Reconnect
from persistence.settings import PostgresSettings

if TYPE_CHECKING:
    from psycopg.pq.abc import PGresult

T = TypeVar("T")

STORE = "postgresql"

# Errors for which a value is to blame, on either side of the connection: a NUL character, half a
# surrogate pair, a number beyond 64 bits, a row of another shape.
_REFUSED = (psycopg.DataError, psycopg.IntegrityError, TypeError, ValueError, OverflowError)


def connect(settings: PostgresSettings, *, url: str | None = None) -> psycopg.Connection:
    """Open an autocommit connection. `url` stands in for `settings.url`.

    Raises `StoreUnavailable`.
    """
    connection: psycopg.Connection | None = None
    try:
        connection = psycopg.connect(
            settings.url if url is None else url,
            autocommit=True,
            prepare_threshold=None,
            connect_timeout=max(2, round(settings.connect_timeout_s)),
            application_name="greenroom",
            # A peer that vanished is noticed in seconds; Linux only, ignored elsewhere.
            keepalives_idle=10,
            keepalives_interval=5,
            keepalives_count=3,
            tcp_user_timeout=20_000,
        )
        connection.isolation_level = psycopg.IsolationLevel.READ_COMMITTED
        connection.read_only = False
        arrays.register(connection)
        # A session is ours alone if it is the one that the login was answered by: a pooler answers
        # with a process id of its own making. Ours may keep statements and have a timeout.
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
            # The URL itself is at fault; libpq quotes it, with its password.
            raise StoreUnavailable(STORE, re.sub('".*"', '"..."', failure.reason)) from None
        raise failure from None
    return connection


def session_is_ours(connection: psycopg.Connection) -> bool:
    """Whether a statement that is prepared now can be executed later. It never has to be."""
    return connection.prepare_threshold is not None


def qualified(settings: PostgresSettings, text: LiteralString) -> sql.Composed:
    """SQL in which `{schema}` stands for the schema that holds our tables."""
    return sql.SQL(text).format(schema=sql.Identifier(settings.schema))


class Frame:
    """What goes along with the messages that begin and end a transaction.

    `first`: what the first call came to, if there is one. `last`: calls to make before the commit.
    """

    def __init__(self, first: PGresult) -> None:
        self.first = first
        self.last: Sequence[Call] = ()


@contextmanager
def transaction(
    connection: psycopg.Connection, settings: PostgresSettings, first: Call | None = None
) -> Iterator[Frame]:
    """A transaction in which plain names are those of our schema, and whose commit is durable.

    Two round trips; psycopg's own, with these settings, takes four. Not inside another transaction.

    Raises:
        psycopg.OperationalError: the connection is lost, and whether it has committed unknown.
        psycopg.InternalError: a statement had failed, and the block went on as if it had not.
    """
    begin = _begin(settings.schema, _timeout_ms(settings))
    try:
        frame = Frame(together(connection, begin if first is None else [*begin, first])[-1])
        yield frame
        *_, commit = together(connection, [*frame.last, _COMMIT])
    except BaseException:
        if not connection.closed and connection.info.transaction_status != TransactionStatus.IDLE:
            with suppress(psycopg.Error):
                # By psycopg, which forgets what it has prepared: that may be why something failed.
                connection.execute("ROLLBACK")
        raise
    if commit.command_status != _COMMIT.text:
        raise errors.InFailedSqlTransaction("what a failed statement had ended was to be committed")


_COMMIT: Final = Call(b"COMMIT")


@functools.cache
def _begin(schema: str, timeout_ms: str) -> Sequence[Call]:
    """What begins a transaction.

    An acknowledgement means durable, whatever the server's default: `off` is raised to `on`; the
    others (local, remote_write, remote_apply) are the operator's informed choice.
    """
    search_path = sql.SQL("{schema}, pg_temp").format(schema=sql.Identifier(schema)).as_bytes()
    return (
        Call(b"BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE"),
        Call(b"SET LOCAL synchronous_commit TO DEFAULT"),
        Call(
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
    """Say in one line why PostgreSQL did not do it."""
    lines = [line.strip() for line in str(error).splitlines()]
    reason = "; ".join(line for line in lines if line)
    return StoreUnavailable(STORE, reason or type(error).__name__)


class PostgresLink:
    """A connection for one thread, opened when first needed and again when it was lost.

    `url` stands in for `settings.url`.
    """

    def __init__(self, settings: PostgresSettings, *, url: str | None = None) -> None:
        self._settings = settings
        self._url = url
        self._connection: psycopg.Connection | None = None
        self._reconnect = Reconnect(settings.first_retry_s, settings.max_retry_s)

    def run(self, work: Callable[[psycopg.Connection], T]) -> T:
        """Do `work` on the connection; if that turns out to be lost, once more on a new one.

        So `work` must bear being done twice, and a restart of PostgreSQL between two calls is felt
        by nobody. Raises `StoreUnavailable`, or `RowRefused` for a value PostgreSQL cannot hold.
        """
        reused = self._connection is not None
        try:
            try:
                return work(self.opened())
            except (psycopg.OperationalError, psycopg.InterfaceError):
                # Deadlock, shutdown, lost connection: all mended by another attempt, or by none.
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
        """The connection, opened if it is not; for work that `run` must not do twice.

        Raises `StoreUnavailable`.
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
