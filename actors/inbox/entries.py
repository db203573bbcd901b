"""The rows of inboxes: the queries that read them, and the commands that change them.

Entries are written by `Transaction.push`, in the transaction of the change that they report.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import msgspec

from actors.inbox.rules.payload import decoded
from actors.inbox.rules.tail import TailEntry
from persistence.commands import CommandKind, Transaction
from persistence.queries import QueryKind, ReadTransaction

SERVICE: Final = "inbox"

# Each answer comes from one statement, so that all of it is of the same moment.
_AFTER: Final = """
    SELECT coalesce(i.last_offset, 0), coalesce(r.read_offset, 0),
           e.entry_offset, e.type, e.payload, e.at_us
    FROM (SELECT %s::text COLLATE "C" AS user_id) AS u
    LEFT JOIN inboxes AS i USING (user_id)
    LEFT JOIN inbox_reads AS r USING (user_id)
    LEFT JOIN LATERAL (
        SELECT * FROM inbox_entries AS n
        WHERE n.user_id = u.user_id AND n.entry_offset > %s ORDER BY n.entry_offset LIMIT %s
    ) AS e ON true
    ORDER BY e.entry_offset
"""
_BEFORE: Final = """
    SELECT coalesce(i.last_offset, 0), coalesce(r.read_offset, 0),
           e.entry_offset, e.type, e.payload, e.at_us
    FROM (SELECT %s::text COLLATE "C" AS user_id) AS u
    LEFT JOIN inboxes AS i USING (user_id)
    LEFT JOIN inbox_reads AS r USING (user_id)
    LEFT JOIN LATERAL (
        SELECT * FROM inbox_entries AS n
        WHERE n.user_id = u.user_id AND n.entry_offset < %s ORDER BY n.entry_offset DESC LIMIT %s
    ) AS e ON true
    ORDER BY e.entry_offset
"""
_NEWEST: Final = "SELECT user_id, last_offset FROM inboxes WHERE user_id = ANY(%s)"
_SET_READ: Final = """
    INSERT INTO inbox_reads AS r (user_id, read_offset)
    SELECT n.user_id COLLATE "C", max(n.read_offset)
    FROM unnest(%s::text[], %s::bigint[]) AS n (user_id, read_offset)
    GROUP BY 1 ORDER BY 1
    ON CONFLICT (user_id) DO UPDATE SET read_offset = greatest(r.read_offset, excluded.read_offset)
    RETURNING user_id, read_offset
"""
_TRIM: Final = "SELECT * FROM trim_inboxes(%s, %s, %s, %s, %s)"
_EXPORT: Final = """
    SELECT entry_offset, type, payload, at_us FROM inbox_entries WHERE user_id = %s
    ORDER BY entry_offset
