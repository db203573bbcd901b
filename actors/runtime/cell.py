"""The place of an actor in the tree: what stays the same over its restarts."""

from __future__ import annotations

import enum
import math
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Protocol

import pykka
import structlog
import trio

from .dispatcher import Dispatcher, Workers
from .errors import ActorFailed
from .future import Future
from .mailbox import Control
from .messages import Terminated
from .reasons import Reason
from .ref import ActorRef, Naming
from .restart import RestartPolicy, RestartWindow
from .timers import Alarm

_log = structlog.get_logger("actors")

GRACE_S: Final = 1.0
"""How long a cancelled actor may still take in its own clean-up before it is left behind."""


class State(enum.Enum):
    """Where in its life a cell is."""

    RECOVERING = "recovering"  # the instance gets its state back from stores
    STARTING = "starting"
    RUNNING = "running"
    FAILING = "failing"  # the instance broke; its hooks run
    FAILED = "failed"  # the instance is gone; its parent decides
    WAITING = "waiting"  # for the end of its back-off
    STOPPING = "stopping"
    HALTED = "halted"  # by its supervisor, which will start it again or stop it
    ENDED = "ended"


_EMPTY: Final = (State.WAITING, State.HALTED, State.FAILED)
"""There is no instance, and there may be another one."""


class Parent(Protocol):
    """Who decides what becomes of a cell."""

    @property
    def closed(self) -> bool:
        """Whether no more children may be started."""

    def adopt(self, cell: Cell) -> None:
        """A new child."""

    def child_failed(self, cell: Cell, error: BaseException) -> None:
        """The cell's instance failed and is gone. Restart the cell or end it."""

    def child_ended(self, cell: Cell, reason: Reason) -> None:
        """The cell has ended."""

    def rest_s(self, key: str) -> float:
        """How long an actor that failed rests, in seconds; infinity: for ever, or it is not known.

        Zero: the next message tries again.
        """


@dataclass(frozen=True, slots=True)
class Seat:
    """A seat in the tree: where it is, and who is to sit there."""

    kind: str
    key: str
    factory: Callable[[], Any]
    policy: RestartPolicy
    parent: Parent


class Host(Naming, Protocol):
    """A system, as the cells in it see it: names, places, time, and what it counts."""

    random: random.Random
    nursery: trio.Nursery
    dispatcher: Dispatcher
    workers: Workers
    restarts: int
    quarantined: int
    handled_in_threads: int  # by those that have ended
    in_threads: set[Cell]  # actors in threads of their own, which are there now
    refused: int  # by full mailboxes, like `dropped`
    dropped: int

    def now(self) -> float:
        """Trio's clock, in seconds."""

    def alarm(self, delay_s: float, function: Callable[[], object]) -> Alarm:
        """`after` for the runtime's own: nobody's failure, and nobody is held until then."""

    def call_soon(self, function: Callable[..., object], *args: Any) -> None:
        """Call a function at home, soon; from any thread. Raises MailboxFull, RunFinishedError."""

    def fail(self, error: BaseException) -> None:
        """The root gives up, or an actor asks for the end of all."""

    def lookup(self, kind: str, key: str) -> Cell | None:
        """The cell of that name, if there is one now."""

    def registered(self, kind: str) -> bool:
        """Whether the kind is registered."""

    def make(self, factory: Callable[[], Any]) -> Any:
        """Call the factory with this system as the current one. Raises what it raises."""

    def try_to_make(self, seat: Seat | Cell) -> tuple[Any, Exception | None]:
        """An instance, or what its constructor raised."""

    def place(self, seat: Seat) -> Cell:
        """Make the first instance and the cell of that name, and start it.

        Raises ActorExists if the name is taken, ActorDeadError if the system is stopping.
        """

    def forget(self, cell: Cell) -> None:
        """The cell has ended: its name is free."""


