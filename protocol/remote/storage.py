"""A player's objects on the server, and the public objects of others."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Any

import msgspec

from protocol.messages.storage import (
    ObjectsListed,
    ObjectsRead,
    ObjectsWritten,
    ObjectToDelete,
    ObjectToRead,
    ObjectToWrite,
    Readers,
    StorageDelete,
    StorageList,
    StorageRead,
    StorageWrite,
    StoredObject,
    Writers,
)
from protocol.remote.calls import Caller, key_or_new
from protocol.remote.errors import ClientError


class Storage:
    """The storage of a session's user; `session.storage`.

    Every method raises the errors of `Session.request`. `RequestFailed.code` may be
    `version_conflict` if the server has another version, `forbidden`, or `quota_exceeded`.

    Writes and deletes have an idempotency `key`. By default one is made here, so that they are sent
    again after a break and act once. None: no key, and they are never sent twice.
    """

    def __init__(self, caller: Caller) -> None:
        self._caller = caller

    async def write(
        self,
        collection: str,
        name: str,
        value: Any,
        *,
        version: int | None = None,
        read: Readers = "owner",
        write: Writers = "owner",
        key: str | None = "",
    ) -> int:
        """Write an object; returns its version.

        Arguments:
            collection: the collection of the object.
            name: the key of the object in its collection.
            value: a value that msgspec can encode as JSON.
            version: write only if the object has this version; 0: only if it does not exist.
            read: who may read it.
            write: who may write it.
            key: the idempotency key.
        """
        one = object_to_write(collection, name, value, version=version, read=read, write=write)
        return (await self.write_all([one], key=key))[0]

    async def write_all(
        self, objects: Sequence[ObjectToWrite], *, key: str | None = ""
    ) -> list[int]:
        """Write objects, all or none; returns their versions. See `object_to_write`."""
        request = StorageWrite(objects=list(objects), key=key_or_new(key))
        return (await self._caller.request(request, ObjectsWritten)).versions

    async def read(
        self, collection: str, name: str, *, user: str | None = None
    ) -> StoredObject | None:
        """Read an object of the session's user, or of `user`; None: none that it may read."""
        found = await self.read_all([ObjectToRead(collection=collection, key=name, user=user)])
        return found[0] if found else None

    async def read_all(self, objects: Sequence[ObjectToRead]) -> list[StoredObject]:
        """Return the objects that exist and that the user may read, in this order.

        All are read at one moment, unless they are so long that they take several answers.
        """
        found: list[StoredObject] = []
        left = list(objects)
        while left:
            answer = await self._caller.request(StorageRead(objects=left), ObjectsRead)
            if answer.unread >= len(left):
                raise ClientError("storage.read: the answer breaks the protocol: nothing was read")
            found += answer.objects
            left = left[len(left) - answer.unread :]
        return found

    async def delete(
        self, collection: str, name: str, *, version: int | None = None, key: str | None = ""
    ) -> None:
        """Delete an object of the user; with `version`, only if the object has this version."""
        one = ObjectToDelete(collection=collection, key=name, version=version)
        await self.delete_all([one], key=key)

    async def delete_all(self, objects: Sequence[ObjectToDelete], *, key: str | None = "") -> None:
        """Delete objects of the user, all or none."""
        request = StorageDelete(objects=list(objects), key=key_or_new(key))
        await self._caller.request(request, type(None))

    async def list(
        self,
        collection: str,
        *,
        user: str | None = None,
        everyone: bool = False,
        page: int = 50,
    ) -> AsyncIterator[StoredObject]:
        """Yield the objects of a collection that the user may read, by key.

        Arguments:
            collection: the collection.
            user: the owner of the objects; None: the session's user.
            everyone: yield the public objects of all users instead.
            page: how many objects each request asks for.
        """
        cursor: str | None = None
        while True:
            request = StorageList(
                collection=collection, user=user, everyone=everyone, limit=page, cursor=cursor
            )
            answer = await self._caller.request(request, ObjectsListed)
            for one in answer.objects:
                yield one
            cursor = answer.cursor
            if cursor is None:
                return


def object_to_write(
    collection: str,
    key: str,
    value: Any,
    *,
    version: int | None = None,
    read: Readers = "owner",
    write: Writers = "owner",
) -> ObjectToWrite:
    """Return an object for `Storage.write_all`; the arguments are those of `Storage.write`.

    Raises:
        TypeError: JSON cannot hold the value.
    """
    text = msgspec.json.encode(value).decode()
    return ObjectToWrite(
        collection=collection, key=key, value=text, version=version, read=read, write=write
    )
