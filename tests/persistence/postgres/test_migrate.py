from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from persistence import MigrationDrift, PostgresSettings, StoreUnavailable
from persistence.postgres import Migration, known_migrations, migrate
from persistence.postgres.connection import connect, transaction
from persistence.postgres.migrate import plan

FIRST = Migration("0001_first.sql", "CREATE TABLE first (n int);")
SECOND = Migration("0002_second.sql", "CREATE TABLE second (n int); INSERT INTO second VALUES (1);")


@pytest.fixture
def empty(postgres_url: str, unique: str) -> PostgresSettings:
    return PostgresSettings(url=postgres_url, schema=unique)


def test_what_is_missing_is_applied_in_order_and_once(empty: PostgresSettings) -> None:
    assert migrate(empty, [FIRST]) == ["0001_first.sql"]
    assert migrate(empty, [FIRST, SECOND]) == ["0002_second.sql"]
    assert migrate(empty, [FIRST, SECOND]) == []
    with connect(empty) as connection, transaction(connection, empty):
        assert connection.execute("SELECT n FROM second").fetchall() == [(1,)]


def test_our_own_migrations_apply_to_an_empty_schema(empty: PostgresSettings) -> None:
    assert migrate(empty) == [migration.file for migration in known_migrations()]
    assert migrate(empty) == []


def test_no_two_of_our_migrations_have_one_number() -> None:
    numbers = [int(migration.file[:4]) for migration in known_migrations()]
    assert numbers == list(range(1, len(numbers) + 1))


def test_a_file_that_changed_since_is_drift_and_names_it(empty: PostgresSettings) -> None:
    migrate(empty, [FIRST])
    changed = Migration(FIRST.file, FIRST.statements + " -- harmless?")
    with pytest.raises(MigrationDrift) as caught:
        migrate(empty, [changed, SECOND])
    assert caught.value.file == "0001_first.sql"
    assert str(caught.value) == (
        "migration 0001_first.sql: changed since it was applied to this database"
    )
    with connect(empty) as connection:
        assert connection.execute(
            "SELECT to_regclass(%s)", (f"{empty.schema}.second",)
        ).fetchone() == (None,)


def test_a_database_from_a_newer_program_is_drift() -> None:
    with pytest.raises(MigrationDrift, match=r"0002_second.sql: .* this program has no such file"):
        plan([FIRST], {FIRST.file: FIRST.checksum, SECOND.file: SECOND.checksum})


def test_a_file_that_comes_too_late_is_drift() -> None:
    with pytest.raises(MigrationDrift, match=r"0001_first.sql: not applied, though the later"):
        plan([FIRST, SECOND], {SECOND.file: SECOND.checksum})


def test_a_migration_that_fails_leaves_nothing_of_itself(empty: PostgresSettings) -> None:
    broken = Migration("0002_broken.sql", "CREATE TABLE half (n int); SELECT nonsense;")
    with pytest.raises(StoreUnavailable, match='column "nonsense" does not exist'):
        migrate(empty, [FIRST, broken])
    with connect(empty) as connection:
        assert connection.execute(
            "SELECT to_regclass(%s)", (f"{empty.schema}.half",)
        ).fetchone() == (None,)
    assert migrate(empty, [FIRST, SECOND]) == ["0002_second.sql"]


def test_nodes_that_start_together_migrate_once(empty: PostgresSettings) -> None:
    with ThreadPoolExecutor(4) as pool:
        applied = list(pool.map(lambda _: migrate(empty, [FIRST, SECOND]), range(4)))
    assert sorted(file for files in applied for file in files) == [FIRST.file, SECOND.file]


def test_an_unreachable_database_is_one_line() -> None:
    with pytest.raises(StoreUnavailable) as caught:
        migrate(PostgresSettings(url="postgresql://u:secret@127.0.0.1:1/x"))
    assert "refused" in str(caught.value)
    assert "\n" not in str(caught.value)
