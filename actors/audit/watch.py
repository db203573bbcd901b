"""`AuditWatch`: decides which requests are written into the audit log, and writes them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Final

from actors.edge.identity import Identity
from actors.edge.outcome import RequestOutcome
from actors.edge.rules.bucket import Bucket
from persistence.audit import AuditEntry
from protocol.errors import BAD_TOKEN, BANNED, FORBIDDEN
from protocol.roles import STAFF, allows

REFUSALS: Final = frozenset(code.code for code in (BAD_TOKEN, BANNED, FORBIDDEN))
"""Refusals that are written down, whatever was asked: somebody was where they may not be."""


def entry_of(outcome: RequestOutcome) -> AuditEntry:
    """Return the entry of a request."""
    who, as_whom = parties(outcome.who)
    return AuditEntry(
        what=outcome.what,
        who=who,
        as_whom=as_whom,
        address=outcome.peer,
        on_whom=outcome.on_whom,
        outcome=outcome.code,
    )


def parties(who: Identity | None) -> tuple[str, str]:
    """Return who acts, and on whose behalf; empty: on their own."""
    if who is None:
        return "", ""
    if not who.key:
        return who.user, ""
    itself = f"key-{who.key}"
    return itself, "" if who.user == itself else who.user


class AuditWatch:
    """Writes down everything that staff does or looks at, and refusals.

    Arguments:
        record: writes an entry.
        clock: seconds, on a clock that does not go back.
        refusals: how many refusals are written down.

    Attributes:
        seen: how many requests were written down, and how many refusals were too many for that.
    """

    def __init__(
        self, record: Callable[[AuditEntry], None], clock: Callable[[], float], refusals: Bucket
    ) -> None:
        self._record = record
        self._clock = clock
        self._refusals = refusals
        self.seen = Counter(staff=0, refusals=0, left_out=0)

    def __call__(self, outcome: RequestOutcome) -> None:
        """Take note of a request."""
        roles = frozenset[str]() if outcome.who is None else outcome.who.roles
        if outcome.role in STAFF and allows(outcome.role, roles):
            self.seen["staff"] += 1
        elif outcome.code and (outcome.role in STAFF or outcome.code in REFUSALS):
            if not self._refusals.take(self._clock()):
                self.seen["left_out"] += 1
                return
            self.seen["refusals"] += 1
        else:
            return
        self._record(entry_of(outcome))
