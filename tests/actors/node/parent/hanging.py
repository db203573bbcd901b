"""A game that is caught in C code."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

from actors.matches import Game


class Hanging(Game):
    """Hangs in its first tick, each time. Before, it adds a line to the file in its params."""

    name: ClassVar[str] = "hanging"
    tick_hz: ClassVar[float] = 10.0

    def __init__(self, seed: int, params: dict[str, Any]) -> None:
        super().__init__(seed, params)
        self._mark = Path(params["mark"])

    def tick(self) -> None:
        with self._mark.open("a", encoding="utf-8") as file:
            file.write("hangs\n")
        sum(range(10**13))  # for a day, without a look at signals or at other threads

    def view(self) -> Any:
        return {}

    def result(self) -> Any | None:
        return None

    def snapshot(self) -> Any:
        return None

    def restore(self, state: Any) -> None:
        pass
