"""The rows of API keys: the commands that change them, and the queries that read them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import msgspec

from actors.edge.failures import Refused
from persistence.commands import CommandKind, Transaction
from persistence.queries import QueryKind, ReadTransaction
from protocol.errors import NOT_FOUND

SERVICE: Final = "keys"
LISTED: Final = 1000


class ApiKey(msgspec.Struct, frozen=True):
    """An API key, without its secret. Times are in milliseconds since 1970, UTC."""

    id: str
    name: str
    roles: list[str]
    scopes: list[str]
    requests_per_s: float
    burst: float
    created_by: str
    created: int
    used: int | None = None
    """When it was last used, to the minute; null: never."""
    revoked: int | None = None
    """When it was revoked; null: it is valid."""


class KeyFound(msgspec.Struct, frozen=True):
    """The answer to `FindKey`: a key and the hash of its secret."""

    key: ApiKey
    hash: bytes


class CreateKey(msgspec.Struct, frozen=True):
    """Keeps a new key. Answer: its `ApiKey`."""

    id: str
    hash: bytes
    name: str
    roles: Sequence[str]
    scopes: Sequence[str]
    requests_per_s: float
    burst: float
    created_by: str


class RevokeKey(msgspec.Struct, frozen=True):
    """Revokes a key. Answer: its `ApiKey`. Refused with NOT_FOUND if there is none."""

    id: str


class NoteUse(msgspec.Struct, frozen=True):
    """Notes that keys are used. Answer: `UsesNoted`."""

    ids: Sequence[str]


class UsesNoted(msgspec.Struct, frozen=True):
    """The answer to `NoteUse`."""

    keys: int


class FindKey(msgspec.Struct, frozen=True):
    """Reads a key by its id. Answer: a `KeyFound`, or None."""

    id: str


class ListKeys(msgspec.Struct, frozen=True):
    """Lists all keys, revoked ones included, the newest first. Answer: a list of `ApiKey`s."""


def _create(tx: Transaction, command: CreateKey) -> ApiKey:
    rows = tx.write(
        "INSERT INTO api_keys"
        " (id, hash, name, roles, scopes, requests_per_s, burst, created_by)"
        " VALUES (%s, %s, %s, %s, %s, %s, %s, %s)"
        " RETURNING id, name, roles, scopes, requests_per_s, burst, created_by,"
        " (extract(epoch FROM created_at) * 1000)::bigint",
        (
            command.id, command.hash, command.name, list(command.roles), list(command.scopes),
            command.requests_per_s, command.burst, command.created_by,
        ),
    )  # fmt: skip
    row = rows.fetchone()
    assert row is not None
    return ApiKey(*row)


def _revoke(tx: Transaction, command: RevokeKey) -> ApiKey:
    row = tx.write(
        "UPDATE api_keys SET revoked_at = coalesce(revoked_at, now()) WHERE id = %s"
        " RETURNING id, name, roles, scopes, requests_per_s, burst, created_by,"
        " (extract(epoch FROM created_at) * 1000)::bigint,"
        " (extract(epoch FROM used_at) * 1000)::bigint,"
        " (extract(epoch FROM revoked_at) * 1000)::bigint",
        (command.id,),
    ).fetchone()
    if row is None:
        raise Refused(NOT_FOUND, "no key has this id")
    return ApiKey(*row)


def _note(tx: Transaction, command: NoteUse) -> UsesNoted:
    ids = list(command.ids)
    noted = tx.write("UPDATE api_keys SET used_at = now() WHERE id = ANY(%s)", (ids,))
    return UsesNoted(noted.rowcount)


def _find(reading: ReadTransaction, query: FindKey) -> KeyFound | None:
    row = reading.read(
        "SELECT id, name, roles, scopes, requests_per_s, burst, created_by,"
        " (extract(epoch FROM created_at) * 1000)::bigint,"
        " (extract(epoch FROM used_at) * 1000)::bigint,"
        " (extract(epoch FROM revoked_at) * 1000)::bigint, hash FROM api_keys WHERE id = %s",
        (query.id,),
    ).fetchone()
    return None if row is None else KeyFound(ApiKey(*row[:-1]), bytes(row[-1]))


def _list(reading: ReadTransaction, _: ListKeys) -> list[Any]:
    rows = reading.read(
        "SELECT id, name, roles, scopes, requests_per_s, burst, created_by,"
        " (extract(epoch FROM created_at) * 1000)::bigint,"
        " (extract(epoch FROM used_at) * 1000)::bigint,"
        " (extract(epoch FROM revoked_at) * 1000)::bigint FROM api_keys"
        " ORDER BY created_at DESC, id LIMIT %s",
        (LISTED,),
    )
    return [ApiKey(*row) for row in rows]


COMMANDS: Final = (
    CommandKind(service=SERVICE, name="create", command=CreateKey, answer=ApiKey, run=_create),
    CommandKind(service=SERVICE, name="revoke", command=RevokeKey, answer=ApiKey, run=_revoke),
    CommandKind(service=SERVICE, name="note_use", command=NoteUse, answer=UsesNoted, run=_note),
)
QUERIES: Final = (QueryKind(FindKey, _find), QueryKind(ListKeys, _list))
