"""Storage: a player's objects, written, read, deleted and listed."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta

from protocol.errors import (
    BAD_CURSOR,
    FORBIDDEN,
    KEY_REUSED,
    OUT_OF_RANGE,
    QUOTA_EXCEEDED,
    TOO_LONG,
    VERSION_CONFLICT,
)
from protocol.messages.envelope import MAX_REF, Key, Request
from protocol.messages.op import Area, Op

Label = Annotated[str, Meta(pattern=r"^[^\x00-\x1f\x7f]{1,128}\Z")]
"""The name of a collection, or of an object in it: any characters but control characters."""
UserId = Annotated[str, Meta(pattern=r"^[^\x00-\x1f\x7f]{0,128}\Z")]
JsonText = Annotated[str, Meta(min_length=1, max_length=1_048_576)]
"""JSON as text. The server's own limit, usually lower, is in its config.

Text, so that its reader gets what its writer wrote: no number that one of both encodings cannot
carry is lost, and its length is the same to client, server and quota.
"""
Version = Annotated[int, Meta(ge=0, le=MAX_REF)]
"""Which state of an object. It grows with each write of the object, one after a delete included, so
that no two states share one. 0: there is no object.
"""
Readers = Literal["nobody", "owner", "public"]
Writers = Literal["nobody", "owner"]


class ObjectToWrite(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """An object as it is to be. `version`: only if this is the present one; null: in any case."""

    collection: Label
    key: Label
    value: JsonText
    version: Version | None = None
    read: Readers = "owner"
    write: Writers = "owner"


class ObjectToRead(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Which object. `user`: whose; null: one's own; "": the server's."""

    collection: Label
    key: Label
    user: UserId | None = None


class ObjectToDelete(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Which object of one's own. `version`: only if this is the present one; null: in any case."""

    collection: Label
    key: Label
    version: Version | None = None


class StorageWrite(Request, frozen=True, kw_only=True, tag="storage.write", gc=False):
    """Write objects of one's own, all or none. Answered with `ObjectsWritten`, once durable."""

    objects: list[ObjectToWrite]
    key: Key | None = None


class StorageRead(Request, frozen=True, kw_only=True, tag="storage.read", gc=False):
    """Read objects, as they were at one moment. Answered with `ObjectsRead`."""

    objects: list[ObjectToRead]


class StorageDelete(Request, frozen=True, kw_only=True, tag="storage.delete", gc=False):
    """Delete objects of one's own, all or none. To delete what is not there is harmless."""

    objects: list[ObjectToDelete]
    key: Key | None = None


class StorageList(Request, frozen=True, kw_only=True, tag="storage.list", gc=False):
    """The objects of a collection that one may read, by key. Answered with `ObjectsListed`.

    `user`: whose; null: one's own. `everyone`: the public ones of all users instead.
    """

    collection: Label
    user: UserId | None = None
    everyone: bool = False
    limit: Annotated[int, Meta(ge=1)] = 50
    cursor: Annotated[str, Meta(min_length=1, max_length=2048)] | None = None


class StoredObject(msgspec.Struct, frozen=True, gc=False):
    """An object. `created` and `updated`: milliseconds since 1970, UTC."""

    collection: str
    key: str
    user: str
    value: str
    version: int
    read: Readers
    write: Writers
    created: int
    updated: int

    def decoded(self, kind: Any = Any) -> Any:
        """The value, made of its JSON. Raises msgspec.DecodeError: it is not of this type."""
        return msgspec.json.decode(self.value, type=kind)


class ObjectsWritten(msgspec.Struct, frozen=True, gc=False):
    """The versions of the objects, in the order of the request."""

    versions: list[int]
    updated: int


class ObjectsRead(msgspec.Struct, frozen=True, gc=False):
    """Those that there are and that one may read, in the order of the request.

    `unread`: so many at the end of the request were not looked for, as the answer is full.
    """

    objects: list[StoredObject]
    unread: int = 0


class ObjectsListed(msgspec.Struct, frozen=True, gc=False):
    """`cursor`: where the list goes on; null: this is its end."""

    objects: list[StoredObject]
    cursor: str | None = None


_CHANGE: Final = (OUT_OF_RANGE, FORBIDDEN, VERSION_CONFLICT, KEY_REUSED)

AREA: Final = Area(
    ops=(
        Op(
            request=StorageWrite,
            answer=ObjectsWritten,
            errors=(*_CHANGE, TOO_LONG, QUOTA_EXCEEDED),
            repeat="by key",
            sheddable=True,
            cost=4,
            cost_each="objects",
        ),
        Op(
            request=StorageRead,
            answer=ObjectsRead,
            errors=(OUT_OF_RANGE,),
            repeat="harmless",
            sheddable=True,
            cost=2,
            cost_each="objects",
        ),
        Op(
            request=StorageDelete,
            errors=_CHANGE,
            repeat="by key",
            sheddable=True,
            cost=4,
            cost_each="objects",
        ),
        Op(
            request=StorageList,
            answer=ObjectsListed,
            errors=(OUT_OF_RANGE, BAD_CURSOR),
            repeat="harmless",
            sheddable=True,
            cost=5,
        ),
    )
)
