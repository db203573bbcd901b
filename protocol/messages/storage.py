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
from protocol.roles import PLAYER

Label = Annotated[str, Meta(pattern=r"^[^\x00-\x1f\x7f]{1,128}\Z")]
"""The name of a collection, or of an object in it.

It may have any characters except control characters.
"""
UserId = Annotated[str, Meta(pattern=r"^[^\x00-\x1f\x7f]{0,128}\Z")]
JsonText = Annotated[str, Meta(min_length=1, max_length=1_048_576)]
"""JSON as text. A server's configuration usually has a lower limit.

It is text so that a reader gets exactly what the writer wrote, even numbers that one of the
encodings cannot carry, and so that client, server and quota agree on its length.
"""
Version = Annotated[int, Meta(ge=0, le=MAX_REF)]
"""The version of an object.

Each write of the object raises it, even a write after a delete, so that no two states have the same
version. 0 means that there is no object.
"""
Readers = Literal["nobody", "owner", "public"]
Writers = Literal["nobody", "owner"]


class ObjectToWrite(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """An object to write.

    `version`: write it only if this is the present version; null: in any case.
    """

    collection: Label
    key: Label
    value: JsonText
    version: Version | None = None
    read: Readers = "owner"
    write: Writers = "owner"


class ObjectToRead(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """An object to read. `user` is its owner; null: the reader; "": the server."""

    collection: Label
    key: Label
    user: UserId | None = None


class ObjectToDelete(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """An object of the user's own to delete.

    `version`: delete it only if this is the present version; null: in any case.
    """

    collection: Label
    key: Label
    version: Version | None = None


class StorageWrite(Request, frozen=True, kw_only=True, tag="storage.write", gc=False):
    """Write objects of the user's own, all or none.

    Answered with `ObjectsWritten`, once durable.
    """

    objects: list[ObjectToWrite]
    key: Key | None = None


class StorageRead(Request, frozen=True, kw_only=True, tag="storage.read", gc=False):
    """Read objects, all as of the same moment. Answered with `ObjectsRead`."""

    objects: list[ObjectToRead]


class StorageDelete(Request, frozen=True, kw_only=True, tag="storage.delete", gc=False):
    """Delete objects of the user's own, all or none. It is no error if an object does not exist."""

    objects: list[ObjectToDelete]
    key: Key | None = None


class StorageList(Request, frozen=True, kw_only=True, tag="storage.list", gc=False):
    """List the objects of a collection that the user may read, by key.

    Answered with `ObjectsListed`.

    `user` is the owner; null: the user who asks. `everyone`: the public objects of all users
    instead.
    """

    collection: Label
    user: UserId | None = None
    everyone: bool = False
    limit: Annotated[int, Meta(ge=1)] = 50
    cursor: Annotated[str, Meta(min_length=1, max_length=2048)] | None = None


class StoredObject(msgspec.Struct, frozen=True, gc=False):
    """An object. `created` and `updated` are in milliseconds since 1970, UTC."""

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
        """Return the value, decoded from JSON.

        Raises msgspec.DecodeError if it is not of this type.
        """
        return msgspec.json.decode(self.value, type=kind)


class ObjectsWritten(msgspec.Struct, frozen=True, gc=False):
    """The new versions of the objects, in the order of the request."""

    versions: list[int]
    updated: int


class ObjectsRead(msgspec.Struct, frozen=True, gc=False):
    """The objects that exist and that the user may read, in the order of the request.

    `unread` says how many objects, at the end of the request, are left out because the answer is
    full.
    """

    objects: list[StoredObject]
    unread: int = 0


class ObjectsListed(msgspec.Struct, frozen=True, gc=False):
    """A page of a list. `cursor` is for the next page; null: this is the last one."""

    objects: list[StoredObject]
    cursor: str | None = None


_CHANGE: Final = (OUT_OF_RANGE, FORBIDDEN, VERSION_CONFLICT, KEY_REUSED)

AREA: Final = Area(
    ops=(
        Op(
            request=StorageWrite,
            role=PLAYER,
            answer=ObjectsWritten,
            errors=(*_CHANGE, TOO_LONG, QUOTA_EXCEEDED),
            repeat="by key",
            sheddable=True,
            cost=4,
            cost_each="objects",
        ),
        Op(
            request=StorageRead,
            role=PLAYER,
            answer=ObjectsRead,
            errors=(OUT_OF_RANGE,),
            repeat="harmless",
            sheddable=True,
            cost=2,
            cost_each="objects",
        ),
        Op(
            request=StorageDelete,
            role=PLAYER,
            errors=_CHANGE,
            repeat="by key",
            sheddable=True,
            cost=4,
            cost_each="objects",
        ),
        Op(
            request=StorageList,
            role=PLAYER,
            answer=ObjectsListed,
            errors=(OUT_OF_RANGE, BAD_CURSOR),
            repeat="harmless",
            sheddable=True,
            cost=5,
        ),
    )
)
