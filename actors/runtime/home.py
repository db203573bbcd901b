"""The thread and the event loop that actors live in, and the way there from other threads."""

from __future__ import annotations

import queue
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from contextvars import Context
from threading import get_ident
from typing import Any, NamedTuple, Protocol

import pykka
import structlog
import trio

from .errors import MailboxFull
from .panic import shown

_log = structlog.get_logger("actors")


class Tenant(Protocol):
    """An actor that lives here, as far as its home must know it."""

    @property
    def kind(self) -> str:
        """The first half of its name."""

    @property
    def key(self) -> str:
        """The second."""

    @property
    def actor(self) -> Any:
        """The present instance, None between two."""

    def broke(self, actor: Any, error: BaseException, what: str) -> None:
        """Code of that instance raised, outside its turn: in its turn it fails of it."""

    def call_back(
        self, actor: Any, whose: Tenant | None, function: Callable[..., object], *args: Any
    ) -> None:
        """Call what that instance left to be called, with the context variables it sees."""


class Owner(NamedTuple):
    """The actor, and which instance of it, that left something to be called later."""

    tenant: Tenant
    actor: Any


class Home:
    """One per trio run. From any thread, `call_soon` runs a function in the run's own thread.

    However many calls queue up, the loop is woken once for all of them: a wake-up writes to a
    socket and costs some 10 us, an append costs 0.05.

    What threads send to actors is bounded, by `offer`. What the runtime has to say to itself (an
    answer is there, a thread has ended, an actor is to stop) is not: it is caused by messages that
    were counted when they came, and whoever waits for it would wait for ever if it were refused.
    """

    __slots__ = (
        "_closed",
        "_jobs",
        "_token",
        "_woken",
        "callbacks",
        "calling",
        "capacity",
        "free_awaits",
        "thread",
        "whose",
        "working",
    )

    def __init__(self, token: trio.lowlevel.TrioToken, *, capacity: int = 100_000) -> None:
        self.thread = get_ident()
        self.capacity = capacity
        self.free_awaits = 0  # how many done futures were awaited since the last checkpoint
        self.calling = False  # a future calls back; what that sets is lined up in `callbacks`
        self.callbacks: list[tuple[Owner | None, Context | None, Callable[..., object], Any]] = []
        self.whose: Tenant | None = None  # the actor whose plain code is on the stack
        self.working: dict[trio.lowlevel.Task, Tenant] = {}  # and those which await, by task
        self._token = token
        self._jobs: deque[tuple[Callable[..., object], tuple[Any, ...]]] = deque()
        self._woken = False
        self._closed = False

    @staticmethod
    def current() -> Home:
        """The home of the running trio loop; made at the first call.

        Raises RuntimeError outside trio.
        """
        try:
            return _current.get()
        except LookupError:
            home = Home(trio.lowlevel.current_trio_token())
            _current.set(home)
            return home

    def here(self) -> bool:
        """Whether the caller is at home already: in this thread, and this run of trio in it.

        A thread goes on after its loop has ended, and may run another one.
        """
        if get_ident() != self.thread:
            return False
        if self.calling or self.whose is not None:
            return True  # an actor's code or a callback is on the stack, and those run here alone
        try:
            return trio.lowlevel.current_trio_token() is self._token
        except RuntimeError:  # outside trio
            return False

    def offer(self, function: Callable[..., object], *args: Any) -> None:
        """`call_soon` for the messages of others: raises MailboxFull if `capacity` calls wait."""
        if len(self._jobs) >= self.capacity:
            raise MailboxFull(f"{self.capacity} calls wait for the event loop")
        self.call_soon(function, *args)

    def owner(self) -> Owner | None:
        """The actor, and the instance of it, whose code calls this: handler, hook or callback."""
        tenant = self.whose
        if tenant is None and self.working:
            try:
                tenant = self.working.get(trio.lowlevel.current_task())
            except RuntimeError:  # between tasks, in what another thread had called
                return None
        if tenant is None or (actor := tenant.actor) is None:
            return None
        return Owner(tenant, actor)

    def call_back(
        self,
        owner: Owner | None,
        context: Context | None,
        function: Callable[..., object],
        *args: Any,
    ) -> None:
        """Call what was left to be called later. If it raises, that is the owner's failure.

        It sees the owner's context variables, as the owner's handlers do; `context` is for what
        nobody owns.
        """
        before = self.whose
        self.whose = None if owner is None else owner.tenant
        try:
            if owner is not None:
                if owner.tenant is before:  # its own code is on the stack
                    function(*args)
                else:
                    owner.tenant.call_back(owner.actor, before, function, *args)
            elif context is not None:
                context.run(function, *args)
            else:
                function(*args)
        except BaseException as error:  # whoever is on the stack must not suffer for the owner
            self.blame(owner, error, function)
        finally:
            self.whose = before

    def call_callbacks(self) -> None:
        """Call what a callback has lined up: in a loop, for a chain of futures is of any length.

        What one of them lines up comes before the others.
        """
        left, self.callbacks = self.callbacks[::-1], []
        while left:
            self.call_back(*left.pop())
            if self.callbacks:
                left += self.callbacks[::-1]
                self.callbacks.clear()

    def blame(self, owner: Owner | None, error: BaseException, function: object) -> None:
        """Have the owner of a function that raised fail, or log it if there is none."""
        if owner is None:
            _log.error("callback_failed", callback=shown(function), exc_info=error)
        else:
            owner.tenant.broke(owner.actor, error, "callback")

    def call_soon(self, function: Callable[..., object], *args: Any) -> None:
        """Call `function(*args)` at home, soon, in the order of the calls. From any thread.

        Raises trio.RunFinishedError if the run is over. If it ends before the call could be made,
        a future among `args` fails with ActorDeadError.
        """
        self._jobs.append((function, args))
        # Under the GIL this order is enough: _run clears the flag before it looks at the jobs, so
        # whoever reads True here appended early enough to be seen.
        if not self._woken:
            self._woken = True
            try:
                self._token.run_sync_soon(self._run)
            except trio.RunFinishedError:
                self._closed = True
        # After the append, so that a job is seen here or by whoever closes at this moment.
        if self._closed:
            self._give_up()
            raise trio.RunFinishedError("the event loop has ended")

    def _run(self) -> None:
        self._woken = False
        # Only what waits now: jobs that threads keep adding must not keep the loop here.
        for _ in range(len(self._jobs)):
            function, args = self._jobs.popleft()
            try:
                function(*args)
            except BaseException:
                # An exception from here would end the whole trio run as an internal error.
                _log.exception("call_from_thread_failed", function=shown(function))
        if self._jobs and not self._woken:
            self._woken = True
            try:
                self._token.run_sync_soon(self._run)
            except trio.RunFinishedError:  # this was trio's last look at its queue
                self._closed = True
                self._give_up()

    def _give_up(self) -> None:
        """No call will be made any more: tell who waits for one. In any thread, or in several."""
        while True:
            try:
                _, args = self._jobs.popleft()
            except IndexError:
                return
            for each in args:
                if isinstance(each, pykka.Future):
                    error = pykka.ActorDeadError("its event loop has ended")
                    with suppress(queue.Full):  # it was settled another way
                        each.set_exception((type(error), error, None))


_current: trio.lowlevel.RunVar[Home] = trio.lowlevel.RunVar("actors_home")
