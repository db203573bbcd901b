"""Kinds of actors: how an actor of a kind is made, passivated when idle, and brought back."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Literal, NamedTuple

import structlog

from .cell import Cell, Host, Seat
from .checks import check_callable, check_name, check_seconds, check_word
from .errors import ActorFailed, NoStores
from .panic import shown
from .reasons import Reason
from .recovery import RecoveryFailed
from .restart import RestartPolicy, RestartWindow
from .shutdown import stop_together
from .timers import Alarm

_log = structlog.get_logger("actors")

Placement = Literal["local", "hashed", "one", "node"]
"""Where in a cluster an actor is: see `Kind`."""
CHOSEN: Final = ("hashed", "one")
"""The placements by which the cluster chooses the node."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _KindFields(RestartPolicy):
    idle_after_s: float | None = None
    retry_failed_after_s: float = 30.0
    placement: Placement = "local"
    label: str = ""
    actor: type[Any] | None = None
    answers: tuple[Any, ...] = ()
    hints: tuple[type[Any], ...] = ()
    patient: bool = False


@dataclass(frozen=True, slots=True)
class Kind(_KindFields):
    """A kind of actor. There is one actor for each key, and its first message starts it.

    Arguments:
        name: the first half of the actors' names.
        factory: `factory(key)` makes an instance.
        idle_after_s: an actor that has had no message for so many seconds is passivated, if its
            `may_passivate` agrees; an actor in a thread is not asked. It happens after at most
            twice that time. None: never.
        retry_failed_after_s: an actor that fails more often than its policy allows ends as
            `failed`, without any effect on others of its kind. A message that comes so many seconds
            later starts it again. Infinity: no message does.

        placement: where in a cluster an actor of the kind is. `local`: on each node that names it,
            one a node. `hashed`: on one node, which the cluster chooses by kind and key. `one`: all
            actors of the kind together on one node. `node`: on the node that the key begins with,
            up to a `/`. Without a cluster every actor is in this system.
        label: of the nodes of a cluster, only those with this label have actors of a kind whose
            placement is `hashed` or `one`. It has to be the same on all nodes. Empty: those without
            labels.
        actor: the class of the actors. Its handlers say which messages can come from other nodes,
            and what they answer. By default `factory`, if that is a class.
        answers: types that handlers answer with, beyond what their annotations say.
        hints: types of messages that start no actor if they are told from another node: they are
            dropped where there is none, as they tell it only what it finds out at its start.
        patient: what is told to the actors from another node may wait there a few milliseconds, to
            leave together with what follows (`bus.gather_s`). Questions do not wait.

    The other fields are those of `RestartPolicy`.

    Raises ValueError or TypeError for a field that makes no sense.
    """

    name: str
    factory: Callable[[str], Any]

    def __post_init__(self) -> None:
        RestartPolicy.__post_init__(self)  # super() fails in a dataclass with slots
        check_name("name", self.name)
        check_callable("factory", self.factory)
        if self.idle_after_s is not None:
            check_seconds("idle_after_s", self.idle_after_s, above_zero=True)
        check_seconds("retry_failed_after_s", self.retry_failed_after_s)
        check_word("placement", self.placement, Placement)
        if self.label and self.placement not in CHOSEN:
            raise ValueError(f"a kind whose placement is {self.placement!r} has no label")


class _Rest(NamedTuple):
    until_s: float
    error: BaseException  # what the actor failed with


