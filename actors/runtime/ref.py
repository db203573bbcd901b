"""`ActorRef`: reaches an actor by its name, whichever incarnation of it runs at the time."""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from threading import get_ident
from typing import Any, Final, Literal, Protocol, overload

import pykka
import trio
from trio.lowlevel import enable_ki_protection

from .checks import check_seconds
from .dispatcher import Dispatcher, Runnable
from .errors import MailboxFull, StartFailed
from .future import Future
from .home import Home
from .mailbox import Control, Mailbox
from .reasons import Reason
from .reply import Reply
from .target import Target
from .timers import Timers


class Undelivered(Protocol):
    """Takes the messages that a ref cannot deliver."""

    def add(self, ref: ActorRef, message: Any, reason: str) -> None:
        """Record a dead letter."""


class Naming(Protocol):
    """An actor system, as its refs see it: names and time."""

    clock: Callable[[], float]
    default_timeout_s: float
    home: Home
    timers: Timers

    @property
    def vacant(self) -> Target:
        """The target of a ref that has not led to an actor yet.

        It has ended, so it takes nothing.
        """

    @property
    def dead_letters(self) -> Undelivered:
        """Takes the messages that cannot be delivered."""

    def ref(self, kind: str, key: str) -> ActorRef:
        """Return the ref of that name, whether or not the actor is there now."""

    def lookup(self, kind: str, key: str) -> Target | None:
        """Return the actor that has this name now, if there is one."""

    def whereabouts(self, kind: str, key: str) -> Target | None:
        """Return the actor that has this name now, here or on another node.

        None: there is none here, and here it would be.
        """

    def locate(self, ref: ActorRef, last: Target) -> Target:
        """Return the target for messages to `ref`, and start the actor if its kind is registered.

        `last` is the target that the ref led to before. Raises ActorFailed or ActorDeadError if
        there is no actor and none can be started.
        """

    def may_start(self, kind: str) -> bool:
        """Return whether a message can start an actor of this kind now."""


class Near(Target, Runnable, Protocol):
    """A target in the sender's own loop, so that the sender can put messages into its mailbox.

    A sender that finds `claimed` false sets it and adds the target to the dispatcher's queue.
    """

    mailbox: Mailbox
    dispatcher: Dispatcher
    claimed: bool

    def put(self, item: Any) -> None:
        """Put an item into the mailbox by the mailbox's policy. Raises MailboxFull."""


CURRENT: Final[ContextVar[Naming | None]] = ContextVar("actor_system", default=None)
"""The current system: its `async with` block, or an actor of it, runs the code that asks."""


