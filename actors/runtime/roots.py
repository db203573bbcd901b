"""Groups that are no kind of actor, but have a place in the order in which a system stops."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from .cell import Cell, Host
from .kinds import Group


class ClosingGroup(Group):
    """Holds no actors. When its turn to stop comes, it closes what the actors after it needed."""

    def __init__(self, system: Host, name: str, close: Callable[[], Awaitable[None]]) -> None:
        super().__init__(system, name)
        self._close = close

    async def stop(self) -> None:
        self.closed = True
        await self._close()


class RootGroup(Group):
    """Holds one supervisor at the root. When that gives up for good, the system fails."""

    def give_up(self, cell: Cell, error: BaseException) -> None:
        super().give_up(cell, error)
        self.system.fail(error)
