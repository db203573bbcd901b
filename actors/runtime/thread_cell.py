"""Pykka ThreadingActors in the tree: named, supervised, and asked with `await`."""

from __future__ import annotations

import inspect
from contextlib import suppress
from typing import Any, ClassVar

import pykka
import structlog
import trio
from pykka._envelope import Envelope  # Pykka's own type crosses its inbox seam
from pykka.messages import _ActorStop

from .actor_thread import ActorThread
from .cell import Cell, Host, Seat, State
from .checks import check_type
from .errors import MailboxFull, Misfit, UnhandledMessage
from .future import Future
from .handlers import marked_method
from .mailbox import Control, MailboxSpec
from .reasons import Reason
from .ref import ActorRef
from .system_view import current_system
from .thread_inbox import ThreadInbox

_log = structlog.get_logger("actors")


class ThreadingActor(pykka.ThreadingActor):
    """An actor with a thread of its own, for code that blocks.

    It is Pykka's ThreadingActor with a bounded inbox. It is started by `start`, by
    `ActorSystem.start` or by a supervisor. What `on_receive` returns is the reply to an ask; if
    that is an `actors.Future`, the result of that future becomes the reply. The thread is a daemon,
    because a blocked call that outlives its deadline must not keep the process from ending.

    Pykka's rules hold in the thread. An exception under `ask` goes to the asker, and the actor goes
    on. An exception under `tell` is a failure of the actor. That includes SystemExit and
    KeyboardInterrupt: in a thread they end no more than the actor. A Ctrl-C is not raised in the
    thread.

    Every message comes to `on_receive`. `@handles`, and hooks that are `async def`, are for actors
    in the loop; a subclass that has them raises TypeError.
    """

    use_daemon_thread = True
    mailbox: ClassVar[MailboxSpec] = MailboxSpec()
    """The capacity of the inbox.

    The inbox refuses messages when it is full; a subclass with another `on_full` raises ValueError.
    """

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        _check_receives(cls)
        check_type(f"{cls.__name__}.mailbox", cls.mailbox, MailboxSpec)
        if cls.mailbox.on_full != "refuse":
            raise ValueError(
                f"{cls.__name__}.mailbox: the inbox of an actor in a thread refuses when it is"
                f" full; {cls.mailbox.on_full!r} is for actors in the loop"
            )

    @classmethod
    def start(cls, *args: Any, **kwargs: Any) -> ActorRef:
        """Start an actor in the current system, as `Actor.start` does.

        Raises RuntimeError if there is no current system.
        """
        return current_system().start(cls, *args, **kwargs)

    def on_receive(self, message: Any) -> Any:
        """Called with each message, except those of proxies. What it returns is the reply.

        Unless overridden it raises UnhandledMessage. An asker gets that as its error; a message
        that was told becomes a dead letter.
        """
        name = self.actor_ref.actor_urn.removeprefix("urn:actor:")
        raise UnhandledMessage(name, type(message).__name__)


def _check_receives(cls: type) -> None:
    if (name := marked_method(cls)) is not None:
        raise TypeError(
            f"{cls.__name__}.{name}: @handles is for actors in the loop; an actor in a thread gets"
            " every message by on_receive"
        )
    for name in ("on_receive", "on_start", "on_stop", "on_failure"):
        hook = getattr(cls, name)
        if any(is_it(hook) for is_it in _NEEDS_A_LOOP):
            raise TypeError(f"{cls.__name__}.{name}: nobody would await it in a thread")


_NEEDS_A_LOOP = (
    inspect.iscoroutinefunction,
    inspect.isasyncgenfunction,
    inspect.isgeneratorfunction,
)


def check_new(actor: pykka.ThreadingActor) -> None:
    """Raise Misfit, a TypeError, if the instance has, or had, a place in a system."""
    if isinstance(vars(actor).get("_actor_ref"), ActorRef):
        raise Misfit(f"the factory made no new actor but {actor} again")


