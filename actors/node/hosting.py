"""What services are started on: the stores that they need, and the frame that a node lends them."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from actors.audit_trail import AuditTrail
from actors.edge.topics import Topics
from actors.edge.warden import warden_kind
from actors.node.stores import NodeStores, StoreSettings
from actors.runtime.durability import DurabilitySettings
from actors.runtime.journal_settings import JournalSettings
from actors.runtime.read_budget import RecoverySettings
from actors.runtime.snapshots import SnapshotSettings
from actors.runtime.system import ActorSystem
from actors.service import Frame, Running, Service, ServiceSettings, scopes_of
from persistence import PostgresSettings, RedisSettings, ScheduleSettings
from persistence.commands import RECORD


class HostSettings(ServiceSettings, Protocol):
    """The sections of the configuration that the stores of services need."""

    @property
    def journal(self) -> JournalSettings: ...
    @property
    def snapshots(self) -> SnapshotSettings: ...
    @property
    def recovery(self) -> RecoverySettings: ...
    @property
    def schedules(self) -> ScheduleSettings: ...


def store_settings(
    settings: HostSettings,
    services: Sequence[Service],
    postgres: PostgresSettings,
    redis: RedisSettings,
) -> StoreSettings:
    """Return what `start_stores` needs to know.

    Arguments:
        settings: the sections of the configuration.
        services: the services whose commands and queries are to be run.
        postgres: the address of PostgreSQL, also of an embedded one.
        redis: the same of Redis or Valkey.
    """
    return StoreSettings(
        postgres=postgres,
        redis=redis,
        durability=DurabilitySettings(
            journal=settings.journal,
            snapshots=settings.snapshots,
            recovery=settings.recovery,
        ),
        schedules=settings.schedules,
        commands=[RECORD, *(kind for one in services for kind in one.commands(settings))],
        queries=[kind for one in services for kind in one.queries(settings)],
    )


def start_services(
    services: Sequence[Service],
    settings: HostSettings,
    *,
    folder: Path,
    system: ActorSystem,
    topics: Topics,
    stores: NodeStores,
) -> dict[str, Running]:
    """Start services, and return what runs, by name.

    Arguments:
        services: the services, in order.
        settings: the sections of the configuration.
        folder: the folder of the configuration.
        system: the system that the services' actors are to live in.
        topics: the hub of topics.
        stores: the stores, which have started.
    """
    # First, so that it stops last: what starts while the system stops tells it so.
    system.register(warden_kind(topics))
    frame = Frame(
        settings=settings,
        folder=folder,
        system=system,
        topics=topics,
        scopes=scopes_of(services),
        announced=frozenset(one for service in services for one in service.announces),
        events=stores.events,
        open_log=stores.open_log,
        facts=stores.facts,
        pushes=stores.pushes,
        keeping=stores.keeping,
        schedules=stores.schedules,
        counters=stores.counters,
        audit=AuditTrail(stores.facts, system.after),
        clock_ms=unix_ms,
    )
    return {service.name: service.start(frame) for service in services}


def unix_ms() -> int:
    """Return milliseconds since 1970, UTC."""
    return time.time_ns() // 1_000_000
