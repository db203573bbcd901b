"""The place of an actor in the tree: the part of it that survives restarts."""

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
from .watching import Located, Watcher

_log = structlog.get_logger("actors")

GRACE_S: Final = 1.0
"""How long the clean-up of a cancelled actor may take before the cell ends without waiting for
it."""


class State(enum.Enum):
    """Where in its life a cell is."""

    RECOVERING = "recovering"  # the instance reads its state from the stores
    STARTING = "starting"
    RUNNING = "running"
    FAILING = "failing"  # the instance failed and its hooks run
    FAILED = "failed"  # the instance is gone, and the parent is to decide what comes next
    WAITING = "waiting"  # for the end of its back-off
    STOPPING = "stopping"
    HALTED = "halted"  # its supervisor has stopped the instance, and will start another or end it
    ENDED = "ended"


_EMPTY: Final = (State.WAITING, State.HALTED, State.FAILED)
"""States without an instance, in which another instance may follow."""


class Parent(Protocol):
    """Decides about a cell that has failed or ended: a supervisor, or the group of its kind."""

    @property
    def closed(self) -> bool:
        """Whether no more children may be started."""

    def adopt(self, cell: Cell) -> None:
        """Take the cell as a new child."""

    def child_failed(self, cell: Cell, error: BaseException) -> None:
        """Restart or end the cell, whose instance has failed and is gone."""

    def child_ended(self, cell: Cell, reason: Reason) -> None:
        """Take note that the cell has ended."""

    def rest_s(self, key: str) -> float:
        """Return in how many seconds a message to the failed actor will start it again.

        Zero means that the next message does; infinity means never, or that it is not known.
        """


@dataclass(frozen=True, slots=True)
class Seat:
    """What a cell is made from: the actor's name, its factory, its policy and its parent."""

    kind: str
    key: str
    factory: Callable[[], Any]
    policy: RestartPolicy
    parent: Parent


class Host(Naming, Protocol):
    """An actor system, as the cells in it see it."""

    random: random.Random
    nursery: trio.Nursery
    dispatcher: Dispatcher
    workers: Workers
    restarts: int
    quarantined: int
    handled_in_threads: int  # messages, by actors in threads that have ended
    in_threads: set[Cell]  # actors in threads that have not ended
    refused: int  # messages that full mailboxes refused
    dropped: int  # messages that full mailboxes dropped

    def now(self) -> float:
        """Return the time of trio's clock, in seconds."""

    def alarm(self, delay_s: float, function: Callable[[], object]) -> Alarm:
        """Call a function of the runtime in `delay_s` seconds.

        Unlike with `after`, an exception in it is no actor's failure, and the alarm keeps no
        instance alive.
        """

    def call_soon(self, function: Callable[..., object], *args: Any) -> None:
        """Call a function soon in the home thread. This may be called from any thread.

        Raises MailboxFull if too many calls wait, and trio.RunFinishedError if the loop has ended.
        """

    def fail(self, error: BaseException) -> None:
        """Stop the system, because its root gave up or an actor asked for it."""

    def lookup(self, kind: str, key: str) -> Cell | None:
        """Return the cell of that name, if there is one now."""

    def whereabouts(self, kind: str, key: str) -> Located | None:
        """Return the actor that has this name now, here or on another node.

        None: there is none here, and here it would be.
        """

    def elsewhere(self, kind: str, key: str) -> Located | None:
        """Return what reaches that actor on another node; None: it is, or starts, on this one.

        Raises ActorDeadError if the actor is on no node that can be reached.
        """

    def belongs_here(self, kind: str, key: str) -> bool:
        """Return whether that actor is, or starts, on this node."""

    def registered(self, kind: str) -> bool:
        """Return whether the kind is registered."""

    def make(self, factory: Callable[[], Any]) -> Any:
        """Call the factory with this system as the current one. Raises what the factory raises."""

    def try_to_make(self, seat: Seat | Cell) -> tuple[Any, Exception | None]:
        """Return a new instance, or None and the exception that its constructor raised."""

    def place(self, seat: Seat) -> Cell:
        """Make the cell and its first instance, and start it.

        Raises ActorExists if the name is taken, ActorDeadError if the system is stopping.
        """

    def forget(self, cell: Cell) -> None:
        """Free the name of a cell that has ended."""


