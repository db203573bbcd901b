"""The commands that change objects. Each is done as a whole or not at all."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

import msgspec

from actors.edge.failures import Refused
from actors.storage.rules.changes import (
    READERS,
    WRITERS,
    Denied,
    NotTheOwners,
    ObjectChange,
    ObjectName,
    OtherVersion,
    OverQuota,
    Present,
    Quota,
    Usage,
    decide,
    size_of,
)
from persistence.commands import CommandKind, Transaction
from persistence.postgres.arrays import Int8Array, TextArray, columns
from protocol.errors import FORBIDDEN, QUOTA_EXCEEDED, VERSION_CONFLICT, ErrorCode
from protocol.messages.storage import ObjectsWritten, ObjectToDelete, ObjectToWrite

SERVICE: Final = "storage"


class ChangeObjects(msgspec.Struct, frozen=True):
    """Writes and deletes objects of a user, each object once. Answer: `ObjectsWritten`.

    Writes and deletes are one type of command, because commands of one type run together. So a
    user's commands take effect in the order in which they came.

    Attributes:
        user: the owner of the objects.
        writes, deletes: what to do.
        quota: what the user may have in all. None: the server makes the change, and may also write
            objects that their owner may not.
    """

    user: str
    writes: Sequence[ObjectToWrite] = ()
    deletes: Sequence[ObjectToDelete] = ()
    quota: Quota | None = None


class EraseObjects(msgspec.Struct, frozen=True):
    """Deletes all objects of a user. Answer: `Erased`."""

    user: str


class Erased(msgspec.Struct, frozen=True):
    """The answer to `EraseObjects`."""

    objects: int
    """How many objects were deleted."""


_CODES: Final[dict[type[Denied], ErrorCode]] = {
    NotTheOwners: FORBIDDEN,
    OtherVersion: VERSION_CONFLICT,
    OverQuota: QUOTA_EXCEEDED,
}

_PRESENT: Final = """
    SELECT o.user_id, o.collection, o.key, o.version, o.size, o.writers
    FROM unnest(%b::text[], %b::text[], %b::text[]) AS n (user_id, collection, key)
    JOIN storage_objects AS o USING (user_id, collection, key)
"""
_USAGE: Final = "SELECT user_id, objects, size FROM storage_usage WHERE user_id = ANY(%b::text[])"
_VERSIONS: Final = """
    SELECT nextval('storage_versions'), (extract(epoch FROM clock_timestamp()) * 1000)::bigint
    FROM generate_series(1, %s)
"""
_WRITE: Final = """
    INSERT INTO storage_objects AS o (
        user_id, collection, key, value, size, version, readers, writers, created_at, updated_at
    )
    SELECT user_id, collection, key, value, size, version, readers, writers,
           to_timestamp(updated / 1000.0), to_timestamp(updated / 1000.0)
    FROM unnest(
        %b::text[], %b::text[], %b::text[], %b::text[], %b::int8[], %b::int8[], %b::int8[],
        %b::int8[], %b::int8[]
    ) AS n (user_id, collection, key, value, size, version, readers, writers, updated)
    ON CONFLICT (user_id, collection, key) DO UPDATE
    SET value = excluded.value, size = excluded.size, version = excluded.version,
        readers = excluded.readers, writers = excluded.writers, updated_at = excluded.updated_at
"""
_DELETE: Final = """
    DELETE FROM storage_objects AS o
    USING unnest(%b::text[], %b::text[], %b::text[]) AS n (user_id, collection, key)
    WHERE (o.user_id, o.collection, o.key) = (n.user_id, n.collection, n.key)
"""
_SET_USAGE: Final = """
    INSERT INTO storage_usage (user_id, objects, size)
    SELECT * FROM unnest(%b::text[], %b::int8[], %b::int8[])
    ON CONFLICT (user_id) DO UPDATE SET objects = excluded.objects, size = excluded.size
