"""`Supervisor`: an actor that starts, restarts and stops other actors, its children."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from .actor import Actor
from .cell import Cell, Seat, State
from .checks import check_type, check_word
from .child import Child, ChildEnded, ChildFailed, ChildSpec, Strategy
from .errors import Escalation
from .handlers import handles
from .mailbox import Control
from .panic import shown
from .reasons import Reason
from .ref import ActorRef
from .restart import RestartWindow
from .round import Round, RoundOver
from .runtime_hooks import NO_HOOKS, RuntimeHooks
from .shutdown import stop_one, stop_together


class Supervisor(Actor):
    """Starts its children in their order, restarts those that fail, and stops them in reverse
    order, or together.

    The words and rules are Erlang/OTP's. If its children need more than `max_restarts` restarts in
    `within_s` seconds, all together, the supervisor gives up: it stops its children and fails
    itself, and its own supervisor decides what comes next.

    Children start after the supervisor's `on_start`, and stop after its `on_stop` or `on_failure`.
    The supervisor counts as started when all children have started. If one fails before that, so
    does the supervisor. While a child starts, for example by recovering from a store, the
    supervisor goes on handling failures, other messages and a request to stop.

    Arguments:
        children: the specs of the children.
        strategy: which children are restarted when one fails: `one_for_one` (it alone),
            `one_for_all` (all children) or `rest_for_one` (it and those started after it). Each
            keeps its mailbox.
        max_restarts: how many restarts of children are allowed in `within_s` seconds.
        within_s: see `max_restarts`.
        stops_together: whether the children are all asked to stop at once. For children that do
            not need one another: then a stop takes no longer than the slowest of them.

    A subclass can set these as class attributes instead.

    Raises ValueError for another strategy, for numbers that make no sense, and for children that
    share an id or a name.
    """

    children: Sequence[ChildSpec] = ()
    strategy: Strategy = "one_for_one"
    max_restarts: int = 3
    within_s: float = 5.0
    stops_together: bool = False
    default_shutdown_s = math.inf  # its children have deadlines of their own

    def __init__(
        self,
        children: Sequence[ChildSpec] | None = None,
        *,
        strategy: Strategy | None = None,
        max_restarts: int | None = None,
        within_s: float | None = None,
        stops_together: bool | None = None,
    ) -> None:
        super().__init__()
        self.children = tuple(self.children if children is None else children)
        self.strategy = self.strategy if strategy is None else strategy
        if stops_together is not None:
            self.stops_together = stops_together
        self._window = RestartWindow(
            self.max_restarts if max_restarts is None else max_restarts,
            self.within_s if within_s is None else within_s,
        )
        check_word("strategy", self.strategy, Strategy)
        for spec in self.children:
            check_type("a child", spec, ChildSpec)
        _check_all_different("ids", [spec.id for spec in self.children])
        _check_all_different("names", [(s.kind, s.key or s.id) for s in self.children])
        self._is_up = False
        self._rounds: list[Round] = []
        self._children = {spec.id: Child(spec) for spec in self.children}

    def child(self, id: str) -> ActorRef:  # noqa: A002 -- Erlang/OTP's word
        """Return the ref of a child. The child takes messages from its first start on.

        Raises KeyError if there is no child with that id.
        """
        child = self._children[id]
        return child.cell.ref if child.cell is not None else self.system.ref(*self._name(child))

    def _name(self, child: Child) -> tuple[str, str]:
        spec = child.spec
        return spec.kind or self.actor_ref.key, spec.key or spec.id

    @property
    def actor_hooks(self) -> RuntimeHooks:
        return NO_HOOKS._replace(
            launch=self._launch,
            is_up=lambda: self._is_up,
            leave=self._leave,
            killed=self._kill_children,
        )

    def _launch(self) -> None:
        self._begin((), self._children.values(), 0.0)

    async def _leave(self, reason: Reason) -> None:
        self._cancel_rounds()
        why: Reason = "escalated" if reason == "failed" else "stopped"
        cells = self._cells()[::-1]
        if self.stops_together:
            await stop_together(cells, why)
            return
        for cell in cells:
            await stop_one(cell, why)

    def _kill_children(self) -> None:
        self._cancel_rounds()
        for cell in reversed(self._cells()):
            cell.kill()

    def _cells(self) -> list[Cell]:
        return [
            child.cell
            for child in self._children.values()
            if child.cell is not None and child.cell.alive
        ]

    # --- what happens to children ----------------------------------------------------------------

    @handles(ChildFailed)
    def child_failed(self, failure: ChildFailed) -> None:
        """Restart children by the strategy, or give up."""
        child, cell, error = failure.child, failure.cell, failure.error
        if (
            child.cell is not cell
            or cell.state is not State.FAILED
            or cell.incarnation != failure.incarnation
        ):
            return  # it has been restarted or stopped already, because of another child
        if not self._is_up and not child.came_up:
            # As in Erlang/OTP, a supervisor does not start if one of its children does not.
            raise Escalation(f"{cell.name} did not start: {shown(error)}") from error
        if cell.policy.restart == "temporary":
            cell.end("failed")
            return
        delay_s = cell.policy.backoff.delay_s(self._count(error), self.system.random)
        tied = self._tied_to(child)
        for each in tied:
            if each.cell is not None and each.cell.state is State.FAILED:
                each.cell.halt()  # those that failed at the same moment count as one failure
        self._begin([each for each in tied if each.living], tied, delay_s)

    @handles(ChildEnded)
    def child_ended(self, end: ChildEnded) -> None:
        """Start a permanent child again that stopped, or was stopped by others."""
        child = end.child
        if child.cell is end.cell and child.spec.restart == "permanent":
            self._count(Escalation(f"{end.cell.name} ended: {end.reason}"))
            child.cell = None
            self._begin((), [child], 0.0)

    @handles(RoundOver)
    def round_over(self, end: RoundOver) -> None:
        """Take note that a round is done.

        A child that failed to start is reported by `ChildFailed`.
        """
        if end.round not in self._rounds:
            return
        self._rounds.remove(end.round)
        if end.error is not None:
            raise end.error
        if not self._is_up and all(c.came_up or c.ended for c in self._children.values()):
            self._is_up = True
            self._placed.has_started()

    def _tied_to(self, child: Child) -> list[Child]:
        """Return the children that are restarted with this one, itself included, in their order."""
        children = list(self._children.values())
        if self.strategy == "one_for_one":
            return [child]
        if self.strategy == "rest_for_one":
            children = children[children.index(child) :]
        return [each for each in children if not each.ended]

    def _begin(self, halting: Iterable[Child], starting: Iterable[Child], delay_s: float) -> None:
        """Begin a round.

        It takes over what is left of other rounds that concern the same children.
        """
        ends, starts = dict.fromkeys(halting), dict.fromkeys(starting)
        crossed = [
            each
            for each in self._rounds
            if self.strategy != "one_for_one" or not starts.keys().isdisjoint(each.starting)
        ]
        for each in crossed:
            each.cancel()
            self._rounds.remove(each)
            ends |= dict.fromkeys(each.halting)
            starts |= dict.fromkeys(each.starting)
        in_order = self._children.values()
        new = Round(
            [child for child in in_order if child in ends],
            [child for child in in_order if child in starts],
            delay_s,
            self._start_child,
        )
        self._rounds.append(new)
        cell = self._placed
        self.system.nursery.start_soon(
            new.run, lambda which, error: cell.control(Control(RoundOver(which, error)))
        )

    def _cancel_rounds(self) -> None:
        for each in self._rounds:
            each.cancel()
        self._rounds.clear()

    def _start_child(self, child: Child) -> Cell | None:
        """Start a child and return its cell, or None if it runs already."""
        cell = child.cell
        if cell is None:
            kind, key = self._name(child)
            parent = _Parent(self._placed, child)
            seat = Seat(kind, key, child.spec.factory, child.spec, parent)
            try:
                cell = self.system.place(seat)
            except Exception as error:  # its name is taken, or the factory made no actor
                raise Escalation(f"{kind}/{key} cannot be started: {shown(error)}") from error
            return cell
        if cell.state in (State.FAILED, State.HALTED):
            cell.restart()
            return cell
        return None

    def _count(self, error: BaseException) -> int:
        """Count a restart, and return how many are in the window. Raises Escalation if too many."""
        self._window, exceeded = self._window.record(self.system.now())
        if exceeded:
            raise Escalation(f"{self.actor_ref} gives up: {shown(error)}") from error
        return len(self._window.at_s)


def _check_all_different(what: str, given: Sequence[object]) -> None:
    twice = sorted({repr(each) for each in given if given.count(each) > 1})
    if twice:
        raise ValueError(f"children need {what} of their own: {', '.join(twice)} is there twice")


class _Parent:
    """Reports what happens to a child by messages, which the supervisor handles in their order."""

    __slots__ = ("_cell", "_child", "_incarnation")

    def __init__(self, cell: Cell, child: Child) -> None:
        self._cell = cell
        self._child = child
        self._incarnation = cell.incarnation

    @property
    def closed(self) -> bool:
        return not self._present()

    def adopt(self, cell: Cell) -> None:
        """Enter the child's cell at once, because its failure may come next."""
        self._child.placed(cell)

    def child_failed(self, cell: Cell, error: BaseException) -> None:
        if not self._tell(ChildFailed(self._child, cell, error, cell.incarnation)):
            cell.end("failed")

    def child_ended(self, cell: Cell, reason: Reason) -> None:
        if reason not in ("failed", "escalated"):
            self._tell(ChildEnded(self._child, cell, reason))

    def rest_s(self, key: str) -> float:  # noqa: ARG002 -- the same for all
        return math.inf

    def _tell(self, message: ChildFailed | ChildEnded) -> bool:
        present = self._present()
        if present:
            self._cell.control(Control(message))
        return present

    def _present(self) -> bool:
        """Return whether the supervisor's incarnation that started the child is still there."""
        return self._cell.alive and self._cell.incarnation == self._incarnation
