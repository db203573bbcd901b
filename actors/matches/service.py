"""The service of matches: it runs the operator's games and keeps the list of running matches."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Final

import structlog

from actors.matches.directory import Directory, Wake, directory_kind
from actors.matches.games import load_games
from actors.matches.host import MatchCounters, MatchHost
from actors.matches.match import Match
from actors.matches.match_kind import match_kind
from actors.matches.messages import DIRECTORY
from actors.matches.played import MatchesOfUsers
from actors.matches.routes import ROUTES
from actors.matches.rules.record import Ended
from actors.matches.settings import GamePath, MatchSettings
from actors.retention import NAMES, Did, Retention, before_us
from actors.runtime.child import ChildSpec
from actors.runtime.future import Future
from actors.runtime.journal import unix_us
from actors.runtime.persistence import event_name
from actors.service import Frame, Running, Service, ServiceSettings
from persistence.keeping import Keeping
from protocol.http.metrics import Reading, counter
from protocol.messages import match

_log = structlog.get_logger("actors.matches")


def start(frame: Frame) -> Running:
    """Start the service. Its directory wakes the matches that were running."""
    settings = frame.settings.section("matches", MatchSettings)
    games = load_games(frame.settings.section("games", dict), beside=frame.folder)
    if not games:
        _log.info("no games", why="[games] of the configuration names none")
    host = MatchHost(games, frame.topics, settings, clock_ms=frame.clock_ms)
    frame.system.register(directory_kind(host))
    frame.system.register(match_kind(host))
    if settings.log_s:
        make = partial(Retention, "matches", dropping(frame.keeping, settings))
        frame.system.supervise([ChildSpec(id="0", factory=make)], key="match-retention")
    frame.system.ref(*DIRECTORY).tell(Wake())
    users = MatchesOfUsers(frame.system, frame.keeping)
    return Running(
        routes=ROUTES,
        readings=partial(readings, host.counters),
        export=users.export,
        erase=users.erase,
    )


def check(settings: ServiceSettings, folder: Path) -> None:
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
    name="matches",
    area=match.AREA,
    sections={"matches": MatchSettings, "games": dict[str, GamePath]},
    kinds={"match": Match.events, DIRECTORY[0]: Directory.events},
    check=check,
    start=start,
)
