"""`Future`: a result that comes now or later, to trio tasks, other threads and callbacks."""

from __future__ import annotations

import functools
import queue
import sys
import threading
from collections.abc import Callable, Coroutine, Generator, Iterable
from contextvars import Context, copy_context
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, TypeVar, cast

import pykka
import structlog
import trio
from trio.lowlevel import enable_ki_protection

from .checks import check_callable, check_seconds
from .errors import Refusal, bare
from .home import CallOwner, Home
from .panic import presentable

T = TypeVar("T")
M = TypeVar("M")
if TYPE_CHECKING:
    # The owner of the callback; its context if it has no owner (neither for `when_done`); the
    # function.
    _Callback = tuple[CallOwner | None, Context | None, Callable[["Future[T]"], object]]
    _Waiter = trio.lowlevel.Task | _Callback[T]
ExcInfo = tuple[type[BaseException] | None, BaseException | None, TracebackType | None]

_log = structlog.get_logger("actors")

PENDING: Final = 0
_VALUE: Final = 1
_ERROR: Final = 2
_EXPIRED: Final = 3  # an error as well; a result that comes later is ignored

_FREE_AWAITS: Final = 32
"""How many done futures may be awaited without a checkpoint.

A task that asks in a loop and is answered at once must not keep all other tasks from running, and a
checkpoint costs as much as an ask.
"""

_event_lock = threading.Lock()  # held only while an Event is made


