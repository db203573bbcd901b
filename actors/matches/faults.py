"""What a match's game does wrong, counted for the node and named in the server's log."""

from __future__ import annotations

from typing import Any, Protocol

from actors.matches.host import MatchCounters, game_name
from actors.matches.referee import GameCrashed


class Logging(Protocol):
    """What this needs of its match."""

    @property
    def log(self) -> Any:
        """A structlog logger."""


class GameFaults:
    """Notes crashes, and calls that held up the node."""

    def __init__(self, match: Logging, name: str, counters: MatchCounters) -> None:
        self._match = match
        self._game = game_name(name)
        self._counters = counters

    def note_crash(self, error: GameCrashed, tick: int) -> None:
        """A call of the game failed after that tick."""
        self._counters.crashes += 1
        self._match.log.error(
            "game_crashed", game=error.game, call=error.call, tick=tick, error=str(error)
        )

    def note_held_up(self, call: str, seconds: float) -> None:
        """A call of the game took so long, and nothing else of the node ran meanwhile."""
        self._counters.calls_hung += 1
        self._match.log.error(
            "game_held_up_node", game=self._game, call=call, seconds=round(seconds, 3)
        )
