"""The audit log: who did what to whom, from where, and what became of it.

`Transaction.record` writes an entry in the transaction of what it tells of, so that both are there
or neither. What changes nothing, as a look or a refusal, is written by the command `RecordEntries`
of persistence.commands. Rows are added and never change; the database refuses anything else.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from persistence.postgres.arrays import columns, of_text
from persistence.postgres.libpq import Statement

MOST_CHARACTERS: Final = 256
"""A longer name of an entry is cut."""
MOST_DETAILS: Final = 1024
"""Details that are longer, in JSON, are left out."""
_RECORD: Final = b"SELECT record_audit($1, $2, $3, $4, $5, $6, $7)"


class AuditEntry(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One entry. It stays for as long as the log is kept, even if the user is erased.

    So it names users by their ids alone. Nothing in it may be a secret, or tell of a person: no
    token, no code, no name, no address of mail. Only `address` is deleted with the user.

    Attributes:
        what: what was done: an op, a route, or a name of the service's own, as "account.banned".
        who: the user who did it, or an API key as "key-<id>"; empty: nobody is known, or the
            command line did it.
        as_whom: the user on whose behalf a key asked; empty: for itself.
        address: the network address that it came from; empty: it is not known.
        on_whom: the user that it was done to, or the id of a thing; empty: to nobody else.
        outcome: the code of the refusal; empty: it was done.
        details: more that whoever reads the log needs to know.
    """

    what: str
    who: str = ""
    as_whom: str = ""
    address: str = ""
    on_whom: str = ""
    outcome: str = ""
    details: Mapping[str, str | int | float | bool | Sequence[str] | None] = {}


def statement(entries: Sequence[AuditEntry]) -> Statement:
    """Return the statement that writes entries, in order."""
    return Statement(_RECORD, [of_text(column) for column in columns(map(_row, entries))])


def _row(entry: AuditEntry) -> Sequence[str]:
    names = (entry.who, entry.as_whom, entry.address, entry.what, entry.on_whom, entry.outcome)
    return (*map(_storable, names), _details(entry))


def _details(entry: AuditEntry) -> str:
    try:
        text = msgspec.json.encode(entry.details).decode()
    except (msgspec.MsgspecError, TypeError, ValueError, UnicodeError):
        text = ""
    return text if 0 < len(text) <= MOST_DETAILS else '{"details":"left out"}'


def _storable(text: str) -> str:
    """Return a text as PostgreSQL can hold it: an entry must never fail what it tells of."""
    text = text[:MOST_CHARACTERS].replace("\0", "\ufffd")
    return text.encode("utf-8", "replace").decode()
