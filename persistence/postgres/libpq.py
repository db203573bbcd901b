"""Statements given to libpq itself, several in one round trip, for what is done all the time.

psycopg's `execute` finds a type for each value, decides whether to prepare, and waits in Python: it
takes 20 us of this process for what takes 6 here. A round trip takes both processes 30 to 100 more,
by how deep the other one sleeps.
"""

from __future__ import annotations

import select
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import psycopg
from psycopg import errors, pq

if TYPE_CHECKING:
    from psycopg.pq.abc import PGconn, PGresult

_WELL = (pq.ExecStatus.COMMAND_OK, pq.ExecStatus.TUPLES_OK)


class Call(NamedTuple):
    """One statement with binary parameters ($1, $2). The values of its result are binary, too."""

    text: bytes
    parameters: Sequence[bytes] = ()


def together(connection: psycopg.Connection, calls: Sequence[Call]) -> list[PGresult]:
    """Run statements one after the other, all sent at once; what each came to.

    Raises psycopg.Error, of the class that `execute` raises: one failed, and those behind it were
    not run.
    """
    pgconn = connection.pgconn
    pgconn.enter_pipeline_mode()
    try:
        for text, parameters in calls:
            formats = [pq.Format.BINARY] * len(parameters)
            pgconn.send_query_params(text, parameters, None, formats, pq.Format.BINARY)
        pgconn.pipeline_sync()
        results = _until_sync(pgconn)
        pgconn.exit_pipeline_mode()
    except BaseException:
        connection.close()  # lost, or in the middle of something
        raise
    for result in results:
        if result.status not in _WELL:
            raise errors.error_from_result(result)
    return results


def _until_sync(pgconn: PGconn) -> list[PGresult]:
    results: list[PGresult] = []
    while True:
        _wait(pgconn)
        result = pgconn.get_result()
        if result is None:  # stands between the results of two statements
            continue
        if result.status == pq.ExecStatus.PIPELINE_SYNC:
            return results
        if pgconn.status == pq.ConnStatus.BAD:
            raise psycopg.OperationalError(pgconn.get_error_message())
        results.append(result)


def _wait(pgconn: PGconn) -> None:
    """Return when there is a result to get, without the GIL until then."""
    while True:
        unsent = pgconn.flush()
        if not unsent and not pgconn.is_busy():
            return
        poll = select.poll()
        poll.register(pgconn.socket, select.POLLIN | (select.POLLOUT if unsent else 0))
        poll.poll()
        pgconn.consume_input()
