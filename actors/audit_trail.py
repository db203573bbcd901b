"""`AuditTrail`: entries of the audit log that tell of no transaction, such as looks and refusals.

A command writes its entry itself, by `Transaction.record`, so that both are there or neither.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Any, Final

import structlog

from actors.facts import Facts
from actors.runtime.future import Future
from persistence.audit import AuditEntry
from persistence.commands import RecordEntries

MOST_WAITING: Final = 10_000
"""So many entries wait for PostgreSQL at most. Those beyond are only in the log of the server."""
AGAIN_S: Final = 1.0
"""The pause before an entry that could not be written is tried again."""

log = structlog.get_logger("actors.audit_trail")


class AuditTrail:
    """Writes entries behind the back of whoever records them.

    Arguments:
        facts: runs the command that writes them.
        after: calls a function after some seconds.

    Attributes:
        waiting: how many entries are not written yet.
        recorded: how many entries were written, and how many are in the log of the server alone,
            because too many waited.
    """

    def __init__(self, facts: Facts, after: Callable[[float, Callable[[], None]], Any]) -> None:
        self._facts = facts
        self._after = after
        self.waiting = 0
        self.recorded = Counter(written=0, logged=0)

    def record(self, entry: AuditEntry) -> None:
        """Have an entry written. It does not wait, and tries again until PostgreSQL is there."""
        if self.waiting >= MOST_WAITING:
            self.recorded["logged"] += 1
            log.warning(
                "audit entry not kept", what=entry.what, who=entry.who, as_whom=entry.as_whom,
                address=entry.address, on_whom=entry.on_whom, outcome=entry.outcome,
            )  # fmt: skip
            return
        self.waiting += 1
        self._write(entry)

    def _write(self, entry: AuditEntry) -> None:
        written = self._facts.execute(RecordEntries([entry]), user=entry.who)
        written.when_done(partial(self._written, entry))

    def _written(self, entry: AuditEntry, written: Future[Any]) -> None:
        if written.exception() is None:
            self.waiting -= 1
            self.recorded["written"] += 1
        else:
            self._after(AGAIN_S, partial(self._write, entry))
