"""One node: everything that one process runs in its loop, started in order, drained in reverse.

The stores start first, then the services, the scheduler, and last the gateway. The gateway stops
first, so that nothing new comes in. The stores stop last, so that they get everything.
"""

from __future__ import annotations

import secrets
import socket
import ssl
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final, NamedTuple, Protocol

import structlog
import trio
from starlette.applications import Starlette
from starlette.routing import Mount

from actors.cluster.joining import Joining
from actors.cluster.membership import LEFT
from actors.cluster.rules.view import Descriptor
from actors.cluster.settings import MembershipSettings
from actors.edge.access import Access
from actors.edge.activations import Activations
from actors.edge.doorman import Doorman
from actors.edge.fanout import Fanout
from actors.edge.outcome import OnOutcome, all_of
from actors.edge.routes import AskService, CallRoute, OnlyFor, Route
from actors.edge.session import KIND as SESSION
from actors.edge.session import ROUTES as SESSION_ROUTES
from actors.edge.session import Context
from actors.edge.session_gateway import SessionGateway
from actors.edge.settings import SessionSettings
from actors.edge.tokens import Tokens
from actors.edge.topics import Topics
from actors.node.clustering import ClusterNode, join
from actors.node.files import fitting
from actors.node.garbage import Garbage
from actors.node.hosting import HostSettings, start_services, store_settings, unix_ms
from actors.node.line import ParentLine, Pulse
from actors.node.log_writer import LogWriter
from actors.node.metrics import Metrics
from actors.node.scheduler import KIND as SCHEDULER
from actors.node.scheduler import Bell, ScheduleCounters, scheduler_spec
from actors.node.stopping import Stopping
from actors.node.stores import NodeStores, start_stores
from actors.node.upkeep import Revivable, hold_lease, keep_alive
from actors.node.web_api import WebApi, open_api
from actors.runtime.system import ActorSystem
from actors.runtime.watchdog import Watchdog
from actors.service import Running, Service
from persistence import PostgresSettings, RedisSettings
from persistence.postgres import SchemaLease
from persistence.settings import BusSettings
from protocol.http.api_server import ApiServer
from protocol.http.api_settings import ApiSettings
from protocol.http.application import Check, Readiness, application, readiness, serve_http
from protocol.http.pages import Pages
from protocol.messages import session as session_messages
from protocol.messages.envelope import Request
from protocol.messages.op_table import OpTable
from protocol.messages.session import Ping
from protocol.roles import ANYONE, PLAYER, STAFF
from protocol.server.flusher import Flusher
from protocol.server.gateway import Gateway
from protocol.server.gathering import Window
from protocol.server.listener import BACKLOG
from protocol.server.settings import HttpSettings, WireSettings

log = structlog.get_logger("actors.node")

LABELS: Final = "labels"
"""The check that all kinds have nodes to be on. Without it a server is degraded, not unready."""


class NodeSettings(HostSettings, Protocol):
    """The sections of the configuration that a node needs beside those of its services."""

    @property
    def wire(self) -> WireSettings: ...
    @property
    def http(self) -> HttpSettings: ...
    @property
    def api(self) -> ApiSettings: ...
    @property
    def sessions(self) -> SessionSettings: ...
    @property
    def cluster(self) -> MembershipSettings: ...
    @property
    def bus(self) -> BusSettings: ...


class NodeParts(NamedTuple):
    """What a node runs on its stores."""

    topics: Topics
    gateway: Gateway
    api_server: ApiServer
    web: Starlette
    ready: Callable[[], Awaitable[Readiness]]


class Entrances(NamedTuple):
    """What a node serves on, and with what."""

    gateway: Gateway
    clients: Sequence[socket.socket]
    api_server: ApiServer
    api: Sequence[socket.socket]


