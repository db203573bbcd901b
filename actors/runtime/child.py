"""One child of a supervisor: its spec, its state, and the messages about what happens to it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from .cell import Cell
from .checks import check_callable, check_name
from .future import Future
from .reasons import Reason
from .restart import RestartPolicy

Strategy = Literal["one_for_one", "one_for_all", "rest_for_one"]
"""Which children are restarted when one fails.

`one_for_one`: it alone. `one_for_all`: all of them. `rest_for_one`: it and those started after
it."""


@dataclass(frozen=True, slots=True)
class ChildSpec(RestartPolicy):
    """What a supervisor is told about one of its children.

    Arguments:
        id: the child's name within its supervisor.
        factory: called without arguments, it makes a new Actor, Supervisor or pykka.ThreadingActor.
        kind, key: the child's name in the system; by default the supervisor's key and `id`.

    The other fields are those of `RestartPolicy`: `restart` is `permanent`, `transient` or
    `temporary`, for example. `max_restarts` and `within_s` have no effect
    here: the supervisor's own apply to all its children together.

    Raises ValueError or TypeError for a field that makes no sense.
    """

    id: str
    factory: Callable[[], Any]
    kind: str | None = None
    key: str | None = None

    def __post_init__(self) -> None:
        RestartPolicy.__post_init__(self)  # super() fails in a dataclass with slots
        check_name("id", self.id)
        check_callable("factory", self.factory)
        if self.kind is not None:
            check_name("kind", self.kind)
        if self.key is not None:
            check_name("key", self.key)


class Child:
    """A child of a running supervisor: its spec, and its present cell (None before the first
    start).
    """

    __slots__ = ("came_up", "cell", "spec")

    def __init__(self, spec: ChildSpec) -> None:
        self.spec = spec
        self.cell: Cell | None = None
        self.came_up = False  # whether any of its incarnations has started

    @property
    def living(self) -> bool:
        """Whether there is an actor now, or one that will come back."""
        return self.cell is not None and self.cell.alive

    @property
    def ended(self) -> bool:
        """Whether it has ended and will not come back."""
        return self.cell is not None and not self.cell.alive

    def placed(self, cell: Cell) -> None:
        """Take the cell as the child's present one."""
        self.cell = cell
        cell.when_started().when_done(self._started)

    def _started(self, started: Future[bool]) -> None:
        self.came_up = self.came_up or (started.exception() is None and started.result())


class ChildFailed(NamedTuple):
    """Tells a supervisor that an incarnation of its child, the one in this cell, failed."""

    child: Child
    cell: Cell
    error: BaseException
    incarnation: int


class ChildEnded(NamedTuple):
    """Tells a supervisor that the cell of its child ended without being asked to."""

    child: Child
    cell: Cell
    reason: Reason
