"""Opens both stores, at their URLs or as embedded servers, and brings the database up to date."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

import msgspec

from persistence.embedded import EmbeddedServers
from persistence.errors import StoreUnavailable
from persistence.postgres import Migrated, migrate
from persistence.redis import check_redis
from persistence.settings import EmbeddedSettings, PostgresSettings, RedisSettings


class Stores(NamedTuple):
    """The stores of events and snapshots.

    The settings have the URLs of embedded servers filled in.
    """

    postgres: PostgresSettings
    redis: RedisSettings
    embedded: EmbeddedServers | None
    """The embedded servers, if there are any."""
    migrated: Migrated
    """The migrations that were applied just now."""
    where: str
    """Where the stores are, for people: a folder, or URLs without passwords."""


@contextmanager
def open_stores(
    data_dir: Path,
    postgres: PostgresSettings,
    redis: RedisSettings,
    embedded: EmbeddedSettings | None = None,
    services: Sequence[str] = (),
    *,
    nodes: int = 1,
) -> Iterator[Stores]:
    """Open the stores: start those without a URL, check that the others answer, and migrate the
    database.

    It blocks, and is called in the main thread before trio runs. At the end of the block it stops
    the servers that it started.

    Arguments:
        data_dir: the data directory of embedded servers.
        postgres: the settings of PostgreSQL. Without a URL, an embedded one is started.
        redis: the settings of Valkey or Redis, likewise.
        embedded: the settings of embedded servers.
        services: the names of the services whose tables are needed, as for `migrate`.
        nodes: how many nodes will use the stores.

    Raises:
        StoreUnavailable: a store does not answer.
        DataDirLocked: another process uses the data directory.
        EmbeddedStartFailed: an embedded server does not start.
        MigrationDrift: the database does not fit the migration files.
    """
    urls = {"postgresql": postgres.url, "redis": redis.url}
    where = [_public(store, url) for store, url in urls.items() if url]
    servers = None
    if not (postgres.url and redis.url):
        servers = EmbeddedServers(
            data_dir,
            redis=not redis.url,
            postgres=not postgres.url,
            settings=embedded,
            nodes=nodes,
        )
        where.append(str(servers.data_dir))
    with servers or nullcontext():
        if servers is not None:
            replace = msgspec.structs.replace
            postgres = replace(postgres, url=postgres.url or servers.postgres_url)
            redis = replace(redis, url=redis.url or servers.redis_url)
        check_redis(redis)
        migrated = migrate(postgres, services)
        yield Stores(postgres, redis, servers, migrated, " and ".join(where))


def _public(store: str, url: str) -> str:
    try:
        parts = urlsplit(url)
    except ValueError as error:
        raise StoreUnavailable(store, f"its url is not valid: {error}") from None
    if not parts.scheme:  # libpq's other form, key=value ..., which may hold a password
        return "PostgreSQL"
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
