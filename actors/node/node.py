"""One node: everything that one process runs in its loop, started in order, drained in reverse.

Stores first, then what needs them: services, the kinds of actors, the gateway last. On the way
out the gateway is the first to go, so that nothing new comes in, and the stores are the last, so
that everything that was done reaches them.
"""

from __future__ import annotations

import secrets
import socket
import ssl
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Protocol, TypeVar

import structlog
import trio

from actors.chat.history import KIND as HISTORY
from actors.chat.history import READERS, HistoryReader
from actors.chat.room import room_kind
from actors.chat.routes import ROUTES as ROOM_ROUTES
from actors.chat.settings import RoomSettings
from actors.edge.activations import Activations
from actors.edge.doorman import Doorman
from actors.edge.fanout import Fanout
from actors.edge.session import ROUTES as SESSION_ROUTES
from actors.edge.session import Context
from actors.edge.session_gateway import SessionGateway
from actors.edge.settings import SessionSettings
from actors.edge.tokens import Tokens
from actors.edge.topics import Topics
from actors.edge.warden import warden_kind
from actors.matches.directory import Wake, directory_kind
from actors.matches.host import MatchHost
from actors.matches.match_kind import match_kind
from actors.matches.messages import DIRECTORY
from actors.matches.routes import ROUTES as MATCH_ROUTES
from actors.matches.rules.game import Game
from actors.matches.settings import MatchSettings
from actors.node.files import fitting
from actors.node.garbage import Garbage
from actors.node.log_writer import LogWriter
from actors.node.metrics import Metrics
from actors.node.retention import Retention
from actors.node.scheduler import KIND as SCHEDULER
from actors.node.scheduler import Bell, ScheduleCounters, scheduler_spec
from actors.node.stopping import Stopping
from actors.runtime.child import ChildSpec
from actors.runtime.durability import Durability, DurabilitySettings
from actors.runtime.journal import unix_us
from actors.runtime.journal_settings import JournalSettings
from actors.runtime.read_budget import RecoverySettings
from actors.runtime.snapshots import SnapshotSettings
from actors.runtime.system import ActorSystem
from actors.runtime.watchdog import Watchdog
from persistence import (
    EventStore,
    PostgresSettings,
    RedisSettings,
    ScheduleSettings,
    SnapshotStore,
    StoreUnavailable,
)
from persistence.keeping import Keeping
from persistence.postgres import EventKeeper, EventReader, EventWriter, Lease
from persistence.postgres.lease import BEAT_S
from persistence.redis import SnapshotWorker
from persistence.schedules import ScheduleStore, ScheduleWorker
from protocol.flusher import Flusher
from protocol.gateway import Gateway
from protocol.gathering import Window
from protocol.http import Check, application, serve_http
from protocol.settings import HttpSettings, WireSettings

log = structlog.get_logger("actors.node")

T = TypeVar("T")
STORES = "stores"
"""Kind of the stores' actors."""
REVIVE_EVERY_S = 1.0
"""How often to look whether an embedded server has died."""


class Settings(Protocol):
    """The sections of the configuration that a node needs."""

    @property
    def wire(self) -> WireSettings: ...
    @property
    def http(self) -> HttpSettings: ...
    @property
    def journal(self) -> JournalSettings: ...
    @property
    def snapshots(self) -> SnapshotSettings: ...
    @property
    def recovery(self) -> RecoverySettings: ...
    @property
    def schedules(self) -> ScheduleSettings: ...
    @property
    def sessions(self) -> SessionSettings: ...

    def section(self, name: str, kind: type[T]) -> T:
        """Return the settings of a service."""


class Revivable(Protocol):
    """Servers of our own, which may have to be started again."""

    def revive(self) -> list[str]:
        """Start what has died; returns the names."""


