"""How an actor is reached: by its name, whatever incarnation holds it now."""

from __future__ import annotations

from contextvars import ContextVar
from threading import get_ident
from typing import Any, Final, Literal, Protocol, cast, overload

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
    """Where a ref leaves what nobody can take."""

    def add(self, ref: ActorRef, message: Any, reason: str) -> None:
        """Note a dead letter."""


class Naming(Protocol):
    """A system, as its refs see it: who has a name now, and when is it."""

    default_timeout_s: float
    home: Home
    timers: Timers

    @property
    def vacant(self) -> Target:
        """What stands for nobody: it has ended, so nothing ever reaches it."""

    @property
    def dead_letters(self) -> Undelivered:
        """Where messages go that nobody can take."""

    def ref(self, kind: str, key: str) -> ActorRef:
        """The ref of that name, whether or not the actor is there now."""

    def lookup(self, kind: str, key: str) -> Target | None:
        """Who has that name, if anybody has it now."""

    def locate(self, ref: ActorRef, last: Target) -> Target:
        """Who takes messages for `ref`, brought to life if that can be. `last` is who did before.

        Raises ActorFailed, ActorDeadError.
        """

    def may_start(self, kind: str) -> bool:
        """Whether a message brings an actor of this kind to life, now."""


class Near(Target, Runnable, Protocol):
    """A target in the loop of whoever sends: its mailbox is at hand.

    Whoever puts something in has it run, unless somebody has `claimed` that already.
    """

    mailbox: Mailbox
    dispatcher: Dispatcher
    claimed: bool

    def put(self, item: Any) -> None:
        """Put it in the mailbox by its policy, and count. Raises MailboxFull."""


CURRENT: Final[ContextVar[Naming | None]] = ContextVar("actor_system", default=None)
"""The system whose `async with`, or actor, the code is in."""


