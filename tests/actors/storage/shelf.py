"""Storage as its tests use it: real workers, asked from the test's own thread."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, Literal

import msgspec
from pykka import ActorRef

from actors.edge.failures import Refused
from actors.storage.commands import ChangeObjects, Erased, EraseObjects
from actors.storage.queries import ExportObjects, ListedPage, ListObjects, ReadObjects
from actors.storage.rules.changes import Quota
from actors.storage.rules.cursors import START, Bookmark
from persistence.commands import Execute
from persistence.queries import AskQuery
from protocol.errors import ErrorCode
from protocol.messages.storage import (
    ObjectsRead,
    ObjectsWritten,
    ObjectToDelete,
    ObjectToWrite,
    StoredObject,
)

Change = ObjectToWrite | ObjectToDelete
QUOTA = Quota(1000, 1_000_000)


def put(
    key: str,
    value: str = "{}",
    version: int | None = None,
    *,
    collection: str = "saves",
    read: Literal["nobody", "owner", "public"] = "owner",
    write: Literal["nobody", "owner"] = "owner",
) -> ObjectToWrite:
    return ObjectToWrite(
        collection=collection, key=key, value=value, version=version, read=read, write=write
    )


def drop(key: str, version: int | None = None, *, collection: str = "saves") -> ObjectToDelete:
    return ObjectToDelete(collection=collection, key=key, version=version)


class Shelf:
    """Players' objects. Every call raises the error that its asker would get."""

    def __init__(self, commands: Sequence[ActorRef[Any]], queries: ActorRef[Any]) -> None:
        self.commands = commands
        self.queries = queries

    def begin(
        self, command: msgspec.Struct, user: str, *, key: str | None = None, worker: int = 0
    ) -> Any:
        """Begin a command; returns the future of its `Done`."""
        request = Execute(command, user, key, time.monotonic() + 60)
        return self.commands[worker].ask(request, block=False)

    def change(
        self,
        user: str,
        *changes: Change,
        quota: Quota | None = QUOTA,
        key: str | None = None,
        worker: int = 0,
    ) -> ObjectsWritten:
        future = self.begin(changing(user, *changes, quota=quota), user, key=key, worker=worker)
        answer: ObjectsWritten = future.get(timeout=60).answer
        return answer

    def attempt(self, user: str, *changes: Change, **given: Any) -> ObjectsWritten | ErrorCode:
        """Do as `change`, but return the error of a refusal in place of raising it."""
        try:
            return self.change(user, *changes, **given)
        except Refused as refused:
            return refused.error

    def erase(self, user: str) -> int:
        answer: Erased = self.begin(EraseObjects(user), user).get(timeout=60).answer
        return answer.objects

    def read(self, reader: str, *names: str, of: str | None = None, most: int = 2**31) -> list[Any]:
        """Return the values of these objects of "saves", as far as they can be read."""
        return [one.value for one in self.look(reader, *names, of=of, most=most).objects]

    def look(
        self, reader: str, *names: str, of: str | None = None, most: int = 2**31
    ) -> ObjectsRead:
        owner = reader if of is None else of
        query = ReadObjects(reader, [(owner, "saves", name) for name in names], most)
        answer: ObjectsRead = self._ask(query)
        return answer

    def page(
        self,
        reader: str,
        user: str | None,
        after: Bookmark = START,
        *,
        limit: int = 100,
        most: int = 2**31,
    ) -> ListedPage:
        answer: ListedPage = self._ask(ListObjects(reader, "saves", user, after, limit, most))
        return answer

    def export(self, user: str) -> list[StoredObject]:
        objects: list[StoredObject] = []
        after = ("", "")
        while page := self._ask(ExportObjects(user, after, 3)):
            objects += page
            after = (page[-1].collection, page[-1].key)
        return objects

    def _ask(self, query: msgspec.Struct) -> Any:
        return self.queries.ask(AskQuery(query, time.monotonic() + 60), timeout=60)


def changing(user: str, *changes: Change, quota: Quota | None = QUOTA) -> ChangeObjects:
    return ChangeObjects(
        user,
        [one for one in changes if isinstance(one, ObjectToWrite)],
        [one for one in changes if isinstance(one, ObjectToDelete)],
        quota,
    )
