"""The errors of the runtime, one class for each."""

from __future__ import annotations

import math

import pykka

from .panic import shown


class ActorFailed(pykka.ActorDeadError):
    """The actor failed more often than its policy allows, or could not start.

    Attributes:
        name: the actor's name, kind/key.
        retry_after_s: in how many seconds a message starts it again; infinite if none is known to.
        cause: the last exception that it failed with, also in `__cause__`.
    """

    def __init__(self, name: str, retry_after_s: float, cause: BaseException | None = None) -> None:
        super().__init__(name, retry_after_s, cause)
        self.name = name
        self.retry_after_s = retry_after_s
        self.cause = cause
        self.__cause__ = cause

    def __str__(self) -> str:
        why = "" if self.cause is None else f": {shown(self.cause)}"
        if math.isinf(self.retry_after_s):
            return f"{self.name} failed{why}"
        return f"{self.name} failed{why}; it is tried again in {self.retry_after_s:.1f} s"


class NoHost(pykka.ActorDeadError):
    """No node of the cluster is for this kind of actor.

    Nobody has acted on the message. It may succeed once there is such a node.

    Attributes:
        name: the actor's name, kind/key.
        why: which nodes it would take, for people.
    """

    def __init__(self, name: str, why: str) -> None:
        super().__init__(name, why)
        self.name = name
        self.why = why

    def __str__(self) -> str:
        return f"{self.name}: {self.why}"


class StartFailed(Exception):  # noqa: N818 -- named for what happened
    """An actor did not start: its constructor, its recovery, `on_start` or a child of it failed.

    Attributes:
        name: the actor's name, kind/key.
        cause: the exception that it failed with, also in `__cause__`; None if it was stopped before
            it had started.
    """

    def __init__(self, name: str, cause: BaseException | None) -> None:
        super().__init__(name, cause)
        self.name = name
        self.cause = cause
        self.__cause__ = cause

    def __str__(self) -> str:
        if self.cause is None:
            return f"{self.name} ended before it had started"
        return f"{self.name} did not start: {shown(self.cause)}"


class NoStores(RuntimeError):  # noqa: N818 -- a state, as in trio.ClosedResourceError
    """A persistent actor was started in a system without stores. A restart would not help."""


class ActorExists(Exception):  # noqa: N818 -- named like Pykka's and trio's: what happened
    """An actor was to be started under a (kind, key) that another actor has."""


class MailboxFull(Exception):  # noqa: N818 -- named like queue.Full and trio.WouldBlock
    """The mailbox is full, or too many calls from other threads wait for the loop."""


class AskTimeout(pykka.Timeout):
    """No reply came before the deadline of the ask. The actor may still act on the message.

    Attributes:
        name: the actor's name, kind/key.
        message: the type of the message, as text.
        timeout_s: the timeout of the ask, in seconds.
        cause: the exception that the actor failed with, also in `__cause__`, if it has not started
            again since.
    """

    def __init__(
        self, name: str, message: str, timeout_s: float, cause: BaseException | None = None
    ) -> None:
        super().__init__(name, message, timeout_s, cause)
        self.name = name
        self.message = message
        self.timeout_s = timeout_s
        self.cause = cause
        self.__cause__ = cause

    def __str__(self) -> str:
        why = "" if self.cause is None else f"; it failed: {shown(self.cause)}"
        return f"{self.name} did not answer {self.message} within {self.timeout_s:g} s{why}"


class Refusal(Exception):  # noqa: N818 -- a base class for answers, not for faults
    """A handler raises this as its answer: the asker gets it, and the actor goes on.

    Any other exception is a failure of the actor: the asker gets it too, and then the actor is
    restarted. (With Pykka, an actor goes on after every exception under `ask`. Here a handler that
    failed half-way must not leave the actor to work with a half-changed state.)
    """


def bare(refusal: Refusal) -> Refusal:
    """Remove the tracebacks of the refusal and of its causes, and return it.

    A refusal is an answer, so nobody needs its traceback. With a traceback, the future that holds
    the refusal would hold a frame that holds the future: ten objects of cyclic garbage a refused
    request.
    """
    error: BaseException | None = refusal
    while error is not None and error.__traceback__ is not None:
        error.__traceback__ = None
        error = error.__context__ if error.__cause__ is None else error.__cause__
    return refusal


class Quarantined(Refusal):
    """Equal messages have crashed this actor, so it does not get this one: see `QuarantinePolicy`.

    Attributes:
        name: the actor's name, kind/key.
        message: the type of the message, as text.
        retry_after_s: in how many seconds an equal message is tried again.
    """

    def __init__(self, name: str, message: str, retry_after_s: float) -> None:
        super().__init__(name, message, retry_after_s)
        self.name = name
        self.message = message
        self.retry_after_s = retry_after_s

    def __str__(self) -> str:
        return (
            f"an equal {self.message} has crashed {self.name} before; "
            f"it is tried again in {self.retry_after_s:.1f} s"
        )


class UnhandledMessage(Refusal, TypeError):  # noqa: N818 -- named like what it is about
    """The actor has no handler for messages of this type. A told message becomes a dead letter.

    Attributes:
        name: the actor's name, kind/key.
        message: the type of the message, as text.
    """

    def __init__(self, name: str, message: str) -> None:
        super().__init__(name, message)
        self.name = name
        self.message = message

    def __str__(self) -> str:
        return f"{self.name} has no handler for {self.message}"


class Stashed(Exception):  # noqa: N818 -- what happened to the message
    """The message that is being handled was put aside, see `Actor.stash`. Handlers let it pass."""


class Misfit(TypeError):  # noqa: N818 -- says what was made
    """A factory made no new actor. This class is internal; embedders see it as a TypeError."""


class Escalation(Exception):  # noqa: N818 -- what a supervisor does when it gives up
    """A supervisor gave up, because its children failed more often than it allows."""


class SystemFailed(Exception):  # noqa: N818 -- the end state's name
    """The system stopped because a supervisor at its root gave up. `__cause__` says why."""


class HandlerHung(Exception):  # noqa: N818 -- the state's name
    """Synchronous code under a guard ran past its limit and was interrupted (see `watchdog`)."""


class StoreBusy(Refusal):
    """Too many events wait for the store. Nothing was applied; the request may succeed later."""


class Fenced(Refusal):
    """Another incarnation of the actor owns the log, so the event was not written.

    A new ask reaches an actor that has recovered from the log as it is now.
    """


class Unstorable(Exception):  # noqa: N818 - says what the event is
    """The store can never hold this event, so it was not written."""


class JournalClosed(Exception):  # noqa: N818 - a state, as in trio.ClosedResourceError
    """The system stopped before it knew whether the event was durable."""