class Cell:
    """Identity, life and watchers of one actor. Subclasses run it: in the loop, or in a thread.

    All methods are for the home thread.
    """

    __slots__ = (
        "_deadline",
        "_ended",
        "_started",
        "error",
        "factory",
        "halted",
        "handled",
        "incarnation",
        "key",
        "kind",
        "notices",
        "parent",
        "policy",
        "reason",
        "ref",
        "restarts",
        "state",
        "system",
        "thread",
        "watchers",
        "watching",
        "window",
    )

    def __init__(self, system: Host, seat: Seat) -> None:
        self.system = system
        self.kind = seat.kind
        self.key = seat.key
        self.factory = seat.factory
        self.policy = seat.policy
        self.parent = seat.parent
        self.state = State.STARTING
        self.thread = -1  # from which thread a message may go straight to the mailbox
        self.incarnation = 0
        self.restarts = 0
        self.handled = 0  # messages, over all incarnations
        self.reason: Reason | None = None
        self.error: BaseException | None = None
        self.window: RestartWindow | None = None
        self.watchers: dict[Cell, None] | None = None
        self.watching: set[ActorRef] | None = None
        self.notices: dict[ActorRef, Control] | None = None  # of ends, yet to be handled
        self.halted: Future[bool] | None = None  # asked to halt
        self._deadline: Alarm | None = None  # by which it must have stopped
        self._ended: Future[bool] | None = None
        self._started: Future[bool] | None = None
        self.ref = ActorRef(system, seat.kind, seat.key, self)

    @property
    def name(self) -> str:
        return f"{self.kind}/{self.key}"

    @property
    def alive(self) -> bool:
        return self.state is not State.ENDED

    @property
    def up(self) -> bool:
        """Whether the present instance has started, and all that belongs to it."""
        return self.state in (State.RUNNING, State.STOPPING)

    @property
    def shutdown_s(self) -> float:
        """How long the actor may take to stop, in seconds."""
        if self.policy.shutdown_s is not None:
            return self.policy.shutdown_s
        return getattr(self.actor_or_none(), "default_shutdown_s", 5.0)

    # --- what subclasses do ----------------------------------------------------------------------

    def begin(self, actor: Any) -> None:
        """Start this instance."""
        raise NotImplementedError

    def tell(self, message: Any) -> None:
        """Take a message in, from any thread."""
        raise NotImplementedError

    def tell_or_wait(self, message: Any) -> Future[bool] | None:
        """Take a message in, or return a future that is set when it is in."""
        self.tell(message)
        return None

    def ask(self, message: Any, future: Future[Any]) -> None:
        """Take a message in whose reply settles `future`, from any thread."""
        raise NotImplementedError

    def request_stop(self, reason: Reason) -> None:
        """Have the actor stop after what is in its mailbox."""
        raise NotImplementedError

    def request_halt(self) -> None:
        """Have the instance stop after its message; in a thread, after what is in the inbox."""
        raise NotImplementedError

    def kill(self, reason: Reason = "killed") -> None:
        """End at once, without hooks."""
        raise NotImplementedError

    def control(self, control: Control, *, first: bool = False) -> None:
        """Take in a control message, past any bound."""
        raise NotImplementedError

    def tell_from_thread(self, message: Any) -> None:
        """Take a message in, called in another thread. Raises MailboxFull if it knows already."""
        raise NotImplementedError

    def cancel(self) -> None:
        """Cancel what the instance awaits, if anything."""

    def idle(self) -> bool:
        """Whether the actor has nothing to do and agrees to be passivated."""
        return False

    def actor_or_none(self) -> Any:
        """The present instance."""
        raise NotImplementedError

    # --- life ------------------------------------------------------------------------------------

    def start(self) -> None:
        """Make an instance and start it. A constructor that raises is a failure like any other."""
        if self._started is not None and self._started.done:
            self._started = None
        actor, error = self.system.try_to_make(self)
        self.begin_or_fail(actor, error)

    def begin_or_fail(self, actor: Any, error: Exception | None) -> None:
        """Start an instance, unless its constructor raised `error` or it cannot be started."""
        if error is None:
            try:
                self.begin(actor)
            except Exception as raised:  # no more threads, or no actor of this runtime
                error = raised
                _log.error("not_begun", kind=self.kind, key=self.key, exc_info=error)
        if error is not None:
            self.failed(error)

    def when_started(self) -> Future[bool]:
        """A future of whether the present instance, or the one after a back-off, did start."""
        if self._started is None:
            self._started = Future(self.system.home)
            if self.up:
                self.has_started()
            elif self.state in (State.FAILED, State.HALTED, State.ENDED):
                self.has_started(well=False)
        return self._started

    def has_started(self, *, well: bool = True) -> None:
        """Tell who waits for the start."""
        if self._started is not None:
            self._started.settle_quietly(well)

    def stop(self, reason: Reason = "stopped") -> Future[bool]:
        """Ask the actor to stop, and kill it if it takes longer than its policy allows.

        The future is True once it has ended.
        """
        future = self.when_ended()
        if self.state in _EMPTY:
            self.end(reason)
        elif self.alive:
            self.request_stop(reason)
            if self._deadline is None:
                self._set_deadline(self.shutdown_s, self._overdue)
        return future

    def _overdue(self) -> None:
        _log.warning("killed_after_deadline", kind=self.kind, key=self.key, s=self.shutdown_s)
        self.kill()

    def _set_deadline(self, seconds: float, function: Callable[[], object]) -> None:
        """Call the function unless the cell has ended, or begun anew, by then."""
        self._drop_deadline()
        if seconds < math.inf and self.alive:
            self._deadline = self.system.alarm(seconds, function)

    def _drop_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def when_ended(self) -> Future[bool]:
        """A future that is True once the actor has ended."""
        if self._ended is None:
            self._ended = Future(self.system.home)
            if not self.alive:
                self._ended.set(True)
        return self._ended

    def failed(self, error: BaseException) -> None:
        """The instance is gone because of `error`: the parent decides."""
        self.state = State.FAILED
        self.error = error
        self.has_started(well=False)
        self.parent.child_failed(self, error)

    def restart(self, delay_s: float = 0.0) -> None:
        """Start a new instance, `delay_s` seconds from now."""
        self.restarts += 1
        self.system.restarts += 1
        self._started = None
        _log.info("actor_restart", kind=self.kind, key=self.key, delay_s=round(delay_s, 3))
        if delay_s > 0:
            self.state = State.WAITING
            self.system.alarm(delay_s, self._end_of_wait)
        else:
            self.start()

    def _end_of_wait(self) -> None:
        if self.state is State.WAITING:
            self.start()

    def end(self, reason: Reason) -> None:
        """Leave the tree: tell watchers, the parent and whoever waits for the end."""
        if self.state is State.ENDED:
            return
        self.state = State.ENDED
        self._drop_deadline()
        self.has_started(well=False)
        self.thread = -1
        self.reason = reason
        self.system.forget(self)
        if self.watching is not None:
            for ref in self.watching:
                self._off_the_list_of(ref)
        for watcher in self.watchers or ():
            if watcher.watching is not None:  # a room outlives thousands of its sessions
                watcher.watching.discard(self.ref)
            watcher.notify(Terminated(self.ref, reason))
        self.watchers = self.watching = self.notices = None
        self.parent.child_ended(self, reason)
        if self._ended is not None:
            self._ended.settle_quietly(True)
        if self.halted is not None:
            self.halted.settle_quietly(False)
        # Refs lead on to this cell, so it must not lead back to one of them: whoever comes and goes
        # would leave a cycle of seven objects, 2.5 KiB, for the collector to find some day.
        self.ref = ActorRef(self.system, self.kind, self.key)

    def halt(self) -> Future[bool]:
        """Have the instance stop and keep the mailbox for the next one.

        The future is True once the instance is gone, False if the cell has ended meanwhile.
        """
        if self.halted is not None:
            return self.halted
        halted = self.halted = Future(self.system.home)
        if self.state in _EMPTY:
            self.be_halted()
        else:
            self.request_halt()
        return halted

    def be_halted(self) -> None:
        """The instance is gone as its supervisor asked: tell it, which decides what comes next."""
        self.state = State.HALTED
        halted, self.halted = self.halted, None
        if halted is not None:
            halted.settle_quietly(True)

    def obituary(self, reason: Reason) -> pykka.ActorDeadError:
        """What is told to those whose messages the actor has not handled."""
        if reason in ("failed", "escalated"):
            return ActorFailed(self.name, self.parent.rest_s(self.key), self.error)
        return pykka.ActorDeadError(f"{self.name} ended ({reason}) before it handled the message")

    # --- watching --------------------------------------------------------------------------------

    def watch(self, ref: ActorRef) -> None:
        """See `Actor.watch`."""
        cell = self.system.lookup(ref.kind, ref.key)
        if cell is None:
            if self.notices is None or ref not in self.notices:
                self.notify(Terminated(ref, ref.ended_as() or "absent"))
            return
        if cell.watchers is None:
            cell.watchers = {}
        cell.watchers[self] = None
        if self.watching is None:
            self.watching = set()
        self.watching.add(ref)

    def unwatch(self, ref: ActorRef) -> None:
        """See `Actor.unwatch`."""
        if self.notices is not None:
            self.notices.pop(ref, None)
        if self.watching is not None and ref in self.watching:
            self.watching.discard(ref)
            self._off_the_list_of(ref)

    def notify(self, end: Terminated) -> None:
        """Have the actor hear of an end, in place of an earlier one that it has yet to hear of."""
        if self.notices is None:
            self.notices = {}
        notice = self.notices.get(end.ref)
        if notice is not None:
            notice.message = end
            return
        notice = self.notices[end.ref] = Control(end, self)
        self.control(notice)

    def take(self, notice: Control) -> bool:
        """Whether the actor still wants to hear of that end."""
        notices, ref = self.notices, notice.message.ref
        if notices is None or notices.get(ref) is not notice:
            return False
        del notices[ref]
        return True

    def _off_the_list_of(self, ref: ActorRef) -> None:
        cell = self.system.lookup(ref.kind, ref.key)
        if cell is not None and cell.watchers is not None:
            cell.watchers.pop(self, None)
