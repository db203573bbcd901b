"""How the instances of an actor in the event loop begin and end."""

from __future__ import annotations

import math
from collections.abc import Callable, Coroutine
from contextvars import Context
from functools import partial
from typing import Any, cast

import pykka
import structlog
from pykka._envelope import Envelope  # Pykka's own type crosses its inbox seam

from .actor_timers import ActorTimers
from .cell import GRACE_S, Cell, Seat, State
from .contexts import enterable
from .dispatcher import Dispatcher, Worker
from .errors import Fenced, MailboxFull
from .future import Future
from .home import Tenant
from .hooks import farewell, run_hooks
from .instance import Instance
from .mailbox import Control, Mailbox
from .messages import ORDERS, Abandon, Broken, Halt, Kill, Order, Stop
from .panic import end_of_all, ends_task, in_task
from .reasons import Reason
from .system_view import SystemView

_log = structlog.get_logger("actors")


class LoopLife(Cell):
    """Begins, stops, halts, kills and ends the instances in one cell.

    Attributes:
        claimed: whether the cell must not be put on the run queue, because it is there already, or
            is running, or a worker has it, or because it must not run now.
        worker: the worker that awaits a handler or a hook of the actor, if any.
        results_to_come: how many results the present instance waits for (see `Actor.pipe_to_self`).
        stash: the items that the actor has put aside, in the order in which they came; None: none.
        stopping: why the actor was asked to stop, if it was.
        killing: why the actor is to end at once, if that was asked for while a worker had it.
    """

    __slots__ = (
        "actor",
        "claimed",
        "context",
        "dispatcher",
        "killing",
        "mailbox",
        "results_to_come",
        "stash",
        "stopping",
        "timers",
        "worker",
    )

    system: SystemView  # its actor sees the system by this type

    def __init__(self, system: SystemView, seat: Seat, mailbox: Mailbox) -> None:
        super().__init__(system, seat)
        self.thread = system.home.thread
        self.mailbox = mailbox
        self.dispatcher: Dispatcher = system.dispatcher
        self.actor: Instance | None = None
        self.context: Context | None = None  # the instance's own, if it has changed a variable
        self.claimed = True
        self.results_to_come = 0
        self.worker: Worker | None = None
        self.timers: ActorTimers | None = None
        self.stash: list[Any] | None = None
        self.stopping: Reason | None = None
        self.killing: Reason | None = None

    def run(self, limit: int) -> int:
        """Handle up to `limit` messages, and return how many that was."""
        raise NotImplementedError

    def actor_or_none(self) -> Any:
        return self.actor

    @property
    def up(self) -> bool:
        return super().up and self.actor is not None and self.actor.actor_hooks.is_up()

    def idle(self) -> bool:
        actor = self.actor
        if self.claimed or actor is None or self.results_to_come:
            return False
        return self._agrees(actor)

    def _agrees(self, actor: Instance) -> bool:
        """Return whether the actor agrees to be passivated."""
        if self.stash is not None:
            return False
        try:
            return bool(actor.may_passivate())
        except BaseException as error:
            self.broke(actor, error, "may_passivate")
            return False

    def control(self, control: Control, *, first: bool = False) -> None:
        if self.alive:
            self.mailbox.put_control(control, first=first)
            self.wake()

    def wake(self) -> None:
        """Have the cell run, since there is something in its mailbox."""
        if not self.claimed:
            self.claimed = True
            self.dispatcher.enqueue(self)

    def put_aside(self, item: Any) -> None:
        """Keep an item that the actor has put aside."""
        if self.stash is None:
            self.stash = []
        # A control message was wanted when it was taken out. From here on it is like any other.
        self.stash.append(item.message if type(item) is Control else item)

    def bring_back(self, wanted: Callable[[Any], bool] | None = None) -> None:
        """Put items of the stash before all others in the mailbox, in the order in which they came.

        `wanted` says of a message whether it is meant; None: all are. The mailbox may be full.
        """
        if self.stash is None:
            return
        back: list[Any] = []
        left: list[Any] = []
        for item in self.stash:
            message = item.message if type(item) is Envelope else item
            (back if wanted is None or wanted(message) else left).append(item)
        self.stash = left or None
        self.mailbox.queue.extendleft(reversed(back))
        if back:
            self.wake()

    def occupy(self, job: Coroutine[Any, Any, None]) -> None:
        """Have a worker await the job. Until it is done, no message is handled."""
        self.worker = self.system.workers.assign(job, self)

    def ends_worker(self, error: BaseException) -> bool:
        """Return whether an exception in a job ends the worker's task instead of the actor."""
        return self.worker is None or ends_task(error, self.worker.task)

    def leave_worker(self) -> None:
        """Take note that the worker has done its job, and keep the variables that it has set."""
        worker, self.worker = self.worker, None
        assert worker is not None
        assert worker.task is not None
        context = worker.task.context
        if self.dispatcher.contexts.changed(context):
            self.context = context

    def keep(self, context: Context) -> None:
        """Keep a context as the instance's own, since the slice that has just ended changed it."""
        replaced = self.state is State.STARTING and self.worker is None
        if self.actor is not None and not replaced:
            self.context = context

    def broke(self, actor: Any, error: BaseException, what: str) -> None:
        """Have that instance fail in its own turn, because a callback of it (`what`) raised."""
        if self.alive and self.actor is actor:
            self.control(Control(Broken(actor, error, what)), first=True)
        else:
            _log.error("failed_too_late", kind=self.kind, key=self.key, what=what, exc_info=error)

    def call_back(
        self,
        actor: Any,
        whose: Tenant | None,
        function: Callable[..., object],
        *args: Any,
    ) -> None:
        """Call a callback of that instance, with the instance's context variables.

        `whose` is the cell whose plain code is running.
        """
        contexts = self.dispatcher.contexts
        if self.actor is not actor:  # the instance is gone, and its variables with it
            contexts.fresh().run(function, *args)
            return
        task = None if self.worker is None else self.worker.task
        if task is not None:
            if whose is None and in_task(task):
                function(*args)  # the instance's own code is running, so its context is set
            else:
                enterable(task.context).run(function, *args)
        elif self.context is not None:
            enterable(self.context).run(function, *args)
        else:
            _, changed = contexts.call(partial(function, *args))
            if changed is not None and self.actor is actor:
                self.context = changed

    def go_on(self) -> None:
        """Go on with the mailbox after a worker, a hook or an order."""
        if self.killing is not None:
            self.end(self.killing)
        elif self.mailbox.queue:
            self.dispatcher.enqueue(self)
        else:
            self.claimed = False

    def job_cancelled(self, error: BaseException | None = None) -> None:
        """Go on after the worker was cancelled.

        `kill` cancels it, and so does a halt, or hooks after a failure, that took too long.
        """
        self.worker = None
        if error is not None:
            _log.error("error_while_cancelled", kind=self.kind, key=self.key, exc_info=error)
        if self.killing is None and self.halted is not None:
            self.be_halted()
        elif self.killing is None and self.state is State.FAILING:
            self._failed_at_last()
        else:
            self._cut_off(self.killing or "killed")

    # --- beginning -------------------------------------------------------------------------------

    def begin(self, actor: Instance) -> None:
        self._seat(actor)
        self.incarnation += 1
        self.state = State.STARTING
        self.claimed = True
        self.bring_back()  # what the instance before has put aside
        self.dispatcher.enqueue(self)

    def replace_actor(self) -> Any:
        """Replace the instance that is starting with a new one, and return it, for recovery.

        Raises what the constructor raises.
        """
        self._seat(self.system.make(self.factory))
        return self.actor

    def _seat(self, actor: Instance) -> None:
        if isinstance(actor, pykka.ThreadingActor):
            raise TypeError(f"{self.name}: the factory made a {type(actor).__name__} this time")
        self.context = actor.actor_seated(self)
        self.actor = actor
        self.results_to_come = 0

    def start_up(self) -> None:
        """Run the hooks that come before the first message."""

        def then(error: BaseException | None) -> None:
            if error is not None:
                self.fail(error, "on_start")
            else:
                self.state = State.RUNNING
                hooks = self._present().actor_hooks
                hooks.launch()
                if hooks.is_up():
                    self.has_started()
                self.go_on()

        def recover() -> Any:
            self.state = State.RECOVERING
            return self._present().actor_hooks.recover()

        def on_start() -> Any:
            self.state = State.STARTING
            return self._present().on_start()  # recovery may have replaced the instance

        run_hooks(self, iter((recover, on_start)), then)

    def _present(self) -> Instance:
        assert self.actor is not None
        return self.actor

    def actor_timers(self) -> ActorTimers:
        """The timers of the present instance."""
        if self.timers is None:
            self.timers = ActorTimers(self)
        return self.timers

    # --- being asked to end ----------------------------------------------------------------------

    def request_stop(self, reason: Reason) -> None:
        if self.stopping is None or self.stopping == "passivated":
            self.stopping = reason
            if self._recovers() and not self.mailbox.queue:
                self.kill(reason)  # with no message to handle, it need not wait for a store
            elif self.state is not State.STOPPING:
                self.control(Control(Stop(reason)))

    def request_halt(self) -> None:
        self.control(Control(Halt()), first=True)
        if self._recovers():
            self.cancel()

    def _recovers(self) -> bool:
        """Whether it waits for its state. That can be cut off at any moment and begun anew."""
        return self.state is State.RECOVERING and self.worker is not None

    def abandon(self) -> None:
        """End the instance without its hooks; the next message makes a new one."""
        self.control(Control(Abandon()), first=True)

    def kill(self, reason: Reason = "killed") -> None:
        if not self.alive:
            return
        if self.worker is not None:
            if self.killing is None:
                self._set_deadline(GRACE_S, self._left_behind)
            self.killing = reason
            self.worker.scope.cancel()
        elif self.dispatcher.running is self and self.state is not State.RUNNING:
            self.killing = reason  # a hook is running, after which this is looked at
        elif self.dispatcher.running is self:
            self.control(Control(Kill(reason)), first=True)
        else:
            self.end(reason)

    def _left_behind(self) -> None:
        """End the cell, although the actor's code shields itself from the cancellation."""
        _log.error("left_behind", kind=self.kind, key=self.key)
        self.end(self.killing or "killed")

    def cancel(self) -> None:
        if self.worker is not None:
            self.worker.scope.cancel()

    def obey(self, order: Order) -> None:
        """Carry out an order of the runtime that came out of the mailbox."""
        if isinstance(order, Kill):
            self.end(order.reason)
        elif isinstance(order, Abandon):
            self._end_timers()
            if self.stopping is None and not self.system.registered(self.kind):
                self.actor = None
                self.failed(Fenced(f"{self.name} has lost its log to another incarnation"))
            else:
                self._gone("fenced")
        elif isinstance(order, Broken):
            if order.actor is self.actor:
                self.fail(order.error, order.what)
            else:  # that instance has failed already
                self.broke(*order)
                self.go_on()
        elif isinstance(order, Halt) and self.halted is None:
            self.go_on()  # it has been halted and started since this order was given
        elif self._may_refuse(order) and not self._agrees(self._present()):
            # A message that stood before this order in the mailbox has given it something to do.
            self.stopping = None
            self._drop_deadline()
            self.go_on()
        else:
            self._stop(order)

    def _may_refuse(self, order: Order) -> bool:
        """Whether it is a passivation, and nobody has asked for more than that since.

        If it was asked for twice, the actor may have refused the first time and gone on.
        """
        if not isinstance(order, Stop) or order.reason != "passivated":
            return False
        if self.stopping is None:
            self.stopping = "passivated"
        return self.stopping == "passivated"

    def _stop(self, order: Stop | Halt) -> None:
        actor = self._present()
        reason = order.reason if isinstance(order, Stop) else "stopped"
        self.state = State.STOPPING
        self._end_timers()

        def then(_error: BaseException | None) -> None:
            if self.killing is not None:
                self.end(self.killing)
            elif isinstance(order, Halt):
                self.be_halted()
            else:
                self._gone(self.stopping or reason)

        leave = partial(actor.actor_hooks.leave, reason)
        run_hooks(self, farewell(self, actor.on_stop, leave), then)

    def fail(self, error: BaseException, message: str) -> None:
        """End the instance because of an error: run its hooks, then let the parent decide.

        `message` is the type of the message that it handled, or the name of the hook, for the log.
        """
        _log.error("actor_failed", kind=self.kind, key=self.key, message=message, exc_info=error)
        if (end := end_of_all(error)) is not None:
            self.system.fail(end)
        if not self.alive:  # the cell ended without waiting for this
            return
        self.state = State.FAILING
        self.error = error
        self._end_timers()
        hooks: tuple[Callable[[], Any], ...] = ()
        limit = None
        if (actor := self.actor) is not None:
            hooks = (
                lambda: actor.on_failure(type(error), error, error.__traceback__),
                partial(actor.actor_hooks.leave, "failed"),
            )
            if self.shutdown_s < math.inf:
                too_long = partial(self._fails_too_long, actor)
                limit = self.system.alarm(self.shutdown_s, too_long)

        def then(_error: BaseException | None) -> None:
            self.actor = None
            if limit is not None:
                limit.cancel()
            self._has_failed()

        run_hooks(self, farewell(self, *hooks), then)

    def _fails_too_long(self, actor: Instance) -> None:
        """Cancel hooks after a failure that take too long, so that the next instance can start."""
        if self._is_failing(actor):
            _log.warning(
                "cancelled_after_deadline", kind=self.kind, key=self.key, s=self.shutdown_s
            )
            self.cancel()
            self.system.alarm(GRACE_S, partial(self._fails_for_ever, actor))

    def _fails_for_ever(self, actor: Instance) -> None:
        if self._is_failing(actor):
            self._left_behind()

    def _is_failing(self, actor: Instance) -> bool:
        """Whether that instance runs its hooks after a failure, and nothing else will end them."""
        return self.actor is actor and self.state is State.FAILING and self.killing is None

    def _failed_at_last(self) -> None:
        """Give up the hooks after a failure, which were cancelled."""
        actor, self.actor = self.actor, None
        if actor is not None:
            actor.actor_hooks.killed()
        self._has_failed()

    def _has_failed(self) -> None:
        """Let the parent decide, unless the actor was killed, stopped or halted meanwhile."""
        if (reason := self.killing or self.stopping) is not None:
            self.end(reason)
        elif self.halted is not None:
            self.be_halted()
        else:
            assert self.error is not None
            self.failed(self.error)

    # --- having ended ----------------------------------------------------------------------------

    def _gone(self, reason: Reason) -> None:
        """End the cell for `reason`, or start it again if it may come back and a message waits."""
        self.bring_back()
        may_come_back = reason in ("passivated", "fenced") and self.system.may_start(self.kind)
        if may_come_back and self.mailbox.queue and self._stays():
            self._come_back()
        else:
            self.end(reason)

    def _cut_off(self, reason: Reason) -> None:
        """End the cell, whose instance was cancelled.

        If it was passivating, a message restarts it.
        """
        mailbox, actor = self.mailbox, self.actor
        something_waits = len(mailbox.queue) > mailbox.controls
        passivates = self.stopping == "passivated" and self.system.may_start(self.kind)
        if actor is not None and passivates and something_waits and self._stays():
            self._end_timers()
            actor.actor_hooks.killed()
            self._come_back()
        else:
            self.end(reason)

    def _stays(self) -> bool:
        """Whether an actor of this name still belongs on this node."""
        return self.system.belongs_here(self.kind, self.key)

    def _come_back(self) -> None:
        self._drop_deadline()
        self.actor = None
        self.stopping = self.killing = None
        self.start()

    def be_halted(self) -> None:
        self.actor = None
        if self.stopping is not None:  # meanwhile
            self.end(self.stopping)
            return
        super().be_halted()

    def _end_timers(self) -> None:
        if self.timers is not None:
            self.timers.cancel_all()
            self.timers = None

    def end(self, reason: Reason) -> None:
        if not self.alive:
            return
        actor, self.actor = self.actor, None
        self.context = None
        self.claimed = True
        self._end_timers()
        self.bring_back()
        left = self.mailbox.close()
        super().end(reason)
        if actor is not None and reason == "killed":
            actor.actor_hooks.killed()
        if left and reason in ("moved", "passivated", "fenced"):
            left = self._sent_on(left)
        for item in left:
            self.turn_away(item, reason)

    def _sent_on(self, items: list[Any]) -> list[Any]:
        """Send the items on to the node on which the actor is now; return those that are left."""
        try:
            target = self.system.elsewhere(self.kind, self.key)
        except pykka.ActorDeadError:
            target = None
        if target is None:
            return items
        left = []
        for item in items:
            if type(item) is Envelope:
                target.ask(item.message, cast("Future[Any]", item.reply_to))
            elif type(item) is Control:
                # Timers, results and orders are the business of the instance that is gone.
                if item.source is None and type(item.message) not in ORDERS:
                    target.control(item)
            else:
                try:
                    target.tell(item)
                except (MailboxFull, TypeError):
                    left.append(item)
        return left

    def turn_away(self, item: Any, reason: Reason) -> None:
        """Answer an asker, or add a dead letter: this item of the mailbox will not be handled."""
        if type(item) is Envelope:
            reply: Any = item.reply_to
            reply.settle_quietly(error=self.obituary(reason))
        elif type(item) is not Control:
            self.system.dead_letters.add(self.ref, item, reason)
