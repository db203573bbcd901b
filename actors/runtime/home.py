"""`Home`: the thread and event loop that actors run in, and calls into it from other threads."""

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
    """An actor, as its home sees it."""

    @property
    def kind(self) -> str:
        """The first half of its name."""

    @property
    def key(self) -> str:
        """The second half of its name."""

    @property
    def actor(self) -> Any:
        """The present instance, None between two."""

    def broke(self, actor: Any, error: BaseException, what: str) -> None:
        """Have that instance fail, in its own turn, because a callback of it (`what`) raised."""

    def call_back(
        self, actor: Any, whose: Tenant | None, function: Callable[..., object], *args: Any
    ) -> None:
        """Call a callback of that instance, with the instance's context variables."""


class CallOwner(NamedTuple):
    """The actor, and the instance of it, that has a function called later."""

    tenant: Tenant
    actor: Any


class Home:
    """The home of actors; there is one for each run of trio.

    `call_soon` runs a function in the home thread, and may be called from any thread. However many
    calls queue up, the loop is woken once for all of them: a wake-up writes to a socket and costs
    some 10 us, while a call that is only queued costs 0.05.

    Messages from threads to actors go through `offer`, which is bounded. Calls of the runtime
    itself (an answer has come, a thread has ended, an actor is to stop) go through `call_soon`,
    which is not. Such calls follow from messages that were counted when they came, and if one were
    refused, somebody would wait for ever.
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
        self.free_awaits = 0  # done futures that were awaited since the last checkpoint
        self.calling = False  # a callback runs; callbacks of futures it sets go to `callbacks`
        self.callbacks: list[
            tuple[CallOwner | None, Context | None, Callable[..., object], Any]
        ] = []
        self.whose: Tenant | None = None  # the actor whose plain code runs now
        self.working: dict[trio.lowlevel.Task, Tenant] = {}  # actors with async code, by task
        self._token = token
        self._jobs: deque[tuple[Callable[..., object], tuple[Any, ...]]] = deque()
        self._woken = False
        self._closed = False

    @staticmethod
    def current() -> Home:
        """Return the home of the running trio loop. The first call makes it.

        Raises RuntimeError outside trio.
        """
        try:
            return _current.get()
        except LookupError:
            home = Home(trio.lowlevel.current_trio_token())
            _current.set(home)
            return home

    def here(self) -> bool:
        """Return whether the caller is in the home thread and in this run of trio.

        A thread may run another loop after this one has ended.
        """
        if get_ident() != self.thread:
            return False
        if self.calling or self.whose is not None:
            return True  # a callback or an actor's code runs, and those run at home only
        try:
            return trio.lowlevel.current_trio_token() is self._token
        except RuntimeError:  # outside trio
            return False

    def offer(self, function: Callable[..., object], *args: Any) -> None:
        """Call a function soon, like `call_soon`. Raises MailboxFull if `capacity` calls wait."""
        if len(self._jobs) >= self.capacity:
            raise MailboxFull(f"{self.capacity} calls wait for the event loop")
        self.call_soon(function, *args)

    def owner(self) -> CallOwner | None:
        """Return the actor and its instance whose handler, hook or callback makes this call, if
        any.
        """
        tenant = self.whose
        if tenant is None and self.working:
            try:
                tenant = self.working.get(trio.lowlevel.current_task())
            except RuntimeError:  # in a call from another thread, which is in no task
                return None
        if tenant is None or (actor := tenant.actor) is None:
            return None
        return CallOwner(tenant, actor)

    def call_back(
        self,
        owner: CallOwner | None,
        context: Context | None,
        function: Callable[..., object],
        *args: Any,
    ) -> None:
        """Call a callback. If it raises, its owner fails; without an owner the error is logged.

        The callback sees its owner's context variables, or those of `context` if it has no owner.
        """
        before = self.whose
        self.whose = None if owner is None else owner.tenant
        try:
            if owner is not None:
                if owner.tenant is before:  # the owner's code is running, so its context is set
                    function(*args)
                else:
                    owner.tenant.call_back(owner.actor, before, function, *args)
            elif context is not None:
                context.run(function, *args)
            else:
                function(*args)
        # Must not reach the code that is running, which may be another's.
        except BaseException as error:
            self.blame(owner, error, function)
        finally:
            self.whose = before

    def call_callbacks(self) -> None:
        """Call the callbacks of the futures that a callback has set.

        This is a loop and no recursion, because a chain of futures may be long. Callbacks that one
        of them causes come before the others.
        """
        left, self.callbacks = self.callbacks[::-1], []
        while left:
            self.call_back(*left.pop())
            if self.callbacks:
                left += self.callbacks[::-1]
                self.callbacks.clear()

    def blame(self, owner: CallOwner | None, error: BaseException, function: object) -> None:
        """Have the owner of a function that raised fail; log the error if there is no owner."""
        if owner is None:
            _log.error("callback_failed", callback=shown(function), exc_info=error)
        else:
            owner.tenant.broke(owner.actor, error, "callback")

    def call_soon(self, function: Callable[..., object], *args: Any) -> None:
        """Call `function(*args)` soon in the home thread, from any thread, in the order of the
        calls.

        Raises trio.RunFinishedError if the run of trio is over. If the run ends before the call was
        made, each future among `args` fails with ActorDeadError.
        """
        self._jobs.append((function, args))
        # Under the GIL this order is enough: _run clears the flag before it looks at the jobs. A
        # caller that reads True here has appended its job before that.
        if not self._woken:
            self._woken = True
            try:
                self._token.run_sync_soon(self._run)
            except trio.RunFinishedError:
                self._closed = True
        # This comes after the append, so that either this call or the one that closes sees the job.
        if self._closed:
            self._give_up()
            raise trio.RunFinishedError("the event loop has ended")

    def _run(self) -> None:
        self._woken = False
        # Only the jobs that wait now: threads that keep adding jobs must not keep the loop here.
        for _ in range(len(self._jobs)):
            function, args = self._jobs.popleft()
            try:
                function(*args)
            except BaseException:
                # Trio would treat an exception here as an internal error, and end the whole run.
                _log.exception("call_from_thread_failed", function=shown(function))
        if self._jobs and not self._woken:
            self._woken = True
            try:
                self._token.run_sync_soon(self._run)
            except trio.RunFinishedError:  # trio will not run anything from its queue any more
                self._closed = True
                self._give_up()

    def _give_up(self) -> None:
        """Fail the futures of the calls that will not be made.

        Threads may run this at the same time.
        """
        while True:
            try:
                _, args = self._jobs.popleft()
            except IndexError:
                return
            for each in args:
                if isinstance(each, pykka.Future):
                    error = pykka.ActorDeadError("its event loop has ended")
                    with suppress(queue.Full):  # the future is done already
                        each.set_exception((type(error), error, None))


_current: trio.lowlevel.RunVar[Home] = trio.lowlevel.RunVar("actors_home")