class ThreadCell(Cell):
    """Runs a pykka.ThreadingActor of any class.

    Pykka's rules hold in the thread: an exception under `tell` ends the instance, one under `ask`
    goes to the asker only. In addition, the cell's parent hears of a failure and can restart the
    actor. The next instance goes on with the same inbox.
    """

    __slots__ = ("_running", "_stopping", "inbox")

    def __init__(self, system: Host, seat: Seat, capacity: int) -> None:
        super().__init__(system, seat)
        self.inbox = ThreadInbox(capacity, self.name)
        self._running: ActorThread | None = None
        self._stopping: Reason | None = None

    def idle(self) -> bool:
        running = self._running
        return (
            self.state is State.RUNNING
            and running is not None
            and not running.busy
            and self.inbox.empty()
        )

    def actor_or_none(self) -> Any:
        return None if self._running is None else self._running.actor

    def begin(self, actor: Any) -> None:
        if not isinstance(actor, pykka.ThreadingActor):
            raise TypeError(f"{self.name}: the factory made a {type(actor).__name__} this time")
        self.incarnation += 1
        self.system.in_threads.add(self)
        # These are set on the instance, so that a ThreadingActor of any class can be used.
        actor.actor_inbox = self.inbox
        actor._actor_ref = self.ref  # noqa: SLF001 -- Pykka has no other way to say who it is
        self._running = ActorThread(
            actor,
            self.inbox,
            f"{self.name}-{self.incarnation}",
            started=self._started_in_thread,
            handled=self._handled_in_thread,
            ended=self._ended_in_thread,
            unhandled=self._unhandled_in_thread,
        )
        self.state = State.STARTING
        try:
            # A new thread has no context variables, so it is given those that every actor begins
            # with.
            self._running.start(self.system.dispatcher.contexts.fresh())
        except BaseException:  # the operating system may allow no more threads
            self._running = None
            raise

    # --- called in the thread --------------------------------------------------------------------

    def _started_in_thread(self, thread: ActorThread) -> None:
        with suppress(trio.RunFinishedError):
            self.system.home.call_soon(self._thread_started, thread)

    def _handled_in_thread(self) -> None:
        self.handled += 1

    def _ended_in_thread(self, thread: ActorThread) -> None:
        try:
            self.system.home.call_soon(self._thread_ended, thread)
        except trio.RunFinishedError:
            _log.warning("thread_outlived_its_system", kind=self.kind, key=self.key)

    def _unhandled_in_thread(self, message: Any) -> None:
        with suppress(trio.RunFinishedError):
            self.system.home.call_soon(self.system.dead_letters.add, self.ref, message, "unhandled")

    # --- and then in the home thread -------------------------------------------------------------

    def _thread_started(self, thread: ActorThread) -> None:
        if thread is self._running and self.state is State.STARTING:
            self.state = State.RUNNING
            self.has_started()

    def _thread_ended(self, thread: ActorThread) -> None:
        if thread is not self._running or not self.alive:
            return
        self._running = None
        if (
            self._stopping == "passivated"
            and not self.inbox.empty()
            and self.system.may_start(self.kind)
        ):
            self._stopping = None
            self.start()  # messages came while it stopped
        elif self._stopping is not None:
            self.end(self._stopping)
        elif self.halted is not None:
            self.be_halted()
        elif thread.error is not None:
            _log.error("actor_failed", kind=self.kind, key=self.key, exc_info=thread.error)
            self.failed(thread.error)
        else:
            self.end("stopped")

    # --- messages, and being asked to end --------------------------------------------------------

    def tell(self, message: Any) -> None:
        self._put(Envelope(message))

    def tell_from_thread(self, message: Any) -> None:
        self._put(Envelope(message))
        if not self.alive:  # it ended at this moment, and nothing reads its inbox any more
            with suppress(trio.RunFinishedError):
                self.system.home.call_soon(self._turn_away)

    def _put(self, envelope: Envelope[Any]) -> None:
        try:
            self.inbox.put(envelope)
        except MailboxFull:
            self.system.refused += 1
            raise

    def ask(self, message: Any, future: Future[Any]) -> None:
        try:
            self._put(Envelope(message, future))
        except MailboxFull as error:
            future.settle_quietly(error=error)

    def control(self, control: Control, *, first: bool = False) -> None:  # noqa: ARG002 -- in order
        self.inbox.put_control(Envelope(control.message))

    def request_stop(self, reason: Reason) -> None:
        if self._stopping is None:
            self.inbox.put_control(Envelope(_ActorStop()))
        if self._stopping in (None, "passivated"):
            self._stopping = reason

    def request_halt(self) -> None:
        self.inbox.put_control(Envelope(_ActorStop()))

    def kill(self, reason: Reason = "killed") -> None:
        """End the cell at once. The thread goes on for a while, as it cannot be cancelled."""
        if self._running is not None:
            _log.error("thread_left_behind", kind=self.kind, key=self.key)
            self._running.abandon()
        self.end(reason)
        self.inbox.put_control(Envelope(_ActorStop()))  # else it would wait for another message

    def end(self, reason: Reason) -> None:
        if not self.alive:
            return
        super().end(reason)
        self.system.in_threads.discard(self)
        self.system.handled_in_threads += self.handled
        self._turn_away()

    def _turn_away(self) -> None:
        """Answer what is left with an error, or start a passivated actor again for it."""
        reason = self.reason or "stopped"
        for message in self.inbox.close(lambda: self.obituary(reason)):
            if reason == "passivated" and self.system.may_start(self.kind):
                self.ref.tell_soon(message)
            else:
                self.system.dead_letters.add(self.ref, message, reason)
