"""Bring the database up to date, or refuse to work with one that has gone another way."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from importlib import resources
from typing import NamedTuple

import psycopg

from persistence.errors import MigrationDrift
from persistence.postgres.connection import connect, qualified, transaction, unavailable
from persistence.settings import PostgresSettings

# Any number will do, as long as every node uses the same: ASCII "greenrm" read as an integer.
_LOCK = 0x677265656E726D
_FILE = re.compile(r"^(\d{4})_[a-z0-9_]+\.sql$")
_LEDGER = """
    CREATE TABLE IF NOT EXISTS applied_migrations (
        file text PRIMARY KEY,
        checksum text NOT NULL,
        applied_at timestamptz NOT NULL DEFAULT now()
    )
"""


class Migration(NamedTuple):
    """One numbered SQL file. `checksum` is the SHA-256 of its text with plain newlines."""

    file: str
    statements: str

    @property
    def checksum(self) -> str:
        return hashlib.sha256(self.statements.encode()).hexdigest()


def known_migrations() -> list[Migration]:
    """The migrations that this program brings, in order."""
    folder = resources.files("persistence.migrations")
    found = [
        # A checkout may have changed the line ends (git's autocrlf); that is no drift.
        Migration(file.name, file.read_text("utf-8").replace("\r\n", "\n"))
        for file in folder.iterdir()
        if _FILE.match(file.name)
    ]
    return sorted(found)


def migrate(settings: PostgresSettings, migrations: Sequence[Migration] | None = None) -> list[str]:
    """Apply what is missing, each file in a transaction of its own; returns their names.

    Safe to run from several nodes at once: each file is applied by one of them and the others wait.
    Raises `MigrationDrift` before anything is changed if an applied file has changed since, is
    not known (a newer Greenroom was here), or should have come before one that is applied already;
    `StoreUnavailable` if PostgreSQL is not there or refuses a statement.
    """
    ours = known_migrations() if migrations is None else list(migrations)
    done: list[str] = []
    try:
        with connect(settings) as connection:
            while (file := _apply_next(connection, settings, ours)) is not None:
                done.append(file)
    except psycopg.Error as error:
        raise unavailable(error) from None
    return done


def _apply_next(
    connection: psycopg.Connection, settings: PostgresSettings, ours: Sequence[Migration]
) -> str | None:
    """Apply the first that is missing, in a transaction of its own; None: none is.

    The lock is the transaction's: a pooler gives the next one to another session.
    """
    with transaction(connection, settings):
        connection.execute("SELECT pg_advisory_xact_lock(%s)", (_LOCK,))
        connection.execute(qualified(settings, "CREATE SCHEMA IF NOT EXISTS {schema}"))
        connection.execute(_LEDGER)
        missing = plan(ours, _applied(connection))
        if not missing:
            return None
        connection.execute(missing[0].statements.encode())
        connection.execute(
            "INSERT INTO applied_migrations (file, checksum) VALUES (%s, %s)",
            (missing[0].file, missing[0].checksum),
        )
        return missing[0].file


def _applied(connection: psycopg.Connection) -> dict[str, str]:
    rows = connection.execute("SELECT file, checksum FROM applied_migrations ORDER BY file")
    return dict(rows.fetchall())


def plan(ours: Sequence[Migration], applied: dict[str, str]) -> list[Migration]:
    """Which of `ours` are still to be applied, in order. Raises `MigrationDrift`."""
    known = {migration.file for migration in ours}
    for file in applied:
        if file not in known:
            raise MigrationDrift(
                file, "applied to this database, but this program has no such file"
            )
    newest = max(applied, default="")
    for migration in ours:
        if migration.file not in applied:
            if migration.file < newest:
                raise MigrationDrift(migration.file, f"not applied, though the later {newest} is")
        elif applied[migration.file] != migration.checksum:
            raise MigrationDrift(migration.file, "changed since it was applied to this database")
    return [migration for migration in ours if migration.file not in applied]
