"""What an embedder subclasses."""

from __future__ import annotations

from collections.abc import Callable
from contextvars import Context
from types import TracebackType
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

import pykka
import structlog

from .checks import check_callable
from .errors import Misfit, UnhandledMessage
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
    """A Pykka actor that lives in a trio loop: one message at a time, state of its own.

    Subclass it, mark handlers with `@handles(MessageType)`, and start it with `Actor.start` or
    `ActorSystem.start`. Handlers and hooks may be `def` or `async def`; while one awaits, the
    mailbox waits. What a handler returns is the reply of an ask; if that is an `actors.Future`, the
    reply is what the future comes to, and the mailbox does not wait for it.

    A handler that raises a `Refusal` answers with it. Any other exception fails the actor: the
    asker gets it, `on_failure` runs, and by its restart policy a new instance takes over the
    mailbox. So does what is no `Exception` (see `HandlerPanic`), but SystemExit and
    KeyboardInterrupt, which end the system: all actors stop in order, and the exception comes out
    of `async with ActorSystem()`. What an actor's callbacks raise is its failure, too. A Ctrl-C is
    not raised in an actor: whatever runs there runs to its end, also if it spins (see
    `ActorSystem`).

    An actor has context variables of its own, the decimal context among them: it begins with those
    that were set when the system was opened (decimals: with decimal.DefaultContext), and what it
    sets, no other sees.

    The constructor runs before the actor has a place in the system: `system`, `actor_ref`, timers
    and `watch` are there from `on_start` on.
    """

    mailbox: ClassVar[MailboxSpec] = MailboxSpec()
    """How many messages may wait, and what happens beyond that."""

    _cell: LoopLife | None = None
    _log: Any = None
    _made_in: Context | None = None  # what its constructor set, if anything

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls.actor_handlers = HandlerTable(cls)

    def __init__(self, *_args: Any, **_kwargs: Any) -> None:
        # Not Pykka's, on purpose: its uuid4, threading.Event, inbox and ref cost 11 us and 2 KiB
        # an actor. Ours come from the cell, and the urn is made when somebody asks for it.
        pass

    # --- Pykka's seams for new actor types -------------------------------------------------------

    @classmethod
    def start(cls, *args: Any, **kwargs: Any) -> ActorRef:
        """Start an actor in the current system: the one whose `async with`, or actor, we are in.

        Arguments go to the constructor; see `ActorSystem.start` for naming the actor.
        Raises RuntimeError where there is no current system.
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
        """How others, and this actor's timers, reach it. It outlives this instance."""
        return self._placed.ref

    @property
    def actor_urn(self) -> str:
        """A name for logs; unique within the system."""
        return f"urn:actor:{self._cell.name}" if self._cell else "urn:actor:unplaced"

    @property
    def actor_inbox(self) -> Any:
        """The mailbox."""
        return self._placed.mailbox

    @property
    def actor_stopped(self) -> Any:
        """Its `is_set()` says whether the actor has ended."""
        return self._placed.ref.actor_stopped

    # --- context ---------------------------------------------------------------------------------

    @property
    def system(self) -> SystemView:
        """The `ActorSystem` this actor lives in; `runtime.system_view` says why its type is not."""
        return self._placed.system

    @property
    def log(self) -> Any:
        """A structlog logger bound to the actor's kind and key."""
        if self._log is None:
            cell = self._placed
            self._log = structlog.get_logger("actors").bind(kind=cell.kind, key=cell.key)
        return self._log

    def watch(self, ref: ActorRef) -> None:
        """Get one `Terminated(ref, reason)` when that actor ends; at once if there is none.

        A restart is not an end. Watching twice is watching once, also an actor that is not there,
        until its Terminated has been handled.
        """
        self._placed.watch(ref)

    def unwatch(self, ref: ActorRef) -> None:
        """Watch no more: a Terminated does not come, even if under way."""
        self._placed.unwatch(ref)

    def start_timer(self, delay_s: float, message: Any, *, name: str | None = None) -> Timer:
        """Get `message` in `delay_s` seconds. A timer of the same name is replaced.

        Timers are the instance's: they end when it stops or is restarted. Raises ValueError for a
        delay that is negative or not a number; infinity is never.
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
        """Get `message` every `interval_s` seconds, without drift; first in `first_s`, or as long.

        While one is undelivered no other is added, so ticks never pile up. Raises ValueError for an
        interval below a microsecond, and like `start_timer`.
        """
        return self._placed.actor_timers().start(
            interval_s if first_s is None else first_s, message, name=name, interval_s=interval_s
        )

    def cancel_timer(self, timer: Timer | str) -> None:
        """Cancel a timer, by itself or by name. Its message will not come, even if under way."""
        self._placed.actor_timers().cancel(timer)

    def pipe_to_self(self, future: Future[T], message: Callable[[Future[T]], Any]) -> None:
        """Get `message(future)` once the future is done: what comes later comes as a message.

        That is how an actor changes its state by what it asked, or persisted, without waiting for
        it; a callback of the future would run between the messages of others, and unsupervised::

            self.pipe_to_self(bank.ask(Charge(5)), partial(Charged, order.id))

            @handles(Charged)
            def charged(self, message: Charged) -> None:
                if message.done.exception() is None:
                    self.paid.add(message.order)

        It comes whether the future succeeded, failed or met its deadline, and past a full mailbox.
        `message` is called in the actor's turn; what it raises, such as the future's own exception
        out of `done.result()`, is the actor's failure. Results are the instance's, as its timers
        are: after a restart or a stop they do not come any more. An actor that waits for one is
        not idle. The name is Akka's.

        Raises TypeError for a future that cannot tell when it is done (`pykka.ThreadingFuture`),
        and for a message that is none yet, and no function that makes one.
        """
        if not isinstance(future, Future):
            raise TypeError(f"a {type(future).__name__} does not tell when it is done")
        check_callable("message", message)
        Piped(self._placed, self, future, message)

    def stop(self) -> None:
        """Stop after what is in the mailbox now."""
        self._placed.stop()

    def passivate(self) -> None:
        """Stop after what is in the mailbox now, and let the next message bring the actor back.

        `may_passivate` has the last word, behind those messages: one of them may have given the
        actor something to stay for.

        Raises RuntimeError for an actor whose kind is not registered: nobody could bring it back.
        """
        cell = self._placed
        if not self.system.registered(cell.kind):
            raise RuntimeError(f"kind {cell.kind!r} is not registered, so it cannot come back")
        cell.stop("passivated")

    def may_passivate(self) -> bool:
        """Whether the actor may be passivated now that it was idle; a room with members says no."""
        return True

    # --- hooks -----------------------------------------------------------------------------------

    def on_start(self) -> Any:
        """Before the first message of this instance. May be async.

        The state of a `PersistentActor` is there by then: its constructor ran before that came
        back, so that what follows from the state belongs here.
        """

    def on_receive(self, message: Any) -> Any:
        """Messages that no handler claims. May be async; what it returns is the reply.

        Unless overridden it raises UnhandledMessage: the asker's error, and for a message that was
        told, a dead letter. An override can leave messages to `super().on_receive(message)`.
        """
        raise UnhandledMessage(self._placed.name, type(message).__name__)

    def on_stop(self) -> Any:
        """After the last message, not after a failure. May be async."""

    def on_failure(
        self,
        exception_type: type[BaseException] | None,
        exception_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> Any:
        """After an exception ended this instance. May be async."""

    # --- for the runtime -------------------------------------------------------------------------

    actor_handlers: ClassVar[HandlerTable]

    @property
    def actor_hooks(self) -> RuntimeHooks:
        """What the runtime does around the hooks: the seam for its own actor types."""
        return NO_HOOKS

    def actor_made(self, context: Context | None) -> None:
        """Its constructor has returned, having set these context variables, if any.

        Raises Misfit for an instance that has, or had, a place.
        """
        if self._cell is not None:
            raise Misfit(f"the factory made no new actor but {self} again")
        if context is not None:
            self._made_in = context

    def actor_seated(self, cell: LoopLife) -> Context | None:
        """It has its place; returns what its constructor set."""
        self._cell = cell
        return self._made_in


Actor.actor_handlers = HandlerTable(Actor)
