"""The thread of a pykka.ThreadingActor. It keeps Pykka's rules and reports what happens in it."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from contextlib import suppress
from contextvars import Context
from typing import Any

import pykka
from pykka.messages import _ActorStop

from .errors import UnhandledMessage
from .panic import presentable
from .proxied import PROXIED
from .thread_inbox import ThreadInbox


class ActorThread:
    """Runs one instance in a thread of its own, by the instance's public hooks, until it is
    stopped.

    An exception under `tell` ends the instance; one under `ask` goes to the asker only. Pykka's own
    loop is not used because it reports to a registry that all actors of the process share, and ends
    all of them when one raises SystemExit.

    Arguments:
        actor: any pykka.ThreadingActor.
        inbox: where its messages come from; the next instance goes on with the same inbox.
        name: the second part of the thread's name, after the class: kind/key and the instance's
            number.
        started: called in the thread once `on_start` has returned.
        handled: called in the thread after each message.
        ended: called in the thread as its last act.
        unhandled: called in the thread with a told message that the actor does not handle.
    """

    __slots__ = (
        "_abandoned",
        "_ended",
        "_handled",
        "_inbox",
        "_name",
        "_started",
        "_unhandled",
        "actor",
        "busy",
        "error",
    )

    def __init__(
        self,
        actor: pykka.ThreadingActor,
        inbox: ThreadInbox,
        name: str,
        *,
        started: Callable[[ActorThread], None],
        handled: Callable[[], None],
        ended: Callable[[ActorThread], None],
        unhandled: Callable[[Any], None],
    ) -> None:
        self.actor = actor
        self.error: BaseException | None = None  # the first exception that the actor failed with
        self._inbox = inbox
        self._name = name
        self.busy = False  # whether it is handling a message
        self._started = started
        self._handled = handled
        self._ended = ended
        self._unhandled = unhandled
        self._abandoned = False

    def start(self, context: Context) -> None:
        """Start the thread, with these context variables.

        Raises RuntimeError if the operating system allows no more threads.
        """
        thread = threading.Thread(
            target=context.run, args=(self._run,), name=f"{type(self.actor).__name__}-{self._name}"
        )
        thread.daemon = self.actor.use_daemon_thread
        thread.start()

    def abandon(self) -> None:
        """Wait for it no longer.

        It ends without `on_stop`, after its present message or the next.
        """
        self._abandoned = True
        self.actor.actor_stopped.set()

    def _run(self) -> None:
        try:
            self._live()
        except BaseException as error:  # a thread must not end without a report
            self._fail(error)
        self._ended(self)

    def _live(self) -> None:
        actor, inbox = self.actor, self._inbox
        try:
            actor.on_start()
        except Exception as error:
            self._fail(error)
        else:
            self._started(self)
        while not actor.actor_stopped.is_set():
            envelope = inbox.get()
            if isinstance(envelope.message, _ActorStop):
                self._stop()
            else:
                self._handle(envelope.message, envelope.reply_to)

    def _handle(self, message: Any, reply: pykka.Future[Any] | None) -> None:
        self.busy = True
        try:
            if (proxied := PROXIED.get(type(message))) is not None:
                result = proxied(self.actor, message)
            else:
                result = self.actor.on_receive(message)
        except BaseException as raised:
            self._raised(presentable(raised), message, reply)
        else:
            if reply is not None:
                try:  # noqa: SIM105 -- `suppress` would cost as much as all the rest
                    reply.set(result)
                except queue.Full:
                    pass  # the actor has set the reply itself
        finally:
            self._handled()
            self.busy = False
            del message, reply  # a traceback holds this frame, and the reply holds the traceback

    def _raised(self, error: Exception, message: Any, reply: pykka.Future[Any] | None) -> None:
        if reply is not None:
            with suppress(queue.Full):  # as above
                reply.set_exception((type(error), error, error.__traceback__))
        elif isinstance(error, UnhandledMessage):
            self._unhandled(message)
        else:
            self._fail(error)
            try:
                self.actor.on_failure(type(error), error, error.__traceback__)
            except Exception as another:
                self._fail(another)

    def _stop(self) -> None:
        self.actor.actor_stopped.set()
        if not self._abandoned:
            try:
                self.actor.on_stop()
            except Exception as error:
                self._fail(error)

    def _fail(self, error: BaseException) -> None:
        if self.error is None:  # `or` would be wrong: an exception may be falsy
            self.error = error
        self.actor.actor_stopped.set()
