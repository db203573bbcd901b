from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import persistence.migrations
from persistence import MigrationDrift, PostgresSettings, StoreUnavailable
from persistence.postgres import Migration, known_migrations, migrate
from persistence.postgres.connection import connect, transaction
from persistence.postgres.migrate import plan

FIRST = Migration("0001_first.sql", "CREATE TABLE first (n int);")
SECOND = Migration("0002_second.sql", "CREATE TABLE second (n int); INSERT INTO second VALUES (1);")
THIRD = Migration("0003_third.sql", "CREATE TABLE third (n int);")
OBJECTS = Migration("storage/0001_objects.sql", "CREATE TABLE objects (n int);")
SHARES = Migration("storage/0002_shares.sql", "CREATE TABLE shares (n int);")
WALLETS = Migration("economy/0001_wallets.sql", "CREATE TABLE wallets (n int);")
SHIPPED = Path(*persistence.migrations.__path__)


@pytest.fixture
def empty(postgres_url: str, unique: str) -> PostgresSettings:
    return PostgresSettings(url=postgres_url, schema=unique)


def test_what_is_missing_is_applied_in_order_and_once(empty: PostgresSettings) -> None:
    assert migrate(empty, migrations=[FIRST]).applied == ["0001_first.sql"]
    assert migrate(empty, migrations=[FIRST, SECOND]).applied == ["0002_second.sql"]
    assert migrate(empty, migrations=[FIRST, SECOND]).applied == []
    with connect(empty) as connection, transaction(connection, empty):
        assert connection.execute("SELECT n FROM second").fetchall() == [(1,)]


def test_our_own_migrations_apply_to_an_empty_schema(empty: PostgresSettings) -> None:
    assert migrate(empty).applied == [migration.file for migration in known_migrations()]
    assert migrate(empty).applied == []


def test_no_two_of_our_migrations_have_one_number() -> None:
    services = sorted(path.parent.name for path in SHIPPED.glob("*/0001_*.sql"))
    groups: dict[str, list[int]] = {}
    for migration in known_migrations(services):
        service, _, name = migration.file.rpartition("/")
        groups.setdefault(service, []).append(int(name[:4]))
    assert list(groups) == ["", *services]
    for numbers in groups.values():
        assert numbers == list(range(1, len(numbers) + 1))


def test_a_file_that_changed_since_is_drift_and_names_it(empty: PostgresSettings) -> None:
    migrate(empty, migrations=[FIRST])
    changed = Migration(FIRST.file, FIRST.statements + " -- harmless?")
    with pytest.raises(MigrationDrift) as caught:
        migrate(empty, migrations=[changed, SECOND])
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
        migrate(empty, migrations=[FIRST, broken])
    with connect(empty) as connection:
        assert connection.execute(
            "SELECT to_regclass(%s)", (f"{empty.schema}.half",)
        ).fetchone() == (None,)
    assert migrate(empty, migrations=[FIRST, SECOND]).applied == ["0002_second.sql"]


def test_nodes_that_start_together_migrate_once(empty: PostgresSettings) -> None:
    with ThreadPoolExecutor(4) as pool:
        applied = list(pool.map(lambda _: migrate(empty, migrations=[FIRST, SECOND]), range(4)))
    assert sorted(file for done in applied for file in done.applied) == [FIRST.file, SECOND.file]


# --- services ------------------------------------------------------------------------------------


def tables(settings: PostgresSettings) -> set[str]:
    with connect(settings) as connection:
        rows = connection.execute(
            "SELECT tablename FROM pg_tables WHERE schemaname = %s", (settings.schema,)
        )
        return {name for (name,) in rows} - {"applied_migrations"}


def test_the_core_s_files_come_first_then_each_service_s_in_the_order_of_the_list(
    empty: PostgresSettings, tmp_path: Path
) -> None:
    for migration in (SECOND, FIRST, SHARES, OBJECTS, WALLETS):
        file = tmp_path / migration.file
        file.parent.mkdir(exist_ok=True)
        file.write_text(migration.statements, "utf-8")
    (tmp_path / "storage" / "README.md").touch()
    assert known_migrations(folder=tmp_path) == [FIRST, SECOND]
    services = ["storage", "chat", "economy"]  # chat has no tables
    found = known_migrations(services, tmp_path)
    assert found == [FIRST, SECOND, OBJECTS, SHARES, WALLETS]
    assert migrate(empty, services, migrations=found).applied == [one.file for one in found]
    assert migrate(empty, services, migrations=found) == ([], [])
    assert tables(empty) == {"first", "second", "objects", "shares", "wallets"}


