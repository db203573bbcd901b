"""A game whose state depends only on its age, so that a wrong state is always noticed."""

from __future__ import annotations

from typing import Any, ClassVar

from actors.matches.rules.game import Game

HZ = 20.0
# the multiplier and the increment of Knuth's MMIX
_FACTOR, _STEP, _BITS = 6364136223846793005, 1442695040888963407, 2**64


class Clockwork(Game):
    """Goes through a sequence of numbers, one a tick, for as long as anyone looks.

    What players do changes nothing. After a crash the match may go on from an older state, without
    inputs that it had taken; it must still go through the same states.
    """

    name: ClassVar[str] = "clockwork"
    tick_hz: ClassVar[float] = HZ
    max_players: ClassVar[int] = 64

    def __init__(self, seed: int, params: dict[str, Any]) -> None:
        super().__init__(seed, params)
        self.age = 0
        """Ticks of this game. A crash sets them back, while the match's own count of ticks goes
        on."""
        self.number = seed

    def input(self, player: str, move: Any) -> None:
        """Accept an input, and ignore it."""

    def tick(self) -> None:
        self.age += 1
        self.number = (self.number * _FACTOR + _STEP) % _BITS

    def view(self) -> Any:
        return [self.age, self.number]

    def snapshot(self) -> Any:
        return [self.age, self.number]

    def restore(self, state: Any) -> None:
        self.age, self.number = state
