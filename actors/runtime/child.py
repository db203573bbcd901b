"""One child of a supervisor: what was asked for, what became of it, and word of that."""

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
"""Who is restarted when a child fails: it alone; all children; it and those started after it."""


@dataclass(frozen=True, slots=True)
class ChildSpec(RestartPolicy):
    """One child of a supervisor.

    `factory()` makes an Actor, a Supervisor or a pykka.ThreadingActor, a new one each time. The
    child's name is (`kind`, `key`); by default that is (the supervisor's key, `id`). `restart` is
    `permanent`, `transient` or `temporary`; see `RestartPolicy` for this and the rest.
    `max_restarts` and `within_s` are the supervisor's for all its children together; those here do
    not count.

    Raises ValueError or TypeError for what makes no sense.
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
    """The spec, and the cell that stands for it now: None before its first start."""

    __slots__ = ("came_up", "cell", "spec")

    def __init__(self, spec: ChildSpec) -> None:
        self.spec = spec
        self.cell: Cell | None = None
        self.came_up = False  # once, in any of its incarnations

    @property
    def living(self) -> bool:
        """Whether there is an actor, or one that is to come back."""
        return self.cell is not None and self.cell.alive

    @property
    def ended(self) -> bool:
        """Whether it has ended and will not come back."""
        return self.cell is not None and not self.cell.alive

    def placed(self, cell: Cell) -> None:
        """This cell stands for it from now on."""
        self.cell = cell
        cell.when_started().when_done(self._started)

    def _started(self, started: Future[bool]) -> None:
        self.came_up = self.came_up or (started.exception() is None and started.result())


class ChildFailed(NamedTuple):
    """To a supervisor: the incarnation in this cell failed."""

    child: Child
    cell: Cell
    error: BaseException
    incarnation: int


class ChildEnded(NamedTuple):
    """To a supervisor: this cell ended by itself."""

    child: Child
    cell: Cell
    reason: Reason
