"""One log with a position: every event, of actors and of commands, in the order of transactions.

A reader that remembers where it stood, a `LogPosition`, gets each event exactly once, however long
the transaction took that wrote it. A sequence could not promise that: its numbers are given before
the commit, so what commits late would be skipped. Here events stand by the number of their
transaction, and what is at or above the horizon (`pg_snapshot_xmin`: the oldest transaction that
has not ended) is not shown yet. A transaction that stays open, in any database of
that PostgreSQL, therefore holds everyone back.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

import psycopg

from persistence.postgres.connection import PostgresLink, transaction
from persistence.rows import EventRow
from persistence.settings import PostgresSettings

_READ: Final = """
    SELECT transaction::text::bigint, kind, key, seq, epoch, type, payload, at_us
    FROM events
    WHERE transaction >= %(transaction)s::text::xid8
      AND (transaction, kind, key, seq)
          > (%(transaction)s::text::xid8, %(kind)s, %(key)s, %(seq)s)
      AND transaction < pg_snapshot_xmin(pg_current_snapshot())
    ORDER BY transaction, kind, key, seq
    LIMIT %(limit)s
"""
_READ_UNNUMBERED: Final = """
    SELECT 0, kind, key, seq, epoch, type, payload, at_us
    FROM events
    WHERE transaction IS NULL AND (kind, key, seq) > (%(kind)s, %(key)s, %(seq)s)
    ORDER BY kind, key, seq
    LIMIT %(limit)s
"""


class LogPosition(NamedTuple):
    """Behind which event a reader stands. The default: before all.

    `transaction` 0 stands for all that was written before events bore that number.
    """

    transaction: int = 0
    kind: str = ""
    key: str = ""
    seq: int = 0


class LogPage(NamedTuple):
    """Events in the order of the log, and the position behind the last of them."""

    events: Sequence[EventRow]
    position: LogPosition


class LogReader:
    """Reads the log on a connection of its own. Blocks: for a thread."""

    def __init__(self, settings: PostgresSettings) -> None:
        self._settings = settings
        self._link = PostgresLink(settings)

    def read(self, after: LogPosition = LogPosition(), limit: int = 1000) -> LogPage:  # noqa: B008
        """The next `limit` events behind a position, at most; none: there are no others yet.

        Raises `StoreUnavailable`.
        """
        return self._link.run(lambda connection: self._read(connection, after, limit))

    def close(self) -> None:
        """Close the connection."""
        self._link.close()

    def _read(self, connection: psycopg.Connection, after: LogPosition, limit: int) -> LogPage:
        rows: list[tuple[int, str, str, int, int, str, bytes, int]] = []
        with transaction(connection, self._settings):
            for query in (_READ_UNNUMBERED, _READ) if after.transaction == 0 else (_READ,):
                where = after._asdict() | {"limit": limit - len(rows)}
                rows += connection.execute(query, where).fetchall()
                if len(rows) == limit:
                    break
        if not rows:
            return LogPage([], after)
        return LogPage([row[1:] for row in rows], LogPosition(*rows[-1][:4]))
