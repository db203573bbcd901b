"""A tree of actors in which failures have a place to go."""

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
from .shutdown import stop_one


class Supervisor(Actor):
    """Starts its children left to right, stops them right to left, restarts those that fail.

    More than `max_restarts` in `within_s` seconds, of all children together, and it gives up: it
    stops its children and fails itself, which its own supervisor then has to deal with. The words
    and the rules are Erlang/OTP's. `strategy` says who is restarted when a child fails:
    `one_for_one` (it alone), `one_for_all` (all children) or `rest_for_one` (it and those started
    after it).

    Children that a strategy restarts along with a failed one keep their mailboxes, as always.

    Children start after `on_start`, and stop after `on_stop` or `on_failure`. The supervisor counts
    as started when all of them have; if one fails before that, so does the supervisor. It waits for
    nothing that takes time, such as a child that recovers from a store: meanwhile it hears of
    failures, requests and a stop.

    Raises ValueError for another word, for numbers that make no sense, and for children that share
    an id or a name.
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
        self.strategy = self.strategy if strategy is None else strategy
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
        """The ref of a child, which takes messages from its first start on.

        Raises KeyError if there is none of that id.
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
        for cell in reversed(self._cells()):
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
        """Restart by the strategy, or give up."""
        child, cell, error = failure.child, failure.cell, failure.error
        if (
            child.cell is not cell
            or cell.state is not State.FAILED
            or cell.incarnation != failure.incarnation
        ):
            return  # restarted or stopped already, for the sake of a sibling
        if not self._is_up and not child.came_up:
            # As in Erlang/OTP: a tree that does not come up whole does not come up.
            raise Escalation(f"{cell.name} did not start: {shown(error)}") from error
        if cell.policy.restart == "temporary":
            cell.end("failed")
            return
        delay_s = cell.policy.backoff.delay_s(self._count(error), self.system.random)
        tied = self._tied_to(child)
        for each in tied:
            if each.cell is not None and each.cell.state is State.FAILED:
                each.cell.halt()  # failed at the same moment: one failure of the tree
        self._begin([each for each in tied if each.living], tied, delay_s)

    @handles(ChildEnded)
    def child_ended(self, end: ChildEnded) -> None:
        """A child stopped by itself, or was stopped by others: a permanent one is started anew."""
        child = end.child
        if child.cell is end.cell and child.spec.restart == "permanent":
            self._count(Escalation(f"{end.cell.name} ended: {end.reason}"))
            child.cell = None
            self._begin((), [child], 0.0)

    @handles(RoundOver)
    def round_over(self, end: RoundOver) -> None:
        """All that a round was to start has started, or has failed, which is another message."""
        if end.round not in self._rounds:
            return
        self._rounds.remove(end.round)
        if end.error is not None:
            raise end.error
        if not self._is_up and all(c.came_up or c.ended for c in self._children.values()):
            self._is_up = True
            self._placed.has_started()

    def _tied_to(self, child: Child) -> list[Child]:
        """Who is restarted with this child, itself included, left to right."""
        children = list(self._children.values())
        if self.strategy == "one_for_one":
            return [child]
        if self.strategy == "rest_for_one":
            children = children[children.index(child) :]
        return [each for each in children if not each.ended]

    def _begin(self, halting: Iterable[Child], starting: Iterable[Child], delay_s: float) -> None:
        """Begin a round, which takes over what is left of those that it crosses."""
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
        """Start a child that does not run; None if there is nothing to start."""
        cell = child.cell
        if cell is None:
            kind, key = self._name(child)
            parent = _Parent(self._placed, child)
            seat = Seat(kind, key, child.spec.factory, child.spec, parent)
            try:
                cell = self.system.place(seat)
            except Exception as error:  # its name is taken, or it is no actor of this runtime
                raise Escalation(f"{kind}/{key} cannot be started: {shown(error)}") from error
            return cell
        if cell.state in (State.FAILED, State.HALTED):
            cell.restart()
            return cell
        return None

    def _count(self, error: BaseException) -> int:
        """How many restarts there were in the window, this one included. Raises Escalation."""
        self._window, exceeded = self._window.record(self.system.now())
        if exceeded:
            raise Escalation(f"{self.actor_ref} gives up: {shown(error)}") from error
        return len(self._window.at_s)


def _check_all_different(what: str, given: Sequence[object]) -> None:
    twice = sorted({repr(each) for each in given if given.count(each) > 1})
    if twice:
        raise ValueError(f"children need {what} of their own: {', '.join(twice)} is there twice")


class _Parent:
    """Turns what happens to a child into a message to its supervisor, so that it has its order."""

    __slots__ = ("_cell", "_child", "_incarnation")

    def __init__(self, cell: Cell, child: Child) -> None:
        self._cell = cell
        self._child = child
        self._incarnation = cell.incarnation

    @property
    def closed(self) -> bool:
        return not self._present()

    def adopt(self, cell: Cell) -> None:
        """Known at once: what comes next may be its failure."""
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
        """Whether that incarnation of the supervisor is still there."""
        return self._cell.alive and self._cell.incarnation == self._incarnation
