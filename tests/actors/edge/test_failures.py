"""Every way a request can fail between actors has its row in the table of errors."""

from __future__ import annotations

import pykka
import pytest

from actors.edge.failures import Refused, request_error
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
from protocol.errors import ERRORS, ROOM_FULL, RequestError


@pytest.mark.parametrize(
    ("error", "code", "retry"),
    [
        (Refused(ROOM_FULL, "it is"), "room_full", True),
        (RequestError(ROOM_FULL), "room_full", True),
        (AskTimeout("room/lobby", "Send", 5.0), "timeout", True),
        (ActorFailed("room/lobby", 3.0), "failed", True),
        (pykka.ActorDeadError("gone"), "unavailable", True),
        (NoHost("match/1", "no living node has the label 'games'"), "unavailable", True),
        (MailboxFull("full"), "busy", True),
        (StoreBusy("full"), "unavailable", True),
        (Fenced("another"), "unavailable", True),
        (JournalClosed("stopped"), "unavailable", True),
        (Refusal("another node does not hold it"), "unavailable", True),
        (Quarantined("room/lobby", "Send", 60.0), "internal", False),
        (ZeroDivisionError("a secret of the server"), "internal", False),
    ],
)
def test_each_failure_has_its_row(error: BaseException, code: str, retry: bool) -> None:
    told = request_error(error)
    assert told.error is ERRORS[code]
    assert told.error.retry == retry
    assert "secret" not in str(told)


def test_a_refusal_is_an_answer_and_not_a_crash() -> None:
    refusal = Refused(ROOM_FULL, "it is")
    assert isinstance(refusal, Refusal)
    assert request_error(refusal) is refusal
    assert str(refusal) == "room_full: it is"


def test_a_missing_label_is_named() -> None:
    told = request_error(NoHost("match/secret", "no living node has the label 'games'"))
    assert told.detail == "a match cannot be reached: no living node has the label 'games'"
