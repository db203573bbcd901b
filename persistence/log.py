"""Reads all events, of actors and of commands, as one log in the order of their transactions.

A reader that keeps its `LogPosition` gets each event exactly once, however long the transaction
took that wrote it. A sequence could not promise that: its numbers are given out before the commit,
so an event that commits late would be skipped. Events are ordered by the number of their
transaction instead. Those of transactions at or above the horizon (`pg_snapshot_xmin`, the oldest
transaction that has not ended) are not shown yet. Therefore a transaction that stays open, in any
database of the same PostgreSQL, holds all readers back.

What a reader gets of one actor comes in the order of its events. It gets neither what was deleted
before it came there (`Keeping.trim_logs`, `drop_ended`) nor word of what was erased after it had
passed (`Keeping.rewrite`): a reader that keeps copies has to be told of erasures in another way.

A service has it as `Frame.open_log`. It is for what follows all that happens, such as an index or a
copy elsewhere. The export of a user does not read it: it wants one kind of actor and one user,
which PostgreSQL finds by itself, and not all events in order.
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
    """The last event that a reader has got. The default is a position before all events.

    A `transaction` of 0 stands for events that were written before events had transaction numbers.
    """

    transaction: int = 0
    kind: str = ""
    key: str = ""
    seq: int = 0


class LogPage(NamedTuple):
    """Events in the order of the log, and the position after the last of them."""

    events: Sequence[EventRow]
    position: LogPosition


class LogReader:
    """Reads the log on a connection of its own. Its methods block, so it is for threads."""

    def __init__(self, settings: PostgresSettings) -> None:
        self._settings = settings
        self._link = PostgresLink(settings)

    def read(self, after: LogPosition = LogPosition(), limit: int = 1000) -> LogPage:  # noqa: B008
        """Return at most `limit` events after a position; none if there are no others yet.

        The events of a page are in memory together, with their payloads.

        Raises:
            ValueError: `limit` is less than 1, so that an empty page would not say anything.
            StoreUnavailable: PostgreSQL does not answer.
        """
        if limit < 1:
            raise ValueError(f"limit: at least 1, not {limit}")
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
