"""Statements given to libpq in one call each, for what is done all the time.

psycopg's `execute` finds a type for each value, decides whether to prepare, and waits in Python: it
takes 20 us of this process for what takes 6 here. The GIL is released meanwhile.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import psycopg
from psycopg import errors, pq

if TYPE_CHECKING:
    from psycopg.pq.abc import PGresult

_WELL = (pq.ExecStatus.COMMAND_OK, pq.ExecStatus.TUPLES_OK)


def run(connection: psycopg.Connection, statements: bytes) -> PGresult:
    """Run one or several statements without parameters; the result of the last.

    Raises psycopg.Error: of the class that `execute` raises.
    """
    return _checked(connection, connection.pgconn.exec_(statements))


def call(connection: psycopg.Connection, text: bytes, parameters: Sequence[bytes]) -> PGresult:
    """Run a statement with binary parameters ($1, $2); its values come back binary, too.

    Raises psycopg.Error: of the class that `execute` raises.
    """
    formats = [pq.Format.BINARY] * len(parameters)
    result = connection.pgconn.exec_params(text, parameters, None, formats, pq.Format.BINARY)
    return _checked(connection, result)


def _checked(connection: psycopg.Connection, result: PGresult) -> PGresult:
    if result.status in _WELL:
        return result
    error = errors.error_from_result(result)
    if connection.closed and not isinstance(error, psycopg.OperationalError):
        # What libpq says itself bears no code by which a class could be found.
        raise psycopg.OperationalError(str(error) or "the connection is lost")
    raise error
