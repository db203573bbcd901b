"""Counts and logs what goes wrong in the game of a match."""

from __future__ import annotations

from typing import Any, Protocol

from actors.matches.host import MatchCounters, game_name
from actors.matches.referee import GameCrashed


class Logging(Protocol):
    """What `GameFaults` needs of its match."""

    @property
    def log(self) -> Any:
        """A structlog logger."""


class GameFaults:
    """Counts and logs crashes of a game, and calls of it that blocked the node."""

    def __init__(self, match: Logging, name: str, counters: MatchCounters) -> None:
        self._match = match
        self._game = game_name(name)
        self._counters = counters

    def note_crash(self, error: GameCrashed, tick: int) -> None:
        """Count and log a crash of the game after tick `tick`."""
        self._counters.crashes += 1
        self._match.log.error(
            "game_crashed", game=error.game, call=error.call, tick=tick, error=str(error)
        )

    def note_held_up(self, call: str, seconds: float) -> None:
        """Count and log a call of the game that took so many seconds and blocked the node."""
        self._counters.calls_hung += 1
        self._match.log.error(
            "game_held_up_node", game=self._game, call=call, seconds=round(seconds, 3)
        )
