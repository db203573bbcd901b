"""`Desk`: answers clients' requests for objects by commands and queries."""

from __future__ import annotations

from collections import Counter
from typing import Any

import msgspec

from actors.edge.failures import Refused
from actors.edge.identity import Identity
from actors.facts import Facts, storable
from actors.runtime.future import Future
from actors.storage.commands import ChangeObjects, EraseObjects
from actors.storage.queries import ExportObjects, ListedPage
from actors.storage.requests import Requests, listed
from actors.storage.settings import StorageSettings
from protocol.errors import BUSY
from protocol.messages.storage import (
    ObjectsListed,
    ObjectsRead,
    ObjectsWritten,
    StorageDelete,
    StorageList,
    StorageRead,
    StorageWrite,
    StoredObject,
)


class Desk:
    """Answers clients' requests, and counts them. The answers are futures.

    Each method raises Refused if the request is over a limit.

    Attributes:
        waiting_bytes: the size of the values in writes that are not answered yet.
        objects: how many objects were written, deleted and read.
        refused: how many changes were refused, by the code of the error.
    """

    def __init__(self, settings: StorageSettings, facts: Facts) -> None:
        self._settings = settings
        self._requests = Requests(settings)
        self._facts = facts
        self.waiting_bytes = 0
        self.objects = Counter(written=0, deleted=0, read=0)
        self.refused: Counter[str] = Counter()

    def write(self, who: Identity, request: StorageWrite) -> Future[ObjectsWritten]:
        """Write objects."""
        command = self._requests.write(who, request)
        size = sum(len(one.value.encode()) for one in command.writes)
        if self.waiting_bytes + size > self._settings.waiting_bytes:
            raise Refused(BUSY, "too much is being written")
        self.waiting_bytes += size
        written = self._run(command, request.key)

        def done(answer: Future[Any]) -> None:
            self.waiting_bytes -= size
            if answer.exception() is None:
                self.objects["written"] += len(command.writes)

        written.when_done(done)
        return written

    def delete(self, who: Identity, request: StorageDelete) -> Future[None]:
        """Delete objects."""
        command = self._requests.delete(who, request)

        def done(_: Any) -> None:
            self.objects["deleted"] += len(command.deletes)

        return self._run(command, request.key).map(done)

    def read(self, who: Identity, request: StorageRead) -> Future[ObjectsRead]:
        """Read objects."""

        def done(found: ObjectsRead) -> ObjectsRead:
            self.objects["read"] += len(found.objects)
            return found

        return self._facts.ask(self._requests.read(who, request)).map(done)

    def page(self, who: Identity, request: StorageList) -> Future[ObjectsListed]:
        """List a page of a collection."""

        def done(page: ListedPage) -> ObjectsListed:
            self.objects["read"] += len(page.objects)
            return listed(request, page)

        return self._facts.ask(self._requests.list(who, request)).map(done)

    def _run(self, command: ChangeObjects, key: str | None) -> Future[Any]:
        changed = self._facts.execute(command, user=command.user, key=storable(key))
        changed.when_done(self._count_refusal)
        return changed

    def _count_refusal(self, changed: Future[Any]) -> None:
        error = changed.exception()
        if isinstance(error, Refused):
            self.refused[error.error.code] += 1

    # --- export and erase ------------------------------------------------------------------------

    async def export(self, user: str) -> list[dict[str, Any]]:
        """Return every object of a user, even those that the user may not read.

        Each has the fields of `StoredObject`.
        """
        objects: list[dict[str, Any]] = []
        page: list[StoredObject] = await self._facts.ask(ExportObjects(user))
        while page:
            objects += map(msgspec.structs.asdict, page)
            after = (page[-1].collection, page[-1].key)
            page = await self._facts.ask(ExportObjects(user, after))
        return objects

    async def erase(self, user: str) -> None:
        """Delete every object of a user."""
        await self._facts.execute(EraseObjects(user), user=user)
