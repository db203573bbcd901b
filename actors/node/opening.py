"""Opens what the configuration names: the stores, the schema's lease, the secrets of tokens."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import structlog

from actors.edge.settings import STORED_SECRET
from actors.node.config import Loaded
from actors.service import Service
from persistence import PostgresSettings, SchemaInUse, StoreUnavailable, postgres
from persistence.stores import Stores, open_stores

log = structlog.get_logger("actors.node.opening")


@contextmanager
def stores(loaded: Loaded, services: Sequence[Service], *, nodes: int = 1) -> Iterator[Stores]:
    """Open the stores that the configuration names, or embedded ones.

    Raises what `open_stores` raises; `StoreUnavailable` then names the section to look at.
    """
    settings = loaded.config
    folder = loaded.resolve(settings.server.data_dir)
    names = [service.name for service in services]
    try:
        with open_stores(
            folder, settings.postgres, settings.redis, settings.embedded, names, nodes=nodes
        ) as found:
            applied = found.migrated.applied
            for file in applied:
                log.debug("migration applied", file=file)
            if applied:
                log.info("migrated", files=len(applied), last=applied[-1])
            for service in found.migrated.left_alone:
                why = "the service is not in this server"
                log.info("tables are left alone", service=service, why=why)
            yield found
    except StoreUnavailable as error:
        section = {"postgresql": "postgres"}.get(error.store, error.store)
        if not getattr(settings, section).url:
            raise
        raise StoreUnavailable(error.store, f"{error.reason}; see [{section}] url") from error


@contextmanager
def leased(
    loaded: Loaded, found: Stores, *, exclusive: bool = False
) -> Iterator[postgres.SchemaLease | None]:
    """Take the lease of the schema; None: no other server can use it, or others are allowed.

    The servers of a cluster share the lease, if others can reach both stores.

    Arguments:
        loaded: the configuration.
        found: the stores.
        exclusive: others are refused, whatever [server] alone and cluster say.

    Raises:
        SchemaInUse: there is another server, and others are refused.
    """
    settings = loaded.config
    shared = settings.server.clustered and settings.redis.url and not exclusive
    holder = postgres.CLUSTER if shared else None
    if not settings.postgres.url:  # the lock on the data directory keeps other servers out
        yield None
        return
    binding = exclusive or settings.server.alone
    with postgres.SchemaLease(found.postgres, holder, binding=binding) as lease:
        try:
            lease.take()
        except SchemaInUse as error:
            if lease.binding:
                raise
            log.warning("not alone", holder=error.holder, schema=found.postgres.schema)
            yield None
            return
        try:
            yield lease
        finally:
            if not lease.lost:
                lease.release()


def token_secrets(named: Sequence[str], where: PostgresSettings) -> list[bytes]:
    """Return the secrets that sign tokens, as `SessionSettings.token_secrets` names them.

    Raises:
        StoreUnavailable: the secret that PostgreSQL keeps cannot be read.
    """
    return [
        postgres.get_or_create_secret(where, "session-tokens")
        if name == STORED_SECRET
        else name.encode()
        for name in named
    ]


def greetings(loaded: Loaded, services: Sequence[Service], where: PostgresSettings) -> list[str]:
    """Return the lines that a server prints when it starts, below its first line.

    Raises:
        StoreUnavailable: PostgreSQL does not answer.
    """
    if not loaded.config.api.enabled:
        return []
    return [line for service in services for line in service.greeting(where, loaded.config)]