@dataclass(frozen=True, kw_only=True)
class Node:
    """One node.

    Attributes:
        settings: the sections of the configuration.
        postgres, redis: where the stores are, embedded ones included.
        embedded: servers of our own; one that dies is started again.
        games: name -> class.
        token_secrets: the first signs tokens, all are accepted; the same for all nodes of a server.
        tls_context: serve clients TLS with it.
        files: how many the process may have open.
        about: what the HTTP index says of this server.
        log: what writes the log.
        lease: of the database, where other servers could work on it too.
    """

    settings: Settings
    postgres: PostgresSettings
    redis: RedisSettings
    embedded: Revivable | None
    games: Mapping[str, type[Game]]
    token_secrets: Sequence[bytes]
    tls_context: ssl.SSLContext | None
    files: int
    about: Mapping[str, str]
    log: LogWriter
    lease: Lease | None = None

    async def run(
        self,
        clients: Sequence[socket.socket],
        http: Sequence[socket.socket],
        started: Callable[[], None],
        stopping: Stopping,
    ) -> bool:
        """Serve until `stopping` is asked; drain; return when nothing needs the stores any more.

        Returns whether all was saved.

        Arguments:
            clients: listening sockets for clients; closed in the end.
            http: listening sockets for HTTP, the same; none: no HTTP.
            started: called once clients are served.
            stopping: when, and how patiently.
        """
        web_over = trio.Event()
        async with trio.open_nursery() as outer:
            await outer.start(stopping.listen)
            if self.lease is not None:
                outer.start_soon(_hold, self.lease, stopping)
            async with ActorSystem("node") as system:
                events, snapshots, durability = await self._start_stores(system)
                with Watchdog(system) as watchdog:
                    flusher = Flusher(Window(self.settings.wire.gather_s))
                    system.dispatcher.enclose(flusher)
                    topics = Topics(flusher.broadcast, Fanout(self.settings.sessions))
                    matches = self._register(system, topics, events)
                    schedules = self._start_scheduler(system)
                    wire = fitting(self.settings.wire, self.files)
                    doorman = Doorman(wire, self.settings.sessions)
                    sessions = SessionGateway(system, self._context(topics), _new_id, doorman)
                    gateway = Gateway(
                        sessions.accept,
                        wire,
                        tls_context=self.tls_context,
                        flusher=flusher,
                        door=doorman,
                        turn=system.dispatcher,
                    )
                    metrics = Metrics(
                        log=self.log,
                        system=system,
                        durability=durability,
                        watchdog=watchdog,
                        gateway=gateway,
                        sessions=sessions,
                        topics=topics,
                        matches=matches,
                        schedules=schedules,
                    )
                    web = application(
                        about=self.about,
                        checks={
                            "postgresql": _check(events.ping),
                            "redis": _check(snapshots.ping),
                            "node": _check_draining(stopping),
                        },
                        may_fail=self.settings.http.ready_without,
                        readings=metrics.readings,
                    )
                    if http:
                        # Outside of the system: /readyz says "draining" until all is done.
                        await outer.start(partial(serve_http, web, http, stop=web_over.wait))
                    with Garbage() as garbage:
                        await self._serve(gateway, garbage, clients, started, stopping)
                log.info("saving", actors=system.statistics().actors)
            web_over.set()
            outer.cancel_scope.cancel()
        return not durability.unsaved

    async def _serve(
        self,
        gateway: Gateway,
        garbage: Garbage,
        clients: Sequence[socket.socket],
        started: Callable[[], None],
        stopping: Stopping,
    ) -> None:
        async with trio.open_nursery() as serving:
            await serving.start(gateway.serve, clients)
            serving.start_soon(garbage.run)
            if self.embedded is not None:
                serving.start_soon(_keep_alive, self.embedded)
            started()
            await stopping.asked.wait()
            with stopping.hurry:
                await gateway.drain(stopping.drain_s)
            # Cancelled while connections are left, the gateway closes them at once.
            serving.cancel_scope.cancel()

    async def _start_stores(
        self, system: ActorSystem
    ) -> tuple[EventStore, SnapshotStore, Durability]:
        postgres, settings = self.postgres, self.settings
        replica = postgres.replica_url
        specs = [
            ChildSpec(id="writer", factory=partial(EventWriter, postgres)),
            ChildSpec(id="reader", factory=partial(EventReader, postgres)),
            ChildSpec(id="snapshots", factory=partial(SnapshotWorker, self.redis)),
            ChildSpec(
                id="schedules", factory=partial(ScheduleWorker, postgres, settings.schedules)
            ),
        ]
        rooms = settings.section("rooms", RoomSettings)
        if _forgets(rooms, settings.section("matches", MatchSettings)):
            specs.append(ChildSpec(id="keeper", factory=partial(EventKeeper, postgres)))
        if replica:
            specs.append(
                ChildSpec(id="replica", factory=partial(EventReader, postgres, url=replica))
            )
        await system.supervise(specs, key=STORES).started()
        events = EventStore(
            system.ref(STORES, "writer"),
            system.ref(STORES, "reader"),
            system.ref(STORES, "replica") if replica else None,
        )
        snapshots = SnapshotStore(system.ref(STORES, "snapshots"))
        durability = system.use_stores(
            events,
            snapshots,
            DurabilitySettings(
                journal=settings.journal,
                snapshots=settings.snapshots,
                recovery=settings.recovery,
            ),
        )
        return events, snapshots, durability

    def _register(self, system: ActorSystem, topics: Topics, events: EventStore) -> MatchHost:
        system.supervise(
            [
                ChildSpec(id=str(number), factory=partial(HistoryReader, events))
                for number in range(READERS)
            ],
            key=HISTORY,
        )
        rooms = self.settings.section("rooms", RoomSettings)
        of_matches = self.settings.section("matches", MatchSettings)
        if _forgets(rooms, of_matches):
            keeping = Keeping(system.ref(STORES, "keeper"))
            make = partial(Retention, keeping, rooms, of_matches, unix_us)
            system.supervise([ChildSpec(id="0", factory=make)], key="retention")
        matches = MatchHost(self.games, topics, of_matches)
        system.register(directory_kind(matches))
        system.register(warden_kind(topics))
        system.register(room_kind(topics, rooms, _unix_ms))
        system.register(match_kind(matches))
        system.ref(*DIRECTORY).tell(Wake())
        return matches

    def _start_scheduler(self, system: ActorSystem) -> ScheduleCounters:
        """After the kinds that it delivers to, so that it stops before them."""
        settings, bell, counters = self.settings.schedules, Bell(), ScheduleCounters()
        schedules = ScheduleStore(system.ref(STORES, "schedules"), settings, bell.ring)
        spec = scheduler_spec(schedules, settings, bell, counters)
        system.supervise([spec], key=SCHEDULER)
        return counters

    def _context(self, topics: Topics) -> Context:
        settings = self.settings
        return Context(
            settings=settings.sessions,
            topics=topics,
            tokens=Tokens(
                self.token_secrets, valid_s=settings.sessions.token_valid_s, clock=time.time
            ),
            clock_ms=_unix_ms,
            keepalive_s=settings.wire.keepalive_s,
            max_message_bytes=settings.wire.max_message_bytes,
            routes={**SESSION_ROUTES, **ROOM_ROUTES, **MATCH_ROUTES},
            activations=Activations(settings.sessions),
        )