class ActorRef(pykka.ActorRef[Any]):
    """Reaches an actor by its name (kind, key).

    It stays valid when the actor is restarted or passivated.

    Refs with the same name are equal. A pickled ref holds its name only; unpickled, it belongs to
    the current system.
    """

    __slots__ = ("_cell", "_system", "key", "kind")

    def __init__(self, system: Naming, kind: str, key: str, cell: Target | None = None) -> None:
        # Pykka's constructor is not called: it would hold on to one incarnation.
        self._system = system
        self.kind = kind
        self.key = key
        self._cell: Target = system.vacant if cell is None else cell

    def __repr__(self) -> str:
        return f"<ActorRef {self.kind}/{self.key}>"

    __str__ = __repr__

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, ActorRef):
            return NotImplemented
        return self.kind == other.kind and self.key == other.key

    def __hash__(self) -> int:
        return hash((self.kind, self.key))

    def __copy__(self) -> ActorRef:
        return self  # a ref is only a name, so it can stand for its own copy

    def __deepcopy__(self, _memo: object) -> ActorRef:
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        return _load, (self.kind, self.key)

    # --- attributes of Pykka's refs --------------------------------------------------------------

    @property
    def actor_class(self) -> type[Any]:  # type: ignore[override]  # a value there
        """The class of the present incarnation. Raises ActorDeadError if there is none."""
        return type(self._actor_weakref())

    @property
    def actor_urn(self) -> str:  # type: ignore[override]  # a value there
        """A name for logs; unique within the system."""
        return f"urn:actor:{self.kind}/{self.key}"

    @property
    def actor_inbox(self) -> Any:  # type: ignore[override]  # a value there
        """The inbox of the present incarnation. Raises ActorDeadError if there is none."""
        return self._actor_weakref().actor_inbox

    @property
    def actor_stopped(self) -> Any:  # type: ignore[override]  # an Event there
        """An object whose `is_set()` says whether the actor has ended."""
        return _Stopped(self)

    def _actor_weakref(self) -> Any:  # type: ignore[override]  # a weakref there, called like this
        """Return the present incarnation. Pykka's proxies call this."""
        actor = self._target().actor_or_none()
        if actor is None:
            raise pykka.ActorDeadError(f"{self} has no incarnation at present")
        return actor

    def is_alive(self) -> bool:
        """Return whether the actor is there now.

        A passivated one is not, and still takes messages.
        """
        cell = self._cell
        return cell.alive or self._system.lookup(self.kind, self.key) is not None

    # --- messages --------------------------------------------------------------------------------

    @enable_ki_protection
    def tell(self, message: Any) -> None:
        """Send a message without waiting for a reply. This may be called from any thread.

        A message from another thread is handed to the loop. If it turns out there that the message
        cannot be delivered, the message becomes a dead letter, and the sender is not told. If the
        mailbox is full and its policy is `wait`, the sending thread waits, at most the system's
        default timeout.

        Raises:
            ActorDeadError: the actor has ended and its kind is not registered. The message also
                becomes a dead letter.
            ActorFailed: the actor failed too often and rests.
            MailboxFull: the mailbox is full, by its policy.
        """
        cell = self._cell
        if cell.thread != get_ident():  # no live cell, or it or the caller is not at home
            self._tell_elsewhere(message)
            return
        # The rest is LoopCell.tell and Mailbox.put, inlined: that saves a quarter of a tell. No
        # `cast` either: it is a call, 25 ns of 165.
        near: Near = cell  # type: ignore[assignment]
        mailbox = near.mailbox
        queue = mailbox.queue
        if len(queue) < mailbox.capacity:
            queue.append(message)
        else:
            near.put(message)
        if not near.claimed:
            near.claimed = True
            near.dispatcher.enqueue(near)

    @enable_ki_protection
    def notify(self, message: Any) -> None:
        """Send a message like `tell`, also into a full mailbox. Called in the home thread only.

        This is for messages that the receiver must not miss and whose number is bounded by
        something else. For example, a topic ends once for each of its members.

        Raises ActorDeadError and ActorFailed like `tell`.
        """
        self._taker(message).control(Control(message))

    @enable_ki_protection
    async def send(self, message: Any) -> None:
        """Send a message like `tell`, but wait for room if the mailbox's policy is `wait`.

        It is called in the loop only. Raises what `tell` raises; MailboxFull only under the policy
        `refuse`.
        """
        await trio.lowlevel.checkpoint_if_cancelled()
        admitted = self._taker(message).tell_or_wait(message)
        if admitted is not None:
            try:
                await admitted
            except BaseException:  # cancelled, or interrupted by Ctrl-C
                admitted.expire()  # give up the place in the queue
                raise

    @overload  # type: ignore[override]  # Pykka's default is to block
    def ask(
        self, message: Any, *, timeout: float | None = None, block: Literal[False] = False
    ) -> Future[Any]: ...
    @overload
    def ask(self, message: Any, *, timeout: float | None = None, block: Literal[True]) -> Any: ...
    @overload
    def ask(self, message: Any, *, timeout: float | None = None, block: bool) -> Any: ...

    @enable_ki_protection
    def ask(self, message: Any, *, timeout: float | None = None, block: bool = False) -> Any:
        """Send a message and return a future of the reply. This may be called from any thread.

        Arguments:
            message: any object.
            timeout: how long to wait for the reply, in seconds. None is the system's default;
                infinity waits for ever.
            block: wait for the reply and return it instead of a future, in other threads than the
                loop's only. (Pykka blocks by default, which the loop must not.)

        Errors of delivery and of the actor are set on the future: ActorDeadError, ActorFailed,
        MailboxFull, the exception of the handler, or AskTimeout.

        Raises ValueError for a timeout that is negative or NaN, and RuntimeError for `block=True`
        in the loop. Nothing is sent then.
        """
        system = self._system
        if timeout is None:
            timeout = system.default_timeout_s
        elif type(timeout) is not float or not timeout >= 0.0:
            check_seconds("timeout", timeout)
        if block:
            self._check_may_block()
        future = Reply(system.home, self, message, timeout)
        cell = self._cell
        if cell.thread == get_ident():
            cell.ask(message, future)
            if not future.done:  # it mostly is done by now, and a timer costs a tenth of an ask
                system.timers.add(system.clock() + timeout, future)
        elif system.home.here():
            self._ask_here(message, future, timeout)
        else:
            try:
                system.home.offer(self._ask_here, message, future, timeout)
            except trio.RunFinishedError:
                future.settle_quietly(error=self._without_loop())
            except MailboxFull as error:
                future.settle_quietly(error=error)
        return future.get() if block else future

    def _ask_here(self, message: Any, future: Reply, timeout: float) -> None:
        try:
            target = self._target()
        except Exception as error:  # includes what a factory of its kind raises
            future.settle_quietly(error=error)
            return
        self._system.timers.add(self._system.clock() + timeout, future)
        target.ask(message, future)

    @enable_ki_protection
    def stop(self, *, block: bool = False, timeout: float | None = None) -> Any:
        """Stop the actor after the messages in its mailbox. This may be called from any thread.

        Returns a future that is True once the actor has ended, or False if there was none. With
        `block=True` it waits, at most `timeout` seconds, and returns the future's result.

        Raises pykka.Timeout if a wait takes longer than `timeout`, ValueError for a timeout that is
        negative or NaN, and RuntimeError for `block=True` in the loop. In the latter two cases the
        actor is not asked to stop.
        """
        if timeout is not None:
            check_seconds("timeout", timeout)
        if block:
            self._check_may_block()
        future: Future[bool] = Future(self._system.home)
        if self._system.home.here():
            self._stop_here(future)
        else:
            try:
                self._system.home.call_soon(self._stop_here, future)
            except trio.RunFinishedError:
                future = Future(self._system.home)
                future.set(False)
        return future.get(timeout=timeout) if block else future

    async def started(self) -> bool:
        """Wait until the actor has started, and return True.

        A supervisor starts with all its children.

        Raises StartFailed, with the cause, if it did not start; by its policy it may be restarted
        all the same. Raises ActorDeadError if there is no actor.
        """
        cell = self._target()
        if not await cell.when_started():
            raise StartFailed(cell.name, cell.error)
        return True

    def proxy(self) -> pykka.ActorProxy[Any]:
        """Return a Pykka proxy. Its calls, also of async methods, run in the actor one at a time.

        Raises ActorDeadError if the actor is not alive.
        """
        return pykka.ActorProxy(actor_ref=self)

    def _check_may_block(self) -> None:
        if self._system.home.here():
            raise RuntimeError("block=True would stop the event loop; await the future")

    # --- other threads, and targets that have ended ----------------------------------------------

    def _target(self) -> Target:
        """Return the target that takes messages now. Raises ActorDeadError or ActorFailed."""
        cell = self._cell
        if not cell.alive:
            cell = self._cell = self._system.locate(self, cell)
        return cell

    def _tell_elsewhere(self, message: Any) -> None:
        system = self._system
        if system.home.here():
            self._taker(message).tell(message)
            return
        cell = self._cell
        if not cell.alive:
            found = system.lookup(self.kind, self.key)
            if found is None:
                self.tell_soon(message)  # in the loop it starts the actor, or becomes a dead letter
                if not system.may_start(self.kind):
                    raise pykka.ActorDeadError(f"{self} is not alive")
                return
            cell = found
        cell.tell_from_thread(message)

    def _taker(self, message: Any) -> Target:
        """Return the target for a told message; if there is none, add a dead letter and raise."""
        try:
            return self._target()
        except pykka.ActorDeadError:
            if self._system.home.here():  # a dead letter needs the loop's clock
                self._system.dead_letters.add(self, message, "dead")
            raise

    def tell_soon(self, message: Any) -> None:
        """Send a message from another thread, which is not told whether it was delivered."""
        try:
            self._system.home.offer(self._tell_here, message)
        except trio.RunFinishedError:
            raise self._without_loop() from None

    def _without_loop(self) -> pykka.ActorDeadError:
        return pykka.ActorDeadError(f"{self}: its event loop has ended")

    def _tell_here(self, message: Any) -> None:
        """Deliver a message from another thread, whose sender cannot be told of an error."""
        try:
            self._target().tell(message)
        except pykka.ActorDeadError:
            self._system.dead_letters.add(self, message, "dead")
        except MailboxFull:
            self._system.dead_letters.add(self, message, "mailbox full")

    def _stop_here(self, future: Future[bool]) -> None:
        target = self._system.whereabouts(self.kind, self.key)
        if target is None:
            future.settle_quietly(False)
        else:
            future.follow(target.stop("stopped"))

    def trouble(self) -> BaseException | None:
        """Return the exception that the actor failed with, if it has not started again since."""
        cell = self._cell
        return None if cell.up else cell.error

    def ended_as(self) -> Reason | None:
        """Return how the actor that this ref last led to ended, or None if it has not ended."""
        return self._cell.reason


class _Stopped:
    """Stands in for the threading.Event of Pykka's refs, which takes 1 KiB."""

    __slots__ = ("_ref",)

    def __init__(self, ref: ActorRef) -> None:
        self._ref = ref

    def is_set(self) -> bool:
        return not self._ref.is_alive()


def _load(kind: str, key: str) -> ActorRef:
    return current_naming().ref(kind, key)


def current_naming() -> Naming:
    """Return the current system. Raises RuntimeError if there is none."""
    system = CURRENT.get()
    if system is None:
        raise RuntimeError("no actor system here: open one with `async with ActorSystem()`")
    return system
