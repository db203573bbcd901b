"""What all matches of a node share: the games, the hub of topics, the settings, the counters."""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

import msgspec

from actors.edge.topics import Topics
from actors.matches.rules.game import Game
from actors.matches.rules.ticks import Spread
from actors.matches.settings import MatchSettings

MAX_GAME_NAME: Final = 48
"""So that a match's name, the game's and a random part, is within the wire's 64 characters."""

_GAME_NAME = re.compile(rf"[A-Za-z0-9_.:]{{1,{MAX_GAME_NAME}}}\Z")
_ALPHABET = "abcdefghijkmnpqrstuvwxyz23456789"  # nothing that is read wrongly aloud


class MatchCounters(msgspec.Struct):
    """Counts over all matches of this node since its start, for the metrics."""

    ticks: int = 0
    ticks_skipped: int = 0
    """Given up after a stall."""
    ticks_over_budget: int = 0
    """Took longer than the time between two ticks."""
    calls_hung: int = 0
    """Calls of games over `matches.call_limit_s`; nothing else of this node ran meanwhile."""
    inputs: int = 0
    crashes: int = 0
    ended: int = 0
    failed: int = 0


def name_problem(game: str) -> str | None:
    """Why clients could not call a game that; None: they can."""
    if _GAME_NAME.match(game):
        return None
    return f"a name is 1 to {MAX_GAME_NAME} of letters, digits, _ . :"


def game_name(match: str) -> str:
    """Which game a match of this name plays; see `MatchHost.name_match`."""
    return match.rpartition("-")[0]


def _random_name() -> str:
    # 60 bits: with a million matches the odds that two share a name are one in two million.
    return "".join(secrets.choice(_ALPHABET) for _ in range(12))


def _random_seed() -> int:
    return secrets.randbits(64)


@dataclass(frozen=True, slots=True)
class MatchHost:
    """Handed to every match and to the directory.

    Arguments:
        games: name as clients give it -> class. Raises ValueError for a name that cannot be one.
        clock_ms: milliseconds since 1970, UTC.
        new_name: the random part of a match's name.
        new_seed: 64 random bits.
    """

    games: Mapping[str, type[Game]]
    topics: Topics
    settings: MatchSettings = field(default_factory=MatchSettings)
    clock_ms: Callable[[], int] = field(kw_only=True)
    new_name: Callable[[], str] = _random_name
    new_seed: Callable[[], int] = _random_seed
    counters: MatchCounters = field(default_factory=MatchCounters)
    spread: Spread = field(default_factory=Spread)

    def __post_init__(self) -> None:
        for name in self.games:
            if problem := name_problem(name):
                raise ValueError(f"game {name!r}: {problem}")

    def name_match(self, game: str) -> str:
        """A new match's name. It says which game it is, also before any state was read."""
        return f"{game}-{self.new_name()}"

    def game_of(self, match: str) -> type[Game] | None:
        """The class of the game that a match of this name plays; None: not on this server."""
        return self.games.get(game_name(match))
