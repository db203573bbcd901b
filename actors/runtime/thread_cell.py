"""A Pykka ThreadingActor as a member of the tree: supervised, named, asked with `await`."""

from __future__ import annotations

import functools
import sys
from contextlib import suppress
from typing import Any, ClassVar

import pykka
import structlog
import trio
from pykka._envelope import Envelope  # Pykka's own type crosses its inbox seam
from pykka.messages import _ActorStop

from .cell import Cell, Host, Place, State
from .errors import MailboxFull, Misfit, UnhandledMessage
from .future import Future
from .home import Home
from .inbox import ThreadInbox
from .mailbox import Control, MailboxSpec
from .panic import presentable
from .reasons import Reason
from .ref import ActorRef

_log = structlog.get_logger("actors")


class ThreadingActor(pykka.ThreadingActor):
    """A Pykka ThreadingActor that says how much its inbox holds. It may block; it owns a thread.

    Started by `ActorSystem.start` or a supervisor, like any pykka.ThreadingActor. A daemon, for a
    blocked call that outlives its deadline must not keep the process from ending.
    """

    use_daemon_thread = True
    mailbox: ClassVar[MailboxSpec] = MailboxSpec()
    """Its capacity counts; an inbox between threads always refuses when it is full."""

    def on_receive(self, message: Any) -> Any:
        """Messages that are no proxy's; what it returns is the reply.

        Unless overridden it raises UnhandledMessage: the asker's error, and for a message that was
        told, a dead letter.
        """
        name = self.actor_ref.actor_urn.removeprefix("urn:actor:")
        raise UnhandledMessage(name, type(message).__name__)


def check_new(actor: pykka.ThreadingActor) -> None:
    """Raise TypeError if the instance has, or had, a place in a tree."""
    if isinstance(vars(actor).get("_actor_ref"), ActorRef):
        raise Misfit(f"the factory made no new actor but {actor} again")