def test_core_and_services_are_each_numbered_by_themselves(empty: PostgresSettings) -> None:
    both = ["storage", "economy"]
    migrate(empty, migrations=[FIRST, SECOND])
    assert migrate(empty, both, migrations=[FIRST, SECOND, OBJECTS]).applied == [OBJECTS.file]
    newer = [FIRST, SECOND, THIRD, OBJECTS, SHARES, WALLETS]
    assert migrate(empty, both, migrations=newer).applied == [
        THIRD.file,
        SHARES.file,
        WALLETS.file,
    ]


def test_a_service_taken_out_keeps_its_tables_and_goes_on_with_them_when_it_is_back(
    empty: PostgresSettings,
) -> None:
    with_it = [FIRST, OBJECTS]
    migrate(empty, ["storage"], migrations=with_it)
    assert migrate(empty, [], migrations=[FIRST]) == ([], ["storage"])
    assert migrate(empty, ["economy"], migrations=[FIRST, SECOND, WALLETS]) == (
        [SECOND.file, WALLETS.file],
        ["storage"],
    )
    assert "objects" in tables(empty)
    back = [FIRST, SECOND, OBJECTS, SHARES]
    assert migrate(empty, ["storage"], migrations=back) == ([SHARES.file], ["economy"])


def test_a_service_s_file_that_changed_is_drift_only_while_the_service_is_there(
    empty: PostgresSettings,
) -> None:
    migrate(empty, ["storage"], migrations=[FIRST, OBJECTS])
    changed = Migration(OBJECTS.file, OBJECTS.statements + " -- harmless?")
    with pytest.raises(MigrationDrift, match=r"^migration storage/0001_objects.sql: changed since"):
        migrate(empty, ["storage"], migrations=[FIRST, SECOND, changed])
    assert "second" not in tables(empty)
    assert migrate(empty, migrations=[FIRST, SECOND]).left_alone == ["storage"]


@pytest.mark.parametrize(
    ("ours", "applied", "why"),
    [
        ([FIRST, OBJECTS], [FIRST, OBJECTS, SHARES], "storage/0002_.*: .* has no such file"),
        ([FIRST], [FIRST, OBJECTS], "storage/0001_.*: .* has no such file"),
        ([FIRST, OBJECTS, SHARES], [FIRST, SHARES], "storage/0001_.*: not applied, though"),
        ([FIRST, OBJECTS], [FIRST, SECOND, OBJECTS], "^migration 0002_.*: .* has no such file"),
    ],
)
def test_a_listed_service_s_files_drift_as_the_core_s_do(
    ours: list[Migration], applied: list[Migration], why: str
) -> None:
    with pytest.raises(MigrationDrift, match=why):
        plan(ours, {one.file: one.checksum for one in applied}, ["storage"])


def test_nodes_with_different_services_that_start_together_migrate_once(
    empty: PostgresSettings,
) -> None:
    """That happens while a service is taken out of one node after the other."""
    nodes = [
        (["storage"], [FIRST, SECOND, OBJECTS, SHARES]),
        ([], [FIRST, SECOND]),
        (["economy", "storage"], [FIRST, SECOND, WALLETS, OBJECTS, SHARES]),
    ]
    with ThreadPoolExecutor(len(nodes)) as pool:
        done = list(pool.map(lambda node: migrate(empty, node[0], migrations=node[1]), nodes))
    everything = {one.file for _, migrations in nodes for one in migrations}
    assert sorted(file for one in done for file in one.applied) == sorted(everything)


def test_an_unreachable_database_is_one_line() -> None:
    with pytest.raises(StoreUnavailable) as caught:
        migrate(PostgresSettings(url="postgresql://u:secret@127.0.0.1:1/x"))
    assert "refused" in str(caught.value)
    assert "\n" not in str(caught.value)
