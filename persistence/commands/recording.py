"""The command that writes entries of the audit log which tell of no transaction."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from persistence.audit import AuditEntry
from persistence.commands.kinds import CommandKind
from persistence.commands.transaction import Transaction


class RecordEntries(msgspec.Struct, frozen=True):
    """Writes entries, in order."""

    entries: Sequence[AuditEntry]


def _record(tx: Transaction, command: RecordEntries) -> None:
    for entry in command.entries:
        tx.record(entry)


RECORD: Final = CommandKind(service="audit", name="record", command=RecordEntries, run=_record)
