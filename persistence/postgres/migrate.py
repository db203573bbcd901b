"""Bring the database up to date, or refuse to work with one that has gone another way.

The core's files stand in persistence/migrations, a service's in a folder of its name there. Each of
these groups is numbered by itself: a service can be added to a database that has long been in use,
and taken out, which leaves its tables as they are.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from importlib import resources
from importlib.resources.abc import Traversable
from typing import NamedTuple

import psycopg

from persistence.errors import MigrationDrift
from persistence.postgres.connection import connect, qualified, transaction, unavailable
from persistence.settings import PostgresSettings

# Any number will do, as long as every node uses the same: ASCII "greenrm" read as an integer.
_LOCK = 0x677265656E726D
_FOLDER = resources.files("persistence.migrations")
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
    """Its name, as in the ledger: 0001_events.sql, or storage/0001_objects.sql of a service."""
    statements: str

    @property
    def checksum(self) -> str:
        return hashlib.sha256(self.statements.encode()).hexdigest()


class Plan(NamedTuple):
    """What is to be done to a database."""

    missing: list[Migration]
    """Still to be applied, in order."""
    left_alone: list[str]
    """Services that have been in this database and are none of this server's; their tables stay."""


class Migrated(NamedTuple):
    """What was done to a database."""

    applied: list[str]
    """The files that were applied just now."""
    left_alone: list[str]
    """As in `Plan`."""


def known_migrations(
    services: Sequence[str] = (), folder: Traversable = _FOLDER
) -> list[Migration]:
    """The migrations that this program brings: the core's, then those of each service.

    Arguments:
        services: their names, in the order in which they are applied to an empty database.
        folder: where the files are, for tests.
    """
    found = _files(folder)
    for service in services:
        if (of_service := folder / service).is_dir():
            found += _files(of_service, f"{service}/")
    return found


def _files(folder: Traversable, prefix: str = "") -> list[Migration]:
    return sorted(
        # A checkout may have changed the line ends (git's autocrlf); that is no drift.
        Migration(prefix + file.name, file.read_text("utf-8").replace("\r\n", "\n"))
        for file in folder.iterdir()
        if _FILE.match(file.name)
    )


def migrate(
    settings: PostgresSettings,
    services: Sequence[str] = (),
    *,
    migrations: Sequence[Migration] | None = None,
) -> Migrated:
    """Apply what is missing, each file in a transaction of its own.

    Safe to run from several nodes at once: each file is applied by one of them and the others wait.

    Arguments:
        settings: of the database.
        services: the names of those that are to have their tables, in order.
        migrations: instead of `known_migrations(services)`.

    Raises:
        MigrationDrift: before anything is changed: an applied file has changed since, is not known
            (a newer Greenroom was here), or should have come after one that is missing.
        StoreUnavailable: PostgreSQL is not there or refuses a statement.
    """
    ours = known_migrations(services) if migrations is None else migrations
    applied: list[str] = []
    try:
        with connect(settings) as connection:
            while (found := _apply_next(connection, settings, ours, services)).missing:
                applied.append(found.missing[0].file)
    except psycopg.Error as error:
        raise unavailable(error) from None
    return Migrated(applied, found.left_alone)


def _apply_next(
    connection: psycopg.Connection,
    settings: PostgresSettings,
    ours: Sequence[Migration],
    services: Sequence[str],
) -> Plan:
    """Apply the first that is missing, in a transaction of its own; returns what was to be done.

    The lock is the transaction's: a pooler gives the next one to another session.
    """
    with transaction(connection, settings):
        connection.execute("SELECT pg_advisory_xact_lock(%s)", (_LOCK,))
        connection.execute(qualified(settings, "CREATE SCHEMA IF NOT EXISTS {schema}"))
        connection.execute(_LEDGER)
        found = plan(ours, _applied(connection), services)
        for migration in found.missing[:1]:
            connection.execute(migration.statements.encode())
            connection.execute(
                "INSERT INTO applied_migrations (file, checksum) VALUES (%s, %s)",
                (migration.file, migration.checksum),
            )
        return found


def _applied(connection: psycopg.Connection) -> dict[str, str]:
    rows = connection.execute("SELECT file, checksum FROM applied_migrations ORDER BY file")
    return dict(rows.fetchall())


def plan(
    ours: Sequence[Migration], applied: Mapping[str, str], services: Sequence[str] = ()
) -> Plan:
    """Compare what there is with what was applied (file -> checksum). Raises `MigrationDrift`."""
    known = {migration.file for migration in ours}
    newest: dict[str, str] = {}  # of each group
    left_alone = set()
    for file in sorted(applied):
        service = _service(file)
        if service and service not in services:
            left_alone.add(service)
        elif file not in known:
            raise MigrationDrift(
                file, "applied to this database, but this program has no such file"
            )
        newest[service] = file
    missing = []
    for migration in ours:
        last = newest.get(_service(migration.file), "")
        if migration.file not in applied:
            if migration.file < last:
                raise MigrationDrift(migration.file, f"not applied, though the later {last} is")
            missing.append(migration)
        elif applied[migration.file] != migration.checksum:
            raise MigrationDrift(migration.file, "changed since it was applied to this database")
    return Plan(missing, sorted(left_alone))


def _service(file: str) -> str:
    """Whose it is; empty: the core's."""
    return file.rpartition("/")[0]
