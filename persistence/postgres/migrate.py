"""Brings the database up to date, or refuses a database that other files have changed.

The core's files are in persistence/migrations, a service's in a folder of its name there. Each of
these groups is numbered by itself, so a service can be added to a database that has long been in
use. A service that is taken out leaves its tables as they are.
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
    """The name in the ledger: 0001_events.sql, or for a service storage/0001_objects.sql."""
    statements: str

    @property
    def checksum(self) -> str:
        return hashlib.sha256(self.statements.encode()).hexdigest()


class MigrationPlan(NamedTuple):
    """The difference between a database and this server's migrations."""

    missing: list[Migration]
    """The migrations that are not applied yet, in order."""
    left_alone: list[str]
    """Services that have tables in this database but are not in this server; the tables stay."""


class Migrated(NamedTuple):
    """The result of `migrate`."""

    applied: list[str]
    """The files that were applied just now."""
    left_alone: list[str]
    """See `MigrationPlan`."""


def known_migrations(
    services: Sequence[str] = (), folder: Traversable = _FOLDER
) -> list[Migration]:
    """Return the migrations of this program: the core's, then those of each service.

    Arguments:
        services: the names of the services, in the order in which their migrations are applied.
        folder: the folder of the files, for tests.
    """
    found = _files(folder)
    for service in services:
        if (of_service := folder / service).is_dir():
            found += _files(of_service, f"{service}/")
    return found


def _files(folder: Traversable, prefix: str = "") -> list[Migration]:
    return sorted(
        # A checkout may have changed the line ends (git's autocrlf), which is no drift.
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
    """Apply the missing migrations, each in a transaction of its own.

    Several nodes may run it at once: one of them applies a file, and the others wait.

    Arguments:
        settings: the address of the database.
        services: the names of the server's services, in order.
        migrations: the migrations to apply in place of `known_migrations(services)`.

    Raises:
        MigrationDrift: an applied file has changed since, is not known (a newer Greenroom was
            here), or has a higher number than a missing one. Nothing was changed.
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
) -> MigrationPlan:
    """Apply the first missing migration, in a transaction; returns the plan from before that.

    The lock belongs to the transaction, not to the session, because a pooler may give the next
    transaction to another session.
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
) -> MigrationPlan:
    """Compare migrations with those `applied` (file -> checksum). Raises `MigrationDrift`."""
    known = {migration.file for migration in ours}
    newest: dict[str, str] = {}  # the highest number that is applied, of each group
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
    return MigrationPlan(missing, sorted(left_alone))


def _service(file: str) -> str:
    """Return the service of a file; empty: the core."""
    return file.rpartition("/")[0]