"""
_ERASE: Final = "DELETE FROM inbox_entries WHERE user_id = %s"
_BEYOND_ALL: Final = 2**63 - 1

# --- queries -------------------------------------------------------------------------------------


class ReadAfter(msgspec.Struct, frozen=True, gc=False):
    """Asks for the first entries after an offset. Answer: `Found`.

    It has at most `limit` entries and `max_bytes` of payloads, but at least one entry if there is
    one.
    """

    user: str
    after: int
    limit: int
    max_bytes: int


class ReadBefore(msgspec.Struct, frozen=True, gc=False):
    """Asks for the last entries before an offset (0: the newest), with the limits of
    `ReadAfter`.
    """

    user: str
    before: int
    limit: int
    max_bytes: int


class Found(msgspec.Struct, frozen=True):
    """Entries without a gap, the oldest first, and the state of the inbox.

    Attributes:
        newest: the offset of the newest entry of the inbox.
        read: the offset up to which the user has read.
        items: the entries.
        more: whether there are more in the direction that was asked for.
    """

    newest: int
    read: int
    items: Sequence[TailEntry]
    more: bool


class Newest(msgspec.Struct, frozen=True):
    """Asks for the last offset of each of these users.

    Answer: user -> offset, for those with an inbox.
    """

    users: Sequence[str]


class Export(msgspec.Struct, frozen=True, gc=False):
    """Asks for all entries of a user that are kept. Answer: a list of plain dicts."""

    user: str


def _after(reading: ReadTransaction, query: ReadAfter) -> Found:
    found = reading.read(_AFTER, (query.user, query.after, query.limit + 1)).fetchall()
    newest, read, items = _items(found)
    shown = _within(items[: query.limit], query.max_bytes)
    return Found(newest, read, shown, more=len(shown) < len(items))


def _before(reading: ReadTransaction, query: ReadBefore) -> Found:
    before = query.before or _BEYOND_ALL
    found = reading.read(_BEFORE, (query.user, before, query.limit + 1)).fetchall()
    newest, read, items = _items(found)
    shown = _within(items[-query.limit :][::-1], query.max_bytes)[::-1]
    return Found(newest, read, shown, more=len(shown) < len(items))


def _newest(reading: ReadTransaction, query: Newest) -> dict[str, int]:
    return dict(reading.read(_NEWEST, (list(query.users),)).fetchall())


def _export(reading: ReadTransaction, query: Export) -> list[dict[str, Any]]:
    return [
        {"offset": offset, "type": type_, "payload": decoded(payload), "at": at_us // 1000}
        for offset, type_, payload, at_us in reading.read(_EXPORT, (query.user,))
    ]


def _items(rows: Sequence[tuple[Any, ...]]) -> tuple[int, int, list[TailEntry]]:
    """Return the newest offset, the read offset and the entries; the first row has the offsets."""
    items = [
        TailEntry(offset, type_, decoded(payload), at_us // 1000, len(payload))
        for _, _, offset, type_, payload, at_us in rows
        if offset is not None
    ]
    return rows[0][0], rows[0][1], items


def _within(items: Sequence[TailEntry], max_bytes: int) -> Sequence[TailEntry]:
    """Return the first items that fit into `max_bytes`, and at least one."""
    for place, item in enumerate(items):
        max_bytes -= item.size
        if max_bytes < 0 and place:
            return items[:place]
    return items


QUERIES: Final = (
    QueryKind(ReadAfter, _after),
    QueryKind(ReadBefore, _before),
    QueryKind(Newest, _newest),
    QueryKind(Export, _export),
)

# --- commands ------------------------------------------------------------------------------------


class SetRead(msgspec.Struct, frozen=True, gc=False):
    """Marks entries up to this offset as read.

    The mark never moves back, so a repeat is harmless.
    """

    user: str
    offset: int


class ReadUpTo(msgspec.Struct, frozen=True, gc=False):
    """The answer to `SetRead`: the offset up to which the user has read."""

    offset: int


class Trim(msgspec.Struct, frozen=True, gc=False):
    """Deletes entries of the next `names` users that need not be kept. Answer: `Trimmed`."""

    after: str
    """The user after whom to begin, in the order of users."""
    names: int
    """How many users to look at."""
    kept: int
    """How many of each user's newest entries to keep."""
    before_us: int
    """Entries from before this time are deleted, in microseconds since 1970, UTC."""
    most: int
    """How many entries to delete at most."""


class Trimmed(msgspec.Struct, frozen=True, gc=False):
    """The answer to `Trim`."""

    reached: str | None
    """The last user that was looked at; None: there are no others after it."""
    deleted: int
    """How many entries were deleted."""


class Erase(msgspec.Struct, frozen=True, gc=False):
    """Deletes all entries of a user. Answer: `EntriesErased`.

    The newest offset and the read offset stay. If the user comes back, new entries get new offsets,
    and no device mistakes them for entries that it has had.
    """

    user: str


class EntriesErased(msgspec.Struct, frozen=True, gc=False):
    """The answer to `Erase`."""

    deleted: int
    """How many entries were deleted."""


def _set_read(transaction: Transaction, commands: Sequence[SetRead]) -> Sequence[ReadUpTo]:
    # One statement marks all, and locks the rows in the order of their users, so there are no
    # deadlocks.
    marks = ([one.user for one in commands], [one.offset for one in commands])
    stands: dict[str, int] = dict(transaction.write(_SET_READ, marks).fetchall())
    return [ReadUpTo(stands[one.user]) for one in commands]


def _trim(transaction: Transaction, command: Trim) -> Trimmed:
    step = (command.after, command.names, command.kept, command.before_us, command.most)
    row = transaction.write(_TRIM, step).fetchone()
    assert row is not None, "a function returns a row"
    return Trimmed(*row)


def _erase(transaction: Transaction, command: Erase) -> EntriesErased:
    return EntriesErased(transaction.write(_ERASE, (command.user,)).rowcount)


COMMANDS: Final = (
    CommandKind(
        service=SERVICE, name="inbox.read", command=SetRead, answer=ReadUpTo, run_all=_set_read
    ),
    CommandKind(service=SERVICE, name="inbox.trim", command=Trim, answer=Trimmed, run=_trim),
    CommandKind(
        service=SERVICE, name="inbox.erase", command=Erase, answer=EntriesErased, run=_erase
    ),
)
