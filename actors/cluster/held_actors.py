"""`HeldActors`: actors that no node starts for a time, because a node was caught in their code."""

from __future__ import annotations

from collections.abc import Mapping

from actors.runtime.errors import ActorFailed, HandlerHung
from actors.runtime.system_view import SystemView


class HeldActors:
    """The actors that no node starts. The register lists them, and each view of it brings the list.

    An actor that runs all the same is reached: only a start is refused.
    """

    def __init__(self, system: SystemView) -> None:
        self._system = system
        self._until_s: dict[tuple[str, str], float] = {}

    def __bool__(self) -> bool:
        return bool(self._until_s)

    def count(self) -> int:
        """Return how many actors are held now."""
        now = self._system.now()
        return sum(until_s > now for until_s in self._until_s.values())

    def hold(self, left_s: Mapping[tuple[str, str], float]) -> None:
        """Hold these actors, by kind and key, each for so many seconds, and no others."""
        now = self._system.now()
        self._until_s = {name: now + seconds for name, seconds in left_s.items()}

    def check(self, kind: str, key: str) -> None:
        """Raise ActorFailed if an actor is held and does not run here."""
        left_s = self._until_s.get((kind, key), 0.0) - self._system.now()
        if left_s > 0 and self._system.lookup(kind, key) is None:
            hung = HandlerHung("a node was caught in its code and had to be killed")
            raise ActorFailed(f"{kind}/{key}", left_s, hung)