class ThreadCell(Cell):
    """Runs a pykka.ThreadingActor of any class, as it is.

    Pykka's rules hold in the thread: an exception under `tell` ends the actor, and here its
    supervisor learns of it; one under `ask` goes to the asker only. The inbox outlives a restart.
    """

    __slots__ = ("_actor", "_halted", "_stopping", "inbox")

    def __init__(self, system: Host, place: Place, capacity: int) -> None:
        super().__init__(system, place)
        self.inbox = ThreadInbox(capacity, self.name)
        self._actor: Any = None
        self._halted: Future[bool] | None = None
        self._stopping: Reason | None = None

    def actor_or_none(self) -> Any:
        return self._actor

    def begin(self, actor: Any) -> None:
        if not isinstance(actor, pykka.ThreadingActor):
            raise TypeError(f"{self.name}: the factory made a {type(actor).__name__} this time")
        self.incarnation += 1
        self._actor = actor
        # On the instance, so that any ThreadingActor will do, whatever made it.
        instance: Any = actor
        instance.actor_inbox = self.inbox
        errors: list[BaseException] = []
        home = self.system.home
        overrides = {
            "_actor_ref": self.ref,
            "_handle_receive": functools.partial(self._receive, actor, home),
            "_handle_failure": functools.partial(_note_failure, actor, errors),
            "_stop": functools.partial(_stop, actor, errors),
            # What is left in the inbox is the next incarnation's, or answered when the cell ends.
            "_actor_loop_teardown": _nothing,
            "_actor_loop_setup": functools.partial(self._set_up, actor, errors, home),
            # A new thread has no context variables; so it gets those that every actor begins with.
            "_actor_loop": functools.partial(
                self.system.dispatcher.contexts.fresh().run,
                self._run,
                actor,
                errors,
                home,
            ),
        }
        for name, value in overrides.items():
            setattr(instance, name, value)
        self.state = State.STARTING
        try:
            actor._start_actor_loop()  # noqa: SLF001 -- Pykka's seam
        except BaseException:  # the process may have no more threads
            self._actor = None
            raise

    def _set_up(self, actor: Any, errors: list[BaseException], home: Any) -> None:
        """In the thread: `on_start`, and word of it."""
        type(actor)._actor_loop_setup(actor)  # noqa: SLF001 -- Pykka's seam
        if not errors:
            with suppress(trio.RunFinishedError):
                home.call_soon(self._thread_started, actor)

    def _thread_started(self, actor: Any) -> None:
        if actor is self._actor and self.state is State.STARTING:
            self.state = State.RUNNING
            self.has_started()

    def _run(self, actor: Any, errors: list[BaseException], home: Any) -> None:
        """The thread."""
        try:
            type(actor)._actor_loop(actor)  # noqa: SLF001 -- Pykka's seam
        except BaseException as error:  # nothing may end a thread unseen
            errors.append(error)
        try:
            home.call_soon(self._thread_ended, actor, errors)
        except trio.RunFinishedError:
            _log.warning("thread_outlived_its_system", kind=self.kind, key=self.key)

    def _receive(self, actor: Any, home: Home, message: Any) -> Any:
        """Pykka's, but for what nobody handles, and for what is no `Exception`.

        That would stop every actor that Pykka knows.
        """
        try:
            return type(actor)._handle_receive(actor, message)  # noqa: SLF001 -- Pykka's seam
        except UnhandledMessage:
            if self.inbox.present is None or self.inbox.present.reply_to is not None:
                raise
            with suppress(trio.RunFinishedError):
                home.call_soon(self.system.dead_letters.add, self.ref, message, "unhandled")
        except Exception:
            raise
        except BaseException as error:
            raise presentable(error) from error

    def _thread_ended(self, actor: Any, errors: list[BaseException]) -> None:
        if actor is not self._actor or not self.alive:
            return
        self._actor = None
        halted, self._halted = self._halted, None
        if self._stopping is not None:
            self.end(self._stopping)
        elif halted is not None:
            self.state = State.HALTED
            halted.settle_quietly(True)
        elif errors:
            _log.error("actor_failed", kind=self.kind, key=self.key, exc_info=errors[0])
            self.failed(errors[0])
        else:
            self.end("stopped")

    def tell(self, message: Any) -> None:
        self.inbox.put(Envelope(message))

    def tell_from_thread(self, message: Any) -> None:
        self.inbox.put(Envelope(message))

    def ask(self, message: Any, future: Future[Any]) -> None:
        try:
            self.inbox.put(Envelope(message, future))
        except MailboxFull as error:
            future.settle_quietly(error=error)

    def control(self, control: Control, *, first: bool = False) -> None:  # noqa: ARG002 -- in order
        self.inbox.put_control(Envelope(control.message))

    def request_stop(self, reason: Reason) -> None:
        if self._stopping is None:
            self._stopping = reason
            self.inbox.put_control(Envelope(_ActorStop()))

    def halt(self) -> Future[bool]:
        """End the instance after what is in its inbox now; what comes later is the next one's."""
        halted: Future[bool] = Future(self.system.home)
        if self.state in (State.WAITING, State.FAILED, State.HALTED):
            self.state = State.HALTED
            halted.set(True)
        elif self._halted is not None:
            halted.follow(self._halted)
        else:
            self._halted = halted
            self.inbox.put_control(Envelope(_ActorStop()))
        return halted

    def kill(self, reason: Reason = "killed") -> None:
        """Leave the thread to itself: a thread cannot be cancelled."""
        if self._actor is not None:
            _log.error("thread_left_behind", kind=self.kind, key=self.key)
            self._actor.actor_stopped.set()
            self._actor._stop = _nothing  # no hook  # noqa: SLF001 -- Pykka's seam
        self.end(reason)
        self.inbox.put_control(Envelope(_ActorStop()))  # or it would wait for its next message

    def end(self, reason: Reason) -> None:
        if not self.alive:
            return
        super().end(reason)
        for message in self.inbox.close(lambda: self.obituary(reason)):
            self.system.dead_letters.add(self.ref, message, reason)


def _note_failure(actor: Any, errors: list[BaseException], *exc_info: Any) -> None:
    """In place of Pykka's, which logs and unregisters: the cell does what is to be done."""
    errors.append(exc_info[1])
    actor.actor_stopped.set()


def _stop(actor: Any, errors: list[BaseException]) -> None:
    """Pykka's `_stop`, and a note of what it was for.

    Pykka calls it for a stop message and also for a BaseException such as SystemExit.
    """
    error = sys.exc_info()[1]
    if error is not None:
        errors.append(error)
    type(actor)._stop(actor)  # noqa: SLF001 -- Pykka's seam


def _nothing() -> None:
    pass
