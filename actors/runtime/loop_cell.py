"""An actor in the event loop: its mailbox, and one message at a time out of it."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from time import perf_counter
from types import CoroutineType
from typing import TYPE_CHECKING, Any

import pykka
import structlog
import trio
from pykka._envelope import Envelope  # Pykka's own type crosses its inbox seam

from .actor_timers import ActorTimers
from .cell import Cell, Parent, State
from .dispatcher import SLOW_HANDLER_S, Dispatcher, Worker
from .errors import MailboxFull, Quarantined, Refusal
from .future import Future
from .hooks import farewell, run_hooks
from .journal import Fenced
from .mailbox import Control, Mailbox
from .messages import CONTROL, Abandon, Halt, Kill, Reason, Stop
from .quarantine import Quarantine
from .restart import RestartPolicy

if TYPE_CHECKING:
    from .actor import Actor
    from .system import ActorSystem

_log = structlog.get_logger("actors")
_RUNNING = State.RUNNING

class LoopCell(Cell):
    """Runs an `Actor`.

    `claimed` says that nobody need put the cell on the run queue: it is there, or it is running,
    or a worker or a hook has it, or it is not to run now.
    """

    __slots__ = (
        "actor",
        "claimed",
        "dispatcher",
        "halted",
        "killing",
        "mailbox",
        "quarantine",
        "stopping",
        "timers",
        "worker",
    )

    def __init__(
        self,
        system: ActorSystem,
        kind: str,
        key: str,
        factory: Callable[[], Actor],
        policy: RestartPolicy,
        parent: Parent,
        mailbox: Mailbox,
    ) -> None:
        super().__init__(system, kind, key, factory, policy, parent)
        self.thread = system.home.thread
        self.mailbox = mailbox
        self.dispatcher: Dispatcher = system.dispatcher
        self.actor: Actor | None = None
        self.claimed = True
        self.worker: Worker | None = None
        self.timers: ActorTimers | None = None
        self.quarantine: Quarantine | None = None
        self.stopping: Reason | None = None  # asked to stop, for this reason
        self.killing: Reason | None = None  # asked to end now, while a worker had it
        self.halted: Future[bool] | None = None

    def actor_or_none(self) -> Actor | None:
        return self.actor

    def idle(self) -> bool:
        return not self.claimed and self.actor is not None and self.actor.may_passivate()

    # --- messages in -------------------------------------------------------------------------------

    def tell(self, message: Any) -> None:
        lost = self.mailbox.put(message)
        if lost is not None:
            self.lose(lost)
        self._wake()

    def ask(self, message: Any, future: Future[Any]) -> None:
        try:
            lost = self.mailbox.put(Envelope(message, future))
        except MailboxFull as error:
            future.settle_quietly(error=error)
            return
        if lost is not None:
            self.lose(lost)
        if self.claimed:
            return
        self.claimed = True
        dispatcher = self.dispatcher
        if dispatcher.running is None and not dispatcher.queue and self.system.is_current():
            # Nobody else is waiting and no handler is on the stack: answer at once, in the asker's
            # task. That spares two task switches, 10 us of the 14 that an ask takes else.
            self.run(1)
        else:
            dispatcher.add(self)

    def control(self, control: Control, *, first: bool = False) -> None:
        """Take in a control message, past any bound."""
        if self.alive:
            self.mailbox.put_control(control, first=first)
            self._wake()

    def wait_for_room(self, message: Any, admitted: Future[bool]) -> None:
        """Take the message in when there is room, then set the future."""
        self.mailbox.wait_for_room(message, admitted)
        self._wake()

    def _wake(self) -> None:
        if not self.claimed:
            self.claimed = True
            self.dispatcher.add(self)

    def lose(self, item: Any) -> None:
        """A message was dropped: its asker is told, a told one is a dead letter."""
        if type(item) is Envelope:
            if item.reply_to is not None:
                item.reply_to.settle_quietly(error=MailboxFull(f"{self.name} dropped the message"))  # type: ignore[attr-defined]  # only our futures ask a loop cell
        else:
            self.system.dead_letters.add(self.ref, item, "mailbox full")

    def tell_from_thread(self, message: Any) -> None:
        mailbox = self.mailbox
        if mailbox.full():
            if mailbox.spec.on_full == "refuse":
                mailbox.refused += 1
                raise MailboxFull(f"the mailbox holds its {mailbox.capacity} messages")
            if mailbox.spec.on_full == "wait":
                admitted: Future[bool] = Future()
                self.system.call_soon(self.wait_for_room, message, admitted)
                try:
                    admitted.get(timeout=self.system.default_timeout_s)
                except pykka.Timeout:
                    admitted.expire()
                    raise MailboxFull("no room in the mailbox before the deadline") from None
                return
        self.system.tell_soon(self.ref, message)

    # --- running -----------------------------------------------------------------------------------

    def run(self, limit: int) -> int:
        """Handle up to `limit` messages; returns how many. Called by the dispatcher."""
        if self.state is not _RUNNING:
            if self.state is State.STARTING:
                self._start_up()
            return 1
        mailbox = self.mailbox
        queue = mailbox.queue
        actor = self.actor
        assert actor is not None
        table = actor._table
        dispatcher = self.dispatcher
        dispatcher.running = self
        started = dispatcher.started = perf_counter()
        handled = 0
        try:
            while queue and handled < limit:
                item = queue.popleft()
                handled += 1
                item_type = type(item)
                reply: Any = None
                if item_type is Envelope:
                    message = item.message
                    reply = item.reply_to
                elif item_type is Control:
                    mailbox.controls -= 1
                    message = item.message
                    if item.timer is not None and not self.actor_timers().take(item.timer):
                        continue
                    if type(message) in CONTROL:
                        dispatcher.running = None
                        self._obey(message)
                        return handled
                else:
                    message = item
                if mailbox.waiting is not None:
                    mailbox.admit()
                if (
                    self.quarantine is not None
                    and item_type is not Control
                    and self._quarantined(message, reply)
                ):
                    continue
                dispatcher.message = message
                try:
                    result = table[type(message)](actor, message)
                except Exception as error:
                    dispatcher.running = None
                    if not self._raised(error, item, reply):
                        return handled
                    dispatcher.running = self
                    continue
                now = perf_counter()
                if now - started > SLOW_HANDLER_S:
                    dispatcher.note_slow(self, message, now - started)
                started = dispatcher.started = now
                if result is not None and type(result) is CoroutineType:
                    self.occupy(self._finish(result, item, reply))
                    return handled
                if reply is not None:
                    if isinstance(result, pykka.Future):
                        reply.follow(result)
                    else:
                        reply.settle_quietly(result)
        finally:
            dispatcher.running = None
            self.handled += handled
        if queue:
            dispatcher.add(self)
        else:
            self.claimed = False
        return handled

    def occupy(self, job: Coroutine[Any, Any, None]) -> None:
        """Have a worker do this; until it is done, the mailbox waits."""
        self.worker = self.system.workers.run(job, self)

    async def _finish(self, handler: CoroutineType[Any, Any, Any], item: Any, reply: Any) -> None:
        """Await an async handler, then go on with the mailbox."""
        try:
            result = await handler
        except trio.Cancelled:
            if reply is not None:
                reply.settle_quietly(error=pykka.ActorDeadError(f"{self.name} was cancelled"))
            raise
        except Exception as error:
            self.worker = None
            if not self._raised(error, item, reply):
                return
        else:
            self.worker = None
            if reply is not None:
                if isinstance(result, pykka.Future):
                    reply.follow(result)
                else:
                    reply.settle_quietly(result)
        self._resume()

    def _resume(self) -> None:
        """A worker is done with the cell."""
        if self.killing is not None:
            self.end(self.killing)
        elif self.mailbox.queue:
            self.dispatcher.add(self)
        else:
            self.claimed = False

    def job_cancelled(self, error: BaseException | None = None) -> None:
        """The worker was cancelled, by `kill` or by a halt that took too long."""
        self.worker = None
        if error is not None:
            _log.error("error_while_cancelled", kind=self.kind, key=self.key, exc_info=error)
        if self.killing is None and self.halted is not None:
            self._be_halted()
        else:
            self.end(self.killing or "killed")

    # --- failing -----------------------------------------------------------------------------------

    def _raised(self, error: Exception, item: Any, reply: Any) -> bool:
        """A handler raised. Whether the actor goes on."""
        if reply is not None:
            reply.settle_quietly(error=error)
        if isinstance(error, Refusal):
            if reply is None:
                _log.debug("refused", kind=self.kind, key=self.key, error=str(error))
            return True
        self._fail(error, item)
        return False

    def _fail(self, error: BaseException, item: Any = None) -> None:
        """This instance is done for: hooks, then the parent decides."""
        actor = self.actor
        self.state = State.FAILING
        self._end_timers()
        message = item.message if isinstance(item, Envelope) else item
        _log.error(
            "actor_failed",
            kind=self.kind,
            key=self.key,
            message=type(message).__name__,
            exc_info=error,
        )
        # Not the runtime's own messages: one tick is equal to all others and no more to blame.
        if message is not None and type(item) is not Control:
            if self.quarantine is None:
                self.quarantine = Quarantine()
            self.quarantine.record(message)

        hooks: tuple[Callable[[], Any], ...] = ()
        if actor is not None:
            hooks = (
                lambda: actor.on_failure(type(error), error, error.__traceback__),
                lambda: actor._leave("failed"),
            )

        def then(_error: BaseException | None) -> None:
            self.actor = None
            if self.killing is not None or self.stopping is not None:
                self.end(self.killing or self.stopping or "failed")
            elif self.halted is not None:
                self._be_halted()
            else:
                self.failed(error)

        run_hooks(self, farewell(self, *hooks), then)

    def _quarantined(self, message: Any, reply: Any) -> bool:
        assert self.quarantine is not None
        if not self.quarantine.holds(message):
            return False
        self.system.quarantined += 1
        _log.warning("quarantined", kind=self.kind, key=self.key, message=type(message).__name__)
        if reply is not None:
            reply.settle_quietly(
                error=Quarantined(f"{type(message).__name__} crashed {self.name} before")
            )
        return True

    def actor_timers(self) -> ActorTimers:
        """The timers of the present instance."""
        if self.timers is None:
            self.timers = ActorTimers(self)
        return self.timers

    def _end_timers(self) -> None:
        if self.timers is not None:
            self.timers.cancel_all()
            self.timers = None

    # --- starting and stopping -----------------------------------------------------------------------

    def begin(self, actor: Actor) -> None:
        actor._cell = self
        self.actor = actor
        self.incarnation += 1
        self.state = State.STARTING
        self.claimed = True
        self.dispatcher.add(self)

    def _present(self) -> Actor:
        assert self.actor is not None
        return self.actor

    def replace_actor(self) -> Any:
        """Put a new instance in the place of the one that is starting, for recovery to try again.

        Raises what the constructor raises.
        """
        actor = self.actor = self.system.make(self.factory)
        actor._cell = self
        return actor

    def _start_up(self) -> None:
        def then(error: BaseException | None) -> None:
            if error is not None:
                self._fail(error)
            else:
                self.state = State.RUNNING
                self.has_started()
                self._resume()

        # Recovery may put another instance in the place of this one, hence the look-up.
        hooks = (lambda: self._present()._recover(), lambda: self._present().on_start())
        run_hooks(self, iter(hooks), then)

    def request_stop(self, reason: Reason) -> None:
        if self.stopping is None or self.stopping == "passivated":
            self.stopping = reason
            if self.state is not State.STOPPING:
                self.control(Control(Stop(reason)))

    def halt(self) -> Future[bool]:
        halted = self.halted = Future(self.system.home)
        if self.state in (State.WAITING, State.FAILED, State.HALTED):
            self._be_halted()
        else:
            self.control(Control(Halt()), first=True)
        return halted

    def abandon(self) -> None:
        """End the instance without its hooks; the next message makes a new one."""
        self.control(Control(Abandon()), first=True)

    def kill(self, reason: Reason = "killed") -> None:
        if not self.alive:
            return
        if self.worker is not None:
            self.killing = reason
            self.worker.scope.cancel()
        elif self.dispatcher.running is self:
            self.control(Control(Kill(reason)), first=True)
        else:
            self.end(reason)

    def cancel(self) -> None:
        """Cancel what the instance awaits, if anything."""
        if self.worker is not None:
            self.worker.scope.cancel()

    def _obey(self, order: Stop | Halt | Kill | Abandon) -> None:
        if isinstance(order, Kill):
            self.end(order.reason)
            return
        if isinstance(order, Abandon):
            self._end_timers()
            if self.stopping is None and not self.system.registered(self.kind):
                self.actor = None
                self.failed(Fenced(f"{self.name} has lost its log to another incarnation"))
            else:
                self._gone("fenced")
            return
        actor = self.actor
        assert actor is not None
        reason = order.reason if isinstance(order, Stop) else "stopped"
        self.state = State.STOPPING
        self._end_timers()

        def then(_error: BaseException | None) -> None:
            if self.killing is not None:
                self.end(self.killing)
            elif isinstance(order, Halt):
                self._be_halted()
            else:
                self._gone(self.stopping or reason)

        run_hooks(self, farewell(self, actor.on_stop, lambda: actor._leave(reason)), then)

    def _gone(self, reason: Reason) -> None:
        """The instance is gone for `reason`; if it may come back and something waits, it does."""
        if (
            reason in ("passivated", "fenced")
            and self.mailbox.queue
            and self.system.may_start(self)
        ):
            self.actor = None
            self.stopping = None
            self.start()
        else:
            self.end(reason)

    def _be_halted(self) -> None:
        self.actor = None
        self.state = State.HALTED
        halted, self.halted = self.halted, None
        if halted is not None:
            halted.settle_quietly(True)  # noqa: FBT003 -- the value of the future

    def end(self, reason: Reason) -> None:
        if not self.alive:
            return
        actor, self.actor = self.actor, None
        self.claimed = True
        self._end_timers()
        left = self.mailbox.close()
        super().end(reason)
        if actor is not None and reason == "killed":
            actor._killed()
        for item in left:
            if type(item) is Envelope:
                item.reply_to.settle_quietly(  # type: ignore[union-attr]  # an Envelope has one here
                    error=pykka.ActorDeadError(f"{self.name} ended before it handled the message")
                )
            elif type(item) is not Control:
                self.system.dead_letters.add(self.ref, item, reason)
        if self.halted is not None:
            self.halted.settle_quietly(False)  # noqa: FBT003 -- the value of the future
