"""Whether a user's objects may be changed as asked, and what that comes to."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final, Literal, NamedTuple

READERS: Final[tuple[Literal["nobody"], Literal["owner"], Literal["public"]]] = (
    "nobody", "owner", "public",
)  # fmt: skip
"""Who may read an object, in the order of their numbers in the database."""
WRITERS: Final[tuple[Literal["nobody"], Literal["owner"]]] = ("nobody", "owner")


class ObjectName(NamedTuple):
    """An object among those of its user."""

    collection: str
    key: str

    def __str__(self) -> str:
        return f"{self.collection}/{self.key}"


class Present(NamedTuple):
    """What is there of an object. `size`: what it counts towards its user's bytes."""

    version: int
    size: int
    writers: str


class Change(NamedTuple):
    """What is to become of an object.

    `size`: the new one; None: it is to go. `expected`: the version that must be there, 0 for none;
    None: any.
    """

    name: ObjectName
    size: int | None
    expected: int | None


class Usage(NamedTuple):
    """How much a user has."""

    objects: int = 0
    size: int = 0


class Quota(NamedTuple):
    """How much a user may have."""

    objects: int
    size: int


class Denied(Exception):  # noqa: N818 - a decision
    """A change is not to be made, nor any that came with it."""

    def __init__(self, name: ObjectName, why: str) -> None:
        super().__init__(name, why)
        self.why = why

    def __str__(self) -> str:
        return f"{self.args[0]}: {self.why}"


class NotTheOwners(Denied):
    """The object can be written by nobody."""


class OtherVersion(Denied):
    """Another version is there than the one expected."""


class OverQuota(Denied):
    """The user would have more than may be."""


def twice(names: Iterable[ObjectName]) -> ObjectName | None:
    """The first that is there twice; None: each is there once."""
    seen: set[ObjectName] = set()
    for name in names:
        if name in seen:
            return name
        seen.add(name)
    return None


def size_of(name: ObjectName, value: str) -> int:
    """What an object counts: its value and its names, in bytes of UTF-8."""
    return len(value.encode()) + len(name.collection.encode()) + len(name.key.encode())


def decide(
    changes: Iterable[Change],
    present: Mapping[ObjectName, Present],
    usage: Usage,
    quota: Quota | None,
) -> Usage:
    """How much the user has after all of `changes`.

    Arguments:
        changes: each of another object.
        present: what is there of these objects.
        usage: how much the user has now.
        quota: None: it is the server that asks, to which everything is allowed but to overlook a
            version.

    Raises Denied: they may not be made.
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
    # Who has more than may be, since the quota was lowered, can still make it less.
    if quota is not None and last is not None:
        if quota.objects < usage.objects > before.objects:
            raise OverQuota(last, f"at most {quota.objects} objects")
        if quota.size < usage.size > before.size:
            raise OverQuota(last, f"at most {quota.size} bytes in all objects")
    return usage


def _check(change: Change, found: Present | None, *, by_server: bool) -> None:
    if found is not None and found.writers == "nobody" and not by_server:
        raise NotTheOwners(change.name, "only the server writes it")
    version = 0 if found is None else found.version
    if change.expected is not None and change.expected != version:
        raise OtherVersion(change.name, f"version {version}" if version else "it is not there")
