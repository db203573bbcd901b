from __future__ import annotations

import json
import struct
from collections.abc import Iterator

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg import pq

from persistence.postgres import arrays

quick = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@pytest.fixture
def connection(postgres_url: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(postgres_url, autocommit=True) as opened:
        yield opened


def read_back(
    connection: psycopg.Connection, kind: bytes, array: bytes, expression: bytes = b"v"
) -> object:
    """Return this array as PostgreSQL reads it from a parameter."""
    result = connection.pgconn.exec_params(
        b"SELECT coalesce(json_agg(" + expression + b" ORDER BY i), '[]')"
        b" FROM unnest($1::" + kind + b"[]) WITH ORDINALITY AS n (v, i)",
        [array],
        param_formats=[pq.Format.BINARY],
    )
    assert result.status == pq.ExecStatus.TUPLES_OK, result.error_message
    value = result.get_value(0, 0)
    assert value is not None
    return json.loads(value)


@quick
@given(st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\0"))))
def test_text_arrives_as_it_was(connection: psycopg.Connection, values: list[str]) -> None:
    assert read_back(connection, b"text", arrays.of_text(values)) == values


@quick
@given(st.lists(st.integers(-(2**63), 2**63 - 1)))
def test_integers_arrive_as_they_were(connection: psycopg.Connection, values: list[int]) -> None:
    assert read_back(connection, b"int8", arrays.of_int8(values)) == values


@quick
@given(st.lists(st.binary()))
def test_bytes_arrive_as_they_were(connection: psycopg.Connection, values: list[bytes]) -> None:
    array = arrays.of_bytea(values)
    expected = [value.hex() for value in values]
    assert read_back(connection, b"bytea", array, b"encode(v, 'hex')") == expected


def test_arrays_are_parameters_of_any_statement(connection: psycopg.Connection) -> None:
    arrays.register(connection)
    given = (
        arrays.TextArray(["a", 'b"{,}\\', ""]),
        arrays.Int8Array([1, -(2**63)]),
        arrays.ByteaArray([b"", b"\0x"]),
    )
    for query in ("SELECT %s, %s, %s", "SELECT %b, %b, %b"):
        assert connection.execute(query, given).fetchone() == tuple(
            list(one.values) for one in given
        )
    empty = (arrays.TextArray([]), arrays.Int8Array([]), arrays.ByteaArray([]))
    assert connection.execute("SELECT %s, %s, %s", empty).fetchone() == ([], [], [])


def test_what_no_column_can_hold_is_refused() -> None:
    with pytest.raises(struct.error):
        arrays.of_int8([2**63])
    with pytest.raises(UnicodeEncodeError):
        arrays.of_text(["\ud800"])
