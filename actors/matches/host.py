"""`MatchHost`: what all matches of a node share, such as games, topics, settings and counters."""

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
from actors.matches.standing import Standing

MAX_GAME_NAME: Final = 48
"""The longest name of a game.

A match's name is that and a random part, and the wire allows 64 characters for it.
"""

_GAME_NAME = re.compile(rf"[A-Za-z0-9_.:]{{1,{MAX_GAME_NAME}}}\Z")
_ALPHABET = "abcdefghijkmnpqrstuvwxyz23456789"  # without l, o, 0 and 1, which look alike


class MatchCounters(msgspec.Struct):
    """Counts over all matches of this node since its start, for the metrics."""

    ticks: int = 0
    ticks_skipped: int = 0
    """Ticks that were skipped after a stall."""
    ticks_over_budget: int = 0
    """Ticks that took longer than the time between two ticks."""
    calls_hung: int = 0
    """Calls of games that took longer than `matches.call_limit_s`, and blocked this node."""
    inputs: int = 0
    crashes: int = 0
    ended: int = 0
    failed: int = 0


def name_problem(game: str) -> str | None:
    """Return why a game cannot have this name, or None if it can."""
    if _GAME_NAME.match(game):
        return None
    return f"a name is 1 to {MAX_GAME_NAME} of letters, digits, _ . :"


def game_name(match: str) -> str:
    """Return the name of the game that a match plays; see `MatchHost.name_match`."""
    return match.rpartition("-")[0]


def _random_name() -> str:
    # 60 bits: with a million matches the odds that two share a name are one in two million.
    return "".join(secrets.choice(_ALPHABET) for _ in range(12))


def _random_seed() -> int:
    return secrets.randbits(64)


@dataclass(frozen=True, slots=True)
class MatchHost:
    """What all matches of a node, and the directory, share.

    Arguments:
        games: the class of each game, by the name that clients give.
        topics: the hub of topics.
        settings: the settings of matches.
        clock_ms: returns milliseconds since 1970, UTC.
        new_name: returns the random part of a match's name.
        new_seed: returns 64 random bits.
        counters: counts for the metrics.
        spread: spreads the first ticks of matches over time.
        standing: what the matches report, for their rows.

    Raises ValueError for a game's name that is not allowed.
    """

    games: Mapping[str, type[Game]]
    topics: Topics
    settings: MatchSettings = field(default_factory=MatchSettings)
    clock_ms: Callable[[], int] = field(kw_only=True)
    new_name: Callable[[], str] = _random_name
    new_seed: Callable[[], int] = _random_seed
    counters: MatchCounters = field(default_factory=MatchCounters)
    spread: Spread = field(default_factory=Spread)
    standing: Standing = field(default_factory=Standing)

    def __post_init__(self) -> None:
        for name in self.games:
            if problem := name_problem(name):
                raise ValueError(f"game {name!r}: {problem}")

    def name_match(self, game: str) -> str:
        """Return a new match's name.

        It contains the game's, so that no state must be read for that.
        """
        return f"{game}-{self.new_name()}"

    def game_of(self, match: str) -> type[Game] | None:
        """Return the class of a match's game, or None if this server does not have the game."""
        return self.games.get(game_name(match))
