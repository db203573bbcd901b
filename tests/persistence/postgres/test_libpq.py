from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress

import psycopg
import pytest

from persistence import PostgresSettings
from persistence.postgres.connection import connect, transaction
from persistence.postgres.libpq import Statement, together


@pytest.fixture
def connection(postgres: PostgresSettings) -> Iterator[psycopg.Connection]:
    with connect(postgres) as connection:
        yield connection


def number(value: int) -> bytes:
    return value.to_bytes(8, "big")


def test_statements_go_together_and_each_has_its_result(connection: psycopg.Connection) -> None:
    results = together(
        connection,
        [
            Statement(b"SELECT $1::bigint + 1, $2::text", (number(41), b"a")),
            Statement(b"SET LOCAL search_path TO public"),
            Statement(b"SELECT n::bigint FROM generate_series(1, 2) AS n"),
        ],
    )
    assert [result.ntuples for result in results] == [1, 0, 2]
    assert (results[0].get_value(0, 0), results[0].get_value(0, 1)) == (number(42), b"a")
    assert [results[2].get_value(row, 0) for row in range(2)] == [number(1), number(2)]
    assert connection.execute("SELECT 1").fetchone() == (1,)


def test_behind_one_that_fails_none_is_run(connection: psycopg.Connection, unique: str) -> None:
    table = unique.encode()
    connection.execute(f"CREATE TEMP TABLE {unique} (n bigint PRIMARY KEY)".encode())
    insert = b"INSERT INTO " + table + b" VALUES ($1)"
    together(connection, [Statement(insert, (number(1),))])
    with pytest.raises(psycopg.errors.UniqueViolation):
        together(connection, [Statement(insert, (number(n),)) for n in (2, 1, 3)])
    assert connection.execute(f"SELECT n FROM {unique}".encode()).fetchall() == [(1,)]


def test_what_is_larger_than_any_buffer_arrives(connection: psycopg.Connection) -> None:
    """The server answers the first statement while we still write the last one."""
    large = bytes(8 << 20)
    calls = [Statement(b"SELECT $1::bytea", (large,)) for _ in range(3)]
    assert [result.get_value(0, 0) == large for result in together(connection, calls)] == [True] * 3


def test_a_lost_connection_is_said_to_be_lost(
    connection: psycopg.Connection, postgres: PostgresSettings
) -> None:
    with connect(postgres) as other:
        other.execute("SELECT pg_terminate_backend(%s, 60000)", (connection.info.backend_pid,))
    for _ in range(2):
        with pytest.raises(psycopg.OperationalError):
            together(connection, [Statement(b"SELECT 1"), Statement(b"SELECT 2")])
        assert connection.closed


def test_a_transaction_takes_calls_at_its_beginning_and_before_its_commit(
    connection: psycopg.Connection, postgres: PostgresSettings
) -> None:
    first = Statement(
        b"SELECT current_setting('search_path'), current_setting('synchronous_commit')"
    )
    with transaction(connection, postgres, first) as bracket:
        assert bracket.first.get_value(0, 0) == f'"{postgres.schema}", pg_temp'.encode()
        assert bracket.first.get_value(0, 1) == b"on"
        bracket.last = [Statement(b"SELECT set_config('greenroom.last', 'done', false)")]
    assert connection.execute("SELECT current_setting('greenroom.last')").fetchone() == ("done",)
    undone = (
        Statement(b"SELECT set_config('greenroom.last', 'no', false)"),
        Statement(b"SELECT 1 / 0"),
    )
    with pytest.raises(psycopg.errors.DivisionByZero), transaction(connection, postgres) as bracket:
        bracket.last = undone
    assert connection.execute("SELECT current_setting('greenroom.last')").fetchone() == ("done",)


def test_a_block_that_goes_on_after_a_failed_statement_does_not_seem_to_commit(
    connection: psycopg.Connection, postgres: PostgresSettings
) -> None:
    with (
        pytest.raises(psycopg.errors.InFailedSqlTransaction),
        transaction(connection, postgres),
        suppress(psycopg.errors.DivisionByZero),
    ):
        connection.execute("SELECT 1 / 0")
    assert connection.execute("SELECT 1").fetchone() == (1,)
