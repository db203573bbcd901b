"""The commands and queries of the audit log."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import msgspec

from persistence.commands import CommandKind, Transaction
from persistence.queries import QueryKind, ReadTransaction
from protocol.messages.audit import AuditListEntry

SERVICE: Final = "audit"
EXPORTED: Final = 10_000
"""How many entries of a user an export has at most, the newest."""


class AuditPlace(NamedTuple):
    """The last entry of a page: its time, in microseconds since 1970, and its id."""

    at_us: int
    id: int


class ListEntries(msgspec.Struct, frozen=True, kw_only=True):
    """Lists entries, the newest first. Answer: `EntriesPage`. Times are in milliseconds.

    `what`: the beginning of it, if it ends with a "*". `before`: the entry that the page begins
    after.
    """

    who: str | None = None
    on_whom: str | None = None
    what: str | None = None
    refused: bool | None = None
    since: int | None = None
    until: int | None = None
    before: AuditPlace | None = None
    limit: int


class EntriesPage(msgspec.Struct, frozen=True):
    """A page of entries. `more`: where the next one begins; None: this is the last one."""

    entries: list[AuditListEntry]
    more: AuditPlace | None


class ExportEntries(msgspec.Struct, frozen=True):
    """Reads the entries of what a user did, or what was done to them, the newest first."""

    user: str


class ForgetEntries(msgspec.Struct, frozen=True):
    """Drops the months that are older; 0: none. Has the next month ready. Answer: `Forgotten`."""

    kept_s: float


class Forgotten(msgspec.Struct, frozen=True):
    """See `actors.retention.Did`: `deleted` counts months."""

    deleted: int
    reached: str | None = None


class EraseAddresses(msgspec.Struct, frozen=True):
    """Deletes the network addresses that a user came from."""

    user: str


_COLUMNS: Final = """
    SELECT (extract(epoch FROM at) * 1000000)::bigint, id, who, as_whom, coalesce(address, ''),
           what, on_whom, outcome, details
    FROM audit LEFT JOIN (SELECT id, address FROM audit_addresses) AS a USING (id)
    WHERE
"""
# One of these is found by an index. They stand in the text of the statement, so that a plan that
# PostgreSQL keeps is a plan for that index.
_WHO: Final = "(who = %(who)s OR as_whom = %(who)s) AND"
_ON_WHOM: Final = "on_whom = %(on_whom)s AND"
_WHAT: Final = "what = %(what)s AND"
_REST: Final = """
    (%(what)s::text IS NULL OR what = %(what)s OR (%(prefix)s AND starts_with(what, %(begin)s)))
    AND (%(on_whom)s::text IS NULL OR on_whom = %(on_whom)s)
    AND (%(refused)s::bool IS NULL OR (outcome <> '') = %(refused)s)
    AND (%(since)s::bigint IS NULL OR at >= to_timestamp(%(since)s / 1000.0))
    AND (%(until)s::bigint IS NULL OR at < to_timestamp(%(until)s / 1000.0))
    AND (%(at_us)s::bigint IS NULL OR (at, id) < (
        '1970-01-01 00:00:00+00'::timestamptz + %(at_us)s * interval '1 microsecond', %(id)s::bigint
    ))
    ORDER BY at DESC, id DESC LIMIT %(limit)s
"""


def _list(reading: ReadTransaction, query: ListEntries) -> EntriesPage:
    what = query.what
    prefix = what is not None and what.endswith("*")
    if query.who is not None:
        found = "".join((_COLUMNS, _WHO, _REST))
    elif query.on_whom is not None:
        found = "".join((_COLUMNS, _ON_WHOM, _REST))
    elif what is not None and not prefix:
        found = "".join((_COLUMNS, _WHAT, _REST))
    else:
        found = "".join((_COLUMNS, _REST))
    before = query.before or (None, None)
    rows = reading.read(
        found,
        {
            "who": query.who, "on_whom": query.on_whom, "what": what, "prefix": prefix,
            "begin": (what or "")[:-1], "refused": query.refused, "since": query.since,
            "until": query.until, "at_us": before[0], "id": before[1], "limit": query.limit + 1,
        },
    ).fetchall()  # fmt: skip
    entries = [_entry(row) for row in rows[: query.limit]]
    last = rows[query.limit - 1] if len(rows) > query.limit else None
    return EntriesPage(entries, None if last is None else AuditPlace(last[0], last[1]))


def _entry(row: tuple[Any, ...]) -> AuditListEntry:
    at_us, _, who, as_whom, address, what, on_whom, outcome, details = row
    return AuditListEntry(
        at=at_us // 1000,
        who=who,
        as_whom=as_whom,
        address=address,
        what=what,
        on_whom=on_whom,
        outcome=outcome,
        details=msgspec.json.decode(details),
    )


def _export(reading: ReadTransaction, query: ExportEntries) -> list[dict[str, Any]]:
    rows = reading.read(
        """
        SELECT (extract(epoch FROM at) * 1000000)::bigint, id, who, as_whom, coalesce(address, ''),
               what, on_whom, outcome, details
        FROM audit LEFT JOIN (SELECT id, address FROM audit_addresses) AS a USING (id)
        WHERE %(user)s IN (who, as_whom, on_whom) ORDER BY at DESC, id DESC LIMIT %(limit)s
        """,
        {"user": query.user, "limit": EXPORTED},
    )
    entries = []
    for entry in map(_entry, rows):
        # Of what others did, a user learns that it was done, not who did it and from where.
        own = entry.who == query.user
        shown = entry if own else msgspec.structs.replace(entry, who="", address="")
        entries.append(msgspec.structs.asdict(shown))
    return entries


def _forget(tx: Transaction, command: ForgetEntries) -> Forgotten:
    for_ever = 1e10  # seconds, some 300 years
    row = tx.write("SELECT forget_audit(%s::float8)", (command.kept_s or for_ever,)).fetchone()
    assert row is not None
    return Forgotten(row[0])


def _erase(tx: Transaction, command: EraseAddresses) -> None:
    tx.write("DELETE FROM audit_addresses WHERE who = %s", (command.user,))


COMMANDS: Final = (
    CommandKind(
        service=SERVICE, name="forget", command=ForgetEntries, answer=Forgotten, run=_forget
    ),
    CommandKind(service=SERVICE, name="erase", command=EraseAddresses, run=_erase),
)
QUERIES: Final = (QueryKind(ListEntries, _list), QueryKind(ExportEntries, _export))