@dataclass(frozen=True, kw_only=True)
class ServerNode:
    """One node.

    Attributes:
        services: the services that it runs beside sessions.
        settings: the sections of the configuration.
        folder: the folder of the configuration.
        postgres, redis: the addresses of the stores, embedded ones included.
        embedded: the embedded servers, if any; one that dies is started again.
        token_secrets: the first signs tokens, all are accepted; the same for all nodes of a server.
        tls_context: the certificate for clients; None: no TLS.
        api_tls_context: the same for the HTTP API.
        files: how many files the process may have open.
        name: the node's in its cluster; "": it is in none.
        labels: what it is for in its cluster.
        about: names and values that the HTTP index shows.
        pages: the web pages that HTTP serves, if any.
        log: the writer of the log.
        lease: the lease of the database's schema; None: no other server can use the schema.
        parent: the line to the parent, if there is one. It owns stores and lease then.
    """

    services: Sequence[Service]
    settings: NodeSettings
    folder: Path
    postgres: PostgresSettings
    redis: RedisSettings
    embedded: Revivable | None
    token_secrets: Sequence[bytes]
    tls_context: ssl.SSLContext | None
    api_tls_context: ssl.SSLContext | None
    files: int
    name: str
    about: Mapping[str, str]
    log: LogWriter
    labels: Sequence[str] = ()
    pages: Pages | None = None
    lease: SchemaLease | None = None
    parent: ParentLine | None = None

    async def run(
        self,
        clients: Sequence[socket.socket],
        http: Sequence[socket.socket],
        api: Sequence[socket.socket],
        started: Callable[[], None],
        stopping: Stopping,
    ) -> bool:
        """Serve until `stopping` is asked, then drain; returns whether everything was saved.

        The stores are not needed any more when it returns.

        Arguments:
            clients: sockets for clients, which need not listen before. They are closed in the end.
            http: listening sockets for HTTP, closed in the end as well; none: no HTTP.
            api: sockets for the HTTP API, which need not listen before; none: no API.
            started: called once clients are served.
            stopping: says when to stop, and how long a drain may take.
        """
        web_over = trio.Event()
        async with trio.open_nursery() as outer:
            await outer.start(stopping.listen)
            if self.lease is not None:
                outer.start_soon(hold_lease, self.lease, stopping)
            async with ActorSystem("node") as system:
                node = await self._join(system)
                bell = Bell()
                stores = await start_stores(
                    system,
                    store_settings(self.settings, self.services, self.postgres, self.redis),
                    bell,
                )
                with Watchdog(system) as watchdog:
                    parts = self._start_parts(
                        system, node, stores, bell, watchdog=watchdog, stopping=stopping
                    )
                    if self.parent is not None:
                        pulse = partial(_pulse, system, parts.gateway, parts.topics, node)
                        outer.start_soon(self.parent.run, pulse, parts.ready, stopping.ask)
                    if http:
                        # HTTP outlives the system, so that /readyz says "draining" to the end.
                        await outer.start(partial(serve_http, parts.web, http, stop=web_over.wait))
                    with Garbage() as garbage:
                        entrances = Entrances(parts.gateway, clients, parts.api_server, api)
                        await self._serve(entrances, garbage, started, stopping, node=node)
                log.info("saving", actors=system.statistics().actors)
            web_over.set()
            outer.cancel_scope.cancel()
        if node is not None and node.membership.ended != LEFT:
            log.error("not left in order", why=node.membership.ended)
            return False
        return not stores.durability.unsaved

    async def _join(self, system: ActorSystem) -> ClusterNode | None:
        """Join the cluster, if this node is of one."""
        if not self.name:
            return None
        descriptor = Descriptor(
            name=self.name,
            release=self.about.get("version", ""),
            kinds=tuple(kind for service in self.services for kind in service.kinds),
            labels=tuple(self.labels),
            kept=self.settings.cluster.kept,
            pools=(),  # nothing is to be brought here before the services run
        )
        settings = self.settings
        joining = Joining(descriptor, self.redis, self.postgres, settings.cluster)
        return await join(system, joining, self.redis, settings.bus)

    def _start_parts(
        self,
        system: ActorSystem,
        node: ClusterNode | None,
        stores: NodeStores,
        bell: Bell,
        *,
        watchdog: Watchdog,
        stopping: Stopping,
    ) -> NodeParts:
        """Start the services and the scheduler, and make what clients will be served by."""
        flusher = Flusher(Window(self.settings.wire.gather_s))
        system.dispatcher.enclose(flusher)
        hubs = None if node is None else node.hubs
        topics = Topics(flusher.broadcast, Fanout(self.settings.sessions), hubs)
        services = start_services(
            self.services,
            self.settings,
            folder=self.folder,
            system=system,
            topics=topics,
            stores=stores,
        )
        if node is not None:
            node.connect(system, topics, services.values(), stopping)
        schedules = self._start_scheduler(system, stores, bell)
        sessions, gateway, web_api = self._edge(system, topics, flusher, services)
        if node is not None:
            node.cluster.admit_starts(sessions.activations.admit_visitor)
        metrics = Metrics(
            log=self.log,
            system=system,
            durability=stores.durability,
            stores=stores,
            watchdog=watchdog,
            gateway=gateway,
            sessions=sessions,
            api=web_api,
            topics=topics,
            services=tuple(services.values()),
            kinds=(SESSION, *(kind for one in self.services for kind in one.kinds)),
            schedules=schedules,
            cluster=node,
        )
        checks = _checks(stores, services, stopping, node)
        ready = partial(readiness, checks, {*self.settings.http.ready_without, LABELS})
        web = self._web(services, metrics, ready)
        return NodeParts(topics, gateway, web_api.server, web, ready)

    async def _serve(
        self,
        doors: Entrances,
        garbage: Garbage,
        started: Callable[[], None],
        stopping: Stopping,
        *,
        node: ClusterNode | None,
    ) -> None:
        async with trio.open_nursery() as serving:
            # Of several nodes on one port, each begins when it is ready.
            for listener in (*doors.clients, *doors.api):
                listener.listen(BACKLOG)
            await serving.start(doors.gateway.serve, doors.clients)
            await serving.start(doors.api_server.serve, doors.api)
            serving.start_soon(garbage.run)
            if self.embedded is not None:
                serving.start_soon(keep_alive, self.embedded)
            if node is not None:
                serving.start_soon(node.membership.host)
            started()
            await stopping.asked.wait()
            with stopping.hurry:
                if node is not None:
                    doors.gateway.stop_listening()  # new clients come to the other nodes
                    # First, so that a client does not lose its room and its connection at once.
                    await node.membership.retire()
                async with trio.open_nursery() as draining:
                    draining.start_soon(doors.api_server.drain)
                    draining.start_soon(doors.gateway.drain, stopping.drain_s)
            # A gateway that is cancelled closes the connections that are left at once.
            serving.cancel_scope.cancel()

    def _start_scheduler(
        self, system: ActorSystem, stores: NodeStores, bell: Bell
    ) -> ScheduleCounters:
        """Start the scheduler after the kinds that it delivers to, so that it stops before them."""
        counters = ScheduleCounters()
        spec = scheduler_spec(stores.schedules, self.settings.schedules, bell, counters)
        system.supervise([spec], key=SCHEDULER)
        return counters

    def _edge(
        self,
        system: ActorSystem,
        topics: Topics,
        flusher: Flusher,
        services: Mapping[str, Running],
    ) -> tuple[SessionGateway, Gateway, WebApi]:
        wire = fitting(self.settings.wire, self.files)
        doorman = Doorman(wire, self.settings.sessions)
        ops = OpTable([session_messages.AREA, *(service.area for service in self.services)])
        found = routes_of(ops, services.values())
        access = next((one.access for one in services.values() if one.access), None)
        context = self._context(topics, found, access, watch_of(services.values()))
        sessions = SessionGateway(system, context, _new_id, doorman, ops)
        gateway = Gateway(
            sessions.accept,
            wire,
            tls_context=self.tls_context,
            flusher=flusher,
            door=doorman,
            turn=system.dispatcher,
            ops=ops,
        )
        web_api = open_api(
            system,
            ops,
            routes=found,
            services=services,
            sessions=sessions,
            context=context,
            wire=wire,
            settings=self.settings.api,
            tls_context=self.api_tls_context,
            version=self.about.get("version", ""),
        )
        return sessions, gateway, web_api

    def _web(
        self,
        services: Mapping[str, Running],
        metrics: Metrics,
        ready: Callable[[], Awaitable[Readiness]],
    ) -> Starlette:
        return application(
            about=self.about,
            ready=ready,
            readings=metrics.readings,
            pages=self.pages,
            routes=[
                Mount(f"/{name}", routes=running.http)
                for name, running in services.items()
                if running.http
            ],
        )

    def _context(
        self,
        topics: Topics,
        routes: Mapping[type[Request], Route],
        access: Access | None,
        watch: OnOutcome,
    ) -> Context:
        settings = self.settings
        return Context(
            settings=settings.sessions,
            topics=topics,
            tokens=Tokens(
                self.token_secrets, valid_s=settings.sessions.token_valid_s, clock=time.time
            ),
            clock_ms=unix_ms,
            keepalive_s=settings.wire.keepalive_s,
            max_message_bytes=settings.wire.max_message_bytes,
            routes=routes,
            access=access,
            activations=Activations(settings.sessions),
            watch=watch,
        )


