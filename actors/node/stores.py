"""The stores of a node: threads that own a connection each, and the objects that ask them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, TypeAlias

from actors.facts import Facts, Pushes
from actors.node.scheduler import Bell
from actors.runtime.child import ChildSpec
from actors.runtime.durability import Durability, DurabilitySettings
from actors.runtime.ref import ActorRef
from actors.runtime.system import ActorSystem
from persistence import (
    EventStore,
    PostgresSettings,
    RedisSettings,
    ScheduleSettings,
    SnapshotStore,
    StoreUnavailable,
)
from persistence.commands import CommandKind, CommandTable, CommandWorker
from persistence.counters import Counters
from persistence.keeping import Keeping
from persistence.log import LogReader
from persistence.postgres import EventKeeper, EventReader, EventWriter, ReplicaLag, ReplicaWatch
from persistence.queries import QueryKind, QueryTable, QueryWorker
from persistence.redis import SnapshotWorker
from persistence.redis.counters import CounterWorker
from persistence.schedules import ScheduleStore, ScheduleWorker
from protocol.errors import RequestError

KIND: Final = "stores"
"""The stores' actors are `stores/writer` and so on."""
COMMAND_WORKERS: Final = ("commands-0", "commands-1")
"""One worker waits for its commit while the other works."""
QUERY_WORKERS: Final = ("queries-0",)

Threads: TypeAlias = dict[str, Callable[[], Any]]
"""The names of the threads' actors, and what makes each."""


@dataclass(frozen=True, kw_only=True)
class NodeStores:
    """What a node asks its stores by."""

    events: EventStore
    open_log: Callable[[], LogReader]
    snapshots: SnapshotStore
    durability: Durability
    facts: Facts
    pushes: Pushes
    keeping: Keeping
    schedules: ScheduleStore
    counters: Counters
    replica_lag: ReplicaLag | None
    """None: there is no replica."""

    async def ping_postgresql(self) -> None:
        """Return if all that asks PostgreSQL for clients is answered, and events are stored.

        Raises `StoreUnavailable`.
        """
        await self.events.ping()
        await self.facts.ping()
        failing = self.durability.journal.failing()
        if failing is not None:
            raise StoreUnavailable("postgresql", failing)


SAVING: Final = ("writer", "snapshots")
"""The threads that may still have something to save when the stores are stopped."""
UNHEARD_S: Final = 0.5
"""So long the others may take to stop. Whoever asked them has stopped before, and while PostgreSQL
stands still they would take all the time that a thread has by default."""


@dataclass(frozen=True, kw_only=True)
class StoreSettings:
    """The addresses of the stores and the settings of their use.

    Attributes:
        commands, queries: the kinds of commands and queries of all services.
    """

    postgres: PostgresSettings
    redis: RedisSettings
    durability: DurabilitySettings
    schedules: ScheduleSettings
    commands: Iterable[CommandKind]
    queries: Iterable[QueryKind]


async def start_stores(system: ActorSystem, settings: StoreSettings, bell: Bell) -> NodeStores:
    """Start the threads and wait for them.

    Arguments:
        system: the system that their actors run in.
        settings: the addresses of the stores and how they are used.
        bell: rung when a schedule is set or moved.
    """
    pushes, lag = Pushes(), ReplicaLag()
    replica = bool(settings.postgres.replica_url)
    queries = QueryTable(settings.queries)
    threads = _basic_threads(settings) | _service_threads(settings, queries, pushes, bell)
    if replica:
        threads |= _replica_threads(settings.postgres, queries, lag)
    specs = [
        ChildSpec(id=name, factory=factory, shutdown_s=None if name in SAVING else UNHEARD_S)
        for name, factory in threads.items()
    ]
    await system.supervise(specs, key=KIND, stops_together=True).started()

    ref = partial(system.ref, KIND)
    events = _event_store(ref, settings.postgres, lag)
    snapshots = SnapshotStore(ref("snapshots"))
    return NodeStores(
        events=events,
        open_log=partial(LogReader, settings.postgres),
        snapshots=snapshots,
        durability=system.use_stores(events, snapshots, settings.durability),
        facts=_facts(ref, settings.postgres, lag),
        pushes=pushes,
        keeping=Keeping(ref("keeper"), ref("snapshots")),
        schedules=ScheduleStore(ref("schedules"), settings.schedules, bell.ring),
        counters=Counters(ref("counters"), system.now),
        replica_lag=lag if replica else None,
    )


async def start_facts(
    system: ActorSystem,
    postgres: PostgresSettings,
    commands: Iterable[CommandKind],
    queries: Iterable[QueryKind],
) -> Facts:
    """Start what runs commands and queries alone, for a tool of the command line."""
    table = CommandTable(commands, refusals=(RequestError,))
    threads: Threads = {
        "commands": partial(CommandWorker, postgres, table),
        "queries": partial(QueryWorker, postgres, QueryTable(queries)),
    }
    specs = [ChildSpec(id=name, factory=factory) for name, factory in threads.items()]
    await system.supervise(specs, key=KIND, stops_together=True).started()
    return Facts([system.ref(KIND, "commands")], [system.ref(KIND, "queries")])


# --- the threads ---------------------------------------------------------------------------------


def _basic_threads(settings: StoreSettings) -> Threads:
    """The threads that every node has, whatever its services."""
    postgres, redis = settings.postgres, settings.redis
    return {
        "writer": partial(EventWriter, postgres),
        "reader": partial(EventReader, postgres),
        "keeper": partial(EventKeeper, postgres),
        "snapshots": partial(SnapshotWorker, redis),
        "counters": partial(CounterWorker, redis),
        "schedules": partial(ScheduleWorker, postgres, settings.schedules),
    }


def _service_threads(
    settings: StoreSettings, queries: QueryTable, pushes: Pushes, bell: Bell
) -> Threads:
    """The threads that run the services' commands and queries."""
    commands = CommandTable(settings.commands, refusals=(RequestError,))
    command_worker = partial(
        CommandWorker,
        settings.postgres,
        commands,
        pushes.committed,
        schedules=settings.schedules,
        scheduled=bell.ring,
    )
    query_worker = partial(QueryWorker, settings.postgres, queries)
    return dict.fromkeys(COMMAND_WORKERS, command_worker) | dict.fromkeys(
        QUERY_WORKERS, query_worker
    )


def _replica_threads(postgres: PostgresSettings, queries: QueryTable, lag: ReplicaLag) -> Threads:
    """The threads that read from a replica, and the one that watches how far it is behind."""
    url = postgres.replica_url
    return {
        "replica": partial(EventReader, postgres, url=url),
        "replica-queries": partial(QueryWorker, postgres, queries, url=url),
        "replica-watch": partial(ReplicaWatch, postgres, lag),
    }


# --- what asks them ------------------------------------------------------------------------------


def _event_store(
    ref: Callable[[str], ActorRef], postgres: PostgresSettings, lag: ReplicaLag
) -> EventStore:
    return EventStore(
        ref("writer"),
        ref("reader"),
        ref("replica") if postgres.replica_url else None,
        fresh=lambda: lag.seconds() <= postgres.replica_lag_s,
    )


def _facts(ref: Callable[[str], ActorRef], postgres: PostgresSettings, lag: ReplicaLag) -> Facts:
    return Facts(
        [ref(name) for name in COMMAND_WORKERS],
        [ref(name) for name in QUERY_WORKERS],
        replica=ref("replica-queries") if postgres.replica_url else None,
        lag_s=lag.seconds,
        replica_lag_s=postgres.replica_lag_s,
    )
