"""The stores of a node: threads that own a connection each, and the objects that ask them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

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
from persistence.keeping import Keeping
from persistence.postgres import EventKeeper, EventReader, EventWriter, ReplicaLag, ReplicaWatch
from persistence.queries import QueryKind, QueryTable, QueryWorker
from persistence.redis import SnapshotWorker
from persistence.schedules import ScheduleStore, ScheduleWorker
from protocol.errors import RequestError

KIND: Final = "stores"
"""The stores' actors are `stores/writer` and so on."""
COMMAND_WORKERS: Final = 2
"""One worker waits for its commit while the other works."""
QUERY_WORKERS: Final = 1


@dataclass(frozen=True, kw_only=True)
class NodeStores:
    """What a node asks its stores by."""

    events: EventStore
    snapshots: SnapshotStore
    durability: Durability
    facts: Facts
    pushes: Pushes
    keeping: Keeping
    schedules: ScheduleStore
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
    postgres, replica = settings.postgres, settings.postgres.replica_url
    commands = CommandTable(settings.commands, refusals=(RequestError,))
    queries = QueryTable(settings.queries)
    pushes = Pushes()
    lag = ReplicaLag()
    makers: dict[str, Callable[[], Any]] = {
        "writer": partial(EventWriter, postgres),
        "reader": partial(EventReader, postgres),
        "keeper": partial(EventKeeper, postgres),
        "snapshots": partial(SnapshotWorker, settings.redis),
        "schedules": partial(ScheduleWorker, postgres, settings.schedules),
    }
    if replica:
        makers["replica"] = partial(EventReader, postgres, url=replica)
        makers["replica-queries"] = partial(QueryWorker, postgres, queries, url=replica)
        makers["replica-watch"] = partial(ReplicaWatch, postgres, lag)
    for name in _numbered("commands", COMMAND_WORKERS):
        makers[name] = partial(
            CommandWorker,
            postgres,
            commands,
            pushes.committed,
            schedules=settings.schedules,
            scheduled=bell.ring,
        )
    for name in _numbered("queries", QUERY_WORKERS):
        makers[name] = partial(QueryWorker, postgres, queries)
    specs = [ChildSpec(id=name, factory=make) for name, make in makers.items()]
    await system.supervise(specs, key=KIND).started()

    def ref(name: str) -> ActorRef:
        return system.ref(KIND, name)

    events = EventStore(
        ref("writer"),
        ref("reader"),
        ref("replica") if replica else None,
        fresh=lambda: lag.seconds() <= postgres.replica_lag_s,
    )
    snapshots = SnapshotStore(ref("snapshots"))
    return NodeStores(
        events=events,
        snapshots=snapshots,
        durability=system.use_stores(events, snapshots, settings.durability),
        facts=Facts(
            [ref(name) for name in _numbered("commands", COMMAND_WORKERS)],
            [ref(name) for name in _numbered("queries", QUERY_WORKERS)],
            replica=ref("replica-queries") if replica else None,
            lag_s=lag.seconds,
            replica_lag_s=postgres.replica_lag_s,
        ),
        pushes=pushes,
        keeping=Keeping(ref("keeper"), ref("snapshots")),
        schedules=ScheduleStore(ref("schedules"), settings.schedules, bell.ring),
        replica_lag=lag if replica else None,
    )


def _numbered(name: str, count: int) -> Sequence[str]:
    return [f"{name}-{number}" for number in range(count)]
