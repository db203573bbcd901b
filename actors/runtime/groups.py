"""The groups of a system, in the order in which they were first needed."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator

from .cell import Host
from .kinds import Group, Kind
from .roots import ClosingGroup


class Groups:
    """Every group of a system by its name. They stop in the reverse order of their first start.

    Arguments:
        system: the system.

    Attributes:
        closing: whether the system is stopping, so that groups which come later start nothing.
    """

    def __init__(self, system: Host) -> None:
        self.closing = False
        self._system = system
        self._groups: dict[str, Group] = {}
        self._numbers: dict[str, int] = {}

    def of(self, name: str) -> Group:
        """Return the group of this name, a new one if there is none yet."""
        group = self._groups.get(name)
        if group is None:
            group = Group(self._system, name)
            self.enter(group)
        return group

    def enter(self, group: Group) -> None:
        """Give a group its place in the order, after those that are there."""
        group.closed = self.closing  # a stop under way would not reach this new group
        self._groups[group.name] = group

    def close_in_turn(self, name: str, close: Callable[[], Awaitable[None]]) -> None:
        """Call `close` after what starts from now on has stopped, and before the rest stops."""
        self._groups[name] = ClosingGroup(self._system, name, close)

    def registered(self, kind: str) -> bool:
        """Return whether the kind is registered."""
        group = self._groups.get(kind)
        return group is not None and group.kind is not None

    def may_start(self, kind: str) -> bool:
        """Return whether a message can start an actor of this kind now."""
        group = self._groups.get(kind)
        return group is not None and group.kind is not None and not group.closed

    def placed(self) -> Iterator[Kind]:
        """Yield the kinds that are registered and whose actors may be on other nodes."""
        for group in list(self._groups.values()):
            if group.kind is not None and group.kind.placement != "local":
                yield group.kind

    def number(self, kind: str) -> str:
        """Return a key for an actor that is given none."""
        number = self._numbers[kind] = self._numbers.get(kind, 0) + 1
        return str(number)

    async def stop(self) -> None:
        """Stop all groups in order."""
        self.closing = True
        for group in reversed(list(self._groups.values())):
            await group.stop()

    def shut(self) -> None:
        """Have no group start anything any more."""
        self.closing = True
        for group in self._groups.values():
            group.closed = True
