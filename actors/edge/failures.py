"""The one place where what goes wrong between actors becomes a row of the table of errors."""

from __future__ import annotations

from typing import Any, Final

import pykka
import structlog

from actors.runtime.errors import (
    ActorFailed,
    AskTimeout,
    Fenced,
    JournalClosed,
    MailboxFull,
    Refusal,
    StoreBusy,
)
from actors.runtime.future import Future
from persistence.errors import KeyReused, RowRefused, StoreError
from persistence.errors import StoreBusy as TooManyCalls
from protocol.errors import (
    BAD_MESSAGE,
    BUSY,
    FAILED,
    INTERNAL,
    KEY_REUSED,
    TIMEOUT,
    UNAVAILABLE,
    ErrorCode,
    RequestError,
)

_log = structlog.get_logger("actors.edge.failures")


class Refused(Refusal, RequestError):  # noqa: N818 - an answer, like its base
    """A handler's answer to a request that cannot be met: a row of the table, and the case.

    `Refused(ROOM_FULL)`, `Refused(TOO_LONG, "body: at most 4096 bytes")`. The asker gets it, and
    the actor goes on.
    """


# The first that fits decides, so a class stands before its bases.
_ROWS: Final[tuple[tuple[type[BaseException], ErrorCode], ...]] = (
    (AskTimeout, TIMEOUT),
    (ActorFailed, FAILED),
    (pykka.ActorDeadError, UNAVAILABLE),
    (MailboxFull, BUSY),
    (StoreBusy, UNAVAILABLE),
    (Fenced, UNAVAILABLE),
    (JournalClosed, UNAVAILABLE),
    # What the stores say of commands and queries.
    (KeyReused, KEY_REUSED),
    (RowRefused, BAD_MESSAGE),
    (TooManyCalls, BUSY),
    (StoreError, UNAVAILABLE),
)


MOST_RETRIES: Final = 64
"""Of one request, as long as its first answer is not there."""


def refuse_late(until: float, now: float) -> None:
    """Refuse what nobody waits for any more: its asker was told that it failed."""
    if now >= until:
        raise Refused(UNAVAILABLE, "it took too long")


def with_others(first: Future[Any]) -> Future[Any]:
    """Let a retry wait for the answer that others wait for already.

    What they leave behind stays until the store is back, so that there is a bound to it.
    Raises StoreBusy beyond it.
    """
    if first.waiting >= MOST_RETRIES:
        raise StoreBusy("the first try still waits for the event store, as do many others")
    return first


def request_error(error: BaseException) -> RequestError:
    """Return what a client is told of `error`.

    What is not expected is `internal`, without a detail: its text is for the log, which the actor
    that failed has written, and not for clients.
    """
    if isinstance(error, RequestError):
        return error
    for kind, row in _ROWS:
        if isinstance(error, kind):
            return RequestError(row)
    # The actor that raised it has logged it with its traceback; this line says that it reached a
    # client. Quarantined messages end here too: a poisoned request must not be retried.
    _log.warning("request failed", error=type(error).__name__)
    return RequestError(INTERNAL)
