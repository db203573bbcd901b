"""What a service is: one part of the platform, with everything that it brings to a server.

A service is a value of type `Service` in the list SERVICES of server.py. A server without the
service is one whose list does not have it; no other place changes. A service has two homes: its
folder beside this file, whose service.py holds the value, and its area of protocol/messages, which
is its contract with clients. It may import the runtime, the edge, protocol and persistence. Of
another service it may import only the names that the package exports.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, TypeVar

import msgspec
from starlette.routing import Route as HttpRoute

from actors.audit_trail import AuditTrail
from actors.edge.access import Access
from actors.edge.api.api_route import ApiRoute
from actors.edge.api.callers import Authenticate
from actors.edge.outcome import OnOutcome
from actors.edge.routes import Route
from actors.edge.topics import Topics
from actors.facts import Facts, Pushes
from actors.runtime.system import ActorSystem
from persistence import EventStore, PostgresSettings
from persistence.commands import CommandKind
from persistence.counters import Counters
from persistence.keeping import Keeping
from persistence.log import LogReader
from persistence.queries import QueryKind
from persistence.schedules import ScheduleStore
from protocol.http.application import Check
from protocol.http.metrics import Histogram, Reading
from protocol.messages import session
from protocol.messages.envelope import Request
from protocol.messages.op import Area

T = TypeVar("T")


class ServiceSettings(Protocol):
    """The configuration of a server."""

    def section(self, name: str, kind: type[T]) -> T:
        """Return the settings of the section [name], which are of type `kind`."""


@dataclass(frozen=True, kw_only=True)
class Frame:
    """What a node lends its services.

    Attributes:
        settings: the configuration, of which each service reads its own sections.
        folder: the folder of the configuration; paths in the configuration are relative to it.
        system: the system that the services' actors live in.
        topics: the node's hub of topics.
        scopes: what an API key may be let call, by name: the ops and routes of this server.
        announced: the types of events that this server tells webhooks of.
        events: the events of each actor.
        open_log: returns a reader of all events, of actors and of commands, in one order. It has a
            connection of its own and blocks, so it is for a pykka.ThreadingActor.
        keeping: deletes history that need not be kept any longer.
        facts: runs the services' commands and queries.
        pushes: tells listeners of pushes that commands have put into users' inboxes.
        schedules: messages to actors at a given time.
        counters: count by name over all nodes, for limits. The names are shared by all services, so
            each begins with the service's.
        audit: writes entries of the audit log that tell of no transaction: looks and refusals. A
            command writes its own by `Transaction.record`.
        clock_ms: returns milliseconds since 1970, UTC.
    """

    settings: ServiceSettings
    folder: Path
    system: ActorSystem
    topics: Topics
    scopes: frozenset[str]
    announced: frozenset[str]
    events: EventStore
    open_log: Callable[[], LogReader]
    keeping: Keeping
    facts: Facts
    pushes: Pushes
    schedules: ScheduleStore
    counters: Counters
    audit: AuditTrail
    clock_ms: Callable[[], int]


def _nothing() -> Iterable[Reading | Histogram]:
    return ()


def _none_wakes() -> None:
    pass


@dataclass(frozen=True, kw_only=True)
class Running:
    """A service that runs on a node.

    Attributes:
        routes: the route of each of its ops.
        readings: returns the present values of its metrics.
        http: its routes beneath /<name>/ of the node's HTTP, which is private.
        api: its routes of the HTTP API, for players and back ends.
        authenticate: knows callers of the HTTP API by a kind of token of its own.
        access: knows the access tokens with which sessions are opened; one service has it.
        watch: told what became of each request of the HTTP API, of each op of staff on the wire,
            and of each connection that got no session.
        checks: its checks for `/readyz`, by name.
        placed: called when more actors were placed on this node, as another one is gone or leaves.
            Those that act without a message, as a match with ticks does, are to be woken.
        export: returns everything that it knows of a user, as plain values; None: it knows nothing.
        erase: deletes everything that it knows of a user, or makes it anonymous.
    """

    routes: Mapping[type[Request], Route]
    readings: Callable[[], Iterable[Reading | Histogram]] = _nothing
    http: Sequence[HttpRoute] = ()
    api: Sequence[ApiRoute] = ()
    authenticate: Authenticate | None = None
    access: Access | None = None
    watch: OnOutcome | None = None
    checks: Mapping[str, Check] = field(default_factory=dict)
    placed: Callable[[], None] = _none_wakes
    export: Callable[[str], Awaitable[Any]] | None = None
    erase: Callable[[str], Awaitable[None]] | None = None


@dataclass(frozen=True, kw_only=True)
class ToolKit:
    """What the tools of a service work with.

    Attributes:
        facts: runs its commands and queries.
        scopes: as those of a `Frame`.
        settings: the configuration.
    """

    facts: Facts
    scopes: frozenset[str]
    settings: ServiceSettings


Tools = Mapping[str, Callable[..., Awaitable[Iterable[str]]]]


def _no_tools(_: ToolKit) -> Tools:
    return {}


def _none(_: ServiceSettings) -> Iterable[Any]:
    return ()


class CannotStart(Exception):  # noqa: N818 - said of the configuration
    """A service cannot start with this configuration. The text is one line for the operator."""


def _no_greeting(_: PostgresSettings, __: ServiceSettings) -> Iterable[str]:
    return ()


def _no_check(_: ServiceSettings, __: Path) -> None:
    pass


@dataclass(frozen=True, kw_only=True)
class Service:
    """One part of the platform.

    Attributes:
        name: the name of its folder, its migrations and its HTTP routes.
        area: its ops and pushes.
        sections: its sections of the configuration, and the type of each.
        kinds: its kinds of actors, and the types of event that each of them writes.
        start: registers its kinds, starts its supervised children, and returns what runs. The
            stores are open by then; clients come later.
        scopes: the scopes of its routes of the HTTP API, see `ApiRoute.scope`.
        announces: the types of events that its commands tell webhooks of, by
            `Transaction.announce`, such as "match.ended".
        commands, queries: return its kinds of commands and of queries for these settings.
        tools: returns what the command line has it do, by name, also beside a server that runs.
            Each returns lines to print, and raises ValueError or RequestError for arguments that
            are wrong.
        greeting: returns lines that a server prints when it starts. It blocks, and is called by
            the process that has opened the stores, if there is an HTTP API.
        check: raises CannotStart if the service could not start. It is called before the node
            starts anything.
    """

    name: str
    area: Area
    sections: Mapping[str, Any]
    kinds: Mapping[str, Sequence[type[msgspec.Struct]]]
    start: Callable[[Frame], Running]
    scopes: tuple[str, ...] = ()
    announces: tuple[str, ...] = ()
    commands: Callable[[ServiceSettings], Iterable[CommandKind]] = _none
    queries: Callable[[ServiceSettings], Iterable[QueryKind]] = _none
    tools: Callable[[ToolKit], Tools] = _no_tools
    greeting: Callable[[PostgresSettings, ServiceSettings], Iterable[str]] = _no_greeting
    check: Callable[[ServiceSettings, Path], None] = _no_check


def scopes_of(services: Sequence[Service]) -> frozenset[str]:
    """Return what an API key may be let call, by name: the ops and routes of a server."""
    areas = (session.AREA, *(service.area for service in services))
    ops = {op.name for area in areas for op in area.ops}
    return frozenset(ops.union(*(service.scopes for service in services)))