class Group:
    """All actors of one kind in a system. It decides what happens to each that fails or stops."""

    def __init__(self, system: Host, name: str) -> None:
        self.name = name
        self.kind: Kind | None = None
        self.cells: dict[Cell, Alarm | None] = {}  # with the alarm of the next check for idleness
        self.closed = False
        self.system = system
        self._resting: dict[str, _Rest] = {}

    def activate(self, key: str) -> Cell:
        """Start the actor with this key.

        Raises ActorFailed while the actor rests after too many failures.
        """
        kind = self.kind
        assert kind is not None
        self._check_rest(key)
        factory = functools.partial(kind.factory, key)
        cell = self.system.place(Seat(self.name, key, factory, kind, self))
        if not cell.alive:  # its constructor keeps raising
            self._check_rest(key)
            raise ActorFailed(cell.name, 0.0, cell.error)
        if kind.idle_after_s is not None:
            self._watch_idle(cell, kind.idle_after_s, -1)
        return cell

    def _check_rest(self, key: str) -> None:
        rest = self._resting.get(key)
        if rest is not None:
            raise ActorFailed(f"{self.name}/{key}", self.rest_s(key), rest.error)

    def rest_s(self, key: str) -> float:
        rest = self._resting.get(key)
        if rest is not None:
            return rest.until_s - self.system.now()
        return math.inf if self.kind is None else 0.0

    def adopt(self, cell: Cell) -> None:
        self.cells[cell] = None

    def child_failed(self, cell: Cell, error: BaseException) -> None:
        policy = cell.policy
        if policy.restart == "temporary" or self.closed:
            cell.end("failed")
            return
        window, exceeded = self._count(cell)
        # A log that cannot be replayed now cannot be replayed a moment later either, so a restart
        # is not tried.
        if not exceeded and not isinstance(error, (RecoveryFailed, NoStores)):
            nth = len(window.at_s)
            cell.restart(policy.backoff.delay_s(nth, self.system.random))
            return
        self.give_up(cell, error)

    def _count(self, cell: Cell) -> tuple[RestartWindow, bool]:
        """Count a restart of the cell; return its window, and whether that was one too many."""
        policy = cell.policy
        window = cell.window or RestartWindow(policy.max_restarts, policy.within_s)
        cell.window, exceeded = window.record(self.system.now())
        return cell.window, exceeded

    def give_up(self, cell: Cell, error: BaseException) -> None:
        """End a cell that failed more often than its policy allows."""
        if self.kind is not None and self.kind.retry_failed_after_s > 0:
            self._rest(cell.key, self.kind.retry_failed_after_s, error)
        _log.error("actor_gave_up", kind=cell.kind, key=cell.key, error=shown(error))
        cell.end("failed")

    def child_ended(self, cell: Cell, reason: Reason) -> None:
        look = self.cells.pop(cell, None)
        if look is not None:  # else the alarm would keep the ended cell in memory
            look.cancel()
        if reason not in ("stopped", "killed") or cell.policy.restart != "permanent" or self.closed:
            return
        # A permanent actor that stopped, or was killed when it took too long, is started again
        # under the same name. That counts as a failure: else an actor that stops in on_start would
        # start for ever.
        window, exceeded = self._count(cell)
        if exceeded:
            _log.error("actor_gave_up", kind=cell.kind, key=cell.key, error="it keeps stopping")
            return
        seat = Seat(cell.kind, cell.key, cell.factory, cell.policy, self)
        self.system.place(seat).window = window

    async def stop(self) -> None:
        """Ask all actors of the group to stop, the last started first, and wait for all of them."""
        self.closed = True
        await stop_together(list(reversed(self.cells)))

    def _rest(self, key: str, seconds: float, error: BaseException) -> None:
        self._resting[key] = _Rest(self.system.now() + seconds, error)
        if not math.isinf(seconds):
            self.system.alarm(seconds, functools.partial(self._resting.pop, key, None))

    def _watch_idle(self, cell: Cell, idle_after_s: float, handled_before: int) -> None:
        """Check once an interval whether a message came. That is cheaper than a clock for each."""

        def look() -> None:
            if cell.alive:
                if cell.handled == handled_before and cell.idle():
                    cell.stop("passivated")
                # Keep watching also after the stop: a message that comes meanwhile revives this
                # cell.
                self._watch_idle(cell, idle_after_s, cell.handled)

        self.cells[cell] = self.system.alarm(idle_after_s, look)