class Cell:
    """The identity, life and watchers of one actor. Subclasses run it in the loop or in a thread.

    Unless a method says otherwise, it is called in the home thread only.
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
        self.thread = -1  # the thread from which a message may go straight to the mailbox
        self.incarnation = 0
        self.restarts = 0
        self.handled = 0  # messages, over all incarnations
        self.reason: Reason | None = None
        self.error: BaseException | None = None
        self.window: RestartWindow | None = None
        self.watchers: dict[Watcher, None] | None = None
        self.watching: set[ActorRef] | None = None
        self.notices: dict[ActorRef, Control] | None = None  # Terminated messages in the mailbox
        self.halted: Future[bool] | None = None  # set once the halt that was asked for is done
        self._deadline: Alarm | None = None  # ends an actor that takes too long to stop
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
        """Whether the present instance has started; for a supervisor, its children as well."""
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
        """Put a message into the mailbox, from any thread."""
        raise NotImplementedError

    def tell_or_wait(self, message: Any) -> Future[bool] | None:
        """Put a message into the mailbox, or return a future that is set once it is in."""
        self.tell(message)
        return None

    def ask(self, message: Any, future: Future[Any]) -> None:
        """Put a message into the mailbox whose reply settles `future`, from any thread."""
        raise NotImplementedError

    def request_stop(self, reason: Reason) -> None:
        """Have the actor stop after the messages that are in its mailbox."""
        raise NotImplementedError

    def request_halt(self) -> None:
        """Have the instance stop after its present message.

        An instance in a thread stops after the messages that are in its inbox.
        """
        raise NotImplementedError

    def kill(self, reason: Reason = "killed") -> None:
        """End the actor at once, without its hooks."""
        raise NotImplementedError

    def control(self, control: Control, *, first: bool = False) -> None:
        """Put a control message into the mailbox, even a full one; `first`: before all others."""
        raise NotImplementedError

    def tell_from_thread(self, message: Any) -> None:
        """Put a message into the mailbox from a thread other than home.

        Raises MailboxFull if the mailbox is known to be full.
        """
        raise NotImplementedError

    def cancel(self) -> None:
        """Cancel the handler or hook that the instance awaits, if there is one."""

    def idle(self) -> bool:
        """Return whether the actor has nothing to do and agrees to be passivated."""
        return False

    def actor_or_none(self) -> Any:
        """Return the present instance, or None between two."""
        raise NotImplementedError

    # --- life ------------------------------------------------------------------------------------

    def start(self) -> None:
        """Make an instance and start it.

        An exception in the constructor is a failure of the actor.
        """
        if self._started is not None and self._started.done:
            self._started = None
        actor, error = self.system.try_to_make(self)
        self.begin_or_fail(actor, error)

    def begin_or_fail(self, actor: Any, error: Exception | None) -> None:
        """Start an instance, unless its constructor raised `error` or it cannot be started."""
        if error is None:
            try:
                self.begin(actor)
            except Exception as raised:  # no more threads, or the factory made no actor
                error = raised
                _log.error("not_begun", kind=self.kind, key=self.key, exc_info=error)
        if error is not None:
            self.failed(error)

    def when_started(self) -> Future[bool]:
        """Return a future that tells whether the present instance started.

        During a back-off, the future is about the instance that comes after it.
        """
        if self._started is None:
            self._started = Future(self.system.home)
            if self.up:
                self.has_started()
            elif self.state in (State.FAILED, State.HALTED, State.ENDED):
                self.has_started(well=False)
        return self._started

    def has_started(self, *, well: bool = True) -> None:
        """Settle the future of `when_started`."""
        if self._started is not None:
            self._started.settle_quietly(well)

    def stop(self, reason: Reason = "stopped") -> Future[bool]:
        """Ask the actor to stop, and kill it if it takes longer than its policy allows.

        Returns a future that is set to True once the actor has ended.
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
        """Call the function in `seconds`, unless the cell has ended or started anew by then."""
        self._drop_deadline()
        if seconds < math.inf and self.alive:
            self._deadline = self.system.alarm(seconds, function)

    def _drop_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def when_ended(self) -> Future[bool]:
        """Return a future that is set to True once the actor has ended."""
        if self._ended is None:
            self._ended = Future(self.system.home)
            if not self.alive:
                self._ended.set(True)
        return self._ended

    def failed(self, error: BaseException) -> None:
        """Let the parent decide about the cell, whose instance is gone because of `error`."""
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
        """Leave the tree, and tell the watchers, the parent and whoever waits for the end."""
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
            if watcher.watching is not None:  # else a room would keep the refs of all past sessions
                watcher.watching.discard(self.ref)
            watcher.notify(Terminated(self.ref, reason))
        self.watchers = self.watching = self.notices = None
        self.parent.child_ended(self, reason)
        if self._ended is not None:
            self._ended.settle_quietly(True)
        if self.halted is not None:
            self.halted.settle_quietly(False)
        # Other refs hold this cell, so a cell that has ended must not hold a ref that holds it:
        # each actor that comes and goes would leave a cycle of seven objects, 2.5 KiB, to the
        # garbage collector.
        self.ref = ActorRef(self.system, self.kind, self.key)

    def halt(self) -> Future[bool]:
        """Have the instance stop, and keep the mailbox for the next one.

        Returns a future that is set to True once the instance is gone, or to False if the cell has
        ended.
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
        """Tell the supervisor that the instance is gone, as it asked.

        It decides what comes next.
        """
        self.state = State.HALTED
        halted, self.halted = self.halted, None
        if halted is not None:
            halted.settle_quietly(True)

    def obituary(self, reason: Reason) -> pykka.ActorDeadError:
        """Return the error for askers whose messages the actor did not handle before it ended."""
        if reason in ("failed", "escalated"):
            return ActorFailed(self.name, self.parent.rest_s(self.key), self.error)
        return pykka.ActorDeadError(f"{self.name} ended ({reason}) before it handled the message")

    # --- watching --------------------------------------------------------------------------------

    def add_watcher(self, watcher: Watcher) -> None:
        if self.watchers is None:
            self.watchers = {}
        self.watchers[watcher] = None

    def remove_watcher(self, watcher: Watcher) -> None:
        if self.watchers is not None:
            self.watchers.pop(watcher, None)

    def watch(self, ref: ActorRef) -> None:
        """See `Actor.watch`."""
        target = self.system.whereabouts(ref.kind, ref.key)
        if target is None:
            if self.notices is None or ref not in self.notices:
                self.notify(Terminated(ref, ref.ended_as() or "absent"))
            return
        target.add_watcher(self)
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
        """Send the actor a Terminated. It replaces one of the same ref that is not handled yet."""
        if self.notices is None:
            self.notices = {}
        notice = self.notices.get(end.ref)
        if notice is not None:
            notice.message = end
            return
        notice = self.notices[end.ref] = Control(end, self)
        self.control(notice)

    def take(self, notice: Control) -> bool:
        """Return whether the actor still watches for the end that this notice reports."""
        notices, ref = self.notices, notice.message.ref
        if notices is None or notices.get(ref) is not notice:
            return False
        del notices[ref]
        return True

    def _off_the_list_of(self, ref: ActorRef) -> None:
        target = self.system.whereabouts(ref.kind, ref.key)
        if target is not None:
            target.remove_watcher(self)
