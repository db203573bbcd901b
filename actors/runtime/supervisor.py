"""A tree of actors in which failures have a place to go."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from .actor import Actor
from .cell import Cell, Place, State
from .errors import Escalation
from .handlers import handles
from .loop_cell import LoopCell
from .mailbox import Control
from .messages import ChildEnded, ChildFailed, Reason, RestartDue
from .ref import ActorRef
from .restart import RestartPolicy, RestartWindow
from .shutdown import halt_one, stop_one

Strategy = Literal["one_for_one", "one_for_all", "rest_for_one"]
"""Who is restarted when a child fails: it alone; all children; it and those started after it."""


@dataclass(frozen=True, slots=True)
class ChildSpec(RestartPolicy):
    """One child of a supervisor.

    `factory()` makes an Actor, a Supervisor or a pykka.ThreadingActor. The child's name is
    (`kind`, `key`); by default that is (the supervisor's key, `id`). `max_restarts` and `within_s`
    are the supervisor's for all its children together; those here do not count.
    """

    id: str
    factory: Callable[[], Any]
    kind: str | None = None
    key: str | None = None


class Supervisor(Actor):
    """Starts its children left to right, stops them right to left, restarts those that fail.

    More than `max_restarts` in `within_s` seconds, of all children together, and it gives up: it
    stops its children and fails itself, which its own supervisor then has to deal with. The words
    and the rules are Erlang/OTP's.

    Children that a strategy restarts along with a failed one keep their mailboxes, as always.
    """

    children: Sequence[ChildSpec] = ()
    strategy: Strategy = "one_for_one"
    max_restarts: int = 3
    within_s: float = 5.0
    default_shutdown_s = math.inf  # its children have deadlines of their own

    def __init__(
        self,
        children: Sequence[ChildSpec] | None = None,
        *,
        strategy: Strategy | None = None,
        max_restarts: int | None = None,
        within_s: float | None = None,
    ) -> None:
        super().__init__()
        self.children = tuple(self.children if children is None else children)
        self.strategy = strategy or self.strategy
        self._window = RestartWindow(
            self.max_restarts if max_restarts is None else max_restarts,
            self.within_s if within_s is None else within_s,
        )
        self._cells: dict[str, Cell] = {}
        ids = [spec.id for spec in self.children]
        if len(set(ids)) != len(ids):
            raise ValueError(f"children need ids of their own: {ids}")

    def child(self, id: str) -> ActorRef:  # noqa: A002 -- Erlang/OTP's word
        """The ref of a child. Raises KeyError if there is none of that id."""
        return self._cells[id].ref

    async def on_start(self) -> None:
        for spec in self.children:
            cell = self._place(spec)
            if not await cell.when_started():
                # As in Erlang/OTP: a tree that does not come up whole does not come up.
                raise Escalation(f"{cell.name} did not start: {cell.error!r}") from cell.error

    def _place(self, spec: ChildSpec) -> Cell:
        kind, key = spec.kind or self.actor_ref.key, spec.key or spec.id
        place = Place(kind, key, spec.factory, spec, _Parent(self._placed))
        cell = self.system.place(place)
        self._cells[spec.id] = cell
        return cell

    async def on_stop(self) -> None:
        await self._stop_children("stopped")

    async def on_failure(self, *_exc_info: Any) -> None:
        await self._stop_children("escalated")

    async def _stop_children(self, reason: Reason) -> None:
        for cell in self._living(reverse=True):
            await stop_one(cell, reason)

    def _killed(self) -> None:
        for cell in self._living(reverse=True):
            cell.kill()

    def _living(self, *, reverse: bool = False) -> list[Cell]:
        cells = [cell for cell in self._cells.values() if cell.alive]
        return cells[::-1] if reverse else cells

    # --- what happens to children ----------------------------------------------------------------

    @handles(ChildFailed)
    async def child_failed(self, failure: ChildFailed) -> None:
        """Restart by the strategy, or give up."""
        cell = failure.cell
        if cell.state is not State.FAILED or cell.incarnation != failure.incarnation:
            return  # restarted or stopped already, for the sake of a sibling
        if cell.policy.restart == "temporary":
            cell.end("failed")
            return
        delay_s = cell.policy.backoff.delay_s(self._count(failure.error), self.system.random)
        tied = self._tied_to(cell)
        for each in reversed(tied):
            if each is not cell:
                await halt_one(each)
        if delay_s > 0:
            # Not slept here: a supervisor that waits must still hear of others, and of a stop.
            self.start_timer(delay_s, RestartDue(tuple(tied)))
        else:
            await self.restart(RestartDue(tuple(tied)))

    @handles(RestartDue)
    async def restart(self, due: RestartDue) -> None:
        """Start what waits for it, left to right."""
        for cell in due.cells:
            if cell.state in (State.FAILED, State.HALTED):
                cell.restart()
                await cell.when_started()  # if it fails again, that is a message of its own

    @handles(ChildEnded)
    async def child_ended(self, end: ChildEnded) -> None:
        """A child stopped by itself, or was stopped by others: a permanent one is started anew."""
        for spec in self.children:
            if self._cells.get(spec.id) is end.cell and spec.restart == "permanent":
                self._count(Escalation(f"{end.cell.name} ended: {end.reason}"))
                await self._place(spec).when_started()

    def _tied_to(self, cell: Cell) -> list[Cell]:
        """Who is restarted with this child, itself included, left to right."""
        cells = self._living()
        if self.strategy == "one_for_all":
            return cells
        if self.strategy == "rest_for_one":
            return cells[cells.index(cell) :]
        return [cell]

    def _count(self, error: BaseException) -> int:
        """How many restarts there were in the window, this one included. Raises Escalation."""
        self._window, exceeded = self._window.record(self.system.now())
        if exceeded:
            raise Escalation(f"{self.actor_ref} gives up: {error!r}") from error
        return len(self._window.at_s)


class _Parent:
    """Turns what happens to a child into a message to its supervisor, so that it has its order."""

    __slots__ = ("_cell", "_incarnation")

    def __init__(self, cell: LoopCell) -> None:
        self._cell = cell
        self._incarnation = cell.incarnation

    @property
    def closed(self) -> bool:
        return not self._present()

    def adopt(self, cell: Cell) -> None:
        """The supervisor knows: it has just placed it."""

    def child_failed(self, cell: Cell, error: BaseException) -> None:
        if not self._tell(ChildFailed(cell, error, cell.incarnation)):
            cell.end("failed")

    def child_ended(self, cell: Cell, reason: Reason) -> None:
        if reason not in ("failed", "escalated"):
            self._tell(ChildEnded(cell, reason))

    def _tell(self, message: ChildFailed | ChildEnded) -> bool:
        present = self._present()
        if present:
            self._cell.control(Control(message))
        return present

    def _present(self) -> bool:
        """Whether that incarnation of the supervisor is still there."""
        return self._cell.alive and self._cell.incarnation == self._incarnation
