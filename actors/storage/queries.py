"""The queries that read objects. They run at the same time as commands."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final, NamedTuple

import msgspec

from actors.storage.rules.changes import READERS, WRITERS
from actors.storage.rules.cursors import Bookmark
from persistence.postgres.arrays import Int8Array, TextArray, columns
from persistence.queries import QueryKind, ReadTransaction
from protocol.messages.storage import ObjectsRead, StoredObject


class ReadObjects(msgspec.Struct, frozen=True):
    """Reads objects by (user, collection, key), as far as `reader` may. Answer: `ObjectsRead`.

    The last object of the answer is the one with which it reaches `max_bytes`.
    """

    reader: str
    names: Sequence[tuple[str, str, str]]
    max_bytes: int


class ListObjects(msgspec.Struct, frozen=True):
    """Lists the objects of a collection after a bookmark, by key, as far as `reader` may read them.

    `user` is the owner; None: the public objects of all users. Answer: a `ListedPage`, which ends
    with the object with which it reaches `max_bytes`.
    """

    reader: str
    collection: str
    user: str | None
    after: Bookmark
    limit: int
    max_bytes: int


class ExportObjects(msgspec.Struct, frozen=True):
    """Reads all objects of a user after this (collection, key), whoever may read them.

    Answer: a list of at most `limit` `StoredObject`s.
    """

    user: str
    after: tuple[str, str] = ("", "")
    limit: int = 20


class ListedPage(NamedTuple):
    """A page of a list. `more` says whether the list goes on after it."""

    objects: list[StoredObject]
    more: bool


# The columns of an object. `so_far` is the size of the objects of a page up to and including this
# one. The value of an object that does not fit is not asked for, so that PostgreSQL need not read
# long values.
_READ: Final = """
    SELECT user_id, collection, key, CASE WHEN so_far - size < max_bytes THEN value END, version,
           readers, writers, (extract(epoch FROM created_at) * 1000)::bigint,
           (extract(epoch FROM updated_at) * 1000)::bigint, query, place
    FROM (
        SELECT o.*, n.query, n.place, n.max_bytes,
               sum(o.size) OVER (PARTITION BY n.query ORDER BY n.place) AS so_far
        FROM unnest(
            %b::int8[], %b::int8[], %b::int8[], %b::text[], %b::text[], %b::text[], %b::text[]
        ) AS n (query, place, max_bytes, reader, user_id, collection, key)
        JOIN storage_objects AS o USING (user_id, collection, key)
        WHERE o.readers = 2 OR (o.readers = 1 AND o.user_id = n.reader)
    ) AS found
    ORDER BY query, place
"""
_LIST_ONES: Final = """
    SELECT user_id, collection, key, CASE WHEN so_far - size < %s THEN value END, version,
           readers, writers, (extract(epoch FROM created_at) * 1000)::bigint,
           (extract(epoch FROM updated_at) * 1000)::bigint
    FROM (
        SELECT *, sum(size) OVER (ORDER BY key) AS so_far
        FROM (
            SELECT * FROM storage_objects
            WHERE user_id = %s AND collection = %s AND key > %s
            AND (readers = 2 OR (readers = 1 AND user_id = %s))
            ORDER BY key LIMIT %s
        ) AS page
    ) AS found
    ORDER BY key
"""
_LIST_PUBLIC: Final = """
    SELECT user_id, collection, key, CASE WHEN so_far - size < %s THEN value END, version,
           readers, writers, (extract(epoch FROM created_at) * 1000)::bigint,
           (extract(epoch FROM updated_at) * 1000)::bigint
    FROM (
        SELECT *, sum(size) OVER (ORDER BY key, user_id) AS so_far
        FROM (
            SELECT * FROM storage_objects
            WHERE readers = 2 AND collection = %s AND (key, user_id) > (%s, %s)
            ORDER BY key, user_id LIMIT %s
        ) AS page
    ) AS found
    ORDER BY key, user_id
"""
_EXPORT: Final = """
    SELECT user_id, collection, key, value, version, readers, writers,
           (extract(epoch FROM created_at) * 1000)::bigint,
           (extract(epoch FROM updated_at) * 1000)::bigint
    FROM storage_objects
    WHERE user_id = %s AND (collection, key) > (%s, %s)
    ORDER BY collection, key LIMIT %s
"""


def _read_all(reading: ReadTransaction, queries: Sequence[ReadObjects]) -> Sequence[ObjectsRead]:
    asked = [
        ((number, place, query.max_bytes), (query.reader, *name))
        for number, query in enumerate(queries)
        for place, name in enumerate(query.names)
    ]
    found: list[list[Any]] = [[] for _ in queries]
    if asked:
        numbers, texts = zip(*asked, strict=True)
        arrays = [*map(Int8Array, columns(numbers)), *map(TextArray, columns(texts))]
        for *row, number, place in reading.read(_READ, arrays):
            found[number].append((row, place))
    return [_as_read(query, rows) for query, rows in zip(queries, found, strict=True)]


def _as_read(query: ReadObjects, rows: Sequence[tuple[Sequence[Any], int]]) -> ObjectsRead:
    objects = _objects(row for row, _ in rows)
    if len(objects) == len(rows):
        return ObjectsRead(objects)
    return ObjectsRead(objects, len(query.names) - rows[len(objects)][1])


def _list(reading: ReadTransaction, query: ListObjects) -> ListedPage:
    limit = query.limit + 1  # one more shows whether the list goes on
    if query.user is None:
        rows = reading.read(
            _LIST_PUBLIC, (query.max_bytes, query.collection, *query.after, limit)
        ).fetchall()
    else:
        rows = reading.read(
            _LIST_ONES,
            (
                query.max_bytes, query.user, query.collection, query.after.key, query.reader,
                limit,
            ),
        ).fetchall()  # fmt: skip
    objects = _objects(rows[: query.limit])
    return ListedPage(objects, len(objects) < len(rows))


def _export(reading: ReadTransaction, query: ExportObjects) -> list[StoredObject]:
    return _objects(reading.read(_EXPORT, (query.user, *query.after, query.limit)))


def _objects(rows: Iterable[Sequence[Any]]) -> list[StoredObject]:
    """Return the objects of the rows, up to the first that did not fit."""
    objects = []
    for user, collection, key, value, version, readers, writers, *times in rows:
        if value is None:
            break
        read, write = READERS[readers], WRITERS[writers]
        objects.append(StoredObject(collection, key, user, value, version, read, write, *times))
    return objects


QUERIES: Final = (
    QueryKind(ReadObjects, answer_all=_read_all),
    QueryKind(ListObjects, _list),
    QueryKind(ExportObjects, _export),
)
