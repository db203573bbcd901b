"""The rows of API keys: the commands that change them, and the queries that read them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import msgspec

from actors.edge.failures import Refused
from actors.keys.key_text import ITSELF
from persistence.audit import AuditEntry
from persistence.commands import CommandKind, Transaction
from persistence.queries import QueryKind, ReadTransaction
from protocol.errors import NOT_FOUND

SERVICE: Final = "keys"
LISTED: Final = 1000
ADDRESSES: Final = 64
"""So many addresses of a key are remembered, the last used. One that was forgotten is new again."""


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
    address: str = ""
    """The network address of whoever makes it."""


class RevokeKey(msgspec.Struct, frozen=True):
    """Revokes a key. Answer: its `ApiKey`. Refused with NOT_FOUND if there is none."""

    id: str
    by: str = ""
    address: str = ""


class NoteUse(msgspec.Struct, frozen=True):
    """Notes that a key is used from an address. One that is new goes into the audit log."""

    id: str
    address: str


class FindKey(msgspec.Struct, frozen=True):
    """Reads a key by its id. Answer: a `KeyFound`, or None."""

    id: str


class ListKeys(msgspec.Struct, frozen=True):
    """Lists all keys, revoked ones included, the newest first. Answer: a list of `ApiKey`s."""


def _create(tx: Transaction, command: CreateKey) -> ApiKey:
    tx.write(
        "INSERT INTO api_keys"
        " (id, hash, name, roles, scopes, requests_per_s, burst, created_by)"
        " VALUES (%s, %s, %s, %s, %s, %s, %s, %s)",
        (
            command.id, command.hash, command.name, list(command.roles), list(command.scopes),
            command.requests_per_s, command.burst, command.created_by,
        ),
    )  # fmt: skip
    made = _shown(tx, command.id)
    assert made is not None
    details = {"name": made.name, "roles": made.roles, "scopes": made.scopes}
    tx.record(_entry("key.made", made.id, command.created_by, command.address, details))
    return made


def _revoke(tx: Transaction, command: RevokeKey) -> ApiKey:
    tx.write(
        "UPDATE api_keys SET revoked_at = coalesce(revoked_at, now()) WHERE id = %s", (command.id,)
    )
    revoked = _shown(tx, command.id)
    if revoked is None:
        raise Refused(NOT_FOUND, "no key has this id")
    tx.record(_entry("key.revoked", command.id, command.by, command.address, {}))
    return revoked


def _note(tx: Transaction, command: NoteUse) -> None:
    key, address = command.id, command.address
    tx.write("UPDATE api_keys SET used_at = now() WHERE id = %s", (key,))
    row = tx.write(
        "INSERT INTO api_key_addresses AS a (key_id, address)"
        " SELECT id, %s FROM api_keys WHERE id = %s"
        " ON CONFLICT (key_id, address) DO UPDATE SET used_at = now() RETURNING xmax = 0",
        (address, key),
    ).fetchone()
    if row is None or not row[0]:
        return
    tx.write(
        "DELETE FROM api_key_addresses WHERE key_id = %s AND address IN ("
        " SELECT address FROM api_key_addresses WHERE key_id = %s"
        " ORDER BY used_at DESC, address OFFSET %s)",
        (key, key, ADDRESSES),
    )
    tx.record(_entry("key.used_from_new_address", key, f"{ITSELF}{key}", address, {}))


def _entry(what: str, key: str, who: str, address: str, details: Mapping[str, Any]) -> AuditEntry:
    on_whom = f"{ITSELF}{key}"
    return AuditEntry(what=what, who=who, address=address, on_whom=on_whom, details=details)


def _shown(tx: Transaction, key: str) -> ApiKey | None:
    row = tx.read("SELECT * FROM shown_api_keys WHERE id = %s", (key,)).fetchone()
    return None if row is None else ApiKey(*row)


def _find(reading: ReadTransaction, query: FindKey) -> KeyFound | None:
    row = reading.read(
        "SELECT s.*, k.hash FROM shown_api_keys AS s JOIN api_keys AS k USING (id) WHERE id = %s",
        (query.id,),
    ).fetchone()
    return None if row is None else KeyFound(ApiKey(*row[:-1]), bytes(row[-1]))


def _list(reading: ReadTransaction, _: ListKeys) -> list[Any]:
    rows = reading.read(
        "SELECT * FROM shown_api_keys ORDER BY created DESC, id LIMIT %s", (LISTED,)
    )
    return [ApiKey(*row) for row in rows]


def _locks(command: RevokeKey | NoteUse) -> Iterable[str]:
    return (f"{SERVICE}:{command.id}",)


COMMANDS: Final = (
    CommandKind(service=SERVICE, name="create", command=CreateKey, answer=ApiKey, run=_create),
    CommandKind(
        service=SERVICE, name="revoke", command=RevokeKey, answer=ApiKey, locks=_locks, run=_revoke
    ),
    CommandKind(service=SERVICE, name="note_use", command=NoteUse, locks=_locks, run=_note),
)
QUERIES: Final = (QueryKind(FindKey, _find), QueryKind(ListKeys, _list))
