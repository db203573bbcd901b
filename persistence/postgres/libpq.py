"""Gives frequent statements to libpq itself, several in one round trip.

psycopg's `execute` finds a type for each value, decides whether to prepare, and waits in Python. It
takes 20 us of this process for a statement that takes 6 us here. A round trip takes another 30 to
100 us, depending on how deeply the server's process sleeps.
"""

from __future__ import annotations

import select
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

import psycopg
from psycopg import errors, pq

if TYPE_CHECKING:
    from psycopg.pq.abc import PGconn, PGresult

_WELL = (pq.ExecStatus.COMMAND_OK, pq.ExecStatus.TUPLES_OK)


class Statement(NamedTuple):
    """One statement with binary parameters ($1, $2). The values of its result are binary, too."""

    text: bytes
    parameters: Sequence[bytes] = ()


def together(connection: psycopg.Connection, statements: Sequence[Statement]) -> list[PGresult]:
    """Run statements in order, all sent at once; returns the result of each.

    Raises:
        psycopg.Error: a statement failed, and those after it were not run. The class is the one
            that `execute` raises.
    """
    pgconn = connection.pgconn
    pgconn.enter_pipeline_mode()
    try:
        for text, parameters in statements:
            formats = [pq.Format.BINARY] * len(parameters)
            pgconn.send_query_params(text, parameters, None, formats, pq.Format.BINARY)
        pgconn.pipeline_sync()
        results = _until_sync(pgconn)
        pgconn.exit_pipeline_mode()
    except BaseException:
        connection.close()  # the connection is lost, or in the middle of a pipeline
        raise
    for result in results:
        if result.status not in _WELL:
            raise errors.error_from_result(result)
    return results


def values_of(result: PGresult) -> Iterator[list[bytes]]:
    """Yield the values of each row that was found. None of them may be NULL."""
    for row in range(result.ntuples):
        values: list[bytes] = []
        for column in range(result.nfields):
            value = result.get_value(row, column)
            assert value is not None, "no column of it is ever NULL"
            values.append(value)
        yield values


def _until_sync(pgconn: PGconn) -> list[PGresult]:
    results: list[PGresult] = []
    while True:
        _wait(pgconn)
        result = pgconn.get_result()
        if result is None:  # the end of one statement's results
            continue
        if result.status == pq.ExecStatus.PIPELINE_SYNC:
            return results
        if pgconn.status == pq.ConnStatus.BAD:
            raise psycopg.OperationalError(pgconn.get_error_message())
        results.append(result)


def _wait(pgconn: PGconn) -> None:
    """Wait for a result, without holding the GIL."""
    while True:
        unsent = pgconn.flush()
        if not unsent and not pgconn.is_busy():
            return
        poll = select.poll()
        poll.register(pgconn.socket, select.POLLIN | (select.POLLOUT if unsent else 0))
        poll.poll()
        pgconn.consume_input()