"""


def _change_all(tx: Transaction, commands: Sequence[ChangeObjects]) -> Sequence[Any]:
    """Read all objects that are touched, decide on each command in turn, and write all at once."""
    shelf = _Shelf(tx, commands)
    answers = [shelf.take(command) for command in commands]
    shelf.write(tx)
    return answers


_Texts = tuple[str, ...]
_Numbers = tuple[int, ...]


class _Shelf:
    """The objects that a batch of commands touches, with the changes of the commands so far."""

    def __init__(self, tx: Transaction, commands: Sequence[ChangeObjects]) -> None:
        self._present: dict[tuple[str, ObjectName], Present] = {}
        self._usages = dict.fromkeys((command.user for command in commands), Usage())
        self._written: dict[tuple[str, ObjectName], tuple[_Texts, _Numbers]] = {}
        self._deleted: set[tuple[str, ObjectName]] = set()
        touched = {
            (command.user, *_name(one))
            for command in commands
            for ones in (command.writes, command.deletes)
            for one in ones
        }
        count = sum(len(command.writes) for command in commands)
        # All are sent before the first answer is read, so together they take one round trip.
        usages = tx.read(_USAGE, [TextArray(list(self._usages))])
        versions = tx.read(_VERSIONS, (count,)) if count else ()
        if touched:
            for row in tx.read(_PRESENT, _names(touched)):
                user, collection, key, version, size, writers = row
                found = Present(version, size, WRITERS[writers])
                self._present[user, ObjectName(collection, key)] = found
        for user, objects, size in usages:
            self._usages[user] = Usage(objects, size)
        self._versions = iter(versions)

    def take(self, command: ChangeObjects) -> ObjectsWritten | Refused:
        """Make all changes of a command and return its answer, or make none and return the
        refusal.
        """
        user = command.user
        writes = [(_name(one), size_of(_name(one), one.value), one) for one in command.writes]
        changes = [
            *(ObjectChange(name, size, one.version) for name, size, one in writes),
            *(ObjectChange(_name(one), None, one.version) for one in command.deletes),
        ]
        present = {
            change.name: found
            for change in changes
            if (found := self._present.get((user, change.name))) is not None
        }
        try:
            self._usages[user] = decide(changes, present, self._usages[user], command.quota)
        except Denied as denied:
            return Refused(_CODES[type(denied)], str(denied))
        versions: list[int] = []
        updated = 0
        for name, size, one in writes:
            version, updated = next(self._versions)
            versions.append(version)
            self._present[user, name] = Present(version, size, one.write)
            self._written[user, name] = (
                (user, *name, one.value),
                (size, version, READERS.index(one.read), WRITERS.index(one.write), updated),
            )
        for gone in command.deletes:
            which = (user, _name(gone))
            self._present.pop(which, None)
            self._written.pop(which, None)
            self._deleted.add(which)
        return ObjectsWritten(versions, updated)

    def write(self, tx: Transaction) -> None:
        """Write the changes.

        Deletes come first, so that an object that is written again is a new one.
        """
        if self._deleted:
            tx.write(_DELETE, _names((user, *name) for user, name in self._deleted))
        if self._written:
            texts, numbers = zip(*self._written.values(), strict=True)
            tx.write(_WRITE, [*map(TextArray, columns(texts)), *map(Int8Array, columns(numbers))])
        if self._deleted or self._written:
            users, usages = self._usages.keys(), self._usages.values()
            tx.write(_SET_USAGE, [TextArray(list(users)), *map(Int8Array, columns(usages))])


def _names(names: Iterable[_Texts]) -> list[TextArray]:
    return list(map(TextArray, columns(names)))


def _name(one: ObjectToWrite | ObjectToDelete) -> ObjectName:
    return ObjectName(one.collection, one.key)


def _erase(tx: Transaction, command: EraseObjects) -> Erased:
    tx.write("DELETE FROM storage_usage WHERE user_id = %s", (command.user,))
    gone = tx.write("DELETE FROM storage_objects WHERE user_id = %s", (command.user,))
    return Erased(gone.rowcount)


def _lock(command: ChangeObjects | EraseObjects) -> Iterable[str]:
    return (f"{SERVICE}:{command.user}",)


COMMANDS: Final = (
    CommandKind(
        service=SERVICE,
        name="change",
        command=ChangeObjects,
        answer=ObjectsWritten,
        locks=_lock,
        run_all=_change_all,
    ),
    CommandKind(
        service=SERVICE,
        name="erase",
        command=EraseObjects,
        answer=Erased,
        locks=_lock,
        run=_erase,
    ),
)
