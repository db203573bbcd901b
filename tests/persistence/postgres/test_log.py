from __future__ import annotations

import secrets
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from persistence import PostgresSettings
from persistence.log import LogPosition, LogReader
from persistence.postgres import Migration, known_migrations, migrate
from persistence.postgres.connection import connect


@pytest.fixture
def settings(postgres_url: str, unique: str) -> PostgresSettings:
    settings = PostgresSettings(url=postgres_url, schema=unique)
    migrate(settings)
    return settings


def write(connection: psycopg.Connection[Any], schema: str, key: str, seq: int) -> None:
    connection.execute(
        f"INSERT INTO {schema}.events (kind, key, seq, epoch, type, payload, at_us)"
        " VALUES ('k', %s, %s, 1, 't', '', 0)",
        (key, seq),
    )


def read_all(
    reader: LogReader, after: LogPosition, limit: int = 1000
) -> tuple[list[str], LogPosition]:
    """Return the names of the events after a position, read page by page."""
    found: list[str] = []
    while True:
        page = reader.read(after, limit)
        if not page.events:
            return found, after
        assert len(page.events) <= limit
        found += [f"{row[1]}{row[2]}" for row in page.events]
        after = page.position


def test_what_commits_late_is_not_skipped(settings: PostgresSettings) -> None:
    """Two transactions overlap, and the one that began first ends last."""
    reader = LogReader(settings)
    with connect(settings) as slow, connect(settings) as quick, connect(settings) as last:
        slow.autocommit = False
        write(slow, settings.schema, "slow", 1)
        write(quick, settings.schema, "quick", 1)
        early, position = read_all(reader, LogPosition())
        assert early == []
        naive = (
            f"SELECT key, transaction::text FROM {settings.schema}.events"
            " WHERE transaction > %s::text::xid8"
        )
        ((key, seen),) = last.execute(naive, ("0",)).fetchall()
        assert key == "quick"
        slow.commit()
        write(last, settings.schema, "last", 1)
        late, position = read_all(reader, position)
        assert late == ["slow1", "quick1", "last1"]
        missed = last.execute(naive, (seen,)).fetchall()
        assert [key for key, _ in missed] == ["last"], "a cursor without a horizon never sees slow"
        assert read_all(reader, position) == ([], position)
    reader.close()


@pytest.mark.parametrize("limit", [0, -1])
def test_a_page_of_nothing_is_refused_as_it_would_look_like_the_end(
    settings: PostgresSettings, limit: int
) -> None:
    reader = LogReader(settings)
    with pytest.raises(ValueError, match="limit: at least 1"):
        reader.read(limit=limit)
    reader.close()


def test_what_is_rolled_back_is_never_seen(settings: PostgresSettings) -> None:
    reader = LogReader(settings)
    with connect(settings) as one, connect(settings) as other:
        one.autocommit = False
        write(one, settings.schema, "gone", 1)
        write(other, settings.schema, "there", 1)
        one.rollback()
        assert read_all(reader, LogPosition())[0] == ["there1"]
    reader.close()


@hypothesis_settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.lists(st.tuples(st.integers(0, 3), st.sampled_from("wcrR")), max_size=40))
def test_each_event_is_read_once_in_whatever_order_transactions_end(
    settings: PostgresSettings, steps: list[tuple[int, str]]
) -> None:
    """Four connections write, commit and roll back; a reader looks in between."""
    reader = LogReader(settings)
    _, position = read_all(reader, LogPosition())  # of the examples before
    connections = [connect(settings) for _ in range(4)]
    pending: list[list[str]] = [[] for _ in connections]
    committed: list[str] = []
    seen: list[str] = []
    example, count = secrets.token_hex(8), 0
    try:
        for connection in connections:
            connection.autocommit = False
        for place, step in steps:
            connection, mine = connections[place], pending[place]
            if step == "w":
                count += 1
                write(connection, settings.schema, example, count)
                mine.append(f"{example}{count}")
            elif step == "c":
                connection.commit()
                committed += mine
                mine.clear()
            elif step == "r":
                connection.rollback()
                mine.clear()
            else:
                found, position = read_all(reader, position, limit=3)
                seen += found
        for connection in connections:
            connection.rollback()
        found, position = read_all(reader, position, limit=3)
        seen += found
    finally:
        for connection in connections:
            connection.close()
        reader.close()
    assert sorted(seen) == sorted(committed)


def test_what_was_written_before_events_had_a_position_stands_first(
    postgres_url: str, unique: str
) -> None:
    settings = PostgresSettings(url=postgres_url, schema=unique)
    all_of_them: list[Migration] = known_migrations()
    (number,) = [n for n, one in enumerate(all_of_them) if one.file == "0007_log_position.sql"]
    migrate(settings, migrations=all_of_them[:number])
    with connect(settings) as connection:
        for seq in (2, 1, 3):
            write(connection, settings.schema, "old", seq)
        migrate(settings)
        write(connection, settings.schema, "new", 1)
    reader = LogReader(settings)
    for limit in (1, 2, 1000):
        assert read_all(reader, LogPosition(), limit)[0] == ["old1", "old2", "old3", "new1"]
    reader.close()
