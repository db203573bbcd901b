"""Turns errors between actors into rows of the table of errors. No other module does."""

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
    NoHost,
    Quarantined,
    Refusal,
    StoreBusy,
)
from actors.runtime.future import Future
from persistence.errors import KeyReused, RowRefused, StoreError, StoreInboxFull
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
    """A handler raises it to refuse a request: a row of the table of errors, and a detail.

    `Refused(ROOM_FULL)`, `Refused(TOO_LONG, "body: at most 4096 bytes")`. The asker gets it as the
    answer, and the actor goes on.
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
    (StoreInboxFull, BUSY),
    (StoreError, UNAVAILABLE),
    # Before other refusals, since a message that crashes its actor must not be sent again.
    (Quarantined, INTERNAL),
    # A refusal that is no row: of another node, which has not acted and may do so a moment later.
    (Refusal, UNAVAILABLE),
)


MOST_RETRIES: Final = 64
"""How many retries of one request may wait for its first answer."""


def refuse_late(until: float, now: float) -> None:
    """Raise `Refused` if it is too late to act: at `until` the asker was told that it failed."""
    if now >= until:
        raise Refused(UNAVAILABLE, "it took too long")


def with_others(first: Future[Any]) -> Future[Any]:
    """Return `first` for a retry to wait for, the answer to the first try of its request.

    Each waiting retry takes memory until the store is back, so their number is bounded.

    Raises:
        StoreBusy: `MOST_RETRIES` wait already.
    """
    if first.waiting >= MOST_RETRIES:
        raise StoreBusy("the first try still waits for the event store, as do many others")
    return first


def request_error(error: BaseException) -> RequestError:
    """Return the error that a client gets for `error`.

    An unexpected error becomes `internal` without a detail: its text is for the log, and the actor
    that raised it has logged it.
    """
    if isinstance(error, RequestError):
        return error
    if isinstance(error, NoHost):
        what = error.name.partition("/")[0]
        return RequestError(UNAVAILABLE, f"a {what} cannot be reached: {error.why}")
    row = _row_of(error)
    if row is None:
        # The actor has logged the error with its traceback; this line says that it reached a
        # client. `Quarantined` ends elsewhere, as a request that crashes its actor is not retried.
        _log.warning("request failed", error=type(error).__name__)
        row = INTERNAL
    return RequestError(row)


def code_of(error: BaseException | None) -> str:
    """Return the code that a client gets for `error`; empty: there is none."""
    if error is None:
        return ""
    if isinstance(error, RequestError):
        return error.error.code
    return (_row_of(error) or INTERNAL).code


def _row_of(error: BaseException) -> ErrorCode | None:
    return next((row for kind, row in _ROWS if isinstance(error, kind)), None)
