"""Events in PostgreSQL, snapshots in Redis or Valkey, and both as embedded servers.

The package knows neither the runtime nor the wire. This module has the names that need no database
driver. The others are in `persistence.postgres` (EventWriter, EventReader, migrate,
get_or_create_secret), `persistence.redis` (SnapshotWorker, check) and `persistence.embedded`
(EmbeddedServers).
"""

from persistence.errors import (
    CommandExpired,
    DataDirLocked,
    EmbeddedStartFailed,
    KeyReused,
    MigrationDrift,
    QueryExpired,
    Replaced,
    RowRefused,
    SchemaInUse,
    StoreError,
    StoreInboxFull,
    StoresDiffer,
    StoreUnavailable,
    TooManySchedules,
)
from persistence.events import EventStore
from persistence.rows import EventRow, SnapshotRow
from persistence.settings import (
    EmbeddedSettings,
    PostgresSettings,
    RedisSettings,
    ScheduleSettings,
)
from persistence.snapshots import SnapshotStore

__all__ = [
    "CommandExpired",
    "DataDirLocked",
    "EmbeddedSettings",
    "EmbeddedStartFailed",
    "EventRow",
    "EventStore",
    "KeyReused",
    "MigrationDrift",
    "PostgresSettings",
    "QueryExpired",
    "RedisSettings",
    "Replaced",
    "RowRefused",
    "ScheduleSettings",
    "SchemaInUse",
    "SnapshotRow",
    "SnapshotStore",
    "StoreError",
    "StoreInboxFull",
    "StoreUnavailable",
    "StoresDiffer",
    "TooManySchedules",
]
