"""Both stores, wherever they are: started here or found at their URLs, and ready to be used."""

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
from persistence.redis import check
from persistence.settings import EmbeddedSettings, PostgresSettings, RedisSettings


class Stores(NamedTuple):
    """Where events and snapshots are. The settings have their URLs filled in."""

    postgres: PostgresSettings
    redis: RedisSettings
    embedded: EmbeddedServers | None
    """The servers of our own among them, if any."""
    migrated: Migrated
    """What was done to the database just now."""
    where: str
    """For people: a folder, or URLs without passwords."""


@contextmanager
def open_stores(
    data_dir: Path,
    postgres: PostgresSettings,
    redis: RedisSettings,
    embedded: EmbeddedSettings | None = None,
    services: Sequence[str] = (),
) -> Iterator[Stores]:
    """Start the stores without a URL, check that the others answer, bring the database up to date.

    Blocks, and stops in the end what it started. From the main thread, before trio runs.

    Arguments:
        data_dir: of the servers that are started.
        postgres: without a URL, PostgreSQL is started.
        redis: without a URL, Valkey is started.
        embedded: how patiently.
        services: the names of those whose tables are wanted, as `migrate` takes them.

    Raises:
        StoreUnavailable, DataDirLocked, EmbeddedStartFailed, MigrationDrift.
    """
    urls = {"postgresql": postgres.url, "redis": redis.url}
    where = [_public(store, url) for store, url in urls.items() if url]
    servers = None
    if not (postgres.url and redis.url):
        servers = EmbeddedServers(
            data_dir, redis=not redis.url, postgres=not postgres.url, settings=embedded
        )
        where.append(str(servers.data_dir))
    with servers or nullcontext():
        if servers is not None:
            replace = msgspec.structs.replace
            postgres = replace(postgres, url=postgres.url or servers.postgres_url)
            redis = replace(redis, url=redis.url or servers.redis_url)
        check(redis)
        migrated = migrate(postgres, services)
        yield Stores(postgres, redis, servers, migrated, " and ".join(where))


def _public(store: str, url: str) -> str:
    try:
        parts = urlsplit(url)
    except ValueError as error:
        raise StoreUnavailable(store, f"its url is none: {error}") from None
    if not parts.scheme:  # libpq's other form, key=value ..., in which the password is a key too
        return "PostgreSQL"
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
