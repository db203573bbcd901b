"""A game that takes memory until there is none."""

from __future__ import annotations

from typing import Any, ClassVar

from actors.matches import Game

PIECE_BYTES = 64 * 2**20


class Hoarding(Game):
    """Takes another piece with each tick."""

    name: ClassVar[str] = "hoarding"
    tick_hz: ClassVar[float] = 20.0

    def __init__(self, seed: int, params: dict[str, Any]) -> None:
        super().__init__(seed, params)
        self._pieces: list[bytearray] = []

    def tick(self) -> None:
        self._pieces.append(bytearray(PIECE_BYTES))

    def view(self) -> Any:
        return len(self._pieces)

    def result(self) -> Any | None:
        return None

    def snapshot(self) -> Any:
        return None

    def restore(self, state: Any) -> None:
        pass
