"""`Actor`, the class that embedders subclass."""

from __future__ import annotations

from collections.abc import Callable
from contextvars import Context
from types import TracebackType
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn, TypeVar

import pykka
import structlog

from .checks import check_callable
from .errors import Misfit, Stashed, UnhandledMessage
from .future import Future
from .handlers import HandlerTable
from .lifecycle import LoopLife
from .mailbox import Mailbox, MailboxSpec
from .piped import Piped
from .ref import ActorRef
from .runtime_hooks import NO_HOOKS, RuntimeHooks
from .system_view import SystemView, current_system
from .timers import Timer

if TYPE_CHECKING:
    # Pykka types its hooks as `-> None`, and an `async def on_start` would be an error in every
    # subclass. To type checkers an Actor is therefore not Pykka's; at run time it is.
    class _PykkaActor:
        pass

else:
    _PykkaActor = pykka.Actor


T = TypeVar("T")


class Actor(_PykkaActor):
    """A Pykka actor that lives in a trio event loop and handles one message at a time.

    Subclass it, mark handlers with `@handles(MessageType)`, and start it with `Actor.start` or
    `ActorSystem.start`. Handlers and hooks may be `def` or `async def`. While one of them awaits
    something, the other messages wait in the mailbox.

    What a handler returns is the reply to an ask. If a handler returns an `actors.Future`, the
    result of that future becomes the reply, and the actor goes on with its next message meanwhile.

    A handler that raises a `Refusal` sends it to the asker as an answer, and the actor goes on. Any
    other exception is a failure of the actor: the asker gets the exception, `on_failure` runs, and
    the restart policy decides whether a new instance takes over the mailbox. An exception in a
    callback that the actor left with a future counts as a failure of the actor, too, and so does an
    exception that is no `Exception` (see `HandlerPanic`). The exceptions to this are SystemExit and
    KeyboardInterrupt: they stop all actors of the system in order, and are then raised out of
    `async with ActorSystem()`.

    A Ctrl-C is never raised inside an actor. Code of an actor that is running finishes first, even
    if it is an endless loop (see `ActorSystem`).

    Each actor has its own context variables. It begins with those that were set when the system was
    opened, and no other actor sees what it sets. The decimal context is one of them; it begins as a
    copy of decimal.DefaultContext.

    The constructor runs before the actor has a place in the system. `system`, `actor_ref`, timers
    and `watch` can be used from `on_start` on.
    """

    mailbox: ClassVar[MailboxSpec] = MailboxSpec()
    """How many messages may wait for this actor, and what happens to one more."""

    _cell: LoopLife | None = None
    _log: Any = None
    _made_in: Context | None = None  # the context variables, if the constructor set any

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls.actor_handlers = HandlerTable(cls)

    def __init__(self, *_args: Any, **_kwargs: Any) -> None:
        # Pykka's constructor is not called on purpose: the uuid4, threading.Event, inbox and ref
        # that it makes cost 11 us and 2 KiB an actor. The cell has these instead.
        pass

    # --- Pykka's seams for new actor types -------------------------------------------------------

    @classmethod
    def start(cls, *args: Any, **kwargs: Any) -> ActorRef:
        """Start an actor of this class in the current system, and return its ref.

        The current system is the one whose `async with` block, or whose actor, makes this call. The
        arguments go to the constructor. `ActorSystem.start` can give the actor a name as well.

        Raises RuntimeError if there is no current system.
        """
        return current_system().start(cls, *args, **kwargs)

    @staticmethod
    def _create_actor_inbox() -> Any:
        return Mailbox(Actor.mailbox)

    @staticmethod
    def _create_future() -> Future[Any]:
        return Future()

    def _start_actor_loop(self) -> None:
        raise RuntimeError("start an actor with Actor.start() or ActorSystem.start()")

    def __str__(self) -> str:
        return f"{type(self).__name__} ({self.actor_urn})"

    @property
    def _placed(self) -> LoopLife:
        if self._cell is None:
            raise RuntimeError(
                f"{type(self).__name__} has no place in a system yet; do this in on_start"
            )
        return self._cell

    @property
    def actor_ref(self) -> ActorRef:
        """The ref by which other actors reach this one.

        It stays valid when the actor is restarted.
        """
        return self._placed.ref

    @property
    def actor_urn(self) -> str:
        """A name for logs: `urn:actor:<kind>/<key>`, unique within the system."""
        return f"urn:actor:{self._cell.name}" if self._cell else "urn:actor:unplaced"

    @property
    def actor_inbox(self) -> Any:
        """The mailbox."""
        return self._placed.mailbox

    @property
    def actor_stopped(self) -> Any:
        """An object whose `is_set()` says whether the actor has ended."""
        return self._placed.ref.actor_stopped

    # --- context ---------------------------------------------------------------------------------

    @property
    def system(self) -> SystemView:
        """The `ActorSystem` that this actor lives in.

        Its type is a Protocol, not the class; `runtime.system_view` gives the reason.
        """
        return self._placed.system

    @property
    def log(self) -> Any:
        """A structlog logger bound to the actor's kind and key."""
        if self._log is None:
            cell = self._placed
            self._log = structlog.get_logger("actors").bind(kind=cell.kind, key=cell.key)
        return self._log

    def watch(self, ref: ActorRef) -> None:
        """Receive one `Terminated(ref, reason)` message when the actor of `ref` ends.

        If there is no such actor, the message comes at once. A restart is not an end. Watching the
        same actor again before its Terminated has been handled has no effect.
        """
        self._placed.watch(ref)

    def unwatch(self, ref: ActorRef) -> None:
        """Stop watching.

        No Terminated comes any more, not even one that is in the mailbox already.
        """
        self._placed.unwatch(ref)

    def start_timer(self, delay_s: float, message: Any, *, name: str | None = None) -> Timer:
        """Receive `message` in `delay_s` seconds. A timer of the same name is replaced.

        A timer belongs to the present instance: it ends when the actor stops or is restarted. With
        an infinite delay the message never comes.

        Raises ValueError for a delay that is negative or NaN.
        """
        return self._placed.actor_timers().start(delay_s, message, name=name)

    def start_ticks(
        self,
        interval_s: float,
        message: Any,
        *,
        first_s: float | None = None,
        name: str | None = None,
    ) -> Timer:
        """Receive `message` every `interval_s` seconds, without drift.

        The first comes in `first_s` seconds, by default after one interval. While a tick waits in
        the mailbox no other is added, so that ticks never pile up.

        Raises ValueError for an interval below a microsecond, and for a `first_s` that is negative
        or NaN.
        """
        return self._placed.actor_timers().start(
            interval_s if first_s is None else first_s, message, name=name, interval_s=interval_s
        )

    def cancel_timer(self, timer: Timer | str) -> None:
        """Cancel a timer, given the timer or its name.

        Its message does not come any more, not even if it is in the mailbox already.
        """
        self._placed.actor_timers().cancel(timer)

    def pipe_to_self(self, future: Future[T], message: Callable[[Future[T]], Any]) -> None:
        """Receive `message(future)` as a message once the future is done. The name is Akka's.

        An actor uses this to change its state by the result of an ask, or of a persisted event,
        without waiting for it::

            self.pipe_to_self(bank.ask(Charge(5)), partial(Charged, order.id))

            @handles(Charged)
            def charged(self, message: Charged) -> None:
                if message.done.exception() is None:
                    self.paid.add(message.order)

        The message comes whether the future succeeded, failed or timed out, and also if the mailbox
        is full. The function `message` is called in the actor's own turn. An exception in it is a
        failure of the actor; that includes the future's own exception if the function calls
        `done.result()`.

        The message is meant for the present instance: after a restart or a stop it does not come.
        An actor that waits for one is not idle, so it is not passivated.

        Raises TypeError for a future that cannot report when it is done (`pykka.ThreadingFuture`),
        and for a `message` that is not callable.
        """
        if not isinstance(future, Future):
            raise TypeError(f"a {type(future).__name__} does not tell when it is done")
        check_callable("message", message)
        Piped(self._placed, self, future, message)

    def stash(self) -> NoReturn:
        """Put the message that is being handled aside until `unstash`; this call does not return.

        The names are Akka's. An actor does this with a message that it cannot answer yet, although
        it can answer others. Whoever asked goes on waiting, and the deadline of the ask holds. What
        is put aside is not in the mailbox and not counted there, so the actor has to bound it.

        An actor with messages put aside is not passivated. If it is restarted, its new instance
        gets them before all others; if it ends, they are treated like those in the mailbox.
        """
        raise Stashed

    def unstash(self, wanted: Callable[[Any], bool] | None = None) -> None:
        """Handle messages that were put aside next, in the order in which they came.

        Arguments:
            wanted: says of a message whether it is meant; None: all are.
        """
        self._placed.bring_back(wanted)

    def stop(self) -> None:
        """Stop once the messages that are in the mailbox now have been handled."""
        self._placed.stop()

    def passivate(self) -> None:
        """Stop like `stop`, but let the next message bring the actor back.

        `may_passivate` is asked once the messages in the mailbox have been handled, since one of
        them may have given the actor a reason to stay. If it says no, the actor goes on.

        Raises RuntimeError for an actor whose kind is not registered: nothing could bring it back.
        """
        cell = self._placed
        if not self.system.registered(cell.kind):
            raise RuntimeError(f"kind {cell.kind!r} is not registered, so it cannot come back")
        cell.stop("passivated")

    def may_passivate(self) -> bool:
        """Return whether the actor may be passivated now.

        A room that has members says no, for example.

        It is asked when the actor has been idle for its kind's `idle_after_s`, and after
        `passivate`.
        """
        return True

    # --- hooks -----------------------------------------------------------------------------------

    def on_start(self) -> Any:
        """Called before the first message of this instance. May be async.

        A `PersistentActor` has recovered its state by then. Its constructor ran before that, so
        code that depends on the state belongs here.
        """

    def on_receive(self, message: Any) -> Any:
        """Called with each message that no handler claims.

        May be async; what it returns is the reply.

        Unless overridden it raises UnhandledMessage. An asker gets that as its error; a message
        that was told becomes a dead letter. An override can pass messages on to
        `super().on_receive(message)`.
        """
        raise UnhandledMessage(self._placed.name, type(message).__name__)

    def on_stop(self) -> Any:
        """Called after the last message; not called after a failure. May be async."""

    def on_failure(
        self,
        exception_type: type[BaseException] | None,
        exception_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> Any:
        """Called after an exception has ended this instance. May be async."""

    # --- for the runtime -------------------------------------------------------------------------

    actor_handlers: ClassVar[HandlerTable]

    @property
    def actor_hooks(self) -> RuntimeHooks:
        """What the runtime does before and after the hooks. Its own actor types replace this."""
        return NO_HOOKS

    def actor_made(self, context: Context | None) -> None:
        """Take note that the constructor has returned.

        `context` has the context variables, if the constructor set any. Raises Misfit for an
        instance that has, or had, a place in a system already.
        """
        if self._cell is not None:
            raise Misfit(f"the factory made no new actor but {self} again")
        if context is not None:
            self._made_in = context

    def actor_seated(self, cell: LoopLife) -> Context | None:
        """Take the place in `cell`; return the context that the constructor changed, if it did."""
        self._cell = cell
        return self._made_in


Actor.actor_handlers = HandlerTable(Actor)
