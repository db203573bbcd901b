"""The service of matches: it runs the operator's games and keeps the list of running matches."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, Final

import structlog
from pykka import ActorDeadError

from actors.facts import Facts
from actors.matches.commands import COMMANDS, SERVICE, ForgetKeys, ForgetPlayers
from actors.matches.directory import Directory
from actors.matches.games import load_games
from actors.matches.host import MatchCounters, MatchHost
from actors.matches.match import Match
from actors.matches.match_kind import match_kind
from actors.matches.played import MatchesOfUsers
from actors.matches.queries import QUERIES
from actors.matches.registrar import REGISTRAR, Registrar, Write
from actors.matches.routes import match_routes
from actors.matches.rules.record import Ended
from actors.matches.settings import GamePath, MatchSettings
from actors.matches.waker import WAKER, Wake, Waker
from actors.retention import EVENTS, NAMES, Did, Retention, before_us
from actors.runtime.child import ChildSpec
from actors.runtime.errors import MailboxFull
from actors.runtime.future import Future
from actors.runtime.journal import unix_us
from actors.runtime.persistence import event_name
from actors.runtime.stores import EventStore
from actors.runtime.system import ActorSystem
from actors.service import Frame, Running, Service, ServiceSettings
from persistence.keeping import Keeping
from protocol.http.metrics import Reading, counter
from protocol.messages import match

FORGET_EVERY_S: Final = 30.0
"""The pause between two looks for keys that are to be forgotten."""
_log = structlog.get_logger("actors.matches")


def start(frame: Frame) -> Running:
    """Start the service. Its waker brings back the matches that were running."""
    settings = frame.settings.section("matches", MatchSettings)
    games = load_games(frame.settings.section("games", dict), beside=frame.folder)
    if not games:
        _log.info("no games", why="[games] of the configuration names none")
    host = MatchHost(games, frame.topics, settings, clock_ms=frame.clock_ms)
    directory = start_matches(frame.system, host, frame.facts, frame.events)
    if settings.log_s:
        make = partial(Retention, "matches", dropping(frame.keeping, settings))
        frame.system.supervise([ChildSpec(id="0", factory=make)], key="match-retention")
    users = MatchesOfUsers(frame.system, frame.keeping, frame.facts)
    return Running(
        routes=match_routes(directory),
        readings=partial(readings, host.counters),
        placed=partial(wake, frame.system),
        export=users.export,
        erase=users.erase,
    )


def start_matches(
    system: ActorSystem, host: MatchHost, facts: Facts, events: EventStore
) -> Directory:
    """Start everything that matches need on a node; returns their directory."""
    standing, settings = host.standing, host.settings
    standing.ring = partial(_ring, system)
    forget = forgetting(facts, settings)
    children: dict[str, Callable[[], Any]] = {
        REGISTRAR: partial(Registrar, standing, facts, settings.list_refresh_s),
        "match-keys": partial(Retention, "keys of matches", forget, every_s=FORGET_EVERY_S),
        "match-players": partial(Retention, "players of matches", forget_players(facts, settings)),
    }
    for key, make in children.items():  # before the matches, so that they stop after them
        system.supervise([ChildSpec(id="0", factory=make)], key=key)
    system.register(match_kind(host))
    wake = partial(Waker, standing, facts, events)
    system.supervise([ChildSpec(id="0", factory=wake)], key=WAKER)
    return Directory(host, facts, system)


def wake(system: ActorSystem) -> None:
    """Have the running matches woken that belong on this node, as more of them do now."""
    with suppress(ActorDeadError, MailboxFull):  # then every one is called at the next start
        system.ref(WAKER, "0").tell(Wake())


def _ring(system: ActorSystem) -> None:
    with suppress(ActorDeadError):  # the system stops: the next start finds out which have ended
        system.ref(REGISTRAR, "0").notify(Write())


def check_games(settings: ServiceSettings, folder: Path) -> None:
    """Raise NoSuchGame if one of the games cannot be imported or played."""
    load_games(settings.section("games", dict), beside=folder)


def dropping(
    keeping: Keeping, settings: MatchSettings, now_us: Callable[[], int] = unix_us
) -> Callable[[str], Future[Did]]:
    """Return a step of `Retention`: it deletes the logs of matches that ended long ago."""

    def step(after: str) -> Future[Did]:
        future: Future[Did] = keeping.drop_ended(
            "match",
            event_name(Ended),
            after=after,
            names=NAMES,
            before_us=before_us(settings.log_s, now_us()),
        )
        return future

    return step


def forgetting(facts: Facts, settings: MatchSettings) -> Callable[[str], Future[Did]]:
    """Return a step of `Retention`: it deletes the keys of matches that ended long ago."""
    command = ForgetKeys(round(settings.remember_ended_s * 1000), settings.ended_keys, EVENTS)
    return lambda _: facts.execute(command, user=SERVICE)


def forget_players(facts: Facts, settings: MatchSettings) -> Callable[[str], Future[Did]]:
    """Return a step of `Retention`: it deletes who has joined matches long ago."""
    command = ForgetPlayers(round(settings.played_s * 1000), EVENTS)
    return lambda _: facts.execute(command, user=SERVICE)


def readings(counters: MatchCounters) -> Iterator[Reading]:
    """Yield the metrics of matches."""
    yield counter("match_ticks", "Ticks of matches.", counters.ticks)
    yield counter("match_ticks_skipped", "Ticks given up.", counters.ticks_skipped)
    yield counter("match_ticks_slow", "Ticks over their time.", counters.ticks_over_budget)
    text = "Calls of games over matches.call_limit_s, during which nothing else ran."
    yield counter("match_calls_hung", text, counters.calls_hung)
    yield counter("match_inputs", "Inputs taken by games.", counters.inputs)
    yield counter("match_crashes", "Crashes of games.", counters.crashes)
    yield counter("matches_ended", "Matches that ended.", counters.ended)
    yield counter("matches_failed", "Matches that ended as failed.", counters.failed)


MATCHES: Final = Service(
    name=SERVICE,
    area=match.AREA,
    sections={"matches": MatchSettings, "games": dict[str, GamePath]},
    kinds={"match": Match.events},
    check=check_games,
    start=start,
    announces=("match.ended",),
    commands=lambda _: COMMANDS,
    queries=lambda _: QUERIES,
)
