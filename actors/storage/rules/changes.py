"""Decides whether a user's objects may be changed, and computes what the user has after that."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final, Literal, NamedTuple

READERS: Final[tuple[Literal["nobody"], Literal["owner"], Literal["public"]]] = (
    "nobody", "owner", "public",
)  # fmt: skip
"""Who may read an object, in the order of their numbers in the database."""
WRITERS: Final[tuple[Literal["nobody"], Literal["owner"]]] = ("nobody", "owner")


class ObjectName(NamedTuple):
    """The name of an object among those of its user."""

    collection: str
    key: str

    def __str__(self) -> str:
        return f"{self.collection}/{self.key}"


class Present(NamedTuple):
    """An object that exists. `size` is what it counts towards its user's bytes (see `size_of`)."""

    version: int
    size: int
    writers: str


class ObjectChange(NamedTuple):
    """A change of an object.

    Attributes:
        name: the object.
        size: its new size in bytes; None: it is to be deleted.
        expected: the version that it must have now; 0: it must not exist; None: any.
    """

    name: ObjectName
    size: int | None
    expected: int | None


class Usage(NamedTuple):
    """How many objects a user has, and their size in bytes."""

    objects: int = 0
    size: int = 0


class Quota(NamedTuple):
    """How many objects a user may have, and how many bytes."""

    objects: int
    size: int


class Denied(Exception):  # noqa: N818 - a decision
    """A change must not be made, nor any other of the same command."""

    def __init__(self, name: ObjectName, why: str) -> None:
        super().__init__(name, why)
        self.why = why

    def __str__(self) -> str:
        return f"{self.args[0]}: {self.why}"


class NotTheOwners(Denied):
    """The object may be written by the server only."""


class OtherVersion(Denied):
    """The object has another version than the expected one."""


class OverQuota(Denied):
    """The user would have more than the quota."""


def twice(names: Iterable[ObjectName]) -> ObjectName | None:
    """Return the first name that occurs twice, or None."""
    seen: set[ObjectName] = set()
    for name in names:
        if name in seen:
            return name
        seen.add(name)
    return None


def size_of(name: ObjectName, value: str) -> int:
    """Return what an object counts towards its user's bytes: value and names, in UTF-8."""
    return len(value.encode()) + len(name.collection.encode()) + len(name.key.encode())


def decide(
    changes: Iterable[ObjectChange],
    present: Mapping[ObjectName, Present],
    usage: Usage,
    quota: Quota | None,
) -> Usage:
    """Return how much the user has after all of `changes`.

    Arguments:
        changes: the changes, each of another object.
        present: those of the objects that exist.
        usage: how much the user has now.
        quota: how much the user may have. None: the server makes the changes, and only the expected
            versions are checked.

    Raises Denied if the changes must not be made.
    """
    before = usage
    last: ObjectName | None = None
    for change in changes:
        found = present.get(change.name)
        _check(change, found, by_server=quota is None)
        objects, size = usage
        if found is not None:
            objects, size = objects - 1, size - found.size
        if change.size is not None:
            objects, size = objects + 1, size + change.size
            last = change.name
        usage = Usage(objects, size)
    # A user who has more than the quota, because it was lowered, may still make changes that reduce
    # it.
    if quota is not None and last is not None:
        if quota.objects < usage.objects > before.objects:
            raise OverQuota(last, f"at most {quota.objects} objects")
        if quota.size < usage.size > before.size:
            raise OverQuota(last, f"at most {quota.size} bytes in all objects")
    return usage


def _check(change: ObjectChange, found: Present | None, *, by_server: bool) -> None:
    if found is not None and found.writers == "nobody" and not by_server:
        raise NotTheOwners(change.name, "only the server writes it")
    version = 0 if found is None else found.version
    if change.expected is not None and change.expected != version:
        raise OtherVersion(change.name, f"version {version}" if version else "it is not there")
