"""What a service is: one part of the platform, with all that it brings to a server.

A service is a value in the list of server.py. Taking it out of there takes all of it out. It has
two homes: its folder beside this file, whose service.py has the value, and its area of
protocol/messages, which is what strangers see of it. It imports the runtime, the edge, protocol and
persistence, and of another service nothing but what that one's package exports.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, TypeVar

import msgspec
from starlette.routing import Route as HttpRoute

from actors.edge.routes import Route
from actors.edge.topics import Topics
from actors.facts import Facts, Pushes
from actors.runtime.system import ActorSystem
from persistence import EventStore
from persistence.commands import CommandKind
from persistence.keeping import Keeping
from persistence.queries import QueryKind
from persistence.schedules import ScheduleStore
from protocol.http.application import Check
from protocol.http.metrics import Histogram, Reading
from protocol.messages.envelope import Request
from protocol.messages.op import Area

T = TypeVar("T")


class Settings(Protocol):
    """The configuration of a server."""

    def section(self, name: str, kind: type[T]) -> T:
        """The settings of the section [name], which are of type `kind`."""


@dataclass(frozen=True, kw_only=True)
class Frame:
    """What a node lends its services.

    Attributes:
        settings: each service reads its own sections.
        folder: that of the configuration, which paths in it are relative to.
        facts: runs the services' commands and queries.
        pushes: tells of what these have put into users' inboxes.
        keeping: deletes what is to be kept no longer.
        clock_ms: milliseconds since 1970, UTC.
    """

    settings: Settings
    folder: Path
    system: ActorSystem
    topics: Topics
    events: EventStore
    keeping: Keeping
    facts: Facts
    pushes: Pushes
    schedules: ScheduleStore
    clock_ms: Callable[[], int]


def _nothing() -> Iterable[Reading | Histogram]:
    return ()


@dataclass(frozen=True, kw_only=True)
class Running:
    """A service that runs on a node.

    Attributes:
        routes: of each of its ops one.
        readings: its metrics, now.
        http: routes beneath /<name>/ of the node's HTTP.
        checks: what `/readyz` asks, by name.
        export: returns all that it has of a user, as plain values; None: it has nothing.
        erase: deletes it, or makes it nobody's.
    """

    routes: Mapping[type[Request], Route]
    readings: Callable[[], Iterable[Reading | Histogram]] = _nothing
    http: Sequence[HttpRoute] = ()
    checks: Mapping[str, Check] = field(default_factory=dict)
    export: Callable[[str], Awaitable[Any]] | None = None
    erase: Callable[[str], Awaitable[None]] | None = None


def _none(_: Settings) -> Iterable[Any]:
    return ()


class CannotStart(Exception):  # noqa: N818 - said of the configuration
    """A service cannot start as it is configured. One line, for whoever wrote that."""


def _no_check(_: Settings, __: Path) -> None:
    pass


@dataclass(frozen=True, kw_only=True)
class Service:
    """One part of the platform.

    Attributes:
        name: of its folder, its migrations and its HTTP routes.
        area: its ops and pushes.
        sections: its part of the configuration: section -> type.
        kinds: its kinds of actors, and the types of event that each of them writes.
        commands, queries: its kinds of them, with its settings.
        check: raises CannotStart if it could not start, before anything has.
        start: registers its kinds, starts its supervised children, and returns what runs. The
            stores are there; clients come later.
    """

    name: str
    area: Area
    sections: Mapping[str, Any]
    kinds: Mapping[str, Sequence[type[msgspec.Struct]]]
    start: Callable[[Frame], Running]
    commands: Callable[[Settings], Iterable[CommandKind]] = _none
    queries: Callable[[Settings], Iterable[QueryKind]] = _none
    check: Callable[[Settings, Path], None] = _no_check
