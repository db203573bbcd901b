"""`Cluster`: what a system needs of the cluster that it is a node of."""

from __future__ import annotations

from typing import Protocol

from .kinds import Kind
from .system_view import SystemView
from .watching import Located


class Cluster(Protocol):
    """Says which actors are on other nodes, and reaches them. All calls are made at home."""

    async def open(self, system: SystemView) -> None:
        """Join with this system. It has no placed actors yet, and gets none before this returns."""

    async def leave(self) -> None:
        """Hand over the placed actors to other nodes, and leave. The actors have not stopped yet.

        Called again, it does nothing.
        """

    async def close(self) -> None:
        """Close what `open` has opened. The actors have stopped."""

    def register(self, kind: Kind) -> None:
        """Take note of a kind whose placement is not `local`.

        Raises ValueError if a message of its handlers cannot cross between nodes.
        """

    def elsewhere(self, kind: str, key: str) -> Located | None:
        """Return what reaches that actor on another node; None: it is, or starts, on this one.

        Raises ActorDeadError if the actor is on no node that can be reached.
        """