def _forgets(rooms: RoomSettings, matches: MatchSettings) -> bool:
    """Whether there is history that is not kept for ever."""
    return rooms.forgets or bool(matches.log_s)


def _new_id() -> str:
    return secrets.token_urlsafe(12)


def _unix_ms() -> int:
    return time.time_ns() // 1_000_000


def _check(ping: Callable[[], Awaitable[None]]) -> Check:
    async def check() -> str | None:
        await ping()  # what it raises is what is wrong
        return None

    return check


def _check_draining(stopping: Stopping) -> Check:
    async def check() -> str | None:
        return "draining" if stopping.asked.is_set() else None

    return check


async def _hold(lease: Lease, stopping: Stopping) -> None:
    """Say all the time that this server lives, until another has taken its place: then stop it, or
    warn if it need not be alone.
    """
    while not lease.lost:
        beat = partial(lease.beat, draining=stopping.asked.is_set())
        try:
            # A store that is frozen must not keep the server from ending.
            await trio.to_thread.run_sync(beat, abandon_on_cancel=True)
        except StoreUnavailable as error:
            log.debug("lease not renewed", error=str(error))
        await trio.sleep(BEAT_S)
    why = "another server has taken this one's place"
    if lease.binding:
        stopping.ask(why)
    else:
        log.warning("not alone", why=why)


async def _keep_alive(embedded: Revivable) -> None:
    """Start embedded servers again that have died. In the main thread, as they need."""
    while True:
        await trio.sleep(REVIVE_EVERY_S)
        try:
            for name in embedded.revive():
                log.error("embedded server had died and was started again", server=name)
        except Exception as error:  # it is tried again; until then the stores are away
            log.error("embedded server cannot be started", error=str(error))
