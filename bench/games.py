"""The arena at other tick rates, for `bench.matches`."""

from __future__ import annotations

from typing import ClassVar

from examples.arena import Arena

GOAL = 1000
"""Points that end a match: the most that the arena accepts, so that none ends during a run."""


class Arena10(Arena):
    """10 ticks a second."""

    tick_hz: ClassVar[float] = 10.0


class Arena20(Arena):
    """20 ticks a second, which is the arena's own."""


class Arena30(Arena):
    """30 ticks a second."""

    tick_hz: ClassVar[float] = 30.0


class Arena60(Arena):
    """60 ticks a second."""

    tick_hz: ClassVar[float] = 60.0


GAMES = {game.tick_hz: game for game in (Arena10, Arena20, Arena30, Arena60)}