class Future(pykka.Future[T]):
    """Pykka's future, for trio.

    Tasks in the loop `await` it; cancelling the wait does not cancel the work. Other threads call
    `get()`. `on_done` has a function called back in the home thread. The future may be set from any
    thread.
    """

    # Class defaults replace a call of the base's __init__, which would double the cost of a future.
    _get_hook = None
    __slots__ = ("_event", "_home", "_state", "_value", "_waiters")

    def __init__(self, home: Home | None = None) -> None:
        self._home = home
        self._state = PENDING
        self._value: Any = None
        self._waiters: list[_Waiter[T]] | None = None
        self._event: threading.Event | None = None

    def __repr__(self) -> str:
        return f"<actors.Future {('pending', 'done', 'failed', 'expired')[self._state]}>"

    @property
    def done(self) -> bool:
        """Whether it has a value or an exception."""
        return self._state != PENDING

    @property
    def waiting(self) -> int:
        """How many tasks wait for it, and how many functions are to be called back.

        A retry that waits for the first reply is still counted after its own deadline has passed.
        """
        return 0 if self._waiters is None else len(self._waiters)

    def result(self) -> T:
        """Return the value or raise the exception. Raises RuntimeError while pending."""
        if self._state == _VALUE:
            return cast("T", self._value)
        if self._state == PENDING:
            raise RuntimeError("the future is pending")
        error, traceback = self._value
        raise error.with_traceback(traceback)

    def exception(self) -> BaseException | None:
        """Return the exception, or None if there is a value. Raises RuntimeError while pending."""
        if self._state == PENDING:
            raise RuntimeError("the future is pending")
        return None if self._state == _VALUE else cast("BaseException", self._value[0])

    # --- setting it ------------------------------------------------------------------------------

    @enable_ki_protection
    def set(self, value: T | None = None) -> None:
        """Set the value, from any thread.

        Raises queue.Full if the future was set before (Pykka's choice). If its deadline has passed,
        the value is ignored.
        """
        self._settle(_VALUE, value)

    @enable_ki_protection
    def set_exception(self, exc_info: ExcInfo | BaseException | None = None) -> None:
        """Set an exception: the given one, or the one that is being handled.

        Otherwise like `set`.
        """
        if exc_info is None:
            exc_info = sys.exc_info()
        if isinstance(exc_info, BaseException):
            error: BaseException | None = exc_info
            traceback = exc_info.__traceback__
        else:
            kind, error, traceback = exc_info
            if error is None:
                assert kind is not None
                error = kind()
        assert error is not None
        self._settle(_ERROR, (error, traceback))

    def _settle(self, state: int, value: object) -> None:
        if self._state != PENDING:
            if self._state == _EXPIRED:
                return
            raise queue.Full
        # Set the value first, then the state, and only then look for waiters. Waiters enlist first
        # and then look at the state. Under the GIL this order misses nobody, without a lock.
        self._value = value
        self._state = state
        if self._event is not None:
            self._event.set()
        if self._waiters is not None:
            home = self._home
            assert home is not None
            if home.here():
                self._announce()
            else:
                try:
                    home.call_soon(self._announce)
                except trio.RunFinishedError:
                    return  # the loop has ended, and the waiters with it

    @enable_ki_protection
    def expire(self, error: BaseException | None = None) -> None:
        """Fail with `error`, or pykka.Timeout, if pending. A value that comes later is ignored."""
        if self._state == PENDING:
            if error is None:  # `or` would be wrong: an exception may be falsy
                error = pykka.Timeout("nobody waits any more")
            self._settle(_EXPIRED, (error, None))

    @enable_ki_protection
    def settle_quietly(self, value: T | None = None, error: BaseException | None = None) -> None:
        """Set the value or the error, unless the future is done already."""
        if self._state == PENDING:
            if error is None:
                self._settle(_VALUE, value)
            else:
                self._settle(_ERROR, (error, error.__traceback__))

    def follow(self, other: object) -> None:
        """Take over the result of `other`.

        The result is a TypeError if `other` is no such future.
        """
        if isinstance(other, Future):
            other.when_done(self._copy)
        else:  # a future of a thread or another loop cannot tell this loop when it is done
            if isinstance(other, (Coroutine, Generator)):
                other.close()  # it will not be run; without this, Python warns
            self.settle_quietly(error=TypeError(f"{type(other).__name__} cannot be a reply"))

    def _copy(self, other: Future[Any]) -> None:
        if other._state == _VALUE:
            self.settle_quietly(other._value)
        else:
            self.settle_quietly(error=presentable(other._value[0]))

    # --- waiting for it --------------------------------------------------------------------------

    @enable_ki_protection
    def on_done(self, callback: Callable[[Future[T]], object]) -> None:
        """Have `callback(self)` called in the home thread: at once if done, else by `set`.

        `on_done` itself is called in the home thread only. If the future is set by another
        callback, this one is called right after it.

        If an actor calls `on_done`, the callback sees the actor's context variables, and an
        exception in it is a failure of the actor. If other code calls it, the callback sees a copy
        of the context variables of that moment, and an exception is logged.

        A callback must not touch the state of an actor; `Actor.pipe_to_self` is for that.
        """
        if not callable(callback):
            check_callable("callback", callback)
        home = self._home
        if home is None:
            home = self._home = Home.current()
        owner = home.owner()
        waiter = (owner, copy_context() if owner is None else None, callback)
        if not self._enlist(waiter):
            home.call_back(*waiter, self)

    def when_done(self, callback: Callable[[Future[T]], object]) -> None:
        """Like `on_done`, for callbacks of no actor. It costs half as much.

        The callback must not use context variables. An exception in it is logged.
        """
        home = self._home
        if home is None:
            home = self._home = Home.current()
        if not self._enlist((None, None, callback)):
            home.call_back(None, None, callback, self)

    def __await__(self) -> Generator[Any, Any, T]:
        if self._get_hook is not None:
            return self.get()
        if self._state == PENDING:
            yield from self._wait().__await__()
        elif (home := self._home) is not None:
            home.free_awaits += 1
            if home.free_awaits >= _FREE_AWAITS:
                home.free_awaits = 0
                yield from trio.lowlevel.checkpoint().__await__()
        return self.result()

    @enable_ki_protection
    async def _wait(self) -> None:
        task = trio.lowlevel.current_task()
        if self._home is None:
            self._home = Home.current()
        if not self._enlist(task):
            return

        def abort(_raise_cancel: object) -> trio.lowlevel.Abort:
            self._delist(task)
            return trio.lowlevel.Abort.SUCCEEDED

        await trio.lowlevel.wait_task_rescheduled(abort)

    def get(self, *, timeout: float | None = None) -> T:
        """Block the calling thread until the future is done, at most `timeout` seconds; return the
        value.

        Raises the future's exception if there is one, pykka.Timeout if it is not done in time,
        ValueError for a timeout that is negative or NaN, and RuntimeError in the loop's own thread,
        which would wait for itself.
        """
        if timeout is not None:
            check_seconds("timeout", timeout)
            timeout = min(timeout, threading.TIMEOUT_MAX)
        if self._get_hook is not None:
            return super().get(timeout=timeout)
        if self._state == PENDING:
            if self._home is not None and self._home.here():
                raise RuntimeError("get() would stop the event loop; await the future")
            with _event_lock:
                event = self._event = self._event or threading.Event()
            if self._state == PENDING and not event.wait(timeout):
                raise pykka.Timeout(f"{timeout} seconds")
        return self.result()

    def _enlist(self, waiter: _Waiter[T]) -> bool:
        """Enter a waiter, in the home thread. Return False if the future is done already."""
        if self._state != PENDING:
            return False
        if self._waiters is None:
            self._waiters = [waiter]
        else:
            self._waiters.append(waiter)
        # True if still pending, or if another thread has just set it and will tell this waiter.
        return self._state == PENDING or not self._delist(waiter)

    def _delist(self, waiter: _Waiter[T]) -> bool:
        if self._waiters is None or waiter not in self._waiters:
            return False
        self._waiters.remove(waiter)
        return True

    def _announce(self) -> None:
        waiters, self._waiters = self._waiters, None
        if waiters is None:
            return
        home = self._home
        assert home is not None
        nested, home.calling = home.calling, True
        try:
            for waiter in waiters:
                if not isinstance(waiter, tuple):
                    trio.lowlevel.reschedule(waiter)
                elif nested:
                    home.callbacks.append((*waiter, self))
                else:
                    home.call_back(*waiter, self)  # it does not raise what the callback raises
                    if home.callbacks:
                        home.call_callbacks()
        finally:
            home.calling = nested

    # --- Pykka's combinators, made of callbacks so that they can be awaited ----------------------

    def map(self, func: Callable[[T], M]) -> Future[M]:
        """Return a future of `func(value)`. An exception of this future or of `func` is passed on.

        An exception of `func` that is no Refusal is also a failure of the actor that called `map`.
        """
        check_callable("func", func)
        mapped: Future[M] = Future(self._home)

        def apply(done: Future[T]) -> None:
            if (error := done.exception()) is not None:
                mapped.settle_quietly(error=error)
                return
            try:
                mapped.settle_quietly(func(done.result()))
            except Refusal as refusal:
                mapped.settle_quietly(error=bare(refusal))
            except BaseException as raised:
                mapped.settle_quietly(error=presentable(raised))
                assert self._home is not None
                if self._home.whose is not None:
                    raise

        self.on_done(apply)
        return mapped

    def then(self, func: Callable[[T], Future[M]]) -> Future[M]:
        """Return a future of what the future `func(value)` will be. For the rest see `map`."""
        answer: Future[M] = Future(self._home)

        def go_on(mapped: Future[Future[M]]) -> None:
            if (error := mapped.exception()) is not None:
                answer.settle_quietly(error=error)
            else:
                answer.follow(mapped.result())

        self.map(func).when_done(go_on)
        return answer

    def filter(self: Future[Any], func: Callable[[Any], bool]) -> Future[Iterable[Any]]:
        """Return a future of the list of those items of the value for which `func` is true."""
        return self.map(lambda items: [item for item in items if func(item)])

    def reduce(self: Future[Any], func: Callable[[Any, Any], Any], *args: Any) -> Future[Any]:
        """Return a future of `functools.reduce(func, value, *args)`."""
        return self.map(lambda items: functools.reduce(func, items, *args))

    def join(self: Future[Any], *futures: pykka.Future[Any]) -> Future[Iterable[Any]]:
        """Return a future of the list of all results, or of the first exception among them."""
        everyone = [self, *(cast("Future[Any]", future) for future in futures)]
        joined: Future[Iterable[Any]] = Future(self._home)

        def check(_done: Future[Any]) -> None:
            if all(future.done for future in everyone):
                try:
                    joined.settle_quietly([future.result() for future in everyone])
                except BaseException as error:
                    joined.settle_quietly(error=error)

        for future in everyone:
            future.when_done(check)
        return joined