def routes_of(ops: OpTable, services: Iterable[Running]) -> dict[type[Request], Route]:
    """Return the route of each op.

    Raises:
        ValueError: an op has no route, a route is for no op, an op that is not `live` has a route
            that needs a session, or the other way round, or no service answers an op of staff.
    """
    services = tuple(services)
    watch = watch_of(services)
    found = dict(SESSION_ROUTES)
    for service in services:
        found.update(service.routes)
    wrong = {request.__name__ for request in found.keys() ^ set(ops.requests.values())}
    if wrong:
        raise ValueError(f"ops without a route, or routes without an op: {', '.join(wrong)}")
    for op in ops.ops.values():
        route = found[op.request]
        if op.live == isinstance(route, CallRoute) and op.request is not Ping:
            raise ValueError(f"{op.name}: `live` does not say what its route does")
        if op.role in STAFF and not isinstance(route, AskService):
            raise ValueError(f"{op.name}: an op of staff is answered by a service")
        if op.role not in (ANYONE, PLAYER):
            found[op.request] = OnlyFor(op.role, route, op.name, watch)
    return found


def watch_of(services: Iterable[Running]) -> OnOutcome:
    """Return what tells every service that keeps account of requests."""
    return all_of(one.watch for one in services if one.watch is not None)


def _new_id() -> str:
    return secrets.token_urlsafe(12)


def _checks(
    stores: NodeStores,
    services: Mapping[str, Running],
    stopping: Stopping,
    cluster: ClusterNode | None,
) -> dict[str, Check]:
    checks = {
        "postgresql": _check(stores.ping_postgresql),
        "redis": _check(stores.snapshots.ping),
        "node": _check_draining(stopping),
    }
    if cluster is not None:
        checks["cluster"] = cluster.check
        checks[LABELS] = cluster.check_labels
    for running in services.values():
        checks.update(running.checks)
    return checks


def _pulse(
    system: ActorSystem, gateway: Gateway, topics: Topics, node: ClusterNode | None
) -> Pulse:
    return Pulse(
        connections=len(gateway.connections),
        sessions=len(topics.sessions),
        actors=system.statistics().actors,
        slots=0 if node is None else node.membership.held(),
    )


def _check(ping: Callable[[], Awaitable[None]]) -> Check:
    async def check() -> str | None:
        await ping()  # the text of its error says what is wrong
        return None

    return check


def _check_draining(stopping: Stopping) -> Check:
    async def check() -> str | None:
        return "draining" if stopping.asked.is_set() else None

    return check
