"""Runs the handlers of actors: plain ones in one task, async ones in a pool of tasks.

There is no task per actor. A trio task costs about 3 KiB and 20 us to start, and waking one costs 6
us or more, while a plain handler is often done in half a microsecond. So a message puts its actor
on a run queue, and one task works that off.

Code that sends many messages at once, such as the reader of all sockets, can run the actors itself:
`with dispatcher:` is a turn, at the end of which the messages that were sent within are handled.
What the actors in turn send to clients or stores is gathered and leaves together at the end (see
`enclose`).
"""

from __future__ import annotations

import contextvars
from collections import deque
from collections.abc import Coroutine
from contextlib import AbstractContextManager
from time import perf_counter
from typing import Any, Final, Protocol

import structlog
import trio
from trio.lowlevel import current_task, enable_ki_protection, reschedule, wait_task_rescheduled

from .contexts import Contexts
from .home import Home, Tenant
from .panic import ends_task

_TURN_S: Final = 0.001
"""The least time for which actors run before I/O gets its turn."""
_LONG_TURN_S: Final = 0.02
"""The most time for which actors run before I/O gets its turn.

A pass of the loop over a thousand sockets that all have something to read takes tens of ms. If
actors had 1 ms after each pass, a busy node would read everything and handle nearly nothing.
"""
SLICE_S: Final = 0.000_25
"""How long one actor runs before the next one's turn.

It handles at most _SLICE messages in that time.
"""
_SLICE: Final = 64
_IDLE_WORKERS: Final = 32
"""How many parked tasks are kept for the next async handlers. Any more end when they are done."""

SLOW_HANDLER_S: Final = 0.1
"""A plain handler that takes longer is logged and counted, since nothing else runs meanwhile."""
_SLOW_LOG_INTERVAL_S: Final = 1.0


def _abort(_raise_cancel: object) -> trio.lowlevel.Abort:
    return trio.lowlevel.Abort.SUCCEEDED


class Runnable(Tenant, Protocol):
    """An entry of the run queue: an actor that has something to do."""

    @property
    def context(self) -> contextvars.Context | None:
        """The context that it runs in; None for the shared one."""

    def run(self, limit: int) -> int:
        """Handle up to `limit` messages, and return how many that was."""

    def keep(self, context: contextvars.Context) -> None:
        """Keep a context as the actor's own, since the slice that has just ended changed it."""

    def job_cancelled(self, error: BaseException | None = None) -> None:
        """Go on after the worker that awaited something for this actor was cancelled."""


class Dispatcher:
    """The run queue and the task that works it off.

    Attributes:
        entered: whether an actor is running now, so that no other can be run at once.
        message: the last message that a plain handler was called with.
        slow: how many handlers took longer than SLOW_HANDLER_S.
        handled: how many messages were handled.
    """

    def __init__(self) -> None:
        self.contexts = Contexts()
        self.entered = False
        self.message: Any = None
        self.slow = 0
        self.handled = 0
        self.queue: deque[Runnable] = deque()
        self._home: Home
        self._parked: trio.lowlevel.Task | None = None
        self._held = False
        self._around: list[AbstractContextManager[None]] = []
        self._ended = perf_counter()  # when the last turn ended
        self._slow_logged = -_SLOW_LOG_INTERVAL_S
        self._log = structlog.get_logger("actors")

    def open(self, home: Home) -> None:
        """Run actors at `home`, with the context variables that the caller has now."""
        self._home = home
        self.contexts.open()

    @property
    def running(self) -> Tenant | None:
        """The cell whose plain handler or hook is running now, if any."""
        return self._home.whose if self.entered else None

    def enqueue(self, cell: Runnable) -> None:
        """Add a cell to the run queue. It must not be there already."""
        self.queue.append(cell)
        if self._parked is not None and not self._held:
            self._wake()

    def enclose(self, around: AbstractContextManager[None]) -> None:
        """Enter `around` before each turn and leave it after. It can gather what the actors send.

        It must not raise. Several are left in the reverse order.
        """
        self._around.append(around)

    @enable_ki_protection
    def __enter__(self) -> None:
        self._held = True
        for around in self._around:
            around.__enter__()

    @enable_ki_protection
    def __exit__(self, *_: object) -> None:
        if self.queue and not self.entered:
            self._turn()
        for around in reversed(self._around):
            around.__exit__(None, None, None)
        self._held = False
        if self.queue and self._parked is not None:
            self._wake()

    # A Ctrl-C must not interrupt the actor that happens to run. It is meant for the main task,
    # which then stops the system in order.
    @enable_ki_protection
    async def run(self) -> None:
        """Work until cancelled."""
        queue = self.queue
        while True:
            if not queue:
                self._parked = current_task()
                try:
                    await wait_task_rescheduled(_abort)
                finally:
                    self._parked = None
            with self:
                pass  # a turn that handles what is in the queue
            if queue:
                await trio.lowlevel.checkpoint()

    def _wake(self) -> None:
        task, self._parked = self._parked, None
        assert task is not None
        reschedule(task)

    def _turn(self) -> None:
        queue = self.queue
        # The turn is as long as the time since the last one, so that actors get half of all time.
        now = perf_counter()
        until = now + min(max(now - self._ended, _TURN_S), _LONG_TURN_S)
        self.entered = True
        try:
            while queue and now < until:
                self.contexts.shared.run(self._work_off, until)
                now = perf_counter()
        finally:
            self.entered = False
            self._home.whose = None
        self._ended = now

    def _work_off(self, until: float) -> None:
        """Run cells in the context that most of them share, until one of them changes it."""
        queue, home, contexts = self.queue, self._home, self.contexts
        shared, pristine = contexts.shared, contexts.pristine
        while queue:
            cell = home.whose = queue.popleft()
            if cell.context is None:
                self.handled += cell.run(_SLICE)
                try:
                    changed = shared != pristine
                except BaseException:  # two values whose comparison raises are not the same value
                    changed = True
                if changed:
                    cell.keep(contexts.take_shared())
                    return
            else:
                self.handled += cell.context.run(cell.run, _SLICE)
            if perf_counter() > until:
                return

    def run_now(self, cell: Runnable) -> None:
        """Have an idle cell handle one message at once, in the caller's own task.

        It must not be called while `entered`.
        """
        home, contexts = self._home, self.contexts
        before = home.whose
        home.whose = cell
        self.entered = True
        try:
            if cell.context is None:
                shared = contexts.shared
                self.handled += shared.run(cell.run, 1)
                if contexts.changed(shared):
                    cell.keep(contexts.take_shared())
            else:
                self.handled += cell.context.run(cell.run, 1)
        finally:
            self.entered = False
            home.whose = before

    def note_slow(self, cell: Tenant, message: Any, seconds: float) -> None:
        """Count a handler that blocked the loop for long. At most one a second is logged."""
        self.slow += 1
        now = perf_counter()
        if now - self._slow_logged >= _SLOW_LOG_INTERVAL_S:
            self._slow_logged = now
            self._log.warning(
                "slow_handler",
                kind=cell.kind,
                key=cell.key,
                message=type(message).__name__,
                seconds=round(seconds, 3),
                slow=self.slow,
            )