class ActorRef(pykka.ActorRef[Any]):
    """Names (kind, key) in a system, not an incarnation: it outlives restarts and passivation.

    Refs with the same name are equal. In a pickle a ref is its name; it is loaded into the current
    system.
    """

    __slots__ = ("_cell", "_system", "key", "kind")

    def __init__(self, system: Naming, kind: str, key: str, cell: Target | None = None) -> None:
        # Not Pykka's, which would hold on to one incarnation.
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
        return self  # a name is copied by naming it, wherever that is

    def __deepcopy__(self, _memo: object) -> ActorRef:
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        return _load, (self.kind, self.key)

    # --- what Pykka's ref says of its actor ------------------------------------------------------

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
        """Its `is_set()` says whether the actor has ended."""
        return _Stopped(self)

    def _actor_weakref(self) -> Any:  # type: ignore[override]  # a weakref there, called like this
        """The present incarnation, where Pykka's proxy looks for it."""
        actor = self._target().actor_or_none()
        if actor is None:
            raise pykka.ActorDeadError(f"{self} has no incarnation at present")
        return actor

    def is_alive(self) -> bool:
        """Whether the actor is there now. A passivated one is not, and still takes messages."""
        cell = self._cell
        return cell.alive or self._system.lookup(self.kind, self.key) is not None

    # --- messages --------------------------------------------------------------------------------

    @enable_ki_protection
    def tell(self, message: Any) -> None:
        """Send a message; nothing comes back. From any thread.

        From another thread it is handed to the loop: what is found out only there becomes a dead
        letter. If the mailbox waits when full, the thread waits, at most the system's default
        timeout.

        Raises:
            ActorDeadError: the actor has ended and nothing brings it back (a dead letter, too)
            ActorFailed: it failed too often and rests
            MailboxFull: by the policy of the mailbox

        """
        cell = self._cell
        if cell.thread != get_ident():  # no cell, an ended one, a thread's, or we are in a thread
            self._tell_elsewhere(message)
            return
        # The rest is LoopCell.tell and Mailbox.put, inlined: that saves a quarter of a tell.
        cell = cast("Near", cell)
        mailbox = cell.mailbox
        queue = mailbox.queue
        if len(queue) < mailbox.capacity:
            queue.append(message)
        else:
            cell.put(message)
        if not cell.claimed:
            cell.claimed = True
            cell.dispatcher.add(cell)

    @enable_ki_protection
    def notify(self, message: Any) -> None:
        """`tell` that a full mailbox takes all the same, as it takes a `Terminated`. At home only.

        For what its receiver must not miss, and whose number something else bounds: a topic ends
        once for each of its members.

        Raises ActorDeadError, ActorFailed as `tell`.
        """
        self._taker(message).control(Control(message))

    @enable_ki_protection
    async def send(self, message: Any) -> None:
        """`tell` that waits for room where the mailbox's policy is `wait`. In the loop only.

        Raises what `tell` raises, but MailboxFull only under the policy `refuse`.
        """
        await trio.lowlevel.checkpoint_if_cancelled()
        admitted = self._taker(message).tell_or_wait(message)
        if admitted is not None:
            try:
                await admitted
            except BaseException:  # cancelled, or interrupted by Ctrl-C
                admitted.expire()  # forfeits the place in the queue
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
        """Send a message and get a future of the reply. From any thread.

        Whatever goes wrong is in the future: ActorDeadError, ActorFailed, MailboxFull, what the
        handler raised, or AskTimeout after `timeout` seconds (None: the system's default;
        infinity: never). `block=True` waits and returns the reply, in other threads only; Pykka's
        default is to block, which a loop cannot.

        Raises ValueError for a timeout that is negative or not a number, and RuntimeError for
        `block=True` in the loop; then nothing is sent.
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
            if not future.done:  # most often it is, by now, and a timer costs a tenth of an ask
                system.timers.add(trio.current_time() + timeout, future)
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
        except Exception as error:  # also what is wrong with a factory of its kind
            future.settle_quietly(error=error)
            return
        self._system.timers.add(trio.current_time() + timeout, future)
        target.ask(message, future)

    @enable_ki_protection
    def stop(self, *, block: bool = False, timeout: float | None = None) -> Any:
        """Stop the actor after what is in its mailbox. From any thread.

        Returns a future, or with `block=True` its result: True once it has ended, False if it
        was dead before. With `block`, raises pykka.Timeout after `timeout` seconds; ValueError if
        that is no duration; RuntimeError in the loop, and then nobody is asked to stop.
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
        """Wait until the actor has started, a supervisor with all its children. True.

        Raises StartFailed, with the cause, if it did not; whether it is tried again is its policy's
        to say. Raises ActorDeadError if there is no actor.
        """
        cell = self._target()
        if not await cell.when_started():
            raise StartFailed(cell.name, cell.error)
        return True

    def proxy(self) -> pykka.ActorProxy[Any]:
        """Pykka's proxy: its calls run in the actor, one at a time, async methods too.

        Raises ActorDeadError if the actor is not alive.
        """
        return pykka.ActorProxy(actor_ref=self)

    def _check_may_block(self) -> None:
        if self._system.home.here():
            raise RuntimeError("block=True would stop the event loop; await the future")

    # --- the uncommon ways -----------------------------------------------------------------------

    def _target(self) -> Target:
        """The cell that takes messages now. Raises ActorDeadError, ActorFailed."""
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
                self.tell_soon(message)  # there it wakes its actor or is a dead letter
                if not system.may_start(self.kind):
                    raise pykka.ActorDeadError(f"{self} is not alive")
                return
            cell = found
        cell.tell_from_thread(message)

    def _taker(self, message: Any) -> Target:
        """The cell for a told message. Raises ActorDeadError, and then it is a dead letter."""
        try:
            return self._target()
        except pykka.ActorDeadError:
            if self._system.home.here():  # or its loop has ended, and its clock with it
                self._system.dead_letters.add(self, message, "dead")
            raise

    def tell_soon(self, message: Any) -> None:
        """`tell` from another thread that does not learn what becomes of it."""
        try:
            self._system.home.offer(self._tell_here, message)
        except trio.RunFinishedError:
            raise self._without_loop() from None

    def _without_loop(self) -> pykka.ActorDeadError:
        return pykka.ActorDeadError(f"{self}: its event loop has ended")

    def _tell_here(self, message: Any) -> None:
        """A tell that came from another thread: whoever sent it is not there to catch anything."""
        try:
            self._target().tell(message)
        except pykka.ActorDeadError:
            self._system.dead_letters.add(self, message, "dead")
        except MailboxFull:
            self._system.dead_letters.add(self, message, "mailbox full")

    def _stop_here(self, future: Future[bool]) -> None:
        cell = self._system.lookup(self.kind, self.key)
        if cell is None:
            future.settle_quietly(False)
        else:
            future.follow(cell.stop("stopped"))

    def trouble(self) -> BaseException | None:
        """What the actor this ref last reached failed of, while it is not back."""
        cell = self._cell
        return None if cell.up else cell.error

    def ended_as(self) -> Reason | None:
        """How the actor this ref last reached ended; None while it is there."""
        return self._cell.reason


class _Stopped:
    """What stands in for the threading.Event of Pykka's refs, without its 1 KiB."""

    __slots__ = ("_ref",)

    def __init__(self, ref: ActorRef) -> None:
        self._ref = ref

    def is_set(self) -> bool:
        return not self._ref.is_alive()


def _load(kind: str, key: str) -> ActorRef:
    return current_naming().ref(kind, key)


def current_naming() -> Naming:
    """The system the caller is in. Raises RuntimeError."""
    system = CURRENT.get()
    if system is None:
        raise RuntimeError("no actor system here: open one with `async with ActorSystem()`")
    return system
