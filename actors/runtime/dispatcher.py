"""Runs what actors have to do: one task for all plain handlers, a pool of tasks for async ones.

There is no task per actor. A trio task costs about 3 KiB and 20 us to start, and waking one costs
6 us or more, while a plain handler is often done in half a microsecond. So a message puts its
actor on a run queue, which one task works off; and whoever has many messages at once, as the reader
of all sockets, does it itself: `with dispatcher:` is a turn, which handles on leaving what was told
within. What actors send in a turn leaves with it (see `enclose`), in one go.
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
"""How long actors run before I/O gets its turn: at least so long."""
_LONG_TURN_S: Final = 0.02
"""And at most so long. A pass of the loop over a thousand sockets that all have something to read
takes tens of ms. With 1 ms for actors after each pass, a node would read all that comes and do none
of it."""
SLICE_S: Final = 0.000_25
"""How long one actor runs before the next one's turn, and then at most _SLICE messages."""
_SLICE: Final = 64
_IDLE_WORKERS: Final = 32
"""Parked tasks kept for the next async handlers; those beyond it end."""

SLOW_HANDLER_S: Final = 0.1
"""A plain handler that takes longer is logged and counted: everything else stood still."""
_SLOW_LOG_INTERVAL_S: Final = 1.0


def _abort(_raise_cancel: object) -> trio.lowlevel.Abort:
    return trio.lowlevel.Abort.SUCCEEDED


class Runnable(Tenant, Protocol):
    """What stands in the run queue: an actor that has something to do."""

    @property
    def context(self) -> contextvars.Context | None:
        """The one it runs in, if that is not the shared one."""

    def run(self, limit: int) -> int:
        """Do what is to be done next, at most `limit` messages; returns how many that was."""

    def keep(self, context: contextvars.Context) -> None:
        """The slice that has just ended changed this context: it is the actor's own from now on."""

    def job_cancelled(self, error: BaseException | None = None) -> None:
        """The worker was cancelled, while it awaited something for this actor."""


class Dispatcher:
    """The run queue and the task that works it off.

    `running` is the cell whose plain handler or hook is on the stack right now, `message` what was
    handed to a plain handler last.
    """

    def __init__(self) -> None:
        self.contexts = Contexts()
        self.entered = False  # on the stack: nobody's messages can be handled there and then
        self.message: Any = None
        self.slow = 0  # handlers that took longer than SLOW_HANDLER_S
        self.handled = 0
        self.queue: deque[Runnable] = deque()
        self._home: Home
        self._parked: trio.lowlevel.Task | None = None
        self._held = False
        self._around: list[AbstractContextManager[None]] = []
        self._ended = perf_counter()  # the last turn
        self._slow_logged = -_SLOW_LOG_INTERVAL_S
        self._log = structlog.get_logger("actors")

    def open(self, home: Home) -> None:
        """Run actors at `home`, with the context variables that the caller has now."""
        self._home = home
        self.contexts.open()

    @property
    def running(self) -> Tenant | None:
        """See above."""
        return self._home.whose if self.entered else None

    def add(self, cell: Runnable) -> None:
        """Have the cell run soon. It must not be in the queue already."""
        self.queue.append(cell)
        if self._parked is not None and not self._held:
            self._wake()

    def enclose(self, around: AbstractContextManager[None]) -> None:
        """Enter `around` before each turn and leave it after: whatever gathers what actors send.

        It must not raise. The last one is left first.
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

    # A Ctrl-C must reach the main task, which stops the system in order, and not whichever actor
    # happens to run.
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
                pass  # a turn of nothing but what waits
            if queue:
                await trio.lowlevel.checkpoint()

    def _wake(self) -> None:
        task, self._parked = self._parked, None
        assert task is not None
        reschedule(task)

    def _turn(self) -> None:
        queue = self.queue
        # As long a turn as all others had since the last one, so that half of the time is ours.
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
        """Run cells, in the context that most of them share, until one has changed that."""
        queue, home, contexts = self.queue, self._home, self.contexts
        shared, pristine = contexts.shared, contexts.pristine
        while queue:
            cell = home.whose = queue.popleft()
            if cell.context is None:
                self.handled += cell.run(_SLICE)
                try:
                    changed = shared != pristine
                except BaseException:  # two values that will not be compared are two values
                    changed = True
                if changed:
                    cell.keep(contexts.take_shared())
                    return
            else:
                self.handled += cell.context.run(cell.run, _SLICE)
            if perf_counter() > until:
                return

    def run_now(self, cell: Runnable) -> None:
        """Have an idle cell handle one message there and then, in the caller's own task.

        Not while `entered`.
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
        """Count a handler that held the loop too long; log one a second."""
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
    """A reusable task for what actors await. Cancelling it ends its present job and itself."""

    __slots__ = ("cell", "job", "scope", "task")

    def __init__(self, job: Coroutine[Any, Any, None], cell: Runnable) -> None:
        self.job: Coroutine[Any, Any, None] | None = job
        self.cell = cell
        self.scope = trio.CancelScope()
        self.task: trio.lowlevel.Task | None = None


class Workers:
    """The pool: made on demand, parked between jobs, since starting a task costs 20 us."""

    def __init__(self, nursery: trio.Nursery, home: Home) -> None:
        self._nursery = nursery
        self._home = home
        self._nobodys = contextvars.Context()
        self._idle: list[Worker] = []
        self.busy = 0

    def run(self, job: Coroutine[Any, Any, None], cell: Runnable) -> Worker:
        """Have a task await `job` for `cell`; if the worker is cancelled the cell is told.

        Called in the cell's own context, in which the task then goes on.
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
            # One cancel scope for all jobs of the task; one a job would add 2 us to each.
            with worker.scope:
                await self._work_on(worker)
        except BaseException as raised:
            if not worker.scope.cancelled_caught or ends_task(raised, worker.task):
                raise
            error = raised  # what a cancelled handler raised beside its Cancelled
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
            worker.task.context = self._nobodys  # so as to keep nothing of the actor's
            try:
                await wait_task_rescheduled(_abort)
            except trio.Cancelled:
                self._idle.remove(worker)
                raise