class Worker:
    """A reusable task for async handlers and hooks.

    Cancelling it ends its present job and itself.
    """

    __slots__ = ("cell", "job", "scope", "task")

    def __init__(self, job: Coroutine[Any, Any, None], cell: Runnable) -> None:
        self.job: Coroutine[Any, Any, None] | None = job
        self.cell = cell
        self.scope = trio.CancelScope()
        self.task: trio.lowlevel.Task | None = None


class Workers:
    """The pool of workers.

    They are made on demand and parked between jobs, as a new task costs 20 us.
    """

    def __init__(self, nursery: trio.Nursery, home: Home) -> None:
        self._nursery = nursery
        self._home = home
        self._nobodys = contextvars.Context()
        self._idle: list[Worker] = []
        self.busy = 0

    def assign(self, job: Coroutine[Any, Any, None], cell: Runnable) -> Worker:
        """Have a task await `job` for `cell`. The cell is told if the worker is cancelled.

        It is called in the cell's context, and the task runs in that context.
        """
        self.busy += 1
        if self._idle:
            worker = self._idle.pop()
            worker.job, worker.cell = job, cell
            task = worker.task
            assert task is not None
            task.context = cell.context or contextvars.copy_context()
            self._home.working[task] = cell
            reschedule(task)
            return worker
        worker = Worker(job, cell)
        self._nursery.start_soon(self._work, worker, name="actors.worker")
        return worker

    @enable_ki_protection
    async def _work(self, worker: Worker) -> None:
        worker.task = current_task()
        self._home.working[worker.task] = worker.cell
        error: BaseException | None = None
        try:
            # All jobs of the task share one cancel scope; a new one would add 2 us to each job.
            with worker.scope:
                await self._work_on(worker)
        except BaseException as raised:
            if not worker.scope.cancelled_caught or ends_task(raised, worker.task):
                raise
            error = raised  # a cancelled handler raised this beside its Cancelled
        if worker.scope.cancelled_caught:
            worker.cell.job_cancelled(error)

    async def _work_on(self, worker: Worker) -> None:
        while worker.job is not None:
            try:
                await worker.job
            finally:
                self.busy -= 1
                worker.job = None
                assert worker.task is not None
                del self._home.working[worker.task]
            if len(self._idle) >= _IDLE_WORKERS or worker.scope.cancel_called:
                return
            self._idle.append(worker)
            worker.task.context = self._nobodys  # the actor's values must not stay in memory
            try:
                await wait_task_rescheduled(_abort)
            except trio.Cancelled:
                self._idle.remove(worker)
                raise
