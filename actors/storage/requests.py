"""Checks clients' requests against the limits, and turns them into commands and queries."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

import msgspec

from actors.edge.failures import Refused
from actors.edge.identity import Identity
from actors.storage.commands import ChangeObjects
from actors.storage.queries import ListedPage, ListObjects, ReadObjects
from actors.storage.rules.changes import ObjectName, Quota, twice
from actors.storage.rules.cursors import START, Bookmark, NoCursor, bookmark, cursor
from actors.storage.settings import StorageSettings
from protocol.errors import BAD_CURSOR, BAD_MESSAGE, OUT_OF_RANGE, TOO_LONG
from protocol.messages.storage import (
    ObjectsListed,
    ObjectToDelete,
    ObjectToRead,
    ObjectToWrite,
    StorageDelete,
    StorageList,
    StorageRead,
    StorageWrite,
)

_parse: Final = msgspec.json.Decoder(msgspec.Raw).decode
"""Checks that a text is JSON, without building its value.

Text nested about 1,000 levels deep is refused as well, since few readers could take it.
"""
_ESCAPE: Final = re.compile(
    r"\\\\|\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}"
    r"|(\\u[dD][89a-fA-F][0-9a-fA-F]{2})"
)
"""A backslash, a surrogate pair, or, as its group, half of one."""


class Requests:
    """Makes commands and queries of requests. All methods raise Refused for a bad request."""

    def __init__(self, settings: StorageSettings) -> None:
        self._settings = settings
        self._quota = Quota(settings.user_objects, settings.user_bytes)

    def write(self, who: Identity, request: StorageWrite) -> ChangeObjects:
        """Return the command of a write. A user writes their own objects only."""
        self._check_batch(request.objects)
        _check_names(request.objects)
        for one in request.objects:
            self._check_value(one)
        return ChangeObjects(who.user, request.objects, (), self._quota)

    def delete(self, who: Identity, request: StorageDelete) -> ChangeObjects:
        """Return the command of a delete. A user deletes their own objects only."""
        self._check_batch(request.objects)
        _check_names(request.objects)
        return ChangeObjects(who.user, (), request.objects, self._quota)

    def read(self, who: Identity, request: StorageRead) -> ReadObjects:
        """Return the query of a read, of objects of any users."""
        self._check_batch(request.objects)
        names = [
            (who.user if one.user is None else one.user, one.collection, one.key)
            for one in request.objects
        ]
        return ReadObjects(who.user, names, self._settings.answer_bytes)

    def list(self, who: Identity, request: StorageList) -> ListObjects:
        """Return the query for a page of a collection."""
        settings = self._settings
        if request.limit > settings.list_limit:
            raise Refused(OUT_OF_RANGE, f"limit: at most {settings.list_limit}")
        if request.everyone and request.user is not None:
            raise Refused(BAD_MESSAGE, "either user or everyone")
        user = who.user if request.user is None else request.user
        after = START
        if request.cursor is not None:
            try:
                after = bookmark(_list(request), request.cursor)
            except NoCursor:
                raise Refused(BAD_CURSOR) from None
        return ListObjects(
            who.user,
            request.collection,
            None if request.everyone else user,
            after,
            request.limit,
            settings.answer_bytes,
        )

    def _check_batch(self, objects: Sequence[object]) -> None:
        if len(objects) > self._settings.batch:
            raise Refused(OUT_OF_RANGE, f"objects: at most {self._settings.batch}")

    def _check_value(self, one: ObjectToWrite) -> None:
        most = self._settings.object_bytes
        if len(one.value) > most or len(one.value.encode()) > most:
            raise Refused(TOO_LONG, f"{_name(one)}: value: at most {most} bytes")
        try:
            _parse(one.value)
        except (msgspec.DecodeError, RecursionError) as error:
            half = _half_pair(one.value)
            why = f"{half} is half of a surrogate pair" if half else error
            raise Refused(BAD_MESSAGE, f"{_name(one)}: value is no JSON: {why}") from None


def listed(request: StorageList, page: ListedPage) -> ObjectsListed:
    """Return the answer to a list request."""
    if not page.more:
        return ObjectsListed(page.objects)
    last = page.objects[-1]
    return ObjectsListed(page.objects, cursor(_list(request), Bookmark(last.key, last.user)))


def _list(request: StorageList) -> tuple[str, ...]:
    """Return the parts of the request that its cursors are valid for."""
    whose = "everyone" if request.everyone else "own" if request.user is None else "user"
    return (request.collection, whose, request.user or "")


def _check_names(objects: Sequence[ObjectToWrite | ObjectToDelete]) -> None:
    name = twice(map(_name, objects))
    if name is not None:
        raise Refused(BAD_MESSAGE, f"{name} is there twice")


def _half_pair(text: str) -> str | None:
    """Return the first escape that is half of a surrogate pair, which the parser does not name."""
    return next((one[1] for one in _ESCAPE.finditer(text) if one[1]), None)


def _name(one: ObjectToWrite | ObjectToDelete | ObjectToRead) -> ObjectName:
    return ObjectName(one.collection, one.key)
