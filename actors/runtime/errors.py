"""What can go wrong between actors, each with a name of its own."""

from __future__ import annotations

import math

import pykka

from .panic import shown


class ActorFailed(pykka.ActorDeadError):
    """The actor failed more often than it may, or could not start; a later message may try again.

    `retry_after_s` is how long it rests, in seconds; infinite if nothing is known to try again.
    `cause` is what it failed of at last, also in `__cause__`.
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


class StartFailed(Exception):  # noqa: N818 -- named for what happened
    """An actor did not start: its constructor, its recovery, `on_start` or a child of it failed.

    `name` is the actor's, kind/key; `cause`, also in `__cause__`, what it failed of; None if it was
    stopped before it had started.
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
    """A persistent actor in a system without stores. No restart brings them."""


class ActorExists(Exception):  # noqa: N818 -- named like Pykka's and trio's: what happened
    """An actor was started under a (kind, key) that another one has."""


class MailboxFull(Exception):  # noqa: N818 -- named like queue.Full and trio.WouldBlock
    """The mailbox, or the way to it from another thread, holds as much as it may."""


class AskTimeout(pykka.Timeout):
    """No reply came before the deadline of the ask. The actor may still act on the message.

    `name` is the actor's, kind/key, `message` the type of what it was asked, `timeout_s` how long
    the asker gave it, in seconds. `cause`, also in `__cause__`, is what the actor failed of if it
    has not been brought back since.
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
    """Raised by a handler as its answer: the asker gets it, and the actor goes on.

    Any other exception is a failure of the actor: the asker gets it too, and then the actor is
    restarted. (Pykka sends every exception of an ask to the asker and goes on; here a handler that
    broke half-way must not go on with half a change.)
    """


def bare(refusal: Refusal) -> Refusal:
    """The refusal without its traceback, and its causes without theirs.

    It is an answer, and no fault to be traced. With a traceback the future that holds it would hold
    a frame that holds the future: ten objects of cyclic garbage for each request refused.
    """
    error: BaseException | None = refusal
    while error is not None and error.__traceback__ is not None:
        error.__traceback__ = None
        error = error.__context__ if error.__cause__ is None else error.__cause__
    return refusal


class Quarantined(Refusal):
    """Equal messages have crashed this actor, so it does not get this one: see `QuarantinePolicy`.

    `name` is the actor's, kind/key, `message` the type of what it was asked, `retry_after_s` the
    seconds after which an equal one is tried again.
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
    """No handler of the actor takes messages of this type. A told one becomes a dead letter.

    `name` is the actor's, kind/key, `message` the type.
    """

    def __init__(self, name: str, message: str) -> None:
        super().__init__(name, message)
        self.name = name
        self.message = message

    def __str__(self) -> str:
        return f"{self.name} has no handler for {self.message}"


class Misfit(TypeError):  # noqa: N818 -- says what was made
    """A factory made what cannot be a new actor. Not public: to others it is a TypeError."""


class Escalation(Exception):  # noqa: N818 -- what a supervisor does when it gives up
    """A supervisor gave up: its children failed more often than it allows."""


class SystemFailed(Exception):  # noqa: N818 -- the end state's name
    """The system stopped because a supervisor at its root gave up. The cause is chained."""


class HandlerHung(Exception):  # noqa: N818 -- the state's name
    """Guarded synchronous code ran past its limit and was interrupted (see `watchdog`)."""


class StoreBusy(Refusal):
    """Too much waits for the store. Nothing was applied; the same request may succeed later."""


class Fenced(Refusal):
    """Another incarnation owns the log, so the event was not written. Ask again: the request then
    reaches an actor that has recovered from the log as it is now.
    """


class Unstorable(Exception):  # noqa: N818 - says what the event is
    """The store says that it can never hold this event, so it was not written."""


class JournalClosed(Exception):  # noqa: N818 - a state, as in trio.ClosedResourceError
    """The system stopped before the event was known to be durable. It may be, or may not."""
