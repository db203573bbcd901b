"""PostgreSQL: threads that own a connection each, migrations, the lease, shared secrets."""

from persistence.postgres.address import address_problem
from persistence.postgres.keeper import EventKeeper
from persistence.postgres.lease import CLUSTER, SchemaLease
from persistence.postgres.migrate import Migrated, Migration, known_migrations, migrate
from persistence.postgres.reader import EventReader
from persistence.postgres.replica import ReplicaLag, ReplicaWatch
from persistence.postgres.secrets import get_or_create_secret
from persistence.postgres.writer import EventWriter

__all__ = [
    "CLUSTER",
    "EventKeeper",
    "EventReader",
    "EventWriter",
    "Migrated",
    "Migration",
    "ReplicaLag",
    "ReplicaWatch",
    "SchemaLease",
    "address_problem",
    "get_or_create_secret",
    "known_migrations",
    "migrate",
]
